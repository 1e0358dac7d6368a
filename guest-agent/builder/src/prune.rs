//! What earlier builds left, told and removed: BuildKit's `du` and `prune`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use serde::Deserialize;

use crate::Builder;
use crate::cache::now;
use crate::contents::FORMAT;
use crate::error::{Error, Result};

/// What a record is; the names are BuildKit's.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum RecordKind {
    /// The layer of a step.
    Layer,
    /// The folder of a cache mount.
    CacheMount,
    /// The files of a context.
    Context,
}

impl RecordKind {
    /// BuildKit's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::Layer => "regular",
            Self::CacheMount => "exec.cachemount",
            Self::Context => "source.local",
        }
    }
}

/// Something that is kept for later builds.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Record {
    /// The key of a step; the name of a folder.
    pub id: String,
    /// What it is.
    pub kind: RecordKind,
    /// For people.
    pub description: String,
    /// What it takes.
    pub size_bytes: u64,
    /// When it was made; nanoseconds since 1970. 0: unknown.
    pub created_unix_nanos: i64,
    /// When it was last used; nanoseconds since 1970.
    pub last_used_unix_nanos: i64,
    /// How often it was found.
    pub uses: u64,
    /// A build uses it now.
    pub in_use: bool,
    /// An image has it too.
    pub shared: bool,
}

/// What `prune` may remove.
#[derive(Debug, Clone, Default)]
pub struct PruneOptions {
    /// Also what images share.
    pub all: bool,
    /// KEY=VALUE, or KEY!=VALUE.
    pub filters: Vec<String>,
    /// So many bytes may stay, the last used first.
    pub keep_bytes: u64,
}

/// What `prune` has done.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// Ids of records.
    pub removed: Vec<String>,
    /// Bytes of what is not shared.
    pub freed_bytes: u64,
}

enum Filter {
    /// Last used before; nanoseconds since 1970.
    Until(i64),
    Is {
        field: Field,
        value: String,
        negated: bool,
    },
}

#[derive(Clone, Copy)]
enum Field {
    Id,
    Kind,
    Description,
    Shared,
    InUse,
}

impl Filter {
    fn parse(text: &str) -> Result<Self> {
        let bad = |why: &str| Error::Filter { filter: text.to_owned(), why: why.to_owned() };
        let (key, value) = text.split_once('=').ok_or_else(|| bad("it has to be KEY=VALUE"))?;
        let (key, negated) = key.strip_suffix('!').map_or((key, false), |key| (key, true));
        let field = match key {
            "until" | "unused-for" if !negated => {
                let span: jiff::SignedDuration =
                    value.parse().map_err(|_| bad("that is not a span of time, such as 24h"))?;
                let nanos = i64::try_from(span.as_nanos()).unwrap_or(i64::MAX);
                return Ok(Self::Until(now().saturating_sub(nanos)));
            }
            "id" => Field::Id,
            "type" => Field::Kind,
            "description" => Field::Description,
            "shared" => Field::Shared,
            "inuse" => Field::InUse,
            _ => {
                return Err(bad(
                    "the key is not one of until, id, type, description, shared, inuse",
                ));
            }
        };
        Ok(Self::Is { field, value: value.to_owned(), negated })
    }

    fn matches(&self, record: &Record) -> bool {
        match self {
            Self::Until(time) => record.last_used_unix_nanos < *time,
            Self::Is { field, value, negated } => {
                let found = match field {
                    Field::Id => record.id.starts_with(value),
                    Field::Kind => record.kind.name() == value,
                    Field::Description => record.description.contains(value),
                    Field::Shared => record.shared.to_string() == *value,
                    Field::InUse => record.in_use.to_string() == *value,
                };
                found != *negated
            }
        }
    }
}

/// What is read of a context's file here.
#[derive(Deserialize)]
struct Known {
    name: String,
    files: BTreeMap<String, KnownFile>,
}

#[derive(Deserialize)]
struct KnownFile {
    size: u64,
    digest: String,
}

