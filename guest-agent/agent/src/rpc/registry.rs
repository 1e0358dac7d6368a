//! `linkspan.v1.RegistryService`.

use std::pin::Pin;

use futures::Stream;
use linkspan_images::{Platform, Reference};
use linkspan_proto::{
    error::{ErrorCode, Failure},
    v1::{self as wire, registry_service_server::RegistryService},
};
use linkspan_registry::{Content, Credentials, Found, Mirror, Proxies, Settings};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::{Request, Response, Status};

use super::Guest;
use crate::failure::of_registries;
use crate::registries::{Error, Line, Lines};

/// The service.
pub(super) struct Face(pub(super) Guest);

type Answer<T> = Result<Response<T>, Status>;
type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// A configuration is held in memory; Docker's limit.
const MAX_CONFIG: u64 = 8 << 20;
/// Docker's, and the most that the Hub gives is 100.
const DEFAULT_RESULTS: u32 = 25;
/// Answers that wait for a client. Half of them are kept for what must not be lost.
const AHEAD: usize = 512;

/// Sends lines, and leaves out those that a later one makes needless when nobody reads them.
fn lines<T: Send + 'static>(
    answers: &mpsc::Sender<Result<T, Status>>,
    wrap: impl Fn(wire::TransferProgress) -> T + Send + Sync + 'static,
) -> Lines {
    let answers = answers.clone();
    Lines::new(move |line: Line| {
        if line.is_passing() && answers.capacity() < AHEAD / 2 {
            return;
        }
        let Line { id, status, current, total } = line;
        // Full: the client has not read hundreds of lines, and misses some.
        let _ = answers.try_send(Ok(wrap(wire::TransferProgress { id, status, current, total })));
    })
}

#[tonic::async_trait]
impl RegistryService for Face {
    type PullStream = Answers<wire::PullImageResponse>;
    type PushStream = Answers<wire::PushImageResponse>;

    async fn pull(
        &self,
        request: Request<wire::PullImageRequest>,
    ) -> Answer<Answers<wire::PullImageResponse>> {
        let request = request.into_inner();
        let guest = self.0.clone();
        Ok(transfer(move |answers| async move { pull(&guest, request, &answers).await }))
    }

    async fn push(
        &self,
        request: Request<wire::PushImageRequest>,
    ) -> Answer<Answers<wire::PushImageResponse>> {
        let request = request.into_inner();
        let guest = self.0.clone();
        Ok(transfer(move |answers| async move { push(&guest, request, &answers).await }))
    }

    async fn login(&self, request: Request<wire::LoginRequest>) -> Answer<wire::LoginResponse> {
        let request = request.into_inner();
        let server = server(&request.server);
        let login = self.0.registries.client();
        let login = login.login(&server, credentials(request.credentials));
        let identity_token = login.await.map_err(refuse)?.unwrap_or_default();
        Ok(Response::new(wire::LoginResponse { status: "Login Succeeded".into(), identity_token }))
    }

    async fn search(
        &self,
        request: Request<wire::SearchImagesRequest>,
    ) -> Answer<wire::SearchImagesResponse> {
        let request = request.into_inner();
        let filters = SearchFilters::parse(&request.filters)?;
        let (registry, term) = search_place(&request.term);
        let limit = match request.limit {
            0 => DEFAULT_RESULTS,
            limit => limit,
        };
        let client = self.0.registries.client();
        let found = client.search(registry, term, limit, credentials(request.credentials));
        let found = found.await.map_err(refuse)?;
        let images = found.into_iter().filter(|found| filters.match_all(found)).map(|found| {
            wire::FoundImage {
                name: found.name,
                description: found.description,
                stars: found.star_count,
                official: found.is_official,
                automated: false,
            }
        });
        Ok(Response::new(wire::SearchImagesResponse { images: images.collect() }))
    }

