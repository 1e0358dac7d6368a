//! Other people's programs: Debian's `docker-registry`, and `skopeo`.

mod common;

use bytes::Bytes;
use common::{Kept, Server, descriptor, quick};
use linkspan_images::{Platform, Reference};
use linkspan_registry::{
    Client, Content, Credentials, DOCKER_MANIFEST, Error, OCI_INDEX, OCI_MANIFEST, Pushed,
    Repository, Settings, silent,
};
use linkspan_test_registry::{PASSWORD, Process, Setup, USER, is_installed, noise};

/// The registry and who may use it.
fn registry(guarded: bool) -> (Process, Credentials) {
    let registry =
        Process::start(Setup { tls: guarded.then_some("127.0.0.1"), guarded, ..Setup::default() });
    let who = if guarded {
        Credentials::Password { username: USER.into(), password: PASSWORD.into() }
    } else {
        Credentials::Anonymous
    };
    (registry.expect("it is installed"), who)
}

fn skopeo(who: &Credentials, arguments: &[&str]) -> String {
    let word = format!("{USER}:{PASSWORD}");
    let guarded = matches!(who, Credentials::Password { .. });
    let (verify, creds): (&[_], &[_]) = match arguments[0] {
        "inspect" => (&["--tls-verify=false"], &["--creds", &word]),
        _ => (
            &["--src-tls-verify=false", "--dest-tls-verify=false"],
            &["--src-creds", &word, "--dest-creds", &word],
        ),
    };
    let creds = if guarded { creds } else { &[] };
    linkspan_test_registry::skopeo(&[&arguments[..1], verify, creds, &arguments[1..]].concat())
}

fn repository(client: &Client, authority: &str, who: &Credentials, name: &str) -> Repository {
    let reference = Reference::parse(&format!("{authority}/{name}")).unwrap();
    client.repository(&reference, who.clone())
}

/// A manifest and its blobs, pushed; the manifest's bytes.
async fn push(repository: &Repository, layer: &Bytes) -> Bytes {
    let here = Platform::here();
    let at = descriptor("application/vnd.oci.image.layer.v1.tar", layer);
    let config = Bytes::from(format!(
        r#"{{"os":"{}","architecture":"{}","config":{{}},"rootfs":{{"type":"layers","diff_ids":["{}"]}}}}"#,
        here.os, here.architecture, at.digest
    ));
    let config_at = descriptor("application/vnd.oci.image.config.v1+json", &config);
    for (blob, source) in [(&config_at, &config), (&at, layer)] {
        let pushed = repository.push_blob(blob, source, None, &silent()).await.unwrap();
        assert_eq!(pushed, Pushed::Uploaded);
        assert!(repository.has_blob(blob.digest).await.unwrap());
    }
    let manifest = Bytes::from(common::manifest(&config_at, &[at]));
    repository.put_manifest(OCI_MANIFEST, manifest.clone(), false).await.unwrap();
    manifest
}

/// Push, look and copy with skopeo, pull.
async fn round_trip(settings: Settings, authority: &str, who: &Credentials) {
    let client = Client::new(settings).unwrap();
    let at = |name: &str| repository(&client, authority, who, name);
    // Two blocks of zeros are an empty tar; what follows its end is ignored.
    let mut layer = vec![0; 1024];
    layer.extend(noise(1, 300_000));
    let layer = Bytes::from(layer);
    let source = at("first/app:1");
    let manifest = push(&source, &layer).await;
    let pushed = descriptor(OCI_MANIFEST, &manifest);
    let entry = common::index(&[(&pushed, &Platform::here().architecture, "")]);
    let all = at("first/app:all");
    let index = all.put_manifest(OCI_INDEX, Bytes::from(entry), false).await.unwrap();
    // In no order: the specification asks for one, and this registry has none.
    let mut tags = source.tags().await.unwrap();
    tags.sort_unstable();
    assert_eq!(tags, ["1", "all"]);

    let url = |name: &str| format!("docker://{authority}/{name}");
    let inspected = skopeo(who, &["inspect", "--raw", &url("first/app:1")]);
    assert_eq!(inspected.as_bytes(), manifest);
    let folder = tempfile::tempdir().unwrap();
    let layout = format!("oci:{}:all", folder.path().join("layout").display());
    skopeo(who, &["copy", "--all", "--preserve-digests", &url("first/app:all"), &layout]);
    skopeo(who, &["copy", "--all", "--preserve-digests", &layout, &url("second:back")]);
    skopeo(who, &["copy", "--format", "v2s2", &url("first/app:1"), &url("third:docker")]);

    let back = at("second:back").image(&Platform::here()).await.unwrap();
    assert_eq!(back.index.as_ref().unwrap().digest, index);
    assert_eq!(back.manifest.bytes, manifest);
    let kept = Kept::default();
    at("second").fetch_blob(&back.layers[0], kept.sink(), &silent()).await.unwrap();
    assert!(kept.is_committed() && kept.bytes() == layer);
    let docker = at("third:docker").document().await.unwrap();
    assert_eq!(docker.media_type, DOCKER_MANIFEST);
    assert!(matches!(docker.content, Content::Image { .. }));

    let head = at("second:back").head().await.unwrap().unwrap();
    assert_eq!(head.digest, index);
    let blob = &back.layers[0];
    let mounted = at("fourth").push_blob(blob, &layer, Some("second"), &silent()).await.unwrap();
    assert_eq!(mounted, Pushed::Mounted);
    let error = at("first/app:none").document().await.unwrap_err();
    assert!(error.to_string().contains("manifest unknown: manifest unknown"), "{error}");
}

#[tokio::test(flavor = "multi_thread")]
async fn what_skopeo_copies_keeps_its_digests() {
    if !is_installed("skopeo") {
        return;
    }
    let server = Server::start().await;
    round_trip(quick(), &server.address.to_string(), &Credentials::Anonymous).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_real_registry_takes_and_gives_images_with_and_without_tls_and_password() {
    if !is_installed("docker-registry") || !is_installed("skopeo") {
        return;
    }
    for guarded in [false, true] {
        for upload_chunk in [None, Some(100_000)] {
            let (registry, who) = registry(guarded);
            let settings = Settings { upload_chunk, ..quick() };
            round_trip(settings, &registry.authority, &who).await;
        }
    }
    let (registry, who) = registry(true);
    let client = Client::new(quick()).unwrap();
    assert_eq!(client.login(&registry.authority, who).await.unwrap(), None);
    for who in [
        Credentials::Anonymous,
        Credentials::Password { username: USER.into(), password: "wrong".into() },
    ] {
        let error =
            repository(&client, &registry.authority, &who, "a").document().await.unwrap_err();
        assert!(matches!(error, Error::Unauthorized { .. }), "{error:?}");
        assert_eq!(error.to_string(), "unauthorized: authentication required");
    }
}
