//! The process around the file system.

use std::{
    io,
    os::unix::{fs::PermissionsExt as _, net::UnixListener},
    path::Path,
    sync::Arc,
    thread,
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::Mode,
    process::{getegid, geteuid, umask},
    thread::{CapabilitySet, CapabilitySets, set_capabilities},
    time::Timespec,
};
use vhost::vhost_user::{self, Listener};
use vhost_user_backend::{Error as DaemonError, VhostUserDaemon};
use virtiofsd::{
    filesystem::{FileSystem, SerializableFileSystem},
    limits,
    passthrough::{CachePolicy, Config, PassthroughFs, read_only::PassthroughFsRo},
    soft_idmap::cmdline::IdMap,
    vhost_user::VhostUserFsBackendBuilder,
};
use vm_memory::{GuestMemoryAtomic, GuestMemoryMmap};

use crate::{
    Error, Options,
    changes::{Changes, watcher::Watcher},
    watched::Watched,
};

/// How long QEMU may take to connect. It does so while it starts; when nobody comes, whoever
/// started us is gone.
const QEMU_LIMIT: Duration = Duration::from_secs(60);
/// How long the guest believes a name and its attributes: so late it may see what the host changed.
const BELIEF: Duration = Duration::from_secs(1);
/// Files that are not the guest's: one for each memory region that vhost-user can have (509), and
/// some for queues, the socket, the log.
const OWN_FILES: u64 = 609;

/// See [`crate::run`].
pub(crate) fn run(options: &Options) -> Result<(), Error> {
    end_with_a_panic();
    let config = config(options)?;
    let _removed = (Socket(&options.socket), Socket(&options.changes));
    let bind =
        |path: &Path| bind(path).map_err(|source| Error::Bind { path: path.to_owned(), source });
    let daemons = bind(&options.changes)?;
    let listener = bind(&options.socket)?;
    // After the socket was made; the guest's kernel has applied the umask of its processes.
    umask(Mode::empty());
    drop_capabilities()?;
    let unusable = |source| Error::Share { path: options.share.clone(), source };
    let changes = Arc::<Changes>::default();
    let watcher = Watcher::new(changes.clone(), &options.share).map_err(unusable)?;
    let watch = move || watcher.run(&daemons);
    thread::Builder::new()
        .name("changes".into())
        .spawn(watch)
        .map_err(|error| Error::Start { why: error.to_string() })?;
    if options.read_only {
        let files = PassthroughFsRo::new(config).map_err(unusable)?;
        serve(Watched::new(files, changes), listener)
    } else {
        let files = PassthroughFs::new(config).map_err(unusable)?;
        serve(Watched::new(files, changes), listener)
    }
}

fn config(options: &Options) -> Result<Config, Error> {
    let unusable = |source| Error::Share { path: options.share.clone(), source };
    // Reading it is what the guest will do first.
    std::fs::read_dir(&options.share).map_err(unusable)?;
    let root_dir = options.share.to_str().ok_or_else(|| {
        unusable(io::Error::new(io::ErrorKind::InvalidInput, "its path is not UTF-8"))
    })?;
    let files = limits::setup_rlimit_nofile(None).map_err(|why| Error::Start { why })?;
    Ok(Config {
        entry_timeout: BELIEF,
        attr_timeout: BELIEF,
        cache_policy: CachePolicy::Auto,
        root_dir: root_dir.to_owned(),
        // Mounts below the folder have inode numbers of their own.
        announce_submounts: true,
        uid_map: Some(squash(geteuid().as_raw())),
        gid_map: Some(squash(getegid().as_raw())),
        guest_fd_limit: files.saturating_sub(OWN_FILES).max(1),
        ..Config::default()
    })
}

/// Every id of the guest is this one; root's process may take on any, and maps none.
fn squash(id: u32) -> Vec<IdMap> {
    if geteuid().is_root() {
        return Vec::new();
    }
    // The last id means "none" to chown(2) and is not mapped.
    vec![IdMap::SquashGuest { from_guest: 0, to_host: id, count: u32::MAX }]
}

/// Root keeps what working on files as somebody else takes; there is nothing to drop for others.
fn drop_capabilities() -> Result<(), Error> {
    if !geteuid().is_root() {
        return Ok(());
    }
    let kept = CapabilitySet::CHOWN
        | CapabilitySet::DAC_OVERRIDE
        | CapabilitySet::FOWNER
        | CapabilitySet::FSETID
        | CapabilitySet::SETGID
        | CapabilitySet::SETUID
        | CapabilitySet::MKNOD
        | CapabilitySet::SETFCAP;
    let had = rustix::thread::capabilities(None).map_err(start_error)?;
    let kept = kept & had.permitted;
    let sets =
        CapabilitySets { effective: kept, permitted: kept, inheritable: CapabilitySet::empty() };
    set_capabilities(None, sets).map_err(start_error)
}

fn start_error(errno: rustix::io::Errno) -> Error {
    Error::Start { why: errno.to_string() }
}

fn serve<F>(files: F, listener: UnixListener) -> Result<(), Error>
where
    F: FileSystem + SerializableFileSystem + Send + Sync + 'static,
{
    let vhost = |error: DaemonError| Error::Vhost { why: error.to_string() };
    // No threads: with one queue they cost more than they bring.
    let backend = VhostUserFsBackendBuilder::default().set_thread_pool_size(0).build(files);
    let backend = Arc::new(backend.map_err(|error| Error::Start { why: error.to_string() })?);
    let memory = GuestMemoryAtomic::new(GuestMemoryMmap::new());
    let mut daemon = VhostUserDaemon::new("fs".into(), backend, memory).map_err(vhost)?;
    wait_for_qemu(&listener)?;
    daemon.start(&mut Listener::from(listener)).map_err(vhost)?;
    match daemon.wait() {
        Ok(()) => Ok(()),
        // QEMU has ended, at whatever point it was.
        Err(DaemonError::HandleRequest(
            vhost_user::Error::Disconnected | vhost_user::Error::PartialMessage,
        )) => Ok(()),
        Err(error) => Err(vhost(error)),
    }
}

/// A panic in the thread that handles the queues would leave the guest waiting for ever; without a
/// process its calls fail.
fn end_with_a_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}

fn bind(path: &Path) -> io::Result<UnixListener> {
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600))?;
    Ok(listener)
}

fn wait_for_qemu(listener: &UnixListener) -> Result<(), Error> {
    let limit = Timespec::try_from(QEMU_LIMIT).ok();
    let mut watched = [PollFd::new(listener, PollFlags::IN)];
    loop {
        match poll(&mut watched, limit.as_ref()) {
            Ok(0) => return Err(Error::NoQemu { seconds: QEMU_LIMIT.as_secs() }),
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(start_error(errno)),
        }
    }
}

/// Removes the socket at the end.
struct Socket<'a>(&'a Path);

impl Drop for Socket<'_> {
    fn drop(&mut self) {
        // Whoever started us removes it too.
        let _ = std::fs::remove_file(self.0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_folder_is_refused_before_there_is_a_socket() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("file");
        std::fs::write(&file, b"").expect("a file");
        for share in [file, folder.path().join("gone")] {
            let socket = folder.path().join("socket");
            let changes = folder.path().join("changes");
            let options =
                Options { socket: socket.clone(), share: share.clone(), read_only: false, changes };
            let error = config(&options).map(drop).expect_err("nothing to share");
            assert!(error.to_string().contains(&share.display().to_string()), "{error}");
            assert!(!socket.exists());
        }
    }
}
