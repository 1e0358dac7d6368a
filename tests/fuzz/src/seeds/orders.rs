//! What the agent and `linkspan-init` tell each other.

use std::{io::Read as _, os::unix::net::UnixStream};

use linkspan_runtime::{
    plan::{
        Bind, CapabilitySets, Look, Mount, MountKind, Namespaces, Plan, Process, Resources, Rlimit,
        Rootfs, TerminalSize, UserSpec,
    },
    wire::{Channel, InitMessage, Order},
};
use serde::Serialize;

/// The bytes of a message.
pub(crate) fn message<T: Serialize>(message: &T) -> Vec<u8> {
    let (sender, mut reader) = UnixStream::pair().expect("sockets");
    Channel::new(sender.into()).send(message, None).expect("it fits into the socket");
    let mut bytes = Vec::new();
    reader.read_to_end(&mut bytes).expect("all that was sent");
    bytes
}

pub(crate) fn orders() -> Vec<Vec<u8>> {
    let look = Look { rootfs: rootfs(), mounts: vec![mount()] };
    vec![
        message(&Order::Start { plan: Box::new(plan()), trace: true }),
        message(&Order::Exec { process: Box::new(process()), trace: false }),
        message(&Order::Look(Box::new(look))),
        [message(&InitMessage::PtyMaster), message(&InitMessage::Ready { trace: Vec::new() })]
            .concat(),
        [message(&InitMessage::Process { pid: 7 }), message(&InitMessage::Root)].concat(),
    ]
}

fn rootfs() -> Rootfs {
    Rootfs {
        lower: vec!["/lower/one".into(), "/lower/two".into()],
        upper: "/upper".into(),
        work: "/work".into(),
        readonly: false,
    }
}

fn mount() -> Mount {
    Mount {
        destination: "/data".into(),
        kind: MountKind::Bind(Bind::of("/source".into())),
        readonly: true,
        nosuid: true,
        nodev: false,
        noexec: true,
    }
}

fn process() -> Process {
    Process {
        args: vec!["/bin/sh".into(), "-c".into(), "true".into()],
        env: vec!["PATH=/bin".into()],
        cwd: "/".into(),
        user: UserSpec { user: "app:apps".into(), additional_groups: Vec::new() },
        terminal: Some(TerminalSize { rows: 24, columns: 80 }),
        capabilities: CapabilitySets { bounding: u64::MAX, ..CapabilitySets::default() },
        no_new_privileges: true,
        rlimits: vec![Rlimit { kind: "nofile".into(), soft: 1024, hard: u64::MAX }],
        seccomp: vec![0, 1 << 40, u64::MAX],
        oom_score_adj: Some(-1000),
        init: true,
        mapped_root: None,
    }
}

fn plan() -> Plan {
    Plan {
        process: process(),
        rootfs: rootfs(),
        mounts: vec![mount()],
        hostname: "host".into(),
        domainname: String::new(),
        namespaces: Namespaces { pid: true, uts: true, ipc: true, network: true, cgroup: true },
        user_namespace: None,
        cgroup: "linkspan/containers/x".into(),
        resources: Resources { memory_max: Some(1 << 30), ..Resources::default() },
        devices: Vec::new(),
        device_rules: Vec::new(),
        all_devices: false,
        masked_paths: vec!["/proc/kcore".into()],
        readonly_paths: vec!["/proc/sys".into()],
        sysctls: vec![("net.ipv4.ip_forward".into(), "1".into())],
    }
}
