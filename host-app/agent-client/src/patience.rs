//! The timer of a connection's keep-alive: its time does not pass while the guest stands still.

use std::{
    pin::Pin,
    task::{Context, Poll},
    time::{Duration, Instant},
};

use hyper::rt::{Sleep, Timer};
use tokio::sync::watch;

/// Why the guest stands still, as long as it does.
#[derive(Debug, Clone)]
pub(crate) struct Patience(pub(crate) watch::Receiver<Option<String>>);

impl Timer for Patience {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        Box::pin(Nap(Box::pin(nap(self.0.clone(), duration))))
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        self.sleep(deadline.saturating_duration_since(self.now()))
    }

    fn now(&self) -> Instant {
        tokio::time::Instant::now().into_std()
    }
}

struct Nap(Pin<Box<dyn Future<Output = ()> + Send + Sync>>);

impl Sleep for Nap {}

impl Future for Nap {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.as_mut().poll(cx)
    }
}

/// Ends when so much time has passed at one go: a guest that goes on has all of it to answer.
async fn nap(mut halted: watch::Receiver<Option<String>>, duration: Duration) {
    loop {
        // Whoever tells has gone: so has the VM, or it never stands still.
        let _ = halted.wait_for(Option::is_none).await;
        tokio::select! {
            () = tokio::time::sleep(duration) => return,
            Ok(()) = halted.changed() => {}
        }
    }
}
