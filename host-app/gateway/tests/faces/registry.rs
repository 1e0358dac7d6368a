//! `RegistryService` through the daemon: as whom, and with which settings known to the guest.

use linkspan_agent_client::fake::RegistryRequest;
use linkspan_proto::{
    error::{ErrorCode, Failure},
    host::v1::{
        RegistryMirrorSetting, RegistrySettingsPatch, RegistrySettingsRequest,
        UpdateRegistrySettingsRequest, host_service_client::HostServiceClient,
    },
    v1::{
        ConfigureRegistriesRequest, LoginRequest, PullImageRequest, PushImageRequest,
        RegistryCredentials, SearchImagesRequest, pull_image_response::Kind,
        registry_service_client::RegistryServiceClient,
    },
};
use tonic::transport::Channel;

use crate::common::Daemon;

// user:secret and someone:else.
const CONFIG: &str = r#"{"auths": {
    "https://index.docker.io/v1/": {"auth": "dXNlcjpzZWNyZXQ="},
    "host:5000": {"auth": "c29tZW9uZTplbHNl"}
}}"#;

fn credentials(username: &str, password: &str) -> RegistryCredentials {
    RegistryCredentials {
        username: username.into(),
        password: password.into(),
        ..Default::default()
    }
}

impl Daemon {
    fn with_logins(self) -> Self {
        let folder = self.folder.path().join("docker");
        std::fs::create_dir_all(&folder).unwrap();
        std::fs::write(folder.join("config.json"), CONFIG).unwrap();
        self
    }

    fn calls(&self) -> Vec<RegistryRequest> {
        self.engine.guest.registry_requests().calls
    }

    fn configured(&self) -> Vec<ConfigureRegistriesRequest> {
        self.engine.guest.registry_requests().settings
    }
}

async fn pull(
    channel: &Channel,
    reference: &str,
    credentials: Option<RegistryCredentials>,
) -> Result<Vec<Kind>, tonic::Status> {
    let mut client = RegistryServiceClient::new(channel.clone());
    let request =
        PullImageRequest { reference: reference.into(), credentials, ..Default::default() };
    let mut answers = client.pull(request).await?.into_inner();
    let mut kinds = Vec::new();
    while let Some(answer) = answers.message().await? {
        kinds.extend(answer.kind);
    }
    Ok(kinds)
}

#[tokio::test]
async fn a_call_without_credentials_gets_those_of_its_registry() {
    let daemon = Daemon::start().with_logins();
    let channel = daemon.client().await;
    let kinds = pull(&channel, "someone/private", None).await.unwrap();
    assert!(matches!(kinds.last(), Some(Kind::Pulled(_))), "{kinds:?}");
    assert!(matches!(kinds[0], Kind::Progress(_)), "{kinds:?}");
    let mut client = RegistryServiceClient::new(channel.clone());
    let push = PushImageRequest { reference: "host:5000/app".into(), ..Default::default() };
    let _ = client.push(push).await.unwrap();
    let search = SearchImagesRequest { term: "other.example/box".into(), ..Default::default() };
    client.search(search).await.unwrap();
    client.login(LoginRequest { server: String::new(), credentials: None }).await.unwrap();
    let seen: Vec<_> =
        daemon.calls().into_iter().map(|call| (call.method, call.credentials)).collect();
    assert_eq!(
        seen,
        [
            ("Pull", Some(credentials("user", "secret"))),
            ("Push", Some(credentials("someone", "else"))),
            ("Search", None),
            ("Login", Some(credentials("user", "secret"))),
        ]
    );
}

#[tokio::test]
async fn credentials_of_a_call_are_not_replaced() {
    let daemon = Daemon::start().with_logins();
    let channel = daemon.client().await;
    for own in [credentials("other", "wrong"), RegistryCredentials::default()] {
        let status = pull(&channel, "private", Some(own.clone())).await.unwrap_err();
        assert_eq!(Failure::from(status).code, ErrorCode::PermissionDenied);
        assert_eq!(daemon.calls().last().unwrap().credentials, Some(own));
    }
}

#[tokio::test]
async fn a_guest_is_told_the_settings_before_its_first_call_and_after_a_change() {
    let daemon = Daemon::start().with_logins();
    let channel = daemon.client().await;
    pull(&channel, "busybox", None).await.unwrap();
    pull(&channel, "busybox", None).await.unwrap();
    assert_eq!(daemon.configured().len(), 1, "what it knows is not told again");
    assert!(daemon.configured()[0].mirrors.is_empty());

    let mut host = HostServiceClient::new(channel.clone());
    let mirror = RegistryMirrorSetting { url: "http://host:5000".into(), authoritative: true };
    let patch = RegistrySettingsPatch {
        add_mirrors: vec![mirror.clone()],
        add_insecure: vec!["lab.example".into()],
        ..Default::default()
    };
    let request = UpdateRegistrySettingsRequest { patch: Some(patch) };
    let updated = host.update_registry_settings(request).await.unwrap().into_inner();
    let shown = host.registry_settings(RegistrySettingsRequest {}).await.unwrap().into_inner();
    assert_eq!(updated.settings, shown.settings);
    assert_eq!(shown.settings.unwrap().mirrors, [mirror]);
    pull(&channel, "busybox", None).await.unwrap();
    let configured = daemon.configured();
    assert_eq!(configured.len(), 2);
    assert_eq!(configured[1].insecure, ["lab.example"]);
    let told = &configured[1].mirrors[0];
    assert!(told.authoritative && told.url == "http://host:5000", "{told:?}");
    assert_eq!(told.credentials, Some(credentials("someone", "else")));

    // The next boot knows nothing of it.
    daemon.engine.guest.break_connections();
    daemon.engine.guest.boot("second");
    pull(&channel, "busybox", None).await.unwrap();
    assert_eq!(daemon.configured().len(), 3);
}

#[tokio::test]
async fn settings_that_cannot_be_change_nothing() {
    let daemon = Daemon::start();
    let channel = daemon.client().await;
    let mut host = HostServiceClient::new(channel.clone());
    let patch = RegistrySettingsPatch {
        add_insecure: vec!["http://lab.example".into()],
        parallel_downloads: Some(2),
        ..Default::default()
    };
    let request = UpdateRegistrySettingsRequest { patch: Some(patch) };
    let refused = Failure::from(host.update_registry_settings(request).await.unwrap_err());
    assert_eq!(refused.code, ErrorCode::InvalidArgument);
    assert!(refused.message.contains("http://lab.example"), "{refused}");
    let shown = host.registry_settings(RegistrySettingsRequest {}).await.unwrap().into_inner();
    assert_eq!(shown.settings.unwrap().parallel_downloads, 0);
    let mut client = RegistryServiceClient::new(channel);
    let request = ConfigureRegistriesRequest::default();
    let refused = Failure::from(client.configure_registries(request).await.unwrap_err());
    assert_eq!(refused.code, ErrorCode::Unsupported);
}
