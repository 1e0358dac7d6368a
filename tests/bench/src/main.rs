//! linkspan-bench

fn main() {}
