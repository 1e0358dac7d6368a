//! linkspan-test-stack
