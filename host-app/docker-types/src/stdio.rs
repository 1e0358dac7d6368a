//! Frames of multiplexed output.

use linkspan_proto::v1::LogStream;

/// What stands before each piece of output: which stream, and how long.
#[must_use]
pub fn frame_header(stream: LogStream, length: usize) -> [u8; 8] {
    let kind = if stream == LogStream::Stderr { 2 } else { 1 };
    let length = u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes();
    [kind, 0, 0, 0, length[0], length[1], length[2], length[3]]
}
