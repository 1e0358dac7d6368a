//! The store of volumes.

use super::*;

fn open(folder: &tempfile::TempDir) -> Volumes {
    Volumes::open(folder.path().join("volumes")).unwrap()
}

fn named(name: &str) -> NewVolume {
    NewVolume { name: name.into(), ..NewVolume::default() }
}

fn list(volumes: &Volumes, filters: &[&str]) -> Vec<String> {
    let filters: Vec<String> = filters.iter().map(ToString::to_string).collect();
    let filters = Filters::of_list(&filters).unwrap();
    volumes.list(&filters).into_iter().map(|volume| volume.name).collect()
}

#[test]
fn a_volume_outlives_the_agent_and_a_half_made_one_does_not() {
    let folder = tempfile::tempdir().unwrap();
    let volumes = open(&folder);
    let labels = BTreeMap::from([("a".to_owned(), "b".to_owned())]);
    let made = volumes.create(NewVolume { labels, ..named("data") }).unwrap();
    std::fs::write(volumes.mountpoint("data").join("file"), "x").unwrap();
    std::fs::create_dir_all(volumes.mountpoint("half")).unwrap();
    drop(volumes);
    let volumes = open(&folder);
    assert_eq!(volumes.inspect("data").unwrap(), made);
    assert!(volumes.mountpoint("data").join("file").exists());
    assert!(!volumes.mountpoint("half").exists());
}

#[test]
fn making_one_again_finds_it_unless_it_is_another() {
    let folder = tempfile::tempdir().unwrap();
    let volumes = open(&folder);
    let first = volumes.create(named("data")).unwrap();
    assert_eq!(volumes.create(named("data")).unwrap(), first);
    let options =
        [("type", "tmpfs"), ("device", "tmpfs")].map(|(key, value)| (key.into(), value.into()));
    let other = NewVolume { options: options.into(), ..named("data") };
    assert!(matches!(volumes.create(other), Err(VolumeError::Conflict(_))));
}

#[test]
fn what_a_container_has_is_not_removed_and_says_who_has_it() {
    let folder = tempfile::tempdir().unwrap();
    let volumes = open(&folder);
    let id = ContainerId::generate();
    volumes.attach(named("data"), &id, false).unwrap();
    let text = volumes.remove("data", true).unwrap_err().to_string();
    assert_eq!(text, format!("remove data: volume is in use - [{id}]"));
    assert_eq!(volumes.prune(true, &Filters::default()).unwrap().0, Vec::<String>::new());
    volumes.release(&id, &[]).unwrap();
    volumes.remove("data", false).unwrap();
    assert!(!folder.path().join("volumes/data").exists());
    assert!(matches!(volumes.remove("data", false), Err(VolumeError::NotFound(_))));
    volumes.remove("data", true).unwrap();
}

#[test]
fn pruning_takes_the_anonymous_and_all_takes_the_others_too() {
    let folder = tempfile::tempdir().unwrap();
    let volumes = open(&folder);
    let nameless = volumes.create(NewVolume::default()).unwrap();
    assert!(nameless.is_anonymous() && nameless.name.len() == 64);
    volumes.create(named("data")).unwrap();
    std::fs::write(volumes.mountpoint("data").join("file"), vec![7; 10_000]).unwrap();
    assert_eq!(volumes.prune(false, &Filters::default()).unwrap().0, [nameless.name]);
    let (removed, bytes) = volumes.prune(true, &Filters::default()).unwrap();
    assert_eq!(removed, ["data"]);
    assert!(bytes >= 10_000, "{bytes}");
}

#[test]
fn a_container_takes_its_anonymous_volumes_along_unless_another_has_them() {
    let folder = tempfile::tempdir().unwrap();
    let volumes = open(&folder);
    let (one, other) = (ContainerId::generate(), ContainerId::generate());
    let own = volumes.attach(NewVolume::default(), &one, false).unwrap().name;
    let shared = volumes.attach(NewVolume::default(), &one, false).unwrap().name;
    volumes.attach(named(&shared), &other, false).unwrap();
    volumes.release(&one, &[own.clone(), shared.clone()]).unwrap();
    assert_eq!(list(&volumes, &[]), [shared]);
    let temporary = volumes.attach(NewVolume::default(), &one, true).unwrap().name;
    volumes.release(&one, &[]).unwrap();
    volumes.sweep(|id| *id == one);
    assert!(volumes.inspect(&temporary).is_ok(), "its container is known");
    volumes.sweep(|_| false);
    assert!(volumes.inspect(&temporary).is_err());
}

#[test]
fn lists_are_filtered_and_unknown_filters_named() {
    let folder = tempfile::tempdir().unwrap();
    let volumes = open(&folder);
    let labels = BTreeMap::from([("env".to_owned(), "test".to_owned())]);
    volumes.create(NewVolume { labels, ..named("first") }).unwrap();
    volumes.attach(named("second"), &ContainerId::generate(), false).unwrap();
    assert_eq!(list(&volumes, &["dangling=true"]), ["first"]);
    assert_eq!(list(&volumes, &["dangling=0"]), ["second"]);
    assert_eq!(list(&volumes, &["label=env"]), ["first"]);
    assert_eq!(list(&volumes, &["label=env=other"]), Vec::<String>::new());
    assert_eq!(list(&volumes, &["name=eco"]), ["second"]);
    assert_eq!(list(&volumes, &["name=x", "name=st", "driver=local"]), ["first"]);
    let error = Filters::of_list(&["bogus=1".into()]).unwrap_err();
    assert_eq!(error.to_string(), "invalid filter 'bogus=1'");
}

