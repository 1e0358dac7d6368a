//! The files of containers, running or not: copied in and out, compared with the image, exported.
//!
//! A running container is seen through its first process's root, with all that is mounted there.
//! One that does not run is mounted by a `linkspan-init` for the time of the call, in a mount
//! namespace of its own; it cannot be started or removed meanwhile, because two overlays over one
//! folder are not allowed. `diff` and `export` read the layers themselves, as a commit does.

use std::{
    ffi::OsStr,
    io::{Read, Write},
    os::{
        fd::{AsFd as _, BorrowedFd, OwnedFd},
        unix::ffi::OsStrExt as _,
    },
    path::{Path, PathBuf},
    sync::Arc,
};

pub use linkspan_files::changes::{Change, Kind as ChangeKind};
use linkspan_files::{Archive, Folder, Leaf, Node, archive::Owners, changes::changes};
pub use linkspan_images::CopyIn;
use linkspan_images::{Limits, copy_in};
use linkspan_runtime::plan::{HostIds, Look, UserNamespace};
use linkspan_sys::process::as_file_owner;
use nix::{fcntl::OFlag, sys::stat::Mode};
use tokio_util::sync::CancellationToken;

use crate::{
    Containers, Error, Shared,
    container::{Container, blocking},
    mounts::{self, MountPoint, Source},
    plan,
};

/// What the engine makes in a container's own layer to mount something there. Docker has these in
/// a layer of their own.
pub(crate) const OWN: &[&str] =
    &["/dev", "/proc", "/sys", "/etc/hosts", "/etc/hostname", "/etc/resolv.conf"];

/// So many names of one folder are told: an answer stays far below the size that gRPC allows.
pub const LISTED: usize = 10_000;

/// What is at a path of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PathStat {
    /// The last part of the path.
    pub name: String,
    /// Bytes.
    pub size: u64,
    /// st_mode (inode(7)).
    pub mode: u32,
    /// When it was changed, nanoseconds since 1970.
    pub modified_unix_nanos: i64,
    /// Of a symbolic link: where it points.
    pub link_target: PathBuf,
}

/// What to copy out of a container.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CopyOut {
    /// The path in the container. With a slash at its end it has to be a folder.
    pub path: String,
    /// Follow a symbolic link at its end.
    pub follow: bool,
    /// What the top entry is called; empty: what is in the folder, without a top entry.
    pub name: String,
}

impl Containers {
    /// What is at a path; None: nothing.
    ///
    /// # Errors
    /// When there is no such container, or its files cannot be read.
    pub async fn stat_path(
        &self,
        who: &str,
        path: &str,
        follow: bool,
    ) -> Result<Option<PathStat>, Error> {
        let path = path.to_owned();
        self.with_root(who, move |root, _| {
            let root = tree(root)?;
            let found = root.find(Path::new(&path), follow || asserts_folder(&path))?;
            found.map(|node| describe(&path, &node)).transpose()
        })
        .await
    }

    /// What is in a folder, by name: the first [`LISTED`] of it, and whether there is more.
    ///
    /// # Errors
    /// When there is no such container or no such folder, or it cannot be read.
    pub async fn list_folder(&self, who: &str, path: &str) -> Result<(Vec<PathStat>, bool), Error> {
        let (container, path) = (who.to_owned(), PathBuf::from(path));
        self.with_root(who, move |root, _| {
            let folder = match tree(root)?.find(&path, true)? {
                None => return Err(Error::NoSuchPath { container, path }),
                Some(Node::Leaf(_)) => return Err(Error::NotAFolder(path)),
                Some(Node::Folder(folder)) => folder,
            };
            let names = folder.names()?;
            let mut found = Vec::with_capacity(names.len().min(LISTED));
            for name in names.iter().take(LISTED) {
                // What has gone since its name was read is not told.
                if let Some(node) = folder.child(name)? {
                    found.push(describe(&name.to_string_lossy(), &node)?);
                }
            }
            Ok((found, names.len() > LISTED))
        })
        .await
    }

