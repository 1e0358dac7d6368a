//! One build from its first message to its image.

use std::{
    collections::HashMap,
    sync::Arc,
    time::{Duration, Instant},
};

use linkspan_build::{
    Ignore, ImageConfig, ImageInfo, ImageRequest, Images, Options, Outcome, Plan, excerpt, plan,
};
use linkspan_builder::{Build, Context, Error, Listed, ListedKind, Progress as _, StepState};
use linkspan_images::{Error as StoreError, HeldImage};
use linkspan_proto::{
    error::{ErrorCode, Failure},
    v1::{
        self as wire, BuildOpen, BuildRequest, build_context, build_request, build_response::Kind,
    },
};
use tokio::runtime::Handle;
use tokio_util::{io::SyncIoBridge, sync::CancellationToken};
use tonic::Streaming;

use super::{
    export,
    machine::BuildMachine,
    options,
    remote::{self, Unpacked},
    report::{Answers, Report, message},
    ssh::Agents,
};
use crate::{
    failure::{NO_SPACE_HINT, chain, of_io, of_store},
    rpc::Guest,
};

/// Stages that are built at one time: there are few processors.
const THREADS: usize = 4;
/// For a caller that is told of instructions.
const ONE_BY_ONE: usize = 1;

/// One build.
struct Dialogue {
    guest: Guest,
    requests: Streaming<BuildRequest>,
    answers: Answers,
    report: Arc<Report>,
}

/// Answers until the build has ended.
pub(crate) async fn run(
    guest: Guest,
    requests: Streaming<BuildRequest>,
    answers: Answers,
) -> Result<(), Failure> {
    let cancelled = CancellationToken::new();
    let _end = cancelled.clone().drop_guard();
    let report = Arc::new(Report::new(answers.clone()));
    Dialogue { guest, requests, answers, report }.build(cancelled).await
}

/// Synchronous work.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, Failure> + Send + 'static,
) -> Result<T, Failure> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| Failure::new(ErrorCode::Internal, format!("the agent failed: {error}")))?
}

impl Dialogue {
    async fn say(&self, kind: Kind) -> Result<(), Failure> {
        self.answers.send(message(kind)).await.map_err(|_| gone())
    }

    async fn hear(&mut self) -> Result<build_request::Kind, Failure> {
        let request = self.requests.message().await?.ok_or_else(gone)?;
        request.kind.ok_or_else(|| invalid("an empty message"))
    }

    async fn build(mut self, cancelled: CancellationToken) -> Result<(), Failure> {
        let build_request::Kind::Open(mut open) = self.hear().await? else {
            return Err(invalid("a build begins with its options"));
        };
        let builder = Arc::clone(&self.guest.builds.builder);
        // Waits while something is pruned.
        let active = blocking(move || Ok(builder.begin())).await?;
        let unpacked = self.remote(&mut open).await?;
        let ignore = Ignore::parse(&open.ignore, &open.ignore_name)
            .map_err(|error| self.in_dockerfile(&open, &error))?;
        let planning = options::planning(&open, ignore)?;
        let running = options::running(&open, self.guest.builds.capacity)?;
        self.report.tell_instructions(open.instructions);
        let (plan, images) = self.plan(&open, &planning).await?;
        for warning in &plan.warnings {
            let line = |pick: fn(&linkspan_build::Span) -> usize| {
                warning.span.as_ref().map_or(0, |span| u32::try_from(pick(span)).unwrap_or(0))
            };
            self.say(Kind::Warning(wire::BuildWarning {
                rule: warning.rule.to_owned(),
                message: warning.message.clone(),
                first_line: line(|span| span.first_line),
                last_line: line(|span| span.last_line),
            }))
            .await?;
        }
        if open.check {
            return self.say(Kind::Built(wire::BuiltImage::default())).await;
        }
        let plan = Arc::new(plan);
        let context = match &unpacked {
            Some(unpacked) => self.read(unpacked, &plan).await?,
            None => self.context(&open, &plan).await?,
        };
        let machine = BuildMachine {
            builds: self.guest.builds.clone(),
            registries: self.guest.registries.clone(),
            runtime: Handle::current(),
            agents: Agents {
                streams: self.guest.streams.clone(),
                answers: self.answers.clone(),
                runtime: Handle::current(),
            },
            cancelled,
        };
        let (report, builds) = (Arc::clone(&self.report), self.guest.builds.clone());
        let out = export::open(&self.guest, &open).await?;
        open.secrets.clear();
        let built = blocking(move || {
            for stage in plan.stages.iter().filter(|stage| !stage.title.is_empty()) {
                report.step(&stage.title, StepState::Cached, Duration::ZERO);
            }
            let build =
                Build::new(&builds.builder, &plan, &context, &images, running, &machine, &*report);
            let threads = if open.instructions { ONE_BY_ONE } else { THREADS };
            let finished = build.execute(threads).map_err(|failure| {
                if let Error::Exit { command, code } = &failure.error {
                    report.command_failed(command, *code);
                }
                let stage = &plan.stages[failure.stage];
                let step = &stage.steps[failure.step];
                let evidence = evidence(&open, &report, step);
                of_build(&failure.error).evidence(evidence)
            })?;
            drop((active, unpacked));
            export::export(&finished, &open.tags, out, &report)
        })
        .await?;
        self.guest.tell_of_build(&built).await;
        self.say(Kind::Built(built)).await
    }

