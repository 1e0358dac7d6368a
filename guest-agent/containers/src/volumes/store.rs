//! The folders of volumes on the data disk.

use std::{
    collections::BTreeMap,
    fs,
    io::ErrorKind,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize};

use super::{Result, Volume, VolumeError};
use crate::store::{replace, sync};

/// The version of volume.json that this program writes and reads.
const FORMAT: u32 = 1;
const RECORD: &str = "volume.json";

#[derive(Serialize, Deserialize)]
struct Versioned<T> {
    format: u32,
    #[serde(flatten)]
    value: T,
}

#[derive(Deserialize)]
struct Header {
    format: u32,
}

/// Where a volume's files are.
pub(super) fn content(root: &Path, name: &str) -> PathBuf {
    root.join(name).join("_data")
}

pub(super) fn create(root: &Path, volume: &Volume) -> Result<()> {
    let (folder, content) = (root.join(&volume.name), content(root, &volume.name));
    let make = |path: &Path, mode| {
        let mut builder = fs::DirBuilder::new();
        builder.recursive(true).mode(mode);
        builder.create(path).map_err(VolumeError::file("create", path))
    };
    make(&folder, 0o700)?;
    make(&content, 0o755)?;
    let path = folder.join(RECORD);
    replace(&path, &Versioned { format: FORMAT, value: volume }, true)
        .map_err(VolumeError::file("write", path))
}

/// Volumes that were removed are not there again when the power goes.
pub(super) fn settle(root: &Path) -> Result<()> {
    sync(root).map_err(VolumeError::file("write", root))
}

/// The record first: what is left after that is a leftover. [`settle`] makes it durable.
pub(super) fn remove(root: &Path, name: &str) -> Result<()> {
    let folder = root.join(name);
    for result in [
        (fs::remove_file(folder.join(RECORD)), folder.join(RECORD)),
        (fs::remove_dir_all(&folder), folder.clone()),
    ] {
        match result {
            (Err(error), path) if error.kind() != ErrorKind::NotFound => {
                return Err(VolumeError::file("delete", path)(error));
            }
            _ => {}
        }
    }
    Ok(())
}

pub(super) fn load(root: &Path) -> Result<BTreeMap<String, Volume>> {
    fs::create_dir_all(root).map_err(VolumeError::file("create", root))?;
    let mut found = BTreeMap::new();
    for entry in fs::read_dir(root).map_err(VolumeError::file("read", root))? {
        let folder = entry.map_err(VolumeError::file("read", root))?.path();
        if !folder.join(RECORD).exists() {
            tracing::info!(path = %folder.display(), "deleting what is left of a volume");
            if let Err(error) = fs::remove_dir_all(&folder) {
                tracing::warn!(path = %folder.display(), %error, "a leftover cannot be deleted");
            }
            continue;
        }
        match read(&folder.join(RECORD)) {
            Ok(volume) => drop(found.insert(volume.name.clone(), volume)),
            Err(error) => tracing::warn!(%error, "a volume is left out"),
        }
    }
    Ok(found)
}

fn read(path: &Path) -> Result<Volume> {
    let bytes = fs::read(path).map_err(VolumeError::file("read", path))?;
    let bad = |why: String| VolumeError::Record { path: path.into(), why };
    let header: Header = serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
    if header.format != FORMAT {
        let why = format!("its format is {}, and this program knows {FORMAT}", header.format);
        return Err(bad(why));
    }
    let versioned: Versioned<Volume> =
        serde_json::from_slice(&bytes).map_err(|e| bad(e.to_string()))?;
    Ok(versioned.value)
}
