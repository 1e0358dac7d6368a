//! Terminals: controlling terminal, window size, pseudo-terminal pairs of a given devpts.

use std::os::fd::{AsFd, AsRawFd as _, FromRawFd as _, OwnedFd};

use nix::fcntl::OFlag;

use crate::{Result, check_int};

/// Makes `terminal` the controlling terminal of the calling session leader (TIOCSCTTY).
pub fn set_controlling(terminal: impl AsFd) -> Result<()> {
    // SAFETY: the argument of TIOCSCTTY is an integer (0: do not steal it from another session).
    check_int(unsafe { libc::ioctl(terminal.as_fd().as_raw_fd(), libc::TIOCSCTTY, 0) }).map(drop)
}

/// Sets the window size (TIOCSWINSZ); the foreground process group gets SIGWINCH when it changed.
pub fn set_window_size(terminal: impl AsFd, rows: u16, columns: u16) -> Result<()> {
    let size = libc::winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 };
    let fd = terminal.as_fd().as_raw_fd();
    // SAFETY: TIOCSWINSZ reads one winsize, which lives on this frame.
    check_int(unsafe { libc::ioctl(fd, libc::TIOCSWINSZ, &raw const size) }).map(drop)
}

/// The window size as rows and columns (TIOCGWINSZ).
pub fn window_size(terminal: impl AsFd) -> Result<(u16, u16)> {
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    let fd = terminal.as_fd().as_raw_fd();
    // SAFETY: TIOCGWINSZ writes one winsize, which lives on this frame.
    check_int(unsafe { libc::ioctl(fd, libc::TIOCGWINSZ, &raw mut size) })?;
    Ok((size.ws_row, size.ws_col))
}

/// Unlocks the other end of a freshly opened ptmx, so that it can be opened (TIOCSPTLCK).
pub fn unlock_peer(master: impl AsFd) -> Result<()> {
    let locked: libc::c_int = 0;
    let fd = master.as_fd().as_raw_fd();
    // SAFETY: TIOCSPTLCK reads one int, which lives on this frame.
    check_int(unsafe { libc::ioctl(fd, libc::TIOCSPTLCK, &raw const locked) }).map(drop)
}

/// The N of /dev/pts/N of a ptmx (TIOCGPTN).
pub fn peer_number(master: impl AsFd) -> Result<u32> {
    let mut number: libc::c_uint = 0;
    let fd = master.as_fd().as_raw_fd();
    // SAFETY: TIOCGPTN writes one unsigned int, which lives on this frame.
    check_int(unsafe { libc::ioctl(fd, libc::TIOCGPTN, &raw mut number) })?;
    Ok(number)
}

/// Opens the other end of a ptmx without going through a path (TIOCGPTPEER), so that nothing that
/// a container has mounted over /dev/pts can stand in between. Not the controlling terminal.
pub fn open_peer(master: impl AsFd) -> Result<OwnedFd> {
    let flags = OFlag::O_RDWR | OFlag::O_NOCTTY | OFlag::O_CLOEXEC;
    let fd = master.as_fd().as_raw_fd();
    // SAFETY: the argument of TIOCGPTPEER is an integer of open flags.
    let peer = check_int(unsafe { libc::ioctl(fd, libc::TIOCGPTPEER, flags.bits()) })?;
    // SAFETY: the kernel has just made this descriptor for us and nobody else knows it.
    Ok(unsafe { OwnedFd::from_raw_fd(peer) })
}
