//! `info`.

use std::fmt::Write as _;

use clap::Args;
use jiff::Timestamp;
use linkspan_docker_types::container::refused::RUNTIME;
use linkspan_proto::host::v1::{
    HostInfoRequest, HostInfoResponse, ListMachinesRequest, Machine, MachineState,
};
use linkspan_proto::v1::{
    ContainerState, ContainerSummary, ListContainersRequest, ListImagesRequest,
};
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
    /// Docker's fields; nothing is counted unless the machine runs.
    #[serde(flatten)]
    docker: Docker,
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

/// What `docker info` calls the server: a machine and its agent. What a machine has not, it does not
/// show: a swarm, plugins, registries.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Docker {
    #[serde(rename = "ID")]
    id: String,
    containers: usize,
    containers_running: usize,
    containers_paused: usize,
    containers_stopped: usize,
    images: usize,
    driver: &'static str,
    logging_driver: &'static str,
    cgroup_driver: &'static str,
    cgroup_version: &'static str,
    kernel_version: String,
    operating_system: &'static str,
    #[serde(rename = "OSType")]
    os_type: &'static str,
    architecture: String,
    #[serde(rename = "NCPU")]
    ncpu: u32,
    mem_total: u64,
    name: String,
    server_version: String,
    default_runtime: &'static str,
    init_binary: &'static str,
    security_options: Vec<&'static str>,
}

impl Docker {
    fn of(host: &HostInfoResponse, machine: Option<&Machine>) -> Self {
        let usage = machine.and_then(|machine| machine.usage).unwrap_or_default();
        let text = |field: fn(&Machine) -> &String| machine.map(field).cloned().unwrap_or_default();
        Self {
            id: text(|machine| &machine.name),
            driver: "overlay2",
            logging_driver: "json-file",
            cgroup_driver: "cgroupfs",
            cgroup_version: "2",
            kernel_version: text(|machine| &machine.kernel_release),
            operating_system: "Linkspan",
            os_type: "linux",
            architecture: host.architecture.clone(),
            ncpu: usage.cpus,
            mem_total: usage.memory_total_bytes,
            name: text(|machine| &machine.name),
            server_version: text(|machine| &machine.agent_version),
            default_runtime: RUNTIME,
            init_binary: "linkspan-init",
            security_options: security_options(machine),
            ..Self::default()
        }
    }

    fn count(&mut self, containers: &[ContainerSummary], images: usize) {
        use ContainerState as S;
        let count =
            |wanted: &[S]| containers.iter().filter(|one| wanted.contains(&one.state())).count();
        self.containers = containers.len();
        // As in Docker, one that is about to run again counts as running.
        self.containers_running = count(&[S::Running, S::Restarting]);
        self.containers_paused = count(&[S::Paused]);
        self.containers_stopped =
            self.containers - self.containers_running - self.containers_paused;
        self.images = images;
    }
}

/// Docker names user namespaces where its daemon maps the ids of containers.
fn security_options(machine: Option<&Machine>) -> Vec<&'static str> {
    let settings = machine.and_then(|machine| machine.settings.as_ref());
    let mapped = settings.is_some_and(|settings| settings.userns == "default");
    ["name=seccomp,profile=builtin"]
        .into_iter()
        .chain(mapped.then_some("name=userns"))
        .chain(["name=cgroupns"])
        .collect()
}

impl Info {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let client = context.client().await?;
        let host = client.host().info(HostInfoRequest {}).await?.into_inner();
        let machines = client.machines().list(ListMachinesRequest {}).await?.into_inner().machines;
        let wanted = context.machine().unwrap_or(&host.default_machine).to_owned();
        let runs =
            machines.iter().any(|one| one.name == wanted && one.state() == MachineState::Running);
        let machine = machines.iter().find(|one| one.name == wanted);
        let mut docker = Docker::of(&host, machine);
        let content = if runs {
            let request = ListContainersRequest { all: true, ..Default::default() };
            let containers =
                client.containers(Some(&wanted)).list(request).await?.into_inner().containers;
            let request = ListImagesRequest::default();
            let images = client.images(Some(&wanted)).list(request).await?.into_inner().images;
            docker.count(&containers, images.len());
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
            docker,
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
            "\nIn `{}`: {} ({} running, {} paused, {} stopped), {}",
            content.machine,
            human::count(content.containers, "container"),
            view.docker.containers_running,
            view.docker.containers_paused,
            view.docker.containers_stopped,
            human::count(content.images, "image")
        );
    }
    out
}

#[cfg(test)]
mod tests {
    use linkspan_proto::host::v1::MachineSettings;

    use super::*;

    #[test]
    fn mapped_ids_are_a_security_option() {
        let machine = |userns: &str| {
            let settings = MachineSettings { userns: userns.into(), ..Default::default() };
            Machine { settings: Some(settings), ..Machine::default() }
        };
        let plain = ["name=seccomp,profile=builtin", "name=cgroupns"];
        assert_eq!(security_options(None), plain);
        assert_eq!(security_options(Some(&machine("off"))), plain);
        assert_eq!(
            security_options(Some(&machine("default"))),
            ["name=seccomp,profile=builtin", "name=userns", "name=cgroupns"]
        );
    }
}
