//! The data disk: a sparse file, made and grown here. The guest formats it.
//!
//! On unix a file that is extended has a hole there. NTFS extends a file lazily (its valid data
//! length stays behind), so it takes no room before it is written to either.

use std::{
    fs::{File, OpenOptions},
    io,
    path::{Path, PathBuf},
};

use fs4::fs_std::FileExt as _;

/// With less than this free on the host the guest's first writes would already fail.
pub const MIN_FREE_BYTES: u64 = 256 << 20;

/// Why the disk cannot be had.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DiskError {
    #[error(
        "the host's disk is full: `{}` has {} MiB free, a machine needs {} MiB to start",
        path.display(), free >> 20, needed >> 20
    )]
    Full { path: PathBuf, free: u64, needed: u64 },
    #[error(
        "the data disk `{}` has {} bytes, the settings say {wanted}: a disk can only grow",
        path.display(), found
    )]
    Larger { path: PathBuf, found: u64, wanted: u64 },
    #[error("cannot {action} the data disk `{}`: {source}", path.display())]
    Io { action: &'static str, path: PathBuf, source: io::Error },
}

impl DiskError {
    pub(crate) fn is_no_space(&self) -> bool {
        match self {
            Self::Full { .. } => true,
            Self::Io { source, .. } => {
                matches!(source.kind(), io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded)
            }
            Self::Larger { .. } => false,
        }
    }
}

/// Makes the disk or grows it to `bytes`. Returns something that the user should know, when the
/// disk was made or grown beyond what the host can hold. Blocking.
pub(crate) fn prepare(path: &Path, bytes: u64, min_free: u64) -> Result<Option<String>, DiskError> {
    let io = |action| move |source| DiskError::Io { action, path: path.to_owned(), source };
    let folder = path.parent().unwrap_or(Path::new("."));
    let free = fs4::available_space(folder).map_err(io("find the free space for"))?;
    if free < min_free {
        return Err(DiskError::Full { path: folder.to_owned(), free, needed: min_free });
    }
    let file = open(path).map_err(io("open"))?;
    let metadata = file.metadata().map_err(io("examine"))?;
    let found = metadata.len();
    if found > bytes {
        return Err(DiskError::Larger { path: path.to_owned(), found, wanted: bytes });
    }
    if found == bytes {
        return Ok(None);
    }
    file.set_len(bytes).and_then(|()| file.sync_all()).map_err(io("grow"))?;
    let taken = file.allocated_size().unwrap_or(0);
    let may_come = bytes.saturating_sub(taken);
    Ok((free < may_come).then(|| {
        format!(
            "the data disk may grow to {} GiB, the host has {} GiB free for it",
            bytes >> 30,
            (free + taken) >> 30
        )
    }))
}

fn open(path: &Path) -> io::Result<File> {
    let mut options = OpenOptions::new();
    options.read(true).write(true).create(true).truncate(false);
    #[cfg(unix)]
    std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
    options.open(path)
}

/// What the disk takes on the host, and its size, in bytes. Zeros: there is none yet. Blocking.
pub(crate) fn figures(path: &Path) -> (u64, u64) {
    let Ok(file) = File::open(path) else { return (0, 0) };
    let size = file.metadata().map_or(0, |metadata| metadata.len());
    (file.allocated_size().unwrap_or(0), size)
}

#[cfg(test)]
mod tests {
    use super::*;

    const MIB: u64 = 1 << 20;

    #[test]
    fn a_new_disk_has_its_size_and_takes_no_room() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.img");
        prepare(&path, 512 * MIB, 0).unwrap();
        let (allocated, size) = figures(&path);
        assert_eq!(size, 512 * MIB);
        assert!(allocated < MIB, "{allocated} bytes are allocated");
    }

    #[cfg(unix)]
    #[test]
    fn growing_keeps_what_is_on_it_and_shrinking_is_refused() {
        use std::os::unix::fs::FileExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.img");
        prepare(&path, 64 * MIB, 0).unwrap();
        let file = OpenOptions::new().read(true).write(true).open(&path).unwrap();
        file.write_all_at(b"content", 12345).unwrap();
        prepare(&path, 128 * MIB, 0).unwrap();
        let mut word = [0; 7];
        file.read_exact_at(&mut word, 12345).unwrap();
        assert_eq!((&word, figures(&path).1), (b"content", 128 * MIB));
        let error = prepare(&path, 64 * MIB, 0).unwrap_err();
        assert!(matches!(error, DiskError::Larger { .. }), "{error}");
        assert_eq!(figures(&path).1, 128 * MIB);
    }

    #[test]
    fn a_full_host_is_refused_before_anything_is_made() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.img");
        let error = prepare(&path, 64 * MIB, u64::MAX).unwrap_err();
        assert!(error.is_no_space() && error.to_string().contains("full"), "{error}");
        assert!(!path.exists());
    }

    #[test]
    fn a_disk_beyond_the_hosts_room_is_told_once() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("data.img");
        let huge = 15 << 40;
        match prepare(&path, huge, 0) {
            Ok(notice) => assert!(notice.is_some_and(|text| text.contains("15360 GiB"))),
            // ext4 files end at 16 TiB, others sooner.
            Err(error) => return println!("skipped: no file can be that large here: {error}"),
        }
        assert_eq!(prepare(&path, huge, 0).unwrap(), None);
    }
}
