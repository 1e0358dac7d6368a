//! What the mounts of a RUN come to: folders and files that are bound into its container.

use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::{PermissionsExt as _, chown};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use linkspan_build::{FileSource, Ignore, Mount, RunStep, Sharing};
use parking_lot::{Condvar, Mutex};
use sha2::{Digest as _, Sha256};

use crate::cache::Cache;
use crate::error::{Error, Result};
use crate::layer::Layer;
use crate::run::{Bound, RunOptions};
use crate::tree::Tree;

/// The cache mounts, and who uses them.
#[derive(Debug)]
pub(crate) struct CacheMounts {
    folder: PathBuf,
    /// How many use each folder; a lock is the only user.
    used: Mutex<Vec<(String, bool)>>,
    /// Somebody does not use one any more.
    freed: Condvar,
    /// Held while a folder is made: several commands may share it from the first moment on.
    making: Mutex<()>,
}

/// The right to a cache folder.
#[derive(Debug)]
pub(crate) struct Using {
    all: Arc<CacheMounts>,
    folder: String,
}

impl Drop for Using {
    fn drop(&mut self) {
        let mut used = self.all.used.lock();
        if let Some(at) = used.iter().position(|(folder, _)| *folder == self.folder) {
            used.swap_remove(at);
        }
        drop(used);
        self.all.freed.notify_all();
    }
}

impl CacheMounts {
    pub(crate) fn open(folder: &Path) -> Result<Arc<Self>> {
        let folder = folder.join("mounts");
        fs::create_dir_all(&folder).map_err(Error::io("create", &folder))?;
        Ok(Arc::new(Self {
            folder,
            used: Mutex::default(),
            freed: Condvar::new(),
            making: Mutex::default(),
        }))
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    /// A folder for the cache of this id, with the right to use it. Waits while somebody has it
    /// for himself.
    fn take(
        self: &Arc<Self>,
        id: &str,
        sharing: Sharing,
        cancelled: &dyn Fn() -> bool,
    ) -> Result<(String, Using)> {
        const LOOK: std::time::Duration = std::time::Duration::from_millis(200);
        let base = hex::encode(Sha256::digest(id));
        let mut used = self.used.lock();
        loop {
            let users = |name: &str| used.iter().filter(|(other, _)| other == name).count();
            let locked = |name: &str| used.iter().any(|(other, locked)| other == name && *locked);
            let name = match sharing {
                Sharing::Shared => (!locked(&base)).then(|| base.clone()),
                Sharing::Locked => (users(&base) == 0).then(|| base.clone()),
                Sharing::Private => (0..)
                    .map(|n| if n == 0 { base.clone() } else { format!("{base}-{n}") })
                    .find(|name| users(name) == 0),
            };
            if let Some(name) = name {
                used.push((name.clone(), sharing != Sharing::Shared));
                return Ok((name.clone(), Using { all: Arc::clone(self), folder: name }));
            }
            // A wake-up can be missed only by a build that is cancelled meanwhile.
            self.freed.wait_for(&mut used, LOOK);
            if cancelled() {
                return Err(Error::Cancelled);
            }
        }
    }

    /// Removes a folder that nobody uses; false when somebody does.
    pub(crate) fn remove(&self, name: &str) -> Result<bool> {
        // With the lock held: nobody takes it meanwhile.
        let used = self.used.lock();
        if used.iter().any(|(other, _)| other == name) {
            return Ok(false);
        }
        let path = self.path(name);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                Err(Error::io("remove", &path)(error))
            }
            _ => Ok(true),
        }
    }

    pub(crate) fn in_use(&self, name: &str) -> bool {
        self.used.lock().iter().any(|(other, _)| other == name)
    }
}

/// What mounting needs.
pub(crate) struct Around<'a> {
    pub(crate) options: &'a RunOptions,
    pub(crate) cache: &'a Cache,
    pub(crate) caches: &'a Arc<CacheMounts>,
    /// Gives the files of a source.
    pub(crate) tree: &'a dyn Fn(&FileSource) -> Result<Tree<'a>>,
    /// How a source is called.
    pub(crate) place: &'a dyn Fn(&FileSource) -> String,
    /// On the disk.
    pub(crate) scratch: &'a Path,
    /// In memory.
    pub(crate) memory: &'a Path,
    pub(crate) cancelled: &'a dyn Fn() -> bool,
    pub(crate) ssh_agent: &'a dyn Fn(&str, &Path) -> Result<Held, String>,
}

/// What is to be kept while a command runs: rights to caches, listeners for SSH agents.
pub(crate) type Held = Box<dyn Send>;

