//! What is saved is what was loaded, for us and for others.

mod common;

use std::process::Command;

use common::{Fixture, Made, Tar, gzip, oci};
use linkspan_images::{ArchiveFormat, Digest, Error, LoadedImage, Platform};

const FORMATS: [ArchiveFormat; 3] =
    [ArchiveFormat::Both, ArchiveFormat::Docker, ArchiveFormat::Oci];

fn save(fixture: &Fixture, names: &[&str], format: ArchiveFormat) -> Vec<u8> {
    let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
    let mut bytes = Vec::new();
    let written = fixture.store.save(&names, None, format, &mut bytes).unwrap();
    assert_eq!(written, bytes.len() as u64);
    bytes
}

fn two_layers(word: &str) -> Made {
    let base = Tar::new().folder("bin/").entry(b'0', "bin/sh", "", 0o755, b"sh").build();
    let top = Tar::new().file("etc/word", word).file("etc/word", word.repeat(2)).build();
    let mut made = Made::packed(&[base.clone(), top.clone()], gzip, &Platform::here().architecture);
    // One as it came, one to be made again.
    made.layers[1] = top;
    made
}

fn names(loaded: &[LoadedImage]) -> Vec<(String, Vec<String>)> {
    let mut names: Vec<_> =
        loaded.iter().map(|image| (image.id.to_string(), image.tags.clone())).collect();
    names.sort();
    names
}

#[test]
fn saved_images_are_loaded_as_they_were() {
    let (one, two) = (two_layers("one"), two_layers("two"));
    let fixture = Fixture::new();
    let images = [(Some("docker.io/library/a:1"), &one), (Some("docker.io/library/a:2"), &one)];
    fixture.load(&oci(&images)).unwrap();
    fixture.load(&oci(&[(Some("example.com/b:x"), &two)])).unwrap();
    for format in FORMATS {
        let archive = save(&fixture, &["a", "example.com/b:x"], format);
        assert_eq!(archive, save(&fixture, &["a", "example.com/b:x"], format), "{format:?}");
        let other = Fixture::new();
        let loaded = other.load(&archive).unwrap();
        let mut tags: Vec<String> = loaded.iter().flat_map(|image| image.tags.clone()).collect();
        tags.sort();
        assert_eq!(tags, ["a:1", "a:2", "example.com/b:x"], "{format:?}");
        for name in ["a:1", "a:2", "example.com/b:x"] {
            let (left, right) = (fixture.store.inspect(name), other.store.inspect(name));
            let (left, right) = (left.unwrap(), right.unwrap());
            assert_eq!(left.config_json, right.config_json, "{format:?}");
            // The old format has no manifests.
            if format != ArchiveFormat::Docker {
                assert_eq!(left.summary.digests, right.summary.digests, "{format:?}");
            }
        }
        // And what was loaded can be saved in any form again.
        assert_eq!(save(&other, &["a", "example.com/b:x"], ArchiveFormat::Docker).len(), {
            save(&fixture, &["a", "example.com/b:x"], ArchiveFormat::Docker).len()
        });
    }
}

#[test]
fn an_image_by_id_has_no_name_in_the_archive() {
    let made = two_layers("x");
    let fixture = Fixture::new();
    fixture.load(&oci(&[(Some("a:1"), &made)])).unwrap();
    for format in FORMATS {
        let archive = save(&fixture, &[&made.id().to_string()], format);
        let loaded = Fixture::new().load(&archive).unwrap();
        assert_eq!(names(&loaded), [(made.id().to_string(), Vec::new())], "{format:?}");
    }
}

#[test]
fn what_cannot_be_saved_is_said_before_a_byte_is_written() {
    let made = two_layers("x");
    let fixture = Fixture::new();
    fixture.load(&oci(&[(Some("a:1"), &made)])).unwrap();
    let mut bytes = Vec::new();
    let missing = ["a:1".to_owned(), "missing:1".to_owned()];
    let error = fixture.store.save(&missing, None, ArchiveFormat::Both, &mut bytes).unwrap_err();
    assert!(matches!(error, Error::NotFound { .. }), "{error}");
    let other =
        Platform { os: "linux".into(), architecture: "s390x".into(), variant: String::new() };
    let names = ["a:1".to_owned()];
    let error = fixture.store.save(&names, Some(&other), ArchiveFormat::Both, &mut bytes);
    assert!(matches!(error, Err(Error::NoPlatform { .. })));
    assert!(bytes.is_empty());
}

#[test]
fn damage_is_found_while_it_is_saved() {
    let made = two_layers("x");
    let fixture = Fixture::new();
    fixture.load(&oci(&[(Some("a:1"), &made)])).unwrap();
    let blob = fixture.store.path().join("blobs/sha256").join(Digest::of(&made.layers[0]).hex());
    let mut bytes = std::fs::read(&blob).unwrap();
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    std::fs::write(blob, bytes).unwrap();
    for format in FORMATS {
        let saved = fixture.store.save(&["a:1".to_owned()], None, format, std::io::sink());
        assert!(matches!(saved, Err(Error::Corrupt { .. } | Error::Io { .. })), "{saved:?}");
    }
}

#[test]
fn skopeo_reads_what_is_saved_and_finds_the_same_digests() {
    if Command::new("skopeo").arg("--version").output().is_err() {
        eprintln!("skipped: skopeo is not installed");
        return;
    }
    let made = two_layers("x");
    let fixture = Fixture::new();
    fixture.load(&oci(&[(Some("docker.io/library/a:1"), &made)])).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    for (format, transport) in [
        (ArchiveFormat::Both, "oci-archive"),
        (ArchiveFormat::Both, "docker-archive"),
        (ArchiveFormat::Docker, "docker-archive"),
        (ArchiveFormat::Oci, "oci-archive"),
    ] {
        std::fs::write(at("saved.tar"), save(&fixture, &["a:1"], format)).unwrap();
        let back = at("back.tar");
        let _ = std::fs::remove_file(&back);
        // Else it compresses the layer that is not.
        let preserve = (transport == "oci-archive").then_some("--preserve-digests");
        let output = Command::new("skopeo")
            .args(["--insecure-policy", "--tmpdir", &at(""), "copy"])
            .args(preserve)
            .args([format!("{transport}:{}", at("saved.tar")), format!("oci-archive:{back}:a:1")])
            .output()
            .unwrap();
        let told = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{format:?} as {transport}: {told}");
        let other = Fixture::new();
        let loaded = other.load(&std::fs::read(&back).unwrap()).unwrap();
        let image = |fixture: &Fixture, id: String| fixture.store.resolve(&id).unwrap().diff_ids;
        assert_eq!(
            image(&other, loaded[0].id.to_string()),
            image(&fixture, made.id().to_string()),
            "{format:?} as {transport}"
        );
        // From the other one it makes a configuration of its own.
        if transport == "oci-archive" {
            assert_eq!(loaded[0].id, made.id(), "{format:?}");
            let digests = other.store.inspect(&made.id().to_string()).unwrap().summary.digests;
            let manifest = Digest::of(&made.manifest());
            assert!(
                digests.iter().all(|name| name.ends_with(&manifest.to_string())),
                "{digests:?}"
            );
        }
    }
}
