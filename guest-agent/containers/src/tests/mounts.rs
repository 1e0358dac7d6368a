//! Mounts and volumes in the life of containers.

use std::path::PathBuf;

use linkspan_runtime::plan::{Mount, MountKind};

use super::*;
use crate::{
    launch::ImageView,
    mounts::{Kind as MountType, MountConfig},
    volumes::{Filters as VolumeFilters, VolumeError},
};

fn volume(source: &str, target: &str) -> MountConfig {
    MountConfig { source: source.into(), target: target.into(), ..MountConfig::default() }
}

fn with(mounts: Vec<MountConfig>, command: &[&str]) -> Config {
    Config { mounts, ..config(command) }
}

fn names(containers: &Containers) -> Vec<String> {
    let volumes = containers.shared.volumes.list(&VolumeFilters::default());
    volumes.into_iter().map(|volume| volume.name).collect()
}

/// The mount at a destination in the last plan that was carried out.
fn planned(bench: &Bench, destination: &str) -> Option<Mount> {
    let plan = bench.launcher.plans().pop().expect("something was started");
    let mut found = plan.mounts.into_iter().filter(|m| m.destination == Path::new(destination));
    let mount = found.next();
    assert!(found.next().is_none(), "{destination} is mounted twice");
    mount
}

fn source(mount: &Mount) -> PathBuf {
    match &mount.kind {
        MountKind::Bind(bind) => bind.source.join(&bind.within),
        other => panic!("not a bind: {other:?}"),
    }
}

/// An image whose one layer has files below /srv, and that declares a volume there.
fn image_with_volume(bench: &Bench) {
    let layer = bench.root().join("layer");
    std::fs::create_dir_all(layer.join("srv")).unwrap();
    std::fs::write(layer.join("srv/file"), "image").unwrap();
    bench.images.add(ImageView {
        id: "sha256:a".into(),
        reference: "app:latest".into(),
        command: vec!["true".into()],
        volumes: vec!["/srv".into()],
        layers: vec![layer],
        diff_ids: vec!["sha256:d".into()],
        ..ImageView::default()
    });
}

#[tokio::test]
async fn a_named_volume_is_made_mounted_and_kept() {
    let bench = Bench::new();
    let containers = bench.open();
    let made = with(
        vec![MountConfig { read_only: true, no_copy: true, ..volume("data", "/data") }],
        &["true"],
    );
    started(&containers, "box", made).await;
    let mount = planned(&bench, "/data").unwrap();
    assert!(mount.readonly);
    assert_eq!(source(&mount), bench.volumes.path().join("data/_data"));
    within(containers.wait("box", WaitCondition::NotRunning)).await.unwrap();
    let refused = containers.shared.volumes.remove("data", true);
    assert!(matches!(refused, Err(VolumeError::InUse { .. })), "a stopped container has it too");
    containers.remove("box", false, true).await.unwrap();
    assert_eq!(names(&containers), ["data"]);
    containers.shared.volumes.remove("data", false).unwrap();
}

#[tokio::test]
async fn anonymous_volumes_go_with_rm_v_and_with_rm_only() {
    let bench = Bench::new();
    let containers = bench.open();
    let config = || with(vec![MountConfig { no_copy: true, ..volume("", "/data") }], &["true"]);
    containers.create("kept", config()).await.unwrap();
    containers.create("gone", config()).await.unwrap();
    containers.remove("gone", false, true).await.unwrap();
    assert_eq!(names(&containers).len(), 1);
    containers.remove("kept", false, false).await.unwrap();
    assert_eq!(names(&containers).len(), 1);
    let made = Config { auto_remove: true, ..config() };
    let heard = run(&containers, made).await;
    assert_eq!(heard.code, Some(0));
    // The answer comes before the files are gone.
    let gone = || async {
        while names(&containers).len() > 1 {
            tokio::task::yield_now().await;
        }
    };
    within(gone()).await;
}

#[tokio::test]
async fn an_images_volume_has_the_images_files_unless_something_else_is_there() {
    let bench = Bench::new();
    image_with_volume(&bench);
    let containers = bench.open();
    let app = || Config { image: "app".into(), ..Config::default() };
    started(&containers, "one", app()).await;
    let own = source(&planned(&bench, "/srv").unwrap());
    assert_eq!(std::fs::read_to_string(own.join("file")).unwrap(), "image");
    let tmpfs = MountConfig { kind: MountType::Tmpfs, ..volume("", "/srv") };
    started(&containers, "two", Config { mounts: vec![tmpfs], ..app() }).await;
    assert!(matches!(planned(&bench, "/srv").unwrap().kind, MountKind::Tmpfs { .. }));
    assert_eq!(names(&containers).len(), 1);
    let nocopy = MountConfig { no_copy: true, ..volume("bare", "/srv") };
    started(&containers, "three", Config { mounts: vec![nocopy], ..app() }).await;
    let bare = source(&planned(&bench, "/srv").unwrap());
    assert_eq!(std::fs::read_dir(bare).unwrap().count(), 0);
}

