//! The caller's side of a build: answers what the agent asks for.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use linkspan_client::{Client, new_stream_id};
use linkspan_local_files::{Context as LocalFolder, FilesError};
use linkspan_proto::error::{ErrorCode, Failure};
use linkspan_proto::v1::{
    BuildContext, BuildOpen, BuildRequest, BuiltImage, ContextListing, FilesWanted, ImagesReady,
    ImagesWanted, ListContext, ProvideImageRequest, PullImageRequest, SshWanted, build_request,
    build_response::Kind,
};
use tokio::io::AsyncReadExt as _;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::io::SyncIoBridge;

use super::context::{Files, Source};
use super::display::Display;
use super::output::{self, Output};
use super::ssh::Agents;
use crate::commands::pull;
use crate::context::Context;
use crate::error::Error;
use crate::transfer::Where;

/// Entries of one message.
const ENTRIES: usize = 4096;
/// Bytes of contents between the disk and the stream.
const AHEAD: usize = 1 << 20;
/// How long the call's own error may take when the byte stream breaks off.
const CALLS_OWN_WORD: Duration = Duration::from_secs(5);

/// What is built.
pub(super) struct Asked {
    pub(super) open: BuildOpen,
    pub(super) source: Source,
    pub(super) contexts: HashMap<String, BuildContext>,
    pub(super) output: Output,
    pub(super) agents: Agents,
}

struct Caller<'a> {
    client: &'a Client,
    context: &'a Context,
    requests: mpsc::Sender<BuildRequest>,
    folder: Option<Arc<Mutex<LocalFolder>>>,
    pull: bool,
    agents: Agents,
    /// Contents under way, and what became of them.
    uploads: tokio::task::JoinSet<Result<(), Error>>,
}

/// Builds. Answers the image, and how many warnings there were.
pub(super) async fn run(
    client: &Client,
    context: &Context,
    asked: Asked,
    display: &mut Display,
) -> Result<(BuiltImage, usize), Error> {
    let Asked { mut open, source, contexts, output, agents } = asked;
    let stream = new_stream_id();
    open.context = source.files.kind(&stream.to_string());
    open.dockerfile = source.recipe.dockerfile;
    open.dockerfile_name = source.recipe.name;
    open.ignore = source.recipe.ignore;
    open.ignore_name = source.recipe.ignore_name;
    open.named_contexts = contexts;
    open.ssh = agents.ids();
    let (requests, receiver) = mpsc::channel(16);
    let (pull, dockerfile) = (open.pull, (open.dockerfile_name.clone(), open.dockerfile.clone()));
    let mut uploads = tokio::task::JoinSet::new();
    let machine = context.machine.clone();
    let mut folder = None;
    match source.files {
        Files::Folder(local) => folder = Some(Arc::new(Mutex::new(local))),
        Files::Tar(head) => {
            let archive = std::io::Cursor::new(head).chain(tokio::io::stdin());
            let (client, machine) = (client.clone(), machine.clone());
            uploads.spawn(async move {
                let sent = client.upload(machine.as_deref(), stream, archive).await;
                sent.map(drop).map_err(Error::from)
            });
        }
        Files::None | Files::Url(_) => {}
    }
    let writing = output.begin(client, &machine, &mut open).await?;
    let caller = Caller { client, context, requests, folder, pull, agents, uploads };
    caller.say(build_request::Kind::Open(open)).await;
    let answers = client.builds(context.machine()).build(ReceiverStream::new(receiver)).await?;
    let built = caller.answer(answers.into_inner(), display, &dockerfile).await;
    output::end(writing, built.is_ok()).await?;
    built
}

