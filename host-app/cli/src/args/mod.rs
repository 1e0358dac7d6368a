//! The values that Docker's flags take, and the flags of Docker's that are refused.

pub(crate) mod container;
pub(crate) mod env;
pub(crate) mod health;
pub(crate) mod isolation;
pub(crate) mod log;
pub(crate) mod mount;
pub(crate) mod network;
pub(crate) mod platform;
pub(crate) mod publish;
pub(crate) mod refused;
pub(crate) mod restart;
pub(crate) mod size;
pub(crate) mod time;
