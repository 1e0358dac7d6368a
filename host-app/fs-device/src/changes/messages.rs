//! Orders and reports on the socket to the daemon: messages of `linkspan.v1`, each after its length as
//! 32 bits in network order.

use std::{
    io::{self, Write as _},
    os::unix::{ffi::OsStrExt as _, net::UnixStream},
    path::Path,
};

use linkspan_proto::v1::{
    FolderChange, FolderChangeKind, FolderOrder, FolderReport, folder_report,
};
use prost::Message as _;

use super::{Change, What};

/// An order names folders.
const LONGEST_ORDER: usize = 1 << 20;

pub(super) fn take_order(received: &mut Vec<u8>) -> io::Result<Option<FolderOrder>> {
    let nonsense = |error: &str| io::Error::new(io::ErrorKind::InvalidData, error);
    let Some((length, rest)) = received.split_first_chunk::<4>() else { return Ok(None) };
    let length = u32::from_be_bytes(*length) as usize;
    if length > LONGEST_ORDER {
        return Err(nonsense("an order is too long"));
    }
    let Some(bytes) = rest.get(..length) else { return Ok(None) };
    let order = FolderOrder::decode(bytes).map_err(|error| nonsense(&error.to_string()))?;
    received.drain(..4 + length);
    Ok(Some(order))
}

pub(super) fn send(client: &mut UnixStream, kind: folder_report::Kind) -> io::Result<()> {
    // Whose the report is is known where the socket is.
    let report = FolderReport { tag: String::new(), kind: Some(kind) };
    let length = u32::try_from(report.encoded_len())
        .map_err(|_| io::Error::new(io::ErrorKind::InvalidData, "a report is too long"))?;
    let mut bytes = length.to_be_bytes().to_vec();
    bytes.extend(report.encode_to_vec());
    client.write_all(&bytes)
}

pub(super) fn message(change: &Change) -> FolderChange {
    let bytes = |path: &Path| path.as_os_str().as_bytes().to_vec().into();
    let (kind, closed) = match &change.what {
        What::Created { closed } => (FolderChangeKind::Created, *closed),
        What::Modified { closed } => (FolderChangeKind::Modified, *closed),
        What::Closed => (FolderChangeKind::Closed, true),
        What::Attributes => (FolderChangeKind::Attributes, false),
        What::Removed { .. } => (FolderChangeKind::Removed, false),
        What::Renamed { .. } => (FolderChangeKind::Renamed, false),
    };
    let new_path = match &change.what {
        What::Renamed { new_path, .. } => bytes(new_path),
        _ => Default::default(),
    };
    FolderChange {
        kind: kind.into(),
        path: bytes(&change.path),
        new_path,
        file_type: change.file_type,
        closed,
    }
}
