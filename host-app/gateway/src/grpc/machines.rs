//! `linkspan.host.v1.MachineService`.

use std::sync::Arc;

use futures::{StreamExt as _, stream::BoxStream};
use linkspan_engine::{Engine, Updates};
use linkspan_proto::host::v1::{
    CreateMachineRequest, CreateMachineResponse, InspectMachineRequest, InspectMachineResponse,
    ListMachinesRequest, ListMachinesResponse, RemoveMachineRequest, RemoveMachineResponse,
    SerialLogRequest, SerialLogResponse, StartMachineRequest, StartMachineResponse,
    StopMachineRequest, StopMachineResponse, UpdateMachineRequest, UpdateMachineResponse,
    WatchMachineRequest, WatchMachineResponse, machine_service_server::MachineService,
};
use tonic::{Request, Response, Status};

pub(super) struct Machines(pub(super) Arc<dyn Engine>);

type Answers<T> = BoxStream<'static, Result<T, Status>>;

fn answers<T: 'static, U: 'static>(
    updates: Updates<T>,
    encode: impl Fn(T) -> U + Send + 'static,
) -> Response<Answers<U>> {
    Response::new(updates.map(move |update| update.map(&encode).map_err(Status::from)).boxed())
}

#[tonic::async_trait]
impl MachineService for Machines {
    async fn create(
        &self,
        request: Request<CreateMachineRequest>,
    ) -> Result<Response<CreateMachineResponse>, Status> {
        let request = request.into_inner();
        let settings = request.settings.unwrap_or_default();
        let machine = Some(self.0.create_machine(&request.name, settings).await?);
        Ok(Response::new(CreateMachineResponse { machine }))
    }

    type StartStream = Answers<StartMachineResponse>;
    async fn start(
        &self,
        request: Request<StartMachineRequest>,
    ) -> Result<Response<Self::StartStream>, Status> {
        let updates = self.0.start_machine(&request.get_ref().name).await?;
        Ok(answers(updates, |update| update))
    }

    async fn stop(
        &self,
        request: Request<StopMachineRequest>,
    ) -> Result<Response<StopMachineResponse>, Status> {
        let StopMachineRequest { name, force, stop_timeout_seconds } = request.into_inner();
        Ok(Response::new(self.0.stop_machine(&name, force, stop_timeout_seconds).await?))
    }

    async fn list(
        &self,
        _: Request<ListMachinesRequest>,
    ) -> Result<Response<ListMachinesResponse>, Status> {
        let machines = self.0.list_machines().await?;
        Ok(Response::new(ListMachinesResponse { machines }))
    }

    async fn inspect(
        &self,
        request: Request<InspectMachineRequest>,
    ) -> Result<Response<InspectMachineResponse>, Status> {
        let machine = Some(self.0.inspect_machine(&request.get_ref().name).await?);
        Ok(Response::new(InspectMachineResponse { machine }))
    }

    async fn update(
        &self,
        request: Request<UpdateMachineRequest>,
    ) -> Result<Response<UpdateMachineResponse>, Status> {
        let request = request.into_inner();
        let settings = request.settings.unwrap_or_default();
        let machine = Some(self.0.update_machine(&request.name, settings).await?);
        Ok(Response::new(UpdateMachineResponse { machine }))
    }

    async fn remove(
        &self,
        request: Request<RemoveMachineRequest>,
    ) -> Result<Response<RemoveMachineResponse>, Status> {
        let RemoveMachineRequest { name, force } = request.into_inner();
        self.0.remove_machine(&name, force).await?;
        Ok(Response::new(RemoveMachineResponse {}))
    }

    type WatchStream = Answers<WatchMachineResponse>;
    async fn watch(
        &self,
        request: Request<WatchMachineRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let updates = self.0.watch_machine(&request.get_ref().name).await?;
        Ok(answers(updates, |machine| WatchMachineResponse { machine: Some(machine) }))
    }

    type SerialLogStream = Answers<SerialLogResponse>;
    async fn serial_log(
        &self,
        request: Request<SerialLogRequest>,
    ) -> Result<Response<Self::SerialLogStream>, Status> {
        let SerialLogRequest { name, follow, tail } = request.into_inner();
        let updates = self.0.serial_log(&name, follow, tail).await?;
        Ok(answers(updates, |data| SerialLogResponse { data: data.into() }))
    }
}
