//! cgroup v2: a container's limits, and the handle on all of its processes at once.
//!
//! Rules: Documentation/admin-guide/cgroup-v2.rst. Only the agent uses this; `linkspan-init` is
//! born in its cgroup and cannot write to it.

mod disks;
mod usage;

use std::collections::HashSet;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read as _, Write as _};
use std::os::fd::AsFd as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use linkspan_sys::nix::libc;
use linkspan_sys::nix::poll::{PollFd, PollFlags, PollTimeout, poll};

use crate::plan::Resources;

pub use usage::CgroupUsage;

/// The controllers that limits and statistics need.
const CONTROLLERS: [&str; 5] = ["cpuset", "cpu", "io", "memory", "pids"];

/// What went wrong with a file of cgroupfs.
#[derive(Debug, thiserror::Error)]
pub enum CgroupError {
    /// The kernel refused a value.
    #[error("cannot write `{value}` to `{}`: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What was written.
        value: String,
        /// The kernel's answer.
        source: io::Error,
    },
    /// A limit of a controller that this kernel does not have, or that is not enabled.
    #[error("cannot set `{file}`: the kernel's cgroup has no controller for it")]
    NoController {
        /// The file, such as `memory.max`.
        file: &'static str,
    },
    /// A file could not be read.
    #[error("cannot read `{}`: {source}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The folder could not be made.
    #[error("cannot create the cgroup `{}`: {source}", path.display())]
    Create {
        /// The folder.
        path: PathBuf,
        /// The kernel's answer.
        source: io::Error,
    },
    /// The folder could not be removed in time.
    #[error("cannot remove the cgroup `{}`: {source}", path.display())]
    Remove {
        /// The folder.
        path: PathBuf,
        /// The last answer.
        source: io::Error,
    },
    /// The processes did not stop in time.
    #[error("cannot freeze the cgroup `{}`: its processes did not stop in {timeout:?}", path.display())]
    FreezeTimedOut {
        /// The folder.
        path: PathBuf,
        /// How long was waited.
        timeout: Duration,
    },
}

impl CgroupError {
    /// The kernel's answer, where there was one.
    #[must_use]
    pub fn errno(&self) -> Option<i32> {
        match self {
            Self::Write { source, .. }
            | Self::Read { source, .. }
            | Self::Create { source, .. }
            | Self::Remove { source, .. } => source.raw_os_error(),
            Self::NoController { .. } | Self::FreezeTimedOut { .. } => None,
        }
    }
}

/// The cgroup2 mount.
#[derive(Debug)]
pub struct Hierarchy {
    mount: PathBuf,
    /// Folders whose children have their controllers, so that they are not asked again at
    /// every start.
    delegated: Mutex<HashSet<PathBuf>>,
}

impl Hierarchy {
    /// `mount`: where cgroup2 is mounted, usually `/sys/fs/cgroup`.
    pub fn new(mount: impl Into<PathBuf>) -> Self {
        Self { mount: mount.into(), delegated: Mutex::default() }
    }

    /// Makes a cgroup, with what is missing above it, and writes its limits. One that exists
    /// already is used as it is.
    ///
    /// # Errors
    /// Names the file and the value.
    pub fn create(&self, relative: &Path, resources: &Resources) -> Result<Cgroup, CgroupError> {
        let cgroup = self.open(relative);
        let mut above = self.mount.clone();
        for part in relative.iter() {
            self.delegate(&above)?;
            above.push(part);
            match fs::create_dir(&above) {
                Ok(()) => {}
                Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {}
                Err(source) => return Err(CgroupError::Create { path: above, source }),
            }
        }
        cgroup.apply(resources)?;
        Ok(cgroup)
    }

    /// Makes sure that a file such as `hugetlb.2MB.max` is there in a cgroup that exists: gives
    /// it the file's controller, if that is not among those that every cgroup has.
    ///
    /// # Errors
    /// When the kernel has no such controller.
    pub fn enable_for(&self, relative: &Path, file: &str) -> Result<(), CgroupError> {
        let controller = file.split('.').next().unwrap_or(file);
        if controller == "cgroup" || CONTROLLERS.contains(&controller) {
            return Ok(());
        }
        let mut above = self.mount.clone();
        for part in relative.iter() {
            write(&above.join("cgroup.subtree_control"), &format!("+{controller}"))?;
            above.push(part);
        }
        Ok(())
    }

