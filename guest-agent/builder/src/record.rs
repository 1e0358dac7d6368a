//! Files that hold state: replaced whole, with the version of their format inside.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::Path;

use serde::{Serialize, de::DeserializeOwned};

use crate::error::{Error, Result};

/// Reads one; None when there is none.
pub(crate) fn read<T: DeserializeOwned>(path: &Path) -> Result<Option<T>> {
    match fs::read(path) {
        Ok(bytes) => serde_json::from_slice(&bytes)
            .map(Some)
            .map_err(|error| Error::Record { path: path.to_owned(), why: error.to_string() }),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(Error::io("read", path)(error)),
    }
}

/// After a crash at any point there is the old one or the new one.
pub(crate) fn write(path: &Path, value: &impl Serialize) -> Result<()> {
    let temporary = path.with_extension("new");
    let bytes = serde_json::to_vec(value)
        .map_err(|error| Error::Record { path: path.to_owned(), why: error.to_string() })?;
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(&bytes)?;
        file.sync_all()?;
        fs::rename(&temporary, path)?;
        path.parent().map_or(Ok(()), |folder| File::open(folder)?.sync_all())
    };
    write().map_err(Error::io("write", path))
}
