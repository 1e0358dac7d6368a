//! Health checks.

use super::*;
use crate::health::{Health, HealthStatus, Healthcheck};

const FAST: Duration = Duration::from_millis(10);

fn checked(test: &[&str]) -> Config {
    let health = Healthcheck {
        test: test.iter().map(ToString::to_string).collect(),
        interval: FAST,
        ..Healthcheck::default()
    };
    Config { health: Some(health), ..config(&["sleep", "3600"]) }
}

async fn until(containers: &Containers, holds: impl Fn(&Health) -> bool) -> Health {
    let container = containers.find("box").unwrap();
    let holds = |status: &crate::Status| status.health.as_ref().is_some_and(|h| holds(h));
    let status = within(container.wait_until(holds)).await;
    Health::clone(&status.health.unwrap())
}

#[tokio::test]
async fn a_probe_that_succeeds_makes_it_healthy_and_one_that_fails_unhealthy() {
    let containers = Bench::new().open();
    started(&containers, "box", checked(&["CMD", "echo", "fine"])).await;
    let health = until(&containers, |h| h.status == HealthStatus::Healthy).await;
    assert_eq!(health.log[0].output, "fine\n");
    containers.remove("box", true, false).await.unwrap();
    started(&containers, "box", checked(&["CMD-SHELL", "exit 3"])).await;
    let health = until(&containers, |h| h.status == HealthStatus::Unhealthy).await;
    assert_eq!((health.failing_streak, health.log.len()), (3, 3));
    assert_eq!(health.log[2].exit_code, 3);
    let mut told = containers.events().listen(
        crate::events::EventFilters::parse(&["event=health_status".into()]).unwrap(),
        Some(jiff::Timestamp::UNIX_EPOCH),
        None,
    );
    for word in ["health_status: healthy", "health_status: unhealthy"] {
        let Some(crate::events::Heard::Event(event)) = within(told.next()).await else { panic!() };
        assert_eq!(event.action, word);
    }
    until(&containers, |h| h.log.len() == 5).await;
    containers.remove("box", true, false).await.unwrap();
}

#[tokio::test]
async fn a_probe_is_killed_at_its_time_out_and_its_output_is_cut() {
    let bench = Bench::new();
    let containers = bench.open();
    let mut slow = checked(&["CMD", "sleep", "3600"]);
    slow.health.as_mut().unwrap().timeout = Duration::from_millis(30);
    started(&containers, "box", slow).await;
    let health = until(&containers, |h| !h.log.is_empty()).await;
    assert_eq!(health.log[0].exit_code, -1);
    assert!(health.log[0].output.starts_with("Health check exceeded timeout (30ms)"));
    containers.remove("box", true, false).await.unwrap();
    started(&containers, "box", checked(&["CMD", "bytes", "500000"])).await;
    let health = until(&containers, |h| h.status == HealthStatus::Healthy).await;
    assert_eq!(health.log[0].output.len(), 4096);
    containers.remove("box", true, false).await.unwrap();
    assert_eq!(bench.launcher.processes(), 0);
}

#[tokio::test]
async fn a_probe_that_cannot_run_has_failed() {
    let containers = Bench::new().open();
    started(&containers, "box", checked(&["CMD", "nonsense"])).await;
    let health = until(&containers, |h| !h.log.is_empty()).await;
    assert_eq!(health.log[0].exit_code, -1);
    assert!(health.log[0].output.contains("nonsense"), "{}", health.log[0].output);
    containers.remove("box", true, false).await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn nothing_is_probed_while_it_is_paused() {
    let containers = Bench::new().open();
    let mut rarely = checked(&["CMD", "true"]);
    rarely.health.as_mut().unwrap().interval = Duration::from_secs(20);
    started(&containers, "box", rarely).await;
    containers.pause("box").await.unwrap();
    tokio::time::sleep(Duration::from_secs(200)).await;
    let health = containers.inspect("box").unwrap().status.health.unwrap();
    assert!(health.log.is_empty(), "{health:?}");
}

#[tokio::test]
async fn the_images_check_is_taken_and_none_turns_it_off() {
    let bench = Bench::new();
    let containers = bench.open();
    let health = checked(&["CMD", "true"]).health;
    bench.images.add(crate::launch::ImageView {
        reference: "probed".into(),
        command: vec!["sleep".into(), "3600".into()],
        health,
        ..crate::launch::ImageView::default()
    });
    let from = || Config { image: "probed".into(), ..Config::default() };
    started(&containers, "box", from()).await;
    until(&containers, |h| h.status == HealthStatus::Healthy).await;
    containers.remove("box", true, false).await.unwrap();
    let none = Healthcheck { test: vec!["NONE".into()], ..Healthcheck::default() };
    started(&containers, "box", Config { health: Some(none), ..from() }).await;
    assert_eq!(containers.inspect("box").unwrap().status.health, None);
    containers.remove("box", true, false).await.unwrap();
}

#[tokio::test]
async fn a_probe_that_is_given_up_while_it_is_started_is_killed() {
    let bench = Bench::new();
    let containers = bench.open();
    started(&containers, "box", config(&["sleep", "3600"])).await;
    let container = containers.find("box").unwrap();
    let check = checked(&["CMD", "sleep", "3600"]).health.unwrap();
    {
        let mut probe = Box::pin(crate::health::probe(&container, &containers.shared, &check));
        assert!(poll_once(probe.as_mut()).await.is_none(), "it is under way");
    }
    within(async {
        while bench.launcher.started() < 2 || bench.launcher.processes() > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    containers.remove("box", true, false).await.unwrap();
}

#[tokio::test]
async fn what_has_ended_is_not_healthy() {
    let containers = Bench::new().open();
    started(&containers, "box", checked(&["CMD", "echo", "fine"])).await;
    until(&containers, |h| h.status == HealthStatus::Healthy).await;
    within(containers.stop("box", None, None)).await.unwrap();
    let health = containers.inspect("box").unwrap().status.health.unwrap();
    assert_eq!(health.status, HealthStatus::Unhealthy);
    assert_eq!(health.log[0].output, "fine\n", "the results are kept");
}
