//! One file a verb: arguments, the call, what is printed.

pub(crate) mod attach;
pub(crate) mod build;
pub(crate) mod builder;
pub(crate) mod commit;
pub(crate) mod completion;
mod confirm;
pub(crate) mod cp;
pub(crate) mod create;
mod credentials;
pub(crate) mod diff;
pub(crate) mod docker;
pub(crate) mod events;
pub(crate) mod exec;
pub(crate) mod export;
pub(crate) mod history;
pub(crate) mod image_prune;
pub(crate) mod images;
pub(crate) mod import;
pub(crate) mod info;
pub(crate) mod inspect;
pub(crate) mod kill;
pub(crate) mod load;
pub(crate) mod login;
pub(crate) mod logout;
pub(crate) mod logs;
pub(crate) mod machine;
pub(crate) mod man;
pub(crate) mod network;
pub(crate) mod pause;
pub(crate) mod port;
pub(crate) mod prune;
pub(crate) mod ps;
pub(crate) mod pull;
pub(crate) mod push;
pub(crate) mod registry;
pub(crate) mod rename;
pub(crate) mod restart;
pub(crate) mod rm;
pub(crate) mod rmi;
pub(crate) mod run;
pub(crate) mod save;
pub(crate) mod search;
pub(crate) mod start;
pub(crate) mod stats;
pub(crate) mod stop;
pub(crate) mod system;
pub(crate) mod tag;
pub(crate) mod top;
pub(crate) mod tour;
pub(crate) mod unpause;
pub(crate) mod update;
pub(crate) mod version;
pub(crate) mod volume;
pub(crate) mod wait;

use std::future::Future;

use linkspan_client::{Client, ContainerCalls};
use linkspan_proto::v1::{
    AttachOpen, AttachRequest, InspectContainerRequest, StdioInput, TerminalSize, attach_request,
};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;

use crate::args::container::Streams;
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::render;
use crate::terminal::detach::DetachKeys;
use crate::terminal::stdio::{self, Ended, Plan, Signals};

/// How many inputs of a process may wait to be sent.
const INPUTS: usize = 16;

/// Runs an action on each of several things, as Docker does: each success prints its line, each
/// failure is reported, and the others go on. Exit code 1 when any failed.
pub(crate) async fn for_each<F, R>(names: &[String], mut action: F) -> Outcome
where
    F: FnMut(String) -> R,
    R: Future<Output = Result<Option<String>, Error>>,
{
    let mut code = 0;
    for name in names {
        match action(name.clone()).await {
            Ok(Some(line)) => render::line(&line)?,
            Ok(None) => {}
            Err(error @ (Error::OutputClosed | Error::Exit(_))) => return Err(error),
            Err(error) => code = error.report(&mut std::io::stderr(), false),
        }
    }
    Ok(code)
}

/// How to connect with a container's own streams.
pub(crate) struct Attachment {
    /// Its id or name.
    pub(crate) container: String,
    pub(crate) streams: Streams,
    pub(crate) tty: bool,
    /// Start it when connected.
    pub(crate) start: bool,
    pub(crate) detach: DetachKeys,
    pub(crate) sig_proxy: bool,
}

/// Connects, and stays until the container or the connection ends.
///
/// # Errors
/// What the container refuses; a lost connection.
pub(crate) async fn attach(
    client: &Client,
    context: &Context,
    attachment: Attachment,
) -> Result<Ended, Error> {
    let Attachment { container, streams, tty, start, detach, sig_proxy } = attachment;
    let mut calls = client.containers(context.machine());
    let open = AttachOpen {
        container: container.clone(),
        stdin: streams.stdin,
        stdout: streams.stdout,
        stderr: streams.stderr,
        start,
        logs: false,
        size: terminal_size(tty),
        next_run: false,
    };
    let (inputs, receiver) = mpsc::channel(INPUTS);
    // The channel is new and empty: there is room for the first message.
    let _ = inputs.try_send(AttachRequest { kind: Some(attach_request::Kind::Open(open)) });
    let outputs = calls.attach(ReceiverStream::new(receiver)).await?.into_inner();
    let signals = match sig_proxy {
        true => Signals::ToContainer { calls: Box::new(calls), id: container },
        false => Signals::Own,
    };
    let plan = Plan { stdin: streams.stdin, tty, detach, signals };
    stdio::bridge(plan, inputs, attach_input, outputs).await
}

fn attach_input(input: StdioInput) -> AttachRequest {
    AttachRequest { kind: Some(attach_request::Kind::Input(input)) }
}

/// The size to begin with, when the process has a terminal.
pub(crate) fn terminal_size(tty: bool) -> Option<TerminalSize> {
    tty.then(crate::terminal::size).flatten()
}

/// Whether a container has a terminal, an open standard input, and runs.
pub(crate) struct Shape {
    pub(crate) id: String,
    pub(crate) tty: bool,
    pub(crate) open_stdin: bool,
    pub(crate) running: bool,
    pub(crate) paused: bool,
}

/// Asks for a container's shape.
///
/// # Errors
/// When there is no such container.
pub(crate) async fn shape(calls: &mut ContainerCalls, container: &str) -> Result<Shape, Error> {
    use linkspan_proto::v1::ContainerState;
    let request = InspectContainerRequest { container: container.to_owned(), size: false };
    let detail = calls.inspect(request).await?.into_inner().container.unwrap_or_default();
    let config = detail.config.unwrap_or_default();
    let summary = detail.summary.unwrap_or_default();
    Ok(Shape {
        tty: config.tty,
        open_stdin: config.open_stdin,
        running: summary.state() == ContainerState::Running,
        paused: summary.state() == ContainerState::Paused,
        id: summary.id,
    })
}
