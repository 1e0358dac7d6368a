//! A registry in memory that does what a test's rule says: serve, cut, lie, refuse, fall silent;
//! and what tests push into it and pull from it.
#![allow(dead_code, unreachable_pub, reason = "each test file uses its part")]

mod server;

use std::io;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use linkspan_images::{Digest, Platform};
use linkspan_registry::{
    BlobSink, Descriptor, Event, OCI_INDEX, OCI_MANIFEST, Progress, Retry, Settings, Timeouts,
};
use parking_lot::Mutex;
#[allow(unused_imports, reason = "each test file uses its part")]
pub use server::{Act, Seen, Server};

pub fn config() -> Vec<u8> {
    let here = Platform::here();
    let (os, architecture) = (here.os, here.architecture);
    format!(
        r#"{{"os":"{os}","architecture":"{architecture}","config":{{}},"rootfs":{{"type":"layers","diff_ids":[]}}}}"#
    )
    .into_bytes()
}

pub fn manifest(config: &Descriptor, layers: &[Descriptor]) -> String {
    let text = |value: &Descriptor, kind: &str| {
        format!(r#"{{"mediaType":"{kind}","digest":"{}","size":{}}}"#, value.digest, value.size)
    };
    let config = text(config, "application/vnd.oci.image.config.v1+json");
    let layers: Vec<_> =
        layers.iter().map(|layer| text(layer, "application/vnd.oci.image.layer.v1.tar")).collect();
    let layers = layers.join(",");
    format!(
        r#"{{"schemaVersion":2,"mediaType":"{OCI_MANIFEST}","config":{config},"layers":[{layers}]}}"#
    )
}

pub fn index(entries: &[(&Descriptor, &str, &str)]) -> String {
    let entries: Vec<_> = entries
        .iter()
        .map(|(entry, architecture, variant)| {
            format!(
                r#"{{"mediaType":"{}","digest":"{}","size":{},"platform":{{"os":"linux","architecture":"{architecture}","variant":"{variant}"}}}}"#,
                entry.media_type, entry.digest, entry.size
            )
        })
        .collect();
    let entries = entries.join(",");
    format!(r#"{{"schemaVersion":2,"mediaType":"{OCI_INDEX}","manifests":[{entries}]}}"#)
}

pub fn descriptor(kind: &str, bytes: &[u8]) -> Descriptor {
    Descriptor::new(kind, Digest::of(bytes), bytes.len() as u64)
}

/// Quick tries, and deadlines that a busy machine keeps.
pub fn quick() -> Settings {
    Settings {
        retry: Retry {
            attempts: 5,
            first_wait: Duration::from_millis(2),
            longest_wait: Duration::from_secs(2),
        },
        timeouts: Timeouts {
            connect: Duration::from_secs(60),
            stall: Duration::from_secs(60),
            commit: Duration::from_secs(60),
        },
        ..Settings::default()
    }
}

/// What a sink of a test got.
#[derive(Default, Debug)]
pub struct Got {
    pub bytes: Vec<u8>,
    pub committed: bool,
    pub restarts: usize,
    pub dropped: bool,
}

#[derive(Clone, Default)]
pub struct Kept(pub Arc<Mutex<Got>>);

/// A sink that a test looks into.
pub struct TestSink(Kept);

impl Kept {
    pub fn sink(&self) -> TestSink {
        TestSink(self.clone())
    }

    pub fn is_committed(&self) -> bool {
        self.0.lock().committed
    }

    pub fn bytes(&self) -> Vec<u8> {
        self.0.lock().bytes.clone()
    }
}

impl BlobSink for TestSink {
    async fn write(&mut self, bytes: Bytes) -> io::Result<()> {
        self.0.0.lock().bytes.extend_from_slice(&bytes);
        Ok(())
    }

    async fn restart(&mut self) -> io::Result<()> {
        let mut got = self.0.0.lock();
        got.bytes.clear();
        got.restarts += 1;
        Ok(())
    }

    async fn commit(self) -> io::Result<()> {
        self.0.0.lock().committed = true;
        Ok(())
    }
}

impl Drop for TestSink {
    fn drop(&mut self) {
        self.0.0.lock().dropped = true;
    }
}

/// Events, kept.
pub fn recorder() -> (Arc<Mutex<Vec<Event>>>, Progress) {
    let events = Arc::new(Mutex::new(Vec::new()));
    let kept = events.clone();
    (events, Arc::new(move |event| kept.lock().push(event)))
}
