//! What concerns the engine as a whole, and what an engine is that is in no swarm.

use bollard_stubs::models as schema;
use linkspan_proto::v1 as wire;

use super::{
    check::{Case, VERSIONS, beside, conform, lines, one},
    guest::{ID, THEN, docker},
};

fn case(request: &'static str, status: u16, read: Read) -> Case {
    Case { request, body: "", status, read, older: &[], nulls: &[] }
}

type Read = fn(&crate::common::Got) -> super::check::Read;

const OLD_INFO: &[(&str, u16)] = &[
    ("BridgeNfIp6tables", 49),
    ("BridgeNfIptables", 49),
    ("ContainerdCommit.Expected", 48),
    ("InitCommit.Expected", 48),
    ("RegistryConfig.AllowNondistributableArtifactsCIDRs", 48),
    ("RegistryConfig.AllowNondistributableArtifactsHostnames", 48),
    ("RuncCommit.Expected", 48),
];

const OLD_USAGE: &[(&str, u16)] = &[
    ("BuildCache", 52),
    ("BuilderSize", 41),
    ("Containers", 52),
    ("Images", 52),
    ("LayersSize", 52),
    ("Volumes", 52),
];

/// 1.52 has both forms, but not in detail.
const OLD_DETAIL: &[(&str, u16)] = &[
    ("BuildCache", 51),
    ("BuilderSize", 41),
    ("Containers", 51),
    ("Images", 51),
    ("LayersSize", 51),
    ("Volumes", 51),
];

#[tokio::test]
async fn the_engine_is_shown_as_described() {
    let docker = docker();
    let guest = &docker.engine.guest;
    guest.answer(
        "Registry.Login",
        &wire::LoginResponse { status: "Login Succeeded".into(), ..Default::default() },
    );
    let event = wire::Event {
        unix_nanos: THEN,
        r#type: "container".into(),
        action: "die".into(),
        actor_id: ID.into(),
        attributes: [("image".into(), "busybox".into()), ("exitCode".into(), "0".into())].into(),
    };
    let event = wire::EventsResponse { kind: Some(wire::events_response::Kind::Event(event)) };
    guest.answer("Event.Events", &event);
    conform(
        &docker,
        &[
            case("GET /version", 200, one::<schema::SystemVersion>),
            Case {
                older: OLD_INFO,
                nulls: &[
                    "GenericResources",
                    "Plugins.Authorization",
                    "RegistryConfig.Mirrors",
                    "Swarm.RemoteManagers",
                    "Warnings",
                ],
                ..case("GET /info", 200, one::<schema::SystemInfo>)
            },
            Case {
                older: OLD_USAGE,
                ..case("GET /system/df", 200, one::<schema::SystemDataUsageResponse>)
            },
            Case {
                older: OLD_DETAIL,
                nulls: &[
                    "ContainerUsage.Items.*.NetworkSettings.Networks.bridge.Aliases",
                    "ContainerUsage.Items.*.NetworkSettings.Networks.bridge.DNSNames",
                    "ContainerUsage.Items.*.NetworkSettings.Networks.bridge.DriverOpts",
                    "ContainerUsage.Items.*.NetworkSettings.Networks.bridge.IPAMConfig",
                    "ContainerUsage.Items.*.NetworkSettings.Networks.bridge.Links",
                    "VolumeUsage.Items.*.Labels",
                    "VolumeUsage.Items.*.Options",
                ],
                ..case("GET /system/df?verbose=1", 200, one::<schema::SystemDataUsageResponse>)
            },
            Case {
                older: &[("from", 51), ("id", 51), ("status", 51)],
                ..case("GET /events?since=1&until=2", 200, lines::<schema::EventMessage>)
            },
            case("GET /plugins", 200, one::<Vec<schema::Plugin>>),
            Case {
                body: r#"{"username":"a","password":"b","serveraddress":"h"}"#,
                ..case("POST /auth", 200, one::<schema::AuthResponse>)
            },
        ],
    )
    .await;
}

#[tokio::test]
async fn events_come_in_the_form_that_was_asked_for() {
    let docker = docker();
    let event = wire::Event { unix_nanos: THEN, ..wire::Event::default() };
    let event = wire::EventsResponse { kind: Some(wire::events_response::Kind::Event(event)) };
    docker.engine.guest.answer_with("Event.Events", &[event.clone(), event]);
    for (accept, kind, before) in [
        ("*/*", "application/json", ""),
        ("text/html, application/x-ndjson;q=0.5", "application/x-ndjson", ""),
        ("application/jsonl", "application/jsonl", ""),
        ("application/json-seq", "application/json-seq", "\u{1e}"),
    ] {
        let request = http::Request::get("/events").header("accept", accept);
        let got = docker.whole(request.body(Default::default()).unwrap()).await;
        assert_eq!(got.is(200).header("content-type"), kind);
        let body = String::from_utf8(got.body.to_vec()).unwrap();
        let lines: Vec<&str> = body.lines().collect();
        assert_eq!(lines.len(), 2);
        for line in lines {
            let event = line.strip_prefix(before).expect("the separator");
            let event: schema::EventMessage = serde_json::from_str(event).unwrap();
            assert_eq!(event.time_nano, Some(THEN));
        }
    }
}

/// Of every path that is in the description and not served, the reason is of the description's type.
#[tokio::test]
async fn what_is_not_served_is_refused_as_described() {
    let docker = docker();
    let page = include_str!("../../../../../docs/docker-api.md");
    let (mut refused, mut wrong) = (0, Vec::new());
    for line in page.lines().filter(|line| line.starts_with("| ")) {
        let cells: Vec<&str> = line.trim_matches('|').split('|').map(str::trim).collect();
        let [method, path, answer, ..] = cells[..] else { panic!("{line}") };
        let Some(status) = answer.split_once(": ").and_then(|(status, _)| status.parse().ok())
        else {
            continue;
        };
        let path = path.trim_matches('`').replace(['{', '}'], "");
        let got = docker.call(method, &path, "").await;
        let error: schema::ErrorResponse = serde_json::from_value(got.is(status).json()).unwrap();
        assert!(!error.message.is_empty(), "{line}");
        for minor in VERSIONS {
            let got = docker.call(method, &format!("/v1.{minor}{path}"), "").await;
            wrong.extend(beside(minor, method, &path, got.is(status)));
        }
        refused += 1;
    }
    assert!(refused > 40, "{refused}");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}
