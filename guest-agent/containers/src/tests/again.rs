//! Restarts: by hand, by policy, and by a boot.

use super::*;
use crate::{Status, restart::RestartPolicy, state::State};

fn with_policy(restart: RestartPolicy, command: &[&str]) -> Config {
    Config { restart, ..config(command) }
}

/// Waits until a container's status is as wanted.
async fn until(containers: &Containers, name: &str, holds: impl Fn(&Status) -> bool) -> Status {
    let container = containers.find(name).unwrap();
    let status = within(container.wait_until(|status| holds(status))).await;
    assert!(holds(&status), "its task has ended at {:?}", status.state);
    status
}

#[tokio::test]
async fn on_failure_gives_up_after_its_number() {
    let containers = Bench::new().open();
    let policy = RestartPolicy::OnFailure { max_retries: 2 };
    started(&containers, "box", with_policy(policy, &["sh", "-c", "exit 4"])).await;
    until(&containers, "box", |s| s.state.kind() == Kind::Exited && s.exits == 3).await;
    let status = containers.inspect("box").unwrap().status;
    assert_eq!((status.restarts, status.state.exit().unwrap().code), (2, 4));
    let policy = RestartPolicy::OnFailure { max_retries: 0 };
    started(&containers, "fine", with_policy(policy, &["true"])).await;
    until(&containers, "fine", |s| s.state.kind() == Kind::Exited).await;
    assert_eq!(containers.inspect("fine").unwrap().status.restarts, 0);
}

#[tokio::test]
async fn the_pause_before_a_restart_doubles() {
    let containers = Bench::new().open();
    started(&containers, "box", with_policy(RestartPolicy::Always, &["false"])).await;
    let mut waits = Vec::new();
    for round in 1..=3 {
        let restarting = |s: &Status| s.exits == round && s.state.kind() == Kind::Restarting;
        let status = until(&containers, "box", restarting).await;
        let State::Restarting { exit, next_at } = status.state else { panic!("it waits") };
        waits.push(exit.finished_at.duration_until(next_at).as_millis());
    }
    for (wait, goal) in waits.iter().zip([100, 200, 400]) {
        assert!((goal..goal + 90).contains(wait), "{waits:?}");
    }
    containers.remove("box", true, false).await.unwrap();
}

#[tokio::test]
async fn a_stop_is_honoured_while_it_runs_and_while_it_waits() {
    let bench = Bench::new();
    let containers = bench.open();
    started(&containers, "runs", with_policy(RestartPolicy::Always, &["sigwait"])).await;
    logged(&containers, "runs", "ready").await;
    within(containers.stop("runs", None, None)).await.unwrap();
    started(&containers, "waits", with_policy(RestartPolicy::Always, &["false"])).await;
    until(&containers, "waits", |s| s.state.kind() == Kind::Restarting).await;
    let error = containers.pause("waits").await.unwrap_err();
    assert!(error.to_string().contains("wait until the container is running"), "{error}");
    within(containers.stop("waits", None, None)).await.unwrap();
    for name in ["runs", "waits"] {
        assert_eq!(kind(&containers, name), Kind::Exited, "{name}");
    }
    assert_eq!(bench.launcher.processes(), 0);
}

#[tokio::test]
async fn a_message_is_no_stop_and_sigkill_is_one() {
    let containers = Bench::new().open();
    started(&containers, "box", with_policy(RestartPolicy::Always, &["sigwait"])).await;
    logged(&containers, "box", "ready").await;
    containers.kill("box", Signal::parse("USR1").unwrap()).await.unwrap();
    until(&containers, "box", |s| s.exits == 1 && s.state.kind() == Kind::Running).await;
    within(containers.kill("box", Signal::KILL)).await.unwrap();
    until(&containers, "box", |s| s.state.kind() == Kind::Exited).await;
    assert_eq!(containers.inspect("box").unwrap().status.restarts, 1);
}

#[tokio::test]
async fn a_message_to_one_that_waits_for_its_next_run_does_not_end_the_wait() {
    let containers = Bench::new().open();
    started(&containers, "box", with_policy(RestartPolicy::Always, &["false"])).await;
    // The third pause is long enough to be met.
    until(&containers, "box", |s| s.exits == 3 && s.state.kind() == Kind::Restarting).await;
    containers.kill("box", Signal::parse("USR1").unwrap()).await.unwrap();
    until(&containers, "box", |s| s.exits > 3).await;
    within(containers.kill("box", Signal::KILL)).await.unwrap();
    assert_eq!(kind(&containers, "box"), Kind::Exited);
}

