//! What can go wrong with networks, with its subject in each variant.

use std::{io, net::IpAddr, path::PathBuf};

use ipnet::IpNet;
use nix::errno::Errno;

/// Why something was not done.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// Nothing has this name, id or prefix.
    #[error("network {0} not found")]
    NotFound(String),
    /// A prefix that several ids share.
    #[error("`{prefix}` is the beginning of {count} network ids")]
    Ambiguous {
        /// What was asked for.
        prefix: String,
        /// How many ids begin so.
        count: usize,
    },
    /// The name is taken.
    #[error("network with name {0} already exists")]
    NameConflict(String),
    /// An option of the request is not valid.
    #[error("{option}: {why}")]
    Invalid {
        /// The option as the command line spells it.
        option: String,
        /// The value and what is wrong with it.
        why: String,
    },
    /// Something that Docker knows and this engine does not do.
    #[error("{what} is not supported: {why}")]
    Unsupported {
        /// The option and its value.
        what: String,
        /// The reason.
        why: String,
    },
    /// The subnet meets another network's, or the machine's own.
    #[error("the subnet {subnet} overlaps with {other} of {owner}")]
    Overlap {
        /// The wanted one.
        subnet: IpNet,
        /// The one that is there.
        other: IpNet,
        /// Whose it is.
        owner: String,
    },
    /// Every default subnet is taken.
    #[error("all predefined address pools have been fully subnetted")]
    NoSubnetLeft,
    /// Every address of a network is taken.
    #[error("no available addresses in {range} of network {network}")]
    NoAddressLeft {
        /// Which network.
        network: String,
        /// Where was looked.
        range: IpNet,
    },
    /// The wanted address is taken.
    #[error("address {address} is already in use in network {network}")]
    AddressInUse {
        /// Which address.
        address: IpAddr,
        /// Which network.
        network: String,
    },
    /// Containers run in it.
    #[error("network {name} has active endpoints: {}", .endpoints.join(", "))]
    InUse {
        /// Which network.
        name: String,
        /// The containers' names.
        endpoints: Vec<String>,
    },
    /// bridge, host and none.
    #[error("{0} is a pre-defined network and cannot be removed")]
    Predefined(String),
    /// The container has an endpoint there.
    #[error("endpoint with name {container} already exists in network {network}")]
    AlreadyConnected {
        /// Which container.
        container: String,
        /// Which network.
        network: String,
    },
    /// The container has no endpoint there.
    #[error("container {container} is not connected to network {network}")]
    NotConnected {
        /// Which container.
        container: String,
        /// Which network.
        network: String,
    },
    /// The kernel refused.
    #[error("cannot {action} {subject}: {}", .errno.desc())]
    Kernel {
        /// The verb.
        action: &'static str,
        /// The interface, address or rule set.
        subject: String,
        /// Its reason.
        errno: Errno,
    },
    /// A file of ours.
    #[error("cannot {action} `{path}`: {source}")]
    File {
        /// The verb.
        action: &'static str,
        /// Which file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// A state file of a version or shape that this program does not know.
    #[error("`{path}` cannot be read: {why}")]
    Record {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

impl Error {
    pub(crate) fn invalid(option: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Invalid { option: option.into(), why: why.into() }
    }

    pub(crate) fn unsupported(what: impl Into<String>, why: impl Into<String>) -> Self {
        Self::Unsupported { what: what.into(), why: why.into() }
    }

    pub(crate) fn kernel(
        action: &'static str,
        subject: impl Into<String>,
    ) -> impl FnOnce(Errno) -> Self {
        let subject = subject.into();
        move |errno| Self::Kernel { action, subject, errno }
    }

    pub(crate) fn file(
        action: &'static str,
        path: impl Into<PathBuf>,
    ) -> impl FnOnce(io::Error) -> Self {
        let path = path.into();
        move |source| Self::File { action, path, source }
    }
}

impl From<linkspan_records::Error> for Error {
    fn from(error: linkspan_records::Error) -> Self {
        match error {
            linkspan_records::Error::Io { action, path, source } => {
                Self::File { action, path, source }
            }
            linkspan_records::Error::Content { path, why } => Self::Record { path, why },
        }
    }
}
