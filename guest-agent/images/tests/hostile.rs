//! Layers that somebody made to break out, to lie or to use up the machine. Beside the table in
//! `unpack.rs`: one more of what is refused, and one of what is let in and has to be tame.

mod common;

use std::fs;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _, PermissionsExt as _};
use std::path::Path;

use common::{Fixture, Made, Tar, bzip2, docker, gzip, read, root_or_skip, xz, zstd};
use linkspan_images::{Error, Limits};

/// A folder outside the store with a file that nothing may touch.
struct Outside(tempfile::TempDir);

impl Outside {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("victim"), "unharmed").unwrap();
        Self(folder)
    }

    fn path(&self) -> &str {
        self.0.path().to_str().unwrap()
    }

    fn check(&self, case: &str) {
        let victim = self.0.path().join("victim");
        assert_eq!(read(&victim), "unharmed", "{case}");
        assert_eq!(fs::metadata(&victim).unwrap().nlink(), 1, "{case}");
        assert_eq!(fs::metadata(&victim).unwrap().mode() & 0o7777, 0o644, "{case}");
        assert_eq!(fs::read_dir(self.0.path()).unwrap().count(), 1, "{case}");
        assert_eq!(xattr::list(self.0.path()).unwrap().count(), 0, "{case}");
    }
}

/// GNU's header for a name (`L`) or a link's target (`K`) that is longer than its field.
fn gnu(tar: Tar, flag: u8, text: &[u8]) -> Tar {
    tar.entry(flag, "././@LongLink", "", 0o644, &[text, b"\0"].concat())
}

/// A file's header with this size field.
fn with_size_field(field: [u8; 12]) -> Vec<u8> {
    let mut header = Tar::new().header(b'0', "f", "", 0o644, 0).open();
    header[124..136].copy_from_slice(&field);
    header[148..156].fill(b' ');
    let sum: u32 = header[..512].iter().map(|byte| u32::from(*byte)).sum();
    header[148..156].copy_from_slice(format!("{sum:06o}\0 ").as_bytes());
    header
}

/// A frame that asks for a window of two gibibytes (RFC 8878, 3.1.1.1.2).
fn zstd_with_a_huge_window() -> Vec<u8> {
    let window_log_minus_10 = 31 - 10;
    [&[0x28, 0xb5, 0x2f, 0xfd, 0x00, window_log_minus_10 << 3][..], &[0x01, 0, 0], &[0; 64]]
        .concat()
}

