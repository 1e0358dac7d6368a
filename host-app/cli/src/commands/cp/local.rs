//! The side of a copy that is this computer's.

use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use tokio::io::AsyncRead;
use tokio::task::JoinHandle;
use tokio_util::io::SyncIoBridge;

use super::contents;
use crate::error::Error;

/// Bytes that may wait between the archive and the connection.
const AHEAD: usize = 256 * 1024;

/// Whether a source is a folder.
///
/// # Errors
/// When it is not there.
pub(super) fn stat(path: &str, follow: bool) -> Result<bool, Error> {
    let found = if follows(path, follow) {
        std::fs::metadata(path)
    } else {
        std::fs::symlink_metadata(path)
    };
    let found = found.map_err(|error| Error::invalid(format!("cannot read `{path}`: {error}")))?;
    Ok(found.is_dir())
}

/// `folder/` and `folder/.` may be reached by a link.
fn follows(path: &str, follow: bool) -> bool {
    follow || path.ends_with('/') || contents(path)
}

/// Whether a target is there, and whether it is a folder.
pub(super) fn exists(path: &str) -> (bool, bool) {
    match std::fs::metadata(path) {
        Ok(metadata) => (true, metadata.is_dir()),
        // A link to nothing is replaced.
        Err(_) => (false, false),
    }
}

type Packed = (Box<dyn AsyncRead + Unpin>, Option<JoinHandle<Result<u64, Error>>>);

/// A file or folder as a tar archive under this name, made while it is read; and its size, when
/// that is known.
pub(super) fn pack(path: &str, name: String, follow: bool) -> Packed {
    let (follow, path) = (follows(path, follow), PathBuf::from(path));
    let (near, far) = tokio::io::duplex(AHEAD);
    let packing = tokio::task::spawn_blocking(move || {
        let mut out = Counting { out: SyncIoBridge::new(far), count: 0 };
        let packed = archive(&path, &name, follow, &mut out);
        packed.map_err(|error| {
            Error::invalid(format!("cannot copy `{}`: {error}", path.display()))
        })?;
        Ok(out.count)
    });
    (Box::new(near), Some(packing))
}

fn archive(path: &Path, name: &str, follow: bool, out: &mut impl Write) -> io::Result<()> {
    let mut builder = tar::Builder::new(out);
    // `-L` is about the source itself, not about links in it.
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
/// folder, whatever the archive says.
///
/// # Errors
/// When the stream breaks off, or something cannot be written.
pub(super) async fn unpack(
    stream: impl AsyncRead + Send + Unpin + 'static,
    folder: PathBuf,
    keep_owner: bool,
) -> Result<u64, Error> {
    let unpacking = tokio::task::spawn_blocking(move || {
        let mut input = CountingRead { input: SyncIoBridge::new(stream), count: 0 };
        let unpacked = unpack_all(&mut input, &folder, keep_owner);
        unpacked.map_err(|error| {
            Error::invalid(format!("cannot copy to `{}`: {error}", folder.display()))
        })?;
        Ok(input.count)
    });
    unpacking.await.map_err(|error| Error::invalid(error.to_string()))?
}

fn unpack_all(input: &mut impl Read, folder: &Path, keep_owner: bool) -> io::Result<()> {
    let mut archive = tar::Archive::new(&mut *input);
    archive.set_preserve_permissions(true);
    archive.set_preserve_ownerships(keep_owner);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let kind = entry.header().entry_type();
        if matches!(kind, tar::EntryType::Char | tar::EntryType::Block | tar::EntryType::Fifo) {
            say!("linkspan: left out `{}`: a device or pipe", entry.path()?.display());
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

struct Counting<W> {
    out: W,
    count: u64,
}

impl<W: Write> Write for Counting<W> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.count += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

struct CountingRead<R> {
    input: R,
    count: u64,
}

impl<R: Read> Read for CountingRead<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let read = self.input.read(buffer)?;
        self.count += read as u64;
        Ok(read)
    }
}
