//! What becomes of a layer's entries, and what hostile ones cannot do.

mod common;

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use common::{Fixture, Tar, bzip2, gzip, read, root_or_skip, xz, zstd};
use linkspan_images::{Error, Limits};

fn opaque(path: &Path) -> bool {
    xattr::get(path, "trusted.overlay.opaque").unwrap().as_deref() == Some(b"y")
}

fn is_whiteout(path: &Path) -> bool {
    fs::symlink_metadata(path)
        .is_ok_and(|stat| stat.file_type().is_char_device() && stat.rdev() == 0)
}

#[test]
fn modes_owners_and_times_are_as_written() {
    if !root_or_skip() {
        return;
    }
    let fixture = Fixture::new();
    let tar = Tar::new()
        .entry(b'5', "./", "", 0o711, &[])
        .entry(b'5', "d/", "", 0o2775, &[])
        .pax(&[("mtime", b"1234567890.987654321"), ("uid", b"70000"), ("gid", b"3000000")])
        .entry(b'0', "d/suid", "", 0o4755, b"x")
        .pax(&[("mtime", b"-1.25")])
        .file("d/old", "x")
        .entry(b'0', "d/wide", "", 0o666, b"")
        .symlink("d/link", "nowhere")
        .device(b'3', "d/null", 1, 3)
        .device(b'4', "d/disk", 8, 0)
        .entry(b'6', "d/pipe", "", 0o600, &[])
        .build();
    let root = fixture.unpack(&tar).unwrap();
    assert_eq!(fs::metadata(&root).unwrap().mode() & 0o7777, 0o711);
    assert_eq!(fs::metadata(root.join("d")).unwrap().mode() & 0o7777, 0o2775);
    assert_eq!(fs::metadata(root.join("d")).unwrap().mtime(), 1_000_000_000, "dated at the end");
    let suid = fs::metadata(root.join("d/suid")).unwrap();
    assert_eq!((suid.mode() & 0o7777, suid.uid(), suid.gid()), (0o4755, 70_000, 3_000_000));
    assert_eq!((suid.mtime(), suid.mtime_nsec()), (1_234_567_890, 987_654_321));
    let old = fs::metadata(root.join("d/old")).unwrap();
    assert_eq!((old.mtime(), old.mtime_nsec()), (-2, 750_000_000));
    assert_eq!(old.gid(), 0, "a set-group-id folder does not change the group");
    assert_eq!(fs::metadata(root.join("d/wide")).unwrap().mode() & 0o7777, 0o666, "no umask");
    assert_eq!(fs::symlink_metadata(root.join("d/link")).unwrap().mtime(), 1_000_000_000);
    let null = fs::metadata(root.join("d/null")).unwrap();
    assert!(null.file_type().is_char_device());
    assert_eq!((null.rdev(), null.uid(), null.gid()), (rustix::fs::makedev(1, 3), 5, 6));
    assert_eq!(null.permissions().mode() & 0o7777, 0o640);
    assert!(fs::metadata(root.join("d/disk")).unwrap().file_type().is_block_device());
    assert!(fs::metadata(root.join("d/pipe")).unwrap().file_type().is_fifo());
}

#[test]
fn long_names_links_and_missing_folders_work() {
    let fixture = Fixture::new();
    let name = format!("{}/{}", "d".repeat(200), "n".repeat(250));
    let gnu = format!("gnu/{}", "g".repeat(150));
    let tar = Tar::new()
        .pax(&[("path", name.as_bytes())])
        .file("short", "pax")
        .entry(b'L', "././@LongLink", "", 0o644, format!("{gnu}\0").as_bytes())
        .file("short", "gnu")
        .pax(&[("linkpath", name.as_bytes())])
        .hard_link("hard", "short")
        .symlink("soft", "hard")
        .file("a/b/c/file", "deep")
        .build();
    let root = fixture.unpack(&tar).unwrap();
    assert_eq!(read(&root.join(&name)), "pax");
    assert_eq!(read(&root.join(&gnu)), "gnu");
    assert_eq!(read(&root.join("soft")), "pax");
    assert_eq!(fs::metadata(root.join("hard")).unwrap().nlink(), 2);
    assert_eq!(read(&root.join("a/b/c/file")), "deep");
}

