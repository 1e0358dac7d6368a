//! The folders of containers on the data disk: config.json, state.json, log, upper, work.
//!
//! ```text
//! containers/<id>/config.json    written last when made: a folder without it is a leftover; replaced
//!                                by rename and update
//!                 state.json     replaced at each change of state; not there with auto_remove
//!                 <id>-json.log  Docker's json-file, <id>-json.log.1 and on: rotated away
//!                 local.log      the log of the driver `local`, local.log.1.gz and on
//!                 upper/ work/   overlayfs
//!                 hosts hostname resolv.conf   bind-mounted into the container
//! ```
//!
//! Files are replaced by writing another, fsync, rename; what is deleted is synced too. A container
//! that is removed when it ends skips that: whatever a crash leaves of it is deleted at the next start
//! anyway.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

use jiff::Timestamp;
use linkspan_records::Durability;
use serde::{Deserialize, Serialize, de::DeserializeOwned};

use crate::{
    Error,
    config::{Config, Resolved},
    id::ContainerId,
    log,
    state::{Exit, State},
};

/// The version of config.json and state.json that this program writes and reads.
const FORMAT: u32 = 1;

/// Docker's exit code of a container that ran when the machine went down.
const LOST: i32 = 255;

/// What config.json holds: everything about a container that changes only by being asked to.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// The container's id.
    pub id: ContainerId,
    /// Its name.
    pub name: String,
    /// When it was created.
    pub created_at: Timestamp,
    /// What was asked for.
    pub config: Config,
    /// What that came to.
    pub resolved: Resolved,
}

/// What state.json holds.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Saved {
    /// The state.
    #[serde(flatten)]
    pub state: State,
    /// Restarts by the policy since the last start by hand.
    #[serde(default)]
    pub restarts: u32,
    /// Somebody stopped it, so that `unless-stopped` does not start it when the machine boots.
    #[serde(default)]
    pub stopped_by_hand: bool,
}

impl From<State> for Saved {
    fn from(state: State) -> Self {
        Self { state, restarts: 0, stopped_by_hand: false }
    }
}

/// One container's folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Folder {
    path: PathBuf,
    id: ContainerId,
    durability: Durability,
}

impl Folder {
    /// The folder of `record` in `root`. Nothing is made yet.
    #[must_use]
    pub fn of(root: &Path, record: &Record) -> Self {
        Self {
            path: root.join(record.id.as_str()),
            id: record.id.clone(),
            durability: match record.config.auto_remove {
                true => Durability::Process,
                false => Durability::Machine,
            },
        }
    }

    /// Where it is.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The log of a driver: Docker's name for `json-file`'s; None where nothing is kept.
    #[must_use]
    pub fn log(&self, driver: &str) -> Option<PathBuf> {
        match driver {
            log::config::NONE => None,
            log::config::LOCAL => Some(self.path.join("local.log")),
            _ => Some(self.path.join(format!("{}-json.log", self.id))),
        }
    }

    /// Makes the folder and what is in it.
    ///
    /// # Errors
    /// When a file cannot be written. What was made is a leftover then, see [`load`].
    pub fn create(&self, record: &Record, state: &State) -> Result<(), Error> {
        for folder in [self.path.clone(), self.path.join("upper"), self.path.join("work")] {
            fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?;
        }
        let hostname = &record.resolved.hostname;
        let resolv = fs::read_to_string("/etc/resolv.conf").unwrap_or_default();
        for (name, text) in [
            ("hostname", format!("{hostname}\n")),
            ("hosts", hosts(hostname, &record.config.domainname)),
            ("resolv.conf", resolv),
        ] {
            let path = self.path.join(name);
            fs::write(&path, text).map_err(Error::file("write", &path))?;
        }
        if self.durability == Durability::Machine {
            self.write("state.json", &Saved::from(state.clone()))?;
        }
        self.write("config.json", record)
    }

    pub(crate) fn durability(&self) -> Durability {
        self.durability
    }

