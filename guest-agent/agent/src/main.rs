//! linkspan-agent

fn main() {}