    /// Writes a file or folder as a tar archive.
    ///
    /// # Errors
    /// When there is nothing at the path, or nobody takes the archive any more.
    pub async fn copy_out(
        &self,
        who: &str,
        what: CopyOut,
        out: impl Write + Send + 'static,
    ) -> Result<(), Error> {
        let container = who.to_owned();
        self.tell_path(who, "archive-path", &what.path)?;
        self.with_root(who, move |root, ids| {
            let folder_wanted = asserts_folder(&what.path);
            let path = Path::new(&what.path);
            let node = tree(root)?
                .find(path, what.follow || folder_wanted)?
                .ok_or_else(|| Error::NoSuchPath { container, path: path.to_owned() })?;
            if matches!(node, Node::Leaf(_)) && (folder_wanted || what.name.is_empty()) {
                return Err(Error::NotAFolder(path.to_owned()));
            }
            let mut archive = Archive::new(out).with_owners(ids.cloned().map(shown_owners));
            archive.add(Path::new(&what.name), &node)?;
            archive.finish()?.flush().map_err(linkspan_files::Error::Write)?;
            Ok(())
        })
        .await
    }

    /// Unpacks a tar archive into a folder. Owners are root's, unless they are to be kept.
    ///
    /// # Errors
    /// When the folder is not there, or the archive is malformed or hostile. What was unpacked
    /// before stays.
    pub async fn copy_in(
        &self,
        who: &str,
        path: &str,
        how: CopyIn,
        archive: impl Read + Send + 'static,
    ) -> Result<(), Error> {
        self.tell_path(who, "extract-to-dir", path)?;
        let (container, path) = (who.to_owned(), PathBuf::from(path));
        self.with_root(who, move |root, ids| {
            let folder = match tree(root)?.find(&path, true)? {
                None => return Err(Error::NoSuchPath { container, path }),
                Some(Node::Leaf(_)) => return Err(Error::NotAFolder(path)),
                // Its path has no symbolic link left.
                Some(Node::Folder(folder)) => folder.path().to_owned(),
            };
            let root = root.try_clone_to_owned().map_err(Error::file("open", "/"))?;
            let (root, limits) = (reopen(root)?, Limits::default());
            let Some(ids) = ids else {
                return Ok(copy_in(archive, root, &folder, how, None, &limits)?);
            };
            let owner = ids.root();
            let ids = ids.clone();
            let map = move |uid, gid| ids.outside(uid, gid).map(|ids| (ids.uid, ids.gid));
            // The machine's root is nobody there, and can make no file.
            let copied = as_file_owner(owner.uid, owner.gid, || {
                copy_in(archive, root, &folder, how, Some(&map), &limits)
            });
            Ok(copied.map_err(|errno| Error::file("write", &folder)(errno.into()))??)
        })
        .await
    }

    /// How a container differs from its image.
    ///
    /// # Errors
    /// When there is no such container, or its layers cannot be read.
    pub async fn changes(&self, who: &str) -> Result<Vec<Change>, Error> {
        let container = self.find(who)?;
        blocking(move || {
            let lower = Folder::of_layers(&container.record().resolved.layers)?;
            let upper = container.folder.path().join("upper");
            let own: Vec<&Path> = OWN.iter().map(Path::new).collect();
            Ok(changes(&upper, &lower, &own)?)
        })
        .await
    }

    /// Writes the whole root as a tar archive, without what is mounted in it.
    ///
    /// # Errors
    /// When there is no such container, or nobody takes the archive any more.
    pub async fn export(&self, who: &str, out: impl Write + Send + 'static) -> Result<(), Error> {
        let container = self.find(who)?;
        self.shared.tell(&container, "export", []);
        blocking(move || {
            let mut layers = container.record().resolved.layers.clone();
            layers.push(container.folder.path().join("upper"));
            let mut archive = Archive::new(out);
            archive.add(Path::new(""), &Node::Folder(Folder::of_layers(&layers)?))?;
            archive.finish()?.flush().map_err(linkspan_files::Error::Write)?;
            Ok(())
        })
        .await
    }

    /// Cancelled when a container is removed by force. One that does not run waits for the copies
    /// of its files, and so each has to end then.
    ///
    /// # Errors
    /// When there is no such container.
    pub fn forced_removal(&self, who: &str) -> Result<CancellationToken, Error> {
        Ok(self.find(who)?.forced.clone())
    }