    /// A cgroup that may or may not exist.
    #[must_use]
    pub fn open(&self, relative: &Path) -> Cgroup {
        // An absolute path would replace the mount point in a join.
        let relative = relative.strip_prefix("/").unwrap_or(relative);
        Cgroup { path: self.mount.join(relative) }
    }

    /// Gives the children of a folder the controllers that the folder has itself.
    fn delegate(&self, folder: &Path) -> Result<(), CgroupError> {
        let mut delegated = self.delegated.lock().unwrap_or_else(PoisonError::into_inner);
        if delegated.contains(folder) {
            return Ok(());
        }
        let available = read(&folder.join("cgroup.controllers"))?;
        let wanted: Vec<String> = CONTROLLERS
            .iter()
            .filter(|name| available.split_whitespace().any(|other| other == **name))
            .map(|name| format!("+{name}"))
            .collect();
        if !wanted.is_empty() {
            write(&folder.join("cgroup.subtree_control"), &wanted.join(" "))?;
        }
        delegated.insert(folder.to_owned());
        Ok(())
    }
}

/// One cgroup. Knows its path only: it may be gone.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Cgroup {
    path: PathBuf,
}

impl Cgroup {
    /// The folder.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// The folder, opened: for CLONE_INTO_CGROUP and the device filter.
    ///
    /// # Errors
    /// `NotFound`: there is no such cgroup.
    pub fn folder(&self) -> io::Result<File> {
        OpenOptions::new().read(true).custom_flags(libc::O_DIRECTORY).open(&self.path)
    }

    /// Writes the limits that are given; the others stay.
    ///
    /// # Errors
    /// Names the file and the value.
    pub fn apply(&self, resources: &Resources) -> Result<(), CgroupError> {
        self.apply_io(resources)?;
        for (file, value) in settings(resources) {
            match write(&self.path.join(file), &value) {
                Err(CgroupError::Write { source, .. })
                    if source.kind() == io::ErrorKind::NotFound =>
                {
                    // A kernel without swap has no file to limit it with, and nothing to limit.
                    if file == SWAP_MAX && self.path.join("memory.max").exists() {
                        continue;
                    }
                    return Err(CgroupError::NoController { file });
                }
                other => other?,
            }
        }
        Ok(())
    }

    /// Writes one of its files, such as `cpu.idle`.
    ///
    /// # Errors
    /// Names the file and the value.
    pub fn set(&self, file: &str, value: &str) -> Result<(), CgroupError> {
        write(&self.path.join(file), value)
    }

