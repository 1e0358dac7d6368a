//! What is done with an input.

use std::{
    fs::{self, File},
    io::Write as _,
    net::{IpAddr, Ipv4Addr},
    os::{fd::OwnedFd, unix::net::UnixStream},
    path::Path,
};

use linkspan_build::{Ignore, ImageConfig, ImageInfo, Images, Outcome, Plan, plan};
use linkspan_containers::log::{LogConfig, Record, Select, read_files};
use linkspan_images::{
    CopyIn, ImportOptions, Limits, Options, Platform, Reference, Store, copy_in,
};
use linkspan_net::dns::{self, Answer, Directory};
use linkspan_proto::preface::Preface;
use linkspan_runtime::{
    seccomp,
    wire::{Channel, InitMessage, Order},
};
use simple_dns::Packet;
use tempfile::TempDir;

/// Small, so that an archive that claims to be large is refused and not unpacked.
fn limits() -> Limits {
    Limits { layer_bytes: 4 << 20, archive_bytes: 8 << 20, ..Limits::default() }
}

/// A folder with a neighbour that nothing may touch.
struct Ground {
    folder: TempDir,
}

impl Ground {
    fn new() -> Self {
        // In memory where there is such a place: a store waits for the disk again and again.
        let memory = Path::new("/dev/shm");
        let folder =
            if memory.is_dir() { tempfile::tempdir_in(memory) } else { tempfile::tempdir() };
        let folder = folder.expect("a temporary folder");
        fs::create_dir(folder.path().join("root")).expect("made");
        fs::write(folder.path().join("neighbour"), "untouched").expect("written");
        Self { folder }
    }

    fn root(&self) -> std::path::PathBuf {
        self.folder.path().join("root")
    }

    fn check(&self) {
        let names = fs::read_dir(self.folder.path()).expect("it is there").count();
        assert_eq!(names, 2, "something was written beside the root");
        let text = fs::read_to_string(self.folder.path().join("neighbour"));
        assert_eq!(text.expect("it is there"), "untouched");
    }
}

fn store(ground: &Ground) -> Store {
    let options = Options { limits: limits(), platform: Platform::here() };
    Store::open_with(ground.root(), options).expect("a new store")
}

/// Every image that a store took can be looked at.
fn readable(store: &Store) {
    let all = linkspan_images::ListFilter { all: true, ..Default::default() };
    for image in store.list(&all).expect("the list is ours") {
        store.inspect(&image.id.to_string()).expect("what was loaded can be read");
    }
}

pub(crate) fn image(input: &[u8]) {
    let ground = Ground::new();
    let store = store(&ground);
    if store.load(input, |_| {}).is_ok() {
        readable(&store);
    }
    ground.check();
}

pub(crate) fn layer(input: &[u8]) {
    let ground = Ground::new();
    let store = store(&ground);
    if store.import(input, &ImportOptions::default(), |_| {}).is_ok() {
        readable(&store);
    }
    ground.check();
}

pub(crate) fn copy(input: &[u8]) {
    let ground = Ground::new();
    std::os::unix::fs::symlink("../neighbour", ground.root().join("link")).expect("made");
    fs::create_dir(ground.root().join("folder")).expect("made");
    let root = OwnedFd::from(File::open(ground.root()).expect("it is there"));
    let how = CopyIn { keep_owner: true, replace_kinds: true };
    let _ = copy_in(input, root, Path::new("/folder"), how, None, &limits());
    ground.check();
}

/// An image's configuration, in an archive that is sound otherwise.
pub(crate) fn config(input: &[u8]) {
    image(&crate::seeds::image_with_config(input));
}

/// A manifest, in a layout that is sound otherwise.
pub(crate) fn manifest(input: &[u8]) {
    image(&crate::seeds::image_with_manifest(input));
}

/// What names the images of an archive.
pub(crate) fn index(input: &[u8]) {
    for archive in crate::seeds::images_with_index(input) {
        image(&archive);
    }
}

pub(crate) fn reference(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(reference) = text.parse::<Reference>() {
        let again = reference.to_string().parse::<Reference>();
        assert_eq!(again.as_ref(), Ok(&reference), "`{text}` does not survive being written");
    }
}

pub(crate) fn seccomp(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    if let Ok(filter) = seccomp::profile_filter(text, 0) {
        // BPF_MAXINSNS.
        assert!(!filter.is_empty() && filter.len() <= 4096, "{} instructions", filter.len());
    }
}

struct Names;

impl Directory for Names {
    fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        name.starts_with('d').then(|| vec![Ipv4Addr::new(10, 0, 0, 1).into(); name.len()])
    }

    fn name(&self, address: IpAddr) -> Option<String> {
        address.is_ipv4().then(|| "db".to_owned())
    }
}

