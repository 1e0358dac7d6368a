//! linkspan-containers
