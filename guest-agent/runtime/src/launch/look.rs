//! The files of a container that does not run, mounted by a `linkspan-init` that stays.

use std::os::fd::{AsFd as _, BorrowedFd, OwnedFd};

use linkspan_sys::Errno;
use linkspan_sys::spawn::CloneFlags;

use super::{LaunchError, Launcher, Role, Spawner, Stdio, killed, out_of_turn, socket_pair};
use crate::plan::Look;
use crate::wire::{Channel, InitMessage, OrderRef, SOCKET_FD, WireError};

impl<S: Spawner> Launcher<S> {
    /// Mounts the files of a container that does not run, for as long as the answer lives.
    ///
    /// # Errors
    /// Names the failing step and the reason.
    pub fn look(&self, look: &Look) -> Result<Looking, LaunchError> {
        let (ours, theirs) = socket_pair()?;
        let fds = [(theirs.as_fd(), SOCKET_FD)];
        let flags = CloneFlags::CLONE_NEWNS;
        let errand = self.spawn(&Stdio::default(), &fds, flags, None, Role::Errand)?;
        drop(theirs);
        let mut channel = Channel::new(ours);
        match root_of(&mut channel, look) {
            Ok(root) => Ok(Looking { root, _channel: channel }),
            Err(error) => {
                self.spawner.abandon(errand);
                Err(error)
            }
        }
    }
}

/// The mounted files of a container that does not run. They are unmounted when it is dropped.
#[derive(Debug)]
pub struct Looking {
    // Before the channel: what is open below the root would outlive the mounts otherwise.
    root: OwnedFd,
    _channel: Channel,
}

impl Looking {
    /// The container's root, opened O_PATH. Paths are to be resolved within it.
    #[must_use]
    pub fn root(&self) -> BorrowedFd<'_> {
        self.root.as_fd()
    }
}

fn root_of(channel: &mut Channel, look: &Look) -> Result<OwnedFd, LaunchError> {
    match channel.send(&OrderRef::Look(look), None) {
        // It was killed before it had read all: the end of file that follows says so.
        Ok(()) | Err(WireError::Socket(Errno::EPIPE | Errno::ECONNRESET)) => {}
        Err(error) => return Err(LaunchError::wire(error)),
    }
    let mut root = None;
    while let Some(message) = channel.receive().map_err(LaunchError::wire)? {
        match message {
            InitMessage::Failed(reason) => return Err(reason.into()),
            InitMessage::Root => root = Some(channel.take_fd().map_err(LaunchError::wire)?),
            InitMessage::Ready { .. } => {
                return root.ok_or_else(|| out_of_turn(&"Ready, without the root"));
            }
            other => return Err(out_of_turn(&other)),
        }
    }
    Err(killed())
}
