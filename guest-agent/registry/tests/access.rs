//! Who may: tokens, passwords, and what is told to whom.

mod common;

use base64::Engine as _;
use base64::prelude::BASE64_STANDARD;
use bytes::Bytes;
use common::{Act, Kept, Seen, Server, descriptor, quick};
use http::{Method, StatusCode};
use linkspan_registry::{Client, Credentials, Error, Settings, silent};
use linkspan_test_registry::noise;

fn password(password: &str) -> Credentials {
    Credentials::Password { username: "user".into(), password: password.into() }
}

fn refused(challenge: String) -> Act {
    let text = r#"{"errors":[{"code":"UNAUTHORIZED","message":"authentication required"}]}"#;
    Act::Answer(StatusCode::UNAUTHORIZED, vec![("www-authenticate", challenge)], text.into())
}

fn json(text: String) -> Act {
    Act::Answer(StatusCode::OK, vec![("content-type", "application/json".into())], text)
}

fn basic(password: &str) -> String {
    format!("Basic {}", BASE64_STANDARD.encode(format!("user:{password}")))
}

/// A token server that says what it was told, within a token; `life` in seconds.
async fn token_server(life: u64) -> Server {
    Server::with(move |seen| {
        let nth = seen.nth;
        if seen.header("authorization").is_some_and(|value| value != basic("right")) {
            return Act::Answer(
                StatusCode::UNAUTHORIZED,
                vec![],
                r#"{"details":"incorrect username or password"}"#.into(),
            );
        }
        json(format!(
            r#"{{"token":"t{nth}","expires_in":{life},"refresh_token":"identity-{nth}"}}"#
        ))
    })
    .await
}

