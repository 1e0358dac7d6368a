//! What every byte stream begins with.
//!
//! Bulk transfers and port traffic do not travel in gRPC messages: each has a connection of its
//! own, which says in a fixed-size preface what it is. The call that a stream belongs to, if any,
//! names it by its id. The stream then carries plain bytes; a half-close is the end of the data.
//!
//! ```text
//! 0      4       5      6          22
//! "LSPN" version kind   id (uuid)
//! ```

/// The preface's size in bytes.
pub const LEN: usize = 22;

/// The version this program writes and reads.
pub const VERSION: u8 = 1;

const MAGIC: [u8; 4] = *b"LSPN";

/// What a stream carries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[non_exhaustive]
pub enum Kind {
    /// From the client to the agent: an archive for `ImageService.Load` or `.Import`, or for
    /// `FileService.CopyIn`.
    Upload,
    /// From the agent to the client: an archive of `FileService.CopyOut` or `.Export`.
    Download,
    /// From the host to the agent: one connection to a container's port. A `PortTarget` follows.
    Port,
    /// Both ways: a connection to an SSH agent that `BuildService.Build` has asked for.
    Duplex,
}

/// The first bytes of a stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Preface {
    /// What follows.
    pub kind: Kind,
    /// Pairs the stream with the call that names it.
    pub id: [u8; 16],
}

/// Why bytes are not a preface.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PrefaceError {
    /// Something else connected.
    #[error("a byte stream must begin with `LSPN`, this one began with {0:02x?}")]
    Magic([u8; 4]),
    /// The peer is of another version.
    #[error("byte stream preface version {0} is not known (this program knows {VERSION})")]
    Version(u8),
    /// The peer is newer.
    #[error("byte stream kind {0} is not known")]
    Kind(u8),
}

impl Preface {
    /// The bytes to send.
    #[must_use]
    pub fn encode(&self) -> [u8; LEN] {
        let mut out = [0; LEN];
        out[..4].copy_from_slice(&MAGIC);
        out[4] = VERSION;
        out[5] = match self.kind {
            Kind::Upload => 1,
            Kind::Download => 2,
            Kind::Port => 3,
            Kind::Duplex => 4,
        };
        out[6..].copy_from_slice(&self.id);
        out
    }

    /// Reads what [`Preface::encode`] wrote.
    ///
    /// # Errors
    /// When the bytes are not a preface of a version and kind that this program knows.
    pub fn decode(bytes: &[u8; LEN]) -> Result<Self, PrefaceError> {
        let [m0, m1, m2, m3, version, kind, id @ ..] = *bytes;
        let magic = [m0, m1, m2, m3];
        if magic != MAGIC {
            return Err(PrefaceError::Magic(magic));
        }
        if version != VERSION {
            return Err(PrefaceError::Version(version));
        }
        let kind = match kind {
            1 => Kind::Upload,
            2 => Kind::Download,
            3 => Kind::Port,
            4 => Kind::Duplex,
            other => return Err(PrefaceError::Kind(other)),
        };
        Ok(Self { kind, id })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn a_preface_survives_the_wire(id in any::<[u8; 16]>()) {
            for kind in [Kind::Upload, Kind::Download, Kind::Port, Kind::Duplex] {
                let preface = Preface { kind, id };
                prop_assert_eq!(Preface::decode(&preface.encode()), Ok(preface));
            }
        }

        #[test]
        fn foreign_bytes_never_panic(bytes in any::<[u8; LEN]>()) {
            let _ = Preface::decode(&bytes);
        }
    }

    #[test]
    fn another_version_is_refused_by_number() {
        let mut bytes = Preface { kind: Kind::Upload, id: [7; 16] }.encode();
        bytes[4] = 9;
        assert_eq!(Preface::decode(&bytes), Err(PrefaceError::Version(9)));
    }
}
