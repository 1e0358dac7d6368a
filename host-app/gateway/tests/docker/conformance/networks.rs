//! `/networks` and `/volumes`.

use bollard_stubs::models as schema;
use linkspan_proto::v1 as wire;

use super::{
    check::{Case, conform, nothing, one},
    guest::docker,
};

fn case(request: &'static str, body: &'static str, status: u16, read: Read) -> Case {
    Case { request, body, status, read, older: &[], nulls: &[] }
}

type Read = fn(&crate::common::Got) -> super::check::Read;

#[tokio::test]
async fn networks_are_answered_as_described() {
    let docker = docker();
    let guest = &docker.engine.guest;
    guest.answer("Network.Create", &wire::CreateNetworkResponse { id: "n1".into() });
    guest.answer_with("Network.ConnectContainer", &[wire::ConnectNetworkResponse {}]);
    guest.answer_with("Network.DisconnectContainer", &[wire::DisconnectNetworkResponse {}]);
    guest.answer("Network.Prune", &wire::PruneNetworksResponse { names: vec!["back".into()] });
    guest.answer("Network.Remove", &wire::RemoveNetworkResponse { id: "n1".into() });
    let container = r#"{"Container":"web"}"#;
    conform(
        &docker,
        &[
            Case {
                older: &[("*.Containers", 51)],
                ..case("GET /networks", "", 200, one::<Vec<schema::NetworkSummary>>)
            },
            case("GET /networks/back", "", 200, one::<schema::NetworkInspect>),
            case(
                "POST /networks/create",
                r#"{"Name":"back"}"#,
                201,
                one::<schema::NetworkCreateResponse>,
            ),
            case("POST /networks/back/connect", container, 200, nothing),
            case("POST /networks/back/disconnect", container, 200, nothing),
            case("POST /networks/prune", "", 200, one::<schema::NetworkPruneResponse>),
            case("DELETE /networks/back", "", 204, nothing),
        ],
    )
    .await;
}

#[tokio::test]
async fn volumes_are_answered_as_described() {
    let docker = docker();
    let guest = &docker.engine.guest;
    guest.answer_with("Volume.Remove", &[wire::RemoveVolumeResponse {}]);
    guest.answer_with(
        "Volume.Prune",
        &[wire::PruneVolumesResponse { reclaimed_bytes: 1, ..Default::default() }],
    );
    conform(
        &docker,
        &[
            Case {
                nulls: &["Volumes.*.Labels", "Volumes.*.Options", "Warnings"],
                ..case("GET /volumes", "", 200, one::<schema::VolumeListResponse>)
            },
            Case {
                nulls: &["Labels", "Options"],
                ..case("GET /volumes/data", "", 200, one::<schema::Volume>)
            },
            Case {
                nulls: &["Labels", "Options"],
                ..case("POST /volumes/create", r#"{"Name":"data"}"#, 201, one::<schema::Volume>)
            },
            case("POST /volumes/prune", "", 200, one::<schema::VolumePruneResponse>),
            case("DELETE /volumes/data", "", 204, nothing),
        ],
    )
    .await;
}