impl Caller<'_> {
    async fn say(&self, kind: build_request::Kind) {
        // When nobody takes it, the call says why.
        let _ = self.requests.send(BuildRequest { kind: Some(kind) }).await;
    }

    async fn answer(
        mut self,
        mut answers: tonic::Streaming<linkspan_proto::v1::BuildResponse>,
        display: &mut Display,
        dockerfile: &(String, String),
    ) -> Result<(BuiltImage, usize), Error> {
        let mut warnings = 0;
        let mut built = None;
        loop {
            let message = tokio::select! {
                message = answers.message() => message,
                Some(sent) = self.uploads.join_next() => {
                    let Some(lost) = sent.map_or_else(|e| Some(Error::invalid(e.to_string())), Result::err)
                    else { continue };
                    // The call may know better why nobody takes the contents.
                    let word = tokio::time::timeout(CALLS_OWN_WORD, answers.message()).await;
                    match word {
                        Ok(Err(status)) => return Err(status.into()),
                        _ => return Err(lost),
                    }
                }
            };
            let Some(message) = message? else { break };
            match message.kind {
                Some(Kind::ImagesWanted(wanted)) => {
                    display.pause();
                    self.bring(wanted, display.is_quiet()).await?;
                    self.say(build_request::Kind::ImagesReady(ImagesReady {})).await;
                }
                Some(Kind::List(wanted)) => self.list(wanted).await?,
                Some(Kind::FilesWanted(wanted)) => self.send(wanted)?,
                Some(Kind::Step(step)) => display.step(&step),
                Some(Kind::Output(output)) => display.output(&output),
                Some(Kind::Warning(warning)) => {
                    warnings += 1;
                    display.warning(&warning, &dockerfile.0);
                }
                Some(Kind::SshWanted(wanted)) => self.ssh(&wanted, display).await?,
                Some(Kind::Built(image)) => built = Some(image),
                // Steps and the call's own error tell the same.
                Some(Kind::Instruction(_) | Kind::CommandFailed(_)) | None => {}
            }
        }
        let image = built.ok_or_else(|| {
            Error::Failure(Failure::new(ErrorCode::Internal, "the build ended without a result"))
        })?;
        display.built(&image);
        Ok((image, warnings))
    }

    /// Built-in images come from the daemon, others from their registries.
    async fn bring(&self, wanted: ImagesWanted, quiet: bool) -> Result<(), Error> {
        for image in wanted.images {
            if !self.pull {
                let request = ProvideImageRequest { reference: image.reference.clone() };
                match self.client.builds(self.context.machine()).provide_image(request).await {
                    Ok(_) => continue,
                    Err(status) => {
                        let failure = Failure::from(status);
                        if failure.code != ErrorCode::NotFound {
                            return Err(failure.into());
                        }
                    }
                }
            }
            let request = PullImageRequest {
                reference: image.reference,
                platform: image.platform,
                all_tags: false,
                credentials: None,
            };
            let place = if quiet { Where::Nowhere } else { Where::Stderr };
            pull::pull(self.client, self.context, request, place).await?;
        }
        Ok(())
    }

    async fn ssh(&mut self, wanted: &SshWanted, display: &Display) -> Result<(), Error> {
        match self.agents.connect(self.client, self.context.machine(), wanted).await? {
            Ok(carry) => {
                self.uploads.spawn(async move {
                    carry.await;
                    Ok(())
                });
            }
            Err(why) => display.line(&format!("WARN: {why}")),
        }
        Ok(())
    }

    fn folder(&self) -> Result<Arc<Mutex<LocalFolder>>, Error> {
        let none = || Error::invalid("the machine asked for files, and there is no context");
        self.folder.clone().ok_or_else(none)
    }

    async fn list(&self, wanted: ListContext) -> Result<(), Error> {
        let folder = self.folder()?;
        let listed = tokio::task::spawn_blocking(move || {
            let mut folder = folder.lock().unwrap_or_else(PoisonError::into_inner);
            wanted
                .folders
                .iter()
                .map(|path| folder.list(path))
                .collect::<Result<Vec<_>, FilesError>>()
        });
        let listed = listed.await.map_err(|error| Error::invalid(error.to_string()))??;
        let mut part = ContextListing::default();
        let mut entries = 0;
        for mut folder in listed {
            // A large folder is told in parts.
            loop {
                let rest = folder.entries.split_off(folder.entries.len().min(ENTRIES));
                entries += folder.entries.len();
                let path = folder.path.clone();
                part.folders.push(folder);
                if rest.is_empty() {
                    break;
                }
                folder = linkspan_proto::v1::ContextFolder { path, entries: rest };
                self.part(&mut part, &mut entries).await;
            }
            if entries >= ENTRIES {
                self.part(&mut part, &mut entries).await;
            }
        }
        self.say(build_request::Kind::Listing(part)).await;
        Ok(())
    }

    async fn part(&self, part: &mut ContextListing, entries: &mut usize) {
        *entries = 0;
        let mut full = std::mem::take(part);
        full.more = true;
        self.say(build_request::Kind::Listing(full)).await;
    }

    /// Sends contents beside the call.
    fn send(&mut self, wanted: FilesWanted) -> Result<(), Error> {
        let bad = |_| Error::invalid("the machine named no byte stream");
        let id = wanted.stream_id.parse::<uuid::Uuid>().map_err(bad)?;
        let folder = self.folder()?;
        let (reader, writer) = tokio::io::duplex(AHEAD);
        self.uploads.spawn(async move {
            let sent = tokio::task::spawn_blocking(move || {
                let folder = folder.lock().unwrap_or_else(PoisonError::into_inner);
                folder.send(&wanted.paths, SyncIoBridge::new(writer)).map_err(Error::from)
            });
            sent.await.unwrap_or_else(|error| Err(Error::invalid(error.to_string())))
        });
        let (client, machine) = (self.client.clone(), self.context.machine.clone());
        self.uploads.spawn(async move {
            client.upload(machine.as_deref(), id, reader).await.map(drop).map_err(Error::from)
        });
        Ok(())
    }
}
