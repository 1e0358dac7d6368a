//! The faces: one file a service. A handler decodes, calls, encodes.

mod agent;
mod builds;
mod containers;
pub(crate) mod convert;
mod docker_api;
mod events;
mod files;
mod folders;
mod images;
mod logs;
mod mounts;
mod networks;
pub(crate) mod ports;
mod registry;
mod stdio;
mod system;
mod volumes;

use std::{path::PathBuf, sync::Arc};

pub(crate) use images::archive_format;

use linkspan_containers::{Containers, launch::Launcher, volumes::Volumes};
use linkspan_images::{Digest, Store};
use linkspan_net::Networks;
use linkspan_proto::{
    error::Failure,
    v1::{
        agent_service_server::AgentServiceServer, build_service_server::BuildServiceServer,
        container_service_server::ContainerServiceServer,
        docker_api_service_server::DockerApiServiceServer,
        event_service_server::EventServiceServer, file_service_server::FileServiceServer,
        folder_service_server::FolderServiceServer, image_service_server::ImageServiceServer,
        network_service_server::NetworkServiceServer, port_service_server::PortServiceServer,
        registry_service_server::RegistryServiceServer, system_service_server::SystemServiceServer,
        volume_service_server::VolumeServiceServer,
    },
};
use linkspan_sys::boot::BootCalls;
use tonic::{Status, service::Routes};

use crate::{
    boot::timeline::Timeline, builds::Builds, console::Journal, docker_api::DockerApi,
    folders::Folders, ports::Ports, power::Power, registries::Registries, streams::Streams,
};

/// A message may carry an inspect result or a batch of log lines; archives do not travel so.
const MAX_MESSAGE: usize = 16 << 20;

/// Everything that the faces call. Cheap to clone.
#[derive(Clone)]
pub struct Guest {
    /// The folder of the data disk.
    pub data: PathBuf,
    /// The containers.
    pub containers: Containers,
    /// The volumes.
    pub volumes: Arc<Volumes>,
    /// The images.
    pub images: Arc<Store>,
    /// Builds.
    pub builds: Builds,
    /// Where images come from.
    pub registries: Registries,
    /// The networks.
    pub networks: Arc<Networks>,
    /// For the machine's own shell.
    pub shell: Arc<dyn Shell>,
    /// For signals and sizes of the shell.
    pub launcher: Arc<dyn Launcher>,
    /// Published ports.
    pub ports: Ports,
    /// Shared folders that are watched.
    pub folders: Folders,
    /// Programs that connect to Docker's API.
    pub docker_api: DockerApi,
    /// Byte streams.
    pub streams: Streams,
    /// How this boot went.
    pub timeline: Timeline,
    /// The agent's log.
    pub journal: Journal,
    /// The way out.
    pub power: Arc<dyn Power>,
    /// Sets the clock when it has drifted.
    pub kernel: Arc<dyn BootCalls>,
    /// Names this boot.
    pub boot_id: Arc<str>,
}

impl Guest {
    /// Whether a container stands on a layer, or a build may find it again.
    pub(crate) fn uses_layer(&self, layer: &Digest) -> bool {
        self.containers.uses_layer(&layer.to_string()) || self.builds.builder.uses_layer(layer)
    }
}

/// Starts a process in the VM itself.
pub trait Shell: Send + Sync + 'static {
    /// Blocks.
    ///
    /// # Errors
    /// When the program cannot be started.
    fn spawn(&self, request: &ShellSpec) -> Result<linkspan_containers::launch::Launched, Failure>;
}

/// What the machine's shell is asked to run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ShellSpec {
    /// Never empty.
    pub args: Vec<String>,
    /// KEY=VALUE beside the defaults.
    pub env: Vec<String>,
    /// A terminal of this size.
    pub terminal: Option<(u16, u16)>,
}

/// All services, for any transport.
#[must_use]
pub fn services(guest: Guest) -> Routes {
    let mut routes = Routes::builder();
    routes
        .add_service(
            AgentServiceServer::new(agent::Face(guest.clone()))
                .max_decoding_message_size(MAX_MESSAGE),
        )
        .add_service(
            BuildServiceServer::new(builds::Face(guest.clone()))
                .max_decoding_message_size(MAX_MESSAGE),
        )
        .add_service(
            ContainerServiceServer::new(containers::Face(guest.clone()))
                .max_decoding_message_size(MAX_MESSAGE),
        )
        .add_service(
            DockerApiServiceServer::new(docker_api::Face(guest.clone()))
                .max_decoding_message_size(MAX_MESSAGE),
        )
        .add_service(
            EventServiceServer::new(events::Face(guest.clone()))
                .max_decoding_message_size(MAX_MESSAGE),
        )
        .add_service(
            FileServiceServer::new(files::Face(guest.clone()))
                .max_decoding_message_size(MAX_MESSAGE),
        )
        .add_service(
            FolderServiceServer::new(folders::Face(guest.clone()))
                .max_decoding_message_size(MAX_MESSAGE),
        )
        .add_service(
            VolumeServiceServer::new(volumes::Face(guest.clone()))
                .max_decoding_message_size(MAX_MESSAGE),
        )
        .add_service(
            ImageServiceServer::new(images::Face(guest.clone()))
                .max_decoding_message_size(MAX_MESSAGE),
        )
        .add_service(
            NetworkServiceServer::new(networks::Face(guest.clone()))
                .max_decoding_message_size(MAX_MESSAGE),
        )
        .add_service(
            RegistryServiceServer::new(registry::Face(guest.clone()))
                .max_decoding_message_size(MAX_MESSAGE),
        )
        .add_service(
            SystemServiceServer::new(system::Face(guest.clone()))
                .max_decoding_message_size(MAX_MESSAGE),
        )
        .add_service(
            PortServiceServer::new(ports::Face(guest)).max_decoding_message_size(MAX_MESSAGE),
        );
    routes.routes()
}

/// Runs synchronous work; a panic in it is an internal error of this call only.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Status> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => result.map_err(Status::from),
        Err(error) => Err(Failure::new(
            linkspan_proto::error::ErrorCode::Internal,
            format!("the agent failed: {error}"),
        )
        .into()),
    }
}
