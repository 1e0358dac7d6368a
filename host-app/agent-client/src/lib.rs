//! linkspan-agent-client
