//! Files and folders of this host as tar archives, and back.

use std::{
    io::{self, Read, Write},
    path::Path,
};

use crate::FilesError;

/// Writes a file or folder as a tar archive, under `name`, and answers its size in bytes. `follow`
/// is about the source itself; links in it stay links.
///
/// # Errors
/// It cannot be read, or nobody takes it any more.
pub fn pack(path: &Path, name: &str, follow: bool, out: impl Write) -> Result<u64, FilesError> {
    let mut out = Counting { inner: out, count: 0 };
    archive(path, name, follow, &mut out)
        .map_err(|source| FilesError::Pack { path: path.to_owned(), source })?;
    Ok(out.count)
}

fn archive(path: &Path, name: &str, follow: bool, out: &mut impl Write) -> io::Result<()> {
    let mut builder = tar::Builder::new(out);
    builder.follow_symlinks(false);
    let real = if follow { path.canonicalize()? } else { path.to_owned() };
    if std::fs::symlink_metadata(&real)?.is_dir() {
        builder.append_dir_all(name, &real)?;
    } else {
        builder.append_path_with_name(&real, name)?;
    }
    builder.into_inner()?.flush()
}

/// Unpacks an archive into a folder and answers how many bytes it had. Nothing gets out of the
/// folder, whatever the archive says. Devices and pipes are left out, and `left_out` told.
///
/// # Errors
/// The archive breaks off, leads out of the folder, or something cannot be written.
pub fn unpack(
    input: impl Read,
    folder: &Path,
    keep_owner: bool,
    left_out: impl FnMut(&Path),
) -> Result<u64, FilesError> {
    let mut input = Counting { inner: input, count: 0 };
    unpack_all(&mut input, folder, keep_owner, left_out)
        .map_err(|source| FilesError::Unpack { folder: folder.to_owned(), source })?;
    Ok(input.count)
}

fn unpack_all(
    input: &mut impl Read,
    folder: &Path,
    keep_owner: bool,
    mut left_out: impl FnMut(&Path),
) -> io::Result<()> {
    let mut archive = tar::Archive::new(&mut *input);
    archive.set_preserve_permissions(true);
    archive.set_preserve_ownerships(keep_owner);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let kind = entry.header().entry_type();
        if matches!(kind, tar::EntryType::Char | tar::EntryType::Block | tar::EntryType::Fifo) {
            left_out(&entry.path()?);
            continue;
        }
        if !entry.unpack_in(folder)? {
            let why = format!("`{}` leads out of the folder", entry.path()?.display());
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
    }
    // The sender is to see that all of it was taken.
    io::copy(input, &mut io::sink()).map(drop)
}

struct Counting<T> {
    inner: T,
    count: u64,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.inner.write(bytes)?;
        self.count += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner.flush()
    }
}

impl<R: Read> Read for Counting<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.inner.read(buffer)?;
        self.count += read as u64;
        Ok(read)
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_folder_comes_out_as_it_went_in_and_under_its_new_name() {
        let from = tempfile::tempdir().unwrap();
        fs::create_dir_all(from.path().join("data/deep")).unwrap();
        fs::write(from.path().join("data/deep/file"), "text").unwrap();
        let mut tar = Vec::new();
        let size = pack(&from.path().join("data"), "copy", false, &mut tar).unwrap();
        assert_eq!(size, tar.len() as u64);
        let to = tempfile::tempdir().unwrap();
        unpack(&tar[..], to.path(), false, |_| panic!("nothing is left out")).unwrap();
        assert_eq!(fs::read_to_string(to.path().join("copy/deep/file")).unwrap(), "text");
    }

    #[test]
    fn nothing_gets_out_of_the_folder() {
        let mut header = tar::Header::new_gnu();
        header.as_mut_bytes()[..11].copy_from_slice(b"../../evil!");
        header.set_size(0);
        header.set_entry_type(tar::EntryType::Regular);
        header.set_cksum();
        let mut tar = tar::Builder::new(Vec::new());
        tar.append(&header, io::empty()).unwrap();
        let tar = tar.into_inner().unwrap();
        let to = tempfile::tempdir().unwrap();
        let refused = unpack(&tar[..], &to.path().join("in"), false, |_| {}).unwrap_err();
        assert!(refused.to_string().contains("leads out of the folder"), "{refused}");
    }
}
