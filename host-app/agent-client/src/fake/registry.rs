//! Registries without a network: every image exists but those with `absent` in their name, and
//! those with `private` in it want `user` and `secret`. A test may lay down other answers.

use futures::{StreamExt as _, stream};
use linkspan_proto::error::{ErrorCode, Failure};
use linkspan_proto::v1::{
    ConfigureRegistriesRequest, ConfigureRegistriesResponse, DistributionRequest,
    DistributionResponse, FoundImage, LoginRequest, LoginResponse, PullImageRequest,
    PullImageResponse, PulledImage, PushImageRequest, PushImageResponse, PushedImage,
    RegistryCredentials, SearchImagesRequest, SearchImagesResponse, TransferProgress,
    pull_image_response, push_image_response, registry_service_server::RegistryService,
};
use tonic::{Request, Response, Status};

use super::{FakeGuest, canned::Answers};

/// A call on one registry, in what it named: a reference, a search term, a server.
#[derive(Debug, Clone, PartialEq)]
pub struct RegistryRequest {
    /// `Pull`, `Push`, `Login`, `Search`, `Distribution`.
    pub method: &'static str,
    /// What it named.
    pub subject: String,
    /// As whom.
    pub credentials: Option<RegistryCredentials>,
}

/// The calls of a guest's `RegistryService`, in their order.
#[derive(Debug, Clone, Default)]
pub struct RegistryRequests {
    /// Those on registries.
    pub calls: Vec<RegistryRequest>,
    /// The settings that were handed over.
    pub settings: Vec<ConfigureRegistriesRequest>,
}

const DIGEST: &str = "sha256:fa4e000000000000000000000000000000000000000000000000000000000000";
const LAYERS: [&str; 2] = ["aaaaaaaaaaaa", "bbbbbbbbbbbb"];
const LAYER_BYTES: u64 = 1000;

fn progress(id: &str, status: &str, current: u64, total: u64) -> TransferProgress {
    TransferProgress { id: id.into(), status: status.into(), current, total }
}

/// `latest` unless the reference says otherwise.
fn tag(reference: &str) -> &str {
    let name = reference.rsplit('/').next().unwrap_or_default();
    name.split_once(':').map_or("latest", |(_, tag)| tag)
}

fn tagged(reference: &str) -> String {
    let repository = reference.strip_suffix(&format!(":{}", tag(reference))).unwrap_or(reference);
    format!("{repository}:{}", tag(reference))
}

impl FakeGuest {
    fn admit(
        &self,
        method: &'static str,
        subject: &str,
        credentials: Option<RegistryCredentials>,
    ) -> Result<(), Status> {
        let known = credentials
            .as_ref()
            .is_some_and(|known| (&*known.username, &*known.password) == ("user", "secret"));
        let call = RegistryRequest { method, subject: subject.into(), credentials };
        self.0.registry.lock().calls.push(call);
        if subject.contains("private") && !known {
            let message = "unauthorized: incorrect username or password";
            return Err(Failure::new(ErrorCode::PermissionDenied, message).into());
        }
        if subject.contains("absent") {
            let message = format!("manifest for {subject} not found: manifest unknown");
            return Err(Failure::new(ErrorCode::NotFound, message).into());
        }
        Ok(())
    }
}

fn answers<T: Send + 'static>(all: Vec<T>) -> Response<Answers<T>> {
    Response::new(stream::iter(all.into_iter().map(Ok)).boxed())
}