#[test]
fn paths_of_the_host_are_refused_and_links_in_volumes_lead_nowhere() {
    let folder = tempfile::tempdir().unwrap();
    let volumes = open(&folder);
    volumes.create(named("data")).unwrap();
    let root = folder.path().join("volumes");
    for path in ["/home/me", "/etc", "/", "/dev/../etc", "/development"] {
        let error = volumes.split_path(Path::new(path)).unwrap_err();
        assert!(matches!(error, VolumeError::HostPath(_)), "{path}: {error}");
    }
    let (base, within) = volumes.split_path(Path::new("/dev/shm")).unwrap();
    assert_eq!((base, within), ("/dev".into(), "shm".into()));
    std::os::unix::fs::symlink("/etc", volumes.mountpoint("data").join("evil")).unwrap();
    let (base, within) = volumes.split_path(&root.join("data/_data/evil")).unwrap();
    assert!(volumes.open_path(&base, &within).is_err());
}

#[test]
fn an_empty_volume_takes_what_the_image_has_and_a_full_one_keeps_its_own() {
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
    let folder = tempfile::tempdir().unwrap();
    let volumes = open(&folder);
    let layer = folder.path().join("layer");
    std::fs::create_dir_all(layer.join("srv/data")).unwrap();
    std::fs::write(layer.join("srv/data/file"), "image").unwrap();
    let mode = std::fs::Permissions::from_mode(0o1770);
    std::fs::set_permissions(layer.join("srv/data"), mode).unwrap();
    let image = Folder::of_layers(&[layer]).unwrap();
    volumes.create(named("data")).unwrap();
    volumes.populate("data", &image, Path::new("/no/such")).unwrap();
    volumes.populate("data", &image, Path::new("/srv/data")).unwrap();
    let content = volumes.mountpoint("data");
    assert_eq!(std::fs::metadata(&content).unwrap().mode() & 0o7777, 0o1770);
    std::fs::write(content.join("file"), "own").unwrap();
    volumes.populate("data", &image, Path::new("/srv/data")).unwrap();
    assert_eq!(std::fs::read_to_string(content.join("file")).unwrap(), "own");
}

#[test]
fn one_that_cannot_be_pruned_does_not_keep_the_others() {
    let folder = tempfile::tempdir().unwrap();
    let volumes = open(&folder);
    for name in ["first", "second", "third"] {
        volumes.create(named(name)).unwrap();
    }
    let record = folder.path().join("volumes/second/volume.json");
    std::fs::remove_file(&record).unwrap();
    std::fs::create_dir(&record).unwrap();
    assert_eq!(volumes.prune(true, &Filters::default()).unwrap().0, ["first", "third"]);
    assert_eq!(list(&volumes, &[]), ["second"]);
}

/// An image with many files at /srv.
fn image_with_files(folder: &tempfile::TempDir, count: usize) -> PathBuf {
    let layer = folder.path().join("layer");
    std::fs::create_dir_all(layer.join("srv/below")).unwrap();
    for number in 0..count {
        std::fs::write(layer.join(format!("srv/below/{number}")), vec![7; 5000]).unwrap();
    }
    layer
}

#[test]
fn containers_that_come_at_once_find_a_volume_full() {
    const FILES: usize = 500;
    let folder = tempfile::tempdir().unwrap();
    let (volumes, layer) = (open(&folder), image_with_files(&folder, FILES));
    for name in ["one", "two", "three"] {
        volumes.create(named(name)).unwrap();
        std::thread::scope(|scope| {
            let fill = || {
                let image = Folder::of_layers(&[&layer]).unwrap();
                volumes.populate(name, &image, Path::new("/srv")).unwrap();
                let below = volumes.mountpoint(name).join("below");
                assert_eq!(std::fs::read_dir(below).unwrap().count(), FILES);
            };
            for _ in 0..3 {
                scope.spawn(fill);
            }
        });
    }
}

#[test]
fn a_volume_that_cannot_be_filled_is_empty_again() {
    use nix::mount::{MsFlags, mount};
    let folder = tempfile::tempdir().unwrap();
    let (volumes, layer) = (open(&folder), image_with_files(&folder, 100));
    volumes.create(named("data")).unwrap();
    std::fs::create_dir(layer.join("srv/last")).unwrap();
    // A mount namespace belongs to a thread.
    std::thread::scope(|scope| {
        let work = || {
            let content = volumes.mountpoint("data");
            let private = nix::sched::unshare(nix::sched::CloneFlags::CLONE_NEWNS).and_then(|()| {
                let flags = MsFlags::MS_REC | MsFlags::MS_PRIVATE;
                mount(None::<&str>, "/", None::<&str>, flags, None::<&str>)?;
                let (flags, small) = (MsFlags::empty(), Some("size=64k"));
                mount(Some("tmpfs"), &content, Some("tmpfs"), flags, small)
            });
            if let Err(errno) = private {
                println!("skipped: a small file system cannot be mounted: {errno}");
                return;
            }
            let image = Folder::of_layers(&[&layer]).unwrap();
            let full = volumes.populate("data", &image, Path::new("/srv")).unwrap_err();
            assert!(matches!(full, VolumeError::Copy(_)), "{full}");
            assert_eq!(std::fs::read_dir(&content).unwrap().count(), 0);
        };
        scope.spawn(work).join().unwrap();
    });
}
