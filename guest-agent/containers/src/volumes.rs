//! Volumes: folders that outlive containers, their place on the data disk, and who has them.
//!
//! ```text
//! volumes/<name>/volume.json    format 1; written last: a folder without it is a leftover
//!                _data/         what containers see
//! ```
//!
//! [`Volumes`] is synchronous; call it where it may block. It counts which containers have a
//! volume, so that "in use" is decided in one place. Mounting volumes into containers is
//! `linkspan-init`'s work; only a volume of the type tmpfs is mounted here, in the VM, because
//! several containers share its memory.

mod error;
mod filter;
mod hold;
mod local;
mod store;

use std::{
    collections::{BTreeMap, BTreeSet},
    os::fd::OwnedFd,
    path::{Component, Path, PathBuf},
    sync::OnceLock,
};

use jiff::Timestamp;
use linkspan_files::{Folder, Node, copy};
use linkspan_sys::mount::open_in_root;
use nix::{fcntl::OFlag, sys::stat::Mode};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

pub use error::VolumeError;
pub use filter::Filters;
pub use hold::Held;

use crate::{
    events::Events,
    id::ContainerId,
    mounts::{SHARES, SharedPath},
    size,
};
use local::Local;

/// The one driver.
pub const DRIVER: &str = "local";

/// Docker's mark of a volume that nobody gave a name.
pub const ANONYMOUS: &str = "com.docker.volume.anonymous";

/// What a path of a container's mount may begin with, beside the volumes' own folder: interfaces of
/// the VM's kernel. All else that looks like a path is the host's.
const KERNELS: &[&str] = &["/dev", "/proc", "/sys"];

/// A volume, as it is stored.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Volume {
    /// Its name, or 64 hexadecimal digits.
    pub name: String,
    /// `type`, `device`, `o`.
    pub options: BTreeMap<String, String>,
    /// Free-form.
    pub labels: BTreeMap<String, String>,
    /// When it was made.
    pub created_at: Timestamp,
    /// Made for a container that is removed when it ends: not to outlive it.
    pub made_for: Option<ContainerId>,
}

impl Volume {
    /// Nobody gave it a name.
    #[must_use]
    pub fn is_anonymous(&self) -> bool {
        self.labels.contains_key(ANONYMOUS)
    }
}

/// A volume to be made.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct NewVolume {
    /// Empty: a generated one, and the volume is anonymous.
    pub name: String,
    /// Empty: [`DRIVER`].
    pub driver: String,
    /// `type`, `device`, `o`.
    pub options: BTreeMap<String, String>,
    /// Free-form.
    pub labels: BTreeMap<String, String>,
}

/// Every volume of the VM.
pub struct Volumes {
    root: PathBuf,
    table: Mutex<Table>,
    /// Held while a volume is given what an image has: two containers that come at once find it
    /// empty or full, and nothing in between.
    filling: Mutex<()>,
    /// Where what happens is told, once that is known.
    events: OnceLock<Events>,
}

#[derive(Default)]
struct Table {
    volumes: BTreeMap<String, Volume>,
    users: BTreeMap<String, BTreeSet<ContainerId>>,
    /// Volumes of memory that are mounted, and how many containers run with them.
    mounted: BTreeMap<String, u32>,
}

type Result<T> = std::result::Result<T, VolumeError>;

/// Checks a name by Docker's rules.
///
/// # Errors
/// In Docker's words.
pub fn check_name(name: &str) -> Result<()> {
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | '.' | '-');
    if !name.starts_with(|c: char| c.is_ascii_alphanumeric()) || !name.chars().all(allowed) {
        return Err(VolumeError::Name(name.into()));
    }
    // A file name, too.
    if name.len() < 2 || name.len() > 255 {
        return Err(VolumeError::NameLength(name.into()));
    }
    Ok(())
}

impl Volumes {
    /// Reads what the disk has at `root`.
    ///
    /// # Errors
    /// When the folder cannot be read. A volume that cannot be read is left alone and warned of.
    pub fn open(root: PathBuf) -> Result<Self> {
        let volumes = store::load(&root)?;
        let table = Mutex::new(Table { volumes, ..Table::default() });
        Ok(Self { root, table, filling: Mutex::default(), events: OnceLock::new() })
    }