    async fn distribution(
        &self,
        request: Request<wire::DistributionRequest>,
    ) -> Answer<wire::DistributionResponse> {
        let request = request.into_inner();
        let reference = parse(&request.reference).map_err(|error| of_registries(&error))?;
        let client = self.0.registries.client();
        let repository = client.repository(&reference, credentials(request.credentials));
        let document = repository.document().await.map_err(refuse)?;
        let platforms = match &document.content {
            Content::Index(entries) => entries
                .iter()
                .filter(|entry| !entry.is_attachment())
                .filter_map(|entry| entry.platform.as_ref().map(ToString::to_string))
                .collect(),
            Content::Image { config, .. } => {
                let bytes = repository.blob_bytes(config, MAX_CONFIG).await.map_err(refuse)?;
                platform_of(&bytes).into_iter().collect()
            }
        };
        Ok(Response::new(wire::DistributionResponse {
            media_type: document.media_type,
            digest: document.digest.to_string(),
            size: document.bytes.len() as u64,
            platforms,
        }))
    }

    async fn configure_registries(
        &self,
        request: Request<wire::ConfigureRegistriesRequest>,
    ) -> Answer<wire::ConfigureRegistriesResponse> {
        let settings = settings(request.into_inner()).map_err(refuse)?;
        self.0.registries.configure(settings).map_err(refuse)?;
        Ok(Response::new(wire::ConfigureRegistriesResponse {}))
    }
}

/// Runs a transfer, which ends with the client's interest in its answers.
fn transfer<T, F>(
    run: impl FnOnce(mpsc::Sender<Result<T, Status>>) -> F + Send + 'static,
) -> Response<Answers<T>>
where
    T: Send + 'static,
    F: Future<Output = Result<(), Error>> + Send,
{
    let (answers, stream) = mpsc::channel(AHEAD);
    tokio::spawn(async move {
        let running = run(answers.clone());
        tokio::select! {
            // The client has hung up: what was done so far goes with the future.
            () = answers.closed() => {}
            result = running => if let Err(error) = result {
                drop(answers.send(Err(of_registries(&error).into())).await);
            }
        }
    });
    Response::new(Box::pin(ReceiverStream::new(stream)))
}

async fn push(
    guest: &Guest,
    request: wire::PushImageRequest,
    answers: &mpsc::Sender<Result<wire::PushImageResponse, Status>>,
) -> Result<(), Error> {
    use wire::push_image_response::Kind;
    let wrap = |kind| wire::PushImageResponse { kind: Some(kind) };
    let lines = lines(answers, move |progress| wrap(Kind::Progress(progress)));
    let registries = &guest.registries;
    let platform = platform(&request.platform)?;
    let reference = parse(&request.reference)?;
    let credentials = credentials(request.credentials);
    let references = match request.all_tags {
        true => registries.local_tags(&reference).await?,
        false => vec![reference.with_default_tag()],
    };
    for reference in references {
        let pushed =
            registries.push(&reference, platform.as_ref(), credentials.clone(), &lines).await?;
        guest.tell_of_transfer("push", &reference).await;
        let pushed = wire::PushedImage {
            tag: pushed.tag,
            digest: pushed.digest.to_string(),
            size: pushed.size,
        };
        // A client that has left ends this from outside.
        let _ = answers.send(Ok(wrap(Kind::Pushed(pushed)))).await;
    }
    Ok(())
}

async fn pull(
    guest: &Guest,
    request: wire::PullImageRequest,
    answers: &mpsc::Sender<Result<wire::PullImageResponse, Status>>,
) -> Result<(), Error> {
    use wire::pull_image_response::Kind;
    let wrap = |kind| wire::PullImageResponse { kind: Some(kind) };
    let lines = lines(answers, move |progress| wrap(Kind::Progress(progress)));
    let registries = &guest.registries;
    let platform = platform(&request.platform)?;
    let reference = parse(&request.reference)?;
    let credentials = credentials(request.credentials);
    let references = match request.all_tags {
        true => registries.tags(&reference, &credentials).await?,
        false => vec![reference],
    };
    for reference in references {
        let pulled =
            registries.pull(&reference, platform.as_ref(), credentials.clone(), &lines).await?;
        guest.tell_of_transfer("pull", &pulled.reference).await;
        let pulled = wire::PulledImage {
            id: pulled.id,
            reference: pulled.reference.familiar(),
            digest: pulled.digest.to_string(),
            up_to_date: pulled.up_to_date,
        };
        // A client that has left ends this from outside.
        let _ = answers.send(Ok(wrap(Kind::Pulled(pulled)))).await;
    }
    Ok(())
}

fn refuse(error: linkspan_registry::Error) -> Status {
    of_registries(&error.into()).into()
}

