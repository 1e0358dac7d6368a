//! Paths of a container, resolved inside its root and nowhere else.
//!
//! By the time these are used the container's root is this process's root, so no `..` and no
//! symbolic link leads out. What is left are the magic links of procfs, which could lead to what
//! this process has open: `open_in_root` refuses those.

use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::{Path, PathBuf};

use linkspan_sys::mount::open_in_root;
use linkspan_sys::{Errno, Result};
use nix::fcntl::{OFlag, openat};
use nix::sys::stat::{Mode, SFlag, fstat, mkdirat};

/// The container's root, from inside.
#[derive(Debug)]
pub(crate) struct Root(OwnedFd);

impl Root {
    /// Opens `/`: to be called once the root has been changed.
    pub(crate) fn open() -> Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        nix::fcntl::open("/", flags, Mode::empty()).map(Self)
    }

    /// Opens the working directory, which is to become `/`. Paths are resolved within it even now.
    pub(crate) fn ahead() -> Result<Self> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        nix::fcntl::open(".", flags, Mode::empty()).map(Self)
    }

    pub(crate) fn fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }

    /// Opens what exists, following symbolic links, as a place (O_PATH).
    pub(crate) fn place(&self, path: &Path) -> Result<OwnedFd> {
        open_in_root(&self.0, path, OFlag::O_PATH, 0)
    }

    /// Opens what exists for use.
    pub(crate) fn open_file(&self, path: &Path, flags: OFlag) -> Result<OwnedFd> {
        open_in_root(&self.0, path, flags, 0)
    }

    /// Opens a folder, making it and what is missing above it.
    pub(crate) fn folder(&self, path: &Path) -> Result<OwnedFd> {
        let flags = OFlag::O_PATH | OFlag::O_DIRECTORY;
        match open_in_root(&self.0, path, flags, 0) {
            Err(Errno::ENOENT) => {}
            other => return other,
        }
        let (parent, name) = split(path)?;
        match mkdirat(self.folder(parent)?, name, Mode::from_bits_truncate(0o755)) {
            // A symbolic link that leads nowhere; opening it again says so.
            Ok(()) | Err(Errno::EEXIST) => {}
            Err(errno) => return Err(errno),
        }
        open_in_root(&self.0, path, flags, 0)
    }

    /// Opens a file as a place to mount on, making it and the folders above it.
    pub(crate) fn file(&self, path: &Path) -> Result<OwnedFd> {
        match self.place(path) {
            Err(Errno::ENOENT) => {}
            other => return other,
        }
        let (parent, name) = split(path)?;
        let flags = OFlag::O_CREAT | OFlag::O_NOFOLLOW | OFlag::O_CLOEXEC | OFlag::O_NONBLOCK;
        openat(self.folder(parent)?, name, flags, Mode::from_bits_truncate(0o644))
    }
}

/// Folder and name. `EINVAL`: there is no name, as in `/` or `/..`.
pub(crate) fn split(path: &Path) -> Result<(&Path, &Path)> {
    match (path.parent(), path.file_name()) {
        (Some(parent), Some(name)) => Ok((parent, Path::new(name))),
        _ => Err(Errno::EINVAL),
    }
}

/// Whether it is a folder.
pub(crate) fn is_folder(fd: impl AsFd) -> Result<bool> {
    let kind = SFlag::from_bits_truncate(fstat(fd)?.st_mode) & SFlag::S_IFMT;
    Ok(kind == SFlag::S_IFDIR)
}

/// Where a kernel parameter lies in /proc: `net.ipv4.ip_forward`, or `net/ipv4/ip_forward`, in
/// which dots belong to names (an interface, say). None: not a name of a parameter.
pub(crate) fn sysctl(name: &str) -> Option<PathBuf> {
    // sysctl(8): the first separator says which one it is.
    let slashes = name.find(['.', '/']).is_some_and(|at| name[at..].starts_with('/'));
    let relative = if slashes { name.to_owned() } else { name.replace('.', "/") };
    let sound = relative.split('/').all(|part| !part.is_empty() && part != "." && part != "..");
    sound.then(|| Path::new("/proc/sys").join(relative))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parameters_are_found_and_nothing_else_is() {
        let path = |text: &str| Some(PathBuf::from(text));
        assert_eq!(sysctl("kernel.shmmax"), path("/proc/sys/kernel/shmmax"));
        assert_eq!(
            sysctl("net/ipv4/conf/eth0.1/forwarding"),
            path("/proc/sys/net/ipv4/conf/eth0.1/forwarding")
        );
        for name in ["", "a..b", "../../etc/passwd", "net/../..", "/etc/passwd"] {
            assert_eq!(sysctl(name), None, "{name}");
        }
    }

    #[test]
    fn missing_folders_and_files_are_made() {
        let folder = tempfile::tempdir().unwrap();
        let root = Root(std::fs::File::open(folder.path()).unwrap().into());
        root.folder(Path::new("/a/b/c")).unwrap();
        root.file(Path::new("/x/y")).unwrap();
        assert!(folder.path().join("a/b/c").is_dir());
        assert!(folder.path().join("x/y").is_file());
    }

    #[test]
    fn links_stay_inside_and_magic_ones_are_refused() {
        let folder = tempfile::tempdir().unwrap();
        let link = |target: &str, name: &str| {
            std::os::unix::fs::symlink(target, folder.path().join(name)).unwrap();
        };
        link("/../../..", "up");
        link("/nowhere", "dangling");
        let root = Root(std::fs::File::open(folder.path()).unwrap().into());
        root.folder(Path::new("/up/made")).unwrap();
        assert!(folder.path().join("made").is_dir());
        assert_eq!(root.folder(Path::new("/dangling")).unwrap_err(), Errno::ENOENT);
        let real = Root(std::fs::File::open("/").unwrap().into());
        assert_eq!(real.place(Path::new("/proc/self/cwd")).unwrap_err(), Errno::ELOOP);
    }
}
