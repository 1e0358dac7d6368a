//! Manifests, indexes and configurations that somebody made to lie or to use up the machine.

mod common;

use common::{Fixture, Made, Tar, busybox, docker, oci};
use linkspan_images::{Digest, Error, Limits};
use serde_json::{Value, json};

const INDEX: &str = "application/vnd.oci.image.index.v1+json";
const MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

fn descriptor(bytes: &[u8]) -> Value {
    json!({"digest": Digest::of(bytes).to_string(), "size": bytes.len()})
}

/// A layout of these blobs with this index.
fn layout(blobs: &[&[u8]], index: &[u8]) -> Vec<u8> {
    let blob = |tar: Tar, bytes: &&[u8]| {
        tar.file(&format!("blobs/sha256/{}", Digest::of(bytes).hex()), bytes)
    };
    blobs.iter().fold(Tar::new(), blob).file("index.json", index).build()
}

/// A layout of one image whose manifest was changed.
fn manifest(change: impl Fn(&mut Value)) -> Vec<u8> {
    let image = busybox();
    let mut manifest: Value = serde_json::from_slice(&image.manifest()).unwrap();
    change(&mut manifest);
    let manifest = manifest.to_string();
    let index = json!({"manifests": [descriptor(manifest.as_bytes())]}).to_string();
    let mut blobs: Vec<&[u8]> = image.layers.iter().map(Vec::as_slice).collect();
    blobs.extend([&*image.config, manifest.as_bytes()]);
    layout(&blobs, index.as_bytes())
}

/// A layout of one image whose index was changed.
fn index(change: impl Fn(&mut Value)) -> Vec<u8> {
    let image = busybox();
    let manifest = image.manifest();
    let mut index = json!({"manifests": [descriptor(&manifest)]});
    change(&mut index);
    let mut blobs: Vec<&[u8]> = image.layers.iter().map(Vec::as_slice).collect();
    blobs.extend([&*image.config, &manifest]);
    layout(&blobs, index.to_string().as_bytes())
}

/// A docker-archive and a layout of one image with this configuration.
fn config(text: impl Into<Vec<u8>>) -> [Vec<u8>; 2] {
    let image = Made { config: text.into(), ..busybox() };
    [docker(&[(&["x:1"], &image)]), oci(&[(Some("x:1"), &image)])]
}

/// A docker-archive of one image whose `manifest.json` was changed.
fn items(change: impl Fn(&mut Value)) -> Vec<u8> {
    let image = busybox();
    let config = format!("{}.json", Digest::of(&image.config).hex());
    let names = ["1/layer.tar", "2/layer.tar"];
    let mut items = json!([{"Config": config, "RepoTags": ["x:1"], "Layers": names}]);
    change(&mut items);
    names
        .iter()
        .zip(&image.layers)
        .fold(Tar::new().file(&config, &image.config), |tar, (name, layer)| tar.file(name, layer))
        .symlink("3/layer.tar", "../4/layer.tar")
        .symlink("4/layer.tar", "../3/layer.tar")
        .file("manifest.json", items.to_string())
        .build()
}

