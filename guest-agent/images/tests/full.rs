//! A file system without room.

mod common;

use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use common::{Made, Tar, everything, oci};
use linkspan_images::{RemoveOptions, Store};
use tempfile::TempDir;

/// A file system of its own, small and in memory.
struct Small(TempDir);

impl Small {
    /// None, and says so, where it cannot be mounted.
    fn mounted() -> Option<Self> {
        let place = tempfile::tempdir().unwrap();
        let mut mount = Command::new("mount");
        mount.args(["-t", "tmpfs", "-o", "size=16m", "none"]).arg(place.path());
        if !mount.output().is_ok_and(|done| done.status.success()) {
            eprintln!("skipped: cannot mount a small file system");
            return None;
        }
        Some(Self(place))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn fill(&self) {
        let mut filler = std::fs::File::create(self.path("filler")).unwrap();
        while filler.write_all(&[1; 4096]).is_ok() {}
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(self.0.path()).status();
    }
}

fn names(folder: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(folder).unwrap();
    entries.map(|entry| entry.unwrap().file_name().display().to_string()).collect()
}

#[test]
fn images_are_removed_and_pruned_without_any_room() {
    let Some(small) = Small::mounted() else { return };
    let store = Store::open(small.path("images")).unwrap();
    let layer = Tar::new().file("content", vec![7; 100_000]).build();
    let archive = oci(&[(Some("full/image:1"), &Made::new(&[layer]))]);
    for prune in [false, true, false] {
        store.load(&archive[..], |_| {}).unwrap();
        small.fill();
        assert!(store.load(&archive[..], |_| {}).is_err(), "there is room");
        let removed = if prune {
            store.prune(true, |_| true, |_| Vec::new(), |_| false)
        } else {
            store.remove("full/image:1", RemoveOptions::default(), |_| Vec::new(), |_| false)
        };
        assert!(!removed.unwrap().deleted.is_empty());
        assert_eq!(store.list(&everything()).unwrap(), []);
        for folder in ["layers", "blobs/sha256", "tmp"] {
            assert_eq!(names(&small.path("images").join(folder)), Vec::<String>::new());
        }
        std::fs::remove_file(small.path("filler")).unwrap();
    }
}
