//! linkspan-client
