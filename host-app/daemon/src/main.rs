//! linkspand

fn main() {}
