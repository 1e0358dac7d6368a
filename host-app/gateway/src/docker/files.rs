//! The files of containers: archives, changes, export, commit.

use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use linkspan_agent_client::AgentChannel;
use linkspan_docker_types::{container::answers, header};
use linkspan_proto::v1::{
    self as wire, CopyInRequest, CopyOutRequest, ExportContainerRequest, ListChangesRequest,
    StatPathRequest,
};

use super::{
    answer::{Absent as _, Answer, Outcome, Refusal, empty, ok, stream},
    bulk,
    call::Call,
    containers::{detail, no_such},
};

const PATH_STAT: HeaderName = HeaderName::from_static(header::PATH_STAT);
const TAR: &str = "application/x-tar";

fn path(call: &Call) -> Result<String, Refusal> {
    match call.text("path") {
        "" => Err(Refusal::bad("bad parameter: path cannot be empty")),
        path => Ok(path.to_owned()),
    }
}

/// What is at the path: as it is, a symbolic link at its end not followed.
async fn stat(
    agent: &AgentChannel,
    container: &str,
    path: &str,
    follow: bool,
) -> Result<wire::PathStat, Refusal> {
    let request = StatPathRequest { container: container.into(), path: path.into(), follow };
    let found = agent.files().stat(request).await.absent(|| no_such(container))?;
    found.stat.ok_or_else(|| {
        let message = format!("Could not find the file {path} in container {container}");
        Refusal::new(StatusCode::NOT_FOUND, message)
    })
}

fn stat_header(stat: &wire::PathStat) -> Result<HeaderMap, Refusal> {
    let text = header::path_stat(stat);
    let value = HeaderValue::from_str(&text).map_err(|error| Refusal::bad(error.to_string()))?;
    Ok([(PATH_STAT, value)].into_iter().collect())
}

pub(super) async fn head_archive(call: Call) -> Outcome {
    let (container, path) = (call.name("name"), path(&call)?);
    let stat = stat(&call.agent().await?, &container, &path, false).await?;
    let mut response = empty(StatusCode::OK);
    response.headers_mut().extend(stat_header(&stat)?);
    Ok(Answer::Response(response))
}

pub(super) async fn get_archive(call: Call) -> Outcome {
    let (container, path) = (call.name("name"), path(&call)?);
    let agent = call.agent().await?;
    let stat = stat(&agent, &container, &path, false).await?;
    let headers = stat_header(&stat)?;
    let name = archive_name(&path, &stat.name);
    let mut files = agent.files();
    let chunks = bulk::download(&agent, move |stream_id| async move {
        let request = CopyOutRequest { container, path, follow: false, name, stream_id };
        files.copy_out(request).await
    })
    .await?;
    let mut response = stream(TAR, chunks);
    response.headers_mut().extend(headers);
    Ok(Answer::Response(response))
}

pub(super) async fn put_archive(call: Call) -> Outcome {
    let (container, path) = (call.name("name"), path(&call)?);
    let keep_owner = call.flag("copyUIDGID");
    let replace_kinds = !call.flag("noOverwriteDirNonDir");
    let agent = call.agent().await?;
    let found = stat(&agent, &container, &path, true).await?;
    if !is_folder(found.mode) {
        return Err(Refusal::bad(format!("extraction point is not a directory: {path}")));
    }
    let mut calls = agent.files();
    let copied = bulk::upload(&agent, call.reader(), |stream_id| async move {
        let request = CopyInRequest { container, path, keep_owner, stream_id, replace_kinds };
        calls.copy_in(request).await
    });
    copied.await?;
    Ok(Answer::Response(empty(StatusCode::OK)))
}

pub(super) async fn changes(call: Call) -> Outcome {
    let container = call.name("name");
    let request = ListChangesRequest { container: container.clone() };
    let found =
        call.agent().await?.files().changes(request).await.absent(|| no_such(&container))?;
    ok(&answers::changes(found))
}

pub(super) async fn export(call: Call) -> Outcome {
    let container = call.name("name");
    let agent = call.agent().await?;
    detail(&agent, &container, false).await?;
    let mut files = agent.files();
    let chunks = bulk::download(&agent, move |stream_id| async move {
        files.export(ExportContainerRequest { container, stream_id }).await
    })
    .await?;
    Ok(stream("application/octet-stream", chunks).into())
}

/// st_mode of a folder (inode(7)).
fn is_folder(mode: u32) -> bool {
    mode & 0o170_000 == 0o040_000
}

/// What the archive's top entry is called. `/dir/.` is what is in the folder.
fn archive_name(path: &str, name: &str) -> String {
    match path.rsplit('/').next() {
        Some(".") => ".".to_owned(),
        _ => name.to_owned(),
    }
}