impl Builder {
    /// What is kept, the last used first. Measures the folders of cache mounts.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn records(&self) -> Result<Vec<Record>> {
        let active = *self.active.lock() > 0;
        self.records_while(active)
    }

    fn records_while(&self, active: bool) -> Result<Vec<Record>> {
        let mut records = Vec::new();
        for (id, layer) in self.cache.layers() {
            records.push(Record {
                id,
                kind: RecordKind::Layer,
                description: layer.description,
                size_bytes: layer.size_bytes,
                created_unix_nanos: layer.created_unix_nanos,
                last_used_unix_nanos: layer.last_used_unix_nanos,
                uses: layer.uses,
                in_use: self.store.is_held(&layer.diff_id),
                shared: self.store.is_of_image(&layer.diff_id),
            });
        }
        for (id, mount) in self.cache.mounts() {
            records.push(Record {
                kind: RecordKind::CacheMount,
                description: format!("cache mount {}", mount.id),
                size_bytes: size_of(&self.mounts.path(&id))?,
                created_unix_nanos: mount.created_unix_nanos,
                last_used_unix_nanos: mount.last_used_unix_nanos,
                uses: mount.uses,
                in_use: self.mounts.in_use(&id),
                shared: false,
                id,
            });
        }
        for (id, known, last_used_unix_nanos) in self.contexts()? {
            let contents: BTreeMap<&str, u64> =
                known.files.values().map(|file| (file.digest.as_str(), file.size)).collect();
            records.push(Record {
                id,
                kind: RecordKind::Context,
                description: format!("build context {}", known.name),
                size_bytes: contents.values().sum(),
                created_unix_nanos: 0,
                last_used_unix_nanos,
                uses: 0,
                in_use: active,
                shared: false,
            });
        }
        records.sort_by_key(|record| std::cmp::Reverse(record.last_used_unix_nanos));
        Ok(records)
    }

    /// The records of contexts: name of the file, what it says, when it was last used.
    fn contexts(&self) -> Result<Vec<(String, Known, i64)>> {
        let folder = self.folder.join("contexts");
        let mut all = Vec::new();
        for entry in fs::read_dir(&folder).map_err(Error::io("read", &folder))? {
            let path = entry.map_err(Error::io("read", &folder))?.path();
            let name = path.file_stem().and_then(|name| name.to_str()).map(str::to_owned);
            // One that cannot be read is of no use to anybody, and is replaced by the next build.
            if let (Some(name), Ok(Some(known))) =
                (name, linkspan_records::read::<Known>(&path, FORMAT))
            {
                let used = modified(&path).map_err(Error::io("look at", &path))?;
                all.push((name, known, used));
            }
        }
        Ok(all)
    }

    /// Removes what no build uses. `collect` is called when records of layers have gone, to remove
    /// the layers that nobody has any more.
    ///
    /// # Errors
    /// [`Error::Filter`], [`Error::Io`] and what `collect` says.
    pub fn prune(
        &self,
        options: &PruneOptions,
        collect: impl FnOnce() -> Result<()>,
    ) -> Result<Pruned> {
        let filters =
            options.filters.iter().map(|text| Filter::parse(text)).collect::<Result<Vec<_>>>()?;
        // No build begins meanwhile that would count on what goes.
        let active = self.active.lock();
        let mut pruned = Pruned::default();
        let (mut layers, mut mounts) = (BTreeSet::new(), BTreeSet::new());
        let mut kept = 0_u64;
        for record in self.records_while(*active > 0)? {
            let wanted = filters.iter().all(|filter| filter.matches(&record));
            let free = !record.in_use && (options.all || !record.shared);
            if !wanted || !free || kept.saturating_add(record.size_bytes) <= options.keep_bytes {
                kept = kept.saturating_add(record.size_bytes);
                continue;
            }
            match record.kind {
                RecordKind::Layer => drop(layers.insert(record.id.clone())),
                RecordKind::CacheMount if self.mounts.remove(&record.id)? => {
                    mounts.insert(record.id.clone());
                }
                RecordKind::CacheMount => continue,
                RecordKind::Context => {
                    let path = self.folder.join("contexts").join(&record.id);
                    let path = path.with_extension("json");
                    fs::remove_file(&path).map_err(Error::io("remove", &path))?;
                }
            }
            if !record.shared {
                pruned.freed_bytes += record.size_bytes;
            }
            pruned.removed.push(record.id);
        }
        let dropped = self.cache.drop_all(&layers, &mounts);
        if *active == 0 {
            self.remove_contents()?;
        }
        drop(active);
        if !layers.is_empty() {
            collect()?;
        }
        // Last, so that a full disk has room for it again. Should it not come to this, the file
        // has records of layers that have gone, which are none.
        if dropped {
            self.cache.flush()?;
        }
        Ok(pruned)
    }

    /// Removes contents that no context has.
    fn remove_contents(&self) -> Result<()> {
        let contexts = self.contexts()?;
        let used: BTreeSet<&str> = contexts
            .iter()
            .flat_map(|(_, known, _)| known.files.values())
            .map(|file| file.digest.as_str())
            .collect();
        let folder = self.folder.join("files");
        for entry in fs::read_dir(&folder).map_err(Error::io("read", &folder))? {
            let entry = entry.map_err(Error::io("read", &folder))?;
            if entry.file_name().to_str().is_none_or(|name| !used.contains(name)) {
                fs::remove_file(entry.path()).map_err(Error::io("remove", entry.path()))?;
            }
        }
        Ok(())
    }
}

/// When a file was last written or touched; nanoseconds since 1970.
fn modified(path: &Path) -> std::io::Result<i64> {
    let time = fs::metadata(path)?.modified()?;
    let since = time.duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    Ok(i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
}

/// The sizes of all files in a folder; what has gone meanwhile counts nothing.
fn size_of(folder: &Path) -> Result<u64> {
    let mut size = 0;
    let Ok(entries) = fs::read_dir(folder) else { return Ok(0) };
    for entry in entries.flatten() {
        let Ok(metadata) = entry.metadata() else { continue };
        size += if metadata.is_dir() { size_of(&entry.path())? } else { metadata.len() };
    }
    Ok(size)
}
