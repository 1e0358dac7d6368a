//! `machine list` and `machine status`.

use std::fmt::Write as _;

use jiff::Timestamp;
use linkspan_proto::host::v1::{Machine, MachineState, PhaseState, PhaseStatus};
use linkspan_proto::v1::ErrorInfo;
use serde::Serialize;
use serde_json::{Value, json};

use super::format::{Format, Listing};
use super::human;
use crate::error::Error;

const COLUMNS: &str =
    "{{.Name}}\t{{.Status}}\t{{.CPUs}}\t{{.Memory}}\t{{.Disk}}\t{{.Kernel}}\t{{.Accelerator}}";

const HEADINGS: &[(&str, &str)] = &[
    ("Name", "NAME"),
    ("State", "STATE"),
    ("Status", "STATUS"),
    ("CPUs", "CPUS"),
    ("Memory", "MEMORY"),
    ("Disk", "DISK"),
    ("Kernel", "KERNEL"),
    ("KernelRelease", "KERNEL RELEASE"),
    ("Accelerator", "ACCELERATOR"),
    ("Driver", "DRIVER"),
];

/// The word for a state.
pub(crate) fn state(state: MachineState) -> &'static str {
    match state {
        MachineState::Unspecified => "unknown",
        MachineState::Stopped => "stopped",
        MachineState::Starting => "starting",
        MachineState::Running => "running",
        MachineState::Stopping => "stopping",
        MachineState::Failed => "failed",
    }
}

fn phase_state(state: PhaseState) -> &'static str {
    match state {
        PhaseState::Unspecified => "unknown",
        PhaseState::Pending => "pending",
        PhaseState::Running => "running",
        PhaseState::Done => "done",
        PhaseState::Failed => "failed",
    }
}

/// Lays machines out.
///
/// # Errors
/// A template that asks for what is not there.
pub(crate) fn list(format: &Format, machines: &[Machine], now: Timestamp) -> Result<String, Error> {
    let rows: Vec<Value> = machines
        .iter()
        .map(|machine| {
            let settings = machine.settings.clone().unwrap_or_default();
            json!({
                "Name": machine.name,
                "State": state(machine.state()),
                "Status": status(machine, now),
                "CPUs": settings.cpus.to_string(),
                "Memory": human::binary_size(settings.memory_mib << 20),
                "Disk": human::binary_size(settings.disk_gib << 30),
                "Kernel": settings.kernel,
                "KernelRelease": machine.kernel_release,
                "Accelerator": if machine.accelerator.is_empty() {
                    &settings.accelerator
                } else {
                    &machine.accelerator
                },
                "Driver": machine.driver,
            })
        })
        .collect();
    let listing = Listing { columns: COLUMNS, headings: HEADINGS, methods: &|_, _, _| None };
    listing.render(format, &rows)
}

fn status(machine: &Machine, now: Timestamp) -> String {
    match machine.state() {
        MachineState::Running if machine.started_unix_nanos != 0 => {
            let up = human::duration(human::since(machine.started_unix_nanos, now));
            let halted = if machine.halted.is_empty() { "" } else { " (stands still)" };
            format!("Up {up}{halted}")
        }
        other => {
            let word = state(other);
            let (first, rest) = word.split_at(1);
            first.to_uppercase() + rest
        }
    }
}

