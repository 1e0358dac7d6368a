//! What this user has shown at which registry: Docker's `config.json` and its credential helpers,
//! so that `docker login` counts here and `linkspan login` counts there.
//!
//! Owns: reading and changing that file, the protocol of `docker-credential-NAME` programs, and
//! which registry a name means. Called by the engine, for requests that come without credentials, and by
//! the command line, for `login` and `logout` and because its `DOCKER_CONFIG` may be another than the
//! daemon's. It does not: speak to registries, keep anything in memory, or write a secret into a
//! log: neither an error nor `Debug` shows one.
//!
//! The keychain of the operating system is reached through Docker's programs for it (`osxkeychain`,
//! `wincred`, `secretservice`, `pass`), not by a library: an entry that only one of the two tools
//! could read would be no shared login.

mod config;
mod error;
mod helper;
mod registry;

pub use config::{DockerConfig, Kept};
pub use error::CredentialError;
pub use linkspan_proto::v1::RegistryCredentials;
pub use registry::Registry;
