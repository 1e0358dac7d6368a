//! linkspan-driver-vz
