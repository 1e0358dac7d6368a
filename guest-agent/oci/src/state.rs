//! What is kept of a container between two commands: a folder `ROOT/ID` with `state.json` and,
//! until it is started, the socket that its process waits on.
//!
//! It describes processes and lies in /run, so it need not survive a loss of power: it is written
//! as a temporary file and renamed, and not forced to a disk.

use std::collections::HashMap;
use std::fs::{self, DirBuilder, File};
use std::io::ErrorKind;
use std::os::fd::AsRawFd as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use linkspan_runtime::bundle::Hook;
use oci_spec::runtime::{ContainerState as Status, State, StateBuilder};
use serde::{Deserialize, Serialize};

use crate::error::Error;

/// Of `state.json`.
const FORMAT: u32 = 1;

/// What is written down of a container.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Record {
    format: u32,
    pub(crate) oci_version: String,
    pub(crate) id: String,
    pub(crate) bundle: PathBuf,
    pub(crate) annotations: HashMap<String, String>,
    pub(crate) pid: i32,
    /// When the process began, in clock ticks since the boot: with the pid, the process itself.
    pub(crate) began: u64,
    /// Relative to the mount of cgroup2.
    pub(crate) cgroup: PathBuf,
    /// The cgroups that were made for it, the topmost first.
    pub(crate) made_cgroups: Vec<PathBuf>,
    pub(crate) poststart: Vec<Hook>,
    pub(crate) poststop: Vec<Hook>,
}

impl Record {
    /// Of a container whose process is not there yet.
    pub(crate) fn new(id: String, bundle: PathBuf) -> Self {
        Self {
            format: FORMAT,
            oci_version: String::new(),
            id,
            bundle,
            annotations: HashMap::new(),
            pid: 0,
            began: 0,
            cgroup: PathBuf::new(),
            made_cgroups: Vec::new(),
            poststart: Vec::new(),
            poststop: Vec::new(),
        }
    }

    /// The state in the specification's form (runtime.md, "State").
    pub(crate) fn state(&self, status: Status) -> Result<State, Error> {
        let builder = StateBuilder::default()
            .version(self.oci_version.clone())
            .id(self.id.clone())
            .status(status)
            .pid(if status == Status::Stopped { 0 } else { self.pid })
            .bundle(self.bundle.clone())
            .annotations(self.annotations.clone());
        builder
            .build()
            .map_err(|error| Error::Option { option: "state", reason: error.to_string() })
    }

    /// The same as text.
    pub(crate) fn state_json(&self, status: Status) -> Result<String, Error> {
        serde_json::to_string(&self.state(status)?)
            .map_err(|source| Error::Damaged { path: self.bundle.clone(), source })
    }
}

/// All containers of one `--root`.
#[derive(Debug)]
pub(crate) struct Store {
    root: PathBuf,
}

/// The folder of one container.
#[derive(Debug)]
pub(crate) struct Folder {
    path: PathBuf,
    open: File,
}

/// A container that was created.
#[derive(Debug)]
pub(crate) struct Container {
    pub(crate) folder: Folder,
    pub(crate) record: Record,
}

const RECORD: &str = "state.json";
const START: &str = "start.sock";

/// What an ID is made of, as with runc: it is the name of a folder and of a cgroup.
pub(crate) fn check_id(id: &str) -> Result<(), Error> {
    let fits = |letter: char| letter.is_ascii_alphanumeric() || "_+-.".contains(letter);
    let sound = !id.is_empty() && id.len() <= 255 && id.chars().all(fits);
    if sound && id != "." && id != ".." { Ok(()) } else { Err(Error::BadId(id.to_owned())) }
}

impl Store {
    pub(crate) fn new(root: &Path) -> Self {
        Self { root: root.to_owned() }
    }

    /// Takes an ID for a new container.
    pub(crate) fn reserve(&self, id: &str) -> Result<Folder, Error> {
        check_id(id)?;
        // Whoever could connect to the start socket could start the container.
        let mut private = DirBuilder::new();
        private.mode(0o700);
        let made = private.recursive(true).create(&self.root);
        made.map_err(Error::file("create", &self.root))?;
        let path = self.root.join(id);
        match private.recursive(false).create(&path) {
            Err(error) if error.kind() == ErrorKind::AlreadyExists => {
                Err(Error::Exists(id.to_owned()))
            }
            Err(error) => Err(Error::file("create", path)(error)),
            Ok(()) => Folder::open(path),
        }
    }

    /// A container that exists.
    pub(crate) fn find(&self, id: &str) -> Result<Container, Error> {
        check_id(id)?;
        let path = self.root.join(id);
        let file = path.join(RECORD);
        let text = match fs::read(&file) {
            Err(error) if error.kind() == ErrorKind::NotFound => {
                return Err(Error::NoContainer(id.to_owned()));
            }
            other => other.map_err(Error::file("read", &file))?,
        };
        let record = serde_json::from_slice(&text)
            .map_err(|source| Error::Damaged { path: file, source })?;
        Ok(Container { folder: Folder::open(path)?, record })
    }

    /// The folder of a creation that was cut short, if there is one.
    pub(crate) fn unfinished(&self, id: &str) -> Option<Folder> {
        let path = self.root.join(id);
        let there = path.is_dir() && !path.join(RECORD).exists();
        there.then(|| Folder::open(path).ok()).flatten()
    }

