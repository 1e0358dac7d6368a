//! Names, removal, and several callers at once.

mod common;

use std::sync::Barrier;

use common::{Fixture, Made, Tar, busybox, docker, everything, oci};
use linkspan_images::{
    ContainerUse, Digest, Error, ImageId, ListFilter, RemoveOptions, Removed, Store,
};

const FORCE: RemoveOptions = RemoveOptions { force: true };
const GENTLY: RemoveOptions = RemoveOptions { force: false };

fn image(content: &str) -> Made {
    Made::new(&[Tar::new().file("f", content).build()])
}

fn remove(store: &Store, name: &str, options: RemoveOptions) -> linkspan_images::Result<Removed> {
    store.remove(name, options, |_| Vec::new(), |_| false)
}

fn used_by(name: &str, running: bool) -> impl Fn(&ImageId) -> Vec<ContainerUse> {
    move |_| vec![ContainerUse { name: name.to_owned(), running }]
}

#[test]
fn names_ids_prefixes_and_digests_resolve() {
    let fixture = Fixture::new();
    let made = busybox();
    fixture.load(&oci(&[(Some("busybox:1"), &made)])).unwrap();
    fixture.store.tag("busybox:1", "busybox").unwrap();
    let digest = Digest::of(&made.manifest());
    let id = made.id();
    for name in [
        "busybox",
        "busybox:1",
        "docker.io/library/busybox:1",
        &format!("busybox@{digest}"),
        &format!("busybox:whatever@{digest}"),
        &id.to_string(),
        &id.to_string()["sha256:".len()..],
        &id.short(),
        &id.short()[..1],
        &format!("sha256:{}", id.short()),
    ] {
        assert_eq!(fixture.store.resolve(name).unwrap().id, id, "{name}");
    }
    for name in
        ["busybox:2", "other", "0000", &digest.to_string(), "sha256:ffff", "localhost/busybox:1"]
    {
        assert!(matches!(fixture.store.resolve(name), Err(Error::NotFound { .. })), "{name}");
    }
    assert!(matches!(fixture.store.resolve("Not a name"), Err(Error::InvalidReference(_))));
    assert!(matches!(fixture.store.resolve(""), Err(Error::InvalidReference(_))));
}

#[test]
fn a_shared_beginning_is_ambiguous_and_a_name_wins_over_it() {
    let fixture = Fixture::new();
    // Seventeen ids share a first digit for certain.
    let made: Vec<Made> = (0..17).map(|n| image(&n.to_string())).collect();
    let names: Vec<String> = (0..17).map(|n| format!("n:{n}")).collect();
    let images: Vec<_> =
        made.iter().zip(&names).map(|(m, name)| (Some(name.as_str()), m)).collect();
    fixture.load(&oci(&images)).unwrap();
    let digit = |made: &Made| made.id().short()[..1].to_owned();
    let shared = made
        .iter()
        .map(digit)
        .find(|d| made.iter().filter(|m| digit(m) == *d).count() > 1)
        .unwrap();
    match fixture.store.resolve(&shared) {
        Err(Error::Ambiguous { candidates, .. }) => assert!(candidates.len() > 1),
        other => panic!("{other:?}"),
    }
    fixture.store.tag("n:3", &shared).unwrap();
    assert_eq!(fixture.store.resolve(&shared).unwrap().id, made[3].id());
}

#[test]
fn tags_are_set_moved_and_listed() {
    let fixture = Fixture::new();
    let (one, two) = (image("1"), image("2"));
    fixture.load(&docker(&[(&["one:1"], &one), (&["two:1"], &two)])).unwrap();
    fixture.store.tag("one:1", "x/y:z").unwrap();
    fixture.store.tag("two:1", "x/y:z").unwrap();
    assert_eq!(fixture.store.resolve("x/y:z").unwrap().id, two.id());
    assert!(matches!(fixture.store.tag("none", "a"), Err(Error::NotFound { .. })));
    let id = one.id().to_string();
    for bad in ["UPPER", &id[7..], &format!("a@{id}")] {
        assert!(
            matches!(fixture.store.tag("one:1", bad), Err(Error::InvalidReference(_))),
            "{bad}"
        );
    }
    let listed = |references: &[&str]| {
        let references = references.iter().map(|&r| r.to_owned()).collect();
        let images = fixture.store.list(&ListFilter { references, all: false }).unwrap();
        let mut ids: Vec<ImageId> = images.iter().map(|image| image.id).collect();
        ids.sort();
        ids
    };
    assert_eq!(listed(&["one"]), [one.id()]);
    assert_eq!(listed(&["x/*"]), [two.id()]);
    assert_eq!(listed(&["none"]), []);
    assert_eq!(listed(&[]).len(), 2);
}

