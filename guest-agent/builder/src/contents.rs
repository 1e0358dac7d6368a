//! The contents of a client's context: only those travel that have changed since the last build.
//!
//! A file whose size and time are as before is taken to have its content of before, as make and rsync
//! do; a folder of the same name on the same client is the same context.

use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::fs::{self, File};
use std::io::{Read, Write as _};
use std::path::{Path, PathBuf};
use std::time::SystemTime;

use linkspan_build::ContextFilter;
use linkspan_records::Durability;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::Builder;
use crate::context::{Context, ContextEntry, ContextKind, join, wanted};
use crate::error::{Error, Result};

/// Raised when an older program could not read the file any more.
pub(crate) const FORMAT: u32 = 2;
const BUFFER: usize = 256 * 1024;
/// For more files it costs less to read the folder of all contents than to look at each.
const MANY: usize = 500;

/// What a client says of something in a folder of its context.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listed {
    /// One part of a path.
    pub name: String,
    /// What it is.
    pub kind: ListedKind,
    /// Permission bits.
    pub mode: u32,
    /// When it was changed; nanoseconds since 1970.
    pub modified_unix_nanos: i64,
}

/// What something in a client's context is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ListedKind {
    /// A file of so many bytes.
    File(u64),
    /// A folder.
    Folder,
    /// A symbolic link, and where it points.
    Link(String),
}

/// What is known of the files of one context. When it was last used is the time of its file, so that a
/// build that changes nothing does not write ten thousand names anew.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Known {
    /// How the client called it.
    name: String,
    files: BTreeMap<String, KnownFile>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct KnownFile {
    size: u64,
    modified: i64,
    digest: String,
}

/// A context that is being found out about: folder by folder, so that nothing of what is left out
/// is looked at.
pub struct Listing<'a> {
    builder: &'a Builder,
    filter: ContextFilter,
    known: Known,
    entries: BTreeMap<String, Listed>,
    /// What was listed and is not wanted, unless a link leads there.
    aside: BTreeMap<String, Listed>,
    folders: Vec<String>,
    /// All names of the folders that were listed.
    seen: BTreeSet<String>,
    listed: BTreeSet<String>,
    /// Contents came.
    received: bool,
}

impl Builder {
    fn known_path(&self, name: &str) -> PathBuf {
        let name = hex::encode(Sha256::digest(name));
        self.folder.join("contexts").join(name).with_extension("json")
    }

    fn file_path(&self, digest: &str) -> PathBuf {
        self.folder.join("files").join(digest)
    }

    /// Begins with the context that a client calls so.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn listing(&self, name: &str, filter: &ContextFilter) -> Result<Listing<'_>> {
        let path = self.known_path(name);
        let known = match linkspan_records::read::<Known>(&path, FORMAT) {
            Ok(known) => known.unwrap_or_default(),
            // It only says what need not be sent.
            Err(linkspan_records::Error::Content { .. }) => Known::default(),
            Err(error) => return Err(error.into()),
        };
        let folders = if filter.is_empty() { Vec::new() } else { vec![String::new()] };
        Ok(Listing {
            builder: self,
            filter: filter.clone(),
            known: Known { name: name.to_owned(), ..known },
            entries: BTreeMap::new(),
            aside: BTreeMap::new(),
            folders,
            seen: BTreeSet::new(),
            listed: BTreeSet::new(),
            received: false,
        })
    }
}