/// A machine as JSON and for templates. Sizes in bytes, times in microseconds.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct View {
    name: String,
    state: &'static str,
    settings: SettingsView,
    restart_needed: bool,
    halted: String,
    driver: String,
    accelerator: String,
    accelerator_reason: String,
    kernel_release: String,
    agent_version: String,
    vmm_pid: u32,
    started_at: String,
    host_memory_bytes: u64,
    disk_allocated_bytes: u64,
    disk_size_bytes: u64,
    directory: String,
    phases: Vec<PhaseView>,
    usage: Option<UsageView>,
    failure: Option<FailureView>,
    last_crash: Option<FailureView>,
    last_crash_at: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct SettingsView {
    cpus: u32,
    memory_mib: u64,
    disk_gib: u64,
    kernel: String,
    accelerator: String,
    shares: Vec<String>,
    userns: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct PhaseView {
    name: String,
    state: &'static str,
    duration_us: u64,
    budget_us: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct UsageView {
    memory_total_bytes: u64,
    memory_available_bytes: u64,
    disk_total_bytes: u64,
    disk_free_bytes: u64,
    cpus: u32,
    uptime_us: u64,
    containers_running: u32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct FailureView {
    message: String,
    hint: String,
    evidence: Vec<String>,
}

impl From<&Machine> for View {
    fn from(machine: &Machine) -> Self {
        let settings = machine.settings.clone().unwrap_or_default();
        Self {
            name: machine.name.clone(),
            state: state(machine.state()),
            settings: SettingsView {
                cpus: settings.cpus,
                memory_mib: settings.memory_mib,
                disk_gib: settings.disk_gib,
                kernel: settings.kernel,
                accelerator: settings.accelerator,
                shares: settings.shares,
                userns: settings.userns,
            },
            restart_needed: machine.restart_needed,
            halted: machine.halted.clone(),
            driver: machine.driver.clone(),
            accelerator: machine.accelerator.clone(),
            accelerator_reason: machine.accelerator_reason.clone(),
            kernel_release: machine.kernel_release.clone(),
            agent_version: machine.agent_version.clone(),
            vmm_pid: machine.vmm_pid,
            started_at: human::rfc3339(machine.started_unix_nanos),
            host_memory_bytes: machine.host_memory_bytes,
            disk_allocated_bytes: machine.disk_allocated_bytes,
            disk_size_bytes: machine.disk_size_bytes,
            directory: machine.directory.clone(),
            phases: machine.phases.iter().map(phase_view).collect(),
            usage: machine.usage.as_ref().map(|usage| UsageView {
                memory_total_bytes: usage.memory_total_bytes,
                memory_available_bytes: usage.memory_available_bytes,
                disk_total_bytes: usage.disk_total_bytes,
                disk_free_bytes: usage.disk_free_bytes,
                cpus: usage.cpus,
                uptime_us: usage.uptime_us,
                containers_running: usage.containers_running,
            }),
            failure: machine.failure.as_ref().map(FailureView::from),
            last_crash: machine.last_crash.as_ref().map(FailureView::from),
            last_crash_at: human::rfc3339(machine.last_crash_unix_nanos),
        }
    }
}

impl From<&ErrorInfo> for FailureView {
    fn from(failure: &ErrorInfo) -> Self {
        Self {
            message: failure.message.clone(),
            hint: failure.hint.clone(),
            evidence: failure.evidence.clone(),
        }
    }
}

fn phase_view(phase: &PhaseStatus) -> PhaseView {
    PhaseView {
        name: phase.name.clone(),
        state: phase_state(phase.state()),
        duration_us: phase.duration_us,
        budget_us: phase.budget_us,
    }
}

/// A machine for people: a line for each fact that is known.
pub(crate) fn describe(machine: &Machine, now: Timestamp) -> String {
    let settings = machine.settings.clone().unwrap_or_default();
    let mut out = String::new();
    let mut fact = |name: &str, value: String| {
        if !value.is_empty() {
            // Writing to a String cannot fail.
            let _ = writeln!(out, "{name:<13}{value}");
        }
    };
    fact("machine", machine.name.clone());
    fact("status", status(machine, now));
    if let Some(failure) = &machine.failure {
        fact("failure", failure.message.clone());
        fact("hint", failure.hint.clone());
    }
    fact("stands still", machine.halted.clone());
    if let Some(crash) = &machine.last_crash {
        let ago = human::duration(human::since(machine.last_crash_unix_nanos, now));
        fact("crashed", format!("{ago} ago, and was started again: {}", crash.message));
    }
    fact(
        "settings",
        format!(
            "{}, {} memory, {} disk, kernel {}, accelerator {}",
            human::count(settings.cpus, "CPU"),
            human::binary_size(settings.memory_mib << 20),
            human::binary_size(settings.disk_gib << 30),
            settings.kernel,
            settings.accelerator
        ),
    );
    fact("shares", settings.shares.join(", "));
    fact("userns", settings.userns.clone());
    if machine.restart_needed {
        fact("", "changed since it was started: the next start uses them".into());
    }
    let reason = &machine.accelerator_reason;
    let reason = if reason.is_empty() { String::new() } else { format!(" ({reason})") };
    if !machine.accelerator.is_empty() {
        fact("accelerator", format!("{}{reason}", machine.accelerator));
    }
    fact("driver", machine.driver.clone());
    fact("kernel", machine.kernel_release.clone());
    fact("agent", machine.agent_version.clone());
    if machine.vmm_pid != 0 {
        let memory = human::binary_size(machine.host_memory_bytes);
        fact("process", format!("{}, {memory} resident on this host", machine.vmm_pid));
    }
    if machine.disk_size_bytes != 0 {
        let allocated = human::binary_size(machine.disk_allocated_bytes);
        let size = human::binary_size(machine.disk_size_bytes);
        fact("data disk", format!("{allocated} taken on this host, of at most {size}"));
    }
    if let Some(usage) = &machine.usage {
        let used = usage.memory_total_bytes.saturating_sub(usage.memory_available_bytes);
        fact(
            "in use",
            format!(
                "{} of {} memory, {}",
                human::binary_size(used),
                human::binary_size(usage.memory_total_bytes),
                human::count(usage.containers_running, "container")
            ),
        );
    }
    fact("directory", machine.directory.clone());
    let phases: Vec<String> = machine
        .phases
        .iter()
        .filter(|phase| phase.state() == PhaseState::Done)
        .map(|phase| format!("{} {}", phase.name, human::micros(phase.duration_us)))
        .collect();
    fact("boot", phases.join(", "));
    out
}

#[cfg(test)]
mod tests {
    use linkspan_proto::host::v1::MachineSettings;

    use super::*;

    fn machine() -> Machine {
        Machine {
            name: "default".into(),
            state: MachineState::Running.into(),
            settings: Some(MachineSettings {
                cpus: 2,
                memory_mib: 2048,
                disk_gib: 64,
                kernel: "auto".into(),
                accelerator: "auto".into(),
                shares: vec!["/home/me".into(), "/tmp".into()],
                userns: "off".into(),
            }),
            accelerator: "tcg".into(),
            accelerator_reason: "this processor shows neither vmx nor svm".into(),
            started_unix_nanos: 1_000_000_000,
            phases: vec![PhaseStatus {
                name: "kernel".into(),
                state: PhaseState::Done.into(),
                duration_us: 840_000,
                budget_us: 5_000_000,
            }],
            ..Machine::default()
        }
    }

    #[test]
    fn a_machine_is_listed_and_described() {
        let now = Timestamp::from_second(61).expect("in range");
        let table = Format::parse(None).expect("valid");
        assert_eq!(
            list(&table, &[machine()], now).expect("rendered"),
            "NAME      STATUS              CPUS      MEMORY    DISK      KERNEL    ACCELERATOR\n\
             default   Up About a minute   2         2GiB      64GiB     auto      tcg\n"
        );
        let text = describe(&machine(), now);
        assert!(text.contains("accelerator  tcg (this processor shows neither vmx nor svm)\n"));
        assert!(text.contains("shares       /home/me, /tmp\n"), "{text}");
        assert!(text.contains("boot         kernel 840.0 ms\n"), "{text}");
        let view = serde_json::to_value(View::from(&machine())).expect("JSON");
        assert_eq!(view["Phases"][0]["DurationUs"], 840_000);
        assert_eq!(view["State"], "running");
    }
}
