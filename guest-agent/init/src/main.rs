//! linkspan-init

fn main() {}
