//! linkspan-state
