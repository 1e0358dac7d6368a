//! What the operating system lets the daemon have.

/// Lets the daemon open as many files as this user may. What a process begins with (1024 on Linux,
/// 256 on macOS) is for programs that use `select(2)`; each connection through a published port
/// takes two.
#[cfg(unix)]
pub(crate) fn open_files() {
    use nix::sys::resource::{Resource, getrlimit, setrlimit};

    /// What macOS accepts (`OPEN_MAX`), whatever it says is the most.
    const MOST: u64 = if cfg!(target_os = "macos") { 10_240 } else { 1 << 20 };

    let raised = getrlimit(Resource::RLIMIT_NOFILE).and_then(|(now, most)| {
        let wanted = most.min(MOST);
        if wanted > now { setrlimit(Resource::RLIMIT_NOFILE, wanted, most) } else { Ok(()) }
    });
    if let Err(error) = raised {
        tracing::warn!(%error, "the daemon keeps its limit of open files");
    }
}

/// Windows sets no such limit.
#[cfg(windows)]
pub(crate) fn open_files() {}
