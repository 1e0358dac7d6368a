//! Names, lists, removal, and what the disk keeps over a boot.

use linkspan_net::EndpointSpec;

use super::*;

#[tokio::test]
async fn auto_remove_leaves_nothing_and_frees_the_name_before_the_end_is_told() {
    let bench = Bench::new();
    let containers = bench.open();
    for _ in 0..20 {
        let config = Config { auto_remove: true, ..config(&["true"]) };
        containers.create("again", config).await.expect("the name is free");
        let handle = containers.clone();
        let removed =
            tokio::spawn(async move { handle.wait("again", WaitCondition::Removed).await });
        tokio::task::yield_now().await;
        let mut attachment = containers.attach("again", ALL).await.unwrap();
        assert_eq!(hear(&mut attachment).await.code, Some(0));
        assert!(matches!(containers.inspect("again"), Err(Error::NotFound(_))));
        assert_eq!(within(removed).await.unwrap().unwrap().unwrap().code, 0);
    }
    assert_eq!(bench.folders(), 0);
    assert!(bench.launcher.cgroups().is_empty());
    let made = containers.create("", Config { auto_remove: true, ..config(&["nonsense"]) }).await;
    let id = made.unwrap().id;
    let handle = containers.clone();
    let (waited, start) = tokio::join!(
        within(handle.wait(id.as_str(), WaitCondition::Removed)),
        containers.start(id.as_str())
    );
    assert!(start.is_err() && waited.unwrap().is_none());
    assert_eq!(bench.folders(), 0, "also when the start fails");
}

#[tokio::test]
async fn names_are_unique_and_free_again_after_removal() {
    let containers = Bench::new().open();
    let made = containers.create("web", config(&["true"])).await.unwrap();
    let error = containers.create("web", config(&["true"])).await.unwrap_err();
    assert!(error.to_string().contains(made.id.short()), "{error}");
    let prefix = &made.id.as_str()[..20];
    assert_eq!(containers.remove(prefix, false, false).await.unwrap(), made.id);
    containers.create("/web", config(&["true"])).await.unwrap();
    assert!(matches!(containers.inspect(""), Err(Error::NotFound(_))));
}

#[tokio::test]
async fn a_running_container_is_only_removed_by_force() {
    let bench = Bench::new();
    let containers = bench.open();
    started(&containers, "busy", config(&["sleep", "3600"])).await;
    assert!(matches!(containers.remove("busy", false, false).await, Err(Error::WrongState { .. })));
    within(containers.remove("busy", true, false)).await.unwrap();
    assert_eq!((bench.folders(), bench.launcher.processes()), (0, 0));
}

