//! Interchange with another implementation.

mod common;

use std::process::Command;

use common::{Fixture, Made, Tar, gzip, oci, read};
use linkspan_images::Platform;

#[test]
fn what_skopeo_converts_is_the_same_image() {
    if Command::new("skopeo").arg("--version").output().is_err() {
        eprintln!("skipped: skopeo is not installed");
        return;
    }
    let base = Tar::new().folder("bin/").entry(b'0', "bin/sh", "", 0o755, b"sh").build();
    let top = Tar::new().file("etc/hostname", "x\n").build();
    let made = Made::packed(&[base, top], gzip, &Platform::here().architecture);
    let folder = tempfile::tempdir().unwrap();
    let at = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(at("source.tar"), oci(&[(Some("docker.io/library/x:1"), &made)])).unwrap();
    let copy = |from: String, to: String| {
        let output = Command::new("skopeo")
            .args(["--insecure-policy", "--tmpdir", &at(""), "copy", &from, &to])
            .output()
            .unwrap();
        assert!(
            output.status.success(),
            "{from} {to}: {}",
            String::from_utf8_lossy(&output.stderr)
        );
    };
    let source = format!("oci-archive:{}", at("source.tar"));
    copy(source.clone(), format!("docker-archive:{}:x:1", at("docker.tar")));
    copy(
        format!("docker-archive:{}", at("docker.tar")),
        format!("oci-archive:{}:x:1", at("oci.tar")),
    );
    copy(source, format!("oci-archive:{}:latest", at("tag.tar")));
    for (file, tags) in [("docker.tar", vec!["x:1"]), ("oci.tar", vec!["x:1"]), ("tag.tar", vec![])]
    {
        let fixture = Fixture::new();
        let archive = std::fs::File::open(at(file)).unwrap();
        let loaded = fixture.store.load(archive, |_| {}).unwrap();
        assert_eq!(loaded[0].tags, tags, "{file}");
        let image = fixture.store.resolve(&loaded[0].id.to_string()).unwrap();
        assert_eq!(image.config.cmd, ["sh"], "{file}");
        assert_eq!(read(&image.layers[0].join("bin/sh")), "sh", "{file}");
        assert_eq!(read(&image.layers[1].join("etc/hostname")), "x\n", "{file}");
    }
}