fn refused(outside: &str) -> Vec<(&'static str, Vec<u8>, &'static str)> {
    let up = format!("../../../../../../../../../..{outside}/victim");
    let file = || Tar::new().file("f", vec![7; 3000]);
    let pax = |records: &[(&str, &[u8])]| Tar::new().pax(records);
    vec![
        ("dot dot alone", Tar::new().file("..", "x").build(), "leads out"),
        ("dot, dot dot", Tar::new().file("a/./../../b", "x").build(), "leads out"),
        ("absolute and up", Tar::new().file("/../b", "x").build(), "leads out"),
        ("no name", Tar::new().file("", "x").build(), "top folder"),
        ("link as top", Tar::new().symlink("/", outside).build(), "top folder"),
        ("gnu name up", gnu(Tar::new(), b'L', up.as_bytes()).file("x", "x").build(), "leads out"),
        (
            "gnu link up",
            gnu(Tar::new(), b'K', up.as_bytes()).hard_link("x", "y").build(),
            "leads out",
        ),
        ("pax name up", pax(&[("path", up.as_bytes())]).file("x", "x").build(), "leads out"),
        (
            "pax link up",
            pax(&[("linkpath", up.as_bytes())]).hard_link("x", "y").build(),
            "leads out",
        ),
        (
            "global pax name up",
            Tar::new().entry(b'g', "g", "", 0o644, b"16 path=../evil\n").file("x", "x").build(),
            "leads out",
        ),
        (
            "sparse name up",
            pax(&[
                ("GNU.sparse.name", b"../evil"),
                ("GNU.sparse.size", b"1"),
                ("GNU.sparse.map", b"0,1"),
            ])
            .file("x", "x")
            .build(),
            "leads out",
        ),
        (
            "folder swapped for a link",
            Tar::new()
                .folder("d")
                .file("d/f", "x")
                .symlink("d", outside)
                .file("d/victim", "x")
                .build(),
            "symbolic link to no folder",
        ),
        (
            "hard link to a link, used as a folder",
            Tar::new().symlink("l", outside).hard_link("h", "l").file("h/victim", "x").build(),
            "symbolic link to no folder",
        ),
        (
            "link through proc",
            Tar::new().symlink("p", "/proc/self/root").file("p/x", "x").build(),
            "symbolic link to no folder",
        ),
        (
            "long chain of links",
            (0..60)
                .fold(Tar::new().folder("d"), |tar, n| {
                    tar.symlink(&format!("l{n}"), &format!("l{}", n + 1))
                })
                .symlink("l60", "d")
                .file("l0/x", "x")
                .build(),
            "symbolic link to no folder",
        ),
        (
            "whiteout through a link",
            Tar::new().symlink("l", outside).file("l/.wh.victim", "").build(),
            "symbolic link to no folder",
        ),
        (
            "opaque through a link",
            Tar::new().symlink("l", outside).file("l/.wh..wh..opq", "").build(),
            "symbolic link to no folder",
        ),
        ("opaque file", Tar::new().file("f", "x").file("f/.wh..wh..opq", "").build(), "is none"),
        ("whiteout of a folder itself", Tar::new().file("d/.wh..", "").build(), "not a name"),
        (
            "hard link to a whiteout",
            Tar::new().file(".wh.a", "").hard_link("b", "a").build(),
            "hard link to nothing",
        ),
        (
            "hard link to what was replaced",
            Tar::new().folder("d").file("d/f", "x").file("d", "x").hard_link("h", "d/f").build(),
            "",
        ),
        (
            "hard link to itself later",
            Tar::new().hard_link("a", "b").file("b", "").build(),
            "nothing",
        ),
        ("negative size", with_size_field([0xff; 12]), "size is malformed"),
        ("size that is no number", with_size_field(*b"0000000x000\0"), "size is malformed"),
        ("size beyond the archive", with_size_field(*b"77777777777\0"), ""),
        ("pax size negative", pax(&[("size", b"-1")]).file("x", "x").build(), "not a number"),
        (
            "pax size overflows",
            pax(&[("size", b"99999999999999999999")]).file("x", "x").build(),
            "not a number",
        ),
        ("pax size beyond", pax(&[("size", b"9223372036854775807")]).file("x", "x").build(), ""),
        (
            "pax without end",
            Tar::new().entry(b'x', "p", "", 0, b"9 path=x").file("x", "").build(),
            "malformed",
        ),
        ("pax mtime", pax(&[("mtime", b"soon")]).file("x", "").build(), "malformed"),
        ("user id too large", pax(&[("uid", b"18446744073709551616")]).file("x", "").build(), ""),
        (
            "sparse bomb",
            pax(&[("GNU.sparse.size", b"1152921504606846976"), ("GNU.sparse.map", b"0,1")])
                .file("x", "x")
                .build(),
            "limit",
        ),
        (
            "sparse offsets overflow",
            pax(&[("GNU.sparse.size", b"9"), ("GNU.sparse.map", b"18446744073709551615,1")])
                .file("x", "x")
                .build(),
            "out of order",
        ),
        (
            "sparse map of one and a half parts",
            pax(&[("GNU.sparse.size", b"9"), ("GNU.sparse.map", b"0,1,2")]).file("x", "x").build(),
            "malformed",
        ),
        (
            "link's target too long",
            pax(&[("linkpath", &[b'l'; 5000])]).symlink("x", "y").build(),
            "too long",
        ),
        ("volume of several", Tar::new().entry(b'M', "m", "", 0, b"rest").build(), "unknown type"),
        ("list of a folder", Tar::new().entry(b'D', "d", "", 0, b"Yf\0").build(), "unknown type"),
        (
            "xattr name too long",
            {
                let key = format!("SCHILY.xattr.user.{}", "n".repeat(300));
                pax(&[(&key, b"v")]).file("x", "").build()
            },
            "",
        ),
        ("gzip and then something else", [gzip(&file().build()), b"garbage".to_vec()].concat(), ""),
        ("zstd and then something else", [zstd(&file().build()), b"garbage".to_vec()].concat(), ""),
        (
            "bzip2 and then something else",
            [bzip2(&file().build()), b"garbage".to_vec()].concat(),
            "",
        ),
        ("xz and then something else", [xz(&file().build()), b"garbage".to_vec()].concat(), ""),
        ("xz within bzip2", bzip2(&xz(&file().build())), ""),
        ("zstd with a huge window", zstd_with_a_huge_window(), ""),
        ("gzip of nothing but its head", gzip(b"x")[..10].to_vec(), ""),
        ("gzip within gzip", gzip(&gzip(&file().build())), "header"),
        (
            "second member damaged",
            {
                let mut second = gzip(&file().build());
                let middle = second.len() / 2;
                second[middle] ^= 0x55;
                [gzip(&Tar::new().folder("d").open()), second].concat()
            },
            "",
        ),
    ]
}

