//! The process around the device: its sockets, its one QEMU, its end.

use std::{
    io,
    os::{fd::AsRawFd as _, unix::net::UnixListener},
    path::Path,
    sync::{Arc, Mutex},
    time::Duration,
};

use rustix::{
    event::{PollFd, PollFlags, poll},
    process::{Resource, Rlimit, getrlimit, setrlimit},
    time::Timespec,
};
use vhost::vhost_user::{self, Listener};
use vhost_user_backend::{Error as DaemonError, VhostUserDaemon};
use vm_memory::{GuestMemoryAtomic, GuestMemoryMmap};
use vmm_sys_util::epoll::EventSet;

use crate::{
    Error, Options,
    backend::{Backend, DEVICE_EVENT},
    device::Device,
    hybrid::{self, Hybrid},
};

/// How long QEMU may take to connect. It does so while it starts; when nobody comes, whoever
/// started us is gone.
const QEMU_LIMIT: Duration = Duration::from_secs(60);
/// The most connections, where the system lets a process have so many files.
const MOST_CONNECTIONS: u64 = 8192;
/// Files that are no connections: queues, memory, sockets, logs.
const OTHER_FILES: u64 = 64;

/// See [`crate::run`].
pub(crate) fn run(options: &Options) -> Result<(), Error> {
    end_with_a_panic();
    let _removed = Sockets(options);
    let hybrid = Hybrid::bind(&options.uds).map_err(bind_error(&options.uds))?;
    let device = Device::new(options.guest_cid.into(), hybrid, connection_limit())
        .map_err(|source| Error::Start { source })?;
    // Last: whoever sees this socket may start QEMU.
    let listener = hybrid::bind(&options.socket).map_err(bind_error(&options.socket))?;
    serve(options, device, listener)
}

fn serve(options: &Options, device: Device, listener: UnixListener) -> Result<(), Error> {
    let start = |source| Error::Start { source };
    let vhost = |error: DaemonError| Error::Vhost { why: error.to_string() };
    let events = rustix::io::dup(&device).map_err(|errno| start(errno.into()))?;
    let memory = GuestMemoryAtomic::new(GuestMemoryMmap::new());
    let backend = Backend::new(device, options.guest_cid.into(), memory.clone());
    let backend = Arc::new(Mutex::new(backend));
    let mut daemon = VhostUserDaemon::new("vsock".into(), backend, memory).map_err(vhost)?;
    for handler in daemon.get_epoll_handlers() {
        handler
            .register_listener(events.as_raw_fd(), EventSet::IN, DEVICE_EVENT.into())
            .map_err(start)?;
    }
    wait_for_qemu(&listener)?;
    listener.set_nonblocking(false).map_err(start)?;
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

/// A panic in the thread that handles the queues would leave programs waiting for ever; without a
/// process they are refused at once.
fn end_with_a_panic() {
    let report = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        report(panic);
        std::process::abort();
    }));
}

fn wait_for_qemu(listener: &UnixListener) -> Result<(), Error> {
    let limit = Timespec::try_from(QEMU_LIMIT).ok();
    let mut watched = [PollFd::new(listener, PollFlags::IN)];
    loop {
        match poll(&mut watched, limit.as_ref()) {
            Ok(0) => return Err(Error::NoQemu { seconds: QEMU_LIMIT.as_secs() }),
            Ok(_) => return Ok(()),
            Err(rustix::io::Errno::INTR) => {}
            Err(errno) => return Err(Error::Start { source: errno.into() }),
        }
    }
}

/// As many as the system's limit of open files leaves room for, after raising that as far as this
/// process may.
fn connection_limit() -> usize {
    let before = getrlimit(Resource::Nofile);
    let wanted = Rlimit { current: before.maximum, maximum: before.maximum };
    let files = match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => before.maximum,
        Err(error) => {
            tracing::warn!(%error, "cannot raise the limit of open files");
            before.current
        }
    };
    let connections = files.unwrap_or(u64::MAX).saturating_sub(OTHER_FILES).min(MOST_CONNECTIONS);
    usize::try_from(connections).unwrap_or(usize::MAX).max(1)
}

fn bind_error(path: &Path) -> impl FnOnce(io::Error) -> Error {
    move |source| Error::Bind { path: path.to_owned(), source }
}

/// Removes both sockets at the end.
struct Sockets<'a>(&'a Options);

impl Drop for Sockets<'_> {
    fn drop(&mut self) {
        for path in [&self.0.socket, &self.0.uds] {
            // Whoever started us removes them too.
            let _ = std::fs::remove_file(path);
        }
    }
}
