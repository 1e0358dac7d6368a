//! The folders of volumes on the data disk.

use std::{
    collections::BTreeMap,
    fs,
    io::ErrorKind,
    os::unix::fs::DirBuilderExt as _,
    path::{Path, PathBuf},
};

use linkspan_records::Durability;

use super::{Result, Volume, VolumeError};

/// The version of volume.json that this program writes and reads.
const FORMAT: u32 = 1;
const RECORD: &str = "volume.json";

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
    Ok(linkspan_records::write(&folder.join(RECORD), FORMAT, volume, Durability::Machine)?)
}

/// Volumes that were removed are not there again when the power goes.
pub(super) fn settle(root: &Path) -> Result<()> {
    linkspan_records::sync_folder(root).map_err(VolumeError::file("write", root))
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
        match linkspan_records::read::<Volume>(&folder.join(RECORD), FORMAT) {
            Ok(Some(volume)) => drop(found.insert(volume.name.clone(), volume)),
            Ok(None) => {
                tracing::info!(path = %folder.display(), "deleting what is left of a volume");
                if let Err(error) = fs::remove_dir_all(&folder) {
                    tracing::warn!(path = %folder.display(), %error, "a leftover cannot be deleted");
                }
            }
            Err(error) => tracing::warn!(%error, "a volume is left out"),
        }
    }
    Ok(found)
}
