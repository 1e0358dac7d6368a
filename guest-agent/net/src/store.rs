//! networks.json: the networks that survive a boot.

use std::{
    fs,
    path::{Path, PathBuf},
};

use ipnet::Ipv6Net;
use linkspan_records::Durability;
use serde::{Deserialize, Serialize};

use crate::{Error, network::Network};

/// The version of networks.json that this program writes and reads.
const FORMAT: u32 = 1;

/// What the file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Document {
    /// Where default IPv6 subnets come from: made once, then kept.
    pub(crate) ipv6_prefix: Ipv6Net,
    pub(crate) networks: Vec<Network>,
}

/// The folder.
#[derive(Debug)]
pub(crate) struct Store(PathBuf);

impl Store {
    pub(crate) fn new(folder: &Path) -> Self {
        Self(folder.to_owned())
    }

    fn file(&self) -> PathBuf {
        self.0.join("networks.json")
    }

    /// None: it has never been written, or cannot be read. That must not keep a machine from its
    /// boot: the log says so, and the file is set aside.
    ///
    /// # Errors
    /// When it cannot be set aside either.
    pub(crate) fn load(&self) -> Result<Option<Document>, Error> {
        fs::create_dir_all(&self.0).map_err(Error::file("create", &self.0))?;
        let error = match linkspan_records::read(&self.file(), FORMAT) {
            Ok(document) => return Ok(document),
            Err(error) => error,
        };
        let (path, aside) = (self.file(), self.0.join("networks.json.unreadable"));
        fs::rename(&path, &aside).map_err(Error::file("set aside", path))?;
        tracing::error!(
            %error,
            kept = %aside.display(),
            "only the networks that are always there are left: make the others again"
        );
        Ok(None)
    }

    pub(crate) fn save(&self, document: &Document) -> Result<(), Error> {
        Ok(linkspan_records::write(&self.file(), FORMAT, document, Durability::Machine)?)
    }
}
