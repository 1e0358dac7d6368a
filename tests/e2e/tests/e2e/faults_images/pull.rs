//! Registries that misbehave, and pulls that are interrupted.

use std::time::Duration;

use http::StatusCode;
use linkspan_test_e2e::{Host, finish, wait_until};
use linkspan_test_registry::{Act, File, Gate, Image, Layer, Packing, Seen, Server, digest};

use super::{
    Store, all_or_nothing, crash,
    full::{SAID, at_each_step},
    image, is_whole, machine,
    wrong::{Wrong, wrong},
};
use crate::{Own, SOON};

pub(super) const REPOSITORY: &str = "faults/image";

/// The image's name in the machine, where the host's loopback is the registry's.
fn name(server: &Server) -> String {
    format!("{}/{REPOSITORY}:1", server.address)
}

pub(super) fn small() -> Image {
    image(7, &[600_000, 300_000], Packing::Gzip)
}

fn good(server: &Server, image: &Image) {
    server.obey(|_| Act::Serve);
    server.state.manifests.lock().clear();
    image.put(server, REPOSITORY, "1");
}

/// A pull that succeeds, its image whole, and nothing left when the image has gone again.
#[track_caller]
fn comes(host: &Host, before: &Store, server: &Server, when: &str) {
    let name = name(server);
    let done = host.run(&["pull", "-q", &name]);
    assert_eq!(done.code, 0, "{when}: {done:?}");
    is_whole(host, &name);
    let _ = host.run(&["rmi", &name]).ok();
    before.assert_same(host, when);
}

/// The first of equal requests for a blob gets `act`.
fn once(act: fn() -> Act) -> impl Fn(&Seen) -> Act {
    move |seen| if seen.gets_blob() && seen.nth == 0 { act() } else { Act::Serve }
}

pub(super) fn after(header: &str) -> Act {
    let body = r#"{"errors":[{"code":"TOOMANYREQUESTS","message":"slow down, please"}]}"#;
    let headers = vec![("retry-after", header.to_owned())];
    Act::Answer(StatusCode::TOO_MANY_REQUESTS, headers, body.to_owned())
}

pub(super) fn moved(to: String) -> Act {
    Act::Answer(StatusCode::TEMPORARY_REDIRECT, vec![("location", to)], String::new())
}

type Rule = Box<dyn Fn(&Seen) -> Act + Send + Sync>;

/// What a pull survives.
fn survived(image: &Image) -> Vec<(&'static str, Rule)> {
    let blobs: Vec<_> = image.layers.iter().map(|layer| layer.blob.clone()).collect();
    let config = image.config.clone();
    let bytes_of = move |seen: &Seen| {
        let all = blobs.iter().chain([&config]);
        all.into_iter().find(|blob| seen.path.ends_with(&digest(blob))).cloned()
    };
    vec![
        ("each blob is cut once", Box::new(once(|| Act::Cut(100_000)))),
        ("each blob is cut before its first byte", Box::new(once(|| Act::Cut(0)))),
        (
            "every answer is cut",
            Box::new(|seen| if seen.gets_blob() { Act::Cut(150_000) } else { Act::Serve }),
        ),
        (
            "each blob is cut, and ranges are ignored",
            Box::new(|seen| match seen.nth {
                0 if seen.gets_blob() => Act::Cut(70_000),
                _ => Act::Whole,
            }),
        ),
        (
            "the manifest is cut once",
            Box::new(|seen| match seen.nth {
                0 if seen.gets_manifest() => Act::Cut(20),
                _ => Act::Serve,
            }),
        ),
        (
            "everything is refused with 429 first",
            Box::new(|seen| if seen.nth == 0 { after("1") } else { Act::Serve }),
        ),
        (
            "everything is refused with 500 and 503 first",
            Box::new(|seen| match seen.nth {
                0 => Act::status(500),
                1 => Act::status(503),
                _ => Act::Serve,
            }),
        ),
        (
            "blobs are elsewhere",
            Box::new(|seen| match seen.gets_blob() && seen.query.is_empty() {
                true => moved(format!("{}?moved=1", seen.path)),
                false => Act::Serve,
            }),
        ),
        (
            "blobs come slowly",
            Box::new(|seen| match seen.gets_blob() {
                true => Act::Slow(50_000, Duration::from_millis(20)),
                false => Act::Serve,
            }),
        ),
        (
            "blobs have no length",
            Box::new(move |seen| match bytes_of(seen) {
                Some(bytes) if seen.gets_blob() => Act::LieInChunks(bytes),
                _ => Act::Serve,
            }),
        ),
    ]
}

