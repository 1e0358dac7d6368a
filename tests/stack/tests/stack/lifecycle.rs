//! Pause, restart, rename, update, prune; policies over a boot; events and health on the wire.

use linkspan_client::{Client, failure};
use linkspan_proto::{
    error::ErrorCode,
    v1::{
        ContainerConfig, ContainerState, ContainerStatsRequest, Event, EventsRequest, Healthcheck,
        PauseContainerRequest, PruneContainersRequest, RenameContainerRequest,
        RestartContainerRequest, RestartPolicy, StartContainerRequest, TopContainerRequest,
        UnpauseContainerRequest, UpdateContainerRequest, events_response,
    },
};

use crate::{
    calls::{config, create, inspect, names},
    host::{Stack, bounded},
};

async fn start(client: &Client, name: &str, config: ContainerConfig) {
    create(client, name, config).await.expect("it is made");
    let request = StartContainerRequest { container: name.into() };
    client.containers(None).start(request).await.expect("it starts");
}

async fn state(client: &Client, name: &str) -> ContainerState {
    inspect(client, name).await.expect("it exists").summary.expect("always").state()
}

/// Everything from the boot on, until an action begins with `last`.
async fn events_until(client: &Client, filters: &[&str], last: &str) -> Vec<Event> {
    let request = EventsRequest {
        since_unix_nanos: 1,
        until_unix_nanos: 0,
        filters: filters.iter().map(ToString::to_string).collect(),
    };
    let answer = client.events(None).events(request).await;
    let mut answers = answer.expect("it listens").into_inner();
    let mut events = Vec::new();
    loop {
        let answer = answers.message().await.expect("it goes on").expect("it does not end");
        let Some(events_response::Kind::Event(event)) = answer.kind else { panic!("{answer:?}") };
        let over = event.action.starts_with(last);
        events.push(event);
        if over {
            return events;
        }
    }
}

#[tokio::test]
async fn pausing_is_seen_and_refuses_what_cannot_be() {
    bounded(async {
        let (_stack, client) = Stack::with_busybox().await;
        start(&client, "box", config(&["sleep", "3600"])).await;
        let mut calls = client.containers(None);
        let pause = || PauseContainerRequest { container: "box".into() };
        calls.pause(pause()).await.expect("it pauses");
        assert_eq!(state(&client, "box").await, ContainerState::Paused);
        let refused = failure(calls.pause(pause()).await.expect_err("it is paused"));
        assert_eq!(refused.code, ErrorCode::WrongState);
        let request = UnpauseContainerRequest { container: "box".into() };
        calls.unpause(request).await.expect("it runs on");
        assert_eq!(state(&client, "box").await, ContainerState::Running);
        let request = TopContainerRequest { container: "box".into(), ps_args: Vec::new() };
        let top = calls.top(request).await.expect("it runs").into_inner();
        assert_eq!(top.titles[7], "CMD");
        assert_eq!(top.processes[0].values[7], "sleep 3600");
        let request = ContainerStatsRequest::default();
        let mut stats = calls.stats(request).await.expect("it samples").into_inner();
        for _ in 0..2 {
            let sample = stats.message().await.expect("it goes on").expect("a sample");
            assert_eq!(sample.containers[0].usage.as_ref().expect("it runs").pids, 1);
        }
    })
    .await;
}