pub(crate) fn dns(input: &[u8]) {
    for limit in [dns::UDP_LIMIT, usize::from(u16::MAX)] {
        if let Answer::Reply(reply) = dns::answer(input, limit, &Names) {
            assert!(reply.len() <= limit, "{} bytes", reply.len());
            assert_eq!(reply.get(..2), input.get(..2), "the answer to another question");
            Packet::parse(&reply).expect("our own answer can be read");
        }
    }
    if let Some(reply) = dns::failure(input) {
        Packet::parse(&reply).expect("our own answer can be read");
    }
}

pub(crate) fn preface(input: &[u8]) {
    let Some(bytes) = input.first_chunk() else { return };
    if let Ok(preface) = Preface::decode(bytes) {
        assert_eq!(&preface.encode(), bytes);
    }
}

/// Every image that is asked for is there, with a trigger of its own.
fn planned(text: &str) -> linkspan_build::Result<Plan> {
    let mut images = Images::new();
    let build_platform = Platform::here();
    let options = linkspan_build::Options { build_platform, ..Default::default() };
    loop {
        match plan(text, &options, &images)? {
            Outcome::Plan(plan) => return Ok(*plan),
            Outcome::Missing(missing) => {
                let known = images.len();
                for request in missing {
                    let mut config = ImageConfig::default();
                    config.config.env = vec!["PATH=/bin".into(), "A=b".into()];
                    config.config.on_build = vec!["RUN echo $A".into()];
                    images.insert(request, ImageInfo { digest: "sha256:0".into(), config });
                }
                assert!(images.len() > known, "the rounds do not end");
            }
        }
    }
}

pub(crate) fn dockerfile(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let spans: Vec<_> = match planned(text) {
        Err(error) => {
            assert!(error.report("Dockerfile", text).contains("error: "));
            error.span.into_iter().collect()
        }
        Ok(plan) => {
            assert!(plan.target < plan.stages.len(), "the target is no stage of the plan");
            let stages = plan.stages.iter();
            stages.flat_map(|s| s.steps.iter().map(|step| step.span).chain([s.span])).collect()
        }
    };
    for span in spans {
        assert!(text.get(span.start..span.end).is_some(), "{span:?}");
    }
}

/// The patterns themselves are among the paths that are tried.
pub(crate) fn ignore(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else { return };
    let Ok(ignore) = Ignore::parse(text, ".dockerignore") else { return };
    assert!(!ignore.ignores("."), "the context itself is left out");
    let own = text.lines().map(|line| line.trim_start_matches('!').trim().trim_matches('/'));
    for path in own.chain(["a", "a/b/c", "somedir/temp", "README.md"]) {
        if path.split('/').any(|part| matches!(part, "" | "." | "..")) || ignore.ignores(path) {
            continue;
        }
        for (end, _) in path.match_indices('/') {
            let folder = &path[..end];
            let found = !ignore.ignores(folder) || ignore.may_keep_below(folder);
            assert!(found, "`{folder}` is passed over, and `{path}` with it");
        }
    }
}

/// The input is every file of a log: the one that is written, the one before, and a packed one.
pub(crate) fn log(input: &[u8]) {
    let ground = Ground::new();
    let path = ground.root().join("log");
    let packed =
        if input.starts_with(b"\x1f\x8b") { input.to_vec() } else { crate::seeds::gzip(input) };
    for (name, bytes) in [("log", input), ("log.1", input), ("log.2.gz", &packed)] {
        fs::write(ground.root().join(name), bytes).expect("written");
    }
    for driver in ["json-file", "local"] {
        let options = [("max-file", "3"), ("max-size", "1m")];
        let options = options.map(|(key, value)| (key.to_owned(), value.to_owned())).into();
        let config = LogConfig { driver: driver.to_owned(), options };
        let read = |tail| read_files(path.clone(), &config, Select { tail, ..Select::ALL });
        let Ok(all) = read(None) else { continue };
        for tail in [0, 1, 5] {
            let last: Vec<Record> = read(Some(tail)).expect("all of it can be read");
            assert!(last.len() as u64 <= tail, "{} of {tail} records", last.len());
            assert!(all.ends_with(&last), "the last records are not the last");
        }
    }
    ground.check();
}

pub(crate) fn wire(input: &[u8]) {
    let received = |input: &[u8]| {
        let (mut writer, reader) = UnixStream::pair().expect("sockets");
        // What a seed and its changes come to fits into the socket.
        writer.write_all(input).expect("it is taken");
        Channel::new(reader.into())
    };
    let mut channel = received(input);
    while let Ok(Some(order)) = channel.receive::<Order>() {
        let again = received(&crate::seeds::message(&order)).receive::<Order>();
        assert_eq!(again.expect("our own message can be read"), Some(order));
    }
    let mut channel = received(input);
    while let Ok(Some(message)) = channel.receive::<InitMessage>() {
        let again = received(&crate::seeds::message(&message)).receive::<InitMessage>();
        assert_eq!(again.expect("our own message can be read"), Some(message));
    }
}
