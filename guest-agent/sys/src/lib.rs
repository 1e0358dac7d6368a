//! linkspan-sys
