//! Whether the other end of a local socket has gone altogether.
//!
//! Reading tells only that it says no more: a client that has closed its writing half still reads.

/// Outlives the [`Stream`](super::Stream) that it was made of, and keeps its socket open.
#[derive(Debug)]
pub struct HangUp {
    #[cfg(unix)]
    socket: std::os::fd::OwnedFd,
}

impl HangUp {
    #[cfg(unix)]
    pub(super) fn of(socket: impl std::os::fd::AsFd) -> std::io::Result<Self> {
        Ok(Self { socket: socket.as_fd().try_clone_to_owned()? })
    }

    #[cfg(windows)]
    pub(super) fn unknown() -> Self {
        Self {}
    }

    /// True when the peer has closed both halves, or our writing half is shut down. On Windows
    /// never: there the next write tells.
    #[must_use]
    pub fn is_now(&self) -> bool {
        #[cfg(unix)]
        {
            use rustix::{io::Errno, net::SendFlags};

            // Nothing is sent; what is checked is whether anything could be (send(2), EPIPE).
            rustix::net::send(&self.socket, &[], SendFlags::DONTWAIT) == Err(Errno::PIPE)
        }
        #[cfg(windows)]
        {
            false
        }
    }
}
