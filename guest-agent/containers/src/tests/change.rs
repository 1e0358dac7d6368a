//! Rename, update, prune.

use super::*;
use crate::{Changes, PruneFilters, restart::RestartPolicy};

#[tokio::test]
async fn a_new_name_is_found_the_old_one_is_free_and_a_boot_knows_it() {
    let bench = Bench::new();
    let containers = bench.open();
    let made = containers.create("old", config(&["true"])).await.unwrap();
    containers.rename("old", "new").await.unwrap();
    assert_eq!(containers.inspect("new").unwrap().record.id, made.id);
    containers.create("old", config(&["true"])).await.expect("the name is free");
    let error = containers.rename("new", "old").await.unwrap_err();
    assert!(matches!(error, Error::NameConflict { .. }), "{error}");
    let error = containers.rename("new", "/new").await.unwrap_err();
    assert!(error.to_string().contains("same name as its current name"), "{error}");
    assert!(matches!(containers.rename("new", "a b").await, Err(Error::Invalid { .. })));
    assert_eq!(bench.open().inspect("new").unwrap().record.id, made.id);
}

#[tokio::test]
async fn a_rename_that_cannot_be_written_changes_nothing() {
    let bench = Bench::new();
    let containers = bench.open();
    containers.create("old", config(&["true"])).await.unwrap();
    let folder = containers.inspect("old").unwrap().folder;
    // A folder is where the temporary file would go.
    std::fs::create_dir(folder.join("config.tmp")).unwrap();
    assert!(matches!(containers.rename("old", "new").await, Err(Error::File { .. })));
    assert_eq!(containers.inspect("old").unwrap().record.name, "old");
    containers.create("new", config(&["true"])).await.expect("the name was not kept");
}

#[tokio::test]
async fn an_update_reaches_the_running_container_and_the_next_boot() {
    let bench = Bench::new();
    let containers = bench.open();
    started(&containers, "box", config(&["sleep", "3600"])).await;
    let changes = Changes {
        memory: Some(64 << 20),
        nano_cpus: Some(500_000_000),
        restart: Some(RestartPolicy::Always),
        ..Changes::default()
    };
    containers.update("box", changes).await.unwrap();
    let written = bench.launcher.limits().pop().unwrap();
    assert_eq!(written.memory_max, Some(64 << 20));
    assert_eq!(written.cpu_max, Some((50_000, 100_000)));
    assert_eq!(written.pids_max, None, "what stays is not written");
    let config = bench.open().inspect("box").unwrap().record.config.clone();
    assert_eq!((config.limits.memory, config.restart), (64 << 20, RestartPolicy::Always));
    containers.remove("box", true, false).await.unwrap();
}

#[tokio::test]
async fn an_update_that_fails_changes_nothing() {
    let bench = Bench::new();
    let containers = bench.open();
    started(&containers, "box", config(&["sleep", "3600"])).await;
    let before = containers.inspect("box").unwrap().record;
    let wrong = Changes {
        memory: Some(64 << 20),
        memory_swap: Some(32 << 20),
        pids: Some(5),
        ..Changes::default()
    };
    let error = containers.update("box", wrong).await.unwrap_err();
    assert!(error.to_string().starts_with("--memory-swap: "), "{error}");
    assert!(bench.launcher.limits().is_empty(), "nothing was written");
    bench.launcher.refuse_limits(true);
    let refused = Changes { pids: Some(5), ..Changes::default() };
    assert!(matches!(containers.update("box", refused).await, Err(Error::Process { .. })));
    bench.launcher.refuse_limits(false);
    let folder = containers.inspect("box").unwrap().folder;
    std::fs::create_dir(folder.join("config.tmp")).unwrap();
    let unwritten = Changes { pids: Some(5), ..Changes::default() };
    assert!(matches!(containers.update("box", unwritten).await, Err(Error::File { .. })));
    let written = bench.launcher.limits();
    let pids: Vec<_> = written.iter().map(|limits| limits.pids_max).collect();
    assert_eq!(pids, [Some(5), Some(u64::MAX)], "set, and taken back");
    assert_eq!(containers.inspect("box").unwrap().record, before);
    containers.remove("box", true, false).await.unwrap();
}

#[tokio::test]
async fn an_update_gives_no_policy_to_what_is_removed_at_its_end() {
    let containers = Bench::new().open();
    let config = Config { auto_remove: true, ..config(&["sleep", "3600"]) };
    started(&containers, "box", config).await;
    let changes = Changes { restart: Some(RestartPolicy::Always), ..Changes::default() };
    let error = containers.update("box", changes).await.unwrap_err();
    assert!(error.to_string().starts_with("--restart: "), "{error}");
    containers.remove("box", true, false).await.unwrap();
}

#[tokio::test]
async fn prune_removes_what_does_not_run_and_the_filters_choose() {
    let containers = Bench::new().open();
    let labelled = || Config { labels: [("keep".into(), "1".into())].into(), ..config(&["true"]) };
    containers.create("kept", labelled()).await.unwrap();
    containers.create("gone", config(&["true"])).await.unwrap();
    started(&containers, "runs", config(&["sleep", "3600"])).await;
    started(&containers, "paused", config(&["sleep", "3600"])).await;
    containers.pause("paused").await.unwrap();
    let filters = |texts: &[&str]| {
        let texts: Vec<_> = texts.iter().map(ToString::to_string).collect();
        PruneFilters::parse(&texts).unwrap()
    };
    let layer = containers.inspect("gone").unwrap().folder.join("upper");
    std::fs::write(layer.join("file"), "12345").unwrap();
    assert!(containers.prune(&filters(&["until=1h"])).await.ids.is_empty(), "all are younger");
    let pruned = containers.prune(&filters(&["label!=keep"])).await;
    assert_eq!(pruned.ids.len(), 1);
    assert_eq!(pruned.bytes, 5);
    assert_eq!(containers.prune(&filters(&["label=keep=1"])).await.ids.len(), 1);
    assert!(containers.prune(&filters(&[])).await.ids.is_empty(), "what is live stays");
    containers.stop_all(Some(Duration::ZERO)).await;
}

#[tokio::test]
async fn a_rename_whose_caller_has_gone_keeps_no_second_name() {
    let containers = Bench::new().open();
    containers.create("old", config(&["true"])).await.unwrap();
    {
        let mut rename = Box::pin(containers.rename("old", "new"));
        let begun = poll_once(rename.as_mut()).await;
        assert!(begun.is_none(), "it is under way");
    }
    let container = containers.find("old").unwrap();
    within(container.settled()).await;
    assert_eq!(container.name(), "new");
    containers.create("old", config(&["true"])).await.expect("the name is free");
}
