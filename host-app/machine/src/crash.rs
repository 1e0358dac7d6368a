//! Whether a machine whose guest crashed is started again by itself. Pure: the owner asks.
//!
//! A server whose kernel panics reboots, and containers with a restart policy count on it. One
//! that crashes again and again is left as it is, failed, for somebody to look at. A virtual
//! machine monitor that was killed on the host is no crash of the guest: whoever did that (a
//! person, the host out of memory) would not be helped by another one.

use std::{collections::VecDeque, time::Duration};

use tokio::time::Instant;

/// So many starts by itself ...
const MOST: usize = 3;
/// ... within this time; the crash after them is the last.
const WITHIN: Duration = Duration::from_secs(600);

/// The crashes that were answered with a start.
#[derive(Debug, Default)]
pub(crate) struct Crashes(VecDeque<Instant>);

impl Crashes {
    /// Notes a crash. Whether the machine is to be started again.
    pub(crate) fn note(&mut self, at: Instant) -> bool {
        self.0.retain(|earlier| at.duration_since(*earlier) < WITHIN);
        let again = self.0.len() < MOST;
        if again {
            self.0.push_back(at);
        }
        again
    }

    /// Somebody started or stopped it by hand: what was before does not count any more.
    pub(crate) fn forget(&mut self) {
        self.0.clear();
    }

    /// Why it is not started again, for its failure.
    pub(crate) fn given_up() -> String {
        let minutes = WITHIN.as_secs() / 60;
        format!("it was started again {MOST} times within {minutes} minutes and is left alone now")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crashes_in_a_row_are_the_last_and_old_ones_do_not_count() {
        let begin = Instant::now();
        let mut crashes = Crashes::default();
        for second in 0..3 {
            assert!(crashes.note(begin + Duration::from_secs(second)));
        }
        assert!(!crashes.note(begin + Duration::from_secs(3)));
        assert!(!crashes.note(begin + Duration::from_secs(4)), "it stays so");
        assert!(crashes.note(begin + WITHIN), "the first is long ago");
        assert!(!crashes.note(begin + WITHIN));
        crashes.forget();
        assert!(crashes.note(begin + WITHIN));
    }
}
