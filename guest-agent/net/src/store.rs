//! networks.json: the networks that survive a boot.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use ipnet::Ipv6Net;
use serde::{Deserialize, Serialize};

use crate::{Error, network::Network};

/// The version of networks.json that this program writes and reads.
const FORMAT: u32 = 1;

/// What the file holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Document {
    format: u32,
    /// Where default IPv6 subnets come from: made once, then kept.
    pub(crate) ipv6_prefix: Ipv6Net,
    pub(crate) networks: Vec<Network>,
}

impl Document {
    pub(crate) fn new(ipv6_prefix: Ipv6Net, networks: Vec<Network>) -> Self {
        Self { format: FORMAT, ipv6_prefix, networks }
    }
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
        let error = match self.read() {
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

    fn read(&self) -> Result<Option<Document>, Error> {
        let path = self.file();
        let bytes = match fs::read(&path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(Error::file("read", path)(error)),
        };
        let bad = |why: String| Error::Record { path: path.clone(), why };
        #[derive(Deserialize)]
        struct Header {
            format: u32,
        }
        let header: Header = serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
        if header.format != FORMAT {
            return Err(bad(format!(
                "its format is {}, and this program knows {FORMAT}",
                header.format
            )));
        }
        serde_json::from_slice(&bytes).map(Some).map_err(|e| bad(e.to_string()))
    }

    pub(crate) fn save(&self, document: &Document) -> Result<(), Error> {
        let path = self.file();
        let write = || -> io::Result<()> {
            let temporary = path.with_extension("tmp");
            let mut file = File::create(&temporary)?;
            file.write_all(&serde_json::to_vec_pretty(document)?)?;
            file.sync_all()?;
            fs::rename(&temporary, &path)?;
            // Makes the rename itself durable (rename(2) only orders it).
            File::open(&self.0)?.sync_all()
        };
        write().map_err(Error::file("write", &path))
    }
}
