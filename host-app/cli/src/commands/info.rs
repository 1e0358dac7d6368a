//! `info`.

use std::fmt::Write as _;

use clap::Args;
use jiff::Timestamp;
use linkspan_proto::host::v1::{
    HostInfoRequest, HostInfoResponse, ListMachinesRequest, Machine, MachineState,
};
use linkspan_proto::v1::{ContainerState, ListContainersRequest, ListImagesRequest};
use serde::Serialize;

use crate::context::Context;
use crate::error::Outcome;
use crate::render::format::single;
use crate::render::{self, human, machine};

/// Show facts about this host, the daemon and its machines
#[derive(Debug, Args)]
pub(crate) struct Info {
    /// `json` or a Go template such as '{{.Host.Kernel}}'
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct View {
    host: HostView,
    machines: Vec<machine::View>,
    /// Only when the machine runs: asking must not start it.
    content: Option<Content>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct HostView {
    #[serde(rename = "OS")]
    os: String,
    kernel: String,
    architecture: String,
    #[serde(rename = "CPUs")]
    cpus: u32,
    memory_bytes: u64,
    home_directory: String,
    socket: String,
    vm_image_directory: String,
    default_machine: String,
    drivers: Vec<String>,
    daemon_version: String,
    daemon_pid: u32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Content {
    machine: String,
    containers: usize,
    containers_running: usize,
    images: usize,
}

impl Info {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let client = context.client().await?;
        let host = client.host().info(HostInfoRequest {}).await?.into_inner();
        let machines = client.machines().list(ListMachinesRequest {}).await?.into_inner().machines;
        let wanted = context.machine().unwrap_or(&host.default_machine).to_owned();
        let runs =
            machines.iter().any(|one| one.name == wanted && one.state() == MachineState::Running);
        let content = if runs {
            let request = ListContainersRequest { all: true, ..Default::default() };
            let containers =
                client.containers(Some(&wanted)).list(request).await?.into_inner().containers;
            let request = ListImagesRequest::default();
            let images = client.images(Some(&wanted)).list(request).await?.into_inner().images;
            Some(Content {
                machine: wanted,
                containers: containers.len(),
                containers_running: containers
                    .iter()
                    .filter(|one| one.state() == ContainerState::Running)
                    .count(),
                images: images.len(),
            })
        } else {
            None
        };
        let view = View {
            host: host_view(&host, &client),
            machines: machines.iter().map(machine::View::from).collect(),
            content,
        };
        render::print(&single(self.format.as_deref(), &view, || plain(&view, &machines))?)?;
        Ok(0)
    }
}

fn host_view(host: &HostInfoResponse, client: &linkspan_client::Client) -> HostView {
    HostView {
        os: host.os.clone(),
        kernel: host.kernel.clone(),
        architecture: host.architecture.clone(),
        cpus: host.cpus,
        memory_bytes: host.memory_bytes,
        home_directory: host.home_directory.clone(),
        socket: host.socket.clone(),
        vm_image_directory: host.vm_image_directory.clone(),
        default_machine: host.default_machine.clone(),
        drivers: host.drivers.clone(),
        daemon_version: client.daemon().version.clone(),
        daemon_pid: client.daemon().pid,
    }
}

fn plain(view: &View, machines: &[Machine]) -> String {
    let host = &view.host;
    let mut out = String::new();
    // Writing to a String cannot fail.
    let _ = writeln!(out, "Host:");
    for (name, value) in [
        ("OS", format!("{} ({})", host.os, host.architecture)),
        ("Kernel", host.kernel.clone()),
        ("CPUs", host.cpus.to_string()),
        ("Memory", human::binary_size(host.memory_bytes)),
        ("Daemon", format!("{}, process {}", host.daemon_version, host.daemon_pid)),
        ("Socket", host.socket.clone()),
        ("State", host.home_directory.clone()),
        ("VM image", host.vm_image_directory.clone()),
        ("Drivers", host.drivers.join(", ")),
    ] {
        let _ = writeln!(out, " {name:<12}{value}");
    }
    for one in machines {
        let _ = writeln!(out, "\nMachine `{}`:", one.name);
        for line in machine::describe(one, Timestamp::now()).lines().skip(1) {
            let _ = writeln!(out, " {line}");
        }
    }
    if machines.is_empty() {
        let _ = writeln!(out, "\nNo machine yet: the first `run` creates one");
    }
    if let Some(content) = &view.content {
        let _ = writeln!(
            out,
            "\nIn `{}`: {} containers ({} running), {} images",
            content.machine, content.containers, content.containers_running, content.images
        );
    }
    out
}