    fn tell_path(&self, who: &str, action: &str, path: &str) -> Result<(), Error> {
        self.shared.tell(&*self.find(who)?, action, [("path", path.to_owned())]);
        Ok(())
    }

    /// Gives `work` the root of a container as its processes see it, and how ids are mapped
    /// there: not in one that does not run, which is mounted without a mapping.
    async fn with_root<T: Send + 'static>(
        &self,
        who: &str,
        work: impl FnOnce(BorrowedFd<'_>, Option<&UserNamespace>) -> Result<T, Error> + Send + 'static,
    ) -> Result<T, Error> {
        let (container, shared) = (self.find(who)?, Arc::clone(&self.shared));
        blocking(move || {
            let stopped = container.files.lock();
            let target = container.target.lock().clone();
            if let Some(target) = target {
                let opened = shared.launcher.root_of(&target);
                let root = opened.map_err(Error::file("open the root of", container.name()))?;
                drop(stopped);
                return work(root.as_fd(), shared.user_namespace(&container.record().config));
            }
            let record = container.record();
            let names = record.resolved.mounts.iter().filter_map(MountPoint::volume);
            let _held = shared.volumes.hold(names)?;
            let mounted =
                shared.launcher.look(&look(&container, &shared)?).map_err(Error::Launch)?;
            work(mounted.root(), None)
        })
        .await
    }
}

/// What has to be mounted to see a container that does not run. Its memory is gone.
fn look(container: &Container, shared: &Shared) -> Result<Look, Error> {
    let record = container.record();
    let lasting =
        |mount: &&MountPoint| !matches!(mount.source, Source::Tmpfs(_) | Source::DockerApi { .. });
    let own: Vec<MountPoint> = record.resolved.mounts.iter().filter(lasting).cloned().collect();
    let own = mounts::plan::mounts(&own, &shared.volumes, shared.launcher.as_ref())?;
    let folder = container.folder.path();
    Ok(Look {
        rootfs: plan::rootfs(&record.config, &record.resolved, folder),
        mounts: mounts::plan::merge(plan::engine_files(folder), own),
    })
}

/// Owners as the container has them, of files whose owners are who those are outside. Who is not
/// mapped (on a shared folder of the host) stays who it is.
fn shown_owners(ids: UserNamespace) -> Owners {
    Box::new(move |uid, gid| ids.inside(HostIds { uid, gid }).unwrap_or((uid, gid)))
}

fn tree(root: BorrowedFd<'_>) -> Result<Folder, Error> {
    Ok(Folder::plain(reopen(root)?))
}

/// A root that was opened as a place only, for reading.
fn reopen(root: impl std::os::fd::AsFd) -> Result<OwnedFd, Error> {
    let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
    nix::fcntl::openat(root, ".", flags, Mode::empty())
        .map_err(|errno| Error::file("open", "/")(errno.into()))
}

/// `path/` and `path/.` name a folder.
fn asserts_folder(path: &str) -> bool {
    path.ends_with('/') || path.ends_with("/.")
}

fn describe(path: &str, node: &Node) -> Result<PathStat, Error> {
    let stat = node.stat()?;
    let target = |leaf: &Leaf| {
        let is_link = leaf.kind() == linkspan_files::FileType::Symlink;
        is_link.then(|| leaf.target().map(PathBuf::from)).transpose()
    };
    let link_target = match node {
        Node::Leaf(leaf) => target(leaf)?.unwrap_or_default(),
        Node::Folder(_) => PathBuf::new(),
    };
    let name = Path::new(path).file_name().unwrap_or(OsStr::from_bytes(b"/"));
    let nanos = i64::try_from(stat.st_mtime_nsec).unwrap_or(0);
    Ok(PathStat {
        name: name.to_string_lossy().into_owned(),
        size: u64::try_from(stat.st_size).unwrap_or(0),
        mode: stat.st_mode,
        modified_unix_nanos: stat.st_mtime.saturating_mul(1_000_000_000).saturating_add(nanos),
        link_target,
    })
}
