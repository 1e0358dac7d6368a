//! The pseudo-terminal of a process: a pair of the container's own devpts, so that the program
//! finds its terminal under /dev/pts and nothing else does.

use std::os::fd::OwnedFd;
use std::path::Path;

use linkspan_runtime::plan::TerminalSize;
use linkspan_sys::mount::{attach, clone_tree_of};
use linkspan_sys::{Result as SysResult, tty};
use nix::fcntl::OFlag;

use crate::paths::Root;
use crate::report::{About as _, Fault};

/// Both ends.
#[derive(Debug)]
pub(crate) struct Terminal {
    /// The agent's.
    pub(crate) master: OwnedFd,
    /// The process's.
    pub(crate) slave: OwnedFd,
}

/// Opens a pair in the container.
pub(crate) fn open(root: &Root, size: TerminalSize) -> Result<Terminal, Fault> {
    let make = || -> SysResult<Terminal> {
        // Not /dev/ptmx: that is the container's to change.
        let flags = OFlag::O_RDWR | OFlag::O_NOCTTY;
        let master = root.open_file(Path::new("/dev/pts/ptmx"), flags)?;
        tty::unlock_peer(&master)?;
        let slave = tty::open_peer(&master)?;
        // 0x0: nobody knows yet; a resize follows.
        if size.rows != 0 && size.columns != 0 {
            tty::set_window_size(&slave, size.rows, size.columns)?;
        }
        Ok(Terminal { master, slave })
    };
    make().about(|| "`/dev/pts/ptmx`".to_owned())
}

/// Puts the terminal of the first process at /dev/console (config-linux.md, "Default Devices").
pub(crate) fn bind_console(root: &Root, terminal: &Terminal) -> Result<(), Fault> {
    let bind =
        || attach(clone_tree_of(&terminal.slave, false)?, root.file(Path::new("/dev/console"))?);
    bind().about(|| "`/dev/console`".to_owned())
}
