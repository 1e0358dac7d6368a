//! Some layers, seen as overlayfs would show them (overlayfs.rst, "whiteouts and opaque
//! directories"), without a mount: so what a running container has mounted over its root is not
//! in the way, and nothing needs to be cleaned up.
//!
//! A single folder is a stack of one layer: what is said here goes for plain trees too.

use std::ffi::{OsStr, OsString};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Component, Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, Dir, FileType, Mode, OFlags, Stat};
use rustix::io::Errno;

use crate::error::{Error, Result};

/// Read-only, and never by way of a symbolic link.
pub(crate) const READ: OFlags =
    OFlags::RDONLY.union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC).union(OFlags::NONBLOCK);
const FOLDER: OFlags = READ.union(OFlags::DIRECTORY);
const OPAQUE: &str = "trusted.overlay.opaque";
/// As many as the kernel follows in one path (path_resolution(7)).
const MOST_LINKS: usize = 40;

/// A folder: those of each layer that merge into it, the top one first.
#[derive(Debug, Clone)]
pub struct Folder {
    parts: Vec<Rc<OwnedFd>>,
    path: PathBuf,
}

/// Something that is no folder.
#[derive(Debug, Clone)]
pub struct Leaf {
    parent: Rc<OwnedFd>,
    path: PathBuf,
    name: OsString,
    stat: Stat,
}

/// What a name stands for.
#[derive(Debug, Clone)]
pub enum Node {
    /// A folder.
    Folder(Folder),
    /// Anything else.
    Leaf(Leaf),
}

impl Node {
    /// Owner, mode, times.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn stat(&self) -> Result<Stat> {
        match self {
            Self::Folder(folder) => folder.stat(),
            Self::Leaf(leaf) => Ok(leaf.stat),
        }
    }
}

impl Leaf {
    /// Owner, mode, times.
    #[must_use]
    pub fn stat(&self) -> &Stat {
        &self.stat
    }

    /// What it is.
    #[must_use]
    pub fn kind(&self) -> FileType {
        FileType::from_raw_mode(self.stat.st_mode)
    }

    /// The folder that holds it, in its layer, and its name there.
    #[must_use]
    pub fn place(&self) -> (BorrowedFd<'_>, &OsStr) {
        (self.parent.as_fd(), &self.name)
    }

    /// Opens a regular file.
    ///
    /// # Errors
    /// When it is none, or has gone.
    pub fn open(&self) -> Result<OwnedFd> {
        rustix::fs::openat(&self.parent, &*self.name, READ, Mode::empty())
            .map_err(Error::io("open", &self.path))
    }

    /// Where a symbolic link points.
    ///
    /// # Errors
    /// When it is none.
    pub fn target(&self) -> Result<OsString> {
        let target = rustix::fs::readlinkat(&self.parent, &*self.name, Vec::new())
            .map_err(Error::io("read", &self.path))?;
        Ok(OsStr::from_bytes(target.as_bytes()).to_owned())
    }

    /// Its path in the tree, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Folder {
    /// The top folder of these layers, the base first.
    ///
    /// # Errors
    /// When one of them cannot be opened.
    pub fn of_layers<P: AsRef<Path>>(layers: &[P]) -> Result<Self> {
        let open = |layer: &P| {
            // A layer's own path may be a link: it is ours.
            let flags = FOLDER.difference(OFlags::NOFOLLOW);
            rustix::fs::open(layer.as_ref(), flags, Mode::empty())
                .map(Rc::new)
                .map_err(Error::io("open", layer))
        };
        let parts = layers.iter().rev().map(open).collect::<Result<_>>()?;
        Ok(Self { parts, path: PathBuf::from("/") })
    }

    /// A plain tree.
    #[must_use]
    pub fn plain(folder: OwnedFd) -> Self {
        Self { parts: vec![Rc::new(folder)], path: PathBuf::from("/") }
    }

