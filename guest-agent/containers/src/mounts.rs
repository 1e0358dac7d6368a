//! What is mounted in a container beside its root: as it was asked for ([`MountConfig`]), and what
//! that comes to ([`MountPoint`]).
//!
//! [`check`] refuses what is wrong without looking at anything, [`resolve`] brings the request,
//! other containers' mounts and the image's volumes together, [`plan`] is what `linkspan-init` is
//! told. Volumes themselves are [`crate::volumes`]' affair.

pub mod check;
pub mod plan;
pub mod resolve;
mod tmpfs;

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

pub use tmpfs::Tmpfs;

/// One mount of a request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MountConfig {
    /// What is mounted.
    pub kind: Kind,
    /// bind: an absolute path. volume: its name; empty: an anonymous one.
    pub source: String,
    /// Absolute, in the container.
    pub target: String,
    /// Nothing can be written.
    pub read_only: bool,
    /// bind only.
    pub propagation: Propagation,
    /// bind only.
    pub recursive: Recursive,
    /// volume only: an empty volume stays empty.
    pub no_copy: bool,
    /// volume only: this folder of it.
    pub subpath: String,
    /// volume only, for one that does not exist yet. Empty: the container's default, then local.
    pub driver: String,
    /// volume only, for one that does not exist yet.
    pub driver_options: BTreeMap<String, String>,
    /// volume only, for one that does not exist yet.
    pub labels: BTreeMap<String, String>,
    /// tmpfs only, bytes; 0: half of the memory.
    pub tmpfs_size: u64,
    /// tmpfs only.
    pub tmpfs_mode: Option<u32>,
    /// tmpfs only: what stands behind the colon of `--tmpfs`.
    pub tmpfs_options: String,
    /// The options of `-v` as they were given, for inspect.
    pub mode: String,
    /// bind only: what of the host is mounted. None: `source` is a path of the machine.
    pub shared: Option<SharedPath>,
    /// bind only: the socket of Docker's API, and not what is at `source`.
    pub docker_api: bool,
}

/// Where the machine has the folders of the host that are shared with it, each by its tag.
pub const SHARES: &str = "/run/linkspan/shares";

/// A file or folder of the host, in one of the folders that are shared with the machine.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SharedPath {
    /// The share: one component of a path.
    pub tag: String,
    /// Relative to the share; empty: all of it.
    pub path: PathBuf,
}

/// What is mounted.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// A file or folder.
    Bind,
    /// A volume.
    #[default]
    Volume,
    /// Memory.
    Tmpfs,
}

/// How mounts and unmounts spread (mount_namespaces(7), "Shared subtrees").
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Propagation {
    /// Nowhere, with all that is mounted below.
    #[default]
    Rprivate,
    /// Nowhere.
    Private,
    /// Both ways, with all that is mounted below.
    Rshared,
    /// Both ways.
    Shared,
    /// Into the container, with all that is mounted below.
    Rslave,
    /// Into the container.
    Slave,
}

/// What becomes of mounts below a bind's source.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Recursive {
    /// They come along, read-only with a read-only mount.
    #[default]
    Enabled,
    /// They stay behind.
    Disabled,
    /// They come along and stay writable.
    Writable,
    /// They come along and are read-only.
    Readonly,
}

/// A mount of a container, worked out. Stored with the container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct MountPoint {
    /// Absolute, in the container.
    pub destination: PathBuf,
    /// What is mounted.
    pub source: Source,
    /// Nothing can be written.
    pub read_only: bool,
    /// The options of `-v` as they were given, for inspect.
    pub mode: String,
}

/// Where a mount comes from.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// A volume.
    Volume {
        /// Which.
        name: String,
        /// Nobody gave it a name: it goes with `rm -v`.
        anonymous: bool,
        /// This folder of it; empty: all.
        subpath: PathBuf,
    },
    /// A file or folder of the VM, or of the host.
    Bind {
        /// Absolute; on the host, if it is shared.
        path: PathBuf,
        /// Where the host's is found in the VM.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        shared: Option<SharedPath>,
        /// How mounts spread.
        propagation: Propagation,
        /// What becomes of mounts below.
        recursive: Recursive,
    },
    /// Memory.
    Tmpfs(Tmpfs),
    /// The socket of Docker's API.
    DockerApi {
        /// As it was asked for, for inspect.
        path: PathBuf,
    },
}

impl MountPoint {
    /// The volume that is mounted, if it is one.
    #[must_use]
    pub fn volume(&self) -> Option<&str> {
        match &self.source {
            Source::Volume { name, .. } => Some(name),
            _ => None,
        }
    }

    /// The same, if nobody gave it a name.
    #[must_use]
    pub fn anonymous_volume(&self) -> Option<&str> {
        match &self.source {
            Source::Volume { name, anonymous: true, .. } => Some(name),
            _ => None,
        }
    }
}
