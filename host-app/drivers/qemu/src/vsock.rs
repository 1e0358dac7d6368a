//! How the guest gets a vsock: the kernel's vhost-vsock where this user may use it, else
//! a [`DeviceProgram`] as a process beside QEMU.

use std::path::{Path, PathBuf};

use linkspan_machine::driver::DriverError;

use crate::programs::DeviceProgram;

/// Which way it will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Plan {
    /// `/dev/vhost-vsock`.
    Kernel,
    /// This program.
    Process(DeviceProgram),
}

impl Plan {
    /// The way for a VM whose own files lie in `directory`.
    pub(crate) async fn choose(
        device: &DeviceProgram,
        directory: &Path,
    ) -> Result<Self, DriverError> {
        if !cfg!(target_os = "linux") {
            return Err(crate::unsupported(
                "the vsock connection to the guest",
                "vhost-user devices on this system are still to come",
            ));
        }
        let kernel = crate::blocking(|| {
            std::fs::OpenOptions::new().read(true).write(true).open("/dev/vhost-vsock").is_ok()
        });
        if kernel.await? {
            return Ok(Self::Kernel);
        }
        check_length(&guest_socket_path(directory))?;
        Ok(Self::Process(device.clone()))
    }
}

/// Where the guest's ports are found, with [`Plan::Process`].
pub(crate) fn guest_socket_path(directory: &Path) -> PathBuf {
    directory.join("vsock.sock")
}

/// The address of a unix socket has room for so many bytes; the guest's port (`_4294967295`) is
/// added to the path.
fn check_length(path: &Path) -> Result<(), DriverError> {
    let limit = linkspan_state::SOCKET_PATH_LIMIT - "_4294967295".len();
    let length = path.as_os_str().len();
    if length <= limit {
        return Ok(());
    }
    Err(crate::unsupported(
        &format!("the socket path `{}`", path.display()),
        &format!("it is {length} bytes long, at most {limit} fit into a socket's address"),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_that_fits_no_socket_is_refused_before_anything_starts() {
        assert!(check_length(Path::new("/run/user/1000/linkspan/vsock.sock")).is_ok());
        let error = check_length(&Path::new("/").join("d".repeat(100))).expect_err("too long");
        assert!(error.to_string().contains("101 bytes"), "{error}");
    }
}