#[test]
fn attributes_are_kept_byte_for_byte_and_overlays_own_are_not() {
    if !root_or_skip() {
        return;
    }
    let fixture = Fixture::new();
    // A valid capability set whose bytes contain a line feed.
    let capability = b"\x01\0\0\x02\x0a\x04\0\0\0\0\0\0\0\0\0\0\0\0\0\0";
    let tar = Tar::new()
        .pax(&[
            ("SCHILY.xattr.security.capability", &capability[..]),
            ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
            ("SCHILY.xattr.trusted.mine", b"a\nb=c"),
        ])
        .file("ping", "x")
        .pax(&[("SCHILY.xattr.trusted.overlay.opaque", b"y")])
        .folder("d/")
        .build();
    let root = fixture.unpack(&tar).unwrap();
    let ping = root.join("ping");
    assert_eq!(xattr::get(&ping, "security.capability").unwrap().unwrap(), capability);
    assert_eq!(xattr::get(&ping, "trusted.mine").unwrap().unwrap(), b"a\nb=c");
    assert_eq!(xattr::get(&ping, "trusted.overlay.redirect").unwrap(), None);
    assert!(!opaque(&root.join("d")));
}

#[test]
fn whiteouts_hide_what_is_below_and_spare_what_is_beside() {
    if !root_or_skip() {
        return;
    }
    let fixture = Fixture::new();
    let tar = Tar::new()
        .file(".wh.gone", "")
        .file("d/.wh.gone", "")
        .file("o/.wh..wh..opq", "")
        .file("o/new", "x")
        .file(".wh..wh.plnk/1.2", "x")
        // A whiteout and an entry of its name, in both orders.
        .file(".wh.file1", "")
        .file("file1", "new")
        .file("file2", "new")
        .file(".wh.file2", "")
        .file(".wh.dir1", "")
        .folder("dir1/")
        .file("dir1/x", "new")
        .folder("dir2/")
        .file("dir2/x", "new")
        .file(".wh.dir2", "")
        .file(".wh.dir3", "")
        .file("dir3/x", "implied")
        .build();
    let root = fixture.unpack(&tar).unwrap();
    assert!(is_whiteout(&root.join("gone")) && is_whiteout(&root.join("d/gone")));
    assert!(!opaque(&root.join("d")));
    assert!(opaque(&root.join("o")));
    assert_eq!(read(&root.join("o/new")), "x");
    for name in ["file1", "file2", "dir1/x", "dir2/x"] {
        assert_eq!(read(&root.join(name)), "new", "{name}");
    }
    for name in ["dir1", "dir2", "dir3"] {
        assert!(opaque(&root.join(name)), "{name}");
    }
    let names: Vec<String> = fs::read_dir(&root)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| name.starts_with(".wh."))
        .collect();
    assert_eq!(names, Vec::<String>::new());
}

#[test]
fn overlayfs_sees_the_layers_as_the_image_means_them() {
    if !root_or_skip() {
        return;
    }
    let fixture = Fixture::new();
    let base = Tar::new().file("a", "base").file("d/low", "base").file("e/low", "base").build();
    let top = Tar::new()
        .file(".wh.a", "")
        .file("d/.wh..wh..opq", "")
        .file("d/high", "top")
        .file(".wh.e", "")
        .file("e/high", "top")
        .build();
    let made = common::Made::new(&[base, top]);
    fixture.load(&common::docker(&[(&["x:1"], &made)])).unwrap();
    let image = fixture.store.resolve("x:1").unwrap();
    let merged = fixture.folder.path().join("merged");
    fs::create_dir(&merged).unwrap();
    let lower: Vec<String> =
        image.layers.iter().rev().map(|layer| layer.display().to_string()).collect();
    let mounted = std::process::Command::new("mount")
        .args(["-t", "overlay", "overlay", "-o", &format!("lowerdir={}", lower.join(":"))])
        .arg(&merged)
        .output()
        .unwrap();
    if !mounted.status.success() {
        eprintln!("skipped: cannot mount: {}", String::from_utf8_lossy(&mounted.stderr));
        return;
    }
    let list = |folder: &str| {
        let mut names: Vec<_> = fs::read_dir(merged.join(folder))
            .map(|entries| entries.map(|e| e.unwrap().file_name().into_string().unwrap()).collect())
            .unwrap_or_else(|error| vec![error.to_string()]);
        names.sort();
        names
    };
    let seen = (list("."), list("d"), list("e"));
    let unmounted = std::process::Command::new("umount").arg(&merged).status().unwrap();
    assert!(unmounted.success());
    let strings = |names: &[&str]| names.iter().map(|&name| name.to_owned()).collect::<Vec<_>>();
    assert_eq!(seen, (strings(&["d", "e"]), strings(&["high"]), strings(&["high"])));
}

