//! Making containers, and looking at them.

use std::{path::PathBuf, sync::Arc};

use jiff::Timestamp;
use linkspan_net::Endpoint;

use crate::{
    Containers, Error, Shared, Status,
    config::{Config, Resolved},
    container::{Container, blocking, spawn},
    error::ImageError,
    filter::Filters,
    id::ContainerId,
    launch::ImageView,
    mounts::{MountPoint, Source, resolve::resolve},
    names, network,
    plan::Permissions,
    state::State,
    store::{Folder, Record},
    userns, validate,
};

/// A container that has just been made.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Created {
    /// Its id.
    pub id: ContainerId,
    /// Its name, given or made up.
    pub name: String,
    /// What the caller may want to know.
    pub warnings: Vec<String>,
}

/// A container as it is at one moment.
#[derive(Debug, Clone)]
pub struct Snapshot {
    /// What changes only by being asked to.
    pub record: Arc<Record>,
    /// What does.
    pub status: Status,
    /// Its folder on the data disk.
    pub folder: PathBuf,
    /// Ids of the commands that `exec` has started in it and that run.
    pub execs: Vec<ContainerId>,
    /// Its log as Docker shows it: only the driver `json-file` has a file that others may read.
    pub log_path: Option<PathBuf>,
    /// Relative to the cgroup2 mount.
    pub cgroup: PathBuf,
    /// Bits by capability number.
    pub capabilities: u64,
    /// Its places in networks, while it runs.
    pub endpoints: Vec<Endpoint>,
    /// The names of the networks that it is in, or comes into when it starts.
    pub networks: Vec<String>,
    /// Where in the VM each of its mounts comes from; empty: from nowhere.
    pub mount_sources: Vec<PathBuf>,
}

/// While it lives, the layers of a container that is being made are in use.
struct Coming<'a> {
    shared: &'a Shared,
    id: ContainerId,
}

impl Drop for Coming<'_> {
    fn drop(&mut self) {
        self.shared.table.lock().coming.remove(&self.id);
    }
}

impl Containers {
    /// Makes a container: checks everything, stores it, starts nothing. `name` empty: made up.
    ///
    /// # Errors
    /// Names the option that is wrong, the image that is missing, or the owner of the name.
    pub async fn create(&self, name: &str, config: Config) -> Result<Created, Error> {
        validate::config(&config, self.shared.capacity)?;
        userns::validate(&config, self.shared.user_namespace.as_ref())?;
        if !name.is_empty() {
            // Early: the image need not be there for the name to be wrong.
            names::validate(name)?;
        }
        let (this, name) = (self.clone(), name.to_owned());
        // The handle's task is spawned from here, not from the blocking thread's point of view:
        // `spawn_blocking` threads carry the runtime's context.
        blocking(move || this.create_blocking(&name, config)).await
    }

    fn create_blocking(&self, name: &str, config: Config) -> Result<Created, Error> {
        let id = ContainerId::generate();
        let (image, _coming) = self.image(&id, &config.image)?;
        let mut resolved = Resolved::new(&id, &config, &image)?;
        let warnings = warnings(&config);
        let name = self.shared.reserve(name, &id)?;
        match self.mounts(&id, &config, &image) {
            Ok(mounts) => resolved.mounts = mounts,
            Err(error) => {
                self.shared.give_up(&name);
                return Err(error);
            }
        }
        let created_at = Timestamp::now();
        let record = Record { id: id.clone(), name, created_at, config, resolved };
        let name = record.name.clone();
        let state = State::Created { failed: None };
        let folder = Folder::of(&self.shared.root, &record);
        if let Err(error) = folder.create(&record, &state) {
            self.shared.give_up(&name);
            if let Err(leftover) = folder.remove() {
                tracing::warn!(%leftover, "a half-made container's files are left");
            }
            let made = record.resolved.mounts.iter().filter_map(MountPoint::anonymous_volume);
            self.give_volumes_back(&id, &made.map(str::to_owned).collect::<Vec<_>>());
            return Err(error);
        }
        let container = spawn(&self.shared, record, state.into());
        self.shared.table.lock().by_id.insert(id.clone(), Arc::clone(&container));
        self.shared.revision.next();
        self.shared.tell(&container, "create", []);
        Ok(Created { id, name, warnings })
    }

