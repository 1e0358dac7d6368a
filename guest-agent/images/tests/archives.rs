//! Every layer can be given back, byte for byte.

mod common;

use std::fs;

use common::{Fixture, Made, Tar, bzip2, gzip, oci, xz, zstd};
use linkspan_images::{ArchiveFormat, Digest, Error, Platform, Reference, RemoveOptions};

type Pack = fn(&[u8]) -> Vec<u8>;

fn remove(fixture: &Fixture, image: &str) {
    let options = RemoveOptions { force: true, ..RemoveOptions::default() };
    fixture.store.remove(image, options, |_| Vec::new(), |_| false).unwrap();
}

#[test]
fn what_was_replaced_within_a_layer_comes_back_too() {
    let big = vec![b'x'; 200_000];
    let long = format!("{}/file", vec!["d".repeat(90); 2].join("/"));
    let tars = [
        // The same name twice, and a third time as a folder.
        Tar::new().file("a", "first").file("a", &big).folder("a").file("a/b", "in").build(),
        // A folder with files gives way to a file, and to a link that leads elsewhere.
        Tar::new().folder("d").file("d/one", &big).file("d/two", "2").file("d", "file").build(),
        Tar::new()
            .folder("new")
            .folder("old")
            .file("old/one", "1")
            .symlink("old", "new")
            .file("old/two", "2")
            .build(),
        // A link on the way that is replaced later: the file lies beyond it.
        Tar::new()
            .folder("real")
            .symlink("way", "real")
            .file("way/file", "through")
            .folder("way")
            .file("way/file", "direct")
            .build(),
        // A file with two names loses one of them, or both.
        Tar::new().file("a", "same").hard_link("b", "a").file("a", "other").build(),
        Tar::new().file("a", "same").hard_link("b", "a").file("b", "x").file("a", "y").build(),
        // Contents that nothing keeps: of a hidden name, of a mark.
        Tar::new().file("a/.wh.gone", "unread").file(".wh..wh.plnk/x", "unread").build(),
        Tar::new().file("a/.wh.b", "").file("a/b/c", "below").file("a/.wh..wh..opq", "").build(),
        Tar::new().file(&long[..99], "long").build(),
        // Without an end, with much of it, with something behind it.
        Tar::new().file("a", "a").open(),
        Tar::new().file("a", "a").open()[..513].to_vec(),
        Tar::new().file("a", "a").raw(&[0; 10_240]).build(),
        Tar::new().file("a", "a").raw(&[0; 1024]).raw(b"rubbish").open(),
        Tar::new().build(),
    ];
    for (number, tar) in tars.iter().enumerate() {
        let fixture = Fixture::new();
        let root = fixture.unpack(tar).unwrap_or_else(|error| panic!("{number}: {error}"));
        assert!(root.is_dir());
        assert!(fixture.tar(&Digest::of(tar)) == *tar, "{number}");
        assert_eq!(fixture.on_disk().iter().filter(|name| name.starts_with("tmp")).count(), 0);
    }
}

#[test]
fn a_compressed_layer_is_kept_and_a_plain_one_is_not_kept_twice() {
    let tar = Tar::new().file("etc/os", "x".repeat(50_000)).build();
    let packs: [Pack; 3] = [gzip, zstd, <[u8]>::to_vec];
    for (pack, compressed) in packs.into_iter().zip([true, true, false]) {
        let fixture = Fixture::new();
        let made = Made::packed(std::slice::from_ref(&tar), pack, &Platform::here().architecture);
        fixture.load(&oci(&[(Some("docker.io/library/x:1"), &made)])).unwrap();
        let blob = Digest::of(&made.layers[0]);
        let kept = fixture.on_disk().contains(&format!("blobs/sha256/{}", blob.hex()));
        assert_eq!(kept, compressed);
        let fixture = fixture.reopen();
        assert_eq!(fixture.tar(&Digest::of(&tar)), tar, "also after the store was closed");
        let image = fixture.store.outgoing("x:1").unwrap();
        assert!(image.layers[0].has(&blob));
        assert_eq!(image.manifests[0].bytes, made.manifest());
        let file = image.file(&Digest::of(&tar), &blob).unwrap();
        assert_eq!(fs::read(file.path()).unwrap(), made.layers[0]);
        drop((image, file));
        remove(&fixture, "x:1");
        assert_eq!(fixture.on_disk(), Vec::<String>::new());
    }
}

#[test]
fn a_layer_in_a_packing_that_images_do_not_have_is_given_back_plain() {
    let tar = Tar::new().file("etc/os", "x".repeat(50_000)).build();
    for pack in [bzip2 as Pack, xz] {
        let fixture = Fixture::new();
        let made = Made::packed(std::slice::from_ref(&tar), pack, &Platform::here().architecture);
        fixture.load(&oci(&[(Some("docker.io/library/x:1"), &made)])).unwrap();
        let blob = Digest::of(&made.layers[0]);
        assert!(!fixture.on_disk().contains(&format!("blobs/sha256/{}", blob.hex())));
        let fixture = fixture.reopen();
        assert_eq!(fixture.tar(&Digest::of(&tar)), tar);
        let mut archive = Vec::new();
        fixture.store.save(&["x:1".to_owned()], None, ArchiveFormat::Oci, &mut archive).unwrap();
        assert_eq!(Fixture::new().load(&archive).unwrap()[0].id, made.id());
    }
}

