//! What is told of a container's life, and of health and use.

use std::collections::BTreeMap;

use super::*;
use crate::events::{Event as Told, EventFilters, Heard as Next, Listener};

/// Everything from the boot on, of one container.
fn listen(containers: &Containers, name: &str) -> Listener {
    let filters = EventFilters::parse(&[format!("container={name}")]).unwrap();
    containers.events().listen(filters, Some(jiff::Timestamp::UNIX_EPOCH), None)
}

/// The actions up to and with `last`.
async fn heard_until(listener: &mut Listener, last: &str) -> Vec<Arc<Told>> {
    let mut events = Vec::new();
    loop {
        match within(listener.next()).await {
            Some(Next::Event(event)) => {
                let over = event.action.starts_with(last);
                events.push(event);
                if over {
                    return events;
                }
            }
            other => panic!("{other:?} before `{last}`, after {events:?}"),
        }
    }
}

fn actions(events: &[Arc<Told>]) -> Vec<&str> {
    events.iter().map(|event| event.action.as_str()).collect()
}

#[tokio::test]
async fn a_run_is_told_in_dockers_words_and_order() {
    let containers = Bench::new().open();
    let labels: BTreeMap<_, _> = [("tier".to_owned(), "web".to_owned())].into();
    let own = Config { labels, auto_remove: true, ..config(&["sh", "-c", "exit 3"]) };
    let id = containers.create("box", own).await.unwrap().id;
    let mut attachment = containers.attach("box", ALL).await.unwrap();
    hear(&mut attachment).await;
    let events = heard_until(&mut listen(&containers, "box"), "destroy").await;
    assert_eq!(actions(&events), ["create", "attach", "start", "die", "destroy"]);
    let die = &events[3];
    assert_eq!(die.id, id.as_str());
    for (key, value) in [("name", "box"), ("image", "busybox"), ("tier", "web"), ("exitCode", "3")]
    {
        assert_eq!(die.attributes.get(key).map(String::as_str), Some(value), "{key}");
    }
}

#[tokio::test]
async fn each_change_is_told() {
    let containers = Bench::new().open();
    started(&containers, "box", config(&["stubborn"])).await;
    logged(&containers, "box", "ready").await;
    containers.pause("box").await.unwrap();
    containers.unpause("box").await.unwrap();
    containers.rename("box", "box2").await.unwrap();
    containers.update("box2", crate::Changes::default()).await.unwrap();
    let exec = ExecConfig { args: vec!["echo".into(), "hi".into()], ..ExecConfig::default() };
    hear_session(&mut containers.exec("box2", exec).await.unwrap()).await;
    within(containers.restart("box2", None, Some(Duration::from_millis(10)))).await.unwrap();
    // Of the second run: the log has the first one's too.
    within(async {
        while log_text(&containers, "box2", Select::ALL).await.matches("ready").count() < 2 {
            tokio::task::yield_now().await;
        }
    })
    .await;
    within(containers.stop("box2", None, Some(Duration::from_millis(10)))).await.unwrap();
    containers.remove("box2", false, false).await.unwrap();
    let events = heard_until(&mut listen(&containers, "box"), "destroy").await;
    assert_eq!(
        actions(&events),
        [
            "create",
            "start",
            "pause",
            "unpause",
            "rename",
            "update",
            "exec_create: echo hi",
            "exec_start: echo hi",
            "exec_die",
            "kill",
            "kill",
            "die",
            "stop",
            "start",
            "restart",
            "kill",
            "kill",
            "die",
            "stop",
            "destroy"
        ]
    );
    assert_eq!(events[4].attributes["oldName"], "/box");
    assert_eq!(events[8].attributes["execID"], events[6].attributes["execID"]);
    let signals: Vec<_> = events.iter().filter_map(|e| e.attributes.get("signal")).collect();
    assert_eq!(signals, ["15", "9", "15", "9"]);
}

#[tokio::test]
async fn oom_detach_and_resize_are_told() {
    let containers = Bench::new().open();
    started(&containers, "oom", config(&["oom"])).await;
    let events = heard_until(&mut listen(&containers, "oom"), "die").await;
    assert_eq!(actions(&events)[2..], ["oom", "die"]);
    containers.create("tty", Config { tty: true, ..interactive(&["cat"]) }).await.unwrap();
    let attachment = containers.attach("tty", ALL).await.unwrap();
    attachment.input().resize(33, 111).unwrap();
    drop(attachment);
    let events = heard_until(&mut listen(&containers, "tty"), "detach").await;
    assert_eq!(actions(&events), ["create", "attach", "start", "resize", "detach"]);
    assert_eq!(events[3].attributes["height"], "33");
    containers.remove("tty", true, false).await.unwrap();
}