#[test]
fn removing_names_one_by_one_deletes_with_the_last() {
    let fixture = Fixture::new();
    let made = busybox();
    fixture.load(&oci(&[(Some("a:1"), &made)])).unwrap();
    fixture.store.tag("a:1", "a:2").unwrap();
    let removed = remove(&fixture.store, "a:1", GENTLY).unwrap();
    assert_eq!((removed.untagged, removed.deleted), (vec!["a:1".into()], Vec::new()));
    let removed = remove(&fixture.store, "a:2", GENTLY).unwrap();
    let digest = Digest::of(&made.manifest());
    assert_eq!(
        removed.untagged,
        ["a:2".to_owned(), format!("a@{digest}")],
        "the digest goes along"
    );
    assert_eq!(removed.deleted.len(), 3, "the image and its two layers: {:?}", removed.deleted);
    assert_eq!(removed.deleted[0], made.id().to_string());
    assert_eq!(fixture.on_disk(), Vec::<String>::new());
    assert!(matches!(remove(&fixture.store, "a:2", FORCE), Err(Error::NotFound { .. })));
}

#[test]
fn removing_by_id_needs_force_for_several_names() {
    let fixture = Fixture::new();
    let made = busybox();
    fixture.load(&docker(&[(&["a:1", "b:1"], &made)])).unwrap();
    match remove(&fixture.store, &made.id().short(), GENTLY) {
        Err(Error::SeveralReferences { references, .. }) => assert_eq!(references, ["a:1", "b:1"]),
        other => panic!("{other:?}"),
    }
    let removed = remove(&fixture.store, &made.id().short(), FORCE).unwrap();
    assert_eq!(removed.untagged, ["a:1", "b:1"]);
    assert_eq!(fixture.on_disk(), Vec::<String>::new());
}

#[test]
fn containers_keep_their_image_as_docker_does() {
    let fixture = Fixture::new();
    let made = busybox();
    let id = made.id().to_string();
    let reload = || fixture.load(&docker(&[(&["a:1"], &made)])).unwrap();
    let try_remove = |name: &str, options, running| {
        fixture.store.remove(name, options, used_by("web", running), |_| true)
    };
    reload();
    for (name, options, running) in [
        ("a:1", GENTLY, false),
        ("a:1", GENTLY, true),
        (&*id, GENTLY, false),
        (&id, GENTLY, true),
        (&id, FORCE, true),
    ] {
        match try_remove(name, options, running) {
            Err(Error::InUse { containers, must_stop, .. }) => {
                assert_eq!(containers, ["web"]);
                assert_eq!(must_stop, running && name == id);
            }
            other => panic!("{name} {options:?} {running}: {other:?}"),
        }
        assert_eq!(fixture.store.resolve("a:1").unwrap().id, made.id());
    }
    // One name of several is only a name.
    fixture.store.tag("a:1", "b:1").unwrap();
    assert_eq!(try_remove("b:1", GENTLY, true).unwrap().untagged, ["b:1"]);
    // By force the last name of a running container's image goes, and the image stays.
    let removed = try_remove("a:1", FORCE, true).unwrap();
    assert_eq!((removed.untagged.len(), removed.deleted.len()), (1, 0));
    assert!(fixture.store.resolve(&id).is_ok());
    // By force the image of a stopped one goes; what the container stands on stays.
    let removed = try_remove(&id, FORCE, false).unwrap();
    assert_eq!(removed.deleted, std::slice::from_ref(&id));
    assert!(matches!(fixture.store.resolve(&id), Err(Error::NotFound { .. })));
    assert_eq!(fixture.store.usage().layers, 2);
    assert_eq!(fixture.store.usage().retained_bytes, 40_038);
}

#[test]
fn a_shared_layer_is_counted_once_and_reclaimable_when_nobody_needs_it() {
    let fixture = Fixture::new();
    let layer = |length: usize| Tar::new().file("f", vec![b'x'; length]).build();
    let (base, one, two) = (layer(1000), layer(200), layer(30));
    let one = Made::new(&[base.clone(), one]);
    let two = Made::new(&[base, two]);
    fixture.load(&docker(&[(&["one:1"], &one), (&["two:1"], &two)])).unwrap();
    let usage = |used: Option<ImageId>| {
        fixture.store.disk_usage(|id| Some(*id) == used, |_| false).unwrap()
    };
    let idle = usage(None);
    // With the recipes: some hundred bytes each.
    assert!((1230..2230).contains(&idle.layers_bytes), "{idle:?}");
    assert_eq!(idle.layers_bytes, idle.reclaimable_bytes);
    assert!(idle.images.iter().all(|(_, shared)| *shared == 1000), "{idle:?}");
    let idle = usage(Some(one.id())).reclaimable_bytes;
    assert!((30..430).contains(&idle), "the base is needed: {idle}");
    // The last image's layers are its own again.
    remove(&fixture.store, "two:1", GENTLY).unwrap();
    assert_eq!(usage(None).images[0].1, 0);
    let layers: Vec<String> =
        fixture.store.resolve("one:1").unwrap().diff_ids.iter().map(ToString::to_string).collect();
    assert_eq!(fixture.store.layers_bytes(&layers), 1200);
    // A container that stands on a layer keeps it, with or without its image.
    let kept = fixture.store.disk_usage(|_| false, |_| true).unwrap();
    assert_eq!(kept.reclaimable_bytes, 0);
}

