//! Calls with any number of messages each way, by a number that the pages know them by.

use std::{
    collections::HashMap,
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
    },
};

use bytes::Bytes;
use linkspan_client::{Failure, RawCalls};
use parking_lot::Mutex;
use tauri::ipc::{Channel, InvokeResponseBody};
use tokio::sync::{Semaphore, mpsc};
use tokio_stream::{StreamExt as _, wrappers::ReceiverStream};
use tokio_util::sync::CancellationToken;

use crate::refusal::Refusal;

/// Messages that the pages have not taken yet. More wait in the daemon, so a container that floods
/// its output does not fill the window's memory.
const WINDOW: usize = 64;
/// Messages to the daemon that wait to be sent.
const OUTGOING: usize = 16;

/// What the first byte of a message to the pages says; as in `ui/src/lib/ipc/tauri.ts`.
const MESSAGE: u8 = 0;
const END: u8 = 1;
const FAILED: u8 = 2;

/// The calls that are open.
#[derive(Debug, Default)]
pub(crate) struct Calls {
    next: AtomicU32,
    open: Arc<Mutex<HashMap<u32, Call>>>,
}

#[derive(Debug, Clone)]
struct Call {
    /// None: finished.
    outgoing: Option<mpsc::Sender<Bytes>>,
    window: Arc<Semaphore>,
    cancel: CancellationToken,
}

impl Calls {
    /// Begins a call; what comes back goes to `pages` until the call has ended.
    pub(crate) fn open(
        &self,
        raw: RawCalls,
        path: String,
        pages: Channel<InvokeResponseBody>,
    ) -> u32 {
        let id = self.next.fetch_add(1, Ordering::Relaxed);
        let (outgoing, messages) = mpsc::channel(OUTGOING);
        let call = Call {
            outgoing: Some(outgoing),
            window: Arc::new(Semaphore::new(WINDOW)),
            cancel: CancellationToken::new(),
        };
        self.open.lock().insert(id, call.clone());
        let open = Arc::clone(&self.open);
        tauri::async_runtime::spawn(async move {
            let passed = pass(raw, &path, messages, &pages, &call.window);
            let end = call.cancel.run_until_cancelled(passed).await;
            open.lock().remove(&id);
            match end {
                // Nobody listens any more.
                None => {}
                Some(Ok(())) => tell(&pages, END, &[]),
                Some(Err(failure)) => tell(&pages, FAILED, Refusal::from(failure).bytes()),
            }
        });
        id
    }

    /// Waits while the daemon is slow to take messages.
    pub(crate) async fn send(&self, id: u32, message: Bytes) -> Result<(), Refusal> {
        let outgoing = self.open.lock().get(&id).and_then(|call| call.outgoing.clone());
        let outgoing = outgoing.ok_or_else(|| Refusal::misuse("the call has ended"))?;
        outgoing.send(message).await.map_err(|_| Refusal::misuse("the call has ended"))
    }

    pub(crate) fn finish(&self, id: u32) {
        if let Some(call) = self.open.lock().get_mut(&id) {
            call.outgoing = None;
        }
    }

    /// The pages have taken so many messages.
    pub(crate) fn more(&self, id: u32, count: usize) {
        if let Some(call) = self.open.lock().get(&id) {
            call.window.add_permits(count.min(WINDOW));
        }
    }

    pub(crate) fn cancel(&self, id: u32) {
        if let Some(call) = self.open.lock().remove(&id) {
            call.cancel.cancel();
        }
    }

    /// The page has gone, and with it everybody who waits.
    pub(crate) fn cancel_all(&self) {
        for (_, call) in self.open.lock().drain() {
            call.cancel.cancel();
        }
    }
}

async fn pass(
    raw: RawCalls,
    path: &str,
    messages: mpsc::Receiver<Bytes>,
    pages: &Channel<InvokeResponseBody>,
    window: &Semaphore,
) -> Result<(), Failure> {
    let mut answer = raw.streaming(path, ReceiverStream::new(messages)).await?;
    while let Some(message) = answer.next().await {
        let message = message.map_err(linkspan_client::failure)?;
        // Never closed, so it always comes.
        if let Ok(permit) = window.acquire().await {
            permit.forget();
        }
        tell(pages, MESSAGE, &message);
    }
    Ok(())
}

/// A window that has been closed takes nothing; the call ends with the program or the page.
fn tell(pages: &Channel<InvokeResponseBody>, tag: u8, body: &[u8]) {
    let mut bytes = Vec::with_capacity(body.len() + 1);
    bytes.push(tag);
    bytes.extend_from_slice(body);
    if let Err(error) = pages.send(InvokeResponseBody::Raw(bytes)) {
        tracing::debug!(%error, "the page has gone");
    }
}