#[test]
fn compressing_gives_the_same_bytes_each_time_and_remembers_them() {
    let tar = Tar::new().file("etc/os", "x".repeat(50_000)).build();
    let fixture = Fixture::new();
    fixture.load(&oci(&[(Some("x:1"), &Made::new(std::slice::from_ref(&tar)))])).unwrap();
    let diff_id = Digest::of(&tar);
    let first = fixture.store.outgoing("x:1").unwrap();
    assert_eq!(first.layers[0].packed(), None);
    let (blob, file) = first.compress(&diff_id).unwrap();
    let bytes = fs::read(file.path()).unwrap();
    assert_eq!((Digest::of(&bytes), bytes.len() as u64), (blob.digest, blob.size));
    drop((first, file));
    let fixture = fixture.reopen();
    let second = fixture.store.outgoing("x:1").unwrap();
    assert_eq!(second.layers[0].packed(), Some(blob.clone()));
    let file = second.file(&diff_id, &blob.digest).unwrap();
    assert_eq!(fs::read(file.path()).unwrap(), bytes);
}

#[test]
fn an_image_on_its_way_out_keeps_its_layers() {
    let tar = Tar::new().file("a", "a").build();
    let fixture = Fixture::new();
    fixture.load(&oci(&[(Some("x:1"), &Made::new(std::slice::from_ref(&tar)))])).unwrap();
    let image = fixture.store.outgoing("x:1").unwrap();
    remove(&fixture, "x:1");
    assert_eq!(fixture.tar(&Digest::of(&tar)), tar);
    drop(image);
    fixture.store.collect(|_| false).unwrap();
    assert_eq!(fixture.on_disk(), Vec::<String>::new());
}

#[test]
fn layers_of_an_old_store_are_named_and_healed_by_the_next_load() {
    let tars = [Tar::new().file("a", "a").build(), Tar::new().file("b", "b").build()];
    let packs: [Pack; 2] = [gzip, <[u8]>::to_vec];
    for pack in packs {
        let fixture = Fixture::new();
        let made = Made::packed(&tars, pack, &Platform::here().architecture);
        let archive = oci(&[(Some("x:1"), &made)]);
        fixture.load(&archive).unwrap();
        let current = |fixture: &Fixture| {
            let name = Reference::parse("x:1").unwrap();
            fixture.store.is_current(&name, Digest::of(&made.manifest())).is_some()
        };
        assert!(current(&fixture));
        let fixture = age(fixture);
        assert!(!current(&fixture), "a pull has something to do");
        let diff_id = Digest::of(&tars[0]);
        let inode = |fixture: &Fixture| {
            use std::os::unix::fs::MetadataExt as _;
            let image = fixture.store.resolve("x:1").unwrap();
            fs::metadata(image.layers[0].join("a")).unwrap().ino()
        };
        let before = inode(&fixture);
        let error = fixture.store.layer_tar(&diff_id).err().unwrap();
        assert!(matches!(error, Error::NotGivenBack { layer } if layer == diff_id));
        assert!(fixture.store.outgoing("x:1").unwrap().check_whole().is_err());
        fixture.load(&archive).unwrap();
        assert!(current(&fixture));
        assert_eq!(fixture.tar(&diff_id), tars[0]);
        assert_eq!(inode(&fixture), before, "a container may stand on the folder");
        fixture.store.outgoing("x:1").unwrap().check_whole().unwrap();
        let fixture = fixture.reopen();
        assert_eq!(fixture.tar(&Digest::of(&tars[1])), tars[1]);
    }
}

/// Makes a store what a program for format 1 would have left.
fn age(fixture: Fixture) -> Fixture {
    let path = fixture.store.path().join("index.json");
    let Fixture { folder, store } = fixture;
    drop(store);
    let mut index: serde_json::Value = serde_json::from_slice(&fs::read(&path).unwrap()).unwrap();
    index["format"] = 1.into();
    for layer in index["layers"].as_object_mut().unwrap().values_mut() {
        for field in ["tar_bytes", "recipe_bytes", "blobs"] {
            layer.as_object_mut().unwrap().remove(field);
        }
    }
    fs::write(&path, serde_json::to_vec(&index).unwrap()).unwrap();
    let store = std::sync::Arc::new(linkspan_images::Store::open(path.parent().unwrap()).unwrap());
    Fixture { folder, store }
}

#[test]
fn a_layer_whose_files_were_damaged_is_not_given_back() {
    let tar = Tar::new().file("a", "content").build();
    let fixture = Fixture::new();
    let root = fixture.unpack(&tar).unwrap();
    for damage in ["contenT", "cont", "longer than it was"] {
        fs::write(root.join("a"), damage).unwrap();
        let mut bytes = Vec::new();
        let mut back = fixture.store.layer_tar(&Digest::of(&tar)).unwrap();
        let result = std::io::Read::read_to_end(&mut back, &mut bytes);
        assert!(result.is_err(), "{damage}");
    }
}
