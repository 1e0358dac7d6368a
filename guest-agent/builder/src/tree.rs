//! Where files are copied from: a context, or the files of a stage or an image.

use std::ffi::OsString;
use std::fs::File;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use linkspan_build::Ignore;
use linkspan_files::archive::Attributes;
use linkspan_files::{FileType, Folder, Leaf, Node as FileNode};
use sha2::{Digest as _, Sha256};

use crate::context::{self, Context, ContextEntry, ContextKind};
use crate::error::{Error, Result};
use crate::glob;

/// Files that can be copied.
pub(crate) enum Tree<'a> {
    Context(&'a Context),
    Files(Folder),
    /// Nothing is in there.
    Empty,
}

/// Something in a tree.
#[derive(Clone)]
pub(crate) struct Node {
    pub(crate) how: Attributes,
    pub(crate) what: What,
}

#[derive(Clone)]
pub(crate) enum What {
    /// With the folder, when it has attributes of its own.
    Folder(Option<Folder>),
    Link(OsString),
    /// A file whose content is somewhere, with its digest.
    Stored {
        size: u64,
        digest: String,
        content: PathBuf,
    },
    /// A file or device of a tree.
    Leaf(Leaf),
}

/// A path that a pattern named: as it was named, and what is there.
pub(crate) struct Match {
    /// Relative, without links followed.
    pub(crate) path: String,
    pub(crate) node: Node,
    /// Where it is, links followed.
    place: String,
}

impl Node {
    pub(crate) fn is_folder(&self) -> bool {
        matches!(self.what, What::Folder(_))
    }

    /// The content of a regular file.
    pub(crate) fn open(&self) -> Result<Option<File>> {
        match &self.what {
            What::Stored { content, .. } => {
                File::open(content).map(Some).map_err(Error::io("open", content))
            }
            What::Leaf(leaf) if leaf.kind() == FileType::RegularFile => {
                Ok(Some(File::from(leaf.open()?)))
            }
            _ => Ok(None),
        }
    }

    fn of_context(entry: Option<&ContextEntry>) -> Self {
        let Some(entry) = entry else {
            // The context itself, as BuildKit shows it.
            let how = Attributes { mode: 0o755, uid: 0, gid: 0, modified: 0 };
            return Self { how, what: What::Folder(None) };
        };
        let how = Attributes { mode: entry.mode, uid: 0, gid: 0, modified: entry.modified };
        let what = match &entry.kind {
            ContextKind::Folder => What::Folder(None),
            ContextKind::Link(target) => What::Link(target.into()),
            ContextKind::File { size, digest, content } => {
                What::Stored { size: *size, digest: digest.clone(), content: content.clone() }
            }
        };
        Self { how, what }
    }

    pub(crate) fn of_files(node: FileNode) -> Result<Self> {
        let stat = node.stat()?;
        let (uid, gid) = (stat.st_uid, stat.st_gid);
        let how = Attributes { mode: stat.st_mode & 0o7777, uid, gid, modified: stat.st_mtime };
        let what = match node {
            FileNode::Folder(folder) => What::Folder(Some(folder)),
            FileNode::Leaf(leaf) if leaf.kind() == FileType::Symlink => What::Link(leaf.target()?),
            FileNode::Leaf(leaf) => What::Leaf(leaf),
        };
        Ok(Self { how, what })
    }
}

