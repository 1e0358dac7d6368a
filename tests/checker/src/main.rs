//! linkspan-checker

fn main() {}
