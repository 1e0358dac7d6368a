//! The files that a build may read: what there is, and where the contents are.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Read;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::{Path, PathBuf};

use linkspan_build::{ContextFilter, MOST_LINKS};
use sha2::{Digest as _, Sha256};

use crate::error::{Error, Result};

/// A context. Paths are relative, without slashes around them; the empty one is not in it.
#[derive(Debug, Default)]
pub struct Context {
    pub(crate) entries: BTreeMap<String, ContextEntry>,
    /// What is left out, for messages.
    pub(crate) ignore: linkspan_build::Ignore,
}

/// Something in a context. Its owner is root.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ContextEntry {
    /// What.
    pub kind: ContextKind,
    /// Permission bits.
    pub mode: u32,
    /// Seconds since 1970.
    pub modified: i64,
}

/// What something in a context is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ContextKind {
    /// A folder.
    Folder,
    /// A symbolic link.
    Link(String),
    /// A file.
    File {
        /// Bytes.
        size: u64,
        /// SHA-256 of its content, in hexadecimal.
        digest: String,
        /// Where the content is.
        content: PathBuf,
    },
}

impl Context {
    /// Reads what a build can use of a folder that is ours, where nobody writes.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(root: &Path, filter: &ContextFilter) -> Result<Self> {
        let mut filter = filter.clone();
        let mut context = Self { entries: BTreeMap::new(), ignore: filter.ignore.clone() };
        loop {
            context.walk(root, &filter)?;
            let links = context.entries.iter().filter_map(|(path, entry)| match &entry.kind {
                ContextKind::Link(target) => Some((path, target)),
                _ => None,
            });
            // What they lead to was passed by.
            if !links.fold(false, |more, (path, target)| filter.follow(path, target) | more) {
                return Ok(context);
            }
        }
    }

    /// Adds what is wanted and not there yet.
    fn walk(&mut self, root: &Path, filter: &ContextFilter) -> Result<()> {
        let mut folders = vec![String::new()];
        while let Some(folder) = folders.pop() {
            let path = root.join(&folder);
            for entry in fs::read_dir(&path).map_err(Error::io("read", &path))? {
                let entry = entry.map_err(Error::io("read", &path))?;
                // A name that is no text cannot be asked for by a Dockerfile.
                let Ok(name) = entry.file_name().into_string() else { continue };
                let below = join(&folder, &name);
                let metadata = entry.metadata().map_err(Error::io("look at", entry.path()))?;
                if !wanted(filter, &below, metadata.is_dir()) {
                    continue;
                }
                if metadata.is_dir() {
                    folders.push(below.clone());
                }
                if self.entries.contains_key(&below) {
                    continue;
                }
                let kind = if metadata.is_dir() {
                    ContextKind::Folder
                } else if metadata.is_symlink() {
                    let target =
                        fs::read_link(entry.path()).map_err(Error::io("read", entry.path()))?;
                    ContextKind::Link(target.to_string_lossy().into_owned())
                } else if metadata.is_file() {
                    let content = entry.path();
                    let file = File::open(&content).map_err(Error::io("open", &content))?;
                    let digest = digest(file).map_err(Error::io("read", &content))?;
                    ContextKind::File { size: metadata.len(), digest, content }
                } else {
                    continue;
                };
                let mode = metadata.permissions().mode() & 0o7777;
                let modified = metadata.mtime();
                self.entries.insert(below, ContextEntry { kind, mode, modified });
            }
        }
        Ok(())
    }

    /// What a path leads to, links on the way followed within the context, and the path without
    /// them. None for the context itself.
    pub(crate) fn find(&self, path: &str, follow: bool) -> Option<(String, Option<&ContextEntry>)> {
        let mut here: Vec<String> = Vec::new();
        let mut left: Vec<String> = path.split('/').rev().map(str::to_owned).collect();
        let mut links = 0;
        while let Some(part) = left.pop() {
            match part.as_str() {
                "" | "." => continue,
                ".." => {
                    here.pop();
                    continue;
                }
                _ => here.push(part),
            }
            let entry = self.entries.get(&here.join("/"))?;
            if let ContextKind::Link(target) = &entry.kind
                && (follow || !left.is_empty())
            {
                links += 1;
                if links > MOST_LINKS {
                    return None;
                }
                here.pop();
                if target.starts_with('/') {
                    here.clear();
                }
                left.extend(target.split('/').rev().map(str::to_owned));
            } else if !left.is_empty() && entry.kind != ContextKind::Folder {
                return None;
            }
        }
        let path = here.join("/");
        let entry = self.entries.get(&path);
        Some((path, entry))
    }

    /// The names in a folder.
    pub(crate) fn names(&self, folder: &str) -> Vec<&str> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        self.below(folder)
            .filter_map(|(path, _)| path.strip_prefix(&prefix).filter(|rest| !rest.contains('/')))
            .collect()
    }

    /// All below a folder, folders before what is in them.
    pub(crate) fn below<'a>(
        &'a self,
        folder: &str,
    ) -> impl Iterator<Item = (&'a str, &'a ContextEntry)> + use<'a> {
        let prefix = if folder.is_empty() { String::new() } else { format!("{folder}/") };
        self.entries
            .range(prefix.clone()..)
            .take_while(move |(path, _)| path.starts_with(&prefix))
            .map(|(path, entry)| (path.as_str(), entry))
    }
}

/// Whether a build can use what is at a path of a context.
pub(crate) fn wanted(filter: &ContextFilter, path: &str, is_folder: bool) -> bool {
    filter.uses(path) && (is_folder || !filter.ignore.ignores(path))
}

pub(crate) fn join(folder: &str, name: &str) -> String {
    if folder.is_empty() { name.to_owned() } else { format!("{folder}/{name}") }
}

/// SHA-256 of all that comes, in hexadecimal.
pub(crate) fn digest(mut reader: impl Read) -> std::io::Result<String> {
    let mut hash = Sha256::new();
    std::io::copy(&mut reader, &mut hash)?;
    Ok(hex::encode(hash.finalize()))
}