#[async_trait::async_trait]
impl RegistryService for FakeGuest {
    type PullStream = Answers<PullImageResponse>;
    async fn pull(
        &self,
        request: Request<PullImageRequest>,
    ) -> Result<Response<Self::PullStream>, Status> {
        if self.has("Registry.Pull") {
            return self.canned_stream("Registry.Pull", &request);
        }
        self.record("Pull", &request);
        let request = request.into_inner();
        self.admit("Pull", &request.reference, request.credentials)?;
        let up_to_date = !self.0.images.lock().insert(request.reference.clone());
        let mut steps: Vec<TransferProgress> = Vec::new();
        if !up_to_date {
            for layer in LAYERS {
                steps.push(progress(layer, "Pulling fs layer", 0, 0));
                steps.push(progress(layer, "Downloading", LAYER_BYTES / 2, LAYER_BYTES));
                steps.push(progress(layer, "Download complete", 0, 0));
                steps.push(progress(layer, "Pull complete", 0, 0));
            }
        }
        let reference = tagged(&request.reference);
        let status = match up_to_date {
            true => format!("Status: Image is up to date for {reference}"),
            false => format!("Status: Downloaded newer image for {reference}"),
        };
        steps.extend([&format!("Digest: {DIGEST}"), &status].map(|line| progress("", line, 0, 0)));
        let pulled =
            PulledImage { id: DIGEST.into(), reference, digest: DIGEST.into(), up_to_date };
        let kinds = steps.into_iter().map(pull_image_response::Kind::Progress);
        let kinds = kinds.chain([pull_image_response::Kind::Pulled(pulled)]);
        Ok(answers(kinds.map(|kind| PullImageResponse { kind: Some(kind) }).collect()))
    }

    type PushStream = Answers<PushImageResponse>;
    async fn push(
        &self,
        request: Request<PushImageRequest>,
    ) -> Result<Response<Self::PushStream>, Status> {
        if self.has("Registry.Push") {
            return self.canned_stream("Registry.Push", &request);
        }
        self.record("Push", &request);
        let request = request.into_inner();
        self.admit("Push", &request.reference, request.credentials)?;
        let pushed =
            PushedImage { tag: tag(&request.reference).into(), digest: DIGEST.into(), size: 528 };
        let steps = [
            ("", format!("The push refers to repository [{}]", request.reference)),
            (LAYERS[0], "Preparing".into()),
            (LAYERS[0], "Pushed".into()),
            ("", format!("{}: digest: {DIGEST} size: {}", pushed.tag, pushed.size)),
        ];
        let kinds = steps
            .map(|(id, status)| push_image_response::Kind::Progress(progress(id, &status, 0, 0)));
        let kinds = kinds.into_iter().chain([push_image_response::Kind::Pushed(pushed)]);
        Ok(answers(kinds.map(|kind| PushImageResponse { kind: Some(kind) }).collect()))
    }

    /// A server with `token` in its name gives an identity token.
    async fn login(
        &self,
        request: Request<LoginRequest>,
    ) -> Result<Response<LoginResponse>, Status> {
        if self.has("Registry.Login") {
            return self.canned("Registry.Login", &request);
        }
        self.record("Login", &request);
        let LoginRequest { server, credentials } = request.into_inner();
        // A login is about the credentials, whatever the server's name.
        self.admit("Login", &format!("private {server}"), credentials)?;
        let token = if server.contains("token") { "identity" } else { "" };
        let status = "Login Succeeded".into();
        Ok(Response::new(LoginResponse { status, identity_token: token.into() }))
    }

    async fn search(
        &self,
        request: Request<SearchImagesRequest>,
    ) -> Result<Response<SearchImagesResponse>, Status> {
        if self.has("Registry.Search") {
            return self.canned("Registry.Search", &request);
        }
        self.record("Search", &request);
        let request = request.into_inner();
        self.admit("Search", &request.term, request.credentials)?;
        let found = FoundImage {
            name: request.term,
            description: "It is found.".into(),
            stars: 7,
            official: true,
            automated: false,
        };
        Ok(Response::new(SearchImagesResponse { images: vec![found] }))
    }

    async fn distribution(
        &self,
        request: Request<DistributionRequest>,
    ) -> Result<Response<DistributionResponse>, Status> {
        if self.has("Registry.Distribution") {
            return self.canned("Registry.Distribution", &request);
        }
        self.record("Distribution", &request);
        let request = request.into_inner();
        self.admit("Distribution", &request.reference, request.credentials)?;
        Ok(Response::new(DistributionResponse {
            media_type: "application/vnd.oci.image.manifest.v1+json".into(),
            digest: DIGEST.into(),
            size: 528,
            platforms: vec!["linux/amd64".into()],
        }))
    }

    async fn configure_registries(
        &self,
        request: Request<ConfigureRegistriesRequest>,
    ) -> Result<Response<ConfigureRegistriesResponse>, Status> {
        self.record("ConfigureRegistries", &request);
        self.0.registry.lock().settings.push(request.into_inner());
        Ok(Response::new(ConfigureRegistriesResponse {}))
    }
}
