//! Where a name in an archive leads: always inside the layer's folder.
//!
//! Every name is taken apart; `..` is refused. The last component is never followed: it is made,
//! replaced or removed in a folder that is held open. Folders on the way that are symbolic links
//! made by the archive itself are followed by the kernel with the layer as the root
//! (openat2(2), `RESOLVE_IN_ROOT`), as if the layer were already a container's root: `/` and `..` in
//! them end there.
//!
//! Archives list folders depth first, so the folders of the last name stay open: most names need no
//! walk at all.

use std::ffi::OsStr;
use std::os::fd::{AsRawFd as _, OwnedFd};
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};
use std::rc::Rc;

use rustix::fs::{AtFlags, FileType, Mode, OFlags, ResolveFlags, Stat};
use rustix::io::Errno;

use crate::error::{Context as _, Error, Result};

use super::Target;

const FOLDER: OFlags =
    OFlags::RDONLY.union(OFlags::DIRECTORY).union(OFlags::NOFOLLOW).union(OFlags::CLOEXEC);
/// What tar leaves out, Docker makes with this mode.
const IMPLICIT: Mode = Mode::from_raw_mode(0o755);
/// overlayfs.rst, "whiteouts and opaque directories".
const OPAQUE: &str = "trusted.overlay.opaque";

/// A name taken apart.
pub(super) type Names<'a> = [&'a [u8]];

/// The layer's folder, and where to put what is replaced.
pub(super) struct Tree<'a> {
    what: &'a str,
    path: &'a Path,
    root: Rc<OwnedFd>,
    /// None: folders are not replaced, or deleted at once.
    trash: Option<OwnedFd>,
    /// A folder and what is none replace each other, without a trash.
    pub(super) replaces_kinds: bool,
    trashed: u64,
    /// A recipe is written.
    recorded: bool,
    /// What is mounted in it belongs to it.
    mounts: bool,
}

/// The folders of the last name, open.
#[derive(Default)]
pub(super) struct Walk(Vec<(Vec<u8>, Rc<OwnedFd>)>);

impl Walk {
    /// To be called when a folder or link on the way may have been replaced.
    pub(super) fn forget(&mut self) {
        self.0.clear();
    }

    /// Keeps a folder that was just opened: the next names are likely in it.
    pub(super) fn enter(&mut self, name: &[u8], folder: Rc<OwnedFd>) {
        self.0.push((name.to_vec(), folder));
    }
}

/// Takes a path apart, refusing what leads out.
pub(super) fn names<'p>(path: &'p [u8], what: &str, depth: usize) -> Result<Vec<&'p [u8]>> {
    let refuse = |why| Error::corrupt(what, format!("`{}` {why}", path.escape_ascii()));
    let mut names = Vec::new();
    for name in path.split(|byte| *byte == b'/') {
        match name {
            b"" | b"." => {}
            b".." => return Err(refuse("leads out of it")),
            _ if name.contains(&0) => return Err(refuse("is not a file name")),
            _ => names.push(name),
        }
    }
    if names.len() > depth {
        let limit = depth as u64;
        return Err(Error::TooLarge { what: what.to_owned(), limit, unit: "folder levels" });
    }
    Ok(names)
}

/// `a/b/c`.
pub(super) fn join(names: &Names<'_>) -> Vec<u8> {
    names.join(&b'/')
}

impl<'a> Tree<'a> {
    pub(super) fn open(target: &Target<'a>) -> Result<Self> {
        let open =
            |path: &Path| rustix::fs::open(path, FOLDER, Mode::empty()).context("open", path);
        let (root, trash) = (Rc::new(open(target.root)?), Some(open(target.trash)?));
        let recorded = target.recipe.is_some();
        let (what, path) = (target.what, target.root);
        Ok(Self {
            what,
            path,
            root,
            trash,
            replaces_kinds: false,
            trashed: 0,
            recorded,
            mounts: false,
        })
    }