    /// From now on, what happens to volumes is told there.
    pub(crate) fn tell_to(&self, events: &Events) {
        // Only a second set of containers could have been first.
        let _ = self.events.set(events.clone());
    }

    fn tell(&self, action: &str, volume: &str, details: [(&str, String); 1]) {
        if let Some(events) = self.events.get() {
            let details = details.map(|(key, value)| (key.to_owned(), value));
            events.publish("volume", action, volume, details.into());
        }
    }

    /// Makes a volume, or finds the one of this name.
    ///
    /// # Errors
    /// A name or an option that is none; another volume of this name with other options.
    pub fn create(&self, new: NewVolume) -> Result<Volume> {
        self.ensure(new, None, None)
    }

    /// Makes a volume for a container, or finds it; from then on the container has it.
    pub(crate) fn attach(
        &self,
        new: NewVolume,
        container: &ContainerId,
        temporary: bool,
    ) -> Result<Volume> {
        self.ensure(new, Some(container), temporary.then_some(container))
    }

    fn ensure(
        &self,
        new: NewVolume,
        user: Option<&ContainerId>,
        made_for: Option<&ContainerId>,
    ) -> Result<Volume> {
        if !new.driver.is_empty() && new.driver != DRIVER {
            return Err(VolumeError::Driver(new.driver));
        }
        self.check_options(&new.options)?;
        let anonymous = new.name.is_empty();
        let (name, mut labels) = (new.name, new.labels);
        let name = if anonymous { ContainerId::generate().to_string() } else { name };
        check_name(&name)?;
        if anonymous {
            labels.insert(ANONYMOUS.into(), String::new());
        }
        let mut table = self.table.lock();
        let volume = match table.volumes.get(&name) {
            Some(known) if !new.options.is_empty() && new.options != known.options => {
                return Err(VolumeError::Conflict(name));
            }
            Some(known) => known.clone(),
            None => {
                let made_for = made_for.filter(|_| anonymous).cloned();
                let created_at = Timestamp::now();
                let options = new.options;
                let volume = Volume { name, options, labels, created_at, made_for };
                store::create(&self.root, &volume)?;
                table.volumes.insert(volume.name.clone(), volume.clone());
                self.tell("create", &volume.name, [("driver", DRIVER.into())]);
                volume
            }
        };
        if let Some(user) = user {
            table.users.entry(volume.name.clone()).or_default().insert(user.clone());
        }
        Ok(volume)
    }

    /// A container of an earlier boot has a volume.
    pub(crate) fn remember(&self, name: &str, container: &ContainerId) {
        self.table.lock().users.entry(name.into()).or_default().insert(container.clone());
    }

    /// A container has gone. With `anonymous`, so do these volumes, where nobody else has them.
    pub(crate) fn release(&self, container: &ContainerId, anonymous: &[String]) -> Result<()> {
        let mut table = self.table.lock();
        for users in table.users.values_mut() {
            users.remove(container);
        }
        table.users.retain(|_, users| !users.is_empty());
        let mut lasting = false;
        for name in anonymous {
            let Some(volume) = table.volumes.get(name) else { continue };
            // One that was made for a container is swept away by the next boot, if need be.
            let lasts = volume.made_for.is_none();
            if !table.users.contains_key(name) {
                self.delete(&mut table, name)?;
                lasting |= lasts;
            }
        }
        if lasting { store::settle(&self.root) } else { Ok(()) }
    }

    /// Deletes what was made for containers that are not `known` any more: they were removed when
    /// the machine went down.
    pub(crate) fn sweep(&self, known: impl Fn(&ContainerId) -> bool) {
        let mut table = self.table.lock();
        let orphan = |volume: &&Volume| volume.made_for.as_ref().is_some_and(|id| !known(id));
        let unused = |volume: &&Volume| !table.users.contains_key(&volume.name);
        let orphans = table.volumes.values().filter(orphan).filter(unused);
        let orphans: Vec<String> = orphans.map(|volume| volume.name.clone()).collect();
        for name in orphans {
            if let Err(error) = self.delete(&mut table, &name) {
                tracing::warn!(%error, "a volume that nobody can use any more is left");
            }
        }
    }

