//! Restart policies: which there are, whether a run that has ended is followed by another, and
//! after how long. Pure; the container's task acts on it.

use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::{
    Error,
    state::{Kind, State},
};

/// The pause before the first restart, doubled before each further one. Docker's figures, as are
/// the next two.
const FIRST_WAIT: Duration = Duration::from_millis(100);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// A run that was this long counts as a success: the next pause is the first again.
const GOOD_RUN: Duration = Duration::from_secs(10);

/// `--restart`.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "name", rename_all = "kebab-case")]
pub enum RestartPolicy {
    /// Never.
    #[default]
    No,
    /// When the exit code is not 0.
    OnFailure {
        /// How often at most; 0: as often as it fails.
        max_retries: u32,
    },
    /// Always; after a boot of the machine also when it was stopped by hand.
    Always,
    /// Always, unless it was stopped by hand.
    UnlessStopped,
}

impl RestartPolicy {
    /// By Docker's name and the number after the colon.
    ///
    /// # Errors
    /// A name that is not known, or a number that the policy does not take.
    pub fn new(name: &str, max_retries: u32) -> Result<Self, Error> {
        let policy = match name {
            "" | "no" => Self::No,
            "on-failure" => return Ok(Self::OnFailure { max_retries }),
            "always" => Self::Always,
            "unless-stopped" => Self::UnlessStopped,
            _ => {
                return Err(Error::invalid(
                    "--restart",
                    format!(
                        "unknown policy `{name}`; use one of `no`, `always`, `on-failure`, or \
                         `unless-stopped`"
                    ),
                ));
            }
        };
        if max_retries != 0 {
            let why = format!(
                "maximum retry count cannot be used with restart policy `{}`",
                policy.name()
            );
            return Err(Error::invalid("--restart", why));
        }
        Ok(policy)
    }

    /// Docker's name.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::No => "no",
            Self::OnFailure { .. } => "on-failure",
            Self::Always => "always",
            Self::UnlessStopped => "unless-stopped",
        }
    }

    /// The number after the colon; 0: none.
    #[must_use]
    pub fn max_retries(self) -> u32 {
        match self {
            Self::OnFailure { max_retries } => max_retries,
            _ => 0,
        }
    }

    /// Whether a run that ended with `code`, not stopped by hand, is followed by another.
    /// `restarts`: how many have followed since the last start by hand.
    pub(crate) fn restarts_after(self, code: i32, restarts: u32) -> bool {
        match self {
            Self::No => false,
            Self::OnFailure { max_retries } => {
                code != 0 && (max_retries == 0 || restarts < max_retries)
            }
            Self::Always | Self::UnlessStopped => true,
        }
    }

    /// Whether a container that the machine finds in this state when it boots is started. Docker's
    /// rule: `always` forgets that it was stopped by hand, `unless-stopped` does not, and
    /// `on-failure` is about failures of the container, not of the machine.
    pub(crate) fn starts_at_boot(self, state: &State, stopped_by_hand: bool) -> bool {
        let has_run = state.kind() == Kind::Exited;
        match self {
            Self::No | Self::OnFailure { .. } => false,
            Self::Always => has_run,
            Self::UnlessStopped => has_run && !stopped_by_hand,
        }
    }
}

/// How long to wait before the next restart.
#[derive(Debug, Default)]
pub(crate) struct Backoff(Option<Duration>);

impl Backoff {
    /// The pause after a run of length `ran`.
    pub(crate) fn next(&mut self, ran: Duration) -> Duration {
        let wait = match self.0 {
            Some(last) if ran < GOOD_RUN => (last * 2).min(LONGEST_WAIT),
            _ => FIRST_WAIT,
        };
        self.0 = Some(wait);
        wait
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn pauses_double_to_a_minute_and_begin_anew_after_a_good_run() {
        let mut backoff = Backoff::default();
        let waits: Vec<_> =
            (0..12).map(|_| backoff.next(Duration::from_secs(1)).as_millis()).collect();
        assert_eq!(waits[..4], [100, 200, 400, 800]);
        assert_eq!(waits[9..], [51_200, 60_000, 60_000]);
        assert_eq!(backoff.next(GOOD_RUN), FIRST_WAIT);
    }

    proptest! {
        #[test]
        fn a_pause_is_never_outside_its_bounds(runs in proptest::collection::vec(0_u64..20, 1..60)) {
            let mut backoff = Backoff::default();
            for seconds in runs {
                let wait = backoff.next(Duration::from_secs(seconds));
                prop_assert!((FIRST_WAIT..=LONGEST_WAIT).contains(&wait));
            }
        }

        #[test]
        fn on_failure_never_exceeds_its_number(max_retries in 1_u32..50, code in 0_i32..256) {
            let policy = RestartPolicy::OnFailure { max_retries };
            let count = (0..).take_while(|done| policy.restarts_after(code, *done)).take(60).count();
            prop_assert_eq!(count, if code == 0 { 0 } else { max_retries as usize });
        }
    }

    #[test]
    fn names_and_numbers_are_read_as_docker_reads_them() {
        assert_eq!(RestartPolicy::new("", 0).unwrap(), RestartPolicy::No);
        let three = RestartPolicy::new("on-failure", 3).unwrap();
        assert_eq!((three.name(), three.max_retries()), ("on-failure", 3));
        for (name, retries) in [("sometimes", 0), ("always", 1), ("no", 2)] {
            let error = RestartPolicy::new(name, retries).unwrap_err();
            assert!(error.to_string().starts_with("--restart: "), "{error}");
        }
    }
}