    /// A container's root, with what is mounted there.
    pub(super) fn of_container(what: &'a str, root: OwnedFd, replaces_kinds: bool) -> Self {
        let (path, root, trash) = (Path::new("/"), Rc::new(root), None);
        Self { what, path, root, trash, replaces_kinds, trashed: 0, recorded: false, mounts: true }
    }

    pub(super) fn root(&self) -> &Rc<OwnedFd> {
        &self.root
    }

    /// For errors: the path in the VM.
    pub(super) fn shown(&self, names: &Names<'_>) -> PathBuf {
        self.path.join(&*String::from_utf8_lossy(&join(names)))
    }

    pub(super) fn corrupt(&self, names: &Names<'_>, why: &str) -> Error {
        Error::corrupt(self.what, format!("`{}` {why}", join(names).escape_ascii()))
    }

    /// The folder of these names, made where it is missing.
    pub(super) fn folder(&mut self, walk: &mut Walk, names: &Names<'_>) -> Result<Rc<OwnedFd>> {
        let mut folder = self.begin(walk, names);
        for at in walk.0.len()..names.len() {
            folder = match self.step(&folder, &names[..=at])? {
                Some(next) => next,
                None => self.make(&folder, &names[..=at])?,
            };
            walk.enter(names[at], Rc::clone(&folder));
        }
        Ok(folder)
    }

    /// The folder of these names, if there is one.
    pub(super) fn find(&self, walk: &mut Walk, names: &Names<'_>) -> Result<Option<Rc<OwnedFd>>> {
        let mut folder = self.begin(walk, names);
        for at in walk.0.len()..names.len() {
            let Some(next) = self.step(&folder, &names[..=at])? else { return Ok(None) };
            walk.enter(names[at], Rc::clone(&next));
            folder = next;
        }
        Ok(Some(folder))
    }

    /// Goes back to the last folder that the names share with the walk.
    fn begin(&self, walk: &mut Walk, names: &Names<'_>) -> Rc<OwnedFd> {
        let shared = walk.0.iter().zip(names).take_while(|(level, name)| level.0 == **name).count();
        walk.0.truncate(shared);
        Rc::clone(walk.0.last().map_or(&self.root, |level| &level.1))
    }

    /// Opens the last of the names in its folder. None: there is nothing, or a whiteout.
    fn step(&self, folder: &OwnedFd, names: &Names<'_>) -> Result<Option<Rc<OwnedFd>>> {
        let name = names[names.len() - 1];
        match rustix::fs::openat(folder, name, FOLDER, Mode::empty()) {
            Ok(next) => Ok(Some(Rc::new(next))),
            Err(Errno::NOENT) => Ok(None),
            Err(Errno::NOTDIR | Errno::LOOP) => {
                let stat = self.stat(folder, names)?;
                match stat.as_ref().map(kind) {
                    Some(FileType::Symlink) => self.follow(names).map(Some),
                    _ if stat.as_ref().is_some_and(is_whiteout) => Ok(None),
                    _ => Err(self.corrupt(names, "is used as a folder and is none")),
                }
            }
            Err(errno) => Err(Error::io("open", &self.shown(names), errno)),
        }
    }

    /// Opens a folder by way of a symbolic link, which cannot leave the layer.
    fn follow(&self, names: &Names<'_>) -> Result<Rc<OwnedFd>> {
        let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let mut resolve = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS;
        resolve.set(ResolveFlags::NO_XDEV, !self.mounts);
        let path = join(names);
        match rustix::fs::openat2(&*self.root, &*path, flags, Mode::empty(), resolve) {
            Ok(folder) => Ok(Rc::new(folder)),
            Err(Errno::NOENT | Errno::NOTDIR | Errno::LOOP | Errno::XDEV) => {
                let why = "is a symbolic link to no folder of the layer, and files lie beyond it";
                Err(self.corrupt(names, why))
            }
            Err(errno) => Err(Error::io("open", &self.shown(names), errno)),
        }
    }

