//! What COPY and ADD bring.

use std::fs;
use std::io::Write as _;
use std::os::unix::fs::symlink;

use crate::bench::Bench;

#[test]
fn files_and_folders_of_the_context_are_copied() {
    let bench = Bench::new();
    bench.file("a/one", "1");
    bench.file("a/deep/two", "2");
    symlink("one", bench.context.join("a/link")).unwrap();
    let done = bench.build("FROM base\nCOPY a /to/\nCOPY a/one /file\nCOPY a/one /tmp\n");
    assert_eq!(done.text("/to/one").unwrap(), "1");
    assert_eq!(done.text("/to/deep/two").unwrap(), "2");
    assert_eq!(done.text("/file").unwrap(), "1");
    assert_eq!(done.text("/tmp/one").unwrap(), "1");
    assert_eq!(done.stat("/to/one").unwrap(), (0o644, 0, 0, 2_000_000));
    // What was there keeps its attributes; what was made on the way has no time of the clock.
    assert_eq!(done.stat("/tmp").unwrap().0, 0o1777);
    assert_eq!(done.names("/to"), ["deep", "link", "one"]);
}

#[test]
fn a_destination_may_lead_by_a_link_of_the_image() {
    let bench = Bench::new();
    bench.file("f", "x");
    let done = bench.build("FROM base\nCOPY f /var/run/deep/f\n");
    assert_eq!(done.text("/run/deep/f").unwrap(), "x");
    assert_eq!(done.stat("/run/deep").unwrap(), (0o755, 0, 0, 0));
}

#[test]
fn owner_and_mode_are_as_asked_for() {
    let bench = Bench::new();
    bench.file("d/f", "x");
    let text = "FROM base\nCOPY --chown=app d /a/\nCOPY --chown=7 --chmod=750 d/f /b\n\
                COPY --chown=app:extra d/f /c\nCOPY --chmod=u=rwX,go= d /e/\n";
    let done = bench.build(text);
    let owner = |path: &str| done.stat(path).map(|(mode, uid, gid, _)| (mode, uid, gid)).unwrap();
    assert_eq!(owner("/a/f"), (0o644, 1000, 1001));
    assert_eq!(owner("/b"), (0o750, 7, 7));
    assert_eq!(owner("/c"), (0o644, 1000, 2000));
    assert_eq!(owner("/e/f"), (0o600, 0, 0));
    // A folder that is made for the contents of another is no copy of it.
    assert_eq!(owner("/e").0, 0o755);
    let error = bench.fails("FROM base\nCOPY --chown=nobody-here d/f /b\n");
    assert!(error.contains("nobody-here") && error.contains("/etc/passwd"), "{error}");
}

#[test]
fn add_unpacks_archives_of_the_context_and_nothing_else() {
    let bench = Bench::new();
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(2);
    header.set_mode(0o640);
    header.set_uid(5);
    header.set_gid(6);
    header.set_mtime(77);
    tar.append_data(&mut header, "in/f", &b"hi"[..]).unwrap();
    fs::write(bench.context.join("a.tar"), tar.into_inner().unwrap()).unwrap();
    bench.file("plain", "no archive");
    let done = bench.build("FROM base\nADD a.tar /x/\nADD plain /x/\nCOPY a.tar /x/\n");
    assert_eq!(done.stat("/x/in/f").unwrap(), (0o640, 5, 6, 77));
    assert_eq!(done.text("/x/plain").unwrap(), "no archive");
    assert_eq!(done.names("/x"), ["a.tar", "in", "plain"]);
}