fn bearer(tokens: &Server) -> String {
    format!(r#"Bearer realm="http://{}/token",service="reg""#, tokens.address)
}

/// A registry that takes the tokens for which `good` says so.
async fn registry(
    tokens: &Server,
    good: impl Fn(&Seen, &str) -> bool + Send + Sync + 'static,
) -> Server {
    let challenge = bearer(tokens);
    Server::with(move |seen| match seen.header("authorization") {
        Some(value) if good(seen, value) => Act::Serve,
        _ => refused(challenge.clone()),
    })
    .await
}

#[tokio::test]
async fn a_token_is_got_once_for_all_requests_of_a_kind() {
    let tokens = token_server(300).await;
    let server = registry(&tokens, |_, value| value == "Bearer t0").await;
    server.image("a", "latest", &[b"one", b"two"]);
    let repository = server.repository_as(quick(), "a", password("right"));
    let image = repository.image(&linkspan_images::Platform::here()).await.unwrap();
    for layer in &image.layers {
        repository.fetch_blob(layer, Kept::default().sink(), &silent()).await.unwrap();
    }
    let asked = tokens.seen();
    assert_eq!(asked.len(), 1);
    let query: Vec<(String, String)> =
        form_urlencoded::parse(asked[0].query.as_bytes()).into_owned().collect();
    for (key, value) in [("service", "reg"), ("scope", "repository:a:pull"), ("account", "user")] {
        assert!(query.contains(&(key.into(), value.into())), "{key} in {query:?}");
    }
    assert_eq!(asked[0].header("authorization"), Some(basic("right").as_str()));
}

#[tokio::test]
async fn a_token_that_ends_in_the_middle_is_renewed() {
    // The registry takes each token for two requests, whatever its life was said to be.
    let tokens = token_server(3600).await;
    let used = std::sync::Arc::new(parking_lot::Mutex::new(std::collections::HashMap::new()));
    let server = registry(&tokens, move |_, value| {
        let mut used = used.lock();
        let count: &mut usize = used.entry(value.to_owned()).or_default();
        *count += 1;
        *count <= 2
    })
    .await;
    server.image("a", "latest", &[b"one", b"two", b"three", b"four"]);
    let repository = server.repository(quick(), "a");
    let image = repository.image(&linkspan_images::Platform::here()).await.unwrap();
    for layer in &image.layers {
        repository.fetch_blob(layer, Kept::default().sink(), &silent()).await.unwrap();
    }
    let bytes = Bytes::from(noise(1, 100_000));
    let blob = descriptor("x", &bytes);
    repository.push_blob(&blob, &bytes, None, &silent()).await.unwrap();
    assert!(tokens.seen().len() >= 3);
}

#[tokio::test]
async fn an_identity_token_is_exchanged_by_post_and_is_in_no_url() {
    let tokens = token_server(300).await;
    let server = registry(&tokens, |_, value| value == "Bearer t0").await;
    let image = server.image("a", "latest", &[]);
    let credentials = Credentials::IdentityToken("se&cret".into());
    assert!(!format!("{credentials:?}").contains("cret"));
    let document = server.repository_as(quick(), "a", credentials).document().await.unwrap();
    assert_eq!(document.digest, image.digest);
    let asked = tokens.seen();
    assert_eq!((asked.len(), &asked[0].method), (1, &Method::POST));
    assert!(!asked[0].uri.contains("cret"));
}

#[tokio::test]
async fn a_registry_token_is_sent_as_it_is() {
    let tokens = token_server(300).await;
    let server = registry(&tokens, |_, value| value == "Bearer mine").await;
    server.image("a", "latest", &[]);
    let mine = Credentials::RegistryToken("mine".into());
    server.repository_as(quick(), "a", mine).document().await.unwrap();
    let other = Credentials::RegistryToken("other".into());
    let error = server.repository_as(quick(), "a", other).document().await.unwrap_err();
    assert_eq!(error.to_string(), "unauthorized: authentication required");
    assert!(tokens.seen().is_empty());
}

#[tokio::test]
async fn a_password_is_shown_where_it_is_wanted() {
    let rule = |seen: &Seen| match seen.header("authorization") {
        Some(value) if value == basic("right") => Act::Serve,
        _ => refused(r#"Basic realm="Registry""#.into()),
    };
    let server = Server::with(rule).await;
    server.image("a", "latest", &[]);
    server.repository_as(quick(), "a", password("right")).document().await.unwrap();
    for bad in [password("wrong"), Credentials::Anonymous] {
        let error = server.repository_as(quick(), "a", bad).document().await.unwrap_err();
        assert!(matches!(error, Error::Unauthorized { .. }));
        assert_eq!(error.to_string(), "unauthorized: authentication required");
    }
    let client = Client::new(quick()).unwrap();
    let name = server.address.to_string();
    assert_eq!(client.login(&name, password("right")).await.unwrap(), None);
    assert!(matches!(
        client.login(&name, password("wrong")).await,
        Err(Error::Unauthorized { .. })
    ));
}

#[tokio::test]
async fn a_login_gives_an_identity_token_where_the_registry_has_them() {
    let tokens = token_server(300).await;
    let server = registry(&tokens, |_, value| value == "Bearer t0").await;
    let client = Client::new(quick()).unwrap();
    let name = server.address.to_string();
    let identity = client.login(&name, password("right")).await.unwrap();
    assert_eq!(identity.as_deref(), Some("identity-0"));
    assert!(tokens.seen()[0].query.contains("offline_token=true"));
    let error = client.login(&name, password("wrong")).await.unwrap_err();
    assert_eq!(error.to_string(), "unauthorized: incorrect username or password");
}

#[tokio::test]
async fn the_refusals_are_told_apart() {
    let tokens = token_server(300).await;
    let challenge = format!(r#"{},error="insufficient_scope""#, bearer(&tokens));
    let server = Server::with(move |seen| match seen.path.as_str() {
        "/v2/scope/manifests/latest" => refused(challenge.clone()),
        "/v2/denied/manifests/latest" => Act::status(403),
        "/v2/limited/manifests/latest" => Act::Answer(
            StatusCode::TOO_MANY_REQUESTS,
            vec![("retry-after", "999".into())],
            String::new(),
        ),
        "/v2/policy/manifests/latest" => Act::Answer(
            StatusCode::FORBIDDEN,
            vec![],
            r#"{"errors":[{"code":"QUARANTINED","message":"it has a virus","detail":"x"}]}"#.into(),
        ),
        _ => Act::Serve,
    })
    .await;
    let error = async |name: &str| server.repository(quick(), name).document().await.unwrap_err();
    let at = |name: &str| format!("{}/{name}", server.address);
    for name in ["scope", "denied"] {
        let denied = error(name).await;
        assert!(matches!(denied, Error::Denied { .. }));
        assert_eq!(
            denied.to_string(),
            format!(
                "pull access denied for {}, repository does not exist or may require 'docker login': denied: requested access to the resource is denied",
                at(name)
            )
        );
    }
    assert!(matches!(error("limited").await, Error::TooManyRequests { .. }));
    assert!(matches!(error("missing").await, Error::NotFound { .. }));
    let policy = error("policy").await;
    let Error::Refused { status: 403, refusal, .. } = &policy else { panic!("{policy:?}") };
    assert_eq!((refusal.code.as_str(), refusal.detail.as_str()), ("QUARANTINED", "\"x\""));
}

#[tokio::test]
async fn a_redirect_to_another_host_does_not_take_the_authorization_along() {
    let bytes = noise(1, 1000);
    let digest = descriptor("x", &bytes).digest;
    let store = Server::with(|seen| match seen.nth {
        0 => Act::Cut(100),
        _ => Act::Serve,
    })
    .await;
    store.blob("s", bytes.clone());
    let to = format!("http://{}/v2/s/blobs/{digest}?signature=x", store.address);
    let server = Server::with(move |seen| match seen.header("authorization") {
        None => refused(r#"Basic realm="Registry""#.into()),
        Some(_) if seen.path.contains("/blobs/") => Act::Answer(
            StatusCode::TEMPORARY_REDIRECT,
            vec![("location", to.clone())],
            String::new(),
        ),
        Some(_) => Act::Serve,
    })
    .await;
    let blob = server.blob("a", bytes.clone());
    let kept = Kept::default();
    let repository = server.repository_as(quick(), "a", password("right"));
    repository.fetch_blob(&blob, kept.sink(), &silent()).await.unwrap();
    assert_eq!(kept.bytes(), bytes);
    let seen = store.seen();
    assert_eq!(seen.len(), 2);
    assert!(seen.iter().all(|seen| seen.header("authorization").is_none()));
    assert_eq!(seen[1].header("range"), Some("bytes=100-"));
}

#[tokio::test]
async fn an_upload_that_leads_to_another_host_does_not_take_the_authorization_along() {
    let store = Server::with(|seen| {
        let location = ("location", seen.uri.clone());
        let answer = |status, headers| Act::Answer(status, headers, String::new());
        match (&seen.method, seen.header("content-range")) {
            (&Method::PATCH, _) if seen.nth == 0 => Act::status(500),
            (&Method::PATCH, Some(range)) => {
                let last = range.split('-').nth(1).unwrap();
                answer(StatusCode::ACCEPTED, vec![location, ("range", format!("0-{last}"))])
            }
            (&Method::GET, _) => {
                answer(StatusCode::NO_CONTENT, vec![location, ("range", "0-0".into())])
            }
            (&Method::PUT, _) => answer(StatusCode::CREATED, vec![]),
            _ => Act::status(400),
        }
    })
    .await;
    let to = format!("http://{}/elsewhere", store.address);
    let server = Server::with(move |seen| match (seen.header("authorization"), &seen.method) {
        (None, _) => refused(r#"Basic realm="Registry""#.into()),
        (Some(_), &Method::POST) => {
            Act::Answer(StatusCode::ACCEPTED, vec![("location", to.clone())], String::new())
        }
        _ => Act::Serve,
    })
    .await;
    let settings = Settings { upload_chunk: Some(300), ..quick() };
    let bytes = Bytes::from(noise(1, 600));
    let blob = descriptor("x", &bytes);
    let repository = server.repository_as(settings, "a", password("right"));
    repository.push_blob(&blob, &bytes, None, &silent()).await.unwrap();
    let seen = store.seen();
    for method in [Method::PATCH, Method::GET, Method::PUT] {
        assert!(seen.iter().any(|seen| seen.method == method), "{method}");
    }
    assert!(seen.iter().all(|seen| seen.header("authorization").is_none()));
}

#[tokio::test]
async fn redirects_in_circles_end() {
    let server = Server::with(|seen| {
        if seen.path == "/v2/" {
            return Act::Serve;
        }
        Act::Answer(StatusCode::FOUND, vec![("location", seen.path.clone())], String::new())
    })
    .await;
    let error = server.repository(quick(), "a").document().await.unwrap_err();
    assert!(matches!(error, Error::Protocol { .. }), "{error}");
}

#[tokio::test]
async fn a_password_is_not_sent_to_a_token_server_without_encryption() {
    let server = Server::with(|_| {
        refused(r#"Bearer realm="http://tokens.example/token",service="s""#.into())
    })
    .await;
    let repository = server.repository_as(quick(), "a", password("right"));
    let error = repository.document().await.unwrap_err();
    assert!(error.to_string().contains("without encryption"), "{error}");
}

#[tokio::test]
async fn a_search_finds_where_the_registry_has_one() {
    let server = Server::with(|seen| {
        if seen.path != "/v1/search" {
            return Act::Serve;
        }
        assert_eq!(seen.query, "q=a+b%26c&n=1");
        json(
            r#"{"num_results":2,"results":[{"name":"busybox","description":"d","star_count":7,"is_official":true},{"name":"x/y"}]}"#
                .into(),
        )
    })
    .await;
    let client = Client::new(quick()).unwrap();
    let name = server.address.to_string();
    let found = client.search(&name, "a b&c", 1, Credentials::Anonymous).await.unwrap();
    assert_eq!(found.len(), 1);
    assert_eq!(
        (found[0].name.as_str(), found[0].star_count, found[0].is_official),
        ("busybox", 7, true)
    );
    let error = client.search("quay", "a", 1, Credentials::Anonymous).await.unwrap_err();
    assert!(matches!(error, Error::Setting { .. }), "not the Hub: {error}");
    let without = Server::start().await;
    let name = without.address.to_string();
    let error = client.search(&name, "a", 1, Credentials::Anonymous).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        format!("search in `{name}` is not supported: the registry has none")
    );
}
