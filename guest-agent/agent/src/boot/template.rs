//! The file system that a blank data disk begins with.
//!
//! The image's builder makes a small ext4 file system and ships its used blocks:
//! a zstd frame of `"LSX1"`, the size (u64 little endian), then records of offset (u64), length
//! (u32) and bytes. The end of the frame ends the list.

use std::{
    fs::File,
    io::{self, Read, Seek, SeekFrom, Write},
};

use super::BootError;

const MAGIC: &[u8; 4] = b"LSX1";
/// No record is larger; the builder writes 1 MiB at most.
const MAX_RECORD: u32 = 16 << 20;

/// What a template is written to.
pub trait Disk: Write + Seek {
    /// Returns when what was written is there after a power cut, too.
    ///
    /// # Errors
    /// When it is not.
    fn settle(&mut self) -> io::Result<()>;
}

impl Disk for File {
    fn settle(&mut self) -> io::Result<()> {
        self.sync_data()
    }
}

/// Writes a template to a disk of `capacity` bytes. Returns the file system's size in bytes.
///
/// # Errors
/// When the template is damaged, the disk too small, or writing fails. The superblock (in the
/// first record) is written last, when all else is there for good: a disk on which this was cut off
/// still counts as blank.
pub fn write(template: impl Read, disk: &mut impl Disk, capacity: u64) -> Result<u64, BootError> {
    let damaged = |error: io::Error| BootError::Template(error.to_string());
    let mut input = zstd::Decoder::new(template).map_err(damaged)?;
    let mut head = [0; 12];
    input.read_exact(&mut head).map_err(damaged)?;
    let (magic, size) = head.split_at(4);
    if magic != MAGIC {
        return Err(BootError::Template(format!("it begins with {magic:02x?}")));
    }
    let size = u64::from_le_bytes(size.try_into().expect("eight bytes"));
    if size > capacity {
        return Err(BootError::SmallDisk { have: capacity, need: size });
    }
    let mut first: Option<Vec<u8>> = None;
    let mut bytes = Vec::new();
    while let Some((offset, length)) = record_head(&mut input)? {
        if length > MAX_RECORD || offset.checked_add(length.into()).is_none_or(|end| end > size) {
            return Err(BootError::Template(format!("a record of {length} bytes at {offset}")));
        }
        bytes.resize(length as usize, 0);
        input.read_exact(&mut bytes).map_err(damaged)?;
        if offset == 0 {
            first = Some(std::mem::take(&mut bytes));
            continue;
        }
        put(disk, offset, &bytes)?;
    }
    let first = first.ok_or_else(|| BootError::Template("it has no first block".into()))?;
    disk.settle().map_err(BootError::file("write to", "/dev/vda"))?;
    put(disk, 0, &first)?;
    disk.settle().map_err(BootError::file("write to", "/dev/vda"))?;
    Ok(size)
}

fn put(disk: &mut impl Disk, offset: u64, bytes: &[u8]) -> Result<(), BootError> {
    disk.seek(SeekFrom::Start(offset))
        .and_then(|_| disk.write_all(bytes))
        .map_err(BootError::file("write to", "/dev/vda"))
}

/// None at the end of the frame.
fn record_head(input: &mut impl Read) -> Result<Option<(u64, u32)>, BootError> {
    let mut head = [0; 12];
    let mut filled = 0;
    while filled < head.len() {
        match input.read(&mut head[filled..]) {
            Ok(0) if filled == 0 => return Ok(None),
            Ok(0) => return Err(BootError::Template("it ends within a record".into())),
            Ok(count) => filled += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(BootError::Template(error.to_string())),
        }
    }
    let (offset, length) = head.split_at(8);
    Ok(Some((
        u64::from_le_bytes(offset.try_into().expect("eight bytes")),
        u32::from_le_bytes(length.try_into().expect("four bytes")),
    )))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Cursor;

    impl Disk for Cursor<Vec<u8>> {
        fn settle(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    /// A disk that remembers what was on it for good, each time.
    #[derive(Default)]
    struct Settling {
        now: Cursor<Vec<u8>>,
        settled: Vec<Vec<u8>>,
    }

    impl Write for Settling {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.now.write(bytes)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    impl Seek for Settling {
        fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
            self.now.seek(to)
        }
    }

    impl Disk for Settling {
        fn settle(&mut self) -> io::Result<()> {
            self.settled.push(self.now.get_ref().clone());
            Ok(())
        }
    }

    #[test]
    fn the_beginning_is_written_when_all_else_is_on_the_disk() {
        let mut disk = Settling::default();
        write(template(40, &[(0, b"super"), (20, b"block")]).as_slice(), &mut disk, 64).unwrap();
        let [before, after] = &disk.settled[..] else { panic!("{:?}", disk.settled) };
        assert_eq!((&before[..5], &before[20..25]), (&[0; 5][..], &b"block"[..]));
        assert_eq!((&after[..5], &after[20..25]), (&b"super"[..], &b"block"[..]));
    }

    fn template(size: u64, records: &[(u64, &[u8])]) -> Vec<u8> {
        let mut plain = MAGIC.to_vec();
        plain.extend(size.to_le_bytes());
        for (offset, bytes) in records {
            plain.extend(offset.to_le_bytes());
            plain.extend(u32::try_from(bytes.len()).expect("small").to_le_bytes());
            plain.extend(*bytes);
        }
        zstd::encode_all(plain.as_slice(), 1).expect("zstd in memory")
    }

    #[test]
    fn every_record_lands_where_it_belongs() {
        let mut disk = Cursor::new(vec![0; 64]);
        let made = template(40, &[(0, b"super"), (20, b"block")]);
        assert_eq!(write(made.as_slice(), &mut disk, 64).expect("it fits"), 40);
        assert_eq!(&disk.get_ref()[..5], b"super");
        assert_eq!(&disk.get_ref()[20..25], b"block");
    }

    #[test]
    fn damage_is_told_and_never_panics() {
        let whole = template(40, &[(0, b"super"), (20, b"block")]);
        for length in 0..whole.len() {
            let cut = write(&whole[..length], &mut Cursor::new(vec![0; 64]), 64);
            assert!(cut.is_err(), "cut at {length}");
        }
        let beyond = template(40, &[(0, b"super"), (38, b"block")]);
        assert!(write(beyond.as_slice(), &mut Cursor::new(vec![0; 64]), 64).is_err());
        let far = template(40, &[(u64::MAX, b"x")]);
        assert!(write(far.as_slice(), &mut Cursor::new(vec![0; 64]), 64).is_err());
    }

    #[test]
    fn a_disk_that_is_too_small_is_not_written_to() {
        let mut disk = Cursor::new(vec![0; 16]);
        let made = template(40, &[(0, b"super")]);
        assert!(matches!(
            write(made.as_slice(), &mut disk, 16),
            Err(BootError::SmallDisk { have: 16, need: 40 })
        ));
        assert_eq!(disk.get_ref(), &vec![0; 16]);
    }

    #[test]
    fn a_disk_cut_off_before_the_end_still_looks_blank() {
        // The second record lies outside, so writing fails after the first was read.
        let mut disk = Cursor::new(vec![0; 64]);
        let broken = template(40, &[(0, b"super"), (39, b"block")]);
        assert!(write(broken.as_slice(), &mut disk, 64).is_err());
        assert_eq!(&disk.get_ref()[..5], &[0; 5]);
    }
}
