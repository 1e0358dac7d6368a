//! What the host is told to watch, by what containers have mounted.

use std::path::PathBuf;

use linkspan_containers::mounts::{Propagation, Recursive, Tmpfs};

use super::*;

const NONE: [&str; 0] = [];

/// A folder of the host; several containers may have it.
fn folder(tag: &str, path: &str) -> MountPoint {
    let shared = Some(SharedPath { tag: tag.into(), path: path.into() });
    bind(shared)
}

fn bind(shared: Option<SharedPath>) -> MountPoint {
    let (propagation, recursive) = (Propagation::default(), Recursive::default());
    mount(Source::Bind { path: "/home/me".into(), shared, propagation, recursive })
}

fn mount(source: Source) -> MountPoint {
    MountPoint { destination: "/data".into(), source, read_only: false, mode: String::new() }
}

/// The orders, each as `TAG [PATHS]`, when first `before` is mounted and then `now`.
fn orders(before: &[MountPoint], now: &[MountPoint]) -> Vec<String> {
    let changed = changed(&shared(before), &shared(now));
    changed.into_iter().map(|(tag, watch)| format!("{tag} {:?}", watch.paths)).collect()
}

#[test]
fn what_the_first_container_has_is_ordered_share_by_share() {
    let mounts = [folder("b", "src"), folder("a", ""), folder("b", "etc/app")];
    assert_eq!(orders(&[], &mounts), [r#"a [""]"#, r#"b ["etc/app", "src"]"#]);
}

#[test]
fn an_order_names_all_that_is_wanted_of_its_share() {
    let before = [folder("a", "one")];
    let now = [folder("a", "one"), folder("a", "two")];
    assert_eq!(orders(&before, &now), [r#"a ["one", "two"]"#]);
    assert_eq!(orders(&now, &before), [r#"a ["one"]"#]);
}

#[test]
fn a_share_that_nothing_has_any_more_is_let_go() {
    let before = [folder("a", "one"), folder("b", "two")];
    assert_eq!(orders(&before, &before[1..]), ["a []"]);
    assert_eq!(orders(&before, &[]), ["a []", "b []"]);
}

#[test]
fn a_folder_that_another_container_still_has_stays_watched_without_a_word() {
    let both = [folder("a", "one"), folder("a", "one")];
    assert_eq!(orders(&both[..1], &both), NONE);
    assert_eq!(orders(&both, &both[..1]), NONE);
}

#[test]
fn only_folders_of_the_host_are_watched() {
    let volume = Source::Volume { name: "data".into(), anonymous: false, subpath: PathBuf::new() };
    let tmpfs =
        Tmpfs { data: String::new(), exec: false, suid: false, dev: false, read_only: false };
    let mounts = [bind(None), mount(volume), mount(Source::Tmpfs(tmpfs))];
    assert_eq!(orders(&[], &mounts), NONE);
}

#[test]
fn the_watches_are_looked_at_again_when_a_container_starts_ends_or_goes() {
    for action in ["start", "die", "destroy"] {
        assert!(concerns("container", action), "{action}");
    }
    for (kind, action) in
        [("container", "exec_create: ls"), ("container", "rename"), ("volume", "destroy")]
    {
        assert!(!concerns(kind, action), "{kind} {action}");
    }
}
