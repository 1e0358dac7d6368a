//! The commands that the pages have. Each is a line or two.

use bytes::Bytes;
use linkspan_client::RawCalls;
use tauri::{
    AppHandle, State,
    ipc::{Channel, InvokeBody, InvokeResponseBody, Request, Response},
};
use tauri_plugin_opener::OpenerExt as _;

use crate::{
    calls::Calls,
    daemon::{Daemon, Presence},
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

/// What the pages remembered last, in this run of the app or an earlier one.
#[tauri::command(async)]
pub(crate) fn recall(kept: State<'_, Preferences>) -> Result<serde_json::Value, Refusal> {
    Ok(kept.recall()?)
}

/// Keeps what the pages want to see again when the app starts the next time.
#[tauri::command(async)]
pub(crate) fn remember(
    pages: serde_json::Value,
    kept: State<'_, Preferences>,
) -> Result<(), Refusal> {
    Ok(kept.remember(pages)?)
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
