//! What earlier builds left: by the key of a step its layer, and what was found out of contents.
//!
//! A record whose layer has gone is none. A layer without a record and without an image is removed
//! at the next start; so nothing is lost or leaked whenever the machine ends.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

use linkspan_images::Digest;
use linkspan_records::Durability;
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

use crate::error::{Error, Result};

/// Raised when an older program could not read the file any more.
const FORMAT: u32 = 1;
/// Digests of contents that are remembered: one is a few dozen bytes.
const MOST_CONTENTS: usize = 4096;

/// A layer that a step made.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct LayerRecord {
    /// The layer.
    pub(crate) diff_id: Digest,
    /// Of its files.
    pub(crate) size_bytes: u64,
    /// When a layer with this content was first made; nanoseconds since 1970.
    pub(crate) created_unix_nanos: i64,
    /// When it was last found, or made.
    pub(crate) last_used_unix_nanos: i64,
    /// How often it was found.
    pub(crate) uses: u64,
    /// The step.
    pub(crate) description: String,
}

/// A folder of a cache mount.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MountRecord {
    /// The id of the mount.
    pub(crate) id: String,
    /// When it was made; nanoseconds since 1970.
    pub(crate) created_unix_nanos: i64,
    /// When it was last used.
    pub(crate) last_used_unix_nanos: i64,
    /// How often.
    pub(crate) uses: u64,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
struct Table {
    /// By the key of the step.
    layers: BTreeMap<String, LayerRecord>,
    /// By the name of the folder.
    mounts: BTreeMap<String, MountRecord>,
    /// From what was looked at to what was found.
    contents: BTreeMap<String, String>,
}

/// The records. Locks for itself.
#[derive(Debug)]
pub(crate) struct Cache {
    path: PathBuf,
    table: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    table: Table,
    /// Changes that are not on the disk yet: only when something was used.
    dirty: bool,
}

pub(crate) fn now() -> i64 {
    i64::try_from(jiff::Timestamp::now().as_nanosecond()).unwrap_or(i64::MAX)
}

impl Cache {
    /// What cannot be read is said and begun anew: it must not keep a machine from its boot.
    pub(crate) fn open(folder: &Path) -> Result<Self> {
        let path = folder.join("cache.json");
        let table = match linkspan_records::read(&path, FORMAT) {
            Ok(table) => table.unwrap_or_default(),
            Err(error) => {
                tracing::warn!(%error, "builds find nothing of earlier ones");
                // Without their records nobody would ever remove them.
                let mounts = folder.join("mounts");
                match fs::remove_dir_all(&mounts) {
                    Err(error) if error.kind() != ErrorKind::NotFound => {
                        return Err(Error::io("remove", &mounts)(error));
                    }
                    _ => Table::default(),
                }
            }
        };
        Ok(Self { path, table: Mutex::new(State { table, dirty: false }) })
    }

    /// The layer of this key, now used once more.
    pub(crate) fn find(&self, key: &str) -> Option<LayerRecord> {
        let mut state = self.table.lock();
        let record = state.table.layers.get_mut(key)?;
        record.uses += 1;
        record.last_used_unix_nanos = now();
        let found = record.clone();
        state.dirty = true;
        Some(found)
    }

    /// Forgets a key whose layer is gone.
    pub(crate) fn forget(&self, key: &str) {
        let mut state = self.table.lock();
        state.dirty |= state.table.layers.remove(key).is_some();
    }

    /// Keeps a layer under a key. The same content is as old as its first layer.
    pub(crate) fn keep(
        &self,
        key: &str,
        diff_id: Digest,
        size_bytes: u64,
        description: &str,
    ) -> Result<LayerRecord> {
        let mut state = self.table.lock();
        let now = now();
        let same = state.table.layers.values().filter(|record| record.diff_id == diff_id);
        let created = same.map(|record| record.created_unix_nanos).min().unwrap_or(now);
        let record = LayerRecord {
            diff_id,
            size_bytes,
            created_unix_nanos: created,
            last_used_unix_nanos: now,
            uses: 0,
            description: description.to_owned(),
        };
        state.table.layers.insert(key.to_owned(), record.clone());
        self.save(&mut state)?;
        Ok(record)
    }

    /// What was found out before.
    pub(crate) fn content(&self, what: &str) -> Option<String> {
        self.table.lock().table.contents.get(what).cloned()
    }

    /// Remembers what was found out.
    pub(crate) fn remember(&self, what: String, found: &str) {
        let mut state = self.table.lock();
        while state.table.contents.len() >= MOST_CONTENTS {
            state.table.contents.pop_first();
        }
        state.table.contents.insert(what, found.to_owned());
        state.dirty = true;
    }

    /// A cache mount's folder is used.
    pub(crate) fn use_mount(&self, folder: &str, id: &str) {
        let mut state = self.table.lock();
        let now = now();
        let record = state.table.mounts.entry(folder.to_owned()).or_insert_with(|| MountRecord {
            id: id.to_owned(),
            created_unix_nanos: now,
            last_used_unix_nanos: now,
            uses: 0,
        });
        record.uses += 1;
        record.last_used_unix_nanos = now;
        state.dirty = true;
    }

    /// Writes what has changed.
    pub(crate) fn flush(&self) -> Result<()> {
        let mut state = self.table.lock();
        if state.dirty { self.save(&mut state) } else { Ok(()) }
    }

    fn save(&self, state: &mut State) -> Result<()> {
        linkspan_records::write(&self.path, FORMAT, &state.table, Durability::Machine)?;
        state.dirty = false;
        Ok(())
    }

    /// Whether a record has this layer.
    pub(crate) fn uses(&self, layer: &Digest) -> bool {
        self.table.lock().table.layers.values().any(|record| record.diff_id == *layer)
    }

    pub(crate) fn layers(&self) -> BTreeMap<String, LayerRecord> {
        self.table.lock().table.layers.clone()
    }

    pub(crate) fn mounts(&self) -> BTreeMap<String, MountRecord> {
        self.table.lock().table.mounts.clone()
    }

    /// Forgets records, until the next [`Cache::flush`] in memory only. Whether there were any.
    pub(crate) fn drop_all(&self, layers: &BTreeSet<String>, mounts: &BTreeSet<String>) -> bool {
        let mut state = self.table.lock();
        let State { table, dirty } = &mut *state;
        let before = table.layers.len() + table.mounts.len();
        table.layers.retain(|key, _| !layers.contains(key));
        table.mounts.retain(|folder, _| !mounts.contains(folder));
        let dropped = table.layers.len() + table.mounts.len() < before;
        *dirty |= dropped;
        dropped
    }
}