#[tokio::test]
async fn a_listener_that_never_listens_holds_nobody_up_and_is_told() {
    let containers = Bench::new().open();
    let mut slow = containers.events().listen(EventFilters::default(), None, None);
    started(&containers, "box", config(&["sleep", "3600"])).await;
    for _ in 0..600 {
        within(containers.pause("box")).await.unwrap();
        within(containers.unpause("box")).await.unwrap();
    }
    assert!(matches!(slow.next().await, Some(Next::Missed(100..))));
    containers.remove("box", true, false).await.unwrap();
}

#[tokio::test]
async fn top_and_stats_show_what_runs() {
    let containers = Bench::new().open();
    started(&containers, "box", config(&["sleep", "3600"])).await;
    let top = containers.top("box", &[]).await.unwrap();
    assert_eq!(top.titles.join(" "), "UID PID PPID C STIME TTY TIME CMD");
    assert_eq!(top.rows.len(), 1);
    assert_eq!(top.rows[0][7], "sleep 3600");
    let error = containers.top("box", &["aux".into()]).await.unwrap_err();
    assert!(matches!(error, Error::Unsupported { .. }), "{error}");
    let mut stats = containers.stats(&[], false).unwrap();
    let first = within(stats.next()).await;
    assert_eq!((first.len(), first[0].name.as_str()), (1, "box"));
    let second = within(stats.next()).await;
    assert!((second[0].cpu_percent - 100.0).abs() < 1.0, "{second:?}");
    assert_eq!(second[0].usage.unwrap().pids, 1);
    within(containers.stop("box", None, Some(Duration::ZERO))).await.unwrap();
    assert!(within(stats.next()).await.is_empty(), "only what runs");
    assert!(containers.top("box", &[]).await.is_err());
    let mut named = containers.stats(&["box".into()], false).unwrap();
    assert_eq!(within(named.next()).await[0].usage, None);
    assert!(containers.stats(&["nobody".into()], false).is_err());
    for name in ["older", "newer", "newest"] {
        containers.create(name, config(&["true"])).await.unwrap();
    }
    let everything = within(containers.stats(&[], true).unwrap().next()).await;
    let names: Vec<&str> = everything.iter().map(|sample| sample.name.as_str()).collect();
    assert_eq!(names, ["newest", "newer", "older", "box"]);
}

#[tokio::test]
async fn out_of_memory_is_told_while_the_container_runs() {
    let containers = Bench::new().open();
    started(&containers, "box", config(&["oom-below"])).await;
    logged(&containers, "box", "ready").await;
    heard_until(&mut listen(&containers, "box"), "oom").await;
    let status = containers.inspect("box").unwrap().status;
    assert_eq!((status.state.kind(), status.oom_killed), (Kind::Running, true));
    containers.kill("box", Signal::KILL).await.unwrap();
    let events = heard_until(&mut listen(&containers, "box"), "die").await;
    let told = actions(&events).into_iter().filter(|action| *action == "oom").count();
    assert_eq!(told, 1, "and not again at its end");
}

#[tokio::test]
async fn volumes_and_networks_are_told_of_with_the_runs_of_their_containers() {
    use crate::mounts::MountConfig;
    let bench = Bench::new();
    let containers = bench.open();
    let volume = MountConfig {
        source: "data".into(),
        target: "/d".into(),
        no_copy: true,
        ..MountConfig::default()
    };
    let own = Config { mounts: vec![volume], ..config(&["sleep", "1000"]) };
    started(&containers, "box", own).await;
    containers.kill("box", Signal::KILL).await.unwrap();
    containers.remove("box", false, false).await.unwrap();
    containers.shared.volumes.remove("data", false).unwrap();
    let past = |filter: &str| {
        let filters = EventFilters::parse(&[filter.into()]).unwrap();
        let now = Some(jiff::Timestamp::now());
        containers.events().listen(filters, Some(jiff::Timestamp::UNIX_EPOCH), now)
    };
    let of_volume = heard_until(&mut past("volume=data"), "destroy").await;
    assert_eq!(actions(&of_volume), ["create", "mount", "unmount", "destroy"]);
    assert_eq!(of_volume[1].attributes["destination"], "/d");
    assert_eq!(of_volume[1].attributes["read/write"], "true");
    let of_network = heard_until(&mut past("network=bridge"), "disconnect").await;
    assert_eq!(actions(&of_network), ["connect", "disconnect"]);
    assert_eq!(of_network[0].attributes["type"], "bridge");
    assert_eq!(of_network[0].attributes["container"], of_volume[1].attributes["container"]);
}
