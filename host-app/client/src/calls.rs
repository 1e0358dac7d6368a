//! The stubs, and what each call carries besides its message.

use linkspan_proto::{
    MACHINE_KEY, REQUEST_ID_KEY,
    error::{ErrorCode, Failure},
    host::v1::{
        host_service_client::HostServiceClient, machine_service_client::MachineServiceClient,
    },
    v1::{
        agent_service_client::AgentServiceClient, build_service_client::BuildServiceClient,
        container_service_client::ContainerServiceClient, event_service_client::EventServiceClient,
        file_service_client::FileServiceClient, image_service_client::ImageServiceClient,
        network_service_client::NetworkServiceClient,
        registry_service_client::RegistryServiceClient, system_service_client::SystemServiceClient,
        volume_service_client::VolumeServiceClient,
    },
};
use tonic::{
    Request, Status,
    client::Grpc,
    metadata::{Ascii, MetadataValue},
    service::{Interceptor, interceptor::InterceptedService},
    transport::Channel,
};

/// The largest message that is taken. gRPC's 4 MiB are too few for a long list or one very long
/// log line; more than this is a fault.
pub const MAX_MESSAGE_BYTES: usize = 256 * 1024 * 1024;

/// A connection that tags every call.
pub type Wire = InterceptedService<Channel, Tag>;
/// `linkspan.v1.BuildService` of one machine.
pub type BuildCalls = BuildServiceClient<Wire>;
/// `linkspan.v1.ContainerService` of one machine.
pub type ContainerCalls = ContainerServiceClient<Wire>;
/// `linkspan.v1.EventService` of one machine.
pub type EventCalls = EventServiceClient<Wire>;
/// `linkspan.v1.ImageService` of one machine.
pub type ImageCalls = ImageServiceClient<Wire>;
/// `linkspan.v1.NetworkService` of one machine.
pub type NetworkCalls = NetworkServiceClient<Wire>;
/// `linkspan.v1.RegistryService` of one machine.
pub type RegistryCalls = RegistryServiceClient<Wire>;
/// `linkspan.v1.FileService` of one machine.
pub type FileCalls = FileServiceClient<Wire>;
/// `linkspan.v1.SystemService` of one machine.
pub type SystemCalls = SystemServiceClient<Wire>;
/// `linkspan.v1.VolumeService` of one machine.
pub type VolumeCalls = VolumeServiceClient<Wire>;
/// `linkspan.v1.AgentService` of one machine.
pub type AgentCalls = AgentServiceClient<Wire>;
/// `linkspan.host.v1.MachineService`.
pub type MachineCalls = MachineServiceClient<Wire>;
/// `linkspan.host.v1.HostService`.
pub type HostCalls = HostServiceClient<Wire>;

/// Writes the machine's name and a fresh request id into a call's metadata.
#[derive(Debug, Clone, Default)]
pub struct Tag {
    machine: Option<Result<MetadataValue<Ascii>, Failure>>,
}

impl Tag {
    fn machine(name: Option<&str>) -> Self {
        let machine = name.map(|name| {
            name.parse().map_err(|_| {
                Failure::new(
                    ErrorCode::InvalidArgument,
                    format!("`{}` is not a machine's name", name.escape_debug()),
                )
            })
        });
        Self { machine }
    }
}

impl Interceptor for Tag {
    fn call(&mut self, mut request: Request<()>) -> Result<Request<()>, Status> {
        if let Some(machine) = self.machine.clone() {
            request.metadata_mut().insert(MACHINE_KEY, machine?);
        }
        if request.metadata().get(REQUEST_ID_KEY).is_none() {
            let id = uuid::Uuid::new_v4().simple().to_string();
            tracing::debug!(request = %id, "call");
            if let Ok(id) = id.parse() {
                request.metadata_mut().insert(REQUEST_ID_KEY, id);
            }
        }
        Ok(request)
    }
}

macro_rules! limits {
    ($client:expr) => {
        $client
            .max_decoding_message_size(MAX_MESSAGE_BYTES)
            .max_encoding_message_size(MAX_MESSAGE_BYTES)
    };
}

pub(crate) fn host(channel: Channel) -> HostCalls {
    limits!(HostServiceClient::with_interceptor(channel, Tag::default()))
}

pub(crate) fn machines(channel: Channel) -> MachineCalls {
    limits!(MachineServiceClient::with_interceptor(channel, Tag::default()))
}

pub(crate) fn builds(channel: Channel, machine: Option<&str>) -> BuildCalls {
    limits!(BuildServiceClient::with_interceptor(channel, Tag::machine(machine)))
}

pub(crate) fn containers(channel: Channel, machine: Option<&str>) -> ContainerCalls {
    limits!(ContainerServiceClient::with_interceptor(channel, Tag::machine(machine)))
}

pub(crate) fn events(channel: Channel, machine: Option<&str>) -> EventCalls {
    limits!(EventServiceClient::with_interceptor(channel, Tag::machine(machine)))
}

pub(crate) fn images(channel: Channel, machine: Option<&str>) -> ImageCalls {
    limits!(ImageServiceClient::with_interceptor(channel, Tag::machine(machine)))
}

pub(crate) fn networks(channel: Channel, machine: Option<&str>) -> NetworkCalls {
    limits!(NetworkServiceClient::with_interceptor(channel, Tag::machine(machine)))
}

pub(crate) fn registry(channel: Channel, machine: Option<&str>) -> RegistryCalls {
    limits!(RegistryServiceClient::with_interceptor(channel, Tag::machine(machine)))
}

pub(crate) fn files(channel: Channel, machine: Option<&str>) -> FileCalls {
    limits!(FileServiceClient::with_interceptor(channel, Tag::machine(machine)))
}

pub(crate) fn system(channel: Channel, machine: Option<&str>) -> SystemCalls {
    limits!(SystemServiceClient::with_interceptor(channel, Tag::machine(machine)))
}

pub(crate) fn volumes(channel: Channel, machine: Option<&str>) -> VolumeCalls {
    limits!(VolumeServiceClient::with_interceptor(channel, Tag::machine(machine)))
}

pub(crate) fn agent(channel: Channel, machine: Option<&str>) -> AgentCalls {
    limits!(AgentServiceClient::with_interceptor(channel, Tag::machine(machine)))
}

pub(crate) fn raw(channel: Channel, machine: Option<&str>) -> Grpc<Wire> {
    limits!(Grpc::new(InterceptedService::new(channel, Tag::machine(machine))))
}

/// An error with its causes, on one line.
pub(crate) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        let cause_text = cause.to_string();
        if !text.contains(&cause_text) {
            text.push_str(": ");
            text.push_str(&cause_text);
        }
        source = cause.source();
    }
    text
}
