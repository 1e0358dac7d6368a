//! How a container's own layer differs from the layers below: Docker's `diff`.

use std::ffi::OsStr;
use std::path::{Path, PathBuf};

use rustix::fs::{AtFlags, FileType, Stat};

use crate::error::{Error, Result};
use crate::merged::{Folder, Node, is_opaque, is_whiteout};

/// What happened to a path.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// It was there and is another now.
    Modified,
    /// It was not there.
    Added,
    /// It was there.
    Deleted,
}

/// One path that differs.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Change {
    /// Absolute, in the container.
    pub path: PathBuf,
    /// What happened to it.
    pub kind: Kind,
}

/// The changes that the layer `upper` makes to `lower`, folders before what is in them.
///
/// `own`: what the engine made to mount something there. As long as it is empty it does not count.
///
/// # Errors
/// When a layer cannot be read.
pub fn changes(upper: &Path, lower: &Folder, own: &[&Path]) -> Result<Vec<Change>> {
    let upper = Folder::of_layers(&[upper])?;
    let mut walk = Walk { own, found: Vec::new() };
    walk.folder(&upper, Some(lower))?;
    Ok(walk.found)
}

struct Walk<'a> {
    own: &'a [&'a Path],
    found: Vec<Change>,
}

impl Walk<'_> {
    /// `lower`: what the layers below have there; None: nothing, or nothing that shows through.
    fn folder(&mut self, upper: &Folder, lower: Option<&Folder>) -> Result<()> {
        for name in raw_names(upper)? {
            let path = upper.path().join(&name);
            let stat = rustix::fs::statat(upper.top()?, &*name, AtFlags::SYMLINK_NOFOLLOW)
                .map_err(Error::io("look at", &path))?;
            let below = lower.map(|lower| lower.child(&name)).transpose()?.flatten();
            if is_whiteout(&stat) {
                if below.is_some() {
                    self.found.push(Change { path, kind: Kind::Deleted });
                }
                continue;
            }
            match upper.child(&name)? {
                Some(Node::Folder(folder)) => self.sub_folder(&folder, below.as_ref())?,
                Some(Node::Leaf(leaf)) => {
                    let ours = leaf.kind() == FileType::RegularFile && stat.st_size == 0;
                    match below {
                        Some(_) => self.found.push(Change { path, kind: Kind::Modified }),
                        None if ours && self.own.contains(&&*path) => {}
                        None => self.found.push(Change { path, kind: Kind::Added }),
                    }
                }
                // It has gone since the names were read.
                None => {}
            }
        }
        Ok(())
    }

    fn sub_folder(&mut self, folder: &Folder, below: Option<&Node>) -> Result<()> {
        let path = folder.path().to_owned();
        let at = self.found.len();
        let lower = match below {
            Some(Node::Folder(lower)) => Some(lower),
            _ => None,
        };
        let opaque = is_opaque(folder.top()?);
        if let (true, Some(lower)) = (opaque, lower) {
            for name in lower.names()? {
                if folder.child(&name)?.is_none() {
                    let path = path.join(name);
                    self.found.push(Change { path, kind: Kind::Deleted });
                }
            }
        }
        self.folder(folder, lower)?;
        let quiet = self.found.len() == at;
        let kind = match below {
            None if quiet && self.own.iter().any(|own| own.starts_with(&path)) => return Ok(()),
            None => Kind::Added,
            Some(Node::Folder(lower)) if quiet && self.is_same(folder, &lower.stat()?)? => {
                return Ok(());
            }
            Some(_) => Kind::Modified,
        };
        self.found.insert(at, Change { path, kind });
        Ok(())
    }

    /// Whether a folder was only copied up, or has another time only because of what the engine
    /// made in it.
    fn is_same(&self, folder: &Folder, below: &Stat) -> Result<bool> {
        let above = folder.stat()?;
        let times = |stat: &Stat| (stat.st_mtime, stat.st_mtime_nsec);
        let holds_own = self.own.iter().any(|own| own.parent() == Some(folder.path()));
        Ok((above.st_mode, above.st_uid, above.st_gid)
            == (below.st_mode, below.st_uid, below.st_gid)
            && (holds_own || times(&above) == times(below)))
    }
}

/// The names in the top layer alone, whiteouts included, in order.
pub(crate) fn raw_names(folder: &Folder) -> Result<Vec<std::ffi::OsString>> {
    use std::os::unix::ffi::OsStrExt as _;
    let failed = |errno| Error::io("read", folder.path())(errno);
    let mut names = Vec::new();
    for entry in rustix::fs::Dir::read_from(folder.top()?).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        let name = OsStr::from_bytes(entry.file_name().to_bytes());
        if name != "." && name != ".." {
            names.push(name.to_owned());
        }
    }
    names.sort();
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;

    #[test]
    fn a_layer_is_told_as_docker_tells_it() {
        let work = tempfile::tempdir().unwrap();
        let (lower, upper) = (work.path().join("lower"), work.path().join("upper"));
        for path in ["etc/kept", "etc/changed", "etc/gone", "same/file", "cleared/old", "was-file"]
        {
            let path = lower.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "low").unwrap();
        }
        for path in ["etc/changed", "new/deep/file", "cleared/new", "was-file/now-folder"] {
            let path = upper.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, "high").unwrap();
        }
        // What the engine makes, and what was only copied up.
        fs::create_dir(upper.join("proc")).unwrap();
        fs::write(upper.join("etc/hosts"), "").unwrap();
        fs::create_dir(upper.join("same")).unwrap();
        let time = fs::metadata(lower.join("same")).unwrap().modified().unwrap();
        fs::File::open(upper.join("same")).unwrap().set_modified(time).unwrap();
        let device = rustix::fs::mknodat(
            rustix::fs::CWD,
            upper.join("etc/gone"),
            FileType::CharacterDevice,
            rustix::fs::Mode::empty(),
            0,
        );
        let cleared = upper.join("cleared");
        let flags = rustix::fs::XattrFlags::empty();
        let opaque = rustix::fs::setxattr(&cleared, "trusted.overlay.opaque", b"y", flags);
        if device.is_err() || opaque.is_err() {
            println!("skipped: whiteouts need root");
            return;
        }
        let lower = Folder::of_layers(&[lower]).unwrap();
        let own = ["/proc", "/etc/hosts", "/dev"].map(Path::new);
        let told: Vec<String> = changes(&upper, &lower, &own)
            .unwrap()
            .into_iter()
            .map(|change| {
                let letter = match change.kind {
                    Kind::Modified => 'C',
                    Kind::Added => 'A',
                    Kind::Deleted => 'D',
                };
                format!("{letter} {}", change.path.display())
            })
            .collect();
        assert_eq!(
            told,
            [
                "C /cleared",
                "D /cleared/old",
                "A /cleared/new",
                "C /etc",
                "C /etc/changed",
                "D /etc/gone",
                "A /new",
                "A /new/deep",
                "A /new/deep/file",
                "C /was-file",
                "A /was-file/now-folder",
            ]
        );
    }
}