fn cases() -> Vec<(&'static str, Vec<u8>)> {
    let deep = |n: usize| format!("{}{}", "[".repeat(n), "]".repeat(n));
    let nested = |n: usize| format!("{}1{}", r#"{"a":"#.repeat(n), "}".repeat(n));
    let good = busybox();
    let diff_ids: Vec<String> =
        good.layers.iter().map(|layer| Digest::of(layer).to_string()).collect();
    let rootfs = |ids: Value| json!({"os": "linux", "rootfs": {"type": "layers", "diff_ids": ids}});
    let of_config = |name, text: String| config(text).map(|archive| (name, archive));
    let mut cases = vec![
        ("index: nested arrays", layout(&[], deep(100_000).as_bytes())),
        ("index: nested objects", layout(&[], nested(100_000).as_bytes())),
        ("index: a list", layout(&[], b"[]")),
        ("index: nothing", layout(&[], b"")),
        ("index: no text", layout(&[], b"\xff\xfe{}")),
        ("index: two documents", layout(&[], br#"{"manifests":[]}{"manifests":[]}"#)),
        ("index: the same key twice", layout(&[], br#"{"manifests":[],"manifests":[]}"#)),
        ("index: no image", layout(&[], br#"{"manifests":[]}"#)),
        ("index: says it is a manifest", index(|i| i["mediaType"] = MANIFEST.into())),
        ("index: digest of another kind", index(|i| i["manifests"][0]["digest"] = "md5:00".into())),
        (
            "index: digest with a path",
            index(|i| {
                i["manifests"][0]["digest"] = "sha256:../../../../etc/passwd".into();
            }),
        ),
        (
            "index: blob that is not there",
            index(|i| {
                i["manifests"][0]["digest"] = Digest::of(b"absent").to_string().into();
            }),
        ),
        ("index: manifest of another size", index(|i| i["manifests"][0]["size"] = 1.into())),
        ("index: negative size", index(|i| i["manifests"][0]["size"] = (-1).into())),
        ("index: size that is no number", index(|i| i["manifests"][0]["size"] = "9".into())),
        (
            "index: points to a layer",
            index(|i| {
                i["manifests"][0] = descriptor(&busybox().layers[0]);
            }),
        ),
        (
            "index: points to a configuration",
            index(|i| {
                i["manifests"][0] = descriptor(&busybox().config);
            }),
        ),
        (
            "index: too many images",
            index(|i| {
                i["manifests"] = vec![i["manifests"][0].clone(); 10_001].into();
            }),
        ),
        ("manifest: says it is an index", manifest(|m| m["mediaType"] = INDEX.into())),
        ("manifest: is an index, too", manifest(|m| m["manifests"] = json!([]))),
        (
            "manifest: schema 1",
            manifest(|m| {
                *m = json!({"schemaVersion": 1, "name": "x", "fsLayers": []});
            }),
        ),
        ("manifest: no configuration", manifest(|m| m["config"] = Value::Null)),
        ("manifest: configuration of another size", manifest(|m| m["config"]["size"] = 3.into())),
        ("manifest: layer of another size", manifest(|m| m["layers"][1]["size"] = 3.into())),
        (
            "manifest: one layer fewer",
            manifest(|m| drop(m["layers"].as_array_mut().unwrap().pop())),
        ),
        (
            "manifest: one layer more",
            manifest(|m| {
                let layer = m["layers"][0].clone();
                m["layers"].as_array_mut().unwrap().push(layer);
            }),
        ),
        (
            "manifest: layers in the wrong order",
            manifest(|m| {
                m["layers"].as_array_mut().unwrap().reverse();
            }),
        ),
        (
            "manifest: a hundred thousand layers",
            manifest(|m| {
                m["layers"] = vec![m["layers"][0].clone(); 100_000].into();
            }),
        ),
        ("manifest: configuration is a layer", manifest(|m| m["config"] = m["layers"][0].clone())),
        (
            "manifest: layer is the configuration",
            manifest(|m| m["layers"][0] = m["config"].clone()),
        ),
        ("items: nested arrays", Tar::new().file("manifest.json", deep(100_000)).build()),
        ("items: an object", items(|i| *i = json!({}))),
        ("items: none", items(|i| *i = json!([]))),
        ("items: configuration outside", items(|i| i[0]["Config"] = "../../../etc/passwd".into())),
        (
            "items: a link outside",
            Tar::new().symlink("out", "../etc/passwd").file("manifest.json", "[]").build(),
        ),
        ("items: configuration is a layer", items(|i| i[0]["Config"] = "1/layer.tar".into())),
        ("items: layer outside", items(|i| i[0]["Layers"][0] = "/etc/passwd".into())),
        ("items: links in a circle", items(|i| i[0]["Layers"][0] = "3/layer.tar".into())),
        ("items: the same layer twice", items(|i| i[0]["Layers"][1] = "1/layer.tar".into())),
        ("items: name with a path", items(|i| i[0]["RepoTags"] = json!(["../../x:1"]))),
        ("items: name with a line end", items(|i| i[0]["RepoTags"] = json!(["x\n:1"]))),
        ("items: layers are no list", items(|i| i[0]["Layers"] = "1/layer.tar".into())),
        (
            "blob with another's name",
            Tar::new()
                .file(&format!("blobs/sha256/{}", Digest::of(b"a").hex()), "b")
                .file("index.json", r#"{"manifests":[]}"#)
                .build(),
        ),
    ];
    for (name, text) in [
        ("config: nested arrays", deep(100_000)),
        ("config: nested in what is not read", nested(100_000)),
        ("config: an index", json!({"manifests": []}).to_string()),
        ("config: root file system of another type", json!({"rootfs": {"type": "vm"}}).to_string()),
        ("config: the same key twice", r#"{"rootfs":{},"rootfs":{}}"#.to_owned()),
        ("config: layers are no digests", rootfs(json!(["x", "y"])).to_string()),
        ("config: layers of another kind", rootfs(json!(["sha512:00", "sha512:00"])).to_string()),
        ("config: layers swapped", rootfs(json!([diff_ids[1], diff_ids[0]])).to_string()),
        ("config: one layer fewer", rootfs(json!([diff_ids[0]])).to_string()),
        ("config: numbers for texts", r#"{"rootfs":{"diff_ids":[1,2]}}"#.to_owned()),
        (
            "config: of another system",
            json!({"os": "windows", "rootfs": {"diff_ids": diff_ids}}).to_string(),
        ),
    ] {
        cases.extend(of_config(name, text));
    }
    cases
}

#[test]
fn documents_that_lie_are_refused_and_leave_nothing() {
    let cases = cases();
    assert!(cases.len() >= 60, "{}", cases.len());
    for (name, archive) in cases {
        let fixture = Fixture::new();
        let error = match fixture.load(&archive) {
            Err(error) => error,
            Ok(images) => panic!("{name}: it was taken as {images:?}"),
        };
        assert!(!matches!(error, Error::Read(_) | Error::Io { .. }), "{name}: {error:?}");
        assert_eq!(fixture.on_disk(), Vec::<String>::new(), "{name} leaves nothing");
        fixture.assert_empty();
    }
}

#[test]
fn what_was_not_changed_loads() {
    for archive in
        [manifest(|_| {}), index(|_| {}), items(|_| {})].into_iter().chain(config(busybox().config))
    {
        Fixture::new().load(&archive).unwrap();
    }
    // What the documents may leave out, or say in a way of their own.
    for archive in [
        manifest(|m| {
            m["mediaType"] = "application/vnd.docker.distribution.manifest.v2+json".into()
        }),
        manifest(|m| drop(m["layers"][0].as_object_mut().unwrap().remove("size"))),
        index(|i| {
            i["mediaType"] = "application/vnd.docker.distribution.manifest.list.v2+json".into()
        }),
        index(|i| i["annotations"] = json!({"a": "b"})),
    ] {
        Fixture::new().load(&archive).unwrap();
    }
}

#[test]
fn a_document_ends_at_its_limit() {
    let limits = Limits { document_bytes: 64 << 10, ..Limits::default() };
    let long = "x".repeat(128 << 10);
    let [of_docker, of_oci] = config(json!({"rootfs": {}, "comment": long}).to_string());
    for archive in [
        of_docker,
        of_oci,
        manifest(|m| m["x"] = long.clone().into()),
        index(|i| i["x"] = long.clone().into()),
        items(|i| i[0]["x"] = long.clone().into()),
    ] {
        let fixture = Fixture::with(limits);
        let error = fixture.load(&archive).unwrap_err();
        assert!(matches!(error, Error::TooLarge { unit: "bytes", .. }), "{error}");
        assert_eq!(fixture.on_disk(), Vec::<String>::new());
    }
}
