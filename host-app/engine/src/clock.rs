//! The guest's clock, after this host slept or its clock was set. The guest's own goes on from where
//! it stood: nobody tells it, and the connection to its agent, whose Hello sets the clock, survives.

use std::time::{Duration, Instant, SystemTime};

use async_trait::async_trait;
use linkspan_agent_client::AgentChannel;
use linkspan_machine::Machine;
use tonic::Status;

use crate::companion::Companion;

/// Between two looks at this host's own clocks; the guest is not asked.
const LOOK: Duration = Duration::from_secs(5);
/// So much may lie between the two clocks by ordinary adjustment (adjtimex(2): 0.5 ms a second).
const DIFFERENCE: Duration = Duration::from_millis(100);
/// A look that comes so much too late came after a sleep, where both clocks count it (Windows). On
/// a busy host too: then one Hello more does no harm.
const LATE: Duration = Duration::from_secs(30);

/// This host's clocks at one moment.
#[derive(Debug, Clone, Copy)]
struct Reading {
    /// Linux and macOS: does not count sleep.
    steady: Instant,
    wall: SystemTime,
}

impl Reading {
    fn now() -> Self {
        Self { steady: Instant::now(), wall: SystemTime::now() }
    }

    /// Whether the wall clock went on as it should since an earlier reading.
    fn follows(&self, earlier: &Self) -> bool {
        let steady = self.steady.duration_since(earlier.steady);
        let Ok(wall) = self.wall.duration_since(earlier.wall) else { return false };
        wall.abs_diff(steady) < DIFFERENCE && steady < LOOK + LATE
    }
}

/// Keeps one machine's clock right.
pub(crate) struct Clock {
    look: Duration,
    read: Box<dyn FnMut() -> Reading + Send>,
    /// Whether the machine stands still.
    halted: Box<dyn Fn() -> bool + Send>,
}

impl Clock {
    pub(crate) fn of(machine: &Machine) -> Self {
        // Not the machine itself: it ends with its last owner, and this is none.
        let states = machine.subscribe();
        let halted = Box::new(move || states.borrow().halted.is_some());
        Self { look: LOOK, read: Box::new(Reading::now), halted }
    }

    /// Resolves when the guest's clock may be wrong.
    async fn wrong(&mut self) {
        let mut before = (self.read)();
        let mut halted = (self.halted)();
        loop {
            tokio::time::sleep(self.look).await;
            let (now, halts) = ((self.read)(), (self.halted)());
            if !now.follows(&before) || halted && !halts {
                return;
            }
            (before, halted) = (now, halts);
        }
    }
}

#[async_trait]
impl Companion for Clock {
    fn name(&self) -> &'static str {
        "clock"
    }

    async fn accompany(&mut self, agent: &AgentChannel) -> Result<(), Status> {
        loop {
            self.wrong().await;
            agent.set_clock().await?;
        }
    }

    async fn part(&mut self) {}
}

#[cfg(test)]
mod tests {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    use linkspan_agent_client::{AgentOptions, fake::FakeGuest};

    use super::*;

    /// Looks as often as it can; `read` and `halted` are told how often they were asked before.
    fn clock(
        read: impl Fn(usize) -> Duration + Send + 'static,
        halted: impl Fn(usize) -> bool + Send + 'static,
    ) -> Clock {
        let begin = Reading::now();
        let (readings, looks) = (AtomicUsize::new(0), AtomicUsize::new(0));
        Clock {
            look: Duration::from_millis(1),
            read: Box::new(move || Reading {
                wall: begin.wall + read(readings.fetch_add(1, Ordering::SeqCst)),
                ..begin
            }),
            halted: Box::new(move || halted(looks.fetch_add(1, Ordering::SeqCst))),
        }
    }

    /// Waits until the agent has heard one more Hello than that of its connection.
    async fn is_told(mut clock: Clock) {
        let guest = FakeGuest::default();
        let channel = AgentChannel::new(Arc::new(guest.clone()), AgentOptions::new("box"));
        let heard = async {
            while guest.hellos() < 2 {
                tokio::time::sleep(Duration::from_millis(1)).await;
            }
        };
        tokio::select! {
            ended = clock.accompany(&channel) => panic!("it ended: {ended:?}"),
            heard = tokio::time::timeout(Duration::from_secs(20), heard) => heard.expect("in time"),
        }
    }

    #[tokio::test]
    async fn a_guest_hears_the_time_after_a_sleep_of_the_host() {
        let hour = Duration::from_secs(3600);
        is_told(clock(move |reading| if reading < 3 { Duration::ZERO } else { hour }, |_| false))
            .await;
    }

    #[tokio::test]
    async fn a_guest_that_stood_still_hears_the_time() {
        is_told(clock(|_| Duration::ZERO, |look| (2..5).contains(&look))).await;
    }

    #[test]
    fn a_sleep_and_a_set_clock_are_noticed_and_nothing_else() {
        let begin = Reading::now();
        let later = |steady: u64, wall: u64| Reading {
            steady: begin.steady + Duration::from_millis(steady),
            wall: begin.wall + Duration::from_millis(wall),
        };
        assert!(later(5000, 5000).follows(&begin));
        assert!(later(9000, 9003).follows(&begin), "a busy host, and a clock that is slewed");
        assert!(!later(5000, 65_000).follows(&begin), "it slept, and the steady clock too");
        assert!(!later(65_000, 65_000).follows(&begin), "it slept, and the steady clock did not");
        assert!(!later(5000, 1000).follows(&begin), "it was set back a little");
        let back = Reading { wall: begin.wall - Duration::from_secs(3600), ..later(5000, 0) };
        assert!(!back.follows(&begin), "it was set back beyond the first look");
    }
}
