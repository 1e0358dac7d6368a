//! What is found again.

use std::fs;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};

use crate::bench::Bench;

#[test]
fn a_second_build_finds_every_layer_and_makes_the_same_image() {
    let bench = Bench::new();
    bench.file("f", "x");
    let text = "FROM base\nRUN write /made text\nCOPY f /f\nWORKDIR /work/deep\nENV A=1\n";
    let first = bench.build(text);
    assert_eq!(first.steps, (3, 0));
    let second = bench.build(text);
    assert_eq!(second.steps, (0, 3));
    assert_eq!(first.id, second.id);
    assert_eq!(bench.played.ran.lock().unwrap().len(), 1);
}

#[test]
fn what_does_not_run_is_the_same_without_the_cache() {
    let mut bench = Bench::new();
    bench.file("f", "x");
    let text = "FROM base\nCOPY f /deep/f\nCOPY <<E /here\ntext\nE\nWORKDIR /work\nENV A=1\n";
    let first = bench.build(text);
    bench.options.no_cache = true;
    let second = bench.build(text);
    assert_eq!(second.steps, (3, 0));
    assert_eq!(first.id, second.id);
}

#[test]
fn a_changed_content_or_mode_is_not_found_again() {
    let bench = Bench::new();
    bench.file("f", "x");
    let text = "FROM base\nCOPY f /f\n";
    let first = bench.build(text);
    bench.file("f", "y");
    let content = bench.build(text);
    assert_eq!((content.steps, content.text("/f").unwrap()), ((1, 0), "y".into()));
    let path = bench.context.join("f");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o755)).unwrap();
    let mode = bench.build(text);
    assert_eq!((mode.steps, mode.stat("/f").unwrap().0), ((1, 0), 0o755));
    // Back again: both are known.
    bench.file("f", "x");
    let again = bench.build(text);
    assert_eq!((again.steps, again.id), ((0, 1), first.id));
}

#[test]
fn a_time_alone_changes_nothing() {
    let bench = Bench::new();
    bench.file("f", "x");
    let first = bench.build("FROM base\nCOPY f /f\n");
    fs::write(bench.context.join("f"), "x").unwrap();
    assert_ne!(fs::metadata(bench.context.join("f")).unwrap().mtime(), 2_000_000);
    let second = bench.build("FROM base\nCOPY f /f\n");
    assert_eq!((second.steps, second.id), ((0, 1), first.id));
}

#[test]
fn a_stage_that_makes_the_same_files_leaves_the_copy_found() {
    let bench = Bench::new();
    let text = |n| {
        format!(
            "FROM base AS one\nRUN write /f same && write /other {n}\nFROM scratch\nCOPY --from=one /f /f\n"
        )
    };
    let first = bench.build(&text(1));
    let second = bench.build(&text(2));
    assert_eq!(second.steps, (1, 1));
    assert_eq!(first.id, second.id);
}

#[test]
fn layers_of_the_cache_survive_a_collection_and_a_reopened_builder_finds_them() {
    let bench = Bench::new();
    let text = "FROM base\nRUN write /x y\n";
    bench.build(text);
    let removed = bench.store.remove(
        "built",
        linkspan_images::RemoveOptions { force: true, ..Default::default() },
        |_| Vec::new(),
        |layer| bench.builder.uses_layer(layer),
    );
    removed.unwrap();
    bench.store.collect(|layer| bench.builder.uses_layer(layer)).unwrap();
    assert_eq!(bench.build(text).steps, (0, 1));
}

#[test]
fn records_that_cannot_be_read_are_begun_anew() {
    let mut bench = Bench::new();
    let text = "FROM base\nRUN --mount=type=cache,id=c,target=/c keep /c 1\n";
    for unreadable in ["half of a", r#"{"format":99}"#] {
        bench.build(text);
        fs::write(bench.folder().join("cache.json"), unreadable).unwrap();
        bench.open_again();
        assert_eq!(fs::read_dir(bench.folder().join("mounts")).unwrap().count(), 0);
        assert_eq!(bench.build(text).steps, (1, 0));
    }
}
