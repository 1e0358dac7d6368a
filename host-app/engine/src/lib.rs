//! linkspan-engine
