//! Compression, recognised by its first bytes and not by what anyone claims.

use std::io::{self, BufReader, Cursor, Read};

use flate2::bufread::MultiGzDecoder;

use crate::error::{Error, Result};
use crate::tarball::read_error;

/// Large enough that reading from a file or socket costs little beside decoding.
const BUFFER: usize = 128 << 10;

/// The longest beginning by which a format is recognised: xz's.
const MAGIC: usize = 6;

/// An error of the stream that a decoder reads, as opposed to one of the decoder.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct SourceFailed(pub(crate) io::Error);

/// A stream is longer than it may be.
#[derive(Debug, thiserror::Error)]
#[error("longer than {0} bytes")]
pub(crate) struct LimitReached(pub(crate) u64);

/// A decoded stream.
pub(crate) struct Decoded<'a> {
    pub(crate) reader: Box<dyn Read + Send + 'a>,
    pub(crate) compression: Compression,
}

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// The bytes are those of the source.
    Plain,
    Gzip,
    Zstd,
}

impl Compression {
    /// By the first bytes.
    pub(crate) fn of(magic: &[u8]) -> Self {
        match magic {
            // RFC 1952.
            [0x1f, 0x8b, ..] => Self::Gzip,
            // RFC 8878.
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            _ => Self::Plain,
        }
    }

    /// What a layer so compressed is called (image-spec, layer.md). None: as it is.
    pub(crate) fn media_type(self) -> Option<&'static str> {
        match self {
            Self::Plain => None,
            Self::Gzip => Some("application/vnd.oci.image.layer.v1.tar+gzip"),
            Self::Zstd => Some("application/vnd.oci.image.layer.v1.tar+zstd"),
        }
    }
}

/// Marks the errors of the source, so that they are told apart from corrupt data.
struct Source<R>(R);

impl<R: Read> Read for Source<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::Interrupted => error,
            kind => io::Error::new(kind, SourceFailed(error)),
        })
    }
}

/// Looks at the first bytes of a stream, and gives them back to be read again.
pub(crate) fn peek(source: &mut impl Read, what: &str) -> Result<(Compression, Cursor<Vec<u8>>)> {
    let mut magic = Vec::with_capacity(MAGIC);
    let read = Source(source).take(MAGIC as u64).read_to_end(&mut magic);
    read.map_err(|error| read_error(error, what))?;
    Ok((Compression::of(&magic), Cursor::new(magic)))
}

/// Decodes a stream that is plain, gzip or zstd. `what` names it in errors.
pub(crate) fn open<'a>(source: impl Read + Send + 'a, what: &str) -> Result<Decoded<'a>> {
    let mut source = Source(source);
    let mut magic = Vec::with_capacity(MAGIC);
    source
        .by_ref()
        .take(MAGIC as u64)
        .read_to_end(&mut magic)
        .map_err(|error| read_error(error, what))?;
    let compressed = |name: &str| Error::Unsupported {
        what: what.to_owned(),
        why: format!("it is compressed with {name}; gzip, zstd and plain tar are understood"),
    };
    let compression = Compression::of(&magic);
    let whole = Cursor::new(magic.clone()).chain(source);
    let reader: Box<dyn Read + Send + 'a> = match (compression, &magic[..]) {
        // Several members may follow each other.
        (Compression::Gzip, _) => {
            Box::new(MultiGzDecoder::new(BufReader::with_capacity(BUFFER, whole)))
        }
        // The decoder's default limit for the window is 128 MiB.
        (Compression::Zstd, _) => {
            let buffered = BufReader::with_capacity(BUFFER, whole);
            let decoder = zstd::Decoder::with_buffer(buffered);
            Box::new(decoder.map_err(|error| read_error(error, what))?)
        }
        (Compression::Plain, [b'B', b'Z', b'h', ..]) => return Err(compressed("bzip2")),
        (Compression::Plain, [0xfd, b'7', b'z', b'X', b'Z', 0]) => return Err(compressed("xz")),
        (Compression::Plain, _) => Box::new(whole),
    };
    Ok(Decoded { reader, compression })
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write as _;

    fn decode(bytes: &[u8]) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        open(bytes, "x")?.reader.read_to_end(&mut out).map_err(|error| read_error(error, "x"))?;
        Ok(out)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    #[test]
    fn each_format_is_recognised() {
        for text in [&b""[..], b"a", b"abcdefgh"] {
            assert_eq!(decode(text).unwrap(), text);
            assert_eq!(decode(&gzip(text)).unwrap(), text);
            assert_eq!(decode(&zstd::encode_all(text, 1).unwrap()).unwrap(), text);
        }
        assert_eq!(decode(&[gzip(b"ab"), gzip(b"cd")].concat()).unwrap(), b"abcd");
    }

    #[test]
    fn cut_off_data_is_corrupt_and_a_failing_source_is_not() {
        let text: Vec<u8> = (0..20_000_u32).flat_map(u32::to_le_bytes).collect();
        for whole in [gzip(&text), zstd::encode_all(&text[..], 1).unwrap()] {
            let cut = &whole[..whole.len() / 2];
            assert!(matches!(decode(cut), Err(Error::Corrupt { .. })));
            let failing = cut.chain(Failing);
            let error = open(failing, "x").and_then(|mut decoded| {
                io::copy(&mut decoded.reader, &mut io::sink()).map_err(|e| read_error(e, "x"))
            });
            assert!(matches!(error, Err(Error::Read(_))), "{error:?}");
        }
    }

    #[test]
    fn other_formats_are_named() {
        for (magic, name) in [(&b"BZh91AY"[..], "bzip2"), (b"\xfd7zXZ\0", "xz")] {
            let error = decode(magic).unwrap_err();
            assert!(matches!(&error, Error::Unsupported { why, .. } if why.contains(name)));
        }
    }

    struct Failing;

    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from(io::ErrorKind::ConnectionReset))
        }
    }
}
