//! Networks, volumes, events, info, disk usage.

use linkspan_engine::Engine as _;
use linkspan_proto::{
    error::{ErrorCode, Failure},
    host::v1::{RegistryMirrorSetting, RegistrySettingsPatch},
    v1::{
        ConnectNetworkRequest, ConnectNetworkResponse, CreateNetworkRequest, CreateNetworkResponse,
        CreateVolumeRequest, CreateVolumeResponse, DisconnectNetworkRequest,
        DisconnectNetworkResponse, DiskUsageResponse, Event, EventsRequest, EventsResponse,
        InspectNetworkResponse, ListContainersResponse, ListImagesResponse, ListNetworksResponse,
        ListVolumesResponse, Network, NetworkSpec, PruneNetworksResponse, PruneVolumesRequest,
        PruneVolumesResponse, RemoveNetworkResponse, RemoveVolumeRequest, RemoveVolumeResponse,
        Volume, events_response,
    },
};
use serde_json::json;

use crate::common::Docker;

#[tokio::test]
async fn info_says_how_registries_are_reached() {
    let docker = Docker::start();
    let guest = &docker.engine.guest;
    guest.answer_with("Container.List", &[ListContainersResponse::default()]);
    guest.answer_with("Image.List", &[ListImagesResponse::default()]);
    let mirror =
        RegistryMirrorSetting { url: "https://mirror.example/".into(), authoritative: false };
    let patch = RegistrySettingsPatch {
        add_mirrors: vec![mirror],
        add_insecure: vec!["lab.example:5000".into(), "10.1.0.0/16".into()],
        https_proxy: Some("http://me:secret@proxy.example:3128".into()),
        no_proxy: Some("*.example".into()),
        ..RegistrySettingsPatch::default()
    };
    docker.engine.update_registry_settings(patch).await.unwrap();
    let info = docker.get("/info").await.is(200).json();
    let registries = &info["RegistryConfig"];
    assert_eq!(registries["Mirrors"], json!(["https://mirror.example/"]));
    assert_eq!(registries["IndexConfigs"]["lab.example:5000"]["Secure"], false);
    let networks = registries["InsecureRegistryCIDRs"].as_array().unwrap();
    assert!(networks.contains(&json!("10.1.0.0/16")), "{networks:?}");
    assert_eq!(info["HttpsProxy"], "http://xxxxx:xxxxx@proxy.example:3128");
    assert_eq!(info["NoProxy"], "*.example");
}