    fn in_dockerfile(&self, open: &BuildOpen, error: &linkspan_build::Error) -> Failure {
        let shown = error.span.map(|span| excerpt(&open.dockerfile_name, &open.dockerfile, span));
        let evidence = shown.unwrap_or_default().lines().map(str::to_owned).collect();
        let failure = Failure::new(ErrorCode::InvalidArgument, error.to_string());
        let failure = failure.evidence(evidence);
        match error.problem.hint() {
            Some(hint) => failure.hint(hint),
            None => failure,
        }
    }

    /// The plan, and the images that it is of: by the digest that it has for them.
    async fn plan(
        &mut self,
        open: &BuildOpen,
        options: &Options,
    ) -> Result<(Plan, HashMap<String, HeldImage>), Failure> {
        let (mut known, mut held) = (Images::new(), HashMap::new());
        loop {
            let missing = match plan(&open.dockerfile, options, &known)
                .map_err(|error| self.in_dockerfile(open, &error))?
            {
                Outcome::Plan(plan) => return Ok((*plan, held)),
                Outcome::Missing(missing) => missing,
            };
            let mut wanted = Vec::new();
            for request in missing {
                let found = if open.pull { None } else { self.find(&request).await? };
                match found {
                    Some((info, image)) => {
                        held.insert(info.digest.clone(), image);
                        known.insert(request, info);
                    }
                    None => wanted.push(request),
                }
            }
            if wanted.is_empty() {
                continue;
            }
            self.ask_for(&wanted).await?;
            for request in wanted {
                let Some((info, image)) = self.find(&request).await? else {
                    let what = format!("{} for {}", request.reference, request.platform);
                    return Err(Failure::new(
                        ErrorCode::NotFound,
                        format!("there is no image {what}"),
                    ));
                };
                held.insert(info.digest.clone(), image);
                known.insert(request, info);
            }
        }
    }

    async fn ask_for(&mut self, wanted: &[ImageRequest]) -> Result<(), Failure> {
        let images = wanted.iter().map(|request| wire::WantedImage {
            reference: request.reference.clone(),
            platform: request.platform.to_string(),
        });
        self.say(Kind::ImagesWanted(wire::ImagesWanted { images: images.collect() })).await?;
        match self.hear().await? {
            build_request::Kind::ImagesReady(_) => Ok(()),
            _ => Err(invalid("the images that were asked for come first")),
        }
    }

