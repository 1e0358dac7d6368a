//! The layers of a new archive are compressed as it is asked for.

mod common;

use std::collections::BTreeMap;
use std::io::Read as _;
use std::process::Command;

use common::{Fixture, Made, Tar, gzip, oci};
use linkspan_images::{ArchiveFormat, Digest, Error, ImageId, LayerCompression, Packing, Platform};
use serde_json::Value;

/// A layer that is kept as it came, with gzip, and one that is kept as a plain tar.
fn made() -> Made {
    let base = Tar::new().file("base", "b".repeat(50_000)).build();
    let top = Tar::new().file("top", "t".repeat(50_000)).build();
    let layers = [base, top.clone()];
    let mut made = Made::packed(&layers, gzip, &Platform::here().architecture);
    made.layers[1] = top;
    made
}

fn fixture(made: &Made) -> Fixture {
    let fixture = Fixture::new();
    fixture.load(&oci(&[(Some("docker.io/library/base:1"), made)])).unwrap();
    fixture
}

fn save(
    fixture: &Fixture,
    format: ArchiveFormat,
    compression: Option<LayerCompression>,
) -> Result<(ImageId, Vec<u8>), Error> {
    let config = fixture.store.inspect("base:1").unwrap().config_json;
    let mut archive = Vec::new();
    let names = ["new:1".to_owned()];
    let id = fixture.store.save_new(config, &names, format, compression, &mut archive)?;
    Ok((id, archive))
}

fn members(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut members = BTreeMap::new();
    for entry in tar::Archive::new(archive).entries().unwrap() {
        let mut entry = entry.unwrap();
        let mut content = Vec::new();
        entry.read_to_end(&mut content).unwrap();
        members.insert(entry.path().unwrap().display().to_string(), content);
    }
    members
}

/// What the manifest calls the layers, and their bytes, each of which has the digest and the size that the
/// manifest says.
fn layers(archive: &[u8]) -> Vec<(String, Vec<u8>)> {
    let members = members(archive);
    let blob = |descriptor: &Value| {
        let digest: Digest = descriptor["digest"].as_str().unwrap().parse().unwrap();
        let bytes = members[&format!("blobs/sha256/{}", digest.hex())].clone();
        assert_eq!(Digest::of(&bytes), digest);
        assert_eq!(descriptor["size"], bytes.len());
        bytes
    };
    let index: Value = serde_json::from_slice(&members["index.json"]).unwrap();
    let manifest: Value = serde_json::from_slice(&blob(&index["manifests"][0])).unwrap();
    let _ = blob(&manifest["config"]);
    let layers = manifest["layers"].as_array().unwrap();
    let kind =
        |layer: &Value| layer["mediaType"].as_str().unwrap().rsplit('.').next().unwrap().to_owned();
    layers.iter().map(|layer| (kind(layer), blob(layer))).collect()
}

#[test]
fn layers_that_are_plain_are_compressed_and_others_only_on_demand() {
    let made = made();
    let fixture = fixture(&made);
    let (zstd, plain) = (Packing::zstd(None).unwrap(), Packing::Plain);
    let gzip = Packing::gzip(None).unwrap();
    for (packing, all, expected) in [
        (None, false, ["tar+gzip", "tar"]),
        (Some(plain), false, ["tar+gzip", "tar"]),
        (Some(plain), true, ["tar", "tar"]),
        (Some(gzip), false, ["tar+gzip", "tar+gzip"]),
        (Some(gzip), true, ["tar+gzip", "tar+gzip"]),
        (Some(zstd), false, ["tar+gzip", "tar+zstd"]),
        (Some(zstd), true, ["tar+zstd", "tar+zstd"]),
    ] {
        let compression = packing.map(|packing| LayerCompression { packing, all });
        for format in [ArchiveFormat::Oci, ArchiveFormat::Both] {
            let (id, archive) = save(&fixture, format, compression).unwrap();
            assert_eq!(id, made.id());
            let layers = layers(&archive);
            let kinds: Vec<&str> = layers.iter().map(|(kind, _)| kind.as_str()).collect();
            assert_eq!(kinds, expected, "{compression:?}");
            // As it came, byte for byte, where it was not to be changed.
            assert_eq!(layers[0].1 == made.layers[0], expected[0] == "tar+gzip");
            // The same again, and it comes to the same image.
            assert_eq!(save(&fixture, format, compression).unwrap().1, archive);
            assert_eq!(Fixture::new().load(&archive).unwrap()[0].id, made.id());
        }
    }
}

#[test]
fn the_usual_gzip_is_that_of_a_push_and_levels_differ() {
    let fixture = fixture(&made());
    let top = |packing| {
        let compression = Some(LayerCompression { packing, all: false });
        layers(&save(&fixture, ArchiveFormat::Oci, compression).unwrap().1).remove(1).1
    };
    let outgoing = fixture.store.outgoing("base:1").unwrap();
    let pushed = outgoing.compress(&outgoing.layers[1].diff_id).unwrap().0.digest;
    let usual = top(Packing::gzip(None).unwrap());
    assert_eq!(Digest::of(&usual), pushed);
    // No flags, no time (RFC 1952, 2.3).
    assert_eq!(usual[3..8], [0; 5]);
    assert!(top(Packing::gzip(Some(0)).unwrap()).len() > 50_000);
    assert!(usual.len() < 1000);
}

#[test]
fn what_older_readers_take_has_no_compressed_layers() {
    let fixture = fixture(&made());
    let compression = LayerCompression { packing: Packing::gzip(None).unwrap(), all: false };
    let error = save(&fixture, ArchiveFormat::Docker, Some(compression)).unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
}

#[test]
fn skopeo_reads_every_compression() {
    if Command::new("skopeo").arg("--version").output().is_err() {
        eprintln!("skipped: skopeo is not installed");
        return;
    }
    let made = made();
    let fixture = fixture(&made);
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    for packing in [Packing::Plain, Packing::gzip(None).unwrap(), Packing::zstd(Some(1)).unwrap()] {
        let compression = Some(LayerCompression { packing, all: true });
        let archive = save(&fixture, ArchiveFormat::Both, compression).unwrap().1;
        std::fs::write(at("saved.tar"), archive).unwrap();
        for from in ["oci-archive", "docker-archive"] {
            let back = at(&format!("{from}-{packing:?}"));
            let output = Command::new("skopeo")
                .args(["--insecure-policy", "--tmpdir", &at(""), "copy"])
                .args([format!("{from}:{}", at("saved.tar")), format!("dir:{back}")])
                .output()
                .unwrap();
            let told = String::from_utf8_lossy(&output.stderr);
            assert!(output.status.success(), "{packing:?} as {from}: {told}");
        }
    }
}
