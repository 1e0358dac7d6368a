//! A VM that runs, with what must be kept as long as it does.

use std::{sync::Arc, time::Duration};

use futures::{FutureExt as _, future::BoxFuture};
use linkspan_state::Lock;
use tokio::sync::watch;
use tokio_util::task::AbortOnDropHandle;

use crate::{
    driver::{Vm, VmExit},
    parts::blocking,
    serial::SerialLog,
};

/// Between two looks at how much the guest has written to its console: one `stat` of a local file.
const LOOK_AT_CONSOLE: Duration = Duration::from_secs(5);

/// A VM that runs, the lock that makes it ours, and the end that it will have.
pub(crate) struct Held {
    pub(crate) vm: Arc<dyn Vm>,
    pub(crate) lock: Lock,
    pub(crate) exit: BoxFuture<'static, VmExit>,
    pub(crate) halted: watch::Receiver<Option<String>>,
    _console: AbortOnDropHandle<()>,
}

impl Held {
    pub(crate) fn new(vm: Arc<dyn Vm>, lock: Lock, serial: SerialLog) -> Self {
        let (watched, halted) = (Arc::clone(&vm), vm.halted());
        Self {
            vm,
            lock,
            exit: async move { watched.wait().await }.boxed(),
            halted,
            _console: AbortOnDropHandle::new(tokio::spawn(keep_short(serial))),
        }
    }
}

/// A guest that floods its console must not fill the host's disk.
async fn keep_short(serial: SerialLog) {
    let mut failed = false;
    loop {
        tokio::time::sleep(LOOK_AT_CONSOLE).await;
        let log = serial.clone();
        let Ok(shortened) = blocking(move || log.shorten()).await else { return };
        // Said once: what is wrong with it now is wrong at the next look too.
        if let Err(error) = shortened
            && !std::mem::replace(&mut failed, true)
        {
            tracing::warn!(%error, "a console's log cannot be kept short");
        }
    }
}
