//! Archives into containers: what is written, and what hostile ones cannot do.

use std::fs::{self, File};
use std::os::fd::OwnedFd;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::Path;

use linkspan_images::{CopyIn, Error, Limits, copy_in};

const KEEP: CopyIn = CopyIn { keep_owner: true, replace_kinds: false };

fn archive(entries: &[(&str, tar::EntryType, &str)]) -> Vec<u8> {
    let own = fs::metadata("/proc/self").unwrap();
    let mut builder = tar::Builder::new(Vec::new());
    for (path, kind, content) in entries {
        let mut header = tar::Header::new_ustar();
        header.set_entry_type(*kind);
        header.set_mode(if kind.is_dir() { 0o750 } else { 0o4640 });
        header.set_uid(own.uid().into());
        header.set_gid(own.gid().into());
        header.set_mtime(7);
        header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
        let is_link = kind.is_symlink() || kind.is_hard_link();
        header.set_size(if is_link { 0 } else { content.len() as u64 });
        if is_link {
            header.as_old_mut().linkname[..content.len()].copy_from_slice(content.as_bytes());
        }
        header.set_cksum();
        builder.append(&header, if is_link { &[][..] } else { content.as_bytes() }).unwrap();
    }
    builder.into_inner().unwrap()
}

fn copy(root: &Path, folder: &str, bytes: &[u8]) -> Result<(), Error> {
    let root = OwnedFd::from(File::open(root).unwrap());
    copy_in(bytes, root, Path::new(folder), KEEP, None, &Limits::default())
}

use tar::EntryType as T;

#[test]
fn files_arrive_in_the_folder_with_mode_and_time_and_nothing_else_changes() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("srv/app/old")).unwrap();
    let before = fs::metadata(root.path().join("srv/app")).unwrap().mode();
    let bytes = archive(&[
        ("./", T::Directory, ""),
        ("dir/", T::Directory, ""),
        ("dir/file", T::Regular, "content"),
        ("dir/again", T::Link, "dir/file"),
        (".wh.literal", T::Regular, "no whiteout here"),
    ]);
    copy(root.path(), "/srv/app", &bytes).unwrap();
    let app = root.path().join("srv/app");
    let file = fs::metadata(app.join("dir/file")).unwrap();
    assert_eq!((file.mode() & 0o7777, file.mtime(), file.nlink()), (0o4640, 7, 2));
    assert_eq!(fs::metadata(app.join("dir")).unwrap().mtime(), 7);
    assert_eq!(fs::read_to_string(app.join(".wh.literal")).unwrap(), "no whiteout here");
    assert_eq!(fs::metadata(&app).unwrap().mode(), before);
    assert!(app.join("old").is_dir());
}

#[test]
fn links_of_the_container_are_followed_within_it_only() {
    let work = tempfile::tempdir().unwrap();
    let (root, outside) = (work.path().join("root"), work.path().join("outside"));
    fs::create_dir_all(root.join("data")).unwrap();
    fs::create_dir(&outside).unwrap();
    symlink("/data", root.join("absolute")).unwrap();
    symlink(&outside, root.join("evil")).unwrap();
    symlink("../../outside", root.join("up")).unwrap();
    copy(&root, "/absolute", &archive(&[("file", T::Regular, "x")])).unwrap();
    copy(&root, "/", &archive(&[("absolute/other", T::Regular, "x")])).unwrap();
    assert!(root.join("data/file").exists() && root.join("data/other").exists());
    for (folder, name) in [("/", "evil/file"), ("/", "up/file"), ("/evil", "file")] {
        let refused = copy(&root, folder, &archive(&[(name, T::Regular, "x")]));
        assert!(matches!(refused, Err(Error::Corrupt { .. })), "{folder} {name}: {refused:?}");
    }
    // An archive may bring a link, and still not write through it.
    let bytes =
        archive(&[("way", T::Symlink, outside.to_str().unwrap()), ("way/file", T::Regular, "x")]);
    assert!(copy(&root, "/", &bytes).is_err());
    assert!(copy(&root, "/data", &archive(&[("../out", T::Regular, "x")])).is_err());
    assert_eq!(fs::read_dir(&outside).unwrap().count(), 0);
}

#[test]
fn folders_and_other_things_do_not_replace_each_other() {
    let root = tempfile::tempdir().unwrap();
    fs::create_dir_all(root.path().join("folder/kept")).unwrap();
    fs::write(root.path().join("file"), "old").unwrap();
    for (name, kind) in [("folder", T::Regular), ("file", T::Directory)] {
        let refused = copy(root.path(), "/", &archive(&[(name, kind, "")])).unwrap_err();
        assert!(refused.to_string().contains("would replace"), "{refused}");
    }
    copy(root.path(), "/", &archive(&[("file", T::Regular, "new")])).unwrap();
    assert_eq!(fs::read_to_string(root.path().join("file")).unwrap(), "new");
    assert!(root.path().join("folder/kept").is_dir());
}

#[test]
fn folders_and_other_things_replace_each_other_where_they_may() {
    let work = tempfile::tempdir().unwrap();
    let (root, outside) = (work.path().join("root"), work.path().join("outside"));
    fs::create_dir_all(root.join("folder/deep")).unwrap();
    fs::create_dir(&outside).unwrap();
    fs::write(outside.join("kept"), "").unwrap();
    symlink(&outside, root.join("folder/deep/link")).unwrap();
    fs::write(root.join("file"), "old").unwrap();
    let how = CopyIn { replace_kinds: true, ..KEEP };
    let bytes = archive(&[
        ("folder", T::Regular, "new"),
        ("file", T::Directory, ""),
        ("file/inside", T::Regular, "new"),
    ]);
    let open = std::fs::File::open(&root).unwrap().into();
    copy_in(&bytes[..], open, Path::new("/"), how, None, &Limits::default()).unwrap();
    assert_eq!(fs::read_to_string(root.join("folder")).unwrap(), "new");
    assert_eq!(fs::read_to_string(root.join("file/inside")).unwrap(), "new");
    assert!(outside.join("kept").exists());
}

#[test]
fn what_is_no_archive_is_said_to_be_none() {
    let root = tempfile::tempdir().unwrap();
    let refused = copy(root.path(), "/", &[7; 2048]).unwrap_err();
    assert!(matches!(refused, Error::Corrupt { .. }), "{refused}");
}

#[test]
fn owners_are_those_that_the_containers_are_outside_and_others_are_refused() {
    if !is_root() {
        println!("skipped: giving files away needs root");
        return;
    }
    let root = tempfile::tempdir().unwrap();
    let bytes = archive(&[("file", T::Regular, "x")]);
    let put = |keep, map: &linkspan_images::MapIds| {
        let open = OwnedFd::from(File::open(root.path()).unwrap());
        copy_in(
            &bytes[..],
            open,
            Path::new("/"),
            CopyIn { keep_owner: keep, ..CopyIn::default() },
            Some(map),
            &Limits::default(),
        )
    };
    put(false, &|uid, gid| Some((uid + 100_000, gid + 200_000))).unwrap();
    let file = fs::metadata(root.path().join("file")).unwrap();
    assert_eq!((file.uid(), file.gid()), (100_000, 200_000));
    let refused = put(true, &|_, _| None).unwrap_err().to_string();
    assert!(refused.contains("cannot be mapped"), "{refused}");
}

fn is_root() -> bool {
    fs::metadata("/proc/self").unwrap().uid() == 0
}
