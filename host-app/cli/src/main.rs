//! linkspan

fn main() {}
