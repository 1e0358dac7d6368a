//! `version`.

use clap::Args;
use linkspan_proto::PROTOCOL_VERSION;
use linkspan_proto::error::ErrorCode;
use linkspan_proto::host::v1::{InspectMachineRequest, MachineState};
use serde::Serialize;

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::render::format::single;
use crate::render::{self, machine};

/// Show the versions of program, daemon, agent and kernel
#[derive(Debug, Args)]
pub(crate) struct Version {
    /// `json` or a Go template such as '{{.Client.Version}}'
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Versions {
    client: Side,
    server: Server,
    machine: Option<MachineSide>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Side {
    version: String,
    protocol: u32,
    os: String,
    arch: String,
}

/// Docker's server is our daemon with the machine's agent and kernel.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Server {
    platform: Platform,
    #[serde(flatten)]
    side: Side,
    kernel_version: String,
    components: Vec<Component>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Platform {
    name: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Component {
    name: &'static str,
    version: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct MachineSide {
    name: String,
    state: &'static str,
    agent_version: String,
    kernel_version: String,
}

impl Version {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let client = context.client().await?;
        let daemon = client.daemon().clone();
        let request =
            InspectMachineRequest { name: context.machine().unwrap_or_default().to_owned() };
        let machine = match client.machines().inspect(request).await.map_err(Error::from) {
            Ok(answer) => answer.into_inner().machine,
            // The default machine is made by the first command that needs it.
            Err(Error::Failure(failure))
                if failure.code == ErrorCode::NotFound && context.machine().is_none() =>
            {
                None
            }
            Err(error) => return Err(error),
        };
        let side = |version: String, protocol| Side {
            version,
            protocol,
            os: std::env::consts::OS.into(),
            arch: std::env::consts::ARCH.into(),
        };
        let machine = machine.map(|one| MachineSide {
            state: machine::state(one.state()),
            name: one.name.clone(),
            // What the last boot said is not what runs.
            agent_version: running(&one, one.agent_version.clone()),
            kernel_version: running(&one, one.kernel_release.clone()),
        });
        let versions = Versions {
            client: side(env!("CARGO_PKG_VERSION").into(), PROTOCOL_VERSION),
            server: server(side(daemon.version, daemon.protocol_version), machine.as_ref()),
            machine,
        };
        render::print(&single(self.format.as_deref(), &versions, || plain(&versions))?)?;
        Ok(0)
    }
}

fn server(side: Side, machine: Option<&MachineSide>) -> Server {
    let mut components = vec![Component { name: "linkspand", version: side.version.clone() }];
    let agent = machine.map(|machine| machine.agent_version.clone()).unwrap_or_default();
    if !agent.is_empty() {
        components.push(Component { name: "linkspan-agent", version: agent });
    }
    let kernel_version = machine.map(|machine| machine.kernel_version.clone()).unwrap_or_default();
    Server { platform: Platform { name: "Linkspan" }, side, kernel_version, components }
}

fn running(machine: &linkspan_proto::host::v1::Machine, text: String) -> String {
    if machine.state() == MachineState::Running { text } else { String::new() }
}

fn plain(versions: &Versions) -> String {
    let side = |name: &str, side: &Side| {
        format!(
            "{name}:\n Version:    {}\n Protocol:   {}\n OS/Arch:    {}/{}\n",
            side.version, side.protocol, side.os, side.arch
        )
    };
    let machine = match &versions.machine {
        None => "Machine:\n State:      not created yet (the first `run` creates it)\n".into(),
        Some(machine) => {
            let mut text = format!(
                "Machine:\n Name:       {}\n State:      {}\n",
                machine.name, machine.state
            );
            if !machine.agent_version.is_empty() {
                text += &format!(" Agent:      {}\n", machine.agent_version);
            }
            if !machine.kernel_version.is_empty() {
                text += &format!(" Kernel:     {}\n", machine.kernel_version);
            }
            text
        }
    };
    format!(
        "{}\n{}\n{machine}",
        side("Client (linkspan)", &versions.client),
        side("Server (linkspand)", &versions.server.side)
    )
}