#[test]
fn pruning_removes_what_has_no_name_and_with_all_what_has_no_container() {
    let fixture = Fixture::new();
    let (named, used, nameless) = (image("named"), image("used"), image("nameless"));
    fixture.load(&docker(&[(&["a:1", "b:1"], &named), (&["used:1"], &used)])).unwrap();
    fixture.load(&docker(&[(&[], &nameless)])).unwrap();
    let used_id = used.id();
    let users = move |id: &ImageId| match *id == used_id {
        true => vec![ContainerUse { name: "idle".into(), running: false }],
        false => Vec::new(),
    };
    let prune = |all| fixture.store.prune(all, |_| true, users, |_| false).unwrap();
    let refused = fixture.store.prune(true, |_| false, users, |_| false).unwrap();
    assert_eq!(refused, Removed::default(), "no image is wanted");
    let pruned = prune(false);
    assert_eq!(pruned.deleted[0], nameless.id().to_string());
    assert!((8..500).contains(&pruned.freed_bytes), "{}", pruned.freed_bytes);
    let pruned = prune(true);
    assert_eq!(pruned.untagged, ["a:1", "b:1"]);
    assert_eq!(pruned.images[0].id, named.id());
    let left = fixture.store.list(&everything()).unwrap();
    assert_eq!(left.iter().map(|image| image.id).collect::<Vec<_>>(), [used.id()]);
}

#[test]
fn layers_of_containers_survive_a_restart_and_go_when_collected() {
    let fixture = Fixture::new();
    let made = busybox();
    fixture.load(&docker(&[(&["a:1"], &made)])).unwrap();
    let layers = fixture.store.resolve("a:1").unwrap().diff_ids;
    fixture.store.remove("a:1", FORCE, used_by("web", false), |layer| *layer == layers[0]).unwrap();
    let fixture = fixture.reopen();
    assert_eq!(fixture.store.usage().layers, 1);
    assert_eq!(fixture.store.collect(|layer| *layer == layers[0]).unwrap(), 0);
    let freed = fixture.store.collect(|_| false).unwrap();
    assert!((40_030..41_000).contains(&freed), "the files and the recipe: {freed}");
    assert_eq!(fixture.on_disk(), Vec::<String>::new());
}

#[test]
fn shared_layers_stay_with_the_other_image() {
    let fixture = Fixture::new();
    let base = Tar::new().file("base", "x").build();
    let top = Tar::new().file("top", "y").build();
    let (one, two) = (Made::new(std::slice::from_ref(&base)), Made::new(&[base, top]));
    fixture.load(&docker(&[(&["one:1"], &one), (&["two:1"], &two)])).unwrap();
    assert_eq!(remove(&fixture.store, "two:1", GENTLY).unwrap().deleted.len(), 2);
    let left = fixture.store.resolve("one:1").unwrap();
    assert_eq!(common::read(&left.layers[0].join("base")), "x");
    assert_eq!(remove(&fixture.store, "one:1", GENTLY).unwrap().deleted.len(), 2);
}

#[test]
fn an_image_without_layers_has_an_empty_folder_to_stand_on() {
    let fixture = Fixture::new();
    fixture.load(&oci(&[(Some("scratch-like:1"), &Made::new(&[]))])).unwrap();
    let image = fixture.store.resolve("scratch-like:1").unwrap();
    assert_eq!(image.layers.len(), 1);
    assert_eq!(std::fs::read_dir(&image.layers[0]).unwrap().count(), 0);
    assert!(image.diff_ids.is_empty());
}

#[test]
fn a_store_is_open_once() {
    let fixture = Fixture::new();
    assert!(matches!(Store::open(fixture.store.path()), Err(Error::Locked { .. })));
    fixture.reopen();
}

