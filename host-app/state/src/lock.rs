//! Locks between processes: one daemon a home, one daemon a machine.
//!
//! The kernel's advisory lock on an open file is the lock; it goes away with its holder, however
//! that one dies. The file itself stays and means nothing. Its content says who took the lock
//! last, for messages only.

use std::{
    fs::{File, OpenOptions, TryLockError},
    io::{Read as _, Seek as _, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use serde::{Deserialize, Serialize};

use crate::StateError;

/// A held lock; dropping it lets go.
#[derive(Debug)]
pub struct Lock {
    file: File,
    path: PathBuf,
}

/// Who holds a lock, in their own words.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LockHolder {
    /// Their process.
    pub pid: u32,
    /// Their program.
    pub program: String,
}

impl LockHolder {
    fn this_process() -> Self {
        let program = std::env::current_exe()
            .ok()
            .and_then(|path| Some(path.file_stem()?.to_string_lossy().into_owned()))
            .unwrap_or_else(|| "linkspan".into());
        Self { pid: std::process::id(), program }
    }
}

/// [`Lock::probe`] holds a shared lock for an instant; a taker must not mistake it for a holder.
const PROBE_PATIENCE: [Duration; 3] =
    [Duration::from_millis(5), Duration::from_millis(20), Duration::from_millis(50)];

impl Lock {
    /// Takes the lock at `path` without waiting for another holder.
    ///
    /// # Errors
    /// [`StateError::Locked`] when another live process (or another part of this one) holds it.
    pub fn acquire(path: &Path, what: &str) -> Result<Self, StateError> {
        let mut file = open(path)?;
        let mut patience = PROBE_PATIENCE.iter();
        while !granted(file.try_lock(), path)? {
            match patience.next() {
                Some(time) => std::thread::sleep(*time),
                None => {
                    return Err(StateError::Locked {
                        what: what.into(),
                        path: path.to_owned(),
                        holder: read_holder(path),
                    });
                }
            }
        }
        // On a full disk the lock is one all the same.
        if let Err(error) = write_holder(&mut file, path) {
            tracing::debug!(%error, "a lock does not say who holds it");
        }
        Ok(Self { file, path: path.to_owned() })
    }

    /// Who holds the lock at `path` now; `None` when nobody does.
    ///
    /// # Errors
    /// When the file cannot be examined.
    pub fn probe(path: &Path) -> Result<Option<LockHolder>, StateError> {
        let file = match File::open(path) {
            Ok(file) => file,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(StateError::io("open", path)(error)),
        };
        if granted(file.try_lock_shared(), path)? {
            return Ok(None);
        }
        let unknown = LockHolder { pid: 0, program: "an unknown program".into() };
        Ok(Some(read_holder(path).unwrap_or(unknown)))
    }

    /// The lock file.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Lock {
    fn drop(&mut self) {
        // Closing the file would do; but a child that was forked a moment ago and has not yet
        // executed its program may still have it open.
        if let Err(error) = self.file.unlock() {
            tracing::debug!(path = %self.path.display(), %error, "cannot unlock");
        }
    }
}

fn granted(result: Result<(), TryLockError>, path: &Path) -> Result<bool, StateError> {
    match result {
        Ok(()) => Ok(true),
        Err(TryLockError::WouldBlock) => Ok(false),
        Err(TryLockError::Error(error)) => Err(StateError::io("lock", path)(error)),
    }
}

fn open(path: &Path) -> Result<File, StateError> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path).map_err(StateError::io("open", path))
}

/// Windows' locks are mandatory: nobody can read a locked file, so the holder stands beside it.
fn holder_file(path: &Path) -> PathBuf {
    if cfg!(windows) { path.with_extension("holder") } else { path.to_owned() }
}

fn write_holder(file: &mut File, path: &Path) -> Result<(), StateError> {
    let text = serde_json::to_vec(&LockHolder::this_process()).unwrap_or_default();
    if cfg!(windows) {
        return std::fs::write(holder_file(path), text).map_err(StateError::io("write", path));
    }
    file.set_len(0)
        .and_then(|()| file.rewind())
        .and_then(|()| file.write_all(&text))
        .map_err(StateError::io("write", path))
}

