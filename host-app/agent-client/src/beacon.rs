//! The boot beacon: while it boots, the guest connects to the host and sends one
//! length-delimited `BootPhase` for each change, the last one named `ready`.

use std::io;

use bytes::{Buf as _, BytesMut};
use futures::Stream;
use linkspan_proto::v1::BootPhase;
use linkspan_transport::BoxStream;
use prost::Message as _;
use tokio_util::codec::{Decoder, FramedRead};

/// No phase says more than this. The guest is not trusted with the daemon's memory.
const MAX_MESSAGE: usize = 64 * 1024;
/// protobuf: a varint of 64 bits takes ten bytes at most.
const MAX_PREFIX: usize = 10;

/// Why the beacon could not be read on.
#[derive(Debug, thiserror::Error)]
pub enum BeaconError {
    /// The connection broke.
    #[error("cannot read the boot beacon: {0}")]
    Io(#[from] io::Error),
    /// What came is not a boot phase.
    #[error("the boot beacon is malformed: {0}")]
    Malformed(#[from] prost::DecodeError),
    /// A length that no boot phase has.
    #[error("the boot beacon announces a message of {0} bytes")]
    TooLong(usize),
}

/// The phases that arrive on an accepted beacon connection, until the guest closes it.
pub fn boot_phases(
    stream: BoxStream,
) -> impl Stream<Item = Result<BootPhase, BeaconError>> + Send + Unpin {
    FramedRead::new(stream, Phases)
}

struct Phases;

impl Decoder for Phases {
    type Item = BootPhase;
    type Error = BeaconError;

    fn decode(&mut self, bytes: &mut BytesMut) -> Result<Option<BootPhase>, BeaconError> {
        let mut head = &bytes[..];
        let length = match prost::decode_length_delimiter(&mut head) {
            Ok(length) => length,
            // The prefix may still be on its way.
            Err(_) if bytes.len() < MAX_PREFIX => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if length > MAX_MESSAGE {
            return Err(BeaconError::TooLong(length));
        }
        let prefix = bytes.len() - head.len();
        if head.len() < length {
            bytes.reserve(length - head.len());
            return Ok(None);
        }
        bytes.advance(prefix);
        Ok(Some(BootPhase::decode(bytes.split_to(length))?))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures::StreamExt as _;
    use proptest::prelude::*;
    use tokio::io::AsyncWriteExt as _;

    fn phase(name: &str, duration_us: u64) -> BootPhase {
        BootPhase { name: name.into(), started_us: 7, duration_us, ..BootPhase::default() }
    }

    #[tokio::test]
    async fn phases_arrive_one_by_one_whatever_the_chunks() {
        let sent = [phase("agent", 0), phase("disk", 300), phase("ready", 1)];
        let bytes: Vec<u8> =
            sent.iter().flat_map(BootPhase::encode_length_delimited_to_vec).collect();
        let (near, mut far) = tokio::io::duplex(3);
        let writer = tokio::spawn(async move {
            for byte in bytes {
                far.write_all(&[byte]).await.expect("reader is there");
            }
        });
        let received: Vec<_> = boot_phases(Box::pin(near)).map(Result::unwrap).collect().await;
        assert_eq!(received, sent);
        writer.await.unwrap();
    }

    #[tokio::test]
    async fn a_huge_length_is_refused_before_it_is_buffered() {
        let (near, mut far) = tokio::io::duplex(64);
        far.write_all(&[0xff, 0xff, 0xff, 0xff, 0x7f]).await.unwrap();
        let first = boot_phases(Box::pin(near)).next().await;
        assert!(matches!(first, Some(Err(BeaconError::TooLong(_)))), "{first:?}");
    }

    proptest! {
        #[test]
        fn foreign_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            let mut bytes = BytesMut::from(&bytes[..]);
            while let Ok(Some(_)) = Phases.decode(&mut bytes) {}
        }
    }
}
