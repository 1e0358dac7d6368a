//! Accepting for as long as somebody is to be served: what fails for a moment (no file descriptor is
//! left, say) is tried again, less and less often.

use std::{io, time::Duration};

use tokio::time::sleep;

const FIRST_PAUSE: Duration = Duration::from_millis(10);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// What one server has come to.
pub(crate) struct Retry {
    server: &'static str,
    pause: Duration,
}

impl Retry {
    /// `server`: whose, for the log.
    pub(crate) fn new(server: &'static str) -> Self {
        Self { server, pause: FIRST_PAUSE }
    }

    /// What was accepted. None: nothing was, and it is time to try again. Failures in a row are
    /// said once.
    pub(crate) async fn after<T>(&mut self, accepted: io::Result<T>) -> Option<T> {
        let error = match accepted {
            Ok(accepted) => {
                self.pause = FIRST_PAUSE;
                return Some(accepted);
            }
            Err(error) => error,
        };
        if self.pause == FIRST_PAUSE {
            tracing::warn!(%error, server = self.server, "nobody can be accepted for now");
        }
        sleep(self.pause).await;
        self.pause = (self.pause * 2).min(LONGEST_PAUSE);
        None
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::Instant;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_fails_is_tried_again_less_and_less_often() {
        let mut retry = Retry::new("a test");
        for _ in 0..2 {
            let begun = Instant::now();
            let mut tries = 0;
            // A minute without descriptors.
            while begun.elapsed() < Duration::from_secs(60) {
                let nobody: io::Result<()> = Err(io::ErrorKind::OutOfMemory.into());
                assert_eq!(retry.after(nobody).await, None);
                tries += 1;
            }
            // Seven doublings, then one a second.
            assert!((60..80).contains(&tries), "{tries}");
            assert_eq!(retry.after(Ok("client")).await, Some("client"));
        }
    }
}
