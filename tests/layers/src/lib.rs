//! linkspan-test-layers
