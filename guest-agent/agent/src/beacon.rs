//! The boot beacon: the guest's phases, pushed to the host as they happen.

use std::{io::Write as _, sync::mpsc, thread, time::Duration};

use linkspan_proto::{ports::HOST_BOOT_BEACON, v1::BootPhase};
use prost::Message as _;
use vsock::{VMADDR_CID_HOST, VsockStream};

/// A host that does not listen (one that adopts this VM later) must not hold the boot up, and a
/// phase's message is a few bytes: either it goes at once or nobody reads.
const PATIENCE: Duration = Duration::from_secs(2);

/// Starts the beacon. It ends when the sender is dropped and everything has been sent.
///
/// # Errors
/// When no thread can be started.
pub fn start() -> std::io::Result<(mpsc::Sender<BootPhase>, thread::JoinHandle<()>)> {
    let (sender, receiver) = mpsc::channel::<BootPhase>();
    let thread = thread::Builder::new().name("beacon".into()).spawn(move || {
        let mut stream = match VsockStream::connect_with_cid_port(VMADDR_CID_HOST, HOST_BOOT_BEACON)
        {
            Ok(stream) => stream,
            Err(error) => {
                tracing::debug!(%error, "the host does not listen for the boot beacon");
                return;
            }
        };
        // Without the time-out a host that stopped reading would hold this thread for ever.
        let _ = stream.set_write_timeout(Some(PATIENCE));
        for phase in receiver {
            if let Err(error) = stream.write_all(&phase.encode_length_delimited_to_vec()) {
                tracing::debug!(%error, "the host stopped listening to the boot beacon");
                return;
            }
        }
    })?;
    Ok((sender, thread))
}
