//! Reads standard input on a thread of its own, which ends with the process: a read that waits
//! for a key must not keep the program alive.

use std::io::{self, Read};

use tokio::sync::mpsc;

/// As much as a pipe holds by default on Linux.
const CHUNK: usize = 64 * 1024;
/// How many chunks may wait: enough to keep the wire busy, and a bound on memory.
const QUEUE: usize = 8;

/// Starts to read. The channel ends at the end of the input.
pub(crate) fn read() -> mpsc::Receiver<Vec<u8>> {
    pump(io::stdin())
}

fn pump(mut source: impl Read + Send + 'static) -> mpsc::Receiver<Vec<u8>> {
    let (sender, receiver) = mpsc::channel(QUEUE);
    let spawned = std::thread::Builder::new().name("stdin".into()).spawn(move || {
        let mut buffer = vec![0; CHUNK];
        loop {
            let length = match source.read(&mut buffer) {
                Ok(0) => break,
                Ok(length) => length,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                // A terminal that has gone, or a folder given as input: the end of the input.
                Err(error) => {
                    tracing::debug!(%error, "standard input ended");
                    break;
                }
            };
            if sender.blocking_send(buffer[..length].to_vec()).is_err() {
                break;
            }
        }
    });
    if let Err(error) = spawned {
        tracing::warn!(%error, "cannot read standard input");
    }
    receiver
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn every_byte_arrives_in_order_and_then_the_end() {
        let data: Vec<u8> = (0..300_000_u32).map(|n| (n % 251) as u8).collect();
        let mut chunks = pump(io::Cursor::new(data.clone()));
        let mut got = Vec::new();
        while let Some(chunk) = chunks.recv().await {
            got.extend(chunk);
        }
        assert_eq!(got, data);
    }
}
