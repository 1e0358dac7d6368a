//! linkspan-test-e2e
