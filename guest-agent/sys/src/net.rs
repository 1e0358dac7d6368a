//! The one network operation that a container needs before it runs: its loopback goes up.

use std::os::fd::{AsRawFd as _, OwnedFd};

use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};

use crate::{Errno, Result, check_int};

/// Sets IFF_UP on an interface of the current network namespace.
///
/// `ENAMETOOLONG`: longer than IFNAMSIZ - 1.
pub fn interface_up(name: &str) -> Result<()> {
    // Any socket will do to carry the ioctl. A unix socket exists in every kernel configuration,
    // an inet one does not.
    let carrier: OwnedFd =
        socket(AddressFamily::Unix, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    // SAFETY: ifreq is plain old data; all zeroes is a valid value.
    let mut request: libc::ifreq = unsafe { std::mem::zeroed() };
    // One byte stays zero: the name is a C string.
    if name.len() >= request.ifr_name.len() {
        return Err(Errno::ENAMETOOLONG);
    }
    for (slot, byte) in request.ifr_name.iter_mut().zip(name.bytes()) {
        *slot = byte.cast_signed();
    }
    // SAFETY: SIOCGIFFLAGS reads the name and writes the flags of the ifreq behind the pointer.
    check_int(unsafe { libc::ioctl(carrier.as_raw_fd(), libc::SIOCGIFFLAGS, &raw mut request) })?;
    // SAFETY: the call above has made `ifru_flags` the live member of the union.
    let flags = unsafe { request.ifr_ifru.ifru_flags };
    request.ifr_ifru.ifru_flags = flags | (libc::IFF_UP as libc::c_short);
    // SAFETY: SIOCSIFFLAGS only reads the ifreq behind the pointer.
    check_int(unsafe { libc::ioctl(carrier.as_raw_fd(), libc::SIOCSIFFLAGS, &raw mut request) })?;
    Ok(())
}
