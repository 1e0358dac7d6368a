//! Valid inputs.

mod orders;

use std::io::Write as _;

use linkspan_proto::preface::{Kind, Preface};
pub(crate) use orders::{message, orders};
use serde_json::json;
use sha2::{Digest as _, Sha256};
use simple_dns::{CLASS, Name, Packet, QCLASS, QTYPE, Question, TYPE};

fn digest(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

fn tar(files: &[(&str, &[u8])]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (path, bytes) in files {
        let mut header = tar::Header::new_ustar();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, *bytes).expect("a tar in memory");
    }
    tar.into_inner().expect("a tar in memory")
}

/// Every kind of entry that a layer has.
fn layer() -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |kind: tar::EntryType, path: &str, link: &str, bytes: &[u8]| {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(kind);
        header.set_size(bytes.len() as u64);
        header.set_mode(0o755);
        if link.is_empty() {
            tar.append_data(&mut header, path, bytes).expect("a tar in memory");
        } else {
            tar.append_link(&mut header, path, link).expect("a tar in memory");
        }
    };
    add(tar::EntryType::Directory, "etc/", "", b"");
    add(tar::EntryType::Regular, "etc/passwd", "", b"root:x:0:0:root:/root:/bin/sh\n");
    add(tar::EntryType::Symlink, "etc/mtab", "/proc/mounts", b"");
    add(tar::EntryType::Link, "etc/again", "etc/passwd", b"");
    add(tar::EntryType::Fifo, "etc/fifo", "", b"");
    add(tar::EntryType::Regular, "etc/.wh.gone", "", b"");
    add(tar::EntryType::Regular, "opaque/.wh..wh..opq", "", b"");
    let long = "long/".repeat(40) + "name";
    tar.append_pax_extensions([
        ("path", long.as_bytes()),
        ("mtime", b"1.5"),
        ("SCHILY.xattr.user.key", b"value"),
    ])
    .expect("a tar in memory");
    let mut header = tar::Header::new_ustar();
    header.set_size(4);
    tar.append_data(&mut header, "short", &b"long"[..]).expect("a tar in memory");
    let mut header = tar::Header::new_gnu();
    header.set_size(3);
    tar.append_data(&mut header, "gnu/".repeat(40) + "name", &b"gnu"[..]).expect("a tar in memory");
    tar.into_inner().expect("a tar in memory")
}

pub(crate) fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(bytes).expect("in memory");
    encoder.finish().expect("in memory")
}

pub(crate) fn plain_archives() -> Vec<Vec<u8>> {
    vec![layer(), tar(&[("a", b"1"), ("b/c", b"2")]), Vec::new()]
}

pub(crate) fn layers() -> Vec<Vec<u8>> {
    let mut all = plain_archives();
    all.push(gzip(&layer()));
    all.push(zstd::encode_all(&layer()[..], 1).expect("in memory"));
    all
}

fn config_of(layer: &[u8]) -> Vec<u8> {
    let config = json!({
        "architecture": if cfg!(target_arch = "aarch64") { "arm64" } else { "amd64" },
        "os": "linux",
        "created": "2024-01-02T03:04:05.678Z",
        "config": {
            "User": "app:apps", "Env": ["PATH=/bin", "A=b"], "Entrypoint": ["/bin/sh", "-c"],
            "Cmd": ["true"], "WorkingDir": "/srv", "ExposedPorts": {"80/tcp": {}},
            "Volumes": {"/data": {}}, "Labels": {"key": "value"}, "StopSignal": "SIGTERM",
            "Healthcheck": {"Test": ["CMD", "true"], "Interval": 1_000_000_000, "Retries": 3}
        },
        "rootfs": {"type": "layers", "diff_ids": [format!("sha256:{}", digest(layer))]},
        "history": [{"created": "2024-01-02T03:04:05Z", "created_by": "ADD file"},
                    {"created_by": "CMD", "empty_layer": true}]
    });
    config.to_string().into_bytes()
}

