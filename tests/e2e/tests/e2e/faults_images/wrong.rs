//! Registries that are wrong: what they serve, and what is said of it.

use linkspan_test_registry::{
    Act, INDEX, Image, Layer, MANIFEST, Packing, Seen, Server, digest, noise,
};
use serde_json::json;

use super::pull::{REPOSITORY, after, moved, small};

/// A registry that is wrong: what it does, and the words that a user has to read.
pub(super) struct Wrong(
    pub(super) &'static str,
    pub(super) Box<dyn Fn(&Server)>,
    pub(super) &'static [&'static str],
);

fn layer_lies(lie: fn(Vec<u8>) -> Vec<u8>, chunks: bool) -> Box<dyn Fn(&Server)> {
    Box::new(move |server| {
        let layer = small().layers[1].clone();
        server.obey(move |seen| {
            if !seen.gets_blob() || !seen.path.ends_with(&layer.digest) {
                return Act::Serve;
            }
            let lie = lie(layer.blob.to_vec()).into();
            if chunks { Act::LieInChunks(lie) } else { Act::Lie(lie) }
        });
    })
}

fn always(which: fn(&Seen) -> bool, act: fn() -> Act) -> Box<dyn Fn(&Server)> {
    Box::new(move |server| {
        server.obey(move |seen| if which(seen) { act() } else { Act::Serve });
    })
}

/// Another image under the name.
fn instead(make: fn() -> Image) -> Box<dyn Fn(&Server)> {
    Box::new(move |server| {
        make().put(server, REPOSITORY, "1");
    })
}

fn manifest(kind: &'static str, make: fn() -> String) -> Box<dyn Fn(&Server)> {
    Box::new(move |server| {
        server.put_manifest(REPOSITORY, "1", kind, &make());
    })
}

fn flipped(mut bytes: Vec<u8>) -> Vec<u8> {
    let middle = bytes.len() / 2;
    bytes[middle] ^= 1;
    bytes
}

/// With a configuration that says something else of the layers.
fn with_diff_ids(change: fn(&mut Vec<serde_json::Value>)) -> Image {
    let image = small();
    let mut config: serde_json::Value = serde_json::from_slice(&image.config).expect("JSON");
    change(config["rootfs"]["diff_ids"].as_array_mut().expect("an array"));
    Image::with_config(config.to_string().into(), image.layers)
}

fn index_without_us() -> String {
    let small = small();
    let entry = json!({"mediaType": MANIFEST, "digest": digest(small.manifest.as_bytes()),
        "size": small.manifest.len(), "platform": {"os": "linux", "architecture": "s390x"}});
    json!({"schemaVersion": 2, "mediaType": INDEX, "manifests": [entry]}).to_string()
}

fn of_blob(blob: Vec<u8>, media_type: &'static str) -> Image {
    let mut layer = Layer::of_tar(&blob, Packing::Plain);
    layer.media_type = media_type;
    Image::new(vec![layer], &[])
}

/// An archive with a file above its root.
fn escaping() -> Vec<u8> {
    let mut header = tar::Header::new_gnu();
    let path = b"../escaped";
    header.as_old_mut().name[..path.len()].copy_from_slice(path);
    header.set_size(0);
    header.set_mode(0o644);
    header.set_cksum();
    [&header.as_bytes()[..], &[0; 1024]].concat()
}

/// All that is refused.
pub(super) fn wrong() -> Vec<Wrong> {
    const GZIP: &str = "application/vnd.oci.image.layer.v1.tar+gzip";
    vec![
        Wrong("a layer with another digest", layer_lies(flipped, false), &["digest"]),
        Wrong(
            "a layer that is too short",
            layer_lies(|bytes| bytes[..bytes.len() - 1].to_vec(), false),
            &["bytes, and its descriptor says"],
        ),
        Wrong(
            "a layer that is too long",
            layer_lies(|bytes| [bytes, vec![0; 100_000]].concat(), false),
            &["bytes, and its descriptor says"],
        ),
        Wrong(
            "a layer of unknown length that is too long",
            layer_lies(|bytes| [bytes, vec![0; 100_000]].concat(), true),
            &["corrupt"],
        ),
        Wrong(
            "a layer of unknown length that is too short",
            layer_lies(|bytes| bytes[..1000].to_vec(), true),
            &["bytes"],
        ),
        Wrong(
            "a configuration with another digest",
            Box::new(|server| {
                let config = small().config;
                server.obey(move |seen| {
                    let it = seen.gets_blob() && seen.path.ends_with(&digest(&config));
                    if it { Act::Lie(flipped(config.to_vec()).into()) } else { Act::Serve }
                });
            }),
            &["digest"],
        ),
        Wrong("no configuration", instead(|| Image::with_config("[".into(), vec![])), &["config"]),
        Wrong(
            "layers in another order",
            instead(|| with_diff_ids(|ids| ids.swap(1, 2))),
            &["digest"],
        ),
        Wrong(
            "fewer layers than the configuration has",
            instead(|| with_diff_ids(|ids| ids.push(json!(digest(b"more"))))),
            &["layers"],
        ),
        Wrong(
            "a layer that is no archive",
            instead(|| of_blob(noise(3, 50_000), GZIP)),
            &["layer"],
        ),
        Wrong(
            "a layer that leaves its folder",
            instead(|| of_blob(escaping(), "application/vnd.oci.image.layer.v1.tar")),
            &["layer", "leads out of it"],
        ),
        Wrong(
            "an index that has not our platform",
            manifest(INDEX, index_without_us),
            &["no matching manifest", "linux/s390x"],
        ),
        Wrong(
            "a manifest that is called an index",
            manifest(INDEX, || small().manifest),
            &["calls itself"],
        ),
        Wrong(
            "a manifest of another kind",
            manifest("text/html", || "<html>Please log in to this hotel</html>".into()),
            &["not an image index or manifest"],
        ),
        Wrong(
            "a manifest of 5 MiB",
            manifest(MANIFEST, || format!("{{\"a\":\"{}\"}}", "x".repeat(5 << 20))),
            &["manifest", "is longer than 4194304 bytes"],
        ),
        Wrong(
            "too many requests for the next hour",
            always(Seen::gets_manifest, || after("3600")),
            &["toomanyrequests: slow down, please"],
        ),
        Wrong(
            "redirects in circles",
            Box::new(|server| {
                server.obey(|seen| match seen.gets_blob() {
                    true => moved(seen.path.clone()),
                    false => Act::Serve,
                });
            }),
            &["circles"],
        ),
        Wrong(
            "a blob that is forbidden",
            always(Seen::gets_blob, || Act::status(403)),
            &["access", "denied"],
        ),
        Wrong(
            "a blob that has gone",
            Box::new(|server| server.state.blobs.lock().clear()),
            &["blob unknown"],
        ),
        Wrong(
            "a registry that never recovers",
            always(Seen::gets_blob, || Act::status(500)),
            &["500"],
        ),
    ]
}
