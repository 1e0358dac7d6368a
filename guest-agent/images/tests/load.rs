//! Archives of every make become the same images.

mod common;

use std::io::{self, Read};

use common::{Fixture, Made, Tar, busybox, bzip2, docker, everything, gzip, oci, read, xz, zstd};
use linkspan_images::{Digest, Error, ImportOptions, Limits, Phase, Platform, Store};

#[test]
fn layouts_and_docker_archives_load_plain_and_compressed() {
    let image = busybox();
    for (kind, archive) in [
        ("oci", oci(&[(Some("docker.io/library/busybox:latest"), &image)])),
        ("docker", docker(&[(&["busybox:latest"], &image)])),
    ] {
        for pack in [|bytes: &[u8]| bytes.to_vec(), gzip, zstd, bzip2, xz] {
            let fixture = Fixture::new();
            let mut phases = Vec::new();
            let loaded = fixture.store.load(&pack(&archive)[..], |p| phases.push(p.phase)).unwrap();
            assert_eq!(loaded.len(), 1, "{kind}");
            assert_eq!(
                (loaded[0].id, &loaded[0].tags[..]),
                (image.id(), &["busybox:latest".to_owned()][..])
            );
            assert_eq!(phases.iter().filter(|phase| **phase == Phase::LayerDone).count(), 2);
            let found = fixture.store.resolve("busybox").unwrap();
            assert_eq!(found.config.env, ["PATH=/bin"]);
            assert_eq!(found.config.cmd, ["sh"]);
            assert_eq!(found.tags, ["busybox:latest"]);
            assert_eq!(found.layers.len(), 2);
            assert_eq!(read(&found.layers[1].join("etc/hostname")), "busybox\n");
            assert!(
                found.layers[0].as_os_str().len() - fixture.store.path().as_os_str().len() < 20
            );
            let detail = fixture.store.inspect("busybox").unwrap();
            assert_eq!(detail.config_json, image.config);
            assert_eq!(detail.architecture, Platform::here().architecture);
            assert_eq!(detail.history[0].created_by, "test");
            assert_eq!(detail.summary.size_bytes, 40_000 + 30 + 8);
            let digest = Digest::of(&image.manifest());
            let digests = if kind == "oci" { vec![format!("busybox@{digest}")] } else { vec![] };
            assert_eq!(detail.summary.digests, digests);
            assert!(fixture.on_disk().iter().all(|name| !name.starts_with("tmp/")));
            assert_eq!(fixture.on_disk().iter().filter(|n| n.starts_with("layers/")).count(), 2);
        }
    }
}

#[test]
fn an_image_is_the_same_after_the_store_was_closed() {
    let fixture = Fixture::new();
    fixture.load(&docker(&[(&["a/b:1", "c:2"], &busybox())])).unwrap();
    let (before, list) =
        (fixture.store.resolve("c:2").unwrap(), fixture.store.list(&everything()).unwrap());
    let fixture = fixture.reopen();
    assert_eq!(fixture.store.resolve("c:2").unwrap(), before);
    assert_eq!(fixture.store.list(&everything()).unwrap(), list);
    assert_eq!(list[0].tags, ["a/b:1", "c:2"]);
}

#[test]
fn compressed_layers_are_verified_uncompressed_and_shared() {
    let base = Tar::new().file("base", vec![1; 100_000]).build();
    let (one, two) = (Tar::new().file("one", "1").build(), Tar::new().file("two", "2").build());
    let here = Platform::here().architecture;
    let first = Made::packed(&[base.clone(), one], gzip, &here);
    let second = Made::packed(&[base, two], zstd, &here);
    let fixture = Fixture::new();
    let loaded =
        fixture.load(&oci(&[(Some("first:1"), &first), (Some("second:1"), &second)])).unwrap();
    assert_eq!(loaded.len(), 2);
    assert_eq!(fixture.store.usage().layers, 3);
    assert_eq!(fixture.store.usage().layers_bytes, 100_002);
    let (a, b) =
        (fixture.store.resolve("first:1").unwrap(), fixture.store.resolve("second:1").unwrap());
    assert_eq!(a.layers[0], b.layers[0]);
}