pub(crate) fn configs() -> Vec<Vec<u8>> {
    vec![config_of(&layer()), b"{}".to_vec(), b"null".to_vec()]
}

/// What `docker save` writes, around a configuration that may be anything.
pub(crate) fn image_with_config(config: &[u8]) -> Vec<u8> {
    docker(&items(), config)
}

/// `manifest.json` of a docker-archive.
fn items() -> Vec<u8> {
    json!([{"Config": "config.json", "RepoTags": ["a/b:c"], "Layers": ["layer.tar"]}])
        .to_string()
        .into_bytes()
}

fn docker(items: &[u8], config: &[u8]) -> Vec<u8> {
    tar(&[("manifest.json", items), ("config.json", config), ("layer.tar", &layer())])
}

/// A descriptor of OCI's.
fn blob(media: &str, bytes: &[u8]) -> serde_json::Value {
    json!({"mediaType": format!("application/vnd.oci.image.{media}"),
           "digest": format!("sha256:{}", digest(bytes)), "size": bytes.len()})
}

fn manifest() -> Vec<u8> {
    let layer = layer();
    json!({
        "schemaVersion": 2,
        "config": blob("config.v1+json", &config_of(&layer)),
        "layers": [blob("layer.v1.tar+gzip", &gzip(&layer))]
    })
    .to_string()
    .into_bytes()
}

fn index(manifest: &[u8]) -> Vec<u8> {
    let manifests = [blob("manifest.v1+json", manifest)];
    json!({"schemaVersion": 2, "manifests": manifests}).to_string().into_bytes()
}

