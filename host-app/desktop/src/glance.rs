//! What the tray says of the machine: words, a colour, what can be done. Pure.

use linkspan_proto::host::v1::{Machine, MachineState, PhaseState};

/// The default machine at a glance.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Glance {
    /// The daemon cannot be heard.
    Away,
    Stopped,
    /// With the phase that it is in.
    Starting(Option<String>),
    Running,
    /// It runs and cannot go on, such as on a host whose disk is full.
    Halted,
    Stopping,
    Failed,
    /// It failed, and its VM is still there.
    Stranded,
}

/// What the tray offers to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Action {
    /// Also starts the daemon.
    Start,
    Stop,
}

/// Red, green, blue, as the pages have them (`ui/src/app.css`).
pub(crate) type Colour = [u8; 3];

impl Glance {
    pub(crate) fn of(machine: &Machine) -> Self {
        match machine.state() {
            MachineState::Starting => {
                let phase =
                    machine.phases.iter().find(|phase| phase.state() == PhaseState::Running);
                Self::Starting(phase.map(|phase| phase.name.clone()))
            }
            MachineState::Running if machine.halted.is_empty() => Self::Running,
            MachineState::Running => Self::Halted,
            MachineState::Stopping => Self::Stopping,
            MachineState::Failed if machine.vmm_pid == 0 => Self::Failed,
            MachineState::Failed => Self::Stranded,
            MachineState::Stopped | MachineState::Unspecified => Self::Stopped,
        }
    }

    pub(crate) fn words(&self) -> String {
        match self {
            Self::Away => "The daemon does not run".into(),
            Self::Stopped => "The machine is stopped".into(),
            Self::Starting(None) => "The machine starts".into(),
            Self::Starting(Some(phase)) => format!("The machine starts: {phase}"),
            Self::Running => "The machine runs".into(),
            Self::Halted => "The machine stands still".into(),
            Self::Stopping => "The machine stops".into(),
            Self::Failed => "The machine has failed".into(),
            Self::Stranded => "The machine does not answer".into(),
        }
    }

    /// None: there is nothing to do but to wait.
    pub(crate) fn action(&self) -> Option<Action> {
        match self {
            Self::Away | Self::Stopped | Self::Failed => Some(Action::Start),
            // A start that hangs can be ended. What is left of a failed one has to be, before the next.
            Self::Starting(_) | Self::Running | Self::Halted | Self::Stranded => Some(Action::Stop),
            Self::Stopping => None,
        }
    }

    /// None: the icon is grey.
    pub(crate) fn colour(&self) -> Option<Colour> {
        match self {
            Self::Away | Self::Stopped => None,
            Self::Running => Some([0x3f, 0xb9, 0x68]),
            Self::Starting(_) | Self::Stopping => Some([0xff, 0x9a, 0x52]),
            Self::Failed | Self::Halted | Self::Stranded => Some([0xe5, 0x48, 0x4d]),
        }
    }
}

/// The app's icon with the state in its corner: a dot of that colour, or without a colour the
/// whole icon in grey. `pixels` are rows of red, green, blue and alpha.
pub(crate) fn mark(pixels: &[u8], width: u32, colour: Option<Colour>) -> Vec<u8> {
    let mut marked = pixels.to_vec();
    let (pixels, _) = marked.as_chunks_mut::<4>();
    let Some(colour) = colour else {
        for [red, green, blue, _] in pixels {
            let grey = (u32::from(*red) + u32::from(*green) + u32::from(*blue)) / 3;
            // At most 255: a mean of three bytes.
            let grey = u8::try_from(grey).unwrap_or(u8::MAX);
            (*red, *green, *blue) = (grey, grey, grey);
        }
        return marked;
    };
    let side = i64::from(width);
    let radius = side / 5;
    let centre = side - radius - 1;
    for (pixel, place) in pixels.iter_mut().zip(0_i64..) {
        let (x, y) = (place % side - centre, place / side - centre);
        if x * x + y * y <= radius * radius {
            *pixel = [colour[0], colour[1], colour[2], u8::MAX];
        }
    }
    marked
}

#[cfg(test)]
mod tests {
    use linkspan_proto::host::v1::PhaseStatus;

    use super::*;

    fn machine(state: MachineState) -> Machine {
        Machine { state: state.into(), ..Machine::default() }
    }

    #[test]
    fn a_starting_machine_names_its_phase_and_can_be_stopped() {
        let mut starting = machine(MachineState::Starting);
        assert_eq!(Glance::of(&starting).words(), "The machine starts");
        let phase = |name: &str, state: PhaseState| PhaseStatus {
            name: name.into(),
            state: state.into(),
            ..PhaseStatus::default()
        };
        starting.phases =
            vec![phase("image", PhaseState::Done), phase("kernel", PhaseState::Running)];
        assert_eq!(Glance::of(&starting).words(), "The machine starts: kernel");
        assert_eq!(Glance::of(&starting).action(), Some(Action::Stop));
    }

    #[test]
    fn what_does_not_run_can_be_started() {
        for state in [MachineState::Stopped, MachineState::Failed, MachineState::Unspecified] {
            assert_eq!(Glance::of(&machine(state)).action(), Some(Action::Start), "{state:?}");
        }
        assert_eq!(Glance::Away.action(), Some(Action::Start));
        assert_eq!(Glance::of(&machine(MachineState::Stopping)).action(), None);
    }

    #[test]
    fn a_vm_that_is_left_can_only_be_stopped_and_one_that_stands_still_is_not_well() {
        let stranded = Machine { vmm_pid: 7, ..machine(MachineState::Failed) };
        assert_eq!(Glance::of(&stranded).action(), Some(Action::Stop));
        assert_eq!(Glance::of(&stranded).words(), "The machine does not answer");
        let running = machine(MachineState::Running);
        let halted = Machine { halted: "no room".into(), ..running.clone() };
        assert_ne!(Glance::of(&halted).colour(), Glance::of(&running).colour());
        assert_eq!(Glance::of(&halted).action(), Some(Action::Stop));
    }

    #[test]
    fn the_states_look_different() {
        let icon = [10, 20, 30, 255].repeat(32 * 32);
        let looks = [Glance::Stopped, Glance::Running, Glance::Failed, Glance::Starting(None)]
            .map(|glance| mark(&icon, 32, glance.colour()));
        for (at, look) in looks.iter().enumerate() {
            assert_eq!(look.len(), icon.len());
            assert!(looks[..at].iter().all(|other| other != look), "{at}");
        }
        assert_eq!(looks[0][..4], [20, 20, 20, 255], "grey all over");
        assert_eq!(looks[1][..4], [10, 20, 30, 255], "the corner opposite is as it was");
    }
}