    /// The image of a container that is being made. Nobody removes its layers from then on; the
    /// answer's guard is to live until the container does.
    fn image(&self, id: &ContainerId, reference: &str) -> Result<(ImageView, Coming<'_>), Error> {
        let images = &self.shared.images;
        let image = images.resolve(reference)?;
        let coming = Coming { shared: &self.shared, id: id.clone() };
        self.shared.table.lock().coming.insert(id.clone(), image.diff_ids.clone());
        // Again: it may have been removed before anybody knew that it is wanted.
        images.resolve(&image.id).map_err(|error| match error {
            ImageError::NotFound(_) => ImageError::NotFound(reference.into()),
            other => other,
        })?;
        Ok((image, coming))
    }

    /// Works out what is mounted. Nothing is left of it when that fails.
    fn mounts(
        &self,
        id: &ContainerId,
        config: &Config,
        image: &ImageView,
    ) -> Result<Vec<MountPoint>, Error> {
        let others = |who: &str| Ok(self.find(who)?.record().resolved.mounts.clone());
        let mut made = Vec::new();
        let resolved = resolve(id, config, image, &self.shared.volumes, others, &mut made);
        if resolved.is_err() {
            self.give_volumes_back(id, &made);
        }
        resolved
    }

    fn give_volumes_back(&self, id: &ContainerId, made: &[String]) {
        if let Err(error) = self.shared.volumes.release(id, made) {
            tracing::warn!(%error, "volumes of a container that was not made are left");
        }
    }

    /// The revision of lists that are made from now on. Never 0.
    #[must_use]
    pub fn revision(&self) -> u64 {
        self.shared.revision.now()
    }

    /// The containers that run, or all, newest first. `last`: the newest N in any state.
    ///
    /// # Errors
    /// When a filter names a container that there is not.
    pub fn list(
        &self,
        all: bool,
        last: Option<usize>,
        filters: &Filters,
    ) -> Result<Vec<Snapshot>, Error> {
        let between = filters.between(|who| Ok(self.find(who)?.record().created_at))?;
        let mut found = self.snapshots();
        found.sort_by_key(|container| std::cmp::Reverse(container.record.created_at));
        // Asking for a state by name asks for all states, as with Docker.
        let any_state = all || last.is_some() || filters.names_a_state();
        found.retain(|container| {
            (any_state || container.status.state.kind().is_live())
                && between.contains(container.record.created_at)
                && filters.matches(container)
        });
        found.truncate(last.unwrap_or(usize::MAX));
        Ok(found)
    }

    pub(crate) fn snapshots(&self) -> Vec<Snapshot> {
        self.all().iter().map(|container| self.snapshot(container)).collect()
    }

    /// One container.
    ///
    /// # Errors
    /// When there is no such container.
    pub fn inspect(&self, who: &str) -> Result<Snapshot, Error> {
        let container = self.find(who)?;
        Ok(self.snapshot(&container))
    }

    fn snapshot(&self, container: &Container) -> Snapshot {
        // The configuration was valid when it was made.
        let record = container.record();
        let capabilities = Permissions::of(&record.config)
            .map_or(0, |permissions| permissions.capabilities.effective);
        let source = |mount: &MountPoint| match &mount.source {
            Source::Volume { name, subpath, .. } => {
                self.shared.volumes.mountpoint(name).join(subpath)
            }
            Source::Bind { path, .. } | Source::DockerApi { path } => path.clone(),
            Source::Tmpfs(_) => PathBuf::new(),
        };
        let endpoints = self.shared.networks.endpoints(container.id.as_str());
        let status = container.status.borrow().clone();
        // Those of an ended container end with it, in their own time.
        let execs = if status.state.process().is_some() {
            container.execs.lock().iter().cloned().collect()
        } else {
            Vec::new()
        };
        Snapshot {
            networks: network::names(container, &endpoints),
            status,
            folder: container.folder.path().into(),
            execs,
            log_path: record.config.log.shown_path(&container.folder),
            cgroup: container.cgroup(),
            capabilities,
            endpoints,
            mount_sources: record.resolved.mounts.iter().map(source).collect(),
            record,
        }
    }
}

/// Legal, but probably not what was meant.
fn warnings(config: &Config) -> Vec<String> {
    let mut warnings = Vec::new();
    if config.privileged && !config.cap_drop.is_empty() {
        warnings.push("--cap-drop has no effect beside --privileged".to_owned());
    }
    warnings
}