fn read_holder(path: &Path) -> Option<LockHolder> {
    let mut text = Vec::new();
    File::open(holder_file(path)).ok()?.take(4096).read_to_end(&mut text).ok()?;
    serde_json::from_slice(&text).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_taker_learns_who_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.lock");
        let held = Lock::acquire(&path, "the machine `a`").unwrap();
        let error = Lock::acquire(&path, "the machine `a`").unwrap_err();
        let StateError::Locked { holder: Some(holder), .. } = &error else { panic!("{error}") };
        assert_eq!(holder.pid, std::process::id());
        assert!(error.to_string().contains(&format!("process {}", holder.pid)), "{error}");
        assert_eq!(Lock::probe(&path).unwrap().unwrap().pid, std::process::id());
        drop(held);
        assert_eq!(Lock::probe(&path).unwrap(), None);
        Lock::acquire(&path, "the machine `a`").unwrap();
    }

    #[test]
    fn a_file_that_a_dead_holder_left_is_no_lock() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.lock");
        std::fs::write(&path, r#"{"pid":1,"program":"long text that is longer than ours"}"#)
            .unwrap();
        assert_eq!(Lock::probe(&path).unwrap(), None);
        let held = Lock::acquire(&path, "x").unwrap();
        assert_eq!(read_holder(&path), Some(LockHolder::this_process()));
        drop(held);
    }

    /// A file that takes a lock, and no word.
    #[cfg(target_os = "linux")]
    #[test]
    fn a_lock_needs_no_room_on_the_disk() {
        use std::os::fd::AsRawFd as _;

        use rustix::fs::{MemfdFlags, SealFlags, fcntl_add_seals, memfd_create};
        let sealed = memfd_create("sealed", MemfdFlags::ALLOW_SEALING).unwrap();
        fcntl_add_seals(&sealed, SealFlags::WRITE).unwrap();
        let path = PathBuf::from(format!("/proc/self/fd/{}", sealed.as_raw_fd()));
        let held = Lock::acquire(&path, "x").unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), b"", "it could not be written");
        assert!(matches!(Lock::acquire(&path, "x"), Err(StateError::Locked { .. })));
        drop(held);
    }

    /// The holder is another process that ends without letting go.
    #[cfg(target_os = "linux")]
    #[test]
    fn the_lock_of_a_killed_process_is_free() {
        use std::process::{Command, Stdio};
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.lock");
        std::fs::write(&path, r#"{"pid":7,"program":"flock"}"#).unwrap();
        // `exec` so that the process we kill is the one that has the lock, and no other.
        let script = format!("exec 9<>{}; flock -n 9; echo held; exec sleep 600", path.display());
        let Ok(mut child) = Command::new("sh").args(["-c", &script]).stdout(Stdio::piped()).spawn()
        else {
            println!("skipped: there is no `sh`");
            return;
        };
        let mut word = [0; 5];
        child.stdout.take().unwrap().read_exact(&mut word).unwrap();
        assert!(Lock::acquire(&path, "x").is_err());
        assert_eq!(Lock::probe(&path).unwrap().unwrap().pid, 7);
        child.kill().unwrap();
        child.wait().unwrap();
        Lock::acquire(&path, "x").unwrap();
    }

    #[test]
    fn probing_does_not_get_in_the_way_of_taking() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("x.lock");
        let stop = std::sync::atomic::AtomicBool::new(false);
        std::thread::scope(|scope| {
            scope.spawn(|| {
                while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                    Lock::probe(&path).unwrap();
                    std::thread::sleep(Duration::from_micros(500));
                }
            });
            let results: Vec<_> = (0..50).map(|_| Lock::acquire(&path, "x").map(drop)).collect();
            stop.store(true, std::sync::atomic::Ordering::Relaxed);
            for result in results {
                result.unwrap();
            }
        });
    }
}