    /// An image that is here and of the platform that is asked for.
    async fn find(
        &self,
        request: &ImageRequest,
    ) -> Result<Option<(ImageInfo, HeldImage)>, Failure> {
        let (store, request) = (Arc::clone(self.guest.builds.builder.store()), request.clone());
        blocking(move || {
            let image = match store.hold_image(&request.reference) {
                Err(StoreError::NotFound { .. }) => return Ok(None),
                other => other.map_err(|error| of_store(&error))?,
            };
            let config = ImageConfig::parse(&image.config_json).map_err(|error| {
                let what = format!("the configuration of `{}`: {error}", request.reference);
                Failure::new(ErrorCode::DataCorrupt, what)
            })?;
            if !config.architecture.is_empty()
                && config.architecture != request.platform.architecture
            {
                return Ok(None);
            }
            let info = ImageInfo { digest: image.id.to_string(), config };
            Ok(Some((info, image)))
        })
        .await
    }

    /// A context that comes as a whole is unpacked, and its Dockerfile read; so is a Dockerfile
    /// that comes alone.
    async fn remote(&mut self, open: &mut BuildOpen) -> Result<Option<Unpacked>, Failure> {
        use build_context::Kind::{TarStreamId, Url};
        let store = Arc::clone(self.guest.builds.builder.store());
        let unpacked = match open.context.take().and_then(|context| context.kind) {
            Some(TarStreamId(id)) => {
                let archive = SyncIoBridge::new(self.guest.streams.take(&id).await?);
                blocking(move || remote::unpack(&store, archive)).await?
            }
            Some(Url(url)) => {
                let file = self.guest.registries.download(&url).await?;
                match remote::text_of(&file.path())? {
                    Some(text) => {
                        open.dockerfile = text;
                        return Ok(None);
                    }
                    None => blocking(move || remote::unpack_file(file)).await?,
                }
            }
            other => {
                open.context = other.map(|kind| wire::BuildContext { kind: Some(kind) });
                return Ok(None);
            }
        };
        if open.dockerfile.is_empty() {
            remote::read_dockerfile(&unpacked, open)?;
        }
        Ok(Some(unpacked))
    }

    async fn read(&self, unpacked: &Unpacked, plan: &Arc<Plan>) -> Result<Context, Failure> {
        let (root, plan) = (unpacked.root(), Arc::clone(plan));
        blocking(move || Context::read(&root, &plan.context).map_err(|error| of_build(&error)))
            .await
    }

    async fn context(&mut self, open: &BuildOpen, plan: &Arc<Plan>) -> Result<Context, Failure> {
        match open.context.as_ref().and_then(|context| context.kind.as_ref()) {
            Some(build_context::Kind::Folder(name)) => self.folder(name, plan).await,
            Some(build_context::Kind::Image(_)) => {
                Err(invalid("an image is no build context: name it with --build-context"))
            }
            Some(build_context::Kind::TarStreamId(_) | build_context::Kind::Url(_)) => {
                Err(invalid("the build context was not unpacked"))
            }
            None if plan.context.is_empty() => Ok(Context::default()),
            None => Err(invalid("the Dockerfile copies from a build context, and there is none")),
        }
    }

