//! A layer before it is one: what it adds, by path, on top of the files below.

use std::collections::{BTreeMap, HashMap};
use std::ffi::OsStr;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::path::{Component, Path, PathBuf};

use linkspan_files::archive::{Attributes, Entry};
use linkspan_files::{Archive, FileType, Folder, Node as FileNode};
use linkspan_images::{CopyIn, Limits, copy_in};

use crate::BUFFER;
use crate::error::{Error, Result};
use crate::tree::{Node, What};

/// As many as the kernel follows in one path (path_resolution(7)).
const MOST_LINKS: usize = 40;
/// What to add. Paths are relative to the root, in the order of the archive.
pub(crate) struct Layer<'a> {
    below: Option<&'a Folder>,
    items: BTreeMap<PathBuf, Item>,
    /// Folders of the files below that were looked at.
    folders: HashMap<PathBuf, Option<Folder>>,
    /// Of folders that are made on the way.
    made: Attributes,
}

enum Item {
    Node(Node),
    Inline { how: Attributes, content: Vec<u8> },
}

impl Item {
    fn is_folder(&self) -> bool {
        matches!(self, Self::Node(node) if node.is_folder())
    }
}

impl<'a> Layer<'a> {
    /// Nothing yet. `made`: owner, mode and time of folders that are made on the way.
    pub(crate) fn new(below: Option<&'a Folder>, made: Attributes) -> Self {
        Self { below, items: BTreeMap::new(), folders: HashMap::new(), made }
    }

    /// Where a path leads in the files below, links followed; what is not there is taken as it is
    /// written.
    pub(crate) fn resolve(&self, path: &str) -> Result<PathBuf> {
        resolve(self.below, Path::new(path))
    }

    /// Whether there is a folder, below or in this layer.
    pub(crate) fn has_folder(&mut self, path: &Path) -> Result<bool> {
        if let Some(item) = self.items.get(path) {
            return Ok(item.is_folder());
        }
        Ok(path.as_os_str().is_empty() || self.folder_below(path)?.is_some())
    }

    fn folder_below(&mut self, path: &Path) -> Result<Option<Folder>> {
        if path.as_os_str().is_empty() {
            return Ok(self.below.cloned());
        }
        if let Some(known) = self.folders.get(path) {
            return Ok(known.clone());
        }
        let found = match self.node_below(path)? {
            Some(FileNode::Folder(folder)) => Some(folder),
            _ => None,
        };
        self.folders.insert(path.to_owned(), found.clone());
        Ok(found)
    }

    fn node_below(&mut self, path: &Path) -> Result<Option<FileNode>> {
        let (Some(parent), Some(name)) = (path.parent(), path.file_name()) else {
            return Ok(None);
        };
        match self.folder_below(parent)? {
            Some(folder) => Ok(folder.child(name)?),
            None => Ok(None),
        }
    }

    /// Makes a folder and those above it where they are missing.
    pub(crate) fn make_folder(&mut self, path: &Path) -> Result<()> {
        self.make_parents(path)?;
        if path.as_os_str().is_empty() || self.items.contains_key(path) {
            return self.must_be_folder(path);
        }
        let node = match self.node_below(path)? {
            // It stays as it is; it is named, because what is in it needs it.
            Some(FileNode::Folder(folder)) => Node::of_files(FileNode::Folder(folder))?,
            Some(FileNode::Leaf(_)) => return Err(not_a_folder(path)),
            None => Node { how: self.made, what: What::Folder(None) },
        };
        self.items.insert(path.to_owned(), Item::Node(node));
        Ok(())
    }

    fn must_be_folder(&self, path: &Path) -> Result<()> {
        match self.items.get(path) {
            Some(item) if !item.is_folder() => Err(not_a_folder(path)),
            _ => Ok(()),
        }
    }

    fn make_parents(&mut self, path: &Path) -> Result<()> {
        match path.parent() {
            Some(parent) if !parent.as_os_str().is_empty() => self.make_folder(parent),
            _ => Ok(()),
        }
    }

    /// Puts something there. A folder merges with one that is there and gives it its attributes;
    /// folders and other things do not replace each other.
    pub(crate) fn put(&mut self, path: &Path, node: Node) -> Result<()> {
        self.check(path, node.is_folder())?;
        self.items.insert(path.to_owned(), Item::Node(node));
        Ok(())
    }