#[test]
fn add_unpacks_every_packing_and_copies_what_is_packed_but_no_tar() {
    let bench = Bench::new();
    let mut tar = tar::Builder::new(Vec::new());
    let mut header = tar::Header::new_ustar();
    header.set_size(2);
    header.set_mode(0o644);
    tar.append_data(&mut header, "in/f", &b"hi"[..]).unwrap();
    let tar = tar.into_inner().unwrap();
    let bzip2 = |bytes: &[u8]| {
        let mut encoder = bzip2::write::BzEncoder::new(Vec::new(), bzip2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let xz = |bytes: &[u8]| {
        let options = lzma_rust2::XzOptions::with_preset(0);
        let mut encoder = lzma_rust2::XzWriter::new(Vec::new(), options).unwrap();
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    };
    let file = |name: &str, bytes: &[u8]| fs::write(bench.context.join(name), bytes).unwrap();
    file("a.tar.bz2", &bzip2(&tar));
    file("a.tar.xz", &xz(&tar));
    file("words.xz", &xz(b"words"));
    file("cut.xz", &xz(b"words")[..20]);
    let done = bench.build(
        "FROM base\nADD a.tar.bz2 /b/\nADD a.tar.xz /x/\nADD words.xz cut.xz /w/\n\
         COPY a.tar.xz /c/\n",
    );
    assert_eq!(done.text("/b/in/f").unwrap(), "hi");
    assert_eq!(done.text("/x/in/f").unwrap(), "hi");
    assert_eq!(done.names("/w"), ["cut.xz", "words.xz"]);
    assert_eq!(done.names("/c"), ["a.tar.xz"]);
    let cut = xz(&tar);
    file("a.tar.xz", &cut[..cut.len() - 4]);
    assert!(bench.fails("FROM base\nADD a.tar.xz /x/\n").contains("corrupt"));
}

#[test]
fn a_layer_is_a_tar_whatever_its_first_name_looks_like() {
    let bench = Bench::new();
    bench.file("BZh91AY&SY", "x");
    let done = bench.build("FROM scratch\nCOPY BZh91AY&SY /BZh91AY&SY\n");
    assert_eq!(done.text("/BZh91AY&SY").unwrap(), "x");
}

#[test]
fn a_download_has_its_name_and_its_checksum() {
    let mut bench = Bench::new();
    bench.played.downloads.insert("http://host/dir/f.txt".into(), b"far".to_vec());
    let sum = "sha256:0000000000000000000000000000000000000000000000000000000000000000";
    let done = bench.build("FROM base\nADD http://host/dir/f.txt /x/\n");
    assert_eq!(done.text("/x/f.txt").unwrap(), "far");
    assert_eq!(done.stat("/x/f.txt").unwrap(), (0o600, 0, 0, 0));
    let wrong =
        bench.fails(&format!("FROM base\nADD --checksum={sum} http://host/dir/f.txt /x/\n"));
    assert!(wrong.contains("--checksum"), "{wrong}");
    let gone = bench.fails("FROM base\nADD http://host/none /x\n");
    assert!(gone.contains("http://host/none"), "{gone}");
}

#[test]
fn wildcards_parents_and_exclusions_choose_files() {
    let bench = Bench::new();
    for file in ["a.txt", "b.txt", "c.md", "d/e/f.txt", "d/e/g.md"] {
        bench.file(file, file);
    }
    let text = "FROM base\nCOPY *.txt /w/\nCOPY --parents d/e/*.txt /p/\n\
                COPY --exclude=**/*.md d /x/\nCOPY no*thing /w/\n";
    let done = bench.build(text);
    assert_eq!(done.names("/w"), ["a.txt", "b.txt"]);
    assert_eq!(done.names("/p/d/e"), ["f.txt"]);
    assert_eq!(done.names("/x/e"), ["f.txt"]);
}

#[test]
fn what_is_not_there_is_named_and_why() {
    let mut bench = Bench::new();
    bench.file("left-out", "x");
    assert!(
        bench
            .fails("FROM base\nCOPY none /x\n")
            .contains("`/none`: not found in the build context")
    );
    bench.options.ignore = linkspan_build::Ignore::parse("left-out", ".dockerignore").unwrap();
    let error = bench.fails("FROM base\nCOPY left-out /x\n");
    assert!(error.contains(".dockerignore leaves it out"), "{error}");
}

#[test]
fn folders_and_files_do_not_replace_each_other() {
    let bench = Bench::new();
    bench.file("d/f", "x");
    let error = bench.fails("FROM base\nCOPY d /etc/passwd\n");
    assert!(error.contains("/etc/passwd"), "{error}");
    let error = bench.fails("FROM base\nRUN write /x/f/deep y\nCOPY d /x/\n");
    assert!(error.contains("/x/f"), "{error}");
}
