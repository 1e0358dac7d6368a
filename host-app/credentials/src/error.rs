//! What can go wrong. No variant has a secret in it.

use std::{io, path::PathBuf};

use linkspan_proto::error::{ErrorCode, Failure};

/// Why credentials could not be found, kept or removed.
#[derive(Debug, thiserror::Error)]
pub enum CredentialError {
    /// Neither `DOCKER_CONFIG` nor a home folder.
    #[error("cannot find Docker's configuration: this user has no home folder")]
    NoHome,
    /// The file is there and cannot be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file cannot be replaced.
    #[error("cannot write `{}`: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: io::Error,
    },
    /// The file is not what Docker writes.
    #[error("cannot use `{}`: {why}", path.display())]
    Malformed {
        /// The file.
        path: PathBuf,
        /// What is wrong with it, and where.
        why: String,
    },
    /// The configuration names a helper that is not installed.
    #[error("cannot find the credential helper `{program}`, which `{}` names", path.display())]
    NoHelper {
        /// Its program.
        program: String,
        /// The file that names it.
        path: PathBuf,
    },
    /// A helper did not do it.
    #[error(
        "the credential helper `{program}` cannot {action} the credentials of `{registry}`: {why}"
    )]
    Helper {
        /// Its program.
        program: String,
        /// `get`, `store` or `erase`.
        action: &'static str,
        /// The registry's key.
        registry: String,
        /// What it said, or how it ended.
        why: String,
    },
}

impl From<CredentialError> for Failure {
    fn from(error: CredentialError) -> Self {
        let message = error.to_string();
        let failure = |code| Self::new(code, message);
        match error {
            CredentialError::NoHome => {
                failure(ErrorCode::NotFound).hint("set DOCKER_CONFIG to a folder")
            }
            CredentialError::Read { .. } | CredentialError::Write { .. } => {
                failure(ErrorCode::PermissionDenied)
            }
            CredentialError::Malformed { .. } => failure(ErrorCode::DataCorrupt),
            CredentialError::NoHelper { .. } => failure(ErrorCode::NotFound)
                .hint("install it, or take its name out of `credsStore` and `credHelpers`"),
            CredentialError::Helper { .. } => failure(ErrorCode::PermissionDenied),
        }
    }
}
