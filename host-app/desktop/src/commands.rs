//! The commands that the pages have. Each is a line or two.

use bytes::Bytes;
use linkspan_client::RawCalls;
use prost::Message as _;
use serde::Serialize;
use tauri::{
    AppHandle, State,
    ipc::{Channel, InvokeBody, InvokeResponseBody, Request, Response},
};
use tauri_plugin_opener::OpenerExt as _;

use crate::{
    calls::Calls,
    daemon::{Daemon, Presence},
    files,
    picks::{Picked, Picks, What},
    prefs::{Preferences, Prefs},
    refusal::Refusal,
};

/// Looks for the daemon; with `start` starts one when there is none.
#[tauri::command]
pub(crate) async fn daemon_connect(
    start: bool,
    daemon: State<'_, Daemon>,
) -> Result<Presence, Refusal> {
    Ok(daemon.connect(start).await)
}

/// Ends the daemon, of whatever version, and starts this program's own. Machines go on.
#[tauri::command]
pub(crate) async fn daemon_restart(daemon: State<'_, Daemon>) -> Result<Presence, Refusal> {
    Ok(daemon.restart().await)
}

#[tauri::command]
pub(crate) fn prefs_get(prefs: State<'_, Preferences>) -> Prefs {
    prefs.get()
}

#[tauri::command(async)]
pub(crate) fn prefs_set(prefs: Prefs, kept: State<'_, Preferences>) -> Result<(), Refusal> {
    Ok(kept.set(prefs)?)
}

/// Opens an address in the user's browser.
#[tauri::command]
pub(crate) async fn browse(url: url::Url, app: AppHandle) -> Result<(), Refusal> {
    if !matches!(url.scheme(), "http" | "https") {
        return Err(Refusal::misuse(format!("`{url}` is not opened: it is not on the web")));
    }
    let opened = app.opener().open_url(url.as_str(), None::<&str>);
    opened.map_err(|error| Refusal::misuse(format!("cannot open `{url}`: {error}")))
}

/// The user's choice in the system's dialog. None: nothing was chosen.
#[tauri::command]
pub(crate) async fn pick(
    what: What,
    name: String,
    app: AppHandle,
    picks: State<'_, Picks>,
) -> Result<Option<Picked>, Refusal> {
    Ok(picks.pick(&app, what, &name).await?)
}

/// Sends the bytes of a file as they are, as the byte stream that a call names.
#[tauri::command]
pub(crate) async fn archive_send(
    token: String,
    stream: String,
    daemon: State<'_, Daemon>,
    picks: State<'_, Picks>,
) -> Result<(), Refusal> {
    let (pick, id) = (picks.get(&token)?, files::stream_id(&stream)?);
    Ok(files::send_file(&daemon.client(false).await?, pick, id).await?)
}

/// Sends a file or folder as an archive.
#[tauri::command]
pub(crate) async fn tar_send(
    token: String,
    stream: String,
    daemon: State<'_, Daemon>,
    picks: State<'_, Picks>,
) -> Result<(), Refusal> {
    let (pick, id) = (picks.get(&token)?, files::stream_id(&stream)?);
    Ok(files::send_archive(&daemon.client(false).await?, pick, id).await?)
}

/// Unpacks the archive that a call sends.
#[tauri::command]
pub(crate) async fn tar_receive(
    token: String,
    stream: String,
    daemon: State<'_, Daemon>,
    picks: State<'_, Picks>,
) -> Result<(), Refusal> {
    let (pick, id) = (picks.get(&token)?, files::stream_id(&stream)?);
    Ok(files::receive_archive(&daemon.client(false).await?, pick, id).await?)
}

/// Makes a folder the context of a build, and reads the Dockerfile in it.
#[tauri::command]
pub(crate) async fn context_open(
    token: String,
    dockerfile: String,
    picks: State<'_, Picks>,
) -> Result<Recipe, Refusal> {
    Ok(files::open_context(&picks, &token, dockerfile).await?.into())
}

/// An encoded `linkspan.v1.ContextListing`.
#[tauri::command]
pub(crate) async fn context_list(
    token: String,
    folders: Vec<String>,
    picks: State<'_, Picks>,
) -> Result<Response, Refusal> {
    let listing = files::list_context(picks.get(&token)?, folders).await?;
    Ok(Response::new(listing.encode_to_vec()))
}

/// Sends the contents of files that were listed.
#[tauri::command]
pub(crate) async fn context_send(
    token: String,
    paths: Vec<String>,
    stream: String,
    daemon: State<'_, Daemon>,
    picks: State<'_, Picks>,
) -> Result<(), Refusal> {
    let (pick, id) = (picks.get(&token)?, files::stream_id(&stream)?);
    Ok(files::send_listed(&daemon.client(false).await?, pick, paths, id).await?)
}

/// What a build is told of besides its files.
#[derive(Debug, Serialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Recipe {
    dockerfile: String,
    name: String,
    ignore: String,
    ignore_name: String,
}

impl From<linkspan_local_files::Recipe> for Recipe {
    fn from(recipe: linkspan_local_files::Recipe) -> Self {
        let linkspan_local_files::Recipe { dockerfile, name, ignore, ignore_name } = recipe;
        Self { dockerfile, name, ignore, ignore_name }
    }
}

/// A call with one message each way: the body is the message, headers say which call.
#[tauri::command]
pub(crate) async fn call_unary(
    request: Request<'_>,
    daemon: State<'_, Daemon>,
) -> Result<Response, Refusal> {
    let (path, machine) = (header(&request, "path")?, header(&request, "machine")?);
    let raw = raw(&daemon, machine).await?;
    let answer = raw.unary(path, body(&request)?).await?;
    Ok(Response::new(answer.to_vec()))
}

#[tauri::command]
pub(crate) async fn call_open(
    path: String,
    machine: String,
    channel: Channel<InvokeResponseBody>,
    daemon: State<'_, Daemon>,
    calls: State<'_, Calls>,
) -> Result<u32, Refusal> {
    Ok(calls.open(raw(&daemon, &machine).await?, path, channel))
}

#[tauri::command]
pub(crate) async fn call_send(
    request: Request<'_>,
    calls: State<'_, Calls>,
) -> Result<(), Refusal> {
    let call = header(&request, "call")?;
    let call = call.parse().map_err(|_| Refusal::misuse(format!("`{call}` is not a call")))?;
    calls.send(call, body(&request)?).await
}

#[tauri::command]
pub(crate) fn call_finish(call: u32, calls: State<'_, Calls>) {
    calls.finish(call);
}

#[tauri::command]
pub(crate) fn call_more(call: u32, count: usize, calls: State<'_, Calls>) {
    calls.more(call, count);
}

#[tauri::command]
pub(crate) fn call_cancel(call: u32, calls: State<'_, Calls>) {
    calls.cancel(call);
}

/// Empty: the default machine.
async fn raw(daemon: &Daemon, machine: &str) -> Result<RawCalls, Refusal> {
    let client = daemon.client(false).await?;
    Ok(client.raw(Some(machine).filter(|name| !name.is_empty())))
}

fn header<'r>(request: &'r Request<'_>, name: &str) -> Result<&'r str, Refusal> {
    let value = request.headers().get(name).and_then(|value| value.to_str().ok());
    value.ok_or_else(|| Refusal::misuse(format!("the call has no `{name}`")))
}

fn body(request: &Request<'_>) -> Result<Bytes, Refusal> {
    match request.body() {
        InvokeBody::Raw(bytes) => Ok(Bytes::copy_from_slice(bytes)),
        InvokeBody::Json(_) => Err(Refusal::misuse("the message of a call is bytes")),
    }
}
