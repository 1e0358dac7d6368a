//! linkspan-images
