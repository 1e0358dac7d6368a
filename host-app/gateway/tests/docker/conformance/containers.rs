//! `/containers` and `/exec`.

use bollard_stubs::models as schema;
use linkspan_proto::v1 as wire;

use super::{
    check::{Case, conform, conforms_now, lines, nothing, one},
    guest::{ID, THEN, docker},
};

/// What stood on the top level of `NetworkSettings` until 1.51.
const LEGACY_NETWORK: &[(&str, u16)] = &[
    ("NetworkSettings.Bridge", 51),
    ("NetworkSettings.EndpointID", 51),
    ("NetworkSettings.Gateway", 51),
    ("NetworkSettings.GlobalIPv6Address", 51),
    ("NetworkSettings.GlobalIPv6PrefixLen", 51),
    ("NetworkSettings.HairpinMode", 51),
    ("NetworkSettings.IPAddress", 51),
    ("NetworkSettings.IPPrefixLen", 51),
    ("NetworkSettings.IPv6Gateway", 51),
    ("NetworkSettings.LinkLocalIPv6Address", 51),
    ("NetworkSettings.LinkLocalIPv6PrefixLen", 51),
    ("NetworkSettings.MacAddress", 51),
    ("NetworkSettings.SecondaryIPAddresses", 51),
    ("NetworkSettings.SecondaryIPv6Addresses", 51),
];

/// Go's nil, of what a container was not asked to have.
const UNSET: &[&str] = &[
    "Config.Entrypoint",
    "Config.Volumes",
    "ExecIDs",
    "HostConfig.Binds",
    "HostConfig.CapAdd",
    "HostConfig.CapDrop",
    "HostConfig.DeviceCgroupRules",
    "HostConfig.DeviceRequests",
    "HostConfig.ExtraHosts",
    "HostConfig.GroupAdd",
    "HostConfig.Links",
    "HostConfig.MemorySwappiness",
    "HostConfig.OomKillDisable",
    "HostConfig.PidsLimit",
    "HostConfig.SecurityOpt",
    "HostConfig.VolumesFrom",
    "NetworkSettings.Networks.bridge.Aliases",
    "NetworkSettings.Networks.bridge.DriverOpts",
    "NetworkSettings.Networks.bridge.IPAMConfig",
    "NetworkSettings.Networks.bridge.Links",
    // Exposed and not published.
    "NetworkSettings.Ports.443/tcp",
];

/// Of a container in a list.
const UNSET_PLACE: &[&str] = &[
    "*.NetworkSettings.Networks.bridge.Aliases",
    "*.NetworkSettings.Networks.bridge.DriverOpts",
    "*.NetworkSettings.Networks.bridge.IPAMConfig",
    "*.NetworkSettings.Networks.bridge.Links",
];

/// What only cgroup v1 can tell.
const UNTOLD: &[&str] = &[
    "blkio_stats.io_merged_recursive",
    "blkio_stats.io_queue_recursive",
    "blkio_stats.io_service_bytes_recursive",
    "blkio_stats.io_service_time_recursive",
    "blkio_stats.io_serviced_recursive",
    "blkio_stats.io_time_recursive",
    "blkio_stats.io_wait_time_recursive",
    "blkio_stats.sectors_recursive",
];

#[tokio::test]
async fn containers_are_shown_as_described() {
    let docker = docker();
    let guest = &docker.engine.guest;
    guest.answer(
        "Container.Top",
        &wire::TopContainerResponse {
            titles: vec!["PID".into(), "CMD".into()],
            processes: vec![wire::TopRow { values: vec!["1".into(), "httpd".into()] }],
        },
    );
    let changes = [(1, "/etc"), (2, "/etc/new"), (3, "/etc/gone")];
    let changes = changes.map(|(kind, path)| wire::Change { path: path.into(), kind });
    guest.answer("File.Changes", &wire::ListChangesResponse { changes: changes.into() });
    let usage = wire::ContainerUsage {
        cpu_nanos: 5,
        system_cpu_nanos: 9,
        cpus: 2,
        memory_bytes: 1,
        memory_limit_bytes: 2,
        pids: 1,
        interfaces: vec![wire::InterfaceUsage { name: "eth0".into(), ..Default::default() }],
        ..wire::ContainerUsage::default()
    };
    let sample = |unix_nanos| wire::ContainerStatsResponse {
        containers: vec![wire::ContainerStats {
            id: ID.into(),
            name: "web".into(),
            unix_nanos,
            usage: Some(usage.clone()),
            ..wire::ContainerStats::default()
        }],
    };
    guest.answer_with("Container.Stats", &[sample(THEN), sample(THEN + 1_000_000_000)]);
    conform(
        &docker,
        &[
            Case {
                request: "GET /containers/json?all=1&size=1",
                body: "",
                status: 200,
                read: one::<Vec<schema::ContainerSummary>>,
                older: &[],
                nulls: UNSET_PLACE,
            },
            Case {
                request: "GET /containers/web/json?size=1",
                body: "",
                status: 200,
                read: one::<schema::ContainerInspectResponse>,
                older: LEGACY_NETWORK,
                nulls: UNSET,
            },
            Case {
                request: "GET /containers/web/top",
                body: "",
                status: 200,
                read: one::<schema::ContainerTopResponse>,
                older: &[],
                nulls: &[],
            },
            Case {
                request: "GET /containers/web/changes",
                body: "",
                status: 200,
                read: one::<Vec<schema::FilesystemChange>>,
                older: &[],
                nulls: &[],
            },
            Case {
                request: "GET /containers/web/stats",
                body: "",
                status: 200,
                read: lines::<schema::ContainerStatsResponse>,
                older: &[],
                nulls: UNTOLD,
            },
            Case {
                request: "GET /containers/web/stats?stream=0",
                body: "",
                status: 200,
                read: one::<schema::ContainerStatsResponse>,
                older: &[],
                nulls: UNTOLD,
            },
        ],
    )
    .await;
}

