//! What is printed: tables, times, sizes, Docker's JSON.

pub(crate) mod container;
pub(crate) mod container_asked;
mod container_more;
pub(crate) mod disk_usage;
pub(crate) mod event;
pub(crate) mod format;
pub(crate) mod human;
pub(crate) mod image;
pub(crate) mod inspect;
pub(crate) mod machine;
pub(crate) mod network;
pub(crate) mod ports;
pub(crate) mod search;
pub(crate) mod stats;
pub(crate) mod table;
pub(crate) mod volume;

use std::io::Write as _;

use crate::error::Error;

/// Writes to standard output, in one piece.
///
/// # Errors
/// When nobody reads it any more, or writing fails.
pub(crate) fn print(text: &str) -> Result<(), Error> {
    let mut out = std::io::stdout().lock();
    out.write_all(text.as_bytes()).and_then(|()| out.flush()).map_err(|error| Error::output(&error))
}

/// As [`print()`], with a line end.
///
/// # Errors
/// As [`print()`].
pub(crate) fn line(text: &str) -> Result<(), Error> {
    print(&format!("{text}\n"))
}
