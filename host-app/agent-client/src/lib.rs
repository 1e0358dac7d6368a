//! The gRPC channel to one machine's agent, over any [`linkspan_transport::Dial`].
//!
//! Owns: the HTTP/2 connection and its windows, the Hello that begins every connection, its
//! deadline, the reconnect after a loss, and the decoding of the boot beacon. It does not: know
//! machines, decide when to boot one, or look into the messages that it carries.
//!
//! ```text
//!   no connection --a request or connect()--> dialling --HTTP/2, Hello--> live
//!        ^                                       | fails: every waiting caller gets the error
//!        +---------------------------------------+---------- the connection is lost --+
//! ```

mod beacon;
mod channel;
mod error;
#[cfg(any(test, feature = "fake"))]
pub mod fake;
mod hello;
mod patience;

pub use beacon::{BeaconError, boot_phases};
pub use channel::{AgentChannel, AgentOptions, MAX_HEADER_BYTES};
pub use error::AgentError;
pub use hello::OFFERED_FEATURES;

use linkspan_proto::v1::{
    agent_service_client::AgentServiceClient, build_service_client::BuildServiceClient,
    container_service_client::ContainerServiceClient,
    docker_api_service_client::DockerApiServiceClient, event_service_client::EventServiceClient,
    file_service_client::FileServiceClient, folder_service_client::FolderServiceClient,
    image_service_client::ImageServiceClient, network_service_client::NetworkServiceClient,
    port_service_client::PortServiceClient, registry_service_client::RegistryServiceClient,
    system_service_client::SystemServiceClient, volume_service_client::VolumeServiceClient,
};

/// `linkspan.v1.AgentService` of one agent.
pub type AgentCalls = AgentServiceClient<AgentChannel>;
/// `linkspan.v1.BuildService` of one agent.
pub type BuildCalls = BuildServiceClient<AgentChannel>;
/// `linkspan.v1.ContainerService` of one agent.
pub type ContainerCalls = ContainerServiceClient<AgentChannel>;
/// `linkspan.v1.DockerApiService` of one agent.
pub type DockerApiCalls = DockerApiServiceClient<AgentChannel>;
/// `linkspan.v1.FolderService` of one agent.
pub type FolderCalls = FolderServiceClient<AgentChannel>;
/// `linkspan.v1.ImageService` of one agent.
pub type ImageCalls = ImageServiceClient<AgentChannel>;
/// `linkspan.v1.PortService` of one agent.
pub type PortCalls = PortServiceClient<AgentChannel>;
/// `linkspan.v1.EventService` of one agent.
pub type EventCalls = EventServiceClient<AgentChannel>;
/// `linkspan.v1.FileService` of one agent.
pub type FileCalls = FileServiceClient<AgentChannel>;
/// `linkspan.v1.NetworkService` of one agent.
pub type NetworkCalls = NetworkServiceClient<AgentChannel>;
/// `linkspan.v1.RegistryService` of one agent.
pub type RegistryCalls = RegistryServiceClient<AgentChannel>;
/// `linkspan.v1.SystemService` of one agent.
pub type SystemCalls = SystemServiceClient<AgentChannel>;
/// `linkspan.v1.VolumeService` of one agent.
pub type VolumeCalls = VolumeServiceClient<AgentChannel>;

/// The largest message that is decoded here. gRPC's 4 MiB are too few for a long list.
const MAX_MESSAGE_BYTES: usize = 256 * 1024 * 1024;

impl AgentChannel {
    /// Calls on the agent itself.
    #[must_use]
    pub fn agent(&self) -> AgentCalls {
        AgentServiceClient::new(self.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// Builds.
    #[must_use]
    pub fn builds(&self) -> BuildCalls {
        BuildServiceClient::new(self.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// Calls on containers.
    #[must_use]
    pub fn containers(&self) -> ContainerCalls {
        ContainerServiceClient::new(self.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// The call by which the agent orders ports.
    #[must_use]
    pub fn ports(&self) -> PortCalls {
        PortServiceClient::new(self.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// The call by which the agent tells of programs that connect to Docker's API.
    #[must_use]
    pub fn docker_api(&self) -> DockerApiCalls {
        DockerApiServiceClient::new(self.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// The call by which the agent hears of changes in shared folders.
    #[must_use]
    pub fn folders(&self) -> FolderCalls {
        FolderServiceClient::new(self.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// Calls on images.
    #[must_use]
    pub fn images(&self) -> ImageCalls {
        ImageServiceClient::new(self.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// What happens in the machine.
    #[must_use]
    pub fn events(&self) -> EventCalls {
        EventServiceClient::new(self.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// Calls on the files of containers.
    #[must_use]
    pub fn files(&self) -> FileCalls {
        FileServiceClient::new(self.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// Calls on networks.
    #[must_use]
    pub fn networks(&self) -> NetworkCalls {
        NetworkServiceClient::new(self.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// Calls that move images between the machine and registries.
    #[must_use]
    pub fn registry(&self) -> RegistryCalls {
        RegistryServiceClient::new(self.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// Calls on all of the machine.
    #[must_use]
    pub fn system(&self) -> SystemCalls {
        SystemServiceClient::new(self.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }

    /// Calls on volumes.
    #[must_use]
    pub fn volumes(&self) -> VolumeCalls {
        VolumeServiceClient::new(self.clone()).max_decoding_message_size(MAX_MESSAGE_BYTES)
    }
}