impl Tree<'_> {
    /// What a path leads to; the last link is followed.
    fn find(&self, path: &str) -> Result<Option<(String, Node)>> {
        match self {
            Self::Empty => Ok(None),
            Self::Context(context) => {
                let found = context.find(path, true);
                Ok(found.map(|(path, entry)| (path, Node::of_context(entry))))
            }
            Self::Files(root) => {
                let node = root.find(Path::new(path), true)?;
                let Some(node) = node else { return Ok(None) };
                let place = match &node {
                    FileNode::Folder(folder) => folder.path().to_owned(),
                    FileNode::Leaf(leaf) => leaf.path().to_owned(),
                };
                Ok(Some((place.to_string_lossy().into_owned(), Node::of_files(node)?)))
            }
        }
    }

    fn names(&self, folder: &str) -> Result<Vec<String>> {
        match self {
            Self::Empty => Ok(Vec::new()),
            Self::Context(context) => {
                let Some((place, _)) = context.find(folder, true) else { return Ok(Vec::new()) };
                Ok(context.names(&place).into_iter().map(str::to_owned).collect())
            }
            Self::Files(root) => match root.find(Path::new(folder), true)? {
                Some(FileNode::Folder(folder)) => {
                    let names = folder.names()?.into_iter();
                    // What is no text matches no pattern.
                    Ok(names.filter_map(|name| name.into_string().ok()).collect())
                }
                _ => Ok(Vec::new()),
            },
        }
    }

    /// What a path with wildcards names, in order.
    pub(crate) fn matches(&self, pattern: &str) -> Result<Vec<Match>> {
        let mut found = vec![String::new()];
        for part in pattern.split('/').filter(|part| !part.is_empty()) {
            let mut next = Vec::new();
            for folder in &found {
                if part == "**" {
                    next.extend(self.all_folders(folder)?);
                } else if glob::is_pattern(part) {
                    let names = self.names(folder)?;
                    let fits = names.iter().filter(|name| glob::matches(part, name));
                    next.extend(fits.map(|name| context::join(folder, name)));
                } else {
                    next.push(context::join(folder, part));
                }
            }
            found = next;
        }
        found.sort();
        found.dedup();
        let mut matches = Vec::new();
        for path in found {
            if let Some((place, node)) = self.find(&path)? {
                matches.push(Match { path, node, place });
            }
        }
        Ok(matches)
    }

    /// A folder and all folders below it.
    fn all_folders(&self, folder: &str) -> Result<Vec<String>> {
        let mut all = vec![folder.to_owned()];
        let mut at = 0;
        while at < all.len() {
            for name in self.names(&all[at])? {
                let path = context::join(&all[at], &name);
                if self.is_real_folder(&path)? {
                    all.push(path);
                }
            }
            at += 1;
        }
        Ok(all)
    }

    fn is_real_folder(&self, path: &str) -> Result<bool> {
        Ok(match self {
            Self::Empty => false,
            Self::Context(context) => matches!(
                context.find(path, false),
                Some((_, Some(ContextEntry { kind: ContextKind::Folder, .. })))
            ),
            Self::Files(root) => {
                matches!(root.find(Path::new(path), false)?, Some(FileNode::Folder(_)))
            }
        })
    }

    /// What is below a match that is a folder, folders before what is in them, without what is
    /// left out. Paths are relative to the match.
    pub(crate) fn walk(
        &self,
        found: &Match,
        excludes: &Ignore,
        visit: &mut dyn FnMut(&Path, Node) -> Result<()>,
    ) -> Result<()> {
        match self {
            Self::Empty => Ok(()),
            Self::Context(context) => {
                let skip = if found.place.is_empty() { 0 } else { found.place.len() + 1 };
                for (path, entry) in context.below(&found.place) {
                    let relative = &path[skip..];
                    if !excludes.ignores(relative) {
                        visit(Path::new(relative), Node::of_context(Some(entry)))?;
                    }
                }
                Ok(())
            }
            Self::Files(_) => match &found.node.what {
                What::Folder(Some(folder)) => walk_files(folder, Path::new(""), excludes, visit),
                _ => Ok(()),
            },
        }
    }

    /// The digest of what patterns name: paths, modes, owners and contents, not times. `missing`
    /// is the first pattern without wildcards that names nothing.
    pub(crate) fn digest(
        &self,
        patterns: &[String],
        excludes: &Ignore,
        missing: impl Fn(&str) -> Error,
    ) -> Result<String> {
        let mut hash = Sha256::new();
        for pattern in patterns {
            let matches = self.matches(pattern)?;
            if matches.is_empty() && !glob::is_pattern(pattern) {
                return Err(missing(pattern));
            }
            for found in matches {
                hash_node(&mut hash, Path::new(&found.path), &found.node)?;
                self.walk(&found, excludes, &mut |path, node| hash_node(&mut hash, path, &node))?;
            }
        }
        Ok(hex::encode(hash.finalize()))
    }
}

/// A folder of files, all of it.
pub(crate) fn walk_files(
    folder: &Folder,
    path: &Path,
    excludes: &Ignore,
    visit: &mut dyn FnMut(&Path, Node) -> Result<()>,
) -> Result<()> {
    for name in folder.names()? {
        let below = path.join(&name);
        // It has gone since the names were read.
        let Some(node) = folder.child(&name)? else { continue };
        let text = below.to_string_lossy();
        let ignored = excludes.ignores(&text);
        let inner = match &node {
            FileNode::Folder(inner) if !ignored || excludes.may_keep_below(&text) => {
                Some(inner.clone())
            }
            _ => None,
        };
        if !ignored {
            visit(&below, Node::of_files(node)?)?;
        }
        if let Some(inner) = inner {
            walk_files(&inner, &below, excludes, visit)?;
        }
    }
    Ok(())
}

fn hash_node(hash: &mut Sha256, path: &Path, node: &Node) -> Result<()> {
    let mut part = |bytes: &[u8]| {
        // With lengths, so that no two lists of parts read the same.
        hash.update((bytes.len() as u64).to_be_bytes());
        hash.update(bytes);
    };
    part(path.as_os_str().as_bytes());
    let Attributes { mode, uid, gid, .. } = node.how;
    part(format!("{mode:o} {uid}:{gid}").as_bytes());
    match &node.what {
        What::Folder(_) => part(b"folder"),
        What::Link(target) => {
            part(b"link");
            part(target.as_bytes());
        }
        What::Stored { digest, .. } => {
            part(b"file");
            part(digest.as_bytes());
        }
        What::Leaf(leaf) if leaf.kind() == FileType::RegularFile => {
            part(b"file");
            let file = File::from(leaf.open()?);
            let digest = context::digest(file).map_err(Error::io("read", leaf.path()))?;
            part(digest.as_bytes());
        }
        What::Leaf(leaf) => {
            part(b"device");
            part(format!("{:x} {:x}", leaf.stat().st_mode, leaf.stat().st_rdev).as_bytes());
        }
    }
    Ok(())
}