#[tokio::test]
async fn the_next_boot_finds_what_the_disk_holds() {
    let bench = Bench::new();
    let before = bench.open();
    let done = before.create("done", config(&["sh", "-c", "exit 3"])).await.unwrap();
    before.start("done").await.unwrap();
    within(before.wait("done", WaitCondition::NotRunning)).await.unwrap();
    started(&before, "cut-off", config(&["sleep", "3600"])).await;
    started(&before, "gone", Config { auto_remove: true, ..config(&["sleep", "3600"]) }).await;
    before.create("fresh", config(&["true"])).await.unwrap();
    // Writing state.json follows the answer; a crash is not what is tested here.
    let state = bench.root().join(done.id.as_str()).join("state.json");
    let cut_off = before.inspect("cut-off").unwrap().folder.join("state.json");
    within(async {
        let has = |path: &Path, text: &str| {
            std::fs::read_to_string(path).is_ok_and(|content| content.contains(text))
        };
        while !has(&state, "exited") || !has(&cut_off, "running") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    std::fs::create_dir(bench.root().join("a".repeat(64))).unwrap();

    let after = bench.open();
    let names = |containers: &Containers| {
        let list = containers.list(true, None, &Filters::default()).unwrap();
        list.into_iter().map(|container| container.record.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(names(&after), ["fresh", "cut-off", "done"], "newest first, auto_remove is gone");
    let exit = |name: &str| after.inspect(name).unwrap().status.state.exit().cloned();
    assert_eq!(exit("done").unwrap().code, 3);
    assert_eq!(exit("cut-off").unwrap().code, 255);
    assert_eq!(kind(&after, "fresh"), Kind::Created);
    assert_eq!(bench.folders(), 3, "the half-made one is deleted");
    let error = after.create("done", config(&["true"])).await.unwrap_err();
    assert!(matches!(error, Error::NameConflict { .. }));
}

#[tokio::test]
async fn a_record_of_another_format_is_left_alone() {
    let bench = Bench::new();
    let made = bench.open().create("old", config(&["true"])).await.unwrap();
    let path = bench.root().join(made.id.as_str()).join("config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("\"format\":1", "\"format\":9", 1)).unwrap();
    let after = bench.open();
    assert!(after.list(true, None, &Filters::default()).unwrap().is_empty());
    assert!(path.exists(), "it is not ours to delete");
}

#[tokio::test]
async fn a_container_outlives_its_images_name() {
    let bench = Bench::new();
    let containers = bench.open();
    containers.create("orphan", config(&["true"])).await.unwrap();
    bench.images.remove("busybox:latest");
    containers.start("orphan").await.expect("its layers were kept with it");
    assert!(matches!(containers.create("", config(&["true"])).await, Err(Error::Image(_))));
    assert!(containers.uses_layer(&format!("sha256:{}", "d".repeat(64))));
}

#[tokio::test]
async fn filters_choose_and_unknown_ones_are_refused() {
    let containers = Bench::new().open();
    let labels = [("tier".to_owned(), "web".to_owned())].into();
    containers.create("one", Config { labels, ..config(&["true"]) }).await.unwrap();
    started(&containers, "two", config(&["sleep", "3600"])).await;
    let list = |all: bool, filters: &[&str]| {
        let filters: Vec<_> = filters.iter().map(ToString::to_string).collect();
        let found = containers.list(all, None, &Filters::parse(&filters).unwrap()).unwrap();
        found.into_iter().map(|container| container.record.name.clone()).collect::<Vec<_>>()
    };
    assert_eq!(list(false, &[]), ["two"]);
    assert_eq!(list(true, &["label=tier=web"]), ["one"]);
    assert_eq!(list(false, &["status=created"]), ["one"]);
    assert_eq!(list(true, &["ancestor=busybox", "name=tw"]), ["two"]);
    for (filter, expected) in [
        ("before=two", vec!["one"]),
        ("since=one", vec!["two"]),
        ("name=^(one|t.o)$", vec!["two", "one"]),
        ("name=^on$", vec![]),
        ("network=bridge", vec!["two", "one"]),
        ("network=backend", vec![]),
        ("exited=0", vec![]),
        ("health=none", vec!["two", "one"]),
    ] {
        assert_eq!(list(true, &[filter]), expected, "{filter}");
    }
    let unknown = Filters::parse(&["before=three".into()]).unwrap();
    assert!(matches!(containers.list(true, None, &unknown), Err(Error::NotFound(_))));
    containers.remove("two", true, false).await.unwrap();
}

#[tokio::test]
async fn filters_know_mounts_and_ports() {
    use crate::{mounts::MountConfig, ports::PortMapping};
    let containers = Bench::new().open();
    let volume = MountConfig {
        source: "data".into(),
        target: "/d".into(),
        no_copy: true,
        ..MountConfig::default()
    };
    let mut asked = Config { mounts: vec![volume], ..config(&["true"]) };
    let port = "80/tcp".parse().unwrap();
    asked.ports.published = vec![PortMapping { host_ip: None, host_ports: None, port }];
    asked.ports.exposed = vec!["53/udp".parse().unwrap()];
    containers.create("one", asked).await.unwrap();
    containers.create("two", config(&["true"])).await.unwrap();
    let count = |filter: &str| {
        let filters = Filters::parse(&[filter.into()]).unwrap();
        containers.list(true, None, &filters).unwrap().len()
    };
    for chosen in ["volume=data", "volume=/d", "publish=70-80", "expose=53/udp", "expose=80"] {
        assert_eq!(count(chosen), 1, "{chosen}");
    }
    for nothing in ["volume=dat", "publish=53/udp", "expose=80/udp"] {
        assert_eq!(count(nothing), 0, "{nothing}");
    }
}

#[tokio::test]
async fn the_plan_says_what_the_request_said() {
    let bench = Bench::new();
    let containers = bench.open();
    let mut asked = config(&["hostname"]);
    asked.hostname = "bridge".into();
    asked.limits.memory = 64 << 20;
    asked.read_only_rootfs = true;
    assert_eq!(run(&containers, asked).await.stdout, "bridge\n");
    let plan = bench.launcher.plans().pop().unwrap();
    assert_eq!(plan.resources.memory_max, Some(64 << 20));
    assert!(plan.rootfs.readonly);
    assert_eq!(plan.rootfs.lower, [Path::new("/fake/busybox")]);
    assert!(plan.rootfs.upper.starts_with(bench.root()));
}

#[tokio::test]
async fn a_list_has_a_new_revision_before_anybody_is_told_of_a_change() {
    let bench = Bench::new();
    let containers = bench.open();
    let known = std::cell::Cell::new(containers.revision());
    let changed = |what: &str| {
        let now = containers.revision();
        assert_ne!(known.replace(now), now, "{what}");
    };
    containers.create("box", config(&["sleep", "3600"])).await.unwrap();
    changed("create");
    let list = containers.list(true, None, &Filters::default()).unwrap();
    assert_eq!(list.len(), 1);
    assert_eq!(containers.revision(), known.get(), "who only looks changes nothing");
    containers.start("box").await.unwrap();
    changed("start");
    containers.pause("box").await.unwrap();
    changed("pause");
    containers.unpause("box").await.unwrap();
    changed("unpause");
    containers.rename("box", "other").await.unwrap();
    changed("rename");
    let spec = EndpointSpec { network: "backend".into(), ..EndpointSpec::default() };
    containers.connect("other", spec).await.unwrap();
    changed("connect");
    let networks = containers.inspect("other").unwrap().networks;
    assert_eq!(networks, ["backend", "bridge"], "what is shown is what was written");
    containers.disconnect("other", "backend").await.unwrap();
    changed("disconnect");
    let ended = containers.waiting("other", WaitCondition::NextExit).unwrap();
    let (handle, seen) = (containers.clone(), known.get());
    let told = tokio::spawn(async move {
        within(ended).await;
        handle.revision() != seen
    });
    containers.kill("other", Signal::KILL).await.unwrap();
    assert!(told.await.unwrap(), "who waits for an end hears of it after it was counted");
    changed("kill");
    containers.remove("other", false, false).await.unwrap();
    changed("remove");
    assert_ne!(bench.open().revision(), known.get(), "a boot begins elsewhere");
}

#[tokio::test]
async fn a_state_that_cannot_be_written_at_boot_loses_no_container() {
    let bench = Bench::new();
    let before = bench.open();
    started(&before, "cut-off", config(&["sleep", "3600"])).await;
    let container = before.find("cut-off").unwrap();
    within(container.settled()).await;
    // In the way of what is written beside the file first, as a full disk is.
    std::fs::create_dir(container.folder.path().join("state.tmp")).unwrap();
    let after = bench.open();
    let found = after.inspect("cut-off").expect("it is there").status.state;
    assert_eq!(found.exit().map(|exit| exit.code), Some(255));
}

#[tokio::test(start_paused = true)]
async fn a_removal_takes_as_long_as_its_files_do() {
    let containers = Bench::new().open();
    containers.create("big", config(&["true"])).await.unwrap();
    let container = containers.find("big").unwrap();
    let (release, released) = std::sync::mpsc::channel::<()>();
    let (holds, held) = std::sync::mpsc::channel();
    let its = Arc::clone(&container);
    let busy = std::thread::spawn(move || {
        let _files = its.files.lock();
        holds.send(()).unwrap();
        let _ = released.recv();
    });
    held.recv().unwrap();
    let handle = containers.clone();
    let removal = tokio::spawn(async move { handle.remove("big", false, false).await });
    container.wait_until(|status| status.state.kind() == Kind::Removing).await;
    tokio::time::advance(Duration::from_secs(120)).await;
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
    assert!(!removal.is_finished(), "its files are there yet");
    drop(release);
    removal.await.unwrap().unwrap();
    busy.join().unwrap();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_could_not_be_removed_is_removed_when_it_is_asked_for_again() {
    let bench = Bench::new();
    let containers = bench.open();
    for _ in 0..100 {
        let made = containers.create("box", config(&["true"])).await.unwrap();
        let record = bench.root().join(made.id.as_str()).join("config.json");
        std::fs::remove_file(&record).unwrap();
        std::fs::create_dir(&record).unwrap();
        assert!(within(containers.remove("box", false, false)).await.is_err());
        assert_eq!(kind(&containers, made.id.as_str()), Kind::Dead);
        std::fs::remove_dir(&record).unwrap();
        within(containers.remove(made.id.as_str(), false, false)).await.expect("nothing is amiss");
    }
    assert_eq!(bench.folders(), 0);
}

/// An image that somebody removes as soon as it has been found.
struct Vanishing {
    image: FakeImages,
    containers: std::sync::OnceLock<Containers>,
    layer: String,
    kept: std::sync::atomic::AtomicBool,
}

impl crate::launch::Images for Vanishing {
    fn resolve(
        &self,
        reference: &str,
    ) -> Result<crate::launch::ImageView, crate::error::ImageError> {
        let found = self.image.resolve(reference)?;
        // As the store does it: the name, and the layers that nobody stands on.
        self.image.remove("busybox:latest");
        let kept = self.containers.get().is_some_and(|it| it.uses_layer(&self.layer));
        self.kept.store(kept, std::sync::atomic::Ordering::Relaxed);
        Ok(found)
    }
}

#[tokio::test]
async fn a_container_is_not_made_of_an_image_that_is_removed_meanwhile() {
    let bench = Bench::new();
    let images = Arc::new(Vanishing {
        image: bench.images.clone(),
        containers: std::sync::OnceLock::new(),
        layer: format!("sha256:{}", "d".repeat(64)),
        kept: Default::default(),
    });
    let containers = Containers::open(Setup { images: images.clone(), ..bench.setup() }).unwrap();
    assert!(images.containers.set(containers.clone()).is_ok());
    let made = containers.create("box", config(&["true"])).await;
    assert_eq!(made.is_ok(), images.kept.load(std::sync::atomic::Ordering::Relaxed));
    assert!(matches!(made, Err(Error::Image(_))), "its layers have gone: {made:?}");
    assert!(!containers.uses_layer(&images.layer), "it does not come any more");
}