    /// All IDs, in order.
    pub(crate) fn ids(&self) -> Result<Vec<String>, Error> {
        let entries = match fs::read_dir(&self.root) {
            Err(error) if error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
            other => other.map_err(Error::file("read", &self.root))?,
        };
        let mut ids: Vec<String> = entries
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok())
            .filter(|id| self.root.join(id).join(RECORD).exists())
            .collect();
        ids.sort();
        Ok(ids)
    }
}

impl Folder {
    fn open(path: PathBuf) -> Result<Self, Error> {
        let open = File::open(&path).map_err(Error::file("open", &path))?;
        Ok(Self { path, open })
    }

    /// A socket's name may have 107 bytes only, so it is named through the open folder.
    fn socket(&self) -> PathBuf {
        PathBuf::from(format!("/proc/self/fd/{}/{START}", self.open.as_raw_fd()))
    }

    /// The socket that the container is started through.
    pub(crate) fn listen(&self) -> Result<UnixListener, Error> {
        UnixListener::bind(self.socket()).map_err(Error::file("listen on", self.path.join(START)))
    }

    /// Connects to it, and takes it away: a container is started once.
    pub(crate) fn connect(&self) -> Result<UnixStream, Error> {
        let path = self.path.join(START);
        let stream =
            UnixStream::connect(self.socket()).map_err(Error::file("connect to", &path))?;
        fs::remove_file(&path).map_err(Error::file("remove", &path))?;
        Ok(stream)
    }

    pub(crate) fn write(&self, record: &Record) -> Result<(), Error> {
        let path = self.path.join(RECORD);
        let text = serde_json::to_vec(record)
            .map_err(|source| Error::Damaged { path: path.clone(), source })?;
        replace(&path, &text)
    }

    pub(crate) fn remove(&self) -> Result<(), Error> {
        match fs::remove_dir_all(&self.path) {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
            other => other.map_err(Error::file("remove", &self.path)),
        }
    }
}

/// Writes a file so that a reader sees all of it or nothing.
pub(crate) fn replace(path: &Path, content: &[u8]) -> Result<(), Error> {
    let mut name = path.as_os_str().to_owned();
    name.push(".new");
    let temporary = PathBuf::from(name);
    fs::write(&temporary, content).map_err(Error::file("write", &temporary))?;
    fs::rename(&temporary, path).map_err(Error::file("write", path))
}

impl Container {
    /// What it is at this moment.
    pub(crate) fn status(&self) -> Status {
        match began(self.record.pid) {
            Some(began) if began == self.record.began => {
                if self.folder.path.join(START).exists() {
                    Status::Created
                } else {
                    Status::Running
                }
            }
            _ => Status::Stopped,
        }
    }
}

/// The word of a status.
pub(crate) fn word(status: Status) -> &'static str {
    match status {
        Status::Creating => "creating",
        Status::Created => "created",
        Status::Running => "running",
        Status::Stopped => "stopped",
    }
}

/// When a process began (field 22 of proc_pid_stat(5)). None: there is none, or it has ended and
/// only waits to be reaped.
pub(crate) fn began(pid: i32) -> Option<u64> {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    // The name before it is in brackets and may have anything in it.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut fields = fields.split_ascii_whitespace();
    let state = fields.next()?;
    if matches!(state, "Z" | "X" | "x") {
        return None;
    }
    fields.nth(18)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_the_name_of_a_folder_and_nothing_else() {
        for id in ["a", "A_b+c-d.e", "0", "..."] {
            assert!(check_id(id).is_ok(), "{id}");
        }
        for id in ["", ".", "..", "a/b", "a b", "ä", &"x".repeat(256)] {
            assert!(matches!(check_id(id), Err(Error::BadId(_))), "{id}");
        }
    }

    #[test]
    fn an_id_is_taken_once_and_free_again_after_the_removal() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::new(&root.path().join("below"));
        let folder = store.reserve("one").unwrap();
        assert!(matches!(store.reserve("one"), Err(Error::Exists(_))));
        assert!(matches!(store.find("one"), Err(Error::NoContainer(_))), "not created yet");
        let mut record = Record::new("one".into(), "/b".into());
        record.pid = i32::try_from(std::process::id()).unwrap();
        record.began = began(record.pid).unwrap();
        folder.write(&record).unwrap();
        let listener = folder.listen().unwrap();
        let container = store.find("one").unwrap();
        assert_eq!(container.record, record);
        assert_eq!(container.status(), Status::Created);
        drop(container.folder.connect().unwrap());
        assert_eq!(container.status(), Status::Running);
        drop(listener);
        assert_eq!(store.ids().unwrap(), ["one"]);
        folder.remove().unwrap();
        assert!(store.reserve("one").is_ok());
    }

    #[test]
    fn a_process_that_got_the_number_later_is_not_the_containers() {
        let root = tempfile::tempdir().unwrap();
        let store = Store::new(root.path());
        let folder = store.reserve("one").unwrap();
        let mut record = Record::new("one".into(), "/b".into());
        record.pid = i32::try_from(std::process::id()).unwrap();
        record.began = began(record.pid).unwrap() + 1;
        folder.write(&record).unwrap();
        assert_eq!(store.find("one").unwrap().status(), Status::Stopped);
    }
}
