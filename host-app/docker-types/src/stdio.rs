//! Standard output and error in one stream: before each piece 8 bytes that say which it is and how
//! long (`application/vnd.docker.multiplexed-stream`; moby's `api/pkg/stdcopy`).

/// The media type of the framed stream.
pub const MULTIPLEXED: &str = "application/vnd.docker.multiplexed-stream";
/// The media type of a terminal's bytes as they are.
pub const RAW: &str = "application/vnd.docker.raw-stream";

/// Which stream a piece is of.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stream {
    /// Standard output.
    Stdout = 1,
    /// Standard error.
    Stderr = 2,
    /// What went wrong with the stream itself; clients end with it.
    SystemError = 3,
}

/// The bytes before a piece of `length` bytes.
#[must_use]
pub fn header(stream: Stream, length: u32) -> [u8; 8] {
    let [a, b, c, d] = length.to_be_bytes();
    [stream as u8, 0, 0, 0, a, b, c, d]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_header_has_the_stream_first_and_the_length_last() {
        assert_eq!(header(Stream::Stdout, 5), [1, 0, 0, 0, 0, 0, 0, 5]);
        assert_eq!(header(Stream::Stderr, 0x0102_0304), [2, 0, 0, 0, 1, 2, 3, 4]);
        assert_eq!(header(Stream::SystemError, 0)[0], 3);
    }
}