/// Where a pull stands still when its machine is killed.
fn stops(image: &Image) -> Vec<(String, Rule)> {
    let mut stops: Vec<(String, Rule)> = vec![(
        "in the manifest".into(),
        Box::new(|seen| if seen.gets_manifest() { Act::Silence(30) } else { Act::Serve }),
    )];
    let at = |wanted: String, byte: usize| -> Rule {
        Box::new(move |seen| match seen.gets_blob() && seen.path.ends_with(&wanted) {
            true => Act::Silence(byte),
            false => Act::Serve,
        })
    };
    stops.push(("in the configuration".into(), at(image.id(), 30)));
    for (number, layer) in image.layers.iter().enumerate() {
        let size = layer.blob.len();
        for byte in [0, size / 2, size - 1] {
            stops.push((
                format!("at byte {byte} of layer {number}"),
                at(layer.digest.clone(), byte),
            ));
        }
    }
    stops
}

pub(crate) const TESTS: &[Own] = &[
    ("a_pull_survives_what_passes", || {
        let host = machine(&["--disk", "2"]);
        let before = Store::of(&host);
        let image = small();
        let server = Server::in_background(|_| Act::Serve);
        image.put(&server, REPOSITORY, "1");
        for (what, rule) in survived(&image) {
            server.forget();
            server.obey(rule);
            comes(&host, &before, &server, what);
        }
        host.leaves_nothing();
    }),
    ("a_pull_from_a_wrong_registry_says_why_and_leaves_nothing", || {
        let host = machine(&["--disk", "2"]);
        let before = Store::of(&host);
        let server = Server::in_background(|_| Act::Serve);
        let name = name(&server);
        let mut unclear = Vec::new();
        for Wrong(what, prepare, words) in wrong() {
            good(&server, &small());
            server.forget();
            prepare(&server);
            let done = host.run(&["pull", &name]);
            assert_eq!(done.code, 1, "{what}: {done:?}");
            if !words.iter().all(|word| done.err.contains(word)) {
                unclear.push((what, words, done.err));
            }
            before.assert_same(&host, what);
            good(&server, &small());
            comes(&host, &before, &server, what);
        }
        assert!(unclear.is_empty(), "{unclear:#?}");
        host.leaves_nothing();
    }),
    ("a_registry_that_falls_silent_is_left_and_asked_again", || {
        let host = machine(&["--disk", "2"]);
        let before = Store::of(&host);
        let server = Server::in_background(once(|| Act::Silence(100_000)));
        small().put(&server, REPOSITORY, "1");
        comes(&host, &before, &server, "each blob falls silent once");
        assert!(server.held() > 0);
        host.leaves_nothing();
    }),
    ("two_pulls_of_one_image_ask_for_each_layer_once", || {
        let host = machine(&["--disk", "2"]);
        let before = Store::of(&host);
        let gate = Gate::new();
        let closed = gate.clone();
        let server = Server::in_background(move |seen| match seen.gets_blob() {
            true => Act::Gate(1000, closed.clone()),
            false => Act::Serve,
        });
        let image = small();
        image.put(&server, REPOSITORY, "1");
        let name = name(&server);
        let pull = ["pull", &name];
        let pulls = [host.spawn(&pull), host.spawn(&pull)];
        let asked = || server.seen().iter().filter(|seen| seen.gets_manifest()).count();
        assert!(wait_until(SOON, || asked() == 2 && server.held() > 0), "{:?}", server.lines());
        gate.open();
        for child in pulls {
            let _ = finish(child, &pull).ok();
        }
        for layer in &image.layers {
            let asked = server.lines().iter().filter(|line| line.contains(&layer.digest)).count();
            assert_eq!(asked, 1, "{:?}", server.lines());
        }
        is_whole(&host, &name);
        let _ = host.run(&["rmi", &name]).ok();
        before.assert_same(&host, "after both");
        host.leaves_nothing();
    }),
    ("a_prune_and_a_removal_take_nothing_from_a_pull_under_way", || {
        let host = machine(&["--disk", "2"]);
        let before = Store::of(&host);
        let gate = Gate::new();
        let server = Server::in_background(|_| Act::Serve);
        let below = small();
        let top = Layer::new(&[File::new("top", "top")], Packing::Gzip);
        let last = top.digest.clone();
        let command = ["/bin/busybox", "sha256sum", "-c", "-s", "/sums"];
        let above = Image::new([&below.layers[..], &[top]].concat(), &command);
        good(&server, &above);
        below.put(&server, REPOSITORY, "below");
        let name = name(&server);
        let below = name.replace(":1", ":below");
        let _ = host.run(&["pull", "-q", &below]).ok();
        let closed = gate.clone();
        server.obey(move |seen| match seen.path.ends_with(&last) {
            true => Act::Gate(10, closed.clone()),
            false => Act::Serve,
        });
        // It has all but its last layer from an image that goes now.
        let pull = ["pull", &name];
        let child = host.spawn(&pull);
        assert!(wait_until(SOON, || server.held() > 0), "{:?}", server.lines());
        let _ = host.run(&["image", "prune", "-a", "-f"]).ok();
        host.run(&["image", "inspect", &below]).fails(1, &["no such image"]);
        gate.open();
        let _ = finish(child, &pull).ok();
        is_whole(&host, &name);
        // Nor does a prune take the layers of a container whose image goes by force.
        let _ = host.run(&["create", "--name", "last", &name]).ok();
        let _ = host.run(&["rmi", "-f", &name]).ok();
        let _ = host.run(&["image", "prune", "-a", "-f"]).ok();
        let _ = host.run(&["start", "last"]).ok();
        assert_eq!(host.run(&["wait", "last"]).ok().text(), "0");
        let _ = host.run(&["rm", "last"]).ok();
        let _ = host.run(&["image", "prune", "-a", "-f"]).ok();
        before.assert_same(&host, "at the end");
        host.leaves_nothing();
    }),
    ("a_pull_that_is_given_up_leaves_nothing_and_does_not_disturb_another", || {
        let host = machine(&["--disk", "2"]);
        let before = Store::of(&host);
        let image = small();
        let last = image.layers[2].digest.clone();
        let server = Server::in_background(move |seen| match seen.path.ends_with(&last) {
            true if seen.nth == 0 => Act::Silence(100_000),
            _ => Act::Serve,
        });
        image.put(&server, REPOSITORY, "1");
        let name = name(&server);
        let pull = ["pull", &name];
        for another in [false, true] {
            server.forget();
            let mut first = host.spawn(&pull);
            assert!(wait_until(SOON, || server.held() > 0), "{:?}", server.lines());
            let second = another.then(|| host.spawn(&pull));
            let asked = || server.seen().iter().filter(|seen| seen.gets_manifest()).count();
            let both = 1 + usize::from(another);
            assert!(wait_until(SOON, || asked() == both), "{:?}", server.lines());
            first.kill().expect("a child of ours");
            let _ = first.wait();
            if let Some(second) = second {
                let _ = finish(second, &pull).ok();
                is_whole(&host, &name);
                let _ = host.run(&["rmi", &name]).ok();
            }
            before.assert_same(&host, "given up");
        }
        host.leaves_nothing();
    }),
    ("a_machine_killed_during_a_pull_has_all_of_the_image_or_nothing", || {
        let host = machine(&["--disk", "2"]);
        let before = Store::of(&host);
        let image = image(8, &[3 << 20], Packing::Gzip);
        let server = Server::in_background(|_| Act::Serve);
        good(&server, &image);
        let name = name(&server);
        let pull = ["pull", &name];
        for (when, rule) in stops(&image) {
            server.forget();
            server.obey(rule);
            let child = host.spawn(&pull);
            assert!(wait_until(SOON, || server.held() > 0), "{when}: {:?}", server.lines());
            crash(&host);
            assert_ne!(finish(child, &pull).code, 0, "{when}");
            good(&server, &image);
            all_or_nothing(&host, &before, &name, false, &when, || is_whole(&host, &name));
            comes(&host, &before, &server, &when);
        }
        // Everything has been sent: it is being unpacked, written out and published.
        for pause in [0, 50, 100, 200, 400].map(Duration::from_millis) {
            server.forget();
            let child = host.spawn(&pull);
            let layers = || server.seen().iter().filter(|seen| seen.gets_blob()).count() == 3;
            assert!(wait_until(SOON, layers), "{:?}", server.lines());
            std::thread::sleep(pause);
            crash(&host);
            let acknowledged = finish(child, &pull).code == 0;
            let when = format!("{pause:?} after the last request");
            all_or_nothing(&host, &before, &name, acknowledged, &when, || is_whole(&host, &name));
        }
        host.leaves_nothing();
    }),
    ("a_pull_on_a_full_disk_leaves_nothing_at_any_step", || {
        let host = machine(&["--disk", "1"]);
        let image = image(1, &[4 << 20, 4 << 20, 2 << 20], Packing::Gzip);
        let server = Server::in_background(|_| Act::Serve);
        good(&server, &image);
        let name = name(&server);
        let rooms = [0, 1, 4, 8, 12, 16, 20, 24, 28, 48].map(|mib| mib << 20);
        let undo = || {
            is_whole(&host, &name);
            let _ = host.run(&["rmi", &name]).ok();
        };
        at_each_step(&host, &rooms, &SAID, || host.run(&["pull", &name]), undo);
        host.leaves_nothing();
    }),
];