#[test]
fn loads_at_once_do_the_work_of_a_layer_once() {
    let fixture = Fixture::new();
    let base = Tar::new().file("base", vec![9; 3 << 20]).build();
    let made: Vec<Made> = (0..6)
        .map(|n| Made::new(&[base.clone(), Tar::new().file("top", n.to_string()).build()]))
        .collect();
    let barrier = Barrier::new(made.len());
    let unpacked = parking_lot::Mutex::new(Vec::new());
    std::thread::scope(|scope| {
        for (n, made) in made.iter().enumerate() {
            let (fixture, barrier, unpacked) = (&fixture, &barrier, &unpacked);
            scope.spawn(move || {
                let name = format!("n:{n}");
                let archive = docker(&[(&[name.as_str()], made)]);
                barrier.wait();
                fixture
                    .store
                    .load(&archive[..], |progress| {
                        if progress.phase == linkspan_images::Phase::Unpacking {
                            unpacked.lock().push((n, progress.layer));
                        }
                    })
                    .unwrap();
            });
        }
    });
    assert_eq!(fixture.store.usage().layers, 7);
    // Only the base is large enough to be reported, and one load reports it.
    let loads: std::collections::BTreeSet<usize> = unpacked
        .lock()
        .iter()
        .filter(|(_, layer)| *layer == Some(Digest::of(&base)))
        .map(|(n, _)| *n)
        .collect();
    assert_eq!(loads.len(), 1, "{loads:?}");
    for (n, made) in made.iter().enumerate() {
        let image = fixture.store.resolve(&format!("n:{n}")).unwrap();
        assert_eq!(image.id, made.id());
        assert_eq!(common::read(&image.layers[1].join("top")), n.to_string());
    }
}

#[test]
fn loads_and_removals_at_once_never_leave_an_image_without_its_layers() {
    let fixture = Fixture::new();
    let made = busybox();
    let archive = docker(&[(&["x:1"], &made)]);
    std::thread::scope(|scope| {
        let store = &fixture.store;
        let archive = &archive;
        let loader = scope.spawn(move || {
            for _ in 0..40 {
                store.load(&archive[..], |_| {}).unwrap();
            }
        });
        scope.spawn(move || {
            while !loader.is_finished() {
                match remove(store, "x:1", GENTLY) {
                    Ok(_) | Err(Error::NotFound { .. }) => {}
                    Err(error) => panic!("{error}"),
                }
            }
        });
    });
    fixture.load(&archive).unwrap();
    let image = fixture.store.resolve("x:1").unwrap();
    assert_eq!(common::read(&image.layers[1].join("etc/hostname")), "busybox\n");
    fixture.store.collect(|_| false).unwrap();
    remove(&fixture.store, "x:1", GENTLY).unwrap();
    assert_eq!(fixture.on_disk(), Vec::<String>::new());
}

#[test]
fn damage_is_named() {
    let fixture = Fixture::new();
    let made = busybox();
    fixture.load(&docker(&[(&["x:1"], &made)])).unwrap();
    let path = fixture.store.path().to_owned();
    let config = path.join("blobs/sha256").join(Digest::of(&made.config).hex());
    std::fs::write(&config, "{}").unwrap();
    let error = fixture.store.resolve("x:1").unwrap_err();
    assert!(
        matches!(&error, Error::Corrupt { what, .. } if what.contains("configuration")),
        "{error}"
    );
    // It can be loaded again over the damage.
    fixture.load(&docker(&[(&["x:1"], &made)])).unwrap();
    let layer = fixture.store.resolve("x:1").unwrap().layers[0].canonicalize().unwrap();
    std::fs::rename(&layer, path.join("elsewhere")).unwrap();
    let error = fixture.store.resolve("x:1").unwrap_err();
    assert!(matches!(&error, Error::Corrupt { what, .. } if what.contains("layer")), "{error}");
    remove(&fixture.store, "x:1", GENTLY).unwrap();
    drop(fixture.store);
    std::fs::write(path.join("index.json"), r#"{"format":99}"#).unwrap();
    assert!(matches!(Store::open(&path), Err(Error::Unsupported { .. })));
    std::fs::write(path.join("index.json"), "{").unwrap();
    assert!(matches!(Store::open(&path), Err(Error::Corrupt { .. })));
}

#[test]
fn the_next_open_removes_what_the_index_does_not_name() {
    let fixture = Fixture::new();
    let made = busybox();
    fixture.load(&docker(&[(&["x:1"], &made)])).unwrap();
    let before = fixture.on_disk();
    let path = fixture.store.path().to_owned();
    for rubbish in ["tmp/load-7/3", "layers/abc/d/e", "blobs/sha256/abc", "tmp/index.json", "l/abc"]
    {
        let file = path.join(rubbish);
        std::fs::create_dir_all(file.parent().unwrap()).unwrap();
        std::fs::write(file, "x").unwrap();
    }
    std::os::unix::fs::symlink("/etc", path.join("layers/link")).unwrap();
    let fixture = fixture.reopen();
    assert_eq!(fixture.on_disk(), before);
    assert!(std::path::Path::new("/etc/passwd").exists(), "links are removed, not followed");
    assert_eq!(fixture.store.list(&everything()).unwrap().len(), 1);
}
