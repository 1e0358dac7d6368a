//! How far one boot is: folds the host's own steps and the guest's events into [`Phases`]. Pure:
//! every call is told the time since the boot began, on the host's clock.

use std::time::Duration;

use crate::{
    guest::BootEvent,
    phase::{Phase, PhaseState, Phases},
};

/// Follows one boot (and its second attempt, when there is one).
#[derive(Debug, Clone)]
pub(crate) struct Tracker {
    phases: Phases,
    current: Phase,
    /// Since when `current` is the current phase: its budget runs from here.
    since: Duration,
    /// When the VM was started.
    vm_started: Duration,
    /// The earliest that the guest's kernel can have started, by the host's clock. Each event
    /// gives one bound; the smallest has the least delay in it.
    guest_epoch: Option<Duration>,
    /// What the guest says that its kernel took, on the guest's clock.
    kernel_took: Option<Duration>,
}

/// What an event of the guest means for the boot.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Meaning {
    /// Go on listening.
    Progress,
    /// The guest has done its part.
    GuestReady,
    /// A phase failed.
    Failed { phase: Phase, error: String, hint: String },
    /// A phase that this host does not know.
    Unknown,
}

impl Tracker {
    pub(crate) fn new(mut phases: Phases) -> Self {
        phases.get_mut(Phase::Image).state = PhaseState::Running;
        Self {
            phases,
            current: Phase::Image,
            since: Duration::ZERO,
            vm_started: Duration::ZERO,
            guest_epoch: None,
            kernel_took: None,
        }
    }

    pub(crate) fn phases(&self) -> &Phases {
        &self.phases
    }

    pub(crate) fn current(&self) -> Phase {
        self.current
    }

    /// When the current phase overruns its budget.
    pub(crate) fn deadline(&self) -> Duration {
        self.since + self.phases.get(self.current).budget
    }

    /// The budgets of the current phase and all that follow, from `at` on.
    pub(crate) fn rest_of_budgets(&self) -> Duration {
        self.phases
            .iter()
            .filter(|status| status.phase >= self.current)
            .map(|status| status.budget)
            .sum()
    }

    /// The accelerator is known, and with it the budgets of what is to come.
    pub(crate) fn set_budgets(&mut self, fresh: &Phases) {
        for phase in Phase::ALL {
            self.phases.get_mut(phase).budget = fresh.get(phase).budget;
        }
    }

    /// The VM is being started, at the first or the second attempt.
    pub(crate) fn vm_starts(&mut self, at: Duration) {
        for phase in Phase::ALL.into_iter().filter(|phase| *phase > Phase::Image) {
            let status = self.phases.get_mut(phase);
            status.state = PhaseState::Pending;
            status.duration = Duration::ZERO;
        }
        if self.phases.get(Phase::Image).state == PhaseState::Running {
            let image = self.phases.get_mut(Phase::Image);
            image.state = PhaseState::Done;
            image.duration = at;
        }
        self.vm_started = at;
        self.guest_epoch = None;
        self.kernel_took = None;
        self.current = Phase::Kernel;
        self.since = at;
        self.phases.get_mut(Phase::Kernel).state = PhaseState::Running;
    }

    /// The guest reported a change.
    pub(crate) fn guest_event(&mut self, event: &BootEvent, at: Duration) -> Meaning {
        let Some(phase) = Phase::of_guest(&event.name) else {
            return Meaning::Unknown;
        };
        if !event.error.is_empty() {
            self.complete_before(phase, at);
            self.fail(phase);
            return Meaning::Failed { phase, error: event.error.clone(), hint: event.hint.clone() };
        }
        let guest_now = Duration::from_micros(event.started_us.saturating_add(event.duration_us));
        let epoch = at.saturating_sub(guest_now);
        self.guest_epoch = Some(self.guest_epoch.map_or(epoch, |known| known.min(epoch)));
        self.complete_before(phase, at);
        self.settle_kernel();
        if phase == Phase::Ready {
            // Its duration is what is left at the end: serving and Hello overlap.
            self.enter(Phase::Ready, at);
            return if event.name == "ready" { Meaning::GuestReady } else { Meaning::Progress };
        }
        let took = Duration::from_micros(event.duration_us);
        if took.is_zero() {
            self.enter(phase, at);
        } else {
            self.complete(phase, took, at);
        }
        Meaning::Progress
    }