#[test]
fn an_opaque_top_folder_hides_all_layers_below() {
    let fixture = Fixture::new();
    let base = Tar::new().file("a", "base").build();
    let top = Tar::new().file(".wh..wh..opq", "").file("b", "top").build();
    let made = common::Made::new(&[base, top]);
    fixture.load(&common::docker(&[(&["x:1"], &made)])).unwrap();
    let image = fixture.store.resolve("x:1").unwrap();
    assert_eq!(image.layers.len(), 1);
    assert_eq!(read(&image.layers[0].join("b")), "top");
    assert_eq!(image.diff_ids.len(), 2);
}

#[test]
fn the_last_entry_of_a_name_wins() {
    let fixture = Fixture::new();
    let tar = Tar::new()
        .file("a", "first")
        .file("a", "second")
        .file("d/inner", "x")
        .file("d", "now a file")
        .symlink("s", "/etc/passwd")
        .file("s", "not through the link")
        .file("f", "x")
        .folder("f/")
        .file("f/inside", "y")
        .symlink("l", "a")
        .symlink("l", "f")
        .file("h1", "one")
        .file("h2", "two")
        .hard_link("h2", "h1")
        .hard_link("h2", "h2")
        .build();
    let root = fixture.unpack(&tar).unwrap();
    assert_eq!(read(&root.join("a")), "second");
    assert_eq!(read(&root.join("d")), "now a file");
    assert_eq!(fs::metadata(root.join("d")).unwrap().mtime(), 1_000_000_000);
    assert_eq!(read(&root.join("s")), "not through the link");
    assert_eq!(read(&root.join("f/inside")), "y");
    assert_eq!(fs::read_link(root.join("l")).unwrap(), Path::new("f"));
    assert_eq!(read(&root.join("h2")), "one");
}

#[test]
fn sparse_files_have_their_holes_in_every_format() {
    let fixture = Fixture::new();
    let mut old = tar::Header::new_gnu();
    old.set_path("old").unwrap();
    old.set_mode(0o644);
    old.set_size(4);
    old.set_uid(0);
    old.set_gid(0);
    old.set_mtime(0);
    {
        let gnu = old.as_gnu_mut().unwrap();
        gnu.typeflag = *b"S";
        gnu.set_real_size(1_000_000);
        for (part, offset) in gnu.sparse.iter_mut().zip([0, 900_000]) {
            part.set_offset(offset);
            part.set_length(2);
        }
    }
    old.set_cksum();
    let size: &[u8] = b"1000000";
    let tar = Tar::new()
        .raw(old.as_bytes())
        .raw(b"abcd")
        .pad()
        .pax(&[
            ("GNU.sparse.size", size),
            ("GNU.sparse.name", b"v01"),
            ("GNU.sparse.map", b"0,2,900000,2"),
        ])
        .file("GNUSparseFile.1/v01", "abcd")
        .pax(&[
            ("GNU.sparse.size", size),
            ("GNU.sparse.offset", b"0"),
            ("GNU.sparse.numbytes", b"2"),
            ("GNU.sparse.offset", b"900000"),
            ("GNU.sparse.numbytes", b"2"),
        ])
        .file("v00", "abcd")
        .pax(&[
            ("GNU.sparse.major", b"1"),
            ("GNU.sparse.minor", b"0"),
            ("GNU.sparse.name", b"v10"),
            ("GNU.sparse.realsize", size),
        ])
        .file("GNUSparseFile.1/v10", {
            let mut contents = b"2\n0\n2\n900000\n2\n".to_vec();
            contents.resize(512, 0);
            contents.extend_from_slice(b"abcd");
            contents
        })
        .build();
    let root = fixture.unpack(&tar).unwrap();
    for name in ["old", "v00", "v01", "v10"] {
        let bytes = fs::read(root.join(name)).unwrap();
        assert_eq!(bytes.len(), 1_000_000, "{name}");
        assert_eq!((&bytes[..2], &bytes[900_000..900_002]), (&b"ab"[..], &b"cd"[..]), "{name}");
        assert!(bytes[2..900_000].iter().all(|byte| *byte == 0), "{name}");
        assert!(
            fs::metadata(root.join(name)).unwrap().blocks() * 512 < 100_000,
            "{name} has holes"
        );
    }
}

