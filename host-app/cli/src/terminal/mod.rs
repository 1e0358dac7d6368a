//! The user's terminal and standard streams.

pub(crate) use linkspan_docker_types::detach;
pub(crate) mod events;
pub(crate) mod raw;
pub(crate) mod stdin;
pub(crate) mod stdio;
pub(crate) mod stdout;

use linkspan_proto::v1::TerminalSize;

/// The terminal's size; `None` when there is none.
pub(crate) fn size() -> Option<TerminalSize> {
    let (columns, rows) = crossterm::terminal::size().ok()?;
    (rows > 0 && columns > 0).then(|| TerminalSize { rows: rows.into(), columns: columns.into() })
}
