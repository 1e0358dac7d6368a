//! What is done with an input.

use std::{
    fs::{self, File},
    net::{IpAddr, Ipv4Addr},
    os::fd::OwnedFd,
    path::Path,
};

use linkspan_images::{ImportOptions, Limits, Options, Platform, Reference, Store, copy_in};
use linkspan_net::dns::{self, Answer, Directory};
use linkspan_proto::preface::Preface;
use linkspan_runtime::seccomp;
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
    for image in store.list(&linkspan_images::ListFilter::default()).expect("the list is ours") {
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
    let _ = copy_in(input, root, Path::new("/folder"), true, None, &limits());
    ground.check();
}

/// An image's configuration, in an archive that is sound otherwise.
pub(crate) fn config(input: &[u8]) {
    image(&crate::seeds::image_with_config(input));
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
