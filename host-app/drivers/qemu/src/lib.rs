//! linkspan-driver-qemu