#[tokio::test]
async fn what_is_done_with_containers_is_answered_as_described() {
    let docker = docker();
    let guest = &docker.engine.guest;
    guest.add_image("busybox");
    guest.answer(
        "Container.Update",
        &wire::UpdateContainerResponse { warnings: vec!["no swap".into()] },
    );
    guest.answer(
        "Container.AwaitExit",
        &wire::WaitContainerResponse { error: "lost".into(), ..Default::default() },
    );
    guest.answer(
        "Container.Prune",
        &wire::PruneContainersResponse { ids: vec![ID.into()], reclaimed_bytes: 7 },
    );
    guest.answer("File.Commit", &wire::CommitContainerResponse { id: "sha256:1".into() });
    guest.answer("Container.Stop", &wire::StopContainerResponse { already: false });
    guest.answer_with("Container.Start", &[wire::StartContainerResponse { already: true }]);
    guest.answer_with("Container.Resize", &[wire::ResizeContainerResponse {}]);
    guest.answer_with("Container.Restart", &[wire::RestartContainerResponse {}]);
    guest.answer_with("Container.Kill", &[wire::KillContainerResponse {}]);
    guest.answer_with("Container.Rename", &[wire::RenameContainerResponse {}]);
    guest.answer_with("Container.Pause", &[wire::PauseContainerResponse {}]);
    guest.answer_with("Container.Unpause", &[wire::UnpauseContainerResponse {}]);
    guest.answer_with("Container.Remove", &[wire::RemoveContainerResponse::default()]);
    let silent =
        |request, status| Case { request, body: "", status, read: nothing, older: &[], nulls: &[] };
    conform(
        &docker,
        &[
            Case {
                request: "POST /containers/create?name=new",
                body: r#"{"Image":"busybox","HostConfig":{"Memory":8388608}}"#,
                status: 201,
                read: one::<schema::ContainerCreateResponse>,
                older: &[],
                nulls: &[],
            },
            Case {
                request: "POST /containers/web/update",
                body: r#"{"Memory":8388608}"#,
                status: 200,
                read: one::<schema::ContainerUpdateResponse>,
                older: &[],
                nulls: &[],
            },
            Case {
                request: "POST /containers/web/wait",
                body: "",
                status: 200,
                read: one::<schema::ContainerWaitResponse>,
                older: &[],
                nulls: &[],
            },
            Case {
                request: "POST /containers/prune",
                body: "",
                status: 200,
                read: one::<schema::ContainerPruneResponse>,
                older: &[],
                nulls: &[],
            },
            Case {
                request: "POST /commit?container=web&repo=a",
                body: "",
                status: 201,
                read: one::<schema::IdResponse>,
                older: &[],
                nulls: &[],
            },
            Case {
                request: "POST /containers/web/exec",
                body: r#"{"Cmd":["cat"]}"#,
                status: 201,
                read: one::<schema::IdResponse>,
                older: &[],
                nulls: &[],
            },
            silent("POST /containers/web/start", 304),
            silent("POST /containers/web/stop", 204),
            silent("POST /containers/web/restart", 204),
            silent("POST /containers/web/kill", 204),
            silent("POST /containers/web/rename?name=other", 204),
            silent("POST /containers/web/pause", 204),
            silent("POST /containers/web/unpause", 204),
            silent("POST /containers/web/resize?h=24&w=80", 200),
            silent("DELETE /containers/web", 204),
        ],
    )
    .await;
}

#[tokio::test]
async fn an_exec_is_shown_as_described() {
    let docker = docker();
    let body = r#"{"Cmd":["flood","10"],"User":"1:2","AttachStdout":true,"DetachKeys":"ctrl-a"}"#;
    let made = docker.post("/containers/web/exec", body).await;
    let id = made.is(201).json()["Id"].as_str().unwrap().to_owned();
    let case = |request: String, nulls| Case {
        // One for each test.
        request: request.leak(),
        body: "",
        status: 200,
        read: one::<schema::ExecInspectResponse>,
        older: &[],
        nulls,
    };
    let path = format!("GET /exec/{id}/json");
    conforms_now(&docker, &case(path.clone(), &["ExitCode"])).await;
    docker.post(&format!("/exec/{id}/start"), r#"{"Detach":true}"#).await.is(200);
    let ended = async {
        while docker.get(&format!("/exec/{id}/json")).await.json()["ExitCode"] != 0 {
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(std::time::Duration::from_secs(20), ended).await.expect("it ends");
    conform(&docker, &[case(path, &[])]).await;
}
