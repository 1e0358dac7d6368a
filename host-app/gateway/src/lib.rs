//! linkspan-gateway