#[test]
fn members_come_in_any_order_and_layers_may_be_links() {
    let image = busybox();
    let config = format!("{}.json", Digest::of(&image.config).hex());
    let manifest = serde_json::json!([{"Config": config, "RepoTags": null, "Layers": ["one/layer.tar", "two/layer.tar"]}]);
    let archive = Tar::new()
        .file("manifest.json", manifest.to_string())
        .file("repositories", r#"{"busybox":{"old":"two"}}"#)
        .folder("one/")
        .symlink("one/layer.tar", "../three/layer.tar")
        .hard_link("two/layer.tar", "./four.tar")
        .file(&config, &image.config)
        .file("four.tar", &image.layers[1])
        .file("three/layer.tar", "overwritten")
        .file("./three/layer.tar", &image.layers[0])
        .build();
    let fixture = Fixture::new();
    assert_eq!(fixture.load(&archive).unwrap()[0].tags, ["busybox:old"]);
    assert_eq!(fixture.store.resolve("busybox:old").unwrap().layers.len(), 2);
}

#[test]
fn an_archive_of_both_kinds_takes_its_names_from_manifest_json() {
    let image = busybox();
    let blob = |bytes: &[u8]| format!("blobs/sha256/{}", Digest::of(bytes).hex());
    let layers: Vec<String> = image.layers.iter().map(|layer| blob(layer)).collect();
    let item = serde_json::json!([{"Config": blob(&image.config), "RepoTags": ["busybox:1"], "Layers": layers}]);
    let oci = oci(&[(Some("other:1"), &image)]);
    let body = &oci[..oci.len() - 1024];
    let fixture = Fixture::new();
    let both = Tar::new().raw(body).file("manifest.json", item.to_string()).build();
    assert_eq!(fixture.load(&both).unwrap()[0].tags, ["busybox:1"]);
    let digest = format!("busybox@{}", Digest::of(&image.manifest()));
    assert_eq!(
        fixture.store.resolve(&digest).unwrap().id,
        image.id(),
        "the layout gives the digest"
    );
    // A manifest.json that is of no use is no harm when the layout is whole.
    for useless in ["[]", "null", "{", r#"[{"Config":"blobs/sha256/none","Layers":[]}]"#] {
        let fixture = Fixture::new();
        let both = Tar::new().raw(body).file("manifest.json", useless).build();
        assert_eq!(fixture.load(&both).unwrap()[0].tags, ["other:1"], "{useless}");
    }
}

#[test]
fn names_in_annotations_follow_their_writers() {
    for (name, tags) in [
        ("busybox:1", vec!["busybox:1"]),
        ("localhost:5000/x", vec!["localhost:5000/x:latest"]),
        ("latest", vec![]),
        ("Not/A:Name:At all", vec![]),
    ] {
        let fixture = Fixture::new();
        let image = busybox();
        assert_eq!(fixture.load(&oci(&[(Some(name), &image)])).unwrap()[0].tags, tags, "{name}");
        assert!(fixture.store.resolve(&image.id().short()).is_ok());
    }
}

#[test]
fn our_platform_is_chosen_and_its_absence_lists_the_others() {
    let here = Platform::here().architecture;
    let layer = [Tar::new().file("f", "x").build()];
    let ours = Made::packed(&layer, gzip, &here);
    let s390 = Made::packed(&layer, gzip, "s390x");
    let mips = Made::packed(&layer, gzip, "mips64le");
    let fixture = Fixture::new();
    let loaded = fixture
        .load(&oci(&[(Some("x:1"), &s390), (Some("x:1"), &ours), (Some("x:1"), &mips)]))
        .unwrap();
    assert_eq!(loaded.iter().map(|image| image.id).collect::<Vec<_>>(), [ours.id()]);
    let loaded = fixture.load(&oci(&[(None, &s390), (None, &ours)])).unwrap();
    assert_eq!(loaded.iter().map(|image| image.id).collect::<Vec<_>>(), [ours.id()]);
    for archive in
        [oci(&[(Some("y:1"), &s390), (Some("y:1"), &mips)]), oci(&[(None, &s390), (None, &mips)])]
    {
        let error = fixture.load(&archive).unwrap_err();
        let text = error.to_string();
        assert!(matches!(error, Error::NoPlatform { .. }), "{text}");
        assert!(text.contains("linux/s390x") && text.contains("linux/mips64le"), "{text}");
    }
    // Another may be asked for, and then no other will do.
    let wanted =
        |architecture: &str| Platform { architecture: architecture.into(), ..Platform::here() };
    let index = oci(&[(Some("x:1"), &s390), (Some("x:1"), &ours), (Some("x:1"), &mips)]);
    let both = oci(&[(None, &mips), (None, &s390)]);
    let load_for = |architecture: &str, archive: &[u8]| {
        let fixture = Fixture::new();
        let loaded = fixture.store.load_for(Some(&wanted(architecture)), archive, |_| {})?;
        Ok::<_, Error>(loaded.iter().map(|image| image.id).collect::<Vec<_>>())
    };
    for archive in [&index, &both, &docker(&[(&["z:1"], &s390)]), &oci(&[(None, &s390)])] {
        assert_eq!(load_for("s390x", archive).unwrap(), [s390.id()]);
        let error = load_for("riscv64", archive).unwrap_err().to_string();
        assert!(error.contains("linux/riscv64") && error.contains("linux/s390x"), "{error}");
    }
    assert_eq!(load_for("mips64le", &index).unwrap(), [mips.id()]);
    let two = docker(&[(&["x:1"], &ours), (&["z:1"], &s390)]);
    let error = load_for("s390x", &two).unwrap_err().to_string();
    assert!(error.contains("`x:1`"), "{error}");
    // What is for another platform and nothing else was wanted so: it is kept and listed.
    for archive in [
        docker(&[(&["z:1"], &s390)]),
        oci(&[(Some("z:1"), &s390)]),
        oci(&[(None, &s390)]),
        oci(&[(Some("z:1"), &s390), (Some("x:1"), &ours)]),
    ] {
        let fixture = Fixture::new();
        assert_eq!(fixture.load(&archive).unwrap()[0].id, s390.id());
        let image = fixture.store.resolve(&s390.id().to_string()).unwrap();
        assert_eq!(image.platform.to_string(), "linux/s390x");
        assert!(!Platform::here().runs(&image.platform));
        assert_eq!(fixture.store.platforms(image.id).unwrap(), [image.platform]);
        assert!(!fixture.store.list(&everything()).unwrap().is_empty());
    }
    // The same behind a nested index, as buildkit writes it, with what it attaches.
    let inner = nested_index(&[&s390, &ours]);
    let mut tar = Tar::new();
    for (name, bytes) in s390.blobs().into_iter().chain(ours.blobs()) {
        tar = tar.file(&name, bytes);
    }
    let digest = Digest::of(inner.as_bytes());
    let index = serde_json::json!({"manifests": [{"digest": digest, "mediaType": "application/vnd.oci.image.index.v1+json",
        "annotations": {"io.containerd.image.name": "docker.io/library/n:1"}}]});
    let archive = tar
        .file(&format!("blobs/sha256/{}", digest.hex()), &inner)
        .file("index.json", index.to_string())
        .build();
    assert_eq!(fixture.load(&archive).unwrap()[0].tags, ["n:1"]);
    assert_eq!(fixture.store.resolve("n:1").unwrap().id, ours.id());
}

fn nested_index(images: &[&Made]) -> String {
    let manifests: Vec<_> = images
        .iter()
        .map(|image| {
            serde_json::json!({"digest": Digest::of(&image.manifest()),
            "platform": {"os": "linux", "architecture": image.architecture}})
        })
        .chain([serde_json::json!({"digest": Digest::of(b"attestation"), "platform": {"os": "unknown", "architecture": "unknown"},
            "annotations": {"vnd.docker.reference.type": "attestation-manifest"}})])
        .collect();
    serde_json::json!({"schemaVersion": 2, "manifests": manifests}).to_string()
}

#[test]
fn what_does_not_fit_together_is_corrupt_and_leaves_nothing() {
    let image = busybox();
    let good = oci(&[(Some("x:1"), &image)]);
    let flipped = {
        // In the first layer's contents, which are sevens.
        let mut bytes = good.clone();
        let at = bytes.windows(64).position(|window| window == [7; 64]).unwrap();
        bytes[at] = 8;
        bytes
    };
    let wrong_diff = {
        let mut wrong = image.clone();
        wrong.layers.swap(0, 1);
        wrong
    };
    let other_wrong = {
        let layers = ["1", "2"].map(|text| Tar::new().file("f", text).build());
        let mut wrong = Made::new(&layers);
        wrong.layers.swap(0, 1);
        wrong
    };
    let fewer = {
        let mut fewer = image.clone();
        fewer.layers.pop();
        fewer
    };
    let missing_layer = {
        let hex = Digest::of(&image.layers[0]).hex();
        let at = good.windows(64).position(|window| window == hex.as_bytes()).unwrap();
        let mut bytes = good.clone();
        // The name only; the blob is then one that nobody asks for.
        bytes[at - "blobs/sha256/".len()] = b'c';
        let header = at - "blobs/sha256/".len();
        let sum: u32 = bytes[header..header + 512]
            .iter()
            .enumerate()
            .map(|(at, byte)| if (148..156).contains(&at) { 32 } else { u32::from(*byte) })
            .sum();
        bytes[header + 148..header + 156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
        bytes
    };
    for (name, archive, why) in [
        ("wrong digest", flipped, "its content has the digest"),
        ("wrong diff id", oci(&[(Some("x:1"), &wrong_diff)]), "its content has the digest"),
        ("wrong diff id, docker", docker(&[(&["x:1"], &wrong_diff)]), "its content has the digest"),
        ("too few layers", oci(&[(Some("x:1"), &fewer)]), "names 2 layers, its manifest 1"),
        ("missing layer", missing_layer, "not in the archive"),
        (
            "missing config",
            Tar::new().file("manifest.json", r#"[{"Config":"x.json","Layers":[]}]"#).build(),
            "not in the archive",
        ),
        ("bad index", Tar::new().file("index.json", "{").build(), "not an image index"),
        (
            "no image",
            Tar::new().file("index.json", r#"{"manifests":[]}"#).build(),
            "contains no image",
        ),
        ("member outside", Tar::new().file("../x", "").build(), "named"),
        ("cut off", good[..good.len() / 2].to_vec(), "middle of"),
        ("empty", Vec::new(), ""),
        ("device", Tar::new().device(b'3', "index.json", 1, 3).build(), "neither file"),
        (
            "one good, one bad",
            oci(&[(Some("good:1"), &image), (Some("bad:1"), &other_wrong)]),
            "digest",
        ),
    ] {
        let fixture = Fixture::new();
        match fixture.load(&archive) {
            Err(Error::Corrupt { why: reason, .. } | Error::Unsupported { why: reason, .. }) => {
                assert!(reason.contains(why), "{name}: {reason}");
            }
            other => panic!("{name}: {other:?}"),
        }
        fixture.assert_empty();
        assert_eq!(fixture.on_disk(), Vec::<String>::new(), "{name}");
    }
}

#[test]
fn other_archives_are_refused_by_name() {
    let fixture = Fixture::new();
    for (archive, why) in [
        (Tar::new().file("bin/sh", "").build(), "imported but not loaded"),
        (Tar::new().file("repositories", "{}").build(), "older than 1.10"),
        (Tar::new().file("x", "").build(), "neither index.json"),
    ] {
        let error = fixture.load(&archive).unwrap_err();
        assert!(
            matches!(&error, Error::Unsupported { .. }) && error.to_string().contains(why),
            "{error}"
        );
    }
}

#[test]
fn documents_and_members_have_limits() {
    let limits = Limits { document_bytes: 1000, archive_members: 3, ..Limits::default() };
    let fixture = Fixture::with(limits);
    let big = Tar::new().file("manifest.json", " ".repeat(1001)).build();
    assert!(matches!(fixture.load(&big), Err(Error::TooLarge { unit: "bytes", .. })));
    let many = (0..4).fold(Tar::new(), |tar, n| tar.file(&n.to_string(), "")).build();
    assert!(matches!(fixture.load(&many), Err(Error::TooLarge { unit: "members", .. })));
    let fixture = Fixture::with(Limits { archive_bytes: 10_000, ..Limits::default() });
    let long = gzip(&Tar::new().file("x", vec![0; 20_000]).build());
    assert!(matches!(fixture.load(&long), Err(Error::TooLarge { unit: "bytes", .. })));
}

#[test]
fn loading_again_changes_nothing_and_a_name_moves_to_the_newer_image() {
    let fixture = Fixture::new();
    let old = busybox();
    let new = Made::new(&[Tar::new().file("new", "x").build()]);
    fixture.load(&docker(&[(&["x:1"], &old)])).unwrap();
    let before = read(&fixture.store.path().join("index.json"));
    fixture.load(&docker(&[(&["x:1"], &old)])).unwrap();
    assert_eq!(read(&fixture.store.path().join("index.json")), before);
    fixture.load(&docker(&[(&["x:1"], &new)])).unwrap();
    assert_eq!(fixture.store.resolve("x:1").unwrap().id, new.id());
    assert_eq!(fixture.store.resolve(&old.id().to_string()).unwrap().tags, Vec::<String>::new());
    assert_eq!(fixture.store.list(&Default::default()).unwrap().len(), 1);
    assert_eq!(fixture.store.list(&everything()).unwrap().len(), 2);
}

#[test]
fn import_makes_an_image_with_the_given_configuration() {
    let tar = Tar::new().file("bin/app", "x").build();
    let options = ImportOptions {
        reference: Some("app".into()),
        message: "from a test".into(),
        changes: vec![
            r#"CMD ["/bin/app"]"#.into(),
            "ENV A=1\nWORKDIR /srv".into(),
            "EXPOSE 80".into(),
        ],
        ..ImportOptions::default()
    };
    let fixture = Fixture::new();
    for packed in [tar.clone(), gzip(&tar), zstd(&tar), bzip2(&tar), xz(&tar)] {
        let loaded = fixture.store.import(&packed[..], &options, |_| {}).unwrap();
        assert_eq!(loaded.tags, ["app:latest"]);
        let detail = fixture.store.inspect("app").unwrap();
        assert_eq!(detail.summary.id, loaded.id);
        assert_eq!(detail.config.cmd, ["/bin/app"]);
        assert_eq!(detail.config.env, ["A=1"]);
        assert_eq!(detail.config.working_dir, "/srv");
        assert_eq!(detail.config.exposed_ports, ["80/tcp"]);
        assert_eq!(detail.history[0].comment, "from a test");
        assert_eq!(detail.diff_ids, [Digest::of(&tar)]);
        assert!(detail.summary.created_unix_nanos > 1_700_000_000_000_000_000);
    }
    assert_eq!(fixture.store.usage().layers, 1, "the layer is the same each time");
    let bad = ImportOptions { changes: vec!["RUN x".into()], ..ImportOptions::default() };
    assert!(matches!(
        fixture.store.import(&tar[..], &bad, |_| {}),
        Err(Error::InvalidChange { .. })
    ));
    let bad = ImportOptions { reference: Some("A B".into()), ..ImportOptions::default() };
    assert!(matches!(
        fixture.store.import(&tar[..], &bad, |_| {}),
        Err(Error::InvalidReference(_))
    ));
}

/// Ends with an error after so many bytes, as a connection that breaks.
struct Breaking<'a>(&'a [u8]);

impl Read for Breaking<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.0.is_empty() {
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        // Small reads, so that each layer of buffering sees the break somewhere else.
        let n = self.0.len().min(buffer.len()).min(700);
        buffer[..n].copy_from_slice(&self.0[..n]);
        self.0 = &self.0[n..];
        Ok(n)
    }
}

#[test]
fn a_stream_that_breaks_anywhere_leaves_nothing() {
    let image = busybox();
    let archive = oci(&[(Some("x:1"), &image)]);
    for pack in [|bytes: &[u8]| bytes.to_vec(), gzip] {
        let packed = pack(&archive);
        let fixture = Fixture::new();
        let step = packed.len() / 97 + 1;
        for at in (0..packed.len()).step_by(step) {
            let error = fixture.store.load(Breaking(&packed[..at]), |_| {}).unwrap_err();
            assert!(matches!(error, Error::Read(_)), "after {at} bytes: {error}");
            assert_eq!(fixture.on_disk(), Vec::<String>::new(), "after {at} bytes");
        }
        fixture.load(&packed).unwrap();
    }
}

#[test]
fn a_killed_load_shows_nothing_and_the_next_open_cleans_up() {
    const CHILD: &str = "LINKSPAN_IMAGES_TEST_CHILD";
    let image = busybox();
    let archive = oci(&[(Some("x:1"), &image)]);
    if let Ok(folder) = std::env::var(CHILD) {
        // The child: loads from its standard input, and is killed.
        let store = Store::open(folder).unwrap();
        store.load(io::stdin(), |_| {}).unwrap();
        println!("loaded");
        return;
    }
    for percent in [0, 20, 50, 80, 95, 100] {
        let folder = tempfile::tempdir().unwrap();
        let mut child = std::process::Command::new(std::env::current_exe().unwrap())
            .args([
                "--exact",
                "a_killed_load_shows_nothing_and_the_next_open_cleans_up",
                "--nocapture",
            ])
            .env(CHILD, folder.path())
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut input = child.stdin.take().unwrap();
        // The last bytes are the end mark: with all of them the load may be anywhere when killed.
        io::Write::write_all(&mut input, &archive[..archive.len() * percent / 100]).unwrap();
        if percent == 100 {
            drop(input);
        } else {
            let tmp = folder.path().join("tmp/load-0");
            let deadline = std::time::Instant::now() + std::time::Duration::from_secs(20);
            while !tmp.exists() {
                assert!(std::time::Instant::now() < deadline, "the child never began");
                std::thread::yield_now();
            }
            child.kill().unwrap();
            drop(input);
        }
        child.kill().unwrap();
        child.wait().unwrap();
        let store = Store::open(folder.path()).unwrap();
        let images = store.list(&everything()).unwrap();
        assert!(images.is_empty() || percent == 100);
        assert_eq!(std::fs::read_dir(folder.path().join("tmp")).unwrap().count(), 0);
        let layers = std::fs::read_dir(folder.path().join("layers")).unwrap().count();
        assert_eq!(layers, images.len() * 2, "all or nothing");
        store.load(&archive[..], |_| {}).unwrap();
        assert_eq!(store.resolve("x:1").unwrap().id, image.id());
    }
}

#[test]
fn a_full_disk_is_said_and_leaves_nothing() {
    if !common::root_or_skip() {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let run = |program: &str, args: &[&str]| {
        std::process::Command::new(program)
            .args(args)
            .arg(folder.path())
            .status()
            .unwrap()
            .success()
    };
    if !run("mount", &["-t", "tmpfs", "-o", "size=200k", "tmpfs"]) {
        eprintln!("skipped: cannot mount a tmpfs");
        return;
    }
    let result = (|| {
        let store = Store::open(folder.path().join("images"))?;
        let big = Tar::new().file("big", vec![1; 1 << 20]).build();
        let load =
            store.load(&docker(&[(&["x:1"], &Made::new(std::slice::from_ref(&big)))])[..], |_| {});
        let import = store.import(&big[..], &ImportOptions::default(), |_| {});
        let left = std::fs::read_dir(folder.path().join("images/tmp")).unwrap().count();
        Ok::<_, Error>((load, import, left, store.list(&everything())?.len()))
    })();
    assert!(run("umount", &[]));
    let (load, import, left, images) = result.unwrap();
    assert!(matches!(load, Err(Error::NoSpace { .. })), "{load:?}");
    assert!(matches!(import, Err(Error::NoSpace { .. })), "{import:?}");
    assert_eq!((left, images), (0, 0));
}