#[test]
fn what_gnu_tar_writes_is_unpacked_the_same() {
    if !root_or_skip() {
        return;
    }
    let source = tempfile::tempdir().unwrap();
    let at = |name: &str| source.path().join(name);
    fs::create_dir_all(at(&"long".repeat(40))).unwrap();
    fs::write(at(&"long".repeat(40)).join("n".repeat(200)), "x").unwrap();
    fs::write(at("file"), vec![3; 300_000]).unwrap();
    fs::hard_link(at("file"), at("hard")).unwrap();
    std::os::unix::fs::symlink("file", at("soft")).unwrap();
    let sparse = fs::File::create(at("sparse")).unwrap();
    sparse.set_len(5_000_000).unwrap();
    std::os::unix::fs::FileExt::write_at(&sparse, b"end", 4_000_000).unwrap();
    xattr::set(at("file"), "trusted.test", b"1\n2").unwrap();
    for format in ["gnu", "posix", "ustar"] {
        let mut command = std::process::Command::new("tar");
        command.args(["-C", source.path().to_str().unwrap(), "--format", format, "-cf", "-"]);
        match format {
            "posix" => command.args(["--sparse", "--xattrs", "--xattrs-include=*", "."]),
            "gnu" => command.args(["--sparse", "."]),
            // Its names are shorter.
            _ => command.args(["./file", "./hard", "./soft", "./sparse"]),
        };
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let fixture = Fixture::new();
        let root = fixture.unpack(&output.stdout).unwrap();
        assert_eq!(fs::read(root.join("hard")).unwrap(), fs::read(at("file")).unwrap());
        assert_eq!(fs::read(root.join("sparse")).unwrap(), fs::read(at("sparse")).unwrap());
        assert_eq!(fs::metadata(root.join("hard")).unwrap().nlink(), 2);
        if format != "ustar" {
            assert_eq!(read(&root.join("long".repeat(40)).join("n".repeat(200))), "x");
        }
        if format == "posix" {
            assert_eq!(xattr::get(root.join("file"), "trusted.test").unwrap().unwrap(), b"1\n2");
            let (a, b) =
                (fs::metadata(root.join("file")).unwrap(), fs::metadata(at("file")).unwrap());
            assert_eq!(a.mtime_nsec(), b.mtime_nsec());
        }
    }
}