    /// Puts a file there.
    pub(crate) fn put_inline(
        &mut self,
        path: &Path,
        how: Attributes,
        content: Vec<u8>,
    ) -> Result<()> {
        self.check(path, false)?;
        self.items.insert(path.to_owned(), Item::Inline { how, content });
        Ok(())
    }

    fn check(&mut self, path: &Path, is_folder: bool) -> Result<()> {
        self.make_parents(path)?;
        let there = match self.items.get(path) {
            Some(item) => Some(item.is_folder()),
            None => self.node_below(path)?.map(|node| matches!(node, FileNode::Folder(_))),
        };
        match there {
            Some(true) if !is_folder => Err(Error::Destination {
                path: shown(path),
                why: "a folder is there, and what is copied is none",
            }),
            Some(false) if is_folder => Err(not_a_folder(path)),
            _ => Ok(()),
        }
    }

    /// Writes the layer as a tar.
    pub(crate) fn write(self, out: impl Write) -> Result<()> {
        let mut archive = Archive::new(BufWriter::with_capacity(BUFFER, out));
        for (path, item) in &self.items {
            match item {
                Item::Inline { how, content } => {
                    let size = content.len() as u64;
                    archive.entry(path, how, Entry::File(size, &mut content.as_slice()))?;
                }
                Item::Node(Node { how, what }) => match what {
                    What::Folder(folder) => {
                        archive.entry(path, how, Entry::Folder(folder.as_ref()))?;
                    }
                    What::Link(target) => {
                        let how = Attributes { mode: 0o777, ..*how };
                        archive.entry(path, &how, Entry::Link(target))?;
                    }
                    What::Leaf(leaf) => archive.entry(path, how, Entry::Leaf(leaf))?,
                    What::Stored { size, content, .. } => {
                        let mut file = File::open(content).map_err(Error::io("open", content))?;
                        archive.entry(path, how, Entry::File(*size, &mut file))?;
                    }
                },
            }
        }
        archive.finish()?.flush().map_err(linkspan_files::Error::Write)?;
        Ok(())
    }
}

impl Layer<'_> {
    /// Makes the files in an empty folder of ours.
    pub(crate) fn copy_to(self, folder: &Path) -> Result<()> {
        let (pipe, out) = std::io::pipe().map_err(Error::io("make", Path::new("a pipe")))?;
        let root = File::open(folder).map_err(Error::io("open", folder))?;
        std::thread::scope(|scope| {
            let taking = scope.spawn(|| {
                copy_in(
                    pipe,
                    root.into(),
                    Path::new("/"),
                    CopyIn { keep_owner: true, ..CopyIn::default() },
                    None,
                    &Limits::default(),
                )
            });
            let written = self.write(out);
            let taken = taking.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic));
            // The reader's word counts when the writer only noticed that it had gone.
            taken?;
            written
        })
    }
}

fn shown(path: &Path) -> String {
    format!("/{}", path.display())
}

fn not_a_folder(path: &Path) -> Error {
    Error::Destination { path: shown(path), why: "what is there is no folder" }
}

/// Where a path leads, links followed within the tree: relative to its top. From the first part
/// that is not there on, it is taken as it is written.
pub(crate) fn resolve(root: Option<&Folder>, path: &Path) -> Result<PathBuf> {
    let mut here: Vec<(std::ffi::OsString, Option<Folder>)> = Vec::new();
    let mut left = names(path);
    let mut links = 0;
    while let Some(name) = left.pop() {
        if name == ".." {
            here.pop();
            continue;
        }
        let folder = here.last().map_or(root, |(_, folder)| folder.as_ref());
        let node = folder.map(|folder| folder.child(&name)).transpose()?.flatten();
        match node {
            Some(FileNode::Folder(folder)) => here.push((name, Some(folder))),
            Some(FileNode::Leaf(leaf)) if leaf.kind() == FileType::Symlink => {
                links += 1;
                if links > MOST_LINKS {
                    let path = path.to_owned();
                    return Err(linkspan_files::Error::Loop { path }.into());
                }
                let target = PathBuf::from(leaf.target()?);
                if target.is_absolute() {
                    here.clear();
                }
                left.extend(names(&target));
            }
            _ => here.push((name, None)),
        }
    }
    Ok(here.into_iter().map(|(name, _)| name).collect())
}

/// The parts of a path, the first one last.
fn names(path: &Path) -> Vec<std::ffi::OsString> {
    let name = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some(OsStr::new("..").to_owned()),
        _ => None,
    };
    path.components().rev().filter_map(name).collect()
}
