//! linkspan-hello

fn main() {}
