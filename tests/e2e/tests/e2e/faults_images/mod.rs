//! What goes wrong while images come, are made or go: nothing half done is visible afterwards,
//! nothing is left on the data disk, and the same command then succeeds.
//!
//! The proof is the same everywhere: [`Store`] is what the machine's image store holds, down to the
//! last file name, and it is the same before and after.

mod builds;
mod full;
mod kill;
mod pull;
mod wrong;

use std::{
    collections::BTreeSet,
    time::{Duration, Instant},
};

use linkspan_test_e2e::{Done, Host, wait_until};
use linkspan_test_registry::{File, Image, Layer, Packing, noise};

pub(crate) use builds::TESTS as BUILDS;
pub(crate) use full::TESTS as FULL;
pub(crate) use kill::TESTS as KILL;
pub(crate) use pull::TESTS as PULL;

use crate::SOON;

/// Where the machine's data disk is.
const DATA: &str = "/var/lib/linkspan";

/// A machine with the built-in busybox, and nothing that has to do with images going on.
fn machine(options: &[&str]) -> Host {
    let host = Host::new();
    let _ = host.run(&[&["machine", "init", "--memory", "768"], options].concat()).ok();
    // The container keeps its image from being pruned.
    let _ = host.run(&["create", "--name", "keeper", "busybox", "true"]).ok();
    host
}

/// Runs a shell command in the machine itself.
fn inside(host: &Host, command: &str) -> Done {
    host.run(&["machine", "shell", "--", "sh", "-c", command])
}

/// Every name in the image store but those within layers, and every image with its names.
#[derive(Debug, PartialEq, Eq, Clone)]
struct Store {
    files: BTreeSet<String>,
    images: BTreeSet<String>,
}

impl Store {
    /// Boots the machine if it does not run.
    fn of(host: &Host) -> Self {
        // What goes while it is looked at is an error of find's, and none of ours.
        let find = format!(
            "cd {DATA}/images && {{ find . -path './layers/*/*' -prune -o -print 2> /dev/null; true; }}"
        );
        let files = inside(host, &find).ok().text();
        let format = "{{.Repository}}:{{.Tag}} {{.Digest}} {{.ID}}";
        let images = host.run(&["images", "-a", "--no-trunc", "--format", format]).ok().text();
        // Room that is kept back is not always there.
        let content = |line: &&str| *line != "./reserve";
        let lines = |text: String| text.lines().filter(content).map(str::to_owned).collect();
        Self { files: lines(files), images: lines(images) }
    }

    fn temporary(&self) -> Vec<&String> {
        self.files.iter().filter(|file| file.starts_with("./tmp/")).collect()
    }

    /// Demands that nothing has come and nothing has gone. What was given up may take a moment to
    /// go: the thread that works on it ends after the call.
    #[track_caller]
    fn assert_same(&self, host: &Host, when: &str) {
        let mut now = self.clone();
        let same = wait_until(SOON, || {
            now = Self::of(host);
            now == *self
        });
        let more: Vec<_> = now.files.difference(&self.files).collect();
        let fewer: Vec<_> = self.files.difference(&now.files).collect();
        assert!(same, "{when}: +{more:#?} -{fewer:#?} {:#?}", now.images);
    }
}

/// Ends the machine as a crash of the host's process does: what the guest had not written is lost.
fn crash(host: &Host) {
    let status = || host.run(&["machine", "status", "--format", "json"]).ok().json();
    let vmm = i32::try_from(status()["VmmPid"].as_i64().expect("it runs")).expect("a pid");
    let vmm = nix::unistd::Pid::from_raw(vmm);
    nix::sys::signal::kill(vmm, nix::sys::signal::Signal::SIGKILL).expect("it runs");
    assert!(wait_until(SOON, || status()["State"] != "running"), "{}", status());
}

/// An image that says whether all of it is there: [`is_whole`] runs it. Its layers of noise, of
/// `sizes` bytes each, have a few larger files and many small ones.
fn image(seed: u64, sizes: &[usize], packing: Packing) -> Image {
    const SMALL_FILES: usize = 300;
    let busybox = std::fs::read("/bin/busybox").expect("busybox-static is installed");
    let mut layers = Vec::new();
    let mut sums = String::new();
    for (number, &size) in sizes.iter().enumerate() {
        let bytes = noise(seed * 100 + number as u64, size);
        let (large, small) = bytes.split_at(size / 2);
        let mut files: Vec<_> = large
            .chunks(large.len().div_ceil(3).max(1))
            .enumerate()
            .map(|(index, part)| File::new(format!("data/{number}/large-{index}"), part))
            .collect();
        let parts = small.chunks(small.len().div_ceil(SMALL_FILES).max(1)).enumerate();
        files.extend(
            parts.map(|(index, part)| File::new(format!("data/{number}/small-{index}"), part)),
        );
        for file in &files {
            let digest = linkspan_test_registry::digest(&file.content);
            sums.push_str(&format!("{}  /{}\n", &digest["sha256:".len()..], file.path));
        }
        layers.push(Layer::new(&files, packing));
    }
    let base = [
        File::new("bin/busybox", busybox).mode(0o755),
        File::new("sums", sums),
        File::new("tmp/", []).mode(0o1777),
    ];
    layers.insert(0, Layer::new(&base, packing));
    Image::new(layers, &["/bin/busybox", "sha256sum", "-c", "-s", "/sums"])
}

/// Demands that every byte of an image of [`image`] is there.
#[track_caller]
fn is_whole(host: &Host, name: &str) {
    let _ = host.run(&["run", "--rm", "--network", "none", "--pull", "never", name]).ok();
}

fn exists(host: &Host, name: &str) -> bool {
    host.run(&["inspect", "--type", "image", name]).code == 0
}

/// After an interruption: the image is all there or not at all, and without it the store is as
/// before. `acknowledged`: the command had said that it succeeded.
#[track_caller]
fn all_or_nothing(
    host: &Host,
    before: &Store,
    name: &str,
    acknowledged: bool,
    when: &str,
    whole: impl Fn(),
) {
    let now = Store::of(host);
    assert!(now.temporary().is_empty(), "{when}: {:#?}", now.temporary());
    if exists(host, name) {
        whole();
        let _ = host.run(&["rmi", name]).ok();
    } else {
        assert!(!acknowledged, "{when}: it had succeeded, and is gone");
    }
    before.assert_same(host, when);
}

/// Waits for `condition` while `child` runs; `false` when it ended first.
fn reaches(child: &mut std::process::Child, mut condition: impl FnMut() -> bool) -> bool {
    let end = Instant::now() + SOON;
    loop {
        if condition() {
            return true;
        }
        if child.try_wait().expect("a child of ours").is_some() {
            return false;
        }
        assert!(Instant::now() < end, "it neither got there nor ended");
        std::thread::sleep(Duration::from_millis(2));
    }
}