#[test]
fn what_would_break_out_or_lies_is_refused_and_leaves_nothing() {
    let outside = Outside::new();
    let cases = refused(outside.path());
    assert!(cases.len() >= 40, "{}", cases.len());
    for (name, tar, why) in cases {
        let fixture = Fixture::new();
        let error = match fixture.unpack(&tar) {
            Err(error) => error,
            Ok(_) => panic!("{name}: it was taken"),
        };
        assert!(!matches!(error, Error::Read(_)), "{name}: the archive is at fault: {error}");
        assert!(error.to_string().contains(why), "{name}: {error}");
        assert_eq!(fixture.on_disk(), Vec::<String>::new(), "{name} leaves nothing");
        fixture.assert_empty();
        outside.check(name);
    }
}

/// What is unpacked, and what has to be true of it.
type Tame = (&'static str, Vec<u8>, fn(&Path) -> bool);

fn tame(outside: &str) -> Vec<Tame> {
    let victim = format!("{outside}/victim");
    let inner = Tar::new().file("evil", "x").build();
    let inner_size = inner.len().to_string();
    vec![
        (
            "file in place of a link",
            Tar::new().symlink("l", &victim).file("l", "own").build(),
            |root| read(&root.join("l")) == "own",
        ),
        (
            "file in place of a link's second name",
            Tar::new().symlink("l", &victim).hard_link("h", "l").file("h", "own").build(),
            |root| read(&root.join("h")) == "own" && root.join("l").is_symlink(),
        ),
        (
            "folder in place of a link",
            Tar::new().symlink("d", outside).folder("d").file("d/victim", "own").build(),
            |root| read(&root.join("d/victim")) == "own" && !root.join("d").is_symlink(),
        ),
        ("mode of a link", Tar::new().entry(b'2', "l", &victim, 0o7777, &[]).build(), |root| {
            root.join("l").is_symlink()
        }),
        (
            "hard link with a mode of its own",
            Tar::new().file("f", "x").entry(b'1', "h", "f", 0o6777, &[]).build(),
            |root| fs::metadata(root.join("f")).unwrap().mode() & 0o7777 == 0o644,
        ),
        (
            "set-id bits as written",
            Tar::new()
                .entry(b'0', "suid", "", 0o4755, b"x")
                .entry(b'0', "plain", "", 0o755, b"x")
                .entry(b'5', "d", "", 0o1777, &[])
                .build(),
            |root| {
                let mode = |name| fs::metadata(root.join(name)).unwrap().mode() & 0o7777;
                (mode("suid"), mode("plain"), mode("d")) == (0o4755, 0o755, 0o1777)
            },
        ),
        (
            "pipe and a file of its name",
            Tar::new().entry(b'6', "p", "", 0o644, &[]).file("p", "own").build(),
            |root| read(&root.join("p")) == "own",
        ),
        (
            "overlay's marks as attributes",
            Tar::new()
                .pax(&[
                    ("SCHILY.xattr.trusted.overlay.opaque", b"y"),
                    ("SCHILY.xattr.trusted.overlay.redirect", b"/etc"),
                    ("SCHILY.xattr.trusted.overlay.metacopy", b""),
                    ("SCHILY.xattr.user.overlay.whiteout", b"y"),
                    ("SCHILY.xattr.security.selinux", b"x"),
                ])
                .folder("d")
                .build(),
            |root| xattr::list(root.join("d")).unwrap().count() == 0,
        ),
        (
            "an attribute of no name space",
            Tar::new().pax(&[("SCHILY.xattr.odd", b"v")]).file("f", "x").build(),
            |root| xattr::list(root.join("f")).unwrap().count() == 0,
        ),
        (
            // Readers that take the header's size see the archive within (CVE-2025-62518).
            "an archive within, by two sizes",
            Tar::new()
                .pax(&[("size", inner_size.as_bytes())])
                .header(b'0', "f", "", 0o644, 0)
                .raw(&inner)
                .pad()
                .file("after", "x")
                .build(),
            |root| !root.join("evil").exists() && root.join("after").exists(),
        ),
        (
            // Go's reader, and so Docker's, gives links no contents: what two readers see
            // differently could be checked as one thing and run as another.
            "what follows a link is the next entry, whatever size it claims",
            Tar::new().entry(b'2', "l", "x", 0o777, &inner).file("after", "x").build(),
            |root| root.join("evil").exists() && !root.join("after").exists(),
        ),
        (
            "last of a name",
            Tar::new().file("x", "1").folder("x").file("x/y", "2").file("x", "3").build(),
            |root| read(&root.join("x")) == "3",
        ),
        ("absolute names", Tar::new().file("//etc//passwd", "own").folder("/").build(), |root| {
            read(&root.join("etc/passwd")) == "own"
        }),
        (
            "aufs' own folders",
            Tar::new().folder(".wh..wh.plnk").file(".wh..wh.plnk/1.2", "x").file("f", "x").build(),
            |root| fs::read_dir(root).unwrap().count() == 1,
        ),
        (
            "names of all bytes",
            Tar::new().pax(&[("path", b"a\nb\xff\x01")]).file("x", "x").build(),
            |root| fs::read_dir(root).unwrap().count() == 1,
        ),
        (
            "years beyond",
            Tar::new().pax(&[("mtime", b"999999999999999.5")]).file("f", "x").build(),
            |root| root.join("f").exists(),
        ),
        (
            "two members of gzip",
            [gzip(&Tar::new().folder("d").open()), gzip(&Tar::new().file("d/f", "x").build())]
                .concat(),
            |root| read(&root.join("d/f")) == "x",
        ),
    ]
}

#[test]
fn what_is_let_in_has_no_effect_outside_its_layer() {
    let outside = Outside::new();
    for (name, tar, holds) in tame(outside.path()) {
        let fixture = Fixture::new();
        let root = fixture.unpack(&tar).unwrap_or_else(|error| panic!("{name}: {error}"));
        assert!(holds(&root), "{name}");
        outside.check(name);
    }
}

#[test]
fn devices_are_nodes_that_unpacking_never_writes_to() {
    if !root_or_skip() {
        return;
    }
    let fixture = Fixture::new();
    // The memory, then a file of its name; and a disk that stays what it is.
    let tar = Tar::new()
        .device(b'3', "mem", 1, 1)
        .file("mem", "own")
        .device(b'4', "disk", 254, 0)
        .device(b'3', "hidden", 0, 0)
        .build();
    let root = fixture.unpack(&tar).unwrap();
    assert_eq!(read(&root.join("mem")), "own");
    let disk = fs::symlink_metadata(root.join("disk")).unwrap();
    assert!(disk.file_type().is_block_device() && disk.permissions().mode() & 0o7777 == 0o640);
    // What overlayfs takes for a whiteout hides a name of the layers below, as `.wh.hidden` would.
    assert_eq!(fs::symlink_metadata(root.join("hidden")).unwrap().rdev(), 0);
}

#[test]
fn bombs_end_at_the_limit_in_every_packing() {
    let limits = Limits { layer_bytes: 1 << 20, layer_entries: 50, depth: 16, ..Limits::default() };
    let zeros = Tar::new().file("zeros", vec![0; 16 << 20]).build();
    let halves = zeros.split_at(zeros.len() / 2);
    let sparse = |size: &[u8]| {
        let records: &[(&str, &[u8])] = &[("GNU.sparse.size", size), ("GNU.sparse.map", b"0,1")];
        Tar::new().pax(records).file("x", "x")
    };
    let twice = sparse(b"600000").raw(&sparse(b"600000").build());
    for (name, tar, expected) in [
        ("plain", zeros.clone(), "bytes"),
        ("gzip", gzip(&zeros), "bytes"),
        ("zstd", zstd(&zeros), "bytes"),
        ("bzip2", bzip2(&zeros), "bytes"),
        ("xz", xz(&zeros), "bytes"),
        ("streams of bzip2", [bzip2(halves.0), bzip2(halves.1)].concat(), "bytes"),
        ("streams of xz", [xz(halves.0), xz(halves.1)].concat(), "bytes"),
        ("members of gzip", [gzip(halves.0), gzip(halves.1)].concat(), "bytes"),
        ("frames of zstd", [zstd(halves.0), zstd(halves.1)].concat(), "bytes"),
        ("holes", sparse(b"2000000").build(), "bytes"),
        (
            "zeros after the end",
            [gzip(&Tar::new().build()), gzip(&vec![0; 4 << 20])].concat(),
            "bytes",
        ),
        (
            "the same name again and again",
            (0..60).fold(Tar::new(), |tar, _| tar.file("f", "")).build(),
            "entries",
        ),
        ("folders in folders", Tar::new().folder(&"d/".repeat(20)).build(), "folder levels"),
        (
            "whiteouts",
            (0..60).fold(Tar::new(), |t, n| t.file(&format!(".wh.{n}"), "")).build(),
            "entries",
        ),
    ] {
        let fixture = Fixture::with(limits);
        match fixture.unpack(&tar) {
            Err(Error::TooLarge { unit, .. }) => assert_eq!(unit, expected, "{name}"),
            other => panic!("{name}: {other:?}"),
        }
        assert_eq!(fixture.on_disk(), Vec::<String>::new(), "{name} leaves nothing");
    }
    // A file that was replaced does not count twice.
    let fixture = Fixture::with(limits);
    fixture.unpack(&twice.build()).unwrap();
}

#[test]
fn an_archive_cut_at_any_block_is_refused_and_leaves_nothing() {
    let layer = Tar::new()
        .folder("d")
        .file("d/f", vec![1; 1500])
        .pax(&[("path", b"d/long")])
        .file("x", "y")
        .symlink("d/l", "f")
        .hard_link("d/h", "d/f")
        .file("d/.wh.gone", "")
        .build();
    let whole = Made::new(std::slice::from_ref(&layer));
    let fixture = Fixture::new();
    // The layer, whose digest its configuration has.
    for cut in (0..layer.len()).step_by(512) {
        for pack in [<[u8]>::to_vec as fn(&[u8]) -> Vec<u8>, gzip, zstd, bzip2, xz] {
            let made = Made { layers: vec![pack(&layer[..cut])], ..whole.clone() };
            let error = fixture.load(&docker(&[(&["cut:1"], &made)])).unwrap_err();
            assert!(matches!(error, Error::Corrupt { .. }), "{cut}: {error}");
            assert_eq!(fixture.on_disk(), Vec::<String>::new(), "{cut}");
        }
    }
    // The archive around it: whatever is before `manifest.json`'s end is no image.
    let archive = docker(&[(&["cut:1"], &whole)]);
    let end = archive.len() - 1024;
    for cut in (0..end).step_by(512) {
        assert!(fixture.load(&archive[..cut]).is_err(), "{cut}");
        assert_eq!(fixture.on_disk(), Vec::<String>::new(), "{cut}");
    }
    fixture.load(&archive[..end]).unwrap();
}
