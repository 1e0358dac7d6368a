//! One build: what the machine asks for is answered, what it tells becomes lines.

use std::{collections::BTreeMap, sync::Arc};

use linkspan_agent_client::AgentChannel;
use linkspan_docker_types::image::progress::Message;
use linkspan_engine::{Engine, Registry};
use linkspan_proto::{
    error::{ErrorCode, Failure},
    v1::{
        BuildContext, BuildOpen, BuildRequest, BuildResponse, CommandFailed, ImagesReady,
        ImagesWanted, PullImageRequest, RegistryCredentials, build_context,
        build_request::Kind as Say, build_response::Kind as Told, pull_image_response,
    },
};
use tokio::{io::AsyncBufRead, sync::mpsc};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use super::{
    options::Asked,
    words::{self, Words},
};
use crate::docker::{
    answer::{Lines, Refusal},
    bulk,
};

/// Requests that wait for the machine.
const REQUESTS: usize = 4;

/// What a build works with.
pub(super) struct Build {
    pub(super) engine: Arc<dyn Engine>,
    pub(super) machine: String,
    pub(super) agent: AgentChannel,
    /// By the client's names of registries.
    pub(super) credentials: BTreeMap<String, RegistryCredentials>,
    pub(super) lines: Lines,
}

impl Build {
    /// Builds to the end. A command that fails is told in a line, and is no error here.
    pub(super) async fn run(
        self,
        asked: Asked,
        body: impl AsyncBufRead + Unpin,
    ) -> Result<(), Refusal> {
        let Asked { mut open, has_body, quiet, aux, notes } = asked;
        let mut words = Words::new(quiet, aux);
        self.say(notes.into_iter().filter_map(|note| words.note(note))).await;
        let talked = if has_body {
            bulk::upload(&self.agent, body, |id| {
                open.context =
                    Some(BuildContext { kind: Some(build_context::Kind::TarStreamId(id)) });
                self.talk(open, &mut words)
            })
            .await
        } else {
            self.talk(open, &mut words).await.map_err(Refusal::from)
        };
        match talked {
            Ok(None) => Ok(()),
            Ok(Some(failed)) => {
                self.say(words.kept()).await;
                self.say([Message::command_failed(&failed.command, failed.exit_code)]).await;
                Ok(())
            }
            Err(refusal) => {
                self.say(words.kept()).await;
                Err(refusal)
            }
        }
    }

    async fn say(&self, lines: impl IntoIterator<Item = Message>) {
        for line in lines {
            // A client that has gone is noticed elsewhere.
            let _ = self.lines.send(Ok(line)).await;
        }
    }

    /// The command that failed, if it was that.
    async fn talk(
        &self,
        open: BuildOpen,
        words: &mut Words,
    ) -> Result<Option<CommandFailed>, Status> {
        let pull = open.pull;
        let (requests, receiver) = mpsc::channel(REQUESTS);
        // The receiver is in this function, so this cannot fail.
        let _ = requests.send(BuildRequest { kind: Some(Say::Open(open)) }).await;
        let answers = self.agent.builds().build(ReceiverStream::new(receiver)).await?;
        let mut answers = answers.into_inner();
        let (mut failed, mut has_ended) = (None, false);
        loop {
            let BuildResponse { kind } = match answers.message().await {
                Ok(Some(answer)) => answer,
                Ok(None) if has_ended || failed.is_some() => return Ok(failed),
                Ok(None) => {
                    let why = "the build ended without a result";
                    return Err(Failure::new(ErrorCode::Internal, why).into());
                }
                Err(_) if failed.is_some() => return Ok(failed),
                Err(status) => return Err(words::failed(status)),
            };
            match kind {
                Some(Told::ImagesWanted(wanted)) => {
                    self.bring(wanted, pull, words).await?;
                    let ready = BuildRequest { kind: Some(Say::ImagesReady(ImagesReady {})) };
                    // When nobody takes it, the call says why.
                    let _ = requests.send(ready).await;
                }
                Some(Told::Instruction(instruction)) => {
                    self.say(words.instruction(&instruction)).await;
                }
                Some(Told::Output(output)) => self.say(words.output(&output)).await,
                Some(Told::Warning(warning)) => self.say(words.warning(&warning)).await,
                Some(Told::Built(built)) => {
                    has_ended = true;
                    self.say(words.built(&built)).await;
                }
                Some(Told::CommandFailed(command)) => failed = Some(command),
                Some(Told::List(_) | Told::FilesWanted(_) | Told::SshWanted(_)) => {
                    let why = "the machine asked for files, and has the whole context";
                    return Err(Failure::new(ErrorCode::Internal, why).into());
                }
                // Instructions tell the same.
                Some(Told::Step(_)) | None => {}
            }
        }
    }

    /// Built-in images come from the daemon, others from their registries.
    async fn bring(
        &self,
        wanted: ImagesWanted,
        pull: bool,
        words: &mut Words,
    ) -> Result<(), Status> {
        for image in wanted.images {
            if !pull {
                match self.engine.provide_image(&self.machine, &image.reference).await {
                    Ok(()) => continue,
                    Err(failure) if failure.code == ErrorCode::NotFound => {}
                    Err(failure) => return Err(failure.into()),
                }
            }
            let registry = Registry::of_image(&image.reference);
            let known = self.credentials.iter();
            let mut known = known.filter(|(server, _)| Registry::of_server(server) == registry);
            let request = PullImageRequest {
                credentials: known.next().map(|(_, credentials)| credentials.clone()),
                reference: image.reference,
                platform: image.platform,
                all_tags: false,
            };
            let mut answers = self.agent.registry().pull(request).await?.into_inner();
            while let Some(answer) = answers.message().await? {
                if let Some(pull_image_response::Kind::Progress(progress)) = answer.kind {
                    self.say(words.line(Message::from(&progress))).await;
                }
            }
        }
        Ok(())
    }
}
