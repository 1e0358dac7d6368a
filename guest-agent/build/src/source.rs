//! Where something stands in the Dockerfile.

use serde::Serialize;

/// A part of the Dockerfile's text, whole physical lines without the last line's end.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize)]
pub struct Span {
    /// The first byte.
    pub start: usize,
    /// One after the last byte.
    pub end: usize,
    /// Counted from 1.
    pub first_line: usize,
    /// Counted from 1; the same as the first for an instruction on one line.
    pub last_line: usize,
}