    /// Replaces state.json.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, saved: &Saved) -> Result<(), Error> {
        self.write("state.json", saved)
    }

    /// Replaces config.json.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save_record(&self, record: &Record) -> Result<(), Error> {
        self.write("config.json", record)
    }

    /// Deletes everything, for good: a container that has gone is not there again when the power
    /// goes. What is left when it fails is a leftover, see [`load`].
    ///
    /// # Errors
    /// When something cannot be deleted.
    pub fn remove(&self) -> Result<(), Error> {
        let config = self.path.join("config.json");
        let gone = |error: io::Error| match error.kind() {
            io::ErrorKind::NotFound => Ok(()),
            _ => Err(error),
        };
        fs::remove_file(&config).or_else(gone).map_err(Error::file("delete", &config))?;
        fs::remove_dir_all(&self.path).or_else(gone).map_err(Error::file("delete", &self.path))?;
        match self.path.parent().filter(|_| self.durability == Durability::Machine) {
            Some(root) => linkspan_records::sync_folder(root).map_err(Error::file("write", root)),
            None => Ok(()),
        }
    }

    fn write(&self, name: &str, value: &impl Serialize) -> Result<(), Error> {
        Ok(linkspan_records::write(&self.path.join(name), FORMAT, value, self.durability)?)
    }
}

fn hosts(hostname: &str, domainname: &str) -> String {
    let full = if domainname.is_empty() {
        hostname.to_owned()
    } else {
        format!("{hostname}.{domainname} {hostname}")
    };
    // Without a network of its own, a container still finds itself by name. 127.0.1.1 is what
    // Debian uses for a host without a fixed address.
    format!(
        "127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::\tip6-localnet\n\
         ff00::\tip6-mcastprefix\n\
         ff02::1\tip6-allnodes\n\
         ff02::2\tip6-allrouters\n\
         127.0.1.1\t{full}\n"
    )
}

fn read<T: DeserializeOwned>(path: &Path) -> Result<T, Error> {
    linkspan_records::read(path, FORMAT)?
        .ok_or_else(|| Error::file("read", path)(io::ErrorKind::NotFound.into()))
}

/// Reads every container under `root`, after the machine was down: what ran has ended, what was
/// to be removed when it ended is removed, half-made and half-removed folders are deleted.
///
/// # Errors
/// When the folder itself cannot be read. A container that cannot be read is left alone, warned
/// about and not returned.
pub fn load(root: &Path) -> Result<Vec<(Record, Saved)>, Error> {
    fs::create_dir_all(root).map_err(Error::file("create", root))?;
    let mut found = Vec::new();
    for entry in fs::read_dir(root).map_err(Error::file("read", root))? {
        let path = entry.map_err(Error::file("read", root))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Ok(id) = name.parse::<ContainerId>() else {
            tracing::warn!(path = %path.display(), "not a container's folder, left alone");
            continue;
        };
        match load_one(&path, id) {
            Ok(Some(container)) => found.push(container),
            Ok(None) => {}
            Err(error) => tracing::warn!(%error, "a container is left out"),
        }
    }
    Ok(found)
}

fn load_one(path: &Path, id: ContainerId) -> Result<Option<(Record, Saved)>, Error> {
    if !path.join("config.json").exists() {
        tracing::info!(container = id.short(), "deleting what is left of a container");
        Folder { path: path.into(), id, durability: Durability::Process }.remove()?;
        return Ok(None);
    }
    let record: Record = read(&path.join("config.json"))?;
    let folder = Folder { path: path.into(), id, durability: Durability::Machine };
    if record.config.auto_remove {
        folder.remove()?;
        return Ok(None);
    }
    let before: Saved = read(&path.join("state.json"))?;
    let saved = Saved { state: after_restart(before.state.clone()), ..before };
    if saved.state != before.state
        && let Err(error) = folder.save(&saved)
    {
        // A full disk must not hide a container: the next boot comes to the same.
        tracing::warn!(%error, "what has become of a container is not written");
    }
    Ok(Some((record, saved)))
}

/// What a state has become by the machine having been down.
fn after_restart(state: State) -> State {
    match state {
        State::Running { started_at, .. } | State::Paused { started_at, .. } => State::Exited {
            exit: Exit {
                code: LOST,
                oom_killed: false,
                error: "the machine went down while it was running".into(),
                started_at,
                finished_at: Timestamp::now(),
            },
            failed: None,
        },
        // Its policy is asked again, by the rules of a boot.
        State::Restarting { exit, .. } => State::Exited { exit, failed: None },
        State::Removing { exit } | State::Removed { exit } => {
            State::Dead { error: "the machine went down while it was being removed".into(), exit }
        }
        other => other,
    }
}