#[tokio::test]
async fn restart_stops_and_starts_whatever_the_policy_and_rm_say() {
    let bench = Bench::new();
    let containers = bench.open();
    let config = Config { auto_remove: true, ..config(&["sigwait"]) };
    started(&containers, "box", config).await;
    logged(&containers, "box", "ready").await;
    let first = containers.inspect("box").unwrap();
    within(containers.restart("box", None, None)).await.unwrap();
    let second = containers.inspect("box").unwrap();
    assert_eq!(second.record.id, first.record.id);
    assert_ne!(second.status.state.process(), first.status.state.process());
    assert_eq!(second.status.last_exit.unwrap().code, 15);
    within(containers.stop("box", None, None)).await.unwrap();
    assert!(matches!(containers.inspect("box"), Err(Error::NotFound(_))), "--rm holds again");
}

#[tokio::test]
async fn restart_kills_what_does_not_stop_and_starts_what_does_not_run() {
    let containers = Bench::new().open();
    containers.create("box", super::config(&["stubborn"])).await.unwrap();
    within(containers.restart("box", None, None)).await.unwrap();
    logged(&containers, "box", "ready").await;
    within(containers.restart("box", None, Some(Duration::from_millis(20)))).await.unwrap();
    let status = containers.inspect("box").unwrap().status;
    assert_eq!((status.state.kind(), status.last_exit.unwrap().code), (Kind::Running, 137));
    containers.remove("box", true, false).await.unwrap();
}

#[tokio::test]
async fn a_stop_takes_precedence_over_a_restart_that_waits() {
    let containers = Bench::new().open();
    started(&containers, "box", config(&["stubborn"])).await;
    logged(&containers, "box", "ready").await;
    let other = containers.clone();
    let restart =
        tokio::spawn(
            async move { other.restart("box", None, Some(Duration::from_secs(3600))).await },
        );
    tokio::task::yield_now().await;
    // The restart has begun when its signal was told.
    let mut told = containers.events().listen(
        crate::events::EventFilters::parse(&["event=kill".into()]).unwrap(),
        Some(jiff::Timestamp::UNIX_EPOCH),
        None,
    );
    within(told.next()).await;
    within(containers.stop("box", None, Some(Duration::ZERO))).await.unwrap();
    let error = within(restart).await.unwrap().unwrap_err();
    assert!(error.to_string().contains("stopped meanwhile"), "{error}");
    assert_eq!(kind(&containers, "box"), Kind::Exited);
}

#[tokio::test]
async fn restart_and_rm_exclude_each_other() {
    let containers = Bench::new().open();
    let config = Config { auto_remove: true, ..with_policy(RestartPolicy::Always, &["true"]) };
    let error = containers.create("box", config).await.unwrap_err();
    assert!(error.to_string().contains("cannot specify both --restart and --rm"), "{error}");
}

#[tokio::test]
async fn a_boot_brings_back_what_its_policy_says() {
    let bench = Bench::new();
    let before = bench.open();
    for (name, policy) in [
        ("always", RestartPolicy::Always),
        ("always-stopped", RestartPolicy::Always),
        ("unless", RestartPolicy::UnlessStopped),
        ("unless-stopped", RestartPolicy::UnlessStopped),
        ("failing", RestartPolicy::OnFailure { max_retries: 0 }),
        ("never", RestartPolicy::No),
    ] {
        started(&before, name, with_policy(policy, &["sleep", "3600"])).await;
    }
    before.create("fresh", with_policy(RestartPolicy::Always, &["true"])).await.unwrap();
    for name in ["always-stopped", "unless-stopped"] {
        within(before.stop(name, None, None)).await.unwrap();
    }
    before.pause("unless").await.unwrap();
    let (count, errors) = within(before.stop_all(None)).await;
    assert_eq!((count, errors.len()), (4, 0));

    let after = bench.open();
    assert_eq!(after.running(), 0, "only when asked to");
    let code = |name: &str| after.inspect(name).unwrap().status.state.exit().map(|exit| exit.code);
    assert_eq!(code("never"), Some(143), "the exit code is kept");
    after.resume();
    for name in ["always", "always-stopped", "unless"] {
        until(&after, name, |s| s.state.kind() == Kind::Running).await;
    }
    for (name, state) in [
        ("unless-stopped", Kind::Exited),
        ("failing", Kind::Exited),
        ("never", Kind::Exited),
        ("fresh", Kind::Created),
    ] {
        assert_eq!(kind(&after, name), state, "{name}");
    }
    after.stop_all(Some(Duration::ZERO)).await;
}

#[tokio::test]
async fn a_restart_that_fails_removes_what_is_removed_at_its_end() {
    let bench = Bench::new();
    let containers = bench.open();
    let config = Config { auto_remove: true, ..config(&["sigwait"]) };
    containers.create("box", config).await.unwrap();
    let mut attachment = containers.attach("box", ALL).await.unwrap();
    logged(&containers, "box", "ready").await;
    bench.networks.refuse("it is a test");
    let error = within(containers.restart("box", None, None)).await.unwrap_err();
    assert!(error.to_string().contains("it is a test"), "{error}");
    assert!(matches!(containers.inspect("box"), Err(Error::NotFound(_))));
    assert_eq!(hear(&mut attachment).await.code, Some(15), "whoever waits is told");
}
