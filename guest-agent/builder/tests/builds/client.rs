//! A client that tells of its context, and what becomes of it.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use linkspan_build::ContextFilter;
use linkspan_builder::{Builder, Context, Listed, ListedKind, Listing};

use crate::bench::Bench;

/// The context of a folder, whose contents are sent where they are missing.
pub(crate) fn context(builder: &Builder, root: &Path, filter: &ContextFilter) -> Context {
    let mut listing = list(builder, root, filter);
    let missing = listing.missing();
    if !missing.is_empty() {
        send(&mut listing, root, &missing);
    }
    listing.finish().unwrap()
}

fn list<'a>(builder: &'a Builder, root: &Path, filter: &ContextFilter) -> Listing<'a> {
    let mut listing = builder.listing(root.to_str().unwrap(), filter).unwrap();
    loop {
        let folders = listing.folders();
        if folders.is_empty() {
            return listing;
        }
        for folder in folders {
            let entries = fs::read_dir(root.join(&folder)).unwrap();
            let entries = entries.map(|entry| told(&entry.unwrap())).collect();
            listing.take(&folder, entries).unwrap();
        }
    }
}

fn told(entry: &fs::DirEntry) -> Listed {
    let metadata = entry.metadata().unwrap();
    let kind = if metadata.is_dir() {
        ListedKind::Folder
    } else if metadata.is_symlink() {
        ListedKind::Link(fs::read_link(entry.path()).unwrap().to_str().unwrap().to_owned())
    } else {
        ListedKind::File(metadata.len())
    };
    Listed {
        name: entry.file_name().into_string().unwrap(),
        kind,
        mode: metadata.permissions().mode() & 0o7777,
        modified_unix_nanos: metadata.mtime() * 1_000_000_000 + metadata.mtime_nsec(),
    }
}

fn send(listing: &mut Listing<'_>, root: &Path, paths: &[String]) {
    let mut stream = Vec::new();
    for path in paths {
        let content = fs::read(root.join(path)).unwrap();
        stream.extend((content.len() as u64).to_le_bytes());
        stream.extend(content);
    }
    listing.receive(paths, &stream[..]).unwrap();
}

/// As many as are looked up all at once, and a few.
#[test]
fn of_a_large_context_only_what_changed_is_asked_for() {
    for files in [10, 600] {
        let bench = Bench::new();
        (0..files).for_each(|number| bench.file(&format!("d/{number}"), &format!("is {number}")));
        let (plan, _) = bench.plan("FROM base\nCOPY d /d\n");
        let missing = || list(&bench.builder, &bench.context, &plan.context).missing();
        assert_eq!(missing().len(), files);
        let _ = context(&bench.builder, &bench.context, &plan.context);
        assert_eq!(missing(), [""; 0]);
        bench.file("d/3", "is another");
        bench.file("d/new", "x");
        assert_eq!(missing(), ["d/3", "d/new"]);
        let _ = context(&bench.builder, &bench.context, &plan.context);
        assert_eq!(missing(), [""; 0]);
        // A content that has gone is asked for again.
        let folder = bench.folder().join("files");
        let gone = fs::read_dir(folder)
            .unwrap()
            .find(|file| fs::read(file.as_ref().unwrap().path()).unwrap() == b"is another");
        fs::remove_file(gone.unwrap().unwrap().path()).unwrap();
        assert_eq!(missing(), ["d/3"]);
    }
}

#[test]
fn the_use_of_a_context_is_told_though_nothing_of_it_has_changed() {
    let bench = Bench::new();
    bench.file("f", "x");
    let (plan, _) = bench.plan("FROM base\nCOPY f /f\n");
    let _ = context(&bench.builder, &bench.context, &plan.context);
    let contexts = bench.folder().join("contexts");
    let record = fs::read_dir(contexts).unwrap().next().unwrap().unwrap().path();
    let before = fs::read(&record).unwrap();
    let long_ago = std::time::UNIX_EPOCH + std::time::Duration::from_secs(1000);
    let set = |time| fs::File::options().write(true).open(&record).unwrap().set_modified(time);
    set(long_ago).unwrap();
    let used = || bench.builder.records().unwrap()[0].last_used_unix_nanos;
    assert_eq!(used(), 1_000_000_000_000);
    let _ = context(&bench.builder, &bench.context, &plan.context);
    assert!(used() > 1_000_000_000_000);
    assert_eq!(fs::read(&record).unwrap(), before);
    // What has gone from the folder is forgotten.
    fs::remove_file(bench.context.join("f")).unwrap();
    let _ = context(&bench.builder, &bench.context, &plan.context);
    assert_ne!(fs::read(&record).unwrap(), before);
}

#[test]
fn links_that_lead_on_and_on_come_to_an_end() {
    let mut bench = Bench::new();
    std::os::unix::fs::symlink("l/x", bench.context.join("l")).unwrap();
    std::os::unix::fs::symlink("b", bench.context.join("a")).unwrap();
    std::os::unix::fs::symlink("a", bench.context.join("b")).unwrap();
    for listed in [false, true] {
        bench.listed = listed;
        assert!(bench.fails("FROM base\nCOPY l /l\n").contains("not found"));
        assert!(bench.fails("FROM base\nCOPY a /a\n").contains("not found"));
    }
}

#[test]
fn links_are_followed_however_many_there_are_and_wherever_they_lead_on() {
    let mut bench = Bench::new();
    let link = |to: &str, at: &str| {
        std::os::unix::fs::symlink(to, bench.context.join(at)).unwrap();
    };
    fs::create_dir(bench.context.join("links")).unwrap();
    // More than one path may have.
    for number in 0..60 {
        bench.file(&format!("real/{number}"), "x");
        link(&format!("../real/{number}"), &format!("links/{number}"));
    }
    // The second was followed before it was known that the first leads to it.
    bench.file("c/x", "x");
    bench.file("c/y", "y");
    link("c", "b");
    link("b", "z");
    for listed in [false, true] {
        bench.listed = listed;
        let done = bench.build("FROM base\nCOPY links/* /all/\nCOPY b/y z/x /\n");
        assert_eq!(done.names("/all").len(), 60);
        assert_eq!(done.text("/y").as_deref(), Some("y"));
        assert_eq!(done.text("/x").as_deref(), Some("x"));
    }
}
