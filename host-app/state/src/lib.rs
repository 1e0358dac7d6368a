//! Every file name of the host side, and how those files are written.
//!
//! Owns: where the state lives ([`Paths`], [`MachinePaths`]), files with a format version and
//! atomic replacement ([`Document`]), locks that end with their holder ([`Lock`]), the global
//! settings ([`Config`]) and the VM image's manifest ([`image`]).
//!
//! Does not: know what a machine does with its settings, start anything, or talk to anyone. All
//! of it is synchronous: async callers go through `spawn_blocking`.

mod config;
mod document;
mod error;
mod folder;
pub mod image;
mod lock;
mod name;
mod paths;
mod registries;
mod settings;
mod socket_folder;

pub use config::Config;
pub use document::{Document, read, remove_file, remove_leftovers, write};
pub use error::StateError;
pub use folder::create_private_folder;
pub use lock::{Lock, LockHolder};
pub use name::{MachineName, NameError};
pub use paths::{HOME_VARIABLE, MachinePaths, Paths};
pub use registries::{Mirror, RegistrySettings};
pub use settings::SettingsPatch;
pub use socket_folder::SOCKET_PATH_LIMIT;