fn parse(text: &str) -> Result<Reference, Error> {
    Ok(Reference::parse(text)?)
}

/// What `--platform` says; empty: this machine's.
pub(super) fn platform(text: &str) -> Result<Option<Platform>, Error> {
    let wanted = (!text.is_empty()).then(|| linkspan_registry::parse_platform(text));
    Ok(wanted.transpose()?)
}

fn platform_of(config: &[u8]) -> Option<String> {
    serde_json::from_slice::<Platform>(config).ok().map(|platform| platform.to_string())
}

fn credentials(given: Option<wire::RegistryCredentials>) -> Credentials {
    let Some(given) = given else { return Credentials::Anonymous };
    if !given.registry_token.is_empty() {
        return Credentials::RegistryToken(given.registry_token);
    }
    if !given.identity_token.is_empty() {
        return Credentials::IdentityToken(given.identity_token);
    }
    if given.username.is_empty() && given.password.is_empty() {
        return Credentials::Anonymous;
    }
    Credentials::Password { username: given.username, password: given.password }
}

fn settings(given: wire::ConfigureRegistriesRequest) -> Result<Settings, linkspan_registry::Error> {
    let given_or = |given: u32, default: usize| match given {
        0 => default,
        given => given as usize,
    };
    let text = |text: String| Some(text).filter(|text| !text.is_empty());
    let mirror = |mirror: wire::RegistryMirror| Mirror {
        url: mirror.url,
        authoritative: mirror.authoritative,
        credentials: credentials(mirror.credentials),
    };
    let default = Settings::default();
    Ok(Settings {
        mirrors: given.mirrors.into_iter().map(mirror).collect(),
        insecure: given.insecure.iter().map(|text| text.parse()).collect::<Result<_, _>>()?,
        proxies: Proxies {
            http: text(given.http_proxy),
            https: text(given.https_proxy),
            no_proxy: text(given.no_proxy),
        },
        authorities: given.authorities,
        parallel_downloads: given_or(given.parallel_downloads, default.parallel_downloads),
        parallel_uploads: given_or(given.parallel_uploads, default.parallel_uploads),
        ..default
    })
}

/// What `login` accepts: a host, or a URL of which the host counts (Docker's
/// `ConvertToHostname`); Docker Hub by its old name or none.
fn server(text: &str) -> String {
    let text =
        text.strip_prefix("https://").or_else(|| text.strip_prefix("http://")).unwrap_or(text);
    match text.split('/').next().unwrap_or_default() {
        "" | "docker.io" | "index.docker.io" | "registry-1.docker.io" => "docker.io".into(),
        host => host.into(),
    }
}

/// Registry and term: `localhost:5000/app` is asked of that registry.
fn search_place(term: &str) -> (&str, &str) {
    match term.split_once('/') {
        Some((host, rest)) if host.contains(['.', ':']) || host == "localhost" => (host, rest),
        _ => ("docker.io", term),
    }
}

/// `--filter` of `search`.
#[derive(Debug, Default, PartialEq, Eq)]
struct SearchFilters {
    official: Option<bool>,
    automated: Option<bool>,
    stars: u64,
}

impl SearchFilters {
    fn parse(filters: &[String]) -> Result<Self, Failure> {
        let mut parsed = Self::default();
        for filter in filters {
            let refuse = |why| {
                Failure::new(
                    ErrorCode::InvalidArgument,
                    format!("invalid filter `{filter}`: {why}"),
                )
            };
            let (key, value) =
                filter.split_once('=').ok_or_else(|| refuse("it needs `KEY=VALUE`"))?;
            let truth = || match value {
                "true" | "1" => Ok(Some(true)),
                "false" | "0" => Ok(Some(false)),
                _ => Err(refuse("it is neither true nor false")),
            };
            match key {
                "is-official" => parsed.official = truth()?,
                "is-automated" => parsed.automated = truth()?,
                "stars" => parsed.stars = value.parse().map_err(|_| refuse("it is no number"))?,
                _ => return Err(refuse("there are is-official, is-automated and stars")),
            }
        }
        Ok(parsed)
    }

    /// The Hub makes no automated ones any more.
    fn match_all(&self, found: &Found) -> bool {
        self.official.is_none_or(|wanted| wanted == found.is_official)
            && self.automated != Some(true)
            && found.star_count >= self.stars
    }
}
