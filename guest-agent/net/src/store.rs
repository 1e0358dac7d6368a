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

    /// None: it has never been written.
    pub(crate) fn load(&self) -> Result<Option<Document>, Error> {
        fs::create_dir_all(&self.0).map_err(Error::file("create", &self.0))?;
        Ok(linkspan_records::read(&self.file(), FORMAT)?)
    }

    pub(crate) fn save(&self, document: &Document) -> Result<(), Error> {
        Ok(linkspan_records::write(&self.file(), FORMAT, document, Durability::Machine)?)
    }
}
