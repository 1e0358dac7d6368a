//! Trying again: exponential waits with jitter, bounded, and as long as the registry asks.

use std::time::Duration;

use rand::Rng as _;

use crate::error::{Error, Result};
use crate::settings::Retry;

/// The tries of one request or transfer.
pub(crate) struct Backoff<'a> {
    settings: &'a Retry,
    /// Tries in a row that may fail.
    attempts: u32,
    failed: u32,
}

impl<'a> Backoff<'a> {
    pub(crate) fn new(settings: &'a Retry) -> Self {
        Self { settings, attempts: settings.attempts.max(1), failed: 0 }
    }

    /// For a place that has a substitute: going there is the second try.
    pub(crate) fn once(settings: &'a Retry) -> Self {
        Self { settings, attempts: 1, failed: 0 }
    }

    /// Something was achieved: failures are counted anew.
    pub(crate) fn progressed(&mut self) {
        self.failed = 0;
    }

    /// How long to wait after this failure, or the failure if it is final.
    pub(crate) fn after(&mut self, error: Error) -> Result<Duration> {
        self.failed += 1;
        if !error.may_pass() || self.failed >= self.attempts {
            return Err(error);
        }
        if let Some(asked) = error.retry_after() {
            return if asked > self.settings.longest_wait { Err(error) } else { Ok(asked) };
        }
        let doubled = 2u32.saturating_pow(self.failed - 1);
        let most = self.settings.first_wait.saturating_mul(doubled).min(self.settings.longest_wait);
        // Half is jitter, so that the layers of an image do not come back all at once.
        let wait = most.mul_f64(rand::rng().random_range(0.5..=1.0));
        tracing::debug!(%error, ?wait, "trying again");
        Ok(wait)
    }

    /// Waits, or returns the failure if it is final.
    pub(crate) async fn wait(&mut self, error: Error) -> Result<()> {
        let wait = self.after(error)?;
        tokio::time::sleep(wait).await;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Refusal;

    fn refused(status: u16, retry_after: Option<Duration>) -> Error {
        let refusal = Refusal::parse(status, b"", ("", ""));
        if status == 429 {
            return Error::TooManyRequests { refusal, retry_after };
        }
        Error::Refused { registry: "r".into(), status, refusal, retry_after }
    }

    #[test]
    fn waits_grow_are_bounded_and_end() {
        let settings = Retry {
            attempts: 5,
            first_wait: Duration::from_secs(1),
            longest_wait: Duration::from_secs(3),
        };
        let mut backoff = Backoff::new(&settings);
        for most in [1, 2, 3, 3] {
            let wait = backoff.after(refused(503, None)).unwrap();
            let most = Duration::from_secs(most);
            assert!(wait >= most / 2 && wait <= most, "{wait:?} of {most:?}");
        }
        assert!(backoff.after(refused(503, None)).is_err());
        backoff.progressed();
        assert!(backoff.after(refused(503, None)).unwrap() <= Duration::from_secs(1));
    }

    #[test]
    fn the_registrys_wish_is_followed_unless_it_is_too_long() {
        let settings = Retry::default();
        let asked = Duration::from_secs(2);
        assert_eq!(Backoff::new(&settings).after(refused(429, Some(asked))).unwrap(), asked);
        let error = Backoff::new(&settings).after(refused(429, Some(Duration::from_secs(3600))));
        assert!(matches!(error, Err(Error::TooManyRequests { .. })));
    }

    #[test]
    fn only_what_may_pass_is_tried_again() {
        let settings = Retry::default();
        for status in [400, 404, 405, 416, 501, 507] {
            assert!(Backoff::new(&settings).after(refused(status, None)).is_err(), "{status}");
        }
        for status in [408, 429, 500, 502, 503, 504] {
            assert!(Backoff::new(&settings).after(refused(status, None)).is_ok(), "{status}");
            assert!(Backoff::once(&settings).after(refused(status, None)).is_err(), "{status}");
        }
    }
}