#[test]
fn hostile_archives_are_refused_and_touch_nothing_outside() {
    let outside = tempfile::tempdir().unwrap();
    let victim = outside.path().join("victim");
    fs::write(&victim, "unharmed").unwrap();
    let (out, target) = (outside.path().to_str().unwrap(), victim.to_str().unwrap());
    let up = format!("../../../../../../../../../../{target}");
    let file = Tar::new().file("f", vec![1; 5000]).build();
    let bad_sum = {
        let mut tar = file.clone();
        tar[0] ^= 1;
        tar
    };
    let half = |mut packed: Vec<u8>| {
        packed.truncate(packed.len() / 2);
        packed
    };
    let without_end = |mut packed: Vec<u8>| {
        packed.truncate(packed.len() - 4);
        packed
    };
    let cases: Vec<(&str, Vec<u8>, &str)> = vec![
        ("parent", Tar::new().file("../evil", "x").build(), "leads out"),
        ("deep parent", Tar::new().file(&up, "x").build(), "leads out"),
        ("parent within", Tar::new().file("a/../b", "x").build(), "leads out"),
        ("parent folder", Tar::new().folder("a/..").build(), "leads out"),
        ("hidden parent", Tar::new().file(".wh...", "").build(), "not a name"),
        ("nothing hidden", Tar::new().file(".wh.", "").build(), "not a name"),
        ("hard link up", Tar::new().hard_link("a", &up).build(), "leads out"),
        ("hard link absolute", Tar::new().hard_link("a", target).build(), "hard link to nothing"),
        ("hard link to top", Tar::new().hard_link("a", "/").build(), "hard link to nothing"),
        ("hard link to folder", Tar::new().folder("d").hard_link("a", "d").build(), "folder"),
        (
            "hard link through a link",
            Tar::new().symlink("l", out).hard_link("a", "l/victim").build(),
            "symbolic link to no folder",
        ),
        (
            "file through an absolute link",
            Tar::new().symlink("l", out).file("l/victim", "x").build(),
            "symbolic link to no folder",
        ),
        (
            "file through a relative link",
            Tar::new()
                .symlink("l", &format!("../../../../../../..{out}"))
                .file("l/victim", "x")
                .build(),
            "symbolic link to no folder",
        ),
        (
            "links in a circle",
            Tar::new().symlink("a", "b").symlink("b", "a").file("a/x", "x").build(),
            "symbolic link to no folder",
        ),
        ("file as folder", Tar::new().file("f", "x").file("f/x", "x").build(), "is none"),
        ("top as file", Tar::new().file("./", "").file(".", "x").build(), "top folder"),
        ("empty link", Tar::new().symlink("l", "").build(), "without a target"),
        ("unknown type", Tar::new().entry(b'Z', "z", "", 0, &[]).build(), "unknown type"),
        ("bad checksum", bad_sum, "no valid tar header"),
        ("cut in a header", file[..300].to_vec(), "middle of a header"),
        ("cut in a file", file[..3000].to_vec(), "middle of a file"),
        ("no tar", vec![b'x'; 4096], "no valid tar header"),
        (
            "zero in a name",
            Tar::new().pax(&[("path", b"a\0b")]).file("x", "").build(),
            "not a file name",
        ),
        ("long name", Tar::new().pax(&[("path", &[b'n'; 300])]).file("x", "").build(), "too long"),
        (
            "bad pax",
            Tar::new().entry(b'x', "p", "", 0, b"99 a=b\n").file("x", "").build(),
            "malformed",
        ),
        ("huge pax", Tar::new().header(b'x', "p", "", 0, 1 << 30).open(), "extended header of"),
        ("pax at the end", Tar::new().pax(&[("path", b"x")]).build(), "after an extended header"),
        (
            "negative id",
            Tar::new().pax(&[("uid", b"4294967295")]).file("x", "").build(),
            "out of range",
        ),
        (
            "sparse overlap",
            Tar::new()
                .pax(&[("GNU.sparse.size", b"9"), ("GNU.sparse.map", b"4,2,0,2")])
                .file("x", "abcd")
                .build(),
            "out of order",
        ),
        (
            "sparse beyond data",
            Tar::new()
                .pax(&[("GNU.sparse.size", b"9"), ("GNU.sparse.map", b"0,8")])
                .file("x", "abcd")
                .build(),
            "does not fit",
        ),
        ("cut gzip", half(gzip(&file)), ""),
        ("cut zstd", half(zstd(&file)), ""),
        ("cut bzip2", half(bzip2(&file)), ""),
        ("cut xz", half(xz(&file)), ""),
        ("cut gzip trailer", without_end(gzip(&file)), ""),
        ("cut bzip2 trailer", without_end(bzip2(&file)), ""),
        ("cut xz trailer", without_end(xz(&file)), ""),
        (
            "wrong gzip sum",
            {
                let mut z = gzip(&file);
                let at = z.len() - 6;
                z[at] ^= 1;
                z
            },
            "",
        ),
    ];
    for (name, tar, why) in cases {
        let fixture = Fixture::new();
        match fixture.unpack(&tar) {
            Err(Error::Corrupt { why: reason, .. }) => {
                assert!(reason.contains(why), "{name}: {reason}");
            }
            other => panic!("{name}: {other:?}"),
        }
        fixture.assert_empty();
        assert_eq!(fixture.on_disk(), Vec::<String>::new(), "{name} leaves nothing");
        assert_eq!(read(&victim), "unharmed", "{name}");
        assert_eq!(fs::metadata(&victim).unwrap().nlink(), 1, "{name}");
        assert_eq!(fs::read_dir(outside.path()).unwrap().count(), 1, "{name}");
    }
}