    /// The folder itself, in the topmost layer that has it.
    ///
    /// # Errors
    /// `ENOENT`: it has no layers.
    pub fn top(&self) -> Result<BorrowedFd<'_>> {
        let top = self.parts.first().ok_or(Errno::NOENT);
        top.map(AsFd::as_fd).map_err(Error::io("open", &self.path))
    }

    /// Owner, mode, times.
    ///
    /// # Errors
    /// When the kernel does not tell.
    pub fn stat(&self) -> Result<Stat> {
        rustix::fs::fstat(self.top()?).map_err(Error::io("look at", &self.path))
    }

    /// Its path in the tree, for messages.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What is in it under this name. A symbolic link is not followed.
    ///
    /// # Errors
    /// When a layer cannot be read.
    pub fn child(&self, name: &OsStr) -> Result<Option<Node>> {
        let path = self.path.join(name);
        let mut parts = Vec::new();
        for part in &self.parts {
            let stat = match rustix::fs::statat(part, name, AtFlags::SYMLINK_NOFOLLOW) {
                Err(Errno::NOENT) => continue,
                other => other.map_err(Error::io("look at", &path))?,
            };
            if FileType::from_raw_mode(stat.st_mode) != FileType::Directory {
                if parts.is_empty() && !is_whiteout(&stat) {
                    let (parent, name) = (Rc::clone(part), name.to_owned());
                    return Ok(Some(Node::Leaf(Leaf { parent, path, name, stat })));
                }
                // It hides what the layers below have of this name.
                break;
            }
            let folder = rustix::fs::openat(part, name, FOLDER, Mode::empty())
                .map_err(Error::io("open", &path))?;
            let opaque = is_opaque(&folder);
            parts.push(Rc::new(folder));
            if opaque {
                break;
            }
        }
        Ok((!parts.is_empty()).then_some(Node::Folder(Self { parts, path })))
    }

    /// The names in it, in order.
    ///
    /// # Errors
    /// When a layer cannot be read.
    pub fn names(&self) -> Result<Vec<OsString>> {
        let mut shown = std::collections::BTreeMap::new();
        for part in &self.parts {
            let failed = |errno| Error::io("read", &self.path)(errno);
            for entry in Dir::read_from(part).map_err(failed)? {
                let entry = entry.map_err(failed)?;
                let name = OsStr::from_bytes(entry.file_name().to_bytes());
                if name == "." || name == ".." || shown.contains_key(name) {
                    continue;
                }
                let hidden = match entry.file_type() {
                    FileType::CharacterDevice | FileType::Unknown => {
                        rustix::fs::statat(part, name, AtFlags::SYMLINK_NOFOLLOW)
                            .is_ok_and(|stat| is_whiteout(&stat))
                    }
                    _ => false,
                };
                shown.insert(name.to_owned(), !hidden);
            }
        }
        Ok(shown.into_iter().filter(|(_, shown)| *shown).map(|(name, _)| name).collect())
    }

    /// What a path leads to when this is `/`: links are followed, `..` ends at the top. The last
    /// name's link is followed only with `follow`.
    ///
    /// # Errors
    /// When a layer cannot be read, or links run in a circle.
    pub fn find(&self, path: &Path, follow: bool) -> Result<Option<Node>> {
        let mut above = vec![self.clone()];
        let mut left: Vec<OsString> = parts_of(path);
        let mut links = 0;
        while let Some(name) = left.pop() {
            if name == ".." {
                above.truncate((above.len() - 1).max(1));
                continue;
            }
            let Some(here) = above.last() else { return Ok(None) };
            match here.child(&name)? {
                None => return Ok(None),
                Some(Node::Folder(folder)) => above.push(folder),
                Some(Node::Leaf(leaf)) if leaf.kind() == FileType::Symlink => {
                    if left.is_empty() && !follow {
                        return Ok(Some(Node::Leaf(leaf)));
                    }
                    links += 1;
                    if links > MOST_LINKS {
                        return Err(Error::Loop { path: path.to_owned() });
                    }
                    let target = PathBuf::from(leaf.target()?);
                    if target.is_absolute() {
                        above.truncate(1);
                    }
                    left.extend(parts_of(&target));
                }
                Some(leaf) => return Ok(left.is_empty().then_some(leaf)),
            }
        }
        Ok(above.pop().map(Node::Folder))
    }
}

/// The names of a path, the first one last.
fn parts_of(path: &Path) -> Vec<OsString> {
    let name = |part: Component<'_>| match part {
        Component::Normal(name) => Some(name.to_owned()),
        Component::ParentDir => Some("..".into()),
        _ => None,
    };
    path.components().rev().filter_map(name).collect()
}

/// A character device 0/0: overlayfs' sign that something below is gone.
#[must_use]
pub fn is_whiteout(stat: &Stat) -> bool {
    FileType::from_raw_mode(stat.st_mode) == FileType::CharacterDevice && stat.st_rdev == 0
}

