//! Ways to a registry: mirrors, plain HTTP and TLS, authorities, proxies, the host's loopback.

mod common;

use std::sync::Arc;

use common::{Act, Kept, Seen, Server, quick};
use linkspan_images::Reference;
use linkspan_registry::{
    Client, Credentials, Error, Mirror, Proxies, Repository, Settings, silent,
};
use linkspan_test_registry::noise;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;

fn mirror(server: &Server, authoritative: bool) -> Mirror {
    Mirror {
        url: format!("http://{}", server.address),
        authoritative,
        credentials: Credentials::Anonymous,
    }
}

fn hub(settings: Settings, name: &str) -> Repository {
    let who = Credentials::Password { username: "user".into(), password: "hub".into() };
    let client = Client::new(settings).unwrap();
    client.repository(&Reference::parse(name).unwrap(), who)
}

/// An acceptor for this name, and the certificate in PEM.
fn tls(name: &str) -> (TlsAcceptor, String) {
    let made = rcgen::generate_simple_self_signed([name.to_owned()]).unwrap();
    let key = PrivateKeyDer::try_from(made.signing_key.serialize_der()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![made.cert.der().clone()], key)
        .unwrap();
    (TlsAcceptor::from(Arc::new(config)), made.cert.pem())
}

fn serve(_: &Seen) -> Act {
    Act::Serve
}

#[tokio::test]
async fn mirrors_are_asked_in_order_and_without_the_hubs_password() {
    let empty = Server::start().await;
    let full = Server::with(|seen| {
        // A mirror that wants a password does not get the Hub's.
        match seen.header("authorization") {
            None => Act::Serve,
            Some(_) => Act::status(400),
        }
    })
    .await;
    let image = full.image("library/busybox", "latest", &[b"layer"]);
    let settings =
        Settings { mirrors: vec![mirror(&empty, false), mirror(&full, true)], ..quick() };
    let repository = hub(settings, "busybox");
    let got = repository.image(&linkspan_images::Platform::here()).await.unwrap();
    assert_eq!(got.manifest.digest, image.digest);
    let kept = Kept::default();
    repository.fetch_blob(&got.layers[0], kept.sink(), &silent()).await.unwrap();
    assert_eq!(kept.bytes(), b"layer");
    assert_eq!(empty.lines().len(), 2);
    assert!(repository.head().await.unwrap().is_some());
}

#[tokio::test]
async fn a_mirror_that_lies_or_breaks_is_made_good_by_the_next() {
    let bytes = noise(1, 1000);
    for rule in [
        |seen: &Seen| match seen.path.contains("/blobs/") {
            true => Act::Lie(vec![7; 1000].into()),
            false => Act::Serve,
        },
        |seen: &Seen| match seen.path.contains("/blobs/") {
            true => Act::Cut(333),
            false => Act::Serve,
        },
    ] {
        let bad = Server::with(rule).await;
        let good = Server::start().await;
        bad.blob("library/a", bytes.clone());
        let blob = good.blob("library/a", bytes.clone());
        let settings =
            Settings { mirrors: vec![mirror(&bad, false), mirror(&good, true)], ..quick() };
        let kept = Kept::default();
        hub(settings, "a").fetch_blob(&blob, kept.sink(), &silent()).await.unwrap();
        assert_eq!(kept.bytes(), bytes);
        assert_eq!(bad.lines().len(), 1);
    }
}

#[tokio::test]
async fn what_an_authoritative_mirror_lacks_is_not_found_and_nothing_else_is_asked() {
    let first = Server::start().await;
    let second = Server::start().await;
    second.image("library/a", "latest", &[]);
    let settings =
        Settings { mirrors: vec![mirror(&first, true), mirror(&second, false)], ..quick() };
    let repository = hub(settings, "a");
    let error = repository.document().await.unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }));
    assert_eq!(
        error.to_string(),
        "manifest for a:latest not found: manifest unknown: manifest unknown"
    );
    assert_eq!(repository.head().await.unwrap(), None);
    assert_eq!((first.lines().len(), second.seen().len()), (2, 0));
}

#[tokio::test]
async fn an_insecure_registry_is_asked_by_https_and_then_by_http() {
    let plain = Server::start().await;
    let (acceptor, _) = tls("other.example");
    let encrypted = Server::at("127.0.0.1:0", Some(acceptor), serve).await;
    for server in [&plain, &encrypted] {
        let image = server.image("a", "latest", &[]);
        let document = server.repository(quick(), "a").document().await.unwrap();
        assert_eq!(document.digest, image.digest);
    }
}

#[tokio::test]
async fn the_loopback_of_a_name_is_that_of_the_host() {
    let server = Server::at("127.0.0.2:0", None, serve).await;
    let image = server.image("a", "latest", &[]);
    let settings = Settings { loopback_at: Some("127.0.0.2".parse().unwrap()), ..quick() };
    for host in ["localhost", "127.0.0.1", "127.0.0.2", "[::1]"] {
        let name = format!("{host}:{}/a", server.address.port());
        let reference = Reference::parse(&name).unwrap();
        let client = Client::new(settings.clone()).unwrap();
        let repository = client.repository(&reference, Credentials::Anonymous);
        assert_eq!(repository.document().await.unwrap().digest, image.digest, "{name}");
    }
}