#[test]
fn links_on_the_way_lead_to_places_inside_the_layer() {
    let fixture = Fixture::new();
    let tar = Tar::new()
        .folder("usr/lib/")
        .symlink("lib", "/usr/lib")
        .file("lib/a", "through an absolute link")
        .symlink("usr/up", "../../../../usr/lib")
        .file("usr/up/b", "through one that climbs")
        .hard_link("c", "lib/a")
        .file("/absolute", "x")
        .build();
    let root = fixture.unpack(&tar).unwrap();
    assert_eq!(read(&root.join("usr/lib/a")), "through an absolute link");
    assert_eq!(read(&root.join("usr/lib/b")), "through one that climbs");
    assert_eq!(read(&root.join("c")), "through an absolute link");
    assert_eq!(read(&root.join("absolute")), "x");
    assert!(fs::symlink_metadata(root.join("lib")).unwrap().is_symlink());
}

#[test]
fn limits_stop_bombs() {
    let bomb = gzip(&Tar::new().file("zeros", vec![0; 8 << 20]).build());
    let limits = Limits { layer_bytes: 1 << 20, layer_entries: 10, depth: 8, ..Limits::default() };
    let many = (0..11).fold(Tar::new(), |tar, n| tar.file(&n.to_string(), "")).build();
    let deep = Tar::new().folder(&"d/".repeat(9)).build();
    for (name, tar, expected) in
        [("size", bomb, "bytes"), ("number", many, "entries"), ("depth", deep, "folder levels")]
    {
        let fixture = Fixture::with(limits);
        match fixture.unpack(&tar) {
            Err(Error::TooLarge { unit, .. }) => assert_eq!(unit, expected, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
        fixture.assert_empty();
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(64))]

    #[test]
    fn any_tree_comes_out_as_it_went_in(
        files in proptest::collection::btree_map("[a-d]{1,2}(/[e-h]{1,2}){0,3}/[i-z]{1,12}", (
            proptest::collection::vec(0_u8.., 0..2000), 0_u32..0o1000, 0_u32..3), 0..30)
    ) {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, (contents, mode, _)) in &files {
            let mut header = tar::Header::new_gnu();
            header.set_mode(*mode);
            header.set_mtime(77);
            header.set_uid(0);
            header.set_gid(0);
            header.set_size(contents.len() as u64);
            builder.append_data(&mut header, path, &contents[..]).unwrap();
        }
        let tar = builder.into_inner().unwrap();
        let fixture = Fixture::new();
        let packed = match files.len() % 5 { 0 => tar, 1 => gzip(&tar), 2 => zstd(&tar), 3 => bzip2(&tar), _ => xz(&tar) };
        let root = fixture.unpack(&packed).unwrap();
        for (path, (contents, mode, _)) in &files {
            let path = root.join(path);
            proptest::prop_assert_eq!(&fs::read(&path).unwrap(), contents);
            let stat = fs::metadata(&path).unwrap();
            proptest::prop_assert_eq!((stat.mode() & 0o7777, stat.mtime()), (*mode, 77));
        }
        let size: usize = files.values().map(|file| file.0.len()).sum();
        proptest::prop_assert_eq!(fixture.store.usage().layers_bytes, size as u64);
    }

    #[test]
    fn no_bytes_panic_or_leave_anything(
        mut tar in proptest::strategy::Just(Tar::new().folder("d").pax(&[("path", b"d/x")]).file("f", "abc").symlink("l", "d").build()),
        changes in proptest::collection::vec((0_usize..4000, 0_u8..), 1..12),
        fix_sums in proptest::bool::ANY,
    ) {
        for (at, byte) in changes {
            if let Some(place) = tar.get_mut(at) { *place = byte; }
        }
        if fix_sums {
            for block in tar.chunks_exact_mut(512).filter(|block| block[257..262] == *b"ustar") {
                block[148..156].fill(b' ');
                let sum: u32 = block.iter().map(|byte| u32::from(*byte)).sum();
                block[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
            }
        }
        let fixture = Fixture::new();
        if fixture.unpack(&tar).is_err() {
            fixture.assert_empty();
        }
    }
}