impl Listing<'_> {
    /// The folders to look at next; empty: all is known.
    #[must_use]
    pub fn folders(&mut self) -> Vec<String> {
        while self.folders.is_empty() && self.follow() {}
        std::mem::take(&mut self.folders)
    }

    /// What is in a folder.
    ///
    /// # Errors
    /// [`Error::Context`] for names that are none.
    pub fn take(&mut self, folder: &str, entries: Vec<Listed>) -> Result<()> {
        self.listed.insert(folder.to_owned());
        for entry in entries {
            if entry.name.is_empty()
                || entry.name.contains(['/', '\0'])
                || matches!(entry.name.as_str(), "." | "..")
            {
                return Err(Error::Context { path: entry.name, why: "is not a file name" });
            }
            let path = join(folder, &entry.name);
            self.seen.insert(path.clone());
            self.consider(path, entry);
        }
        Ok(())
    }

    fn consider(&mut self, path: String, entry: Listed) {
        let is_folder = entry.kind == ListedKind::Folder;
        if !wanted(&self.filter, &path, is_folder) {
            self.aside.insert(path, entry);
            return;
        }
        if is_folder {
            self.folders.push(path.clone());
        }
        self.entries.insert(path, entry);
    }

    /// Lets in what the links lead to. Whether that is more than before.
    fn follow(&mut self) -> bool {
        let links = self.entries.iter().filter_map(|(path, entry)| match &entry.kind {
            ListedKind::Link(target) => Some((path, target)),
            _ => None,
        });
        let filter = &mut self.filter;
        let more = links.fold(false, |more, (path, target)| filter.follow(path, target) | more);
        if more {
            for (path, entry) in std::mem::take(&mut self.aside) {
                self.consider(path, entry);
            }
        }
        more
    }

    /// The files whose contents are not here.
    #[must_use]
    pub fn missing(&self) -> Vec<String> {
        let names = match self.entries.len() {
            0..=MANY => None,
            // Without it each is looked at.
            _ => self.builder.contents_here().ok(),
        };
        let is_here = |digest: &str| match &names {
            Some(names) => names.contains(digest),
            None => self.builder.file_path(digest).exists(),
        };
        let lacks = |(path, entry): &(&String, &Listed)| match entry.kind {
            ListedKind::File(size) => {
                let known = self.known.files.get(*path).filter(|known| {
                    known.size == size && known.modified == entry.modified_unix_nanos
                });
                !known.is_some_and(|known| is_here(&known.digest))
            }
            _ => false,
        };
        self.entries.iter().filter(lacks).map(|(path, _)| path.clone()).collect()
    }

    /// Takes the contents of these files: for each its length in 8 bytes, the lowest first, and its
    /// bytes.
    ///
    /// # Errors
    /// [`Error::Changed`] when a file is not as it was listed; [`Error::Io`].
    pub fn receive(&mut self, paths: &[String], mut from: impl Read) -> Result<()> {
        self.received = true;
        let mut buffer = vec![0; BUFFER];
        for path in paths {
            let Some(entry) = self.entries.get(path) else {
                return Err(Error::Context { path: path.clone(), why: "was not listed" });
            };
            let mut length = [0; 8];
            let broken = |error| Error::io("receive", path)(error);
            from.read_exact(&mut length).map_err(broken)?;
            let size = u64::from_le_bytes(length);
            if entry.kind != ListedKind::File(size) {
                return Err(Error::Changed { path: path.clone() });
            }
            let digest = self.builder.store_file(path, size, &mut from, &mut buffer)?;
            let modified = entry.modified_unix_nanos;
            self.known.files.insert(path.clone(), KnownFile { size, modified, digest });
        }
        Ok(())
    }

    /// The context, when nothing is missing any more.
    ///
    /// # Errors
    /// [`Error::Io`].
    pub fn finish(mut self) -> Result<Context> {
        let mut context = Context { entries: BTreeMap::new(), ignore: self.filter.ignore.clone() };
        for (path, entry) in &self.entries {
            let kind = match &entry.kind {
                ListedKind::Folder => ContextKind::Folder,
                ListedKind::Link(target) => ContextKind::Link(target.clone()),
                ListedKind::File(size) => {
                    let Some(known) = self.known.files.get(path) else {
                        return Err(Error::Context { path: path.clone(), why: "was not sent" });
                    };
                    ContextKind::File {
                        size: *size,
                        digest: known.digest.clone(),
                        content: self.builder.file_path(&known.digest),
                    }
                }
            };
            let modified = entry.modified_unix_nanos.div_euclid(1_000_000_000);
            let mode = entry.mode & 0o7777;
            context.entries.insert(path.clone(), ContextEntry { kind, mode, modified });
        }
        // What has gone is forgotten; what this build did not look at may be of use to another.
        let (listed, seen) = (&self.listed, &self.seen);
        let before = self.known.files.len();
        self.known.files.retain(|path, _| {
            let folder = path.rsplit_once('/').map_or("", |(folder, _)| folder);
            !listed.contains(folder) || seen.contains(path)
        });
        if self.received {
            // Before anything says that they are there.
            let folder = &self.builder.folder;
            let opened = File::open(folder).map_err(Error::io("open", folder))?;
            rustix::fs::syncfs(&opened).map_err(Error::io("sync", folder))?;
        }
        let path = self.builder.known_path(&self.known.name);
        let same = !self.received && self.known.files.len() == before;
        if !(same && touch(&path)) {
            linkspan_records::write(&path, FORMAT, &self.known, Durability::Machine)?;
        }
        Ok(context)
    }
}

/// Makes now the time of a file. False: it is not there, or cannot be changed.
fn touch(path: &Path) -> bool {
    let file = File::options().append(true).open(path);
    file.is_ok_and(|file| file.set_modified(SystemTime::now()).is_ok())
}

impl Builder {
    /// The digests of all contents that are here.
    fn contents_here(&self) -> std::io::Result<HashSet<String>> {
        let names = fs::read_dir(self.folder.join("files"))?;
        names.map(|entry| Ok(entry?.file_name().to_string_lossy().into_owned())).collect()
    }

    /// Keeps a content under its digest.
    fn store_file(
        &self,
        path: &str,
        size: u64,
        from: &mut impl Read,
        buffer: &mut [u8],
    ) -> Result<String> {
        let temporary = self.folder.join("files").join(format!("{}.new", self.new_id()));
        let result = (|| {
            let mut file = File::create(&temporary).map_err(Error::io("create", &temporary))?;
            let (mut left, mut hash) = (size, Sha256::new());
            while left > 0 {
                let most = usize::try_from(left).unwrap_or(usize::MAX).min(buffer.len());
                let length = from.read(&mut buffer[..most]).map_err(Error::io("receive", path))?;
                if length == 0 {
                    return Err(Error::Changed { path: path.to_owned() });
                }
                hash.update(&buffer[..length]);
                file.write_all(&buffer[..length]).map_err(Error::io("write", &temporary))?;
                left -= length as u64;
            }
            let digest = hex::encode(hash.finalize());
            let place = self.file_path(&digest);
            fs::rename(&temporary, &place).map_err(Error::io("create", &place))?;
            Ok(digest)
        })();
        if result.is_err() {
            // It may not even be there; what stays goes with the next prune.
            let _ = fs::remove_file(&temporary);
        }
        result
    }
}