#[tokio::test]
async fn networks_are_made_joined_left_and_removed() {
    let docker = Docker::start();
    let guest = &docker.engine.guest;
    guest.answer("Network.Create", &CreateNetworkResponse { id: "n1".into() });
    let body =
        json!({"Name": "n", "Driver": "bridge", "IPAM": {"Config": [{"Subnet": "10.9.0.0/24"}]}});
    let made = docker.post("/networks/create", &body.to_string()).await;
    assert_eq!(made.is(201).json(), json!({"Id": "n1", "Warning": ""}));
    let spec = guest.asked::<CreateNetworkRequest>("Network.Create").remove(0).spec.unwrap();
    assert_eq!((spec.name.as_str(), spec.pools[0].subnet.as_str()), ("n", "10.9.0.0/24"));

    guest.answer_with("Network.ConnectContainer", &[ConnectNetworkResponse {}]);
    guest.answer_with("Network.DisconnectContainer", &[DisconnectNetworkResponse {}]);
    let body = r#"{"Container":"c","EndpointConfig":{"Aliases":["a"]}}"#;
    docker.post("/networks/n/connect", body).await.is(200);
    docker.post("/networks/n/disconnect", r#"{"Container":"c","Force":true}"#).await.is(200);
    let joined = guest.asked::<ConnectNetworkRequest>("Network.ConnectContainer").remove(0);
    assert_eq!(joined.endpoint.unwrap().aliases, ["a"]);
    let left = guest.asked::<DisconnectNetworkRequest>("Network.DisconnectContainer").remove(0);
    assert_eq!((left.container.as_str(), left.network.as_str()), ("c", "n"));

    let network = Network {
        id: "n1".into(),
        spec: Some(NetworkSpec { name: "n".into(), ..NetworkSpec::default() }),
        ..Network::default()
    };
    guest.answer("Network.List", &ListNetworksResponse { networks: vec![network.clone()] });
    guest.answer("Network.Inspect", &InspectNetworkResponse { network: Some(network) });
    assert_eq!(docker.get("/networks").await.is(200).json()[0]["Name"], "n");
    assert_eq!(docker.get("/networks/n").await.is(200).json()["Containers"], json!({}));
    docker.get("/networks/n?scope=swarm").await.refuses(404, "network n not found");
    guest.answer("Network.Prune", &PruneNetworksResponse { names: vec!["n".into()] });
    let pruned = docker.post("/networks/prune", "").await;
    assert_eq!(pruned.is(200).json(), json!({"NetworksDeleted": ["n"]}));
    guest.answer("Network.Remove", &RemoveNetworkResponse { id: "n1".into() });
    docker.call("DELETE", "/networks/n", "").await.is(204);
    guest.refuse("Network.Remove", Failure::new(ErrorCode::NotFound, "no such network: `x`"));
    docker.call("DELETE", "/networks/x", "").await.refuses(404, "network x not found");
    guest.refuse("Network.Remove", Failure::new(ErrorCode::InUse, "containers are in it"));
    docker.call("DELETE", "/networks/n", "").await.is(403);
}

#[tokio::test]
async fn volumes_are_made_listed_and_removed() {
    let docker = Docker::start();
    let guest = &docker.engine.guest;
    let volume = Volume { name: "v".into(), driver: "local".into(), ..Volume::default() };
    guest.answer("Volume.Create", &CreateVolumeResponse { volume: Some(volume.clone()) });
    let made = docker.post("/volumes/create", r#"{"Name":"v","Labels":{"a":"b"}}"#).await;
    assert_eq!(made.is(201).json()["Name"], "v");
    assert_eq!(guest.asked::<CreateVolumeRequest>("Volume.Create")[0].labels["a"], "b");
    guest.answer("Volume.List", &ListVolumesResponse { volumes: vec![volume] });
    let list = docker.get("/volumes").await.is(200).json();
    assert_eq!((&list["Volumes"][0]["Name"], &list["Warnings"]), (&json!("v"), &json!(null)));
    guest.answer_with("Volume.Remove", &[RemoveVolumeResponse {}]);
    docker.call("DELETE", "/volumes/v?force=1", "").await.is(204);
    assert!(guest.asked::<RemoveVolumeRequest>("Volume.Remove")[0].force);
    guest.refuse("Volume.Inspect", Failure::new(ErrorCode::NotFound, "no such volume: `x`"));
    docker.get("/volumes/x").await.refuses(404, "get x: no such volume");
    // Before 1.42 a prune took all that nobody has.
    guest.answer_with(
        "Volume.Prune",
        &[PruneVolumesResponse { reclaimed_bytes: 1, ..Default::default() }],
    );
    for (path, all) in [
        ("/v1.41/volumes/prune", true),
        ("/v1.42/volumes/prune", false),
        ("/v1.42/volumes/prune?filters=%7B%22all%22%3A%5B%221%22%5D%7D", true),
    ] {
        docker.post(path, "").await.is(200);
        let asked = guest.asked::<PruneVolumesRequest>("Volume.Prune").pop().unwrap();
        assert_eq!((asked.all, asked.filters.len()), (all, 0), "{path}");
    }
}

#[tokio::test]
async fn events_are_lines_in_the_shape_of_their_version() {
    let docker = Docker::start();
    let guest = &docker.engine.guest;
    let event = Event {
        unix_nanos: 1_000_000_005,
        r#type: "container".into(),
        action: "die".into(),
        actor_id: "c0ffee".into(),
        ..Event::default()
    };
    let lost = EventsResponse { kind: Some(events_response::Kind::Missed(3)) };
    let event = EventsResponse { kind: Some(events_response::Kind::Event(event)) };
    guest.answer_with("Event.Events", &[lost, event]);
    let path = "/v1.43/events?since=1&until=2.5&filters=%7B%22event%22%3A%7B%22die%22%3Atrue%7D%7D";
    let lines = docker.get(path).await.is(200).lines();
    assert_eq!(lines.len(), 1);
    assert_eq!((&lines[0]["Action"], &lines[0]["status"]), (&json!("die"), &json!("die")));
    let asked: EventsRequest = guest.asked("Event.Events").remove(0);
    assert_eq!((asked.since_unix_nanos, asked.until_unix_nanos), (1_000_000_000, 2_500_000_000));
    assert_eq!(asked.filters, ["event=die"]);
    // From the beginning is not the same as from now on, which is 0 in the contract.
    docker.get("/v1.43/events?since=0&until=1").await.is(200);
    let asked: EventsRequest = guest.asked("Event.Events").remove(1);
    assert_eq!((asked.since_unix_nanos, asked.until_unix_nanos), (1, 1_000_000_000));
}

#[tokio::test]
async fn a_listener_hears_that_it_listens_before_anything_happens() {
    let docker = Docker::start();
    docker.engine.guest.hold("Event.Events");
    let request = http::Request::get("/events").body(Default::default()).unwrap();
    let response = docker.send(request).await;
    assert_eq!(response.status(), 200);
}

#[tokio::test]
async fn info_and_disk_usage_are_of_the_machine() {
    let docker = Docker::start();
    let info = docker.get("/info").await.is(200).json();
    assert_eq!(
        (&info["Name"], &info["OSType"], &info["Containers"]),
        (&json!("default"), &json!("linux"), &json!(0))
    );
    docker.engine.guest.answer_with(
        "System.DiskUsage",
        &[DiskUsageResponse { layers_bytes: 9, ..Default::default() }],
    );
    let df = docker.get("/v1.43/system/df?type=image").await.is(200).json();
    assert_eq!(df["LayersSize"], 9);
    docker.get("/system/df?type=x").await.refuses(400, "unknown object type: x");
}