    /// One volume.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn inspect(&self, name: &str) -> Result<Volume> {
        let found = self.table.lock().volumes.get(name).cloned();
        found.ok_or_else(|| VolumeError::NotFound(name.into()))
    }

    /// The volumes, by name.
    #[must_use]
    pub fn list(&self, filters: &Filters) -> Vec<Volume> {
        let table = self.table.lock();
        let dangling = |volume: &Volume| !table.users.contains_key(&volume.name);
        let wanted = |volume: &&Volume| filters.matches(volume, dangling(volume));
        table.volumes.values().filter(wanted).cloned().collect()
    }

    /// Every volume by name, its bytes and how many containers have it. Those that are elsewhere
    /// (bind) or of memory (tmpfs) are not measured.
    #[must_use]
    pub fn usage(&self) -> Vec<(Volume, Option<u64>, usize)> {
        let known: Vec<(Volume, usize)> = {
            let table = self.table.lock();
            let users = |name: &String| table.users.get(name).map_or(0, BTreeSet::len);
            table.volumes.values().map(|volume| (volume.clone(), users(&volume.name))).collect()
        };
        let measure = |volume: &Volume| {
            let own = matches!(Local::parse(&volume.options), Ok(Local::Folder));
            own.then(|| size::of_files(&store::content(&self.root, &volume.name)))
        };
        let measured = known.into_iter().map(|(volume, users)| {
            let bytes = measure(&volume);
            (volume, bytes, users)
        });
        measured.collect()
    }

    /// Removes a volume. With `force`, there need not be one.
    ///
    /// # Errors
    /// When a container has it, in Docker's words; when its files cannot be deleted.
    pub fn remove(&self, name: &str, force: bool) -> Result<()> {
        let mut table = self.table.lock();
        if !table.volumes.contains_key(name) {
            return if force { Ok(()) } else { Err(VolumeError::NotFound(name.into())) };
        }
        if let Some(users) = table.users.get(name) {
            let users = users.iter().map(ToString::to_string).collect();
            return Err(VolumeError::InUse { name: name.into(), users });
        }
        self.delete(&mut table, name)?;
        store::settle(&self.root)
    }

    /// Removes what no container has: anonymous ones, or `all`. Returns their names and bytes. One
    /// that cannot be removed is left; the log says why.
    ///
    /// # Errors
    /// When it cannot be made to last.
    pub fn prune(&self, all: bool, filters: &Filters) -> Result<(Vec<String>, u64)> {
        let mut table = self.table.lock();
        let unused: Vec<String> = table
            .volumes
            .values()
            .filter(|volume| !table.users.contains_key(&volume.name))
            .filter(|volume| (all || volume.is_anonymous()) && filters.matches(volume, true))
            .map(|volume| volume.name.clone())
            .collect();
        let (mut removed, mut bytes) = (Vec::new(), 0);
        for name in unused {
            let size = size::of_files(&store::content(&self.root, &name));
            match self.delete(&mut table, &name) {
                Ok(()) => {
                    bytes += size;
                    removed.push(name);
                }
                Err(error) => tracing::warn!(%error, "a volume was not pruned"),
            }
        }
        if !removed.is_empty() {
            store::settle(&self.root)?;
        }
        self.tell("prune", "", [("reclaimed", bytes.to_string())]);
        Ok((removed, bytes))
    }

    fn delete(&self, table: &mut Table, name: &str) -> Result<()> {
        store::remove(&self.root, name)?;
        table.volumes.remove(name);
        self.tell("destroy", name, [("driver", DRIVER.into())]);
        Ok(())
    }

    /// Where inspect says that a volume is.
    #[must_use]
    pub fn mountpoint(&self, name: &str) -> PathBuf {
        store::content(&self.root, name)
    }

    /// A folder of the VM, and what in it a volume is.
    ///
    /// # Errors
    /// When there is none of this name.
    pub fn content(&self, name: &str) -> Result<(PathBuf, PathBuf)> {
        match Local::parse(&self.inspect(name)?.options)? {
            Local::Bind(device) => self.split_path(&device),
            Local::Folder | Local::Tmpfs { .. } => Ok((self.mountpoint(name), PathBuf::new())),
        }
    }

    /// A folder of the VM that containers may see, and what in it a path names. What lies in a
    /// volume was written by containers, so that links in it must not be followed out of it.
    ///
    /// # Errors
    /// Any other path: it would be the host's.
    pub fn split_path(&self, path: &Path) -> Result<(PathBuf, PathBuf)> {
        let plain = path.components().all(|part| !matches!(part, Component::ParentDir));
        let bases = KERNELS.iter().map(Path::new).chain([self.root.as_path()]);
        let mut known = bases.filter_map(|base| Some((base, path.strip_prefix(base).ok()?)));
        match known.next() {
            Some((base, within)) if plain => Ok((base.into(), within.into())),
            _ => Err(VolumeError::HostPath(path.into())),
        }
    }

    /// The same for a bind mount, which may be of the host: then within its share, which the host's
    /// user and containers write to.
    ///
    /// # Errors
    /// A path that is neither, and one in a share that this boot does not have.
    pub fn split_bind(
        &self,
        path: &Path,
        shared: Option<&SharedPath>,
    ) -> Result<(PathBuf, PathBuf)> {
        let Some(shared) = shared else { return self.split_path(path) };
        let base = Path::new(SHARES).join(&shared.tag);
        if !base.is_dir() {
            return Err(VolumeError::NotShared(path.into()));
        }
        Ok((base, shared.path.clone()))
    }

    /// Opens a path as [`Volumes::split_path`] takes it apart.
    pub(crate) fn open_path(&self, base: &Path, within: &Path) -> nix::Result<OwnedFd> {
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let folder = nix::fcntl::open(base, flags, Mode::empty())?;
        if within.as_os_str().is_empty() {
            return Ok(folder);
        }
        open_in_root(&folder, within, OFlag::O_PATH, 0)
    }

    /// Whether there is a file or folder.
    pub(crate) fn exists(&self, base: &Path, within: &Path) -> bool {
        self.open_path(base, within).is_ok()
    }

    fn check_options(&self, options: &BTreeMap<String, String>) -> Result<()> {
        match Local::parse(options)? {
            Local::Bind(device) => self.split_path(&device).map(drop),
            _ => Ok(()),
        }
    }

    /// Gives an empty volume what an image has at `destination`, with owner and mode. A volume
    /// that has something, and an image that has no folder there, stay as they are.
    ///
    /// # Errors
    /// When something cannot be copied.
    pub(crate) fn populate(&self, name: &str, image: &Folder, destination: &Path) -> Result<()> {
        if matches!(Local::parse(&self.inspect(name)?.options)?, Local::Tmpfs { .. }) {
            // It is empty again whenever a container starts.
            return Ok(());
        }
        let Some(Node::Folder(source)) = image.find(destination, true)? else { return Ok(()) };
        let (base, within) = self.content(name)?;
        let path = base.join(&within);
        let failed = |action| VolumeError::file(action, path.clone());
        let folder = self.open_path(&base, &within).map_err(|e| failed("open")(e.into()))?;
        // Through the descriptor: the path is not looked up a second time.
        let flags = OFlag::O_RDONLY | OFlag::O_DIRECTORY | OFlag::O_CLOEXEC;
        let folder = nix::fcntl::openat(&folder, ".", flags, Mode::empty())
            .map_err(|errno| failed("open")(errno.into()))?;
        let plain = Folder::plain(folder);
        let _turn = self.filling.lock();
        if plain.names()?.is_empty() {
            copy::tree(&source, plain.top()?).inspect_err(|_| empty_again(&plain, &source))?;
        }
        Ok(())
    }
}

/// Takes what was copied out of a folder that was empty: half of it would count as all of it.
fn empty_again(folder: &Folder, source: &Folder) {
    let work = || -> std::result::Result<(), linkspan_files::Error> {
        for name in source.names()? {
            copy::remove(folder, &name)?;
        }
        Ok(())
    };
    if let Err(error) = work() {
        tracing::warn!(%error, "a volume is left with a part of what its image has");
    }
}

#[cfg(test)]
mod tests;