/// An OCI layout with one image.
fn oci(index: &[u8], manifest: &[u8]) -> Vec<u8> {
    let layer = layer();
    let (packed, config) = (gzip(&layer), config_of(&layer));
    let path = |bytes: &[u8]| format!("blobs/sha256/{}", digest(bytes));
    tar(&[
        ("oci-layout", br#"{"imageLayoutVersion":"1.0.0"}"#),
        ("index.json", index),
        (&path(manifest), manifest),
        (&path(&config), &config),
        (&path(&packed), &packed),
    ])
}

pub(crate) fn manifests() -> Vec<Vec<u8>> {
    vec![manifest(), index(&manifest())]
}

/// A layout around a manifest that may be anything.
pub(crate) fn image_with_manifest(manifest: &[u8]) -> Vec<u8> {
    oci(&index(manifest), manifest)
}

pub(crate) fn indexes() -> Vec<Vec<u8>> {
    let several = json!({"manifests": [
        {"digest": format!("sha256:{}", digest(&manifest())), "size": manifest().len(),
         "platform": {"os": "linux", "architecture": "s390x", "variant": "v1"},
         "annotations": {"org.opencontainers.image.ref.name": "a/b:c"}},
        blob("manifest.v1+json", b"not there")
    ]});
    vec![index(&manifest()), several.to_string().into_bytes(), items()]
}

/// A layout and a docker-archive around what names their images.
pub(crate) fn images_with_index(index: &[u8]) -> [Vec<u8>; 2] {
    [oci(index, &manifest()), docker(index, &config_of(&layer()))]
}

pub(crate) fn images() -> Vec<Vec<u8>> {
    let docker = image_with_config(&config_of(&layer()));
    vec![image_with_manifest(&manifest()), gzip(&docker), docker]
}

pub(crate) fn references() -> Vec<Vec<u8>> {
    let digest = format!("busybox@sha256:{}", "a".repeat(64));
    ["busybox", "a/b:c", "registry.example:5000/x/y:1.2-3", "[::1]:80/a", "localhost/a", &digest]
        .map(|text| text.as_bytes().to_vec())
        .into()
}

pub(crate) fn profiles() -> Vec<Vec<u8>> {
    let profile = json!({
        "defaultAction": "SCMP_ACT_ERRNO",
        "defaultErrnoRet": 1,
        "archMap": [{"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86"]}],
        "syscalls": [
            {"names": ["read", "write", "exit_group"], "action": "SCMP_ACT_ALLOW"},
            {"names": ["personality"], "action": "SCMP_ACT_ALLOW",
             "args": [{"index": 0, "value": 8, "valueTwo": 255, "op": "SCMP_CMP_MASKED_EQ"}]},
            {"names": ["clone"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38,
             "args": [{"index": 0, "value": 2_114_060_288, "op": "SCMP_CMP_GT"}],
             "includes": {"caps": ["CAP_SYS_ADMIN"], "minKernel": "4.8"},
             "excludes": {"arches": ["s390"]}}
        ]
    });
    vec![profile.to_string().into_bytes(), br#"{"defaultAction":"SCMP_ACT_ALLOW"}"#.to_vec()]
}

pub(crate) fn questions() -> Vec<Vec<u8>> {
    let question = |name: &str, kind: TYPE| {
        let mut packet = Packet::new_query(7);
        packet.questions.push(Question::new(
            Name::new_unchecked(name).into_owned(),
            QTYPE::TYPE(kind),
            QCLASS::CLASS(CLASS::IN),
            false,
        ));
        packet.build_bytes_vec().expect("in memory")
    };
    vec![
        question("db", TYPE::A),
        question("database.example.com", TYPE::AAAA),
        question("1.0.0.10.in-addr.arpa", TYPE::PTR),
        question("other", TYPE::MX),
    ]
}

pub(crate) fn prefaces() -> Vec<Vec<u8>> {
    [Kind::Upload, Kind::Download, Kind::Port]
        .map(|kind| Preface { kind, id: [7; 16] }.encode().to_vec())
        .into()
}

/// The Dockerfiles that the planner's own tests are made of.
pub(crate) fn dockerfiles() -> Vec<Vec<u8>> {
    let cases = [
        include_str!("../../../guest-agent/build/tests/cases/arguments.txt"),
        include_str!("../../../guest-agent/build/tests/cases/config.txt"),
        include_str!("../../../guest-agent/build/tests/cases/files.txt"),
        include_str!("../../../guest-agent/build/tests/cases/run.txt"),
        include_str!("../../../guest-agent/build/tests/cases/stages.txt"),
        include_str!("../../../guest-agent/build/tests/cases/text.txt"),
        include_str!("../../../guest-agent/build/tests/cases/variables.txt"),
    ];
    let cases = cases.iter().flat_map(|file| file.split("#### ").skip(1));
    cases.filter_map(|case| Some(case.split("----\n").nth(1)?.as_bytes().to_vec())).collect()
}

pub(crate) fn ignores() -> Vec<Vec<u8>> {
    [
        "# comment\n*/temp*\n*/*/temp*\ntemp?\n",
        "*.md\n!README*.md\nREADME-secret.md\n",
        "**\n!a/b/c\n!somedir/**/*.rs\n",
        "/a/[a-c]/x\\*\r\n[^x]*\n\u{feff}b/\n",
        "somedir\n!somedir/temp\na\n!a/b\na/b/c\n",
    ]
    .map(|text| text.as_bytes().to_vec())
    .into()
}

/// The lines of both drivers.
pub(crate) fn logs() -> Vec<Vec<u8>> {
    let json = concat!(
        r#"{"log":"one\n","stream":"stdout","time":"2024-01-02T03:04:05.678901234Z"}"#,
        "\n",
        r#"{"log":"t\u00fcrk\u001b[0m","stream":"stderr","attrs":{"a":"b"},"time":"2024-01-02T03:04:06Z"}"#,
        "\n",
        r#"{"log":"no end"#,
    );
    let local = "2024-01-02T03:04:05.678901234Z stdout F one\n\
                 2024-01-02T03:04:06Z stderr P two\n\
                 2024-01-02T03:04:06Z stderr F  with blanks \n\
                 2024-01-02T03:04:07Z std";
    let plain = [json, local, ""].map(|text| text.as_bytes().to_vec());
    plain.iter().map(|text| gzip(text)).chain(plain.clone()).collect()
}
