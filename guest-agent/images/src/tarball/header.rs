//! One header block: fields at fixed places (POSIX.1-2008 `pax`, "ustar Interchange Format"; GNU
//! tar manual, "Basic Tar Format").

use super::sparse::{MAX_SEGMENTS, Map};
use super::{BLOCK, Fault, Kind, Time, bad};

const NAME: std::ops::Range<usize> = 0..100;
const MODE: std::ops::Range<usize> = 100..108;
const UID: std::ops::Range<usize> = 108..116;
const GID: std::ops::Range<usize> = 116..124;
const SIZE: std::ops::Range<usize> = 124..136;
const MTIME: std::ops::Range<usize> = 136..148;
const CHECKSUM: std::ops::Range<usize> = 148..156;
const FLAG: usize = 156;
const LINK: std::ops::Range<usize> = 157..257;
const MAGIC: std::ops::Range<usize> = 257..263;
const MAJOR: std::ops::Range<usize> = 329..337;
const MINOR: std::ops::Range<usize> = 337..345;
const PREFIX: std::ops::Range<usize> = 345..500;
/// GNU, type `S`: four parts, whether more follow, the size with holes.
const SPARSE: std::ops::Range<usize> = 386..482;
const SPARSE_MORE: usize = 482;
const SPARSE_SIZE: std::ops::Range<usize> = 483..495;
/// The same in a continuation block: 21 parts.
const CONTINUED: std::ops::Range<usize> = 0..504;
const CONTINUED_MORE: usize = 504;

/// A header with a valid checksum.
pub(super) struct Block([u8; BLOCK]);

impl Block {
    pub(super) fn new(bytes: [u8; BLOCK]) -> Result<Self, Fault> {
        let blank = |(at, byte): (usize, &u8)| if CHECKSUM.contains(&at) { b' ' } else { *byte };
        let unsigned: i64 = bytes.iter().enumerate().map(blank).map(i64::from).sum();
        // Some historic writers summed signed characters; Go's reader takes both as well.
        #[allow(clippy::cast_possible_wrap)]
        let signed: i64 =
            bytes.iter().enumerate().map(blank).map(|byte| i64::from(byte as i8)).sum();
        let expected = number(&bytes[CHECKSUM]).ok();
        if expected != Some(unsigned) && expected != Some(signed) {
            return Err(bad("it has no valid tar header where one belongs"));
        }
        Ok(Self(bytes))
    }

    pub(super) fn flag(&self) -> u8 {
        self.0[FLAG]
    }

    pub(super) fn size(&self) -> Result<u64, Fault> {
        self.unsigned(SIZE, "size")
    }

    pub(super) fn mode(&self) -> Result<u32, Fault> {
        // Some writers put the file type's bits in, in the high half of a negative number even.
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss)]
        number(&self.0[MODE]).map(|mode| mode as u32).map_err(|()| bad("a mode is malformed"))
    }

    pub(super) fn uid(&self) -> Result<u64, Fault> {
        self.unsigned(UID, "user id")
    }

    pub(super) fn gid(&self) -> Result<u64, Fault> {
        self.unsigned(GID, "group id")
    }

    pub(super) fn mtime(&self) -> Result<Time, Fault> {
        let seconds = number(&self.0[MTIME]).map_err(|()| bad("a time is malformed"))?;
        Ok(Time { seconds, nanos: 0 })
    }

    pub(super) fn path(&self) -> Vec<u8> {
        let name = field(&self.0[NAME]);
        // Only ustar has a prefix; GNU keeps other things there.
        let prefix = if &self.0[MAGIC] == b"ustar\0" { field(&self.0[PREFIX]) } else { &[] };
        if prefix.is_empty() {
            return name.to_vec();
        }
        [prefix, b"/", name].concat()
    }

    pub(super) fn link(&self) -> Vec<u8> {
        field(&self.0[LINK]).to_vec()
    }

    /// `path` decides for v7 archives, which mark folders by a final slash.
    pub(super) fn kind(&self, path: &[u8]) -> Result<Kind, Fault> {
        let device = |range, what| {
            let number = self.unsigned(range, what)?;
            u32::try_from(number).map_err(|_| bad(format!("a {what} is out of range")))
        };
        Ok(match self.flag() {
            b'0' | 0 if path.ends_with(b"/") => Kind::Folder,
            // 7: contiguous, which no file system here has; S: with holes.
            b'0' | 0 | b'7' | b'S' => Kind::File,
            b'1' => Kind::HardLink,
            b'2' => Kind::Symlink,
            b'3' => Kind::Char {
                major: device(MAJOR, "device number")?,
                minor: device(MINOR, "device number")?,
            },
            b'4' => Kind::Block {
                major: device(MAJOR, "device number")?,
                minor: device(MINOR, "device number")?,
            },
            b'5' => Kind::Folder,
            b'6' => Kind::Fifo,
            other => {
                let path = String::from_utf8_lossy(path);
                return Err(bad(format!("`{path}` is of unknown type `{}`", other.escape_ascii())));
            }
        })
    }

    /// The map's beginning, and whether continuation blocks follow.
    pub(super) fn sparse(&self) -> Result<(Map, bool), Fault> {
        let mut map = Map::new(Vec::new(), self.unsigned(SPARSE_SIZE, "size")?);
        segments(&self.0[SPARSE], &mut map)?;
        Ok((map, self.0[SPARSE_MORE] != 0))
    }

    fn unsigned(&self, range: std::ops::Range<usize>, what: &str) -> Result<u64, Fault> {
        let value = number(&self.0[range]).ok();
        value
            .and_then(|value| u64::try_from(value).ok())
            .ok_or_else(|| bad(format!("a {what} is malformed")))
    }
}