    /// SIGKILL to every process in it and below (Linux 5.14). Succeeds when there is no such
    /// cgroup.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn kill(&self) -> Result<(), CgroupError> {
        match write(&self.path.join("cgroup.kill"), "1") {
            Err(CgroupError::Write { source, .. }) if is_gone(&source) => Ok(()),
            other => other,
        }
    }

    /// Stops every process, and returns when they have stopped.
    ///
    /// # Errors
    /// When they have not in time: the freeze is taken back.
    pub fn freeze(&self, timeout: Duration) -> Result<(), CgroupError> {
        let file = self.path.join("cgroup.freeze");
        write(&file, "1")?;
        if self.wait_for("frozen 1", timeout)? {
            return Ok(());
        }
        write(&file, "0")?;
        Err(CgroupError::FreezeTimedOut { path: self.path.clone(), timeout })
    }

    /// Lets the processes run on.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn thaw(&self) -> Result<(), CgroupError> {
        write(&self.path.join("cgroup.freeze"), "0")
    }

    /// Whether a process is in it or below.
    ///
    /// # Errors
    /// When the file cannot be read.
    pub fn populated(&self) -> Result<bool, CgroupError> {
        let events = read(&self.path.join("cgroup.events"))?;
        Ok(events.lines().any(|line| line == "populated 1"))
    }

    /// How many processes the OOM killer has ended in it and below; 0 without the memory
    /// controller.
    ///
    /// # Errors
    /// When there is no such cgroup.
    pub fn oom_kills(&self) -> Result<u64, CgroupError> {
        match read(&self.path.join("memory.events")) {
            Ok(events) => Ok(field(&events, "oom_kill").unwrap_or(0)),
            Err(CgroupError::Read { source, .. })
                if source.kind() == io::ErrorKind::NotFound && self.path.exists() =>
            {
                Ok(0)
            }
            Err(error) => Err(error),
        }
    }

    /// Removes it and what the container has made below it. Waits until the last process is
    /// gone, at most `timeout`. Succeeds when there is no such cgroup.
    ///
    /// # Errors
    /// The last answer, when it could not be removed in time.
    pub fn remove(&self, timeout: Duration) -> Result<(), CgroupError> {
        let deadline = Instant::now() + timeout;
        loop {
            let Err(source) = remove_tree(&self.path) else { return Ok(()) };
            // EBUSY: a process is left, or just dying. Anything else does not get better.
            let left = deadline.saturating_duration_since(Instant::now());
            if source.raw_os_error() != Some(libc::EBUSY) || left.is_zero() {
                return Err(CgroupError::Remove { path: self.path.clone(), source });
            }
            // cgroup.events may say "empty" a moment before rmdir agrees: hence the short pause.
            match self.wait_for("populated 0", left) {
                Ok(_) => std::thread::sleep(Duration::from_millis(1).min(left)),
                Err(CgroupError::Read { source, .. }) if is_gone(&source) => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Waits for a line in cgroup.events; the kernel announces changes by POLLPRI.
    fn wait_for(&self, line: &str, timeout: Duration) -> Result<bool, CgroupError> {
        let path = self.path.join("cgroup.events");
        let failed = |source| CgroupError::Read { path: path.clone(), source };
        let deadline = Instant::now() + timeout;
        loop {
            // Opened anew: reading is what arms the next POLLPRI.
            let mut file = File::open(&path).map_err(failed)?;
            let mut events = String::new();
            file.read_to_string(&mut events).map_err(failed)?;
            if events.lines().any(|other| other == line) {
                return Ok(true);
            }
            let left = deadline.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Ok(false);
            }
            // At most 100 ms: a change between reading and polling must not cost the whole time.
            let wait = left.min(Duration::from_millis(100));
            let wait = PollTimeout::try_from(wait).unwrap_or(PollTimeout::ZERO);
            let mut poll_fd = [PollFd::new(file.as_fd(), PollFlags::POLLPRI)];
            match poll(&mut poll_fd, wait) {
                Ok(_) | Err(linkspan_sys::Errno::EINTR) => {}
                Err(errno) => return Err(failed(errno.into())),
            }
        }
    }
}

const SWAP_MAX: &str = "memory.swap.max";

/// The files that stand for limits, and what goes into them.
fn settings(resources: &Resources) -> Vec<(&'static str, String)> {
    let amount = |value: u64| if value == u64::MAX { "max".to_owned() } else { value.to_string() };
    let number = |file, value: Option<u64>| value.map(|value| (file, amount(value)));
    let text = |file, value: &Option<String>| value.clone().map(|value| (file, value));
    let cpu_max =
        resources.cpu_max.map(|(quota, period)| ("cpu.max", format!("{} {period}", amount(quota))));
    [
        number("memory.max", resources.memory_max),
        number(SWAP_MAX, resources.swap_max),
        number("memory.low", resources.memory_low),
        cpu_max,
        number("cpu.weight", resources.cpu_weight),
        text("cpuset.cpus", &resources.cpuset_cpus),
        text("cpuset.mems", &resources.cpuset_mems),
        number("pids.max", resources.pids_max),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The value of `name` in a flat keyed file.
fn field(content: &str, name: &str) -> Option<u64> {
    content.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.parse().ok())
}

/// ENODEV: the file was open when its cgroup was removed.
fn is_gone(error: &io::Error) -> bool {
    error.kind() == io::ErrorKind::NotFound || error.raw_os_error() == Some(libc::ENODEV)
}

fn remove_tree(path: &Path) -> io::Result<()> {
    match fs::remove_dir(path) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        // EBUSY is also the answer when there are cgroups below.
        Err(error) if error.raw_os_error() == Some(libc::EBUSY) => {}
        Err(error) => return Err(error),
    }
    for entry in fs::read_dir(path)? {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            remove_tree(&entry.path())?;
        }
    }
    match fs::remove_dir(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
        other => other,
    }
}