#[tokio::test]
async fn another_containers_volumes_are_shared_and_may_be_read_only() {
    let bench = Bench::new();
    let containers = bench.open();
    let nocopy = |source, target| MountConfig { no_copy: true, ..volume(source, target) };
    let own = with(vec![nocopy("data", "/data"), nocopy("", "/anonymous")], &["true"]);
    containers.create("own", own).await.unwrap();
    let mounts = vec![nocopy("other", "/data")];
    let taker = Config { volumes_from: vec!["own:ro".into()], ..with(mounts, &["true"]) };
    started(&containers, "taker", taker).await;
    assert_eq!(
        source(&planned(&bench, "/data").unwrap()),
        bench.volumes.path().join("other/_data")
    );
    assert!(planned(&bench, "/anonymous").unwrap().readonly);
    within(containers.wait("taker", WaitCondition::NotRunning)).await.unwrap();
    containers.remove("own", false, true).await.unwrap();
    assert_eq!(names(&containers).len(), 3, "the taker still has the anonymous one");
    let unknown = Config { volumes_from: vec!["nobody".into()], ..config(&["true"]) };
    let error = containers.create("", unknown).await.unwrap_err();
    assert!(matches!(error, Error::NotFound(who) if who == "nobody"));
}

#[tokio::test]
async fn a_container_that_cannot_be_made_leaves_no_anonymous_volume() {
    let bench = Bench::new();
    let containers = bench.open();
    let mounts = vec![
        MountConfig { no_copy: true, ..volume("", "/data") },
        MountConfig { kind: MountType::Bind, ..volume("/home/me", "/host") },
    ];
    let error = containers.create("box", with(mounts, &["true"])).await.unwrap_err();
    assert!(error.to_string().contains("/home/me"), "{error}");
    assert_eq!(names(&containers), Vec::<String>::new());
    containers.create("box", config(&["true"])).await.unwrap();
}

#[tokio::test]
async fn the_next_boot_knows_who_has_a_volume() {
    let bench = Bench::new();
    let containers = bench.open();
    let mounts = vec![MountConfig { no_copy: true, ..volume("data", "/data") }];
    containers.create("box", with(mounts, &["true"])).await.unwrap();
    drop(containers);
    let containers = bench.open();
    let refused = containers.shared.volumes.remove("data", false);
    assert!(matches!(refused, Err(VolumeError::InUse { .. })));
    containers.remove("box", false, false).await.unwrap();
    containers.shared.volumes.remove("data", false).unwrap();
}

#[tokio::test]
async fn a_mount_takes_the_place_of_the_engines_own_and_parents_come_first() {
    let bench = Bench::new();
    let containers = bench.open();
    let tmpfs = |target, options: &str| MountConfig {
        kind: MountType::Tmpfs,
        tmpfs_options: options.into(),
        ..volume("", target)
    };
    let mounts = vec![tmpfs("/a/b/c", ""), tmpfs("/dev/shm", "size=1m"), tmpfs("/a", "exec")];
    let made = Config { shm_size: 5 << 20, ..with(mounts, &["true"]) };
    started(&containers, "box", made).await;
    let shm = planned(&bench, "/dev/shm").unwrap();
    assert_eq!(shm.kind, MountKind::Tmpfs { data: "size=1m".into() });
    let plan = bench.launcher.plans().pop().unwrap();
    let at = |path: &str| plan.mounts.iter().position(|m| m.destination == Path::new(path));
    assert!(at("/a") < at("/a/b/c") && at("/dev") < at("/dev/shm"));
    let outer = &plan.mounts[at("/a").unwrap()];
    assert!(outer.nosuid && outer.nodev && !outer.noexec);
    started(&containers, "plain", Config { shm_size: 5 << 20, ..config(&["true"]) }).await;
    match planned(&bench, "/dev/shm").unwrap().kind {
        MountKind::Fs { data, .. } => assert!(data.contains("size=5242880"), "{data}"),
        other => panic!("{other:?}"),
    }
}