/// A proxy that opens a tunnel to `server`, whatever it is asked for, and notes the request.
async fn proxy(
    server: std::net::SocketAddr,
) -> (u16, tokio::sync::mpsc::UnboundedReceiver<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let (told, heads) = tokio::sync::mpsc::unbounded_channel();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let told = told.clone();
            tokio::spawn(async move {
                let mut head = Vec::new();
                while !head.ends_with(b"\r\n\r\n") {
                    head.push(stream.read_u8().await.unwrap());
                }
                told.send(String::from_utf8(head).unwrap()).unwrap();
                stream.write_all(b"HTTP/1.1 200 Connection established\r\n\r\n").await.unwrap();
                let mut to = TcpStream::connect(server).await.unwrap();
                let _ = tokio::io::copy_bidirectional(&mut stream, &mut to).await;
            });
        }
    });
    (port, heads)
}

#[tokio::test]
async fn https_goes_through_a_tunnel_of_the_proxy_and_trusts_the_authorities_of_the_settings() {
    let (acceptor, certificate) = tls("registry.example");
    let server = Server::at("127.0.0.1:0", Some(acceptor), serve).await;
    let image = server.image("a", "latest", &[]);
    let (port, mut heads) = proxy(server.address).await;
    let proxies =
        Proxies { https: Some(format!("http://me:word@127.0.0.1:{port}")), ..Proxies::default() };
    let ask = async |settings: Settings| {
        let reference = Reference::parse("registry.example/a").unwrap();
        let client = Client::new(settings).unwrap();
        client.repository(&reference, Credentials::Anonymous).document().await
    };
    let trusting = Settings { proxies: proxies.clone(), authorities: vec![certificate], ..quick() };
    assert_eq!(ask(trusting.clone()).await.unwrap().digest, image.digest);
    let head = heads.recv().await.unwrap();
    assert!(head.starts_with("CONNECT registry.example:443 HTTP/1.1\r\n"), "{head}");
    assert!(head.contains("Proxy-Authorization: Basic bWU6d29yZA=="), "{head}");
    let error = ask(Settings { proxies, ..quick() }).await.unwrap_err();
    assert!(matches!(error, Error::Tls { .. }), "{error:?}");
    // Without TLS at the other end the reason is told in Docker's words.
    let plain = Server::start().await;
    let (port, _heads) = proxy(plain.address).await;
    let proxies = Proxies { https: Some(format!("http://127.0.0.1:{port}")), ..Proxies::default() };
    let error = ask(Settings { proxies, ..quick() }).await.unwrap_err();
    let mut chain = vec![error.to_string()];
    let mut next = std::error::Error::source(&error);
    while let Some(cause) = next {
        chain.push(cause.to_string());
        next = cause.source();
    }
    assert!(chain.join(": ").contains("gave an HTTP response to an HTTPS client"), "{chain:?}");
    // An authority is for its names only.
    let reference = Reference::parse("other.example/a").unwrap();
    let client = Client::new(trusting).unwrap();
    let other = client.repository(&reference, Credentials::Anonymous).document().await;
    assert!(matches!(other, Err(Error::Tls { .. })));
}

#[tokio::test]
async fn http_names_the_whole_address_to_the_proxy_and_loopback_needs_none() {
    let proxy = Server::start().await;
    let image = proxy.image("library/a", "latest", &[]);
    let loopback = Server::start().await;
    loopback.image("a", "latest", &[]);
    let settings = Settings {
        proxies: Proxies {
            http: Some(format!("http://me:word@{}", proxy.address)),
            ..Proxies::default()
        },
        mirrors: vec![Mirror {
            url: "http://mirror.example/hub".into(),
            authoritative: true,
            credentials: Credentials::Anonymous,
        }],
        ..quick()
    };
    // The test server serves what follows /v2/ only: a prefix shows as not found.
    assert!(hub(settings.clone(), "a").document().await.is_err());
    let seen = proxy.seen();
    assert_eq!(seen[0].uri, "http://mirror.example/hub/v2/library/a/manifests/latest");
    assert_eq!(seen[0].header("proxy-authorization"), Some("Basic bWU6d29yZA=="));
    assert_eq!(seen[0].header("host"), Some("mirror.example"));
    let mut without = settings.clone();
    without.mirrors[0].url = "http://mirror.example".into();
    assert_eq!(hub(without, "a").document().await.unwrap().digest, image.digest);
    loopback.repository(settings, "a").document().await.unwrap();
    let through = proxy.seen().iter().filter(|seen| !seen.uri.contains("mirror.example")).count();
    assert_eq!(through, 0);
}

#[tokio::test]
async fn settings_that_cannot_be_used_are_named() {
    for settings in [
        Settings { authorities: vec!["no certificate".into()], ..quick() },
        Settings {
            proxies: Proxies { https: Some("socks5://p:1".into()), ..Proxies::default() },
            ..quick()
        },
    ] {
        assert!(matches!(Client::new(settings), Err(Error::Setting { .. })));
    }
}
