//! linkspan-driver-hcs