/// Whether nothing of the layers below shows through a folder.
#[must_use]
pub fn is_opaque(folder: impl AsFd) -> bool {
    let mut value = [0; 1];
    rustix::fs::fgetxattr(folder, OPAQUE, &mut value).is_ok_and(|len| len == 1 && value[0] == b'y')
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::symlink;

    fn layers(count: usize) -> (tempfile::TempDir, Vec<PathBuf>) {
        let folder = tempfile::tempdir().unwrap();
        let layers: Vec<PathBuf> = (0..count).map(|n| folder.path().join(n.to_string())).collect();
        for layer in &layers {
            fs::create_dir(layer).unwrap();
        }
        (folder, layers)
    }

    fn text(root: &Folder, path: &str) -> Option<String> {
        match root.find(Path::new(path), true).unwrap()? {
            Node::Leaf(leaf) => {
                let file = fs::File::from(leaf.open().unwrap());
                Some(std::io::read_to_string(file).unwrap())
            }
            Node::Folder(_) => Some("a folder".to_owned()),
        }
    }

    /// Root may, others may not; then the kernel is not what is tested here.
    fn may_hide(folder: &Path) -> bool {
        let device = rustix::fs::makedev(0, 0);
        let kind = FileType::CharacterDevice;
        let probe = folder.join("probe");
        if rustix::fs::mknodat(rustix::fs::CWD, &probe, kind, Mode::empty(), device).is_err() {
            println!("skipped: whiteouts need root");
            return false;
        }
        fs::remove_file(probe).is_ok()
    }

    #[test]
    fn upper_layers_win_and_folders_merge() {
        let (_keep, layers) = layers(2);
        fs::create_dir_all(layers[0].join("d/deep")).unwrap();
        fs::create_dir(layers[1].join("d")).unwrap();
        for (layer, file, content) in
            [(0, "d/both", "low"), (1, "d/both", "high"), (0, "d/low", "x"), (1, "d/high", "y")]
        {
            fs::write(layers[layer].join(file), content).unwrap();
        }
        let root = Folder::of_layers(&layers).unwrap();
        assert_eq!(text(&root, "/d/both").unwrap(), "high");
        assert_eq!(text(&root, "d/low").unwrap(), "x");
        let Some(Node::Folder(folder)) = root.find(Path::new("/d"), true).unwrap() else {
            panic!("a folder")
        };
        assert_eq!(folder.names().unwrap(), ["both", "deep", "high", "low"]);
    }

    #[test]
    fn what_a_layer_hides_is_gone() {
        let (keep, layers) = layers(2);
        if !may_hide(keep.path()) {
            return;
        }
        for folder in ["gone", "cleared"] {
            fs::create_dir(layers[0].join(folder)).unwrap();
            fs::write(layers[0].join(folder).join("file"), "low").unwrap();
        }
        let hide = |path: PathBuf| {
            let kind = FileType::CharacterDevice;
            rustix::fs::mknodat(rustix::fs::CWD, &path, kind, Mode::empty(), 0).unwrap();
        };
        hide(layers[1].join("gone"));
        fs::create_dir(layers[1].join("cleared")).unwrap();
        let cleared = layers[1].join("cleared");
        rustix::fs::setxattr(&cleared, OPAQUE, b"y", rustix::fs::XattrFlags::empty()).unwrap();
        let root = Folder::of_layers(&layers).unwrap();
        assert_eq!(root.names().unwrap(), ["cleared"]);
        assert_eq!(text(&root, "/gone/file"), None);
        assert_eq!(text(&root, "/cleared/file"), None);
    }

    #[test]
    fn links_stay_in_the_tree() {
        let (_keep, layers) = layers(1);
        fs::create_dir(layers[0].join("etc")).unwrap();
        fs::write(layers[0].join("etc/passwd"), "the tree's").unwrap();
        symlink("/etc", layers[0].join("absolute")).unwrap();
        symlink("../../../../etc", layers[0].join("up")).unwrap();
        symlink("circle", layers[0].join("circle")).unwrap();
        let root = Folder::of_layers(&layers).unwrap();
        assert_eq!(text(&root, "/absolute/passwd").unwrap(), "the tree's");
        assert_eq!(text(&root, "/up/passwd").unwrap(), "the tree's");
        assert_eq!(text(&root, "/../../etc/passwd").unwrap(), "the tree's");
        assert!(matches!(root.find(Path::new("/circle"), true), Err(Error::Loop { .. })));
        let link = root.find(Path::new("/circle"), false).unwrap();
        assert!(matches!(link, Some(Node::Leaf(leaf)) if leaf.kind() == FileType::Symlink));
    }
}
