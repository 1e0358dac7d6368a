//! Answers that a test lays down, for the services that the fake has no behaviour of its own for.
//! Methods are named `Service.Method` (`Network.List`).

use std::time::Duration;

use futures::{StreamExt as _, stream::BoxStream};
use linkspan_proto::{
    error::Failure,
    v1::{
        self as wire, event_service_server::EventService, file_service_server::FileService,
        network_service_server::NetworkService, system_service_server::SystemService,
        volume_service_server::VolumeService,
    },
};
use linkspan_transport::BoxStream as Connection;
use prost::Message;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tonic::{Request, Response, Status};

use super::{CountOnDrop, FakeGuest, images::parse_id, not_in_the_fake};

/// Messages, encoded, or why there are none.
pub(super) type Canned = Result<Vec<Vec<u8>>, Failure>;

/// How long a byte stream may be on its way.
const ARRIVAL: Duration = Duration::from_secs(10);

pub(super) type Answers<T> = BoxStream<'static, Result<T, Status>>;

impl FakeGuest {
    /// What a method answers from now on.
    pub fn answer<T: Message>(&self, method: &'static str, answer: &T) {
        self.answer_with(method, std::slice::from_ref(answer));
    }

    /// What a method that streams answers from now on, before it ends.
    pub fn answer_with<T: Message>(&self, method: &'static str, answers: &[T]) {
        let answers = answers.iter().map(Message::encode_to_vec).collect();
        self.0.canned.lock().insert(method, Ok(answers));
    }

    /// Why a method fails from now on.
    pub fn refuse(&self, method: &'static str, why: Failure) {
        self.0.canned.lock().insert(method, Err(why));
    }

    /// A method that streams answers nothing and does not end. `cancelled` counts who leaves.
    pub fn hold(&self, method: &'static str) {
        self.answer_with::<()>(method, &[]);
        self.0.held.lock().insert(method);
    }

    /// What a method was asked, in order.
    #[must_use]
    pub fn asked<T: Message + Default>(&self, method: &str) -> Vec<T> {
        let asked = self.0.asked.lock();
        let of_it = asked.iter().filter(|(name, _)| *name == method);
        of_it.filter_map(|(_, request)| T::decode(request.as_slice()).ok()).collect()
    }

    /// What byte streams to the guest have brought, and what those from it will bring.
    pub fn content(&self) -> impl std::ops::DerefMut<Target = Vec<u8>> + use<'_> {
        self.0.content.lock()
    }

    pub(super) fn has(&self, method: &str) -> bool {
        self.0.canned.lock().contains_key(method)
    }

    pub(super) fn canned<Q: Message, A: Message + Default>(
        &self,
        method: &'static str,
        request: &Request<Q>,
    ) -> Result<Response<A>, Status> {
        let mut all = self.messages(method, request)?;
        if all.is_empty() { Err(not_in_the_fake(method)) } else { Ok(Response::new(all.remove(0))) }
    }

    pub(super) fn canned_stream<Q: Message, A: Message + Default + 'static>(
        &self,
        method: &'static str,
        request: &Request<Q>,
    ) -> Result<Response<Answers<A>>, Status> {
        let all = self.messages(method, request)?.into_iter().map(Ok);
        if self.0.held.lock().contains(method) {
            let guard = CountOnDrop(self.0.clone());
            let never = futures::stream::once(async move {
                let _guard = guard;
                std::future::pending().await
            });
            return Ok(Response::new(never.boxed()));
        }
        Ok(Response::new(futures::stream::iter(all).boxed()))
    }

    /// The first message of a call that the fake answers in its own way, unless it is to fail.
    pub(super) fn hear<Q: Message>(&self, method: &'static str, first: &Q) -> Result<(), Status> {
        self.0.asked.lock().push((method, first.encode_to_vec()));
        match self.0.canned.lock().get(method) {
            Some(Err(why)) => Err(why.clone().into()),
            _ => Ok(()),
        }
    }

    fn messages<Q: Message, A: Message + Default>(
        &self,
        method: &'static str,
        request: &Request<Q>,
    ) -> Result<Vec<A>, Status> {
        self.record(method, request);
        self.0.asked.lock().push((method, request.get_ref().encode_to_vec()));
        let canned = self.0.canned.lock().get(method).cloned();
        let all = canned.ok_or_else(|| not_in_the_fake(method))??;
        let decode = |bytes: Vec<u8>| {
            A::decode(bytes.as_slice()).map_err(|error| Status::internal(error.to_string()))
        };
        all.into_iter().map(decode).collect()
    }

    /// The byte stream of that id, when it arrives.
    pub(super) async fn arrival(&self, id: &str) -> Result<Connection, Status> {
        let id = parse_id(id).ok_or_else(|| Status::invalid_argument("stream_id is not a uuid"))?;
        let mut arrivals = self.0.arrivals.subscribe();
        let arrival = async {
            loop {
                arrivals.mark_unchanged();
                if let Some(stream) = self.0.streams.lock().remove(&id) {
                    return Ok(stream);
                }
                if arrivals.changed().await.is_err() {
                    return Err(Status::internal("the fake has ended"));
                }
            }
        };
        let late = |_| Status::deadline_exceeded("no byte stream arrives");
        tokio::time::timeout(ARRIVAL, arrival).await.map_err(late)?
    }

    pub(super) async fn give(&self, id: &str) -> Result<(), Status> {
        let mut stream = self.arrival(id).await?;
        let content = self.content().clone();
        let given = async {
            stream.write_all(&content).await?;
            stream.shutdown().await
        };
        given.await.map_err(|error: std::io::Error| Status::data_loss(error.to_string()))
    }

    pub(super) async fn take(&self, id: &str) -> Result<(), Status> {
        let mut stream = self.arrival(id).await?;
        let mut content = Vec::new();
        let taken = stream.read_to_end(&mut content).await;
        taken.map_err(|error| Status::data_loss(error.to_string()))?;
        *self.content() = content;
        Ok(())
    }
}