    /// Makes a folder that the archive takes for granted.
    fn make(&mut self, folder: &OwnedFd, names: &Names<'_>) -> Result<Rc<OwnedFd>> {
        let name = names[names.len() - 1];
        let shown = || self.shown(names);
        // Only a whiteout can be in the way.
        let whiteout = self.stat(folder, names)?.is_some();
        if whiteout {
            rustix::fs::unlinkat(folder, name, AtFlags::empty())
                .map_err(|errno| Error::io("remove", &shown(), errno))?;
        }
        rustix::fs::mkdirat(folder, name, IMPLICIT)
            .map_err(|errno| Error::io("create", &shown(), errno))?;
        let made = self.open_made(folder, names)?;
        rustix::fs::fchmod(&*made, IMPLICIT)
            .map_err(|errno| Error::io("create", &shown(), errno))?;
        if whiteout {
            self.set_opaque(&made, names)?;
        }
        Ok(made)
    }

    /// Opens a folder that is known to be there.
    pub(super) fn open_made(&self, folder: &OwnedFd, names: &Names<'_>) -> Result<Rc<OwnedFd>> {
        rustix::fs::openat(folder, names[names.len() - 1], FOLDER, Mode::empty())
            .map(Rc::new)
            .map_err(|errno| Error::io("open", &self.shown(names), errno))
    }

    /// What lies at the last of the names, in its folder.
    pub(super) fn stat(&self, folder: &OwnedFd, names: &Names<'_>) -> Result<Option<Stat>> {
        match rustix::fs::statat(folder, names[names.len() - 1], AtFlags::SYMLINK_NOFOLLOW) {
            Ok(stat) => Ok(Some(stat)),
            Err(Errno::NOENT) => Ok(None),
            Err(errno) => Err(Error::io("look at", &self.shown(names), errno)),
        }
    }

    /// Removes what lies there. A folder is moved away whole, to be deleted with the trash; so is a
    /// file that a recipe may need.
    pub(super) fn remove(
        &mut self,
        folder: &OwnedFd,
        names: &Names<'_>,
        stat: &Stat,
    ) -> Result<()> {
        let name = names[names.len() - 1];
        let needed = self.recorded && kind(stat) == FileType::RegularFile;
        let result = if needed || kind(stat) == FileType::Directory {
            let Some(trash) = &self.trash else { return self.remove_folder(folder, names) };
            self.trashed += 1;
            rustix::fs::renameat(folder, name, trash, self.trashed.to_string())
        } else {
            rustix::fs::unlinkat(folder, name, AtFlags::empty())
        };
        result.map_err(|errno| Error::io("replace", &self.shown(names), errno))
    }

    fn remove_folder(&self, folder: &OwnedFd, names: &Names<'_>) -> Result<()> {
        if !self.replaces_kinds {
            return Err(self.corrupt(names, "is no folder, and would replace one"));
        }
        // The folder that is open, whatever its path leads to by now (proc(5)).
        let open = format!("/proc/self/fd/{}", folder.as_raw_fd());
        let path = Path::new(&open).join(OsStr::from_bytes(names[names.len() - 1]));
        std::fs::remove_dir_all(path)
            .map_err(|error| Error::io("replace", &self.shown(names), error))
    }

    /// Nothing of the layers below shows through this folder.
    pub(super) fn set_opaque(&self, folder: &OwnedFd, names: &Names<'_>) -> Result<()> {
        rustix::fs::fsetxattr(folder, OPAQUE, b"y", rustix::fs::XattrFlags::empty())
            .map_err(|errno| Error::io("make opaque", &self.shown(names), errno))
    }
}

pub(super) fn kind(stat: &Stat) -> FileType {
    FileType::from_raw_mode(stat.st_mode)
}

/// A character device 0/0: overlayfs' sign that something below is gone.
pub(super) fn is_whiteout(stat: &Stat) -> bool {
    kind(stat) == FileType::CharacterDevice && stat.st_rdev == 0
}
