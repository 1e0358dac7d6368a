//! linkspan-vm-image

fn main() {}