/// A service whose methods answer what was laid down.
macro_rules! service {
    ($trait:ident $service:literal:
        $($method:ident $name:literal ($request:ident) -> $answer:ident;)*
        { $($more:tt)* }
    ) => {
        #[async_trait::async_trait]
        impl $trait for FakeGuest {
            $(async fn $method(
                &self,
                request: Request<wire::$request>,
            ) -> Result<Response<wire::$answer>, Status> {
                self.canned(concat!($service, ".", $name), &request)
            })*
            $($more)*
        }
    };
}

service! { NetworkService "Network":
    create "Create" (CreateNetworkRequest) -> CreateNetworkResponse;
    list "List" (ListNetworksRequest) -> ListNetworksResponse;
    inspect "Inspect" (InspectNetworkRequest) -> InspectNetworkResponse;
    remove "Remove" (RemoveNetworkRequest) -> RemoveNetworkResponse;
    prune "Prune" (PruneNetworksRequest) -> PruneNetworksResponse;
    connect_container "ConnectContainer" (ConnectNetworkRequest) -> ConnectNetworkResponse;
    disconnect_container "DisconnectContainer" (DisconnectNetworkRequest) -> DisconnectNetworkResponse;
    {}
}

service! { VolumeService "Volume":
    create "Create" (CreateVolumeRequest) -> CreateVolumeResponse;
    list "List" (ListVolumesRequest) -> ListVolumesResponse;
    inspect "Inspect" (InspectVolumeRequest) -> InspectVolumeResponse;
    remove "Remove" (RemoveVolumeRequest) -> RemoveVolumeResponse;
    prune "Prune" (PruneVolumesRequest) -> PruneVolumesResponse;
    {}
}

service! { SystemService "System":
    disk_usage "DiskUsage" (DiskUsageRequest) -> DiskUsageResponse;
    {}
}

service! { EventService "Event":
    {
        type EventsStream = Answers<wire::EventsResponse>;
        async fn events(
            &self,
            request: Request<wire::EventsRequest>,
        ) -> Result<Response<Self::EventsStream>, Status> {
            self.canned_stream("Event.Events", &request)
        }
    }
}

// Archives are what `content` has.
service! { FileService "File":
    stat "Stat" (StatPathRequest) -> StatPathResponse;
    list "List" (ListFolderRequest) -> ListFolderResponse;
    changes "Changes" (ListChangesRequest) -> ListChangesResponse;
    commit "Commit" (CommitContainerRequest) -> CommitContainerResponse;
    {
        async fn copy_out(
            &self,
            request: Request<wire::CopyOutRequest>,
        ) -> Result<Response<wire::CopyOutResponse>, Status> {
            let answer = self.canned("File.CopyOut", &request)?;
            self.give(&request.get_ref().stream_id).await?;
            Ok(answer)
        }

        async fn copy_in(
            &self,
            request: Request<wire::CopyInRequest>,
        ) -> Result<Response<wire::CopyInResponse>, Status> {
            let answer = self.canned("File.CopyIn", &request)?;
            self.take(&request.get_ref().stream_id).await?;
            Ok(answer)
        }

        async fn export(
            &self,
            request: Request<wire::ExportContainerRequest>,
        ) -> Result<Response<wire::ExportContainerResponse>, Status> {
            let answer = self.canned("File.Export", &request)?;
            self.give(&request.get_ref().stream_id).await?;
            Ok(answer)
        }
    }
}