/// Prepares the mounts of a command, and its script.
pub(crate) fn prepare(step: &RunStep, around: &Around<'_>) -> Result<(Vec<Bound>, Vec<Held>)> {
    let (mut bound, mut held) = (Vec::new(), Vec::<Held>::new());
    for (number, mount) in step.mounts.iter().enumerate() {
        let of = Some(number);
        match mount {
            Mount::Tmpfs { .. } => {}
            Mount::Bind { from, source, target, writable } => {
                let folder = around.scratch.join(format!("bind-{number}"));
                let source = materialize(around, from, source, &folder)?;
                bound.push(Bound { of, target: target.into(), source, read_only: !writable });
            }
            Mount::Cache { target, read_only, .. } => {
                let (source, right) = cache(mount, around)?;
                held.push(Box::new(right));
                bound.push(Bound { of, target: target.into(), source, read_only: *read_only });
            }
            Mount::Secret { id, target, required, uid, gid, mode, .. } => {
                let Some(secret) = around.options.secrets.get(id) else {
                    if *required {
                        return Err(Error::NoSecret { id: id.clone() });
                    }
                    continue;
                };
                let Some(target) = target else { continue };
                let source = around.memory.join(format!("secret-{number}"));
                write_file(&source, secret, *mode, *uid, *gid)?;
                bound.push(Bound { of, target: target.into(), source, read_only: true });
            }
            Mount::Ssh { id, target, required, uid, gid, mode } => {
                if !around.options.ssh.contains(id) {
                    if *required {
                        return Err(Error::NoSsh { id: id.clone() });
                    }
                    continue;
                }
                let source = around.memory.join(format!("ssh-{number}"));
                let failed = |why| Error::Ssh { id: id.clone(), why };
                let listener = (around.ssh_agent)(id, &source).map_err(failed)?;
                chown(&source, Some(*uid), Some(*gid))
                    .and_then(|()| fs::set_permissions(&source, fs::Permissions::from_mode(*mode)))
                    .map_err(Error::io("change", &source))?;
                held.push(listener);
                bound.push(Bound { of, target: target.into(), source, read_only: true });
            }
        }
    }
    if let Some(script) = &step.script {
        let source = around.scratch.join("script");
        write_file(&source, script.content.as_bytes(), 0o755, 0, 0)?;
        bound.push(Bound { of: None, target: script.path.clone().into(), source, read_only: true });
    }
    Ok((bound, held))
}

fn write_file(path: &Path, content: &[u8], mode: u32, uid: u32, gid: u32) -> Result<()> {
    let write = || {
        let mut file = File::create(path)?;
        file.set_permissions(fs::Permissions::from_mode(0o600))?;
        file.write_all(content)?;
        chown(path, Some(uid), Some(gid))?;
        file.set_permissions(fs::Permissions::from_mode(mode))
    };
    write().map_err(Error::io("write", path))
}

/// The files of a source as a folder or a file of their own: they may be written, and that is
/// thrown away.
fn materialize(
    around: &Around<'_>,
    from: &FileSource,
    path: &str,
    folder: &Path,
) -> Result<PathBuf> {
    let tree = (around.tree)(from)?;
    fs::create_dir(folder).map_err(Error::io("create", folder))?;
    let found = tree.matches(path)?;
    let Some(found) = found.first() else {
        return Err(Error::NotThere {
            path: path.to_owned(),
            place: (around.place)(from),
            ignored: false,
        });
    };
    let mut layer = Layer::new(None, found.node.how);
    let name = Path::new("source");
    layer.put(name, found.node.clone())?;
    tree.walk(found, &Ignore::default(), &mut |path, node| layer.put(&name.join(path), node))?;
    layer.copy_to(folder)?;
    Ok(folder.join(name))
}

fn cache(mount: &Mount, around: &Around<'_>) -> Result<(PathBuf, Using)> {
    let Mount::Cache { id, sharing, from, source, uid, gid, mode, .. } = mount else {
        unreachable!("only called for a cache");
    };
    let (name, right) = around.caches.take(id, *sharing, around.cancelled)?;
    let path = around.caches.path(&name);
    let making = around.caches.making.lock();
    if !path.exists() {
        // Complete before it has its name.
        let new = around.scratch.join(format!("cache-{name}"));
        let made = if *from == FileSource::Scratch {
            fs::create_dir(&new).map_err(Error::io("create", &new))?;
            new
        } else {
            materialize(around, from, source, &new)?
        };
        let finish = || {
            chown(&made, Some(*uid), Some(*gid))?;
            fs::set_permissions(&made, fs::Permissions::from_mode(*mode))?;
            fs::rename(&made, &path)
        };
        finish().map_err(Error::io("create", &path))?;
    }
    drop(making);
    around.cache.use_mount(&name, id);
    Ok((path, right))
}