    /// Asks folder by folder what there is, and then for what is not here.
    async fn folder(&mut self, name: &str, plan: &Arc<Plan>) -> Result<Context, Failure> {
        const TITLE: &str = "[internal] load build context";
        let began = Instant::now();
        let builder = Arc::clone(&self.guest.builds.builder);
        let listing = tokio::task::block_in_place(|| builder.listing(name, &plan.context));
        let mut listing = listing.map_err(|error| of_build(&error))?;
        loop {
            let folders = listing.folders();
            if folders.is_empty() {
                break;
            }
            let ask = wire::ListContext { context: String::new(), folders };
            self.say(Kind::List(ask)).await?;
            loop {
                let build_request::Kind::Listing(answer) = self.hear().await? else {
                    return Err(invalid("a listing was asked for"));
                };
                for folder in answer.folders {
                    let entries = folder.entries.into_iter().map(listed);
                    let entries = entries.collect::<Result<Vec<_>, _>>()?;
                    listing.take(&folder.path, entries).map_err(|error| of_build(&error))?;
                }
                if !answer.more {
                    break;
                }
            }
        }
        let missing = tokio::task::block_in_place(|| listing.missing());
        if !missing.is_empty() {
            let stream_id = uuid::Uuid::new_v4().to_string();
            let ask = wire::FilesWanted {
                context: String::new(),
                paths: missing.clone(),
                stream_id: stream_id.clone(),
            };
            self.say(Kind::FilesWanted(ask)).await?;
            let stream = SyncIoBridge::new(self.guest.streams.take(&stream_id).await?);
            let received = tokio::task::block_in_place(|| listing.receive(&missing, stream));
            received.map_err(|error| of_build(&error))?;
        }
        let context = tokio::task::block_in_place(|| listing.finish());
        let context = context.map_err(|error| of_build(&error))?;
        let report = Arc::clone(&self.report);
        blocking(move || {
            report.step(TITLE, StepState::Done, began.elapsed());
            Ok(())
        })
        .await?;
        Ok(context)
    }
}

fn listed(entry: wire::ContextEntry) -> Result<Listed, Failure> {
    let kind = match entry.kind() {
        wire::ContextEntryKind::File => ListedKind::File(entry.size),
        wire::ContextEntryKind::Folder => ListedKind::Folder,
        wire::ContextEntryKind::Link => ListedKind::Link(entry.link_target),
        wire::ContextEntryKind::Unspecified => {
            return Err(invalid(&format!("`{}` is of no kind", entry.name)));
        }
    };
    Ok(Listed {
        name: entry.name,
        kind,
        mode: entry.mode,
        modified_unix_nanos: entry.modified_unix_nanos,
    })
}

fn invalid(text: &str) -> Failure {
    Failure::new(ErrorCode::InvalidArgument, text)
}

fn gone() -> Failure {
    Failure::new(ErrorCode::Cancelled, "the caller of the build has gone")
}

/// The last lines of the command, and where it stands.
fn evidence(open: &BuildOpen, report: &Report, step: &linkspan_build::Step) -> Vec<String> {
    let mut lines = Vec::new();
    let tail = report.tail(&step.title);
    if !tail.is_empty() {
        lines.push("------".to_owned());
        lines.push(format!(" > {}:", step.title));
        lines.extend(tail);
        lines.push("------".to_owned());
    }
    let shown = excerpt(&open.dockerfile_name, &open.dockerfile, step.span);
    lines.extend(shown.lines().map(str::to_owned));
    lines
}

/// An error of the builder.
pub(crate) fn of_build(error: &Error) -> Failure {
    let code = match error {
        Error::Store(error) => return of_store(error),
        Error::NotThere { .. } | Error::NoSuchName { .. } => ErrorCode::NotFound,
        Error::Unsupported { .. } => ErrorCode::Unsupported,
        Error::Destination { .. }
        | Error::NoSecret { .. }
        | Error::NoSsh { .. }
        | Error::Checksum { .. }
        | Error::Context { .. }
        | Error::Filter { .. }
        | Error::Exit { .. }
        | Error::Command { .. } => ErrorCode::InvalidArgument,
        Error::Changed { .. } => ErrorCode::WrongState,
        Error::Download { .. } => ErrorCode::Unavailable,
        Error::Record { .. } => ErrorCode::DataCorrupt,
        Error::Cancelled => ErrorCode::Cancelled,
        Error::Io { source, .. } => of_io(source),
        _ => ErrorCode::Internal,
    };
    let failure = Failure::new(code, chain(error));
    match error {
        _ if code == ErrorCode::NoSpace => failure.hint(NO_SPACE_HINT),
        Error::NoSecret { .. } => failure.hint("give it with --secret id=ID,src=FILE"),
        Error::NoSsh { .. } => failure.hint("give it with --ssh ID[=SOCKET]"),
        Error::Changed { .. } => failure.hint("build again when nobody writes there"),
        _ => failure,
    }
}