    /// From here on only Hello is waited for.
    pub(crate) fn await_hello(&mut self, at: Duration) {
        if self.current != Phase::Ready {
            self.complete_before(Phase::Ready, at);
            self.enter(Phase::Ready, at);
        }
    }

    /// The agent answered Hello: the boot is over, and the phases add up to all of its time.
    pub(crate) fn finish(&mut self, at: Duration) {
        self.await_hello(at);
        let ready = self.phases.get_mut(Phase::Ready);
        ready.state = PhaseState::Done;
        ready.duration = Duration::ZERO;
        let rest = at.saturating_sub(self.phases.total());
        self.phases.get_mut(Phase::Ready).duration = rest;
    }

    /// The boot ends here, with a failure in `phase`.
    pub(crate) fn fail(&mut self, phase: Phase) {
        self.phases.get_mut(phase).state = PhaseState::Failed;
        self.current = phase;
    }

    fn enter(&mut self, phase: Phase, at: Duration) {
        self.phases.get_mut(phase).state = PhaseState::Running;
        self.advance(phase, at);
    }

    /// Only ever forwards: a guest that goes in circles does not get a new budget each time.
    fn advance(&mut self, phase: Phase, at: Duration) {
        if phase > self.current {
            self.current = phase;
            self.since = at;
        }
    }

    /// The guest's clock starts with its kernel; the VMM and the firmware came before, and how
    /// long they took is known better with each event.
    fn settle_kernel(&mut self) {
        if let (Some(epoch), Some(took)) = (self.guest_epoch, self.kernel_took) {
            let before = epoch.saturating_sub(self.vm_started);
            self.phases.get_mut(Phase::Kernel).duration = before + took;
        }
    }

    /// A guest that is in `phase` has the phases before it behind itself, said or not.
    fn complete_before(&mut self, phase: Phase, at: Duration) {
        for earlier in Phase::ALL.into_iter().filter(|earlier| *earlier < phase) {
            if self.phases.get(earlier).state == PhaseState::Done {
                continue;
            }
            // Unsaid: the kernel's end is the first thing heard; the others took no time.
            let took = if earlier == Phase::Kernel {
                at.saturating_sub(self.vm_started)
            } else {
                Duration::ZERO
            };
            let status = self.phases.get_mut(earlier);
            status.state = PhaseState::Done;
            status.duration += took;
        }
    }

