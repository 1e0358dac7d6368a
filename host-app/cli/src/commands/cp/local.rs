//! The side of a copy that is this computer's.

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
        linkspan_local_files::pack(&path, &name, follow, SyncIoBridge::new(far))
            .map_err(Error::from)
    });
    (Box::new(near), Some(packing))
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
        let left_out = |path: &Path| {
            say!("linkspan: left out `{}`: a device or pipe", path.display());
        };
        let stream = SyncIoBridge::new(stream);
        linkspan_local_files::unpack(stream, &folder, keep_owner, left_out).map_err(Error::from)
    });
    unpacking.await.map_err(|error| Error::invalid(error.to_string()))?
}
