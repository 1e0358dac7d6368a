//! Containers: what is asked of them, and how they are shown.

pub mod answers;
mod check;
pub mod commit;
pub mod config;
pub mod create;
pub mod exec;
pub mod host_config;
pub mod inspect;
pub mod mount;
pub mod network;
pub mod port;
pub(crate) mod read;
pub mod refused;
mod shown;
pub mod state;
pub mod stats;
pub mod summary;

pub use create::{Create, CreateAnswer, CreateBody};
pub use inspect::Container;
pub use summary::Summary;
