//! What a build asks of the machine around it.

use std::path::Path;

use linkspan_runtime::plan::Plan;

/// Runs commands and fetches files. Every function blocks until it is done or the build is
/// cancelled.
pub trait Machine: Sync {
    /// Runs a command to its end.
    ///
    /// # Errors
    /// Why it could not be started.
    fn run(
        &self,
        command: Command<'_>,
        output: &(dyn Fn(bool, &[u8]) + Sync),
    ) -> Result<Ended, String>;

    /// Writes what is at a URL to a file.
    ///
    /// # Errors
    /// Why it cannot be had.
    fn fetch(&self, url: &str, to: &Path) -> Result<(), String>;

    /// Listens at a path that is not there yet for connections to the SSH agent of this id, until
    /// the answer is dropped.
    ///
    /// # Errors
    /// Why it cannot.
    fn ssh_agent(&self, id: &str, socket: &Path) -> Result<Box<dyn Send>, String>;

    /// Whether nobody wants the build any more.
    fn is_cancelled(&self) -> bool;
}

/// A command, with all but what only the machine knows: its filter of system calls, its network and
/// the files that go with that.
#[derive(Debug)]
pub struct Command<'a> {
    /// 64 hexadecimal digits.
    pub id: String,
    /// What runs. Without a filter of system calls.
    pub plan: Plan,
    /// It has a filter.
    pub confined: bool,
    /// Which network.
    pub network: linkspan_build::Network,
    /// NAME:ADDRESS, for `hosts`.
    pub extra_hosts: &'a [String],
    /// Where `hosts` and `resolv.conf` are to be: the plan mounts them.
    pub folder: &'a Path,
}

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ended {
    /// As a shell reports it.
    pub code: i32,
    /// The kernel's memory killer ended something of it.
    pub out_of_memory: bool,
}