/// Adds a continuation block to a map. Tells whether one more follows.
pub(super) fn sparse_continuation(block: &[u8; BLOCK], map: &mut Map) -> Result<bool, Fault> {
    segments(&block[CONTINUED], map)?;
    if map.segments.len() as u64 > MAX_SEGMENTS {
        return Err(bad("a sparse file has too many parts"));
    }
    Ok(block[CONTINUED_MORE] != 0)
}

fn segments(bytes: &[u8], map: &mut Map) -> Result<(), Fault> {
    for part in bytes.chunks_exact(24) {
        if part[0] == 0 {
            break;
        }
        let value = |bytes| number(bytes).ok().and_then(|value| u64::try_from(value).ok());
        match (value(&part[..12]), value(&part[12..])) {
            (Some(offset), Some(length)) => map.segments.push((offset, length)),
            _ => return Err(bad("a sparse map is malformed")),
        }
    }
    Ok(())
}

/// Up to the first zero.
fn field(bytes: &[u8]) -> &[u8] {
    &bytes[..bytes.iter().position(|byte| *byte == 0).unwrap_or(bytes.len())]
}

/// Octal digits between blanks; or, with the first bit set, a big-endian two's complement.
fn number(bytes: &[u8]) -> Result<i64, ()> {
    if bytes[0] & 0x80 != 0 {
        // Bit 6 of the first byte is the sign.
        let negative = bytes[0] & 0x40 != 0;
        let mut value = if negative { -1_i64 } else { 0 };
        for (at, byte) in bytes.iter().enumerate() {
            let byte =
                if at == 0 { if negative { byte | 0x80 } else { byte & 0x7f } } else { *byte };
            let shifted = value.checked_mul(256).ok_or(())?;
            value = shifted.checked_add(i64::from(byte)).ok_or(())?;
        }
        return Ok(value);
    }
    let blank = |byte: &u8| matches!(byte, b' ' | 0);
    let start = bytes.iter().position(|byte| !blank(byte)).unwrap_or(bytes.len());
    let digits = &bytes[start..];
    let end = digits.iter().position(blank).unwrap_or(digits.len());
    let mut value = 0_i64;
    for digit in &digits[..end] {
        if !matches!(digit, b'0'..=b'7') {
            return Err(());
        }
        value = value.checked_mul(8).ok_or(())? + i64::from(digit - b'0');
    }
    Ok(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_octal_or_binary() {
        assert_eq!(number(b"0000755\0"), Ok(0o755));
        assert_eq!(number(b"   755 \0"), Ok(0o755));
        assert_eq!(number(b"\0\0\0\0\0\0\0\0"), Ok(0));
        assert_eq!(number(b"77777777"), Ok(0o7777_7777));
        assert_eq!(number(b"0000855\0"), Err(()));
        assert_eq!(number(b"-000755\0"), Err(()));
        assert_eq!(number(&[0x80, 0, 0, 0, 0, 0, 1, 2]), Ok(258));
        assert_eq!(number(&[0xff; 12]), Ok(-1));
        assert_eq!(number(&[0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x00]), Ok(-256));
        let huge = [0x80, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff];
        assert_eq!(number(&huge), Err(()));
    }
}