fn write(path: &Path, value: &str) -> Result<(), CgroupError> {
    // Not File::create: O_TRUNC means nothing here and O_CREAT must not make up a file.
    let result =
        OpenOptions::new().write(true).open(path).and_then(|mut f| f.write_all(value.as_bytes()));
    result.map_err(|source| CgroupError::Write {
        path: path.to_owned(),
        value: value.to_owned(),
        source,
    })
}

fn read(path: &Path) -> Result<String, CgroupError> {
    fs::read_to_string(path).map_err(|source| CgroupError::Read { path: path.to_owned(), source })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_are_written_as_the_kernel_reads_them() {
        let resources = Resources {
            memory_max: Some(1 << 20),
            swap_max: Some(u64::MAX),
            cpu_max: Some((150_000, 100_000)),
            cpuset_cpus: Some("0-1".into()),
            pids_max: Some(7),
            ..Resources::default()
        };
        let expected = [
            ("memory.max", "1048576"),
            ("memory.swap.max", "max"),
            ("cpu.max", "150000 100000"),
            ("cpuset.cpus", "0-1"),
            ("pids.max", "7"),
        ];
        let written = settings(&resources);
        let written: Vec<_> = written.iter().map(|(file, value)| (*file, value.as_str())).collect();
        assert_eq!(written, expected);
        assert!(settings(&Resources::default()).is_empty());
    }

    #[test]
    fn a_limit_without_its_controller_is_an_error_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let cgroup = Hierarchy::new(folder.path()).open(Path::new("/"));
        let resources = Resources { pids_max: Some(1), ..Resources::default() };
        let error = cgroup.apply(&resources).unwrap_err();
        assert_eq!(
            error.to_string(),
            "cannot set `pids.max`: the kernel's cgroup has no controller for it"
        );
    }

    #[test]
    fn a_kernel_without_swap_satisfies_every_swap_limit() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("memory.max"), "").unwrap();
        let cgroup = Hierarchy::new(folder.path()).open(Path::new(""));
        let resources =
            Resources { memory_max: Some(5), swap_max: Some(0), ..Resources::default() };
        cgroup.apply(&resources).unwrap();
        assert_eq!(fs::read_to_string(folder.path().join("memory.max")).unwrap(), "5");
    }

    #[test]
    fn controllers_are_passed_down_to_every_level_once() {
        let folder = tempfile::tempdir().unwrap();
        let hierarchy = Hierarchy::new(folder.path());
        let prepare = |path: &str, controllers: &str| {
            let path = folder.path().join(path);
            fs::create_dir_all(&path).unwrap();
            fs::write(path.join("cgroup.controllers"), controllers).unwrap();
            fs::write(path.join("cgroup.subtree_control"), "").unwrap();
        };
        prepare("", "cpu io memory pids rdma");
        prepare("a", "memory pids");
        hierarchy.create(Path::new("a/b"), &Resources::default()).unwrap();
        let control = |path: &str| {
            fs::read_to_string(folder.path().join(path).join("cgroup.subtree_control")).unwrap()
        };
        assert_eq!(control(""), "+cpu +io +memory +pids");
        assert_eq!(control("a"), "+memory +pids");
        fs::write(folder.path().join("a/cgroup.subtree_control"), "").unwrap();
        hierarchy.create(Path::new("a/c"), &Resources::default()).unwrap();
        assert_eq!(control("a"), "", "not written again");
    }

    #[test]
    fn what_is_gone_can_be_killed_and_removed() {
        let cgroup = Hierarchy::new("/nonexistent").open(Path::new("x"));
        cgroup.kill().unwrap();
        cgroup.remove(Duration::ZERO).unwrap();
    }

    #[test]
    fn oom_kills_are_read_from_the_events() {
        let folder = tempfile::tempdir().unwrap();
        let cgroup = Hierarchy::new(folder.path()).open(Path::new(""));
        assert_eq!(cgroup.oom_kills().unwrap(), 0);
        let events = "low 0\nhigh 0\nmax 12\noom 3\noom_kill 2\noom_group_kill 0\n";
        fs::write(folder.path().join("memory.events"), events).unwrap();
        assert_eq!(cgroup.oom_kills().unwrap(), 2);
    }
}
