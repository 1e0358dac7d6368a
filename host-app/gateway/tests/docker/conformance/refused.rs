//! Answers that say no: in every version an error as it describes one, with a status that it has.

use bollard_stubs::models as schema;
use linkspan_proto::error::{ErrorCode, Failure};

use super::check::{Case, conform, one};
use crate::common::Docker;

/// What is asked, `METHOD PATH`, and its body.
type Asked = (&'static str, &'static str);

/// All that the guest is asked here.
const METHODS: [&str; 37] = [
    "Container.AwaitExit",
    "Container.Attach",
    "Container.Create",
    "Container.Inspect",
    "Container.Kill",
    "Container.List",
    "Container.Logs",
    "Container.Pause",
    "Container.Prune",
    "Container.Remove",
    "Container.Rename",
    "Container.Resize",
    "Container.Restart",
    "Container.Start",
    "Container.Stats",
    "Container.Stop",
    "Container.Top",
    "Container.Unpause",
    "Container.Update",
    "File.Changes",
    "File.Commit",
    "Image.Inspect",
    "Image.List",
    "Image.Remove",
    "Image.Tag",
    "Network.ConnectContainer",
    "Network.Create",
    "Network.DisconnectContainer",
    "Network.Inspect",
    "Network.List",
    "Network.Remove",
    "Registry.Push",
    "Registry.Search",
    "System.DiskUsage",
    "Volume.Inspect",
    "Volume.List",
    "Volume.Remove",
];

/// The guest refuses everything for this reason.
async fn are_refused(code: ErrorCode, why: &str, status: u16, asked: &'static [Asked]) {
    let docker = Docker::start();
    for method in METHODS {
        docker.engine.guest.refuse(method, Failure::new(code, why));
    }
    let case = |(request, body): &Asked| Case {
        request,
        body,
        status,
        read: one::<schema::ErrorResponse>,
        older: &[],
        nulls: &[],
    };
    conform(&docker, &asked.iter().map(case).collect::<Vec<_>>()).await;
}

#[tokio::test]
async fn what_is_missing_is_refused_as_described() {
    let asked = &[
        ("POST /containers/create", r#"{"Image":"web","Cmd":["a"]}"#),
        ("GET /containers/web/json", ""),
        ("GET /containers/web/top", ""),
        ("GET /containers/web/logs?stdout=1", ""),
        ("GET /containers/web/changes", ""),
        ("GET /containers/web/stats?stream=0", ""),
        ("POST /containers/web/resize?h=1&w=1", ""),
        ("POST /containers/web/start", ""),
        ("POST /containers/web/stop", ""),
        ("POST /containers/web/restart", ""),
        ("POST /containers/web/kill", ""),
        ("POST /containers/web/update", "{}"),
        ("POST /containers/web/rename?name=other", ""),
        ("POST /containers/web/pause", ""),
        ("POST /containers/web/unpause", ""),
        ("POST /containers/web/attach?stream=1&stdout=1", ""),
        ("POST /containers/web/wait", ""),
        ("POST /containers/web/exec", r#"{"Cmd":["a"]}"#),
        ("DELETE /containers/web", ""),
        ("POST /exec/gone/start", "{}"),
        ("POST /exec/gone/resize?h=1&w=1", ""),
        ("GET /exec/gone/json", ""),
        ("POST /commit?container=web", ""),
        ("GET /images/web/json", ""),
        ("GET /images/web/history", ""),
        ("POST /images/web/tag?repo=a", ""),
        ("DELETE /images/web", ""),
        ("GET /networks/web", ""),
        ("DELETE /networks/web", ""),
        ("POST /networks/web/connect", r#"{"Container":"web"}"#),
        ("POST /networks/web/disconnect", r#"{"Container":"web"}"#),
        ("GET /volumes/web", ""),
        ("DELETE /volumes/web", ""),
    ];
    are_refused(ErrorCode::NotFound, "no such container: `web`", 404, asked).await;
}

#[tokio::test]
async fn what_the_state_forbids_is_refused_as_described() {
    let asked = &[
        ("POST /containers/web/kill", ""),
        ("POST /containers/web/rename?name=other", ""),
        ("POST /containers/web/attach?stream=1&stdout=1", ""),
        ("POST /containers/web/exec", r#"{"Cmd":["a"]}"#),
        ("DELETE /containers/web", ""),
        ("DELETE /images/web", ""),
        ("DELETE /volumes/web", ""),
    ];
    are_refused(ErrorCode::WrongState, "it is not the time", 409, asked).await;
}

#[tokio::test]
async fn what_is_wrong_is_refused_as_described() {
    let asked = &[
        ("GET /containers/json?filters={", ""),
        ("POST /containers/create", "{"),
        ("GET /containers/web/logs", ""),
        ("POST /containers/web/attach", ""),
        ("DELETE /containers/web?link=1", ""),
        ("POST /build?version=3", "a tar"),
        ("GET /events?since=never", ""),
        ("POST /images/web/tag?repo=a", ""),
        ("POST /networks/create", "{"),
    ];
    are_refused(ErrorCode::InvalidArgument, "that is none", 400, asked).await;
}

#[tokio::test]
async fn what_fails_is_refused_as_described() {
    let asked = &[
        ("GET /info", ""),
        ("GET /containers/json", ""),
        ("GET /containers/web/json", ""),
        ("POST /containers/web/start", ""),
        ("POST /containers/prune", ""),
        ("POST /commit?container=web", ""),
        ("GET /images/json", ""),
        ("GET /images/search?term=a", ""),
        ("DELETE /images/web", ""),
        ("GET /networks", ""),
        ("POST /networks/create", r#"{"Name":"a"}"#),
        ("DELETE /networks/web", ""),
        ("GET /volumes", ""),
        ("DELETE /volumes/web", ""),
        ("GET /system/df", ""),
    ];
    are_refused(ErrorCode::Internal, "the machine is confused", 500, asked).await;
}
