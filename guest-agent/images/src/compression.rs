//! Compression, recognised by its first bytes and not by what anyone claims.

use std::io::{self, BufReader, Cursor, Read};

use bzip2::bufread::MultiBzDecoder;
use flate2::bufread::MultiGzDecoder;
use lzma_rust2::XzReader;

use crate::error::Result;
use crate::tarball::read_error;

/// Large enough that reading from a file or socket costs little beside decoding.
const BUFFER: usize = 128 << 10;

/// The longest beginning by which a format is recognised: bzip2's.
const MAGIC: usize = 10;

/// The largest dictionary of xz: what `zstd` has as its default limit for the window. The largest of the `xz` program's own
/// presets has 64 MiB.
pub(crate) const DICTIONARY: u64 = 128 << 20;
/// The decoder counts its own tables to it; KiB.
const XZ_MEMORY_KIB: u32 = (DICTIONARY >> 10) as u32 + 1024;

/// An error of the stream that a decoder reads, as opposed to one of the decoder.
#[derive(Debug, thiserror::Error)]
#[error(transparent)]
pub(crate) struct SourceFailed(pub(crate) io::Error);

/// A stream is longer than it may be.
#[derive(Debug, thiserror::Error)]
#[error("longer than {0} bytes")]
pub(crate) struct LimitReached(pub(crate) u64);

/// A stream cannot be decoded with the memory that there is for it.
#[derive(Debug, thiserror::Error)]
#[error("it needs a dictionary of more than {DICTIONARY} bytes")]
pub(crate) struct NeedsMemory;

/// How a stream is compressed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Compression {
    /// The bytes are those of the source.
    Plain,
    Gzip,
    Zstd,
    Bzip2,
    Xz,
}

impl Compression {
    /// By the first bytes.
    pub(crate) fn of(magic: &[u8]) -> Self {
        match magic {
            // RFC 1952.
            [0x1f, 0x8b, ..] => Self::Gzip,
            // RFC 8878.
            [0x28, 0xb5, 0x2f, 0xfd, ..] => Self::Zstd,
            // The .xz file format, 2.1.1.1.
            [0xfd, b'7', b'z', b'X', b'Z', 0, ..] => Self::Xz,
            // Three letters alone are the name of a tar's first file as well: a first block, or the end
            // of an empty stream, follows.
            [b'B', b'Z', b'h', b'1'..=b'9', block @ ..]
                if block.starts_with(b"1AY&SY") || block.starts_with(b"\x17rE8P\x90") =>
            {
                Self::Bzip2
            }
            _ => Self::Plain,
        }
    }

    /// What a layer so compressed is called (image-spec, layer.md). None: as a layer it is plain.
    pub(crate) fn media_type(self) -> Option<&'static str> {
        match self {
            Self::Plain | Self::Bzip2 | Self::Xz => None,
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

/// A stream that is what it is, whatever its first bytes look like.
pub(crate) fn plain(source: impl Read) -> impl Read {
    Source(source)
}

/// Decodes a stream that is plain, or compressed with gzip, zstd, bzip2 or xz. `what` names it in errors.
pub(crate) fn open<'a>(
    mut source: impl Read + Send + 'a,
    what: &str,
) -> Result<Box<dyn Read + Send + 'a>> {
    let (compression, magic) = peek(&mut source, what)?;
    let whole = magic.chain(Source(source));
    let buffered = |whole| BufReader::with_capacity(BUFFER, whole);
    // Of each, several may follow each other.
    Ok(match compression {
        Compression::Plain => Box::new(whole),
        Compression::Gzip => Box::new(MultiGzDecoder::new(buffered(whole))),
        // The decoder's default limit for the window is 128 MiB.
        Compression::Zstd => {
            let decoder = zstd::Decoder::with_buffer(buffered(whole));
            Box::new(decoder.map_err(|error| read_error(error, what))?)
        }
        Compression::Bzip2 => Box::new(MultiBzDecoder::new(buffered(whole))),
        Compression::Xz => {
            Box::new(Xz(XzReader::new_mem_limit(buffered(whole), true, XZ_MEMORY_KIB)))
        }
    })
}

