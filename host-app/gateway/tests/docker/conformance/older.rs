//! What older versions had and what they did not: forms, not only fields.

use linkspan_proto::v1 as wire;
use serde_json::{Value, json};

use super::guest::{IMAGE, THEN, docker};

/// The first of a list at a place of the answer, in one version.
async fn at(docker: &crate::common::Docker, minor: u16, path: &str, place: &str) -> Value {
    let got = docker.get(&format!("/v1.{minor}{path}")).await;
    got.is(200).json().pointer(place).cloned().unwrap_or(Value::Null)
}

#[tokio::test]
async fn moments_have_nanoseconds_and_lists_have_seconds() {
    let docker = docker();
    let nanos = json!("2026-01-01T00:00:00.123456789Z");
    for (path, place) in [
        ("/containers/web/json", "/Created"),
        ("/containers/web/json", "/State/StartedAt"),
        ("/containers/web/json", "/State/Health/Log/0/Start"),
        ("/images/busybox/json", "/Created"),
        ("/networks/back", "/Created"),
    ] {
        assert_eq!(at(&docker, 54, path, place).await, nanos, "{path} {place}");
    }
    // Volumes have whole seconds.
    let seconds = json!("2026-01-01T00:00:00Z");
    assert_eq!(at(&docker, 54, "/volumes/data", "/CreatedAt").await, seconds);
    // What has not happened is Go's zero time.
    let never = json!("0001-01-01T00:00:00Z");
    assert_eq!(at(&docker, 54, "/containers/web/json", "/State/FinishedAt").await, never);
    let unix = json!(THEN / 1_000_000_000);
    for (path, place) in [
        ("/containers/json", "/0/Created"),
        ("/images/json", "/0/Created"),
        ("/images/busybox/history", "/0/Created"),
    ] {
        assert_eq!(at(&docker, 54, path, place).await, unix, "{path} {place}");
    }
}

#[tokio::test]
async fn fields_that_a_version_dropped_are_there_before_it() {
    let docker = docker();
    for (path, place, last) in [
        ("/containers/web/json", "/NetworkSettings/Bridge", 51),
        ("/containers/web/json", "/NetworkSettings/IPPrefixLen", 51),
        ("/images/json", "/0/VirtualSize", 43),
        ("/images/busybox/json", "/VirtualSize", 43),
        ("/info", "/BridgeNfIptables", 49),
        ("/info", "/RuncCommit/Expected", 48),
        // From 1.28 on there was an empty one in the list.
        (
            "/networks",
            "/0/Containers/3f1c0e5a7b9d2468ace013579bdf02468ace013579bdf02468ace013579bdf02",
            27,
        ),
        ("/networks", "/0/Containers", 51),
        ("/system/df", "/LayersSize", 52),
    ] {
        for minor in super::check::VERSIONS {
            let found = at(&docker, minor, path, place).await;
            assert_eq!(!found.is_null(), minor <= last, "{path} {place} in 1.{minor}: {found}");
        }
    }
}

#[tokio::test]
async fn what_a_version_did_not_know_yet_is_neither_read_nor_told() {
    let docker = docker();
    let built = wire::BuiltImage { id: IMAGE.into(), ..Default::default() };
    let built = wire::BuildResponse { kind: Some(wire::build_response::Kind::Built(built)) };
    docker.engine.guest.answer("Build.Build", &built);
    for minor in super::check::VERSIONS.filter(|minor| *minor < 52) {
        let volumes = at(&docker, minor, "/system/df?type=image", "/Volumes").await;
        assert_eq!(volumes.is_array(), minor < 42, "1.{minor}: {volumes}");
        let lines = docker.post(&format!("/v1.{minor}/build"), "a tar").await.is(200).lines();
        let has_aux = lines.iter().any(|line| line.get("aux").is_some());
        assert_eq!(has_aux, minor >= 30, "1.{minor}: {lines:?}");
    }
}
