//! linkspan-agent
