//! `linkspan.host.v1` on the daemon's own socket.

use crate::common::Daemon;
use linkspan_proto::{
    PROTOCOL_VERSION,
    error::{ErrorCode, Failure},
    host::v1::{
        CreateMachineRequest, HostHelloRequest, HostShutdownRequest, InspectMachineRequest,
        ListMachinesRequest, MachineSettingsPatch, MachineState, SerialLogRequest,
        StartMachineRequest, StopMachineRequest, WatchMachineRequest,
        host_service_client::HostServiceClient, machine_service_client::MachineServiceClient,
    },
};
use tonic::Code;

#[tokio::test]
async fn hello_says_versions_and_shutdown_reaches_the_engine() {
    let daemon = Daemon::start();
    let mut host = HostServiceClient::new(daemon.client().await);
    let hello = host.hello(HostHelloRequest::default()).await.unwrap().into_inner();
    assert_eq!((hello.protocol_version, hello.pid), (PROTOCOL_VERSION, std::process::id()));
    host.shutdown(HostShutdownRequest::default()).await.unwrap();
    assert!(daemon.engine.ended.is_cancelled());
}

#[tokio::test]
async fn machines_are_made_started_watched_and_stopped() {
    let daemon = Daemon::start();
    let mut machines = MachineServiceClient::new(daemon.client().await);
    let settings = MachineSettingsPatch { cpus: Some(3), ..MachineSettingsPatch::default() };
    let request = CreateMachineRequest { name: "box".into(), settings: Some(settings) };
    let made = machines.create(request).await.unwrap().into_inner().machine.unwrap();
    assert_eq!(made.settings.unwrap().cpus, 3);

    let request = StartMachineRequest { name: "box".into() };
    let mut updates = machines.start(request).await.unwrap().into_inner();
    let mut last = None;
    while let Some(update) = updates.message().await.unwrap() {
        last = update.machine;
    }
    assert_eq!(last.unwrap().state(), MachineState::Running);

    let request = WatchMachineRequest { name: "box".into() };
    let mut watch = machines.watch(request).await.unwrap().into_inner();
    let now = watch.message().await.unwrap().unwrap().machine.unwrap();
    assert_eq!(now.state(), MachineState::Running);

    let request = StopMachineRequest { name: "box".into(), force: true, ..Default::default() };
    assert!(machines.stop(request).await.unwrap().into_inner().killed);
    let listed = machines.list(ListMachinesRequest {}).await.unwrap().into_inner().machines;
    assert_eq!(
        listed.iter().map(|machine| machine.name.as_str()).collect::<Vec<_>>(),
        ["box", "default"]
    );

    let request = SerialLogRequest { name: "box".into(), ..SerialLogRequest::default() };
    let mut log = machines.serial_log(request).await.unwrap().into_inner();
    assert_eq!(log.message().await.unwrap().unwrap().data, "serial\n");
}

#[tokio::test]
async fn a_failure_of_the_engine_arrives_with_its_hint() {
    let daemon = Daemon::start();
    let mut machines = MachineServiceClient::new(daemon.client().await);
    let request = InspectMachineRequest { name: "nowhere".into() };
    let failure = Failure::from(machines.inspect(request).await.unwrap_err());
    assert_eq!(failure.code, ErrorCode::NotFound);
    assert!(failure.hint.is_some());
}

#[tokio::test]
async fn a_service_that_nobody_has_is_unimplemented() {
    let daemon = Daemon::start();
    let channel = daemon.client().await;
    for path in ["/linkspan.host.v1.Nobody/Nothing", "/linkspan.v1.Nobody/Nothing"] {
        let mut grpc = tonic::client::Grpc::new(channel.clone());
        grpc.ready().await.unwrap();
        let codec = tonic_prost::ProstCodec::<HostHelloRequest, HostHelloRequest>::default();
        let request = tonic::Request::new(HostHelloRequest::default());
        let status = grpc.unary(request, path.parse().unwrap(), codec).await.unwrap_err();
        assert_eq!(status.code(), Code::Unimplemented, "{path}");
    }
}