#[tokio::test]
async fn changes_are_seen_by_inspect_and_told_as_events() {
    bounded(async {
        let (_stack, client) = Stack::with_busybox().await;
        start(&client, "old", config(&["sleep", "3600"])).await;
        let mut calls = client.containers(None);
        let request = RenameContainerRequest { container: "old".into(), name: "new".into() };
        calls.rename(request).await.expect("the name is free");
        let update = UpdateContainerRequest {
            container: "new".into(),
            memory_bytes: Some(64 << 20),
            restart_policy: Some(RestartPolicy {
                name: "on-failure".into(),
                maximum_retry_count: 3,
            }),
            ..UpdateContainerRequest::default()
        };
        calls.update(update.clone()).await.expect("it is valid");
        let changed = inspect(&client, "new").await.expect("it exists").config.expect("always");
        assert_eq!(changed.resources.expect("always").memory_bytes, 64 << 20);
        assert_eq!(changed.restart_policy.expect("always").maximum_retry_count, 3);
        let wrong = UpdateContainerRequest { pids_limit: Some(-7), ..update };
        let refused = failure(calls.update(wrong).await.expect_err("it is not valid"));
        assert!(refused.message.starts_with("--pids-limit: "), "{refused}");
        let request = RestartContainerRequest {
            container: "new".into(),
            timeout_seconds: Some(0),
            signal: "KILL".into(),
        };
        calls.restart(request).await.expect("it starts again");
        let events = events_until(&client, &["type=container"], "restart").await;
        let actions: Vec<_> = events.iter().map(|event| event.action.as_str()).collect();
        let begins = ["create", "start", "rename", "update", "kill"];
        assert_eq!(actions[..begins.len()], begins);
        assert!(actions.ends_with(&["die", "stop", "start", "restart"]), "{actions:?}");
        assert_eq!(events[2].attributes["oldName"], "/old");
        let request = EventsRequest { filters: vec!["x=y".into()], ..EventsRequest::default() };
        let refused = failure(client.events(None).events(request).await.expect_err("unknown"));
        assert_eq!(refused.code, ErrorCode::Unsupported);
    })
    .await;
}

#[tokio::test]
async fn prune_leaves_what_runs() {
    bounded(async {
        let (_stack, client) = Stack::with_busybox().await;
        start(&client, "runs", config(&["sleep", "3600"])).await;
        create(&client, "made", config(&["true"])).await.expect("it is made");
        let request = PruneContainersRequest::default();
        let pruned = client.containers(None).prune(request).await.expect("it prunes").into_inner();
        assert_eq!(pruned.ids.len(), 1);
        assert_eq!(names(&client).await, ["runs"]);
    })
    .await;
}

#[tokio::test]
async fn a_policy_restarts_until_its_number_and_a_stop_ends_it() {
    bounded(async {
        let (_stack, client) = Stack::with_busybox().await;
        let policy = |name: &str, count| {
            Some(RestartPolicy { name: name.into(), maximum_retry_count: count })
        };
        let fails = ContainerConfig {
            restart_policy: policy("on-failure", 2),
            ..config(&["sh", "-c", "exit 4"])
        };
        start(&client, "fails", fails).await;
        while state(&client, "fails").await != ContainerState::Exited {
            tokio::task::yield_now().await;
        }
        assert_eq!(inspect(&client, "fails").await.expect("it exists").restart_count, 2);
        let unknown =
            ContainerConfig { restart_policy: policy("sometimes", 0), ..config(&["true"]) };
        let refused = create(&client, "", unknown).await.expect_err("unknown");
        assert_eq!(refused.code, ErrorCode::InvalidArgument);
        let removed = ContainerConfig {
            restart_policy: policy("always", 0),
            auto_remove: true,
            ..config(&["true"])
        };
        let refused = create(&client, "", removed).await.expect_err("both");
        assert!(refused.message.contains("--rm"), "{refused}");
    })
    .await;
}

#[tokio::test]
async fn health_is_in_lists_inspect_and_events() {
    bounded(async {
        let (_stack, client) = Stack::with_busybox().await;
        let check = Healthcheck {
            test: vec!["CMD".into(), "echo".into(), "fine".into()],
            interval_nanos: 10_000_000,
            ..Healthcheck::default()
        };
        let own = ContainerConfig { healthcheck: Some(check), ..config(&["sleep", "3600"]) };
        start(&client, "box", own).await;
        let events = events_until(&client, &["event=health_status"], "health_status").await;
        assert_eq!(events[0].action, "health_status: healthy");
        // The event comes first, as every event does.
        let detail = loop {
            let detail = inspect(&client, "box").await.expect("it exists");
            if detail.health.as_ref().is_some_and(|health| health.status == "healthy") {
                break detail;
            }
        };
        assert_eq!(detail.summary.expect("always").health, "healthy");
        assert_eq!(detail.health.expect("just seen").log[0].output, "fine\n");
        assert_eq!(detail.healthcheck.expect("it has one").retries, 3, "Docker's default");
    })
    .await;
}
