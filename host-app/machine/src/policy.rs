//! What an action means in a state. Pure: the owner of the machine asks, then does.

/// A state without its data.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum StateKind {
    Stopped,
    /// A boot is under way.
    Starting,
    /// A VM of an earlier daemon is being asked whether it is well.
    Adopting,
    Running,
    /// An orderly power-off is under way.
    Stopping,
    /// A VM is being killed, or a boot undone.
    Killing,
    Failed,
    /// Failed, and its VM still runs: an adopted VM whose agent does not answer.
    Stranded,
}

/// What someone wants.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    Start,
    Stop,
    Kill,
    Update,
    Remove { force: bool },
}

/// What is to be done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Decision {
    /// Do it now.
    Begin,
    /// It is so already: success.
    Already,
    /// The same thing is under way: share its result.
    Join,
    /// Ask again when what is under way is over.
    Wait,
    /// Break off what is under way, then ask again.
    Interrupt,
    /// Kill the VM, then ask again.
    KillFirst,
    /// No, because.
    Refuse(Refusal),
}

/// Why an action is not legal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Refusal {
    /// It runs, or is about to.
    Running,
    /// The VM of an earlier start still runs, and does not answer.
    Stranded,
}

pub(crate) fn decide(state: StateKind, action: Action) -> Decision {
    use Action as A;
    use Decision as D;
    use StateKind as S;
    match (action, state) {
        (A::Start, S::Stopped | S::Failed) => D::Begin,
        (A::Start, S::Starting | S::Adopting) => D::Join,
        (A::Start, S::Running) => D::Already,
        (A::Start, S::Stopping | S::Killing) => D::Wait,
        (A::Start, S::Stranded) => D::Refuse(Refusal::Stranded),

        (A::Stop | A::Kill, S::Stopped) => D::Already,
        // Nothing runs any more; the failure has been seen.
        (A::Stop | A::Kill, S::Failed | S::Running | S::Stranded) => D::Begin,
        (A::Stop | A::Kill, S::Starting) => D::Interrupt,
        // Containers of an earlier daemon may run in it: they get their orderly stop.
        (A::Stop, S::Adopting) => D::Wait,
        (A::Kill, S::Adopting) => D::Interrupt,
        (A::Stop, S::Stopping | S::Killing) | (A::Kill, S::Killing) => D::Join,
        (A::Kill, S::Stopping) => D::Interrupt,

        // Settings take effect at the next start, so they can always change.
        (A::Update, _) => D::Begin,

        (A::Remove { .. }, S::Stopped | S::Failed) => D::Begin,
        (A::Remove { .. }, S::Killing) => D::Wait,
        (A::Remove { force: true }, S::Starting | S::Adopting | S::Stopping) => D::Interrupt,
        (A::Remove { force: true }, S::Running | S::Stranded) => D::KillFirst,
        (A::Remove { force: false }, S::Stopping | S::Adopting) => D::Wait,
        (A::Remove { force: false }, S::Starting | S::Running) => D::Refuse(Refusal::Running),
        (A::Remove { force: false }, S::Stranded) => D::Refuse(Refusal::Stranded),
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const ACTIONS: [Action; 6] = [
        Action::Start,
        Action::Stop,
        Action::Kill,
        Action::Update,
        Action::Remove { force: false },
        Action::Remove { force: true },
    ];

    /// A machine as the policy sees it, with the VM that must never be lost.
    #[derive(Debug)]
    struct Model {
        state: StateKind,
        vm: bool,
        removed: bool,
    }

    impl Model {
        /// What the owner does for a decision. Returns whether the action is over.
        fn act(&mut self, action: Action) -> Result<bool, Refusal> {
            match decide(self.state, action) {
                Decision::Refuse(why) => return Err(why),
                Decision::Already | Decision::Join => {}
                Decision::Wait => return Ok(false),
                Decision::Interrupt | Decision::KillFirst => {
                    self.state = StateKind::Killing;
                    return Ok(false);
                }
                Decision::Begin => match action {
                    Action::Start => self.begin_start(),
                    Action::Stop if self.vm => self.state = StateKind::Stopping,
                    Action::Kill if self.vm => self.state = StateKind::Killing,
                    Action::Stop | Action::Kill => self.state = StateKind::Stopped,
                    Action::Update => {}
                    Action::Remove { .. } => self.removed = true,
                },
            }
            Ok(true)
        }

        fn begin_start(&mut self) {
            assert!(!self.vm, "a second VM on one disk");
            self.state = StateKind::Starting;
            self.vm = true;
        }

        /// What is under way ends, well or badly.
        fn settle(&mut self, well: bool) {
            (self.state, self.vm) = match (self.state, well) {
                (StateKind::Starting | StateKind::Adopting, true) => (StateKind::Running, true),
                (StateKind::Starting, false) => (StateKind::Failed, false),
                (StateKind::Adopting, false) => (StateKind::Stranded, true),
                (StateKind::Stopping | StateKind::Killing, _) => (StateKind::Stopped, false),
                settled => (settled.0, self.vm),
            };
        }
    }

    fn initial() -> impl Strategy<Value = StateKind> {
        prop_oneof![Just(StateKind::Stopped), Just(StateKind::Adopting)]
    }

    proptest! {
        #[test]
        fn no_order_of_actions_loses_or_doubles_a_vm(
            initial in initial(),
            steps in proptest::collection::vec((0..ACTIONS.len(), any::<bool>(), any::<bool>()), 1..40),
        ) {
            let vm = initial == StateKind::Adopting;
            let mut model = Model { state: initial, vm, removed: false };
            for (action, settle, well) in steps {
                let _ = model.act(ACTIONS[action]);
                prop_assert!(!(model.removed && model.vm), "removed under a running VM");
                if model.removed {
                    break;
                }
                if settle {
                    model.settle(well);
                }
                let at_rest = matches!(model.state, StateKind::Stopped | StateKind::Failed);
                prop_assert_eq!(model.vm, !at_rest);
            }
        }

        #[test]
        fn a_kill_ends_every_machine(
            initial in initial(),
            before in proptest::collection::vec((0..4_usize, any::<bool>()), 0..10),
            well in any::<bool>(),
        ) {
            let mut model = Model { state: initial, vm: initial == StateKind::Adopting, removed: false };
            for (action, settle) in before {
                let _ = model.act(ACTIONS[action]);
                if settle {
                    model.settle(true);
                }
            }
            for _ in 0..3 {
                if model.act(Action::Kill).expect("a kill is never refused") {
                    model.settle(well);
                    break;
                }
                model.settle(well);
            }
            prop_assert_eq!(model.state, StateKind::Stopped);
        }
    }
}
