//! What a machine looks like to a client: the `machine` crate's types as messages.

use std::time::Duration;

use linkspan_machine::{PhaseState, Phases, Settings, Snapshot, State, Status, StopResult};
use linkspan_proto::{
    error::Failure,
    host::v1::{self as wire, MachineState},
    v1::ErrorInfo,
};
use linkspan_state::{MachineName, MachinePaths, SettingsPatch};

use crate::failure;

/// How a stop went.
pub(crate) fn stopped(result: StopResult) -> wire::StopMachineResponse {
    wire::StopMachineResponse {
        killed: result == StopResult::Killed,
        start_broken_off: result == StopResult::StartBrokenOff,
    }
}

/// A machine as it is known without asking anyone.
pub(crate) fn machine(snapshot: &Snapshot) -> wire::Machine {
    let mut machine = wire::Machine {
        name: snapshot.name.to_string(),
        state: state(&snapshot.state).into(),
        settings: Some(settings(&snapshot.settings)),
        phases: snapshot.state.phases().map(phases).unwrap_or_default(),
        driver: snapshot.driver.into(),
        restart_needed: snapshot.restart_needed(),
        directory: snapshot.directory.display().to_string(),
        halted: snapshot.halted.clone().unwrap_or_default(),
        ..wire::Machine::default()
    };
    if let Some(crash) = &snapshot.crash {
        machine.last_crash = Some(ErrorInfo::from(failure::of_machine(&crash.failure)));
        machine.last_crash_unix_nanos = nanos(crash.at);
    }
    match &snapshot.state {
        State::Starting(starting) => {
            machine.started_unix_nanos = nanos(starting.since);
            machine.adopting = starting.adopting;
            if let Some(verdict) = &starting.accelerator {
                machine.accelerator = verdict.accelerator.name().into();
                machine.accelerator_reason = verdict.reason.clone();
            }
        }
        State::Running(running) => {
            machine.started_unix_nanos = nanos(running.started_at);
            machine.accelerator = running.accelerator.accelerator.name().into();
            machine.accelerator_reason = running.accelerator.reason.clone();
            machine.vmm_pid = running.vmm_pid;
            machine.kernel_release = running.guest.kernel_release.clone();
            machine.agent_version = running.guest.agent_version.clone();
        }
        State::Failed(failed) => {
            machine.failure = Some(ErrorInfo::from(failure::of_machine(&failed.failure)));
            machine.vmm_pid = failed.stranded_pid.unwrap_or(0);
        }
        State::Stopped(_) | State::Stopping(_) => {}
    }
    machine
}

/// With the figures that were measured.
pub(crate) fn measured(status: &Status) -> wire::Machine {
    wire::Machine {
        host_memory_bytes: status.host_memory_bytes,
        disk_allocated_bytes: status.disk_allocated_bytes,
        disk_size_bytes: status.disk_size_bytes,
        ..machine(&status.snapshot)
    }
}

/// A machine of which only the folder is known, because its settings cannot be read.
pub(crate) fn broken(
    name: &MachineName,
    driver: &str,
    paths: &MachinePaths,
    failure: Failure,
) -> wire::Machine {
    wire::Machine {
        name: name.to_string(),
        state: MachineState::Failed.into(),
        failure: Some(ErrorInfo::from(failure)),
        driver: driver.into(),
        directory: paths.folder().display().to_string(),
        ..wire::Machine::default()
    }
}

/// What the user should be told of this boot, in the order in which it came up.
pub(crate) fn notices(state: &State) -> &[String] {
    match state {
        State::Starting(starting) => &starting.notices,
        State::Running(running) => &running.notices,
        State::Stopped(_) | State::Stopping(_) | State::Failed(_) => &[],
    }
}

/// A client's wishes.
pub(crate) fn patch(patch: wire::MachineSettingsPatch) -> SettingsPatch {
    let wire::MachineSettingsPatch {
        cpus,
        memory_mib,
        disk_gib,
        kernel,
        accelerator,
        share,
        unshare,
        userns,
    } = patch;
    SettingsPatch { cpus, memory_mib, disk_gib, kernel, accelerator, userns, share, unshare }
}

fn settings(settings: &Settings) -> wire::MachineSettings {
    wire::MachineSettings {
        cpus: settings.cpus,
        memory_mib: settings.memory_mib,
        disk_gib: settings.disk_gib,
        kernel: settings.kernel.to_string(),
        accelerator: settings.accelerator.to_string(),
        shares: settings.shares.iter().map(ToString::to_string).collect(),
        userns: settings.userns.to_string(),
    }
}

fn state(state: &State) -> MachineState {
    match state {
        State::Stopped(_) => MachineState::Stopped,
        State::Starting(_) => MachineState::Starting,
        State::Running(_) => MachineState::Running,
        State::Stopping(_) => MachineState::Stopping,
        State::Failed(_) => MachineState::Failed,
    }
}

fn phases(phases: &Phases) -> Vec<wire::PhaseStatus> {
    let status = |status: &linkspan_machine::PhaseStatus| wire::PhaseStatus {
        name: status.phase.name().into(),
        state: match status.state {
            PhaseState::Pending => wire::PhaseState::Pending,
            PhaseState::Running => wire::PhaseState::Running,
            PhaseState::Done => wire::PhaseState::Done,
            PhaseState::Failed => wire::PhaseState::Failed,
        }
        .into(),
        duration_us: micros(status.duration),
        budget_us: micros(status.budget),
    };
    phases.iter().map(status).collect()
}

fn micros(duration: Duration) -> u64 {
    u64::try_from(duration.as_micros()).unwrap_or(u64::MAX)
}

fn nanos(at: jiff::Timestamp) -> i64 {
    i64::try_from(at.as_nanosecond()).unwrap_or(i64::MAX)
}