    fn complete(&mut self, phase: Phase, took: Duration, at: Duration) {
        let status = self.phases.get_mut(phase);
        status.state = PhaseState::Done;
        if phase == Phase::Kernel {
            self.kernel_took = Some(took);
            self.settle_kernel();
        } else {
            // Two phases of the guest can be parts of one of ours.
            status.duration += took;
        }
        let next = Phase::ALL
            .into_iter()
            .find(|next| *next > phase && self.phases.get(*next).state != PhaseState::Done);
        if let Some(next) = next {
            self.advance(next, at);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::phase::Budgets;

    const MS: fn(u64) -> Duration = Duration::from_millis;

    fn tracker() -> Tracker {
        let mut tracker = Tracker::new(Phases::pending(&Budgets::all(MS(1000)), false));
        tracker.vm_starts(MS(10));
        tracker
    }

    fn event(name: &str, started_ms: u64, duration_ms: u64) -> BootEvent {
        BootEvent {
            name: name.into(),
            started_us: started_ms * 1000,
            duration_us: duration_ms * 1000,
            ..BootEvent::default()
        }
    }

    #[test]
    fn the_phases_add_up_to_the_boot() {
        let mut tracker = tracker();
        // The guest's kernel starts at 110 by the host's clock; all news come late and at once.
        for (news, at) in [
            (event("kernel", 0, 500), 700),
            (event("agent", 500, 40), 700),
            (event("modules", 540, 20), 700),
            (event("disk", 560, 0), 701),
            (event("disk", 560, 100), 771),
            (event("serve", 660, 0), 772),
        ] {
            assert_eq!(tracker.guest_event(&news, MS(at)), Meaning::Progress);
        }
        assert_eq!(tracker.guest_event(&event("ready", 670, 0), MS(780)), Meaning::GuestReady);
        tracker.finish(MS(800));
        let took = |phase| tracker.phases().get(phase).duration;
        assert_eq!(took(Phase::Image), MS(10));
        assert_eq!(took(Phase::Kernel), MS(600), "100 of them before the guest's clock ran");
        assert_eq!(took(Phase::Agent), MS(60));
        assert_eq!(took(Phase::Disk), MS(100));
        assert_eq!(took(Phase::Shares), MS(0), "never mentioned, so it took no time");
        assert_eq!(tracker.phases().total(), MS(800));
        assert!(tracker.phases().iter().all(|status| status.state == PhaseState::Done));
    }

    #[test]
    fn a_budget_runs_from_the_phases_own_beginning() {
        let mut tracker = tracker();
        assert_eq!((tracker.current(), tracker.deadline()), (Phase::Kernel, MS(1010)));
        tracker.guest_event(&event("kernel", 0, 500), MS(600));
        assert_eq!((tracker.current(), tracker.deadline()), (Phase::Agent, MS(1600)));
        tracker.guest_event(&event("disk", 500, 0), MS(900));
        assert_eq!((tracker.current(), tracker.deadline()), (Phase::Disk, MS(1900)));
    }

    #[test]
    fn a_failed_phase_is_the_current_one() {
        let mut tracker = tracker();
        let news = BootEvent { error: "it is not ext4".into(), ..event("disk", 10, 0) };
        let Meaning::Failed { phase, error, .. } = tracker.guest_event(&news, MS(20)) else {
            panic!("an error is a failure");
        };
        assert_eq!((phase, error.as_str()), (Phase::Disk, "it is not ext4"));
        assert_eq!(tracker.phases().get(Phase::Disk).state, PhaseState::Failed);
        assert_eq!(tracker.phases().get(Phase::Agent).state, PhaseState::Done);
    }

    #[test]
    fn a_second_attempt_begins_with_the_kernel() {
        let mut tracker = tracker();
        tracker.guest_event(&event("kernel", 0, 500), MS(600));
        tracker.vm_starts(MS(5000));
        assert_eq!((tracker.current(), tracker.deadline()), (Phase::Kernel, MS(6000)));
        assert_eq!(tracker.phases().get(Phase::Image).duration, MS(10));
    }

    proptest! {
        #[test]
        fn any_events_in_any_order_keep_the_tracker_sane(
            events in proptest::collection::vec(
                (0_usize..9, 0_u64..5_000_000, 0_u64..5_000_000), 0..30),
        ) {
            let names = ["kernel", "agent", "modules", "disk", "network", "shares", "serve",
                "ready", "unheard-of"];
            let mut tracker = tracker();
            for (step, (name, started_us, duration_us)) in events.into_iter().enumerate() {
                let name = names[name].to_owned();
                let news = BootEvent { name, started_us, duration_us, ..BootEvent::default() };
                tracker.guest_event(&news, MS(20 + step as u64));
                prop_assert!(tracker.deadline() > MS(20));
            }
            tracker.finish(MS(100));
            for status in tracker.phases().iter() {
                prop_assert_eq!(status.state, PhaseState::Done);
            }
        }
    }
}