/// Says by a type of its own that the memory does not suffice.
struct Xz<R: Read>(XzReader<R>);

impl<R: Read> Read for Xz<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer).map_err(|error| match error.kind() {
            io::ErrorKind::OutOfMemory if !is_of_source(&error) => io::Error::other(NeedsMemory),
            _ => error,
        })
    }
}

/// Whether a decoder's error is one of the data: not of the stream that it reads, nor of the memory.
pub(crate) fn is_corrupt(error: &io::Error) -> bool {
    !is_of_source(error) && !error.get_ref().is_some_and(|inner| inner.is::<NeedsMemory>())
}

fn is_of_source(error: &io::Error) -> bool {
    error.get_ref().is_some_and(|inner| inner.is::<SourceFailed>())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Error;
    use std::io::Write as _;

    fn decode(bytes: &[u8]) -> Result<Vec<u8>> {
        let mut out = Vec::new();
        open(bytes, "x")?.read_to_end(&mut out).map_err(|error| read_error(error, "x"))?;
        Ok(out)
    }

    fn gzip(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn zstd(bytes: &[u8]) -> Vec<u8> {
        zstd::encode_all(bytes, 1).unwrap()
    }

    fn bzip2(bytes: &[u8]) -> Vec<u8> {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn xz(bytes: &[u8]) -> Vec<u8> {
        let options = lzma_rust2::XzOptions::with_preset(0);
        let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    /// The same data with another claim of what its dictionary is (the .xz file format, 3.1 and 5.3.1).
    fn claiming(mut xz: Vec<u8>, dictionary: u8) -> Vec<u8> {
        let start = 12;
        let end = start + usize::from(xz[start]) * 4;
        let filter = xz[start..end].windows(2).position(|pair| pair == [0x21, 1]).unwrap();
        xz[start + filter + 2] = dictionary;
        let mut sum = flate2::Crc::new();
        sum.update(&xz[start..end]);
        xz[end..end + 4].copy_from_slice(&sum.sum().to_le_bytes());
        xz
    }

    type Pack = fn(&[u8]) -> Vec<u8>;
    const PACKINGS: [Pack; 4] = [gzip, zstd, bzip2, xz];

    #[test]
    fn each_format_is_recognised() {
        for text in [&b""[..], b"a", b"abcdefgh", b"BZh", b"BZh9", b"BZh91AY", b"BZhave/a/name"] {
            assert_eq!(decode(text).unwrap(), text);
            for pack in PACKINGS {
                assert_eq!(decode(&pack(text)).unwrap(), text);
            }
        }
        for pack in PACKINGS {
            assert_eq!(decode(&[pack(b"ab"), pack(b"cd")].concat()).unwrap(), b"abcd");
        }
    }

    #[test]
    fn a_dictionary_of_xz_beyond_the_limit_is_refused() {
        // 128 MiB, 192 MiB, and all that there can be.
        assert_eq!(decode(&claiming(xz(b"abc"), 30)).unwrap(), b"abc");
        for dictionary in [31, 40] {
            let error = decode(&claiming(xz(b"abc"), dictionary)).unwrap_err();
            assert!(matches!(error, Error::TooLarge { limit: DICTIONARY, .. }), "{error}");
        }
    }

    #[test]
    fn cut_off_data_is_corrupt_and_a_failing_source_is_not() {
        let text: Vec<u8> = (0..20_000_u32).flat_map(u32::to_le_bytes).collect();
        for whole in PACKINGS.map(|pack| pack(&text)) {
            let cut = &whole[..whole.len() / 2];
            assert!(matches!(decode(cut), Err(Error::Corrupt { .. })));
            let failing = cut.chain(Failing);
            let error = open(failing, "x").and_then(|mut decoded| {
                io::copy(&mut decoded, &mut io::sink()).map_err(|e| read_error(e, "x"))
            });
            assert!(matches!(error, Err(Error::Read(_))), "{error:?}");
        }
    }

    struct Failing;

    impl Read for Failing {
        fn read(&mut self, _: &mut [u8]) -> io::Result<usize> {
            Err(io::Error::from(io::ErrorKind::ConnectionReset))
        }
    }
}
