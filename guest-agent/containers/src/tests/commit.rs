//! Images of containers: what they say, and when a container is paused for it.

use linkspan_images::{CommitOptions, Healthcheck as ImageHealth};

use super::*;
use crate::{health::Healthcheck, ports::PortMapping};

fn test(words: &[&str]) -> Vec<String> {
    words.iter().map(ToString::to_string).collect()
}

#[tokio::test]
async fn a_check_that_says_only_some_of_it_has_the_rest_from_the_container() {
    let bench = Bench::new();
    let containers = bench.open();
    let of_image = Healthcheck {
        test: test(&["CMD", "probe"]),
        interval: Duration::from_secs(7),
        retries: 9,
        ..Healthcheck::default()
    };
    bench.images.add(crate::launch::ImageView {
        reference: "probed".into(),
        command: vec!["true".into()],
        health: Some(of_image),
        ..crate::launch::ImageView::default()
    });
    containers.create("box", Config { image: "probed".into(), ..Config::default() }).await.unwrap();
    let commit = |health: Option<ImageHealth>| {
        let said = CommitOptions { health, ..CommitOptions::default() };
        containers.commit_options("box", said).unwrap().1.health
    };
    assert_eq!(commit(None), None, "the image has its own");
    let said = ImageHealth { retries: 2, ..ImageHealth::default() };
    let check = commit(Some(said)).unwrap();
    let shown = (check.test, check.interval.as_secs(), check.retries);
    assert_eq!(shown, (test(&["CMD", "probe"]), 7, 2));
    let off = ImageHealth { test: test(&["NONE"]), ..ImageHealth::default() };
    assert_eq!(commit(Some(off.clone())), Some(off));
}

#[tokio::test]
async fn what_is_said_wins_over_what_the_container_was_told() {
    let containers = Bench::new().open();
    let told = Config {
        user: "told".into(),
        working_dir: "/told".into(),
        env: vec!["A=told".into()],
        ..config(&["sleep", "1"])
    };
    containers.create("box", told).await.unwrap();
    let commit = |said: CommitOptions| containers.commit_options("box", said).unwrap().1;
    let said = CommitOptions {
        user: "said".into(),
        env: vec!["A=said".into()],
        message: "why".into(),
        ..CommitOptions::default()
    };
    let both = commit(said);
    assert_eq!((both.user.as_str(), both.working_dir.as_str()), ("said", "/told"));
    assert_eq!((both.env, both.message.as_str()), (test(&["A=told", "A=said"]), "why"));
    assert_eq!(both.cmd, ["sleep", "1"]);
    let entrypoint = Some(test(&["run"]));
    let other = commit(CommitOptions { entrypoint, ..CommitOptions::default() });
    assert!(other.cmd.is_empty(), "the command was for another entry point");
}

#[tokio::test]
async fn a_container_whose_run_is_just_ending_is_committed_without_a_pause() {
    let bench = Bench::new();
    let containers = bench.open();
    let mut asked = config(&["sigwait"]);
    let port = "80/tcp".parse().unwrap();
    asked.ports.published = vec![PortMapping { host_ip: None, host_ports: None, port }];
    started(&containers, "box", asked).await;
    logged(&containers, "box", "ready").await;
    let container = containers.find("box").unwrap();
    let released = bench.ports.hold_withdrawals();
    containers.kill("box", Signal::parse("TERM").unwrap()).await.unwrap();
    within(container.hub.log_end().wait_for(|end| !end.open)).await.unwrap();
    let handle = containers.clone();
    let layer = tokio::spawn(async move { handle.layer("box", true, std::io::sink()).await });
    // The task is asked for a pause.
    within(async {
        while container.commands.capacity() == container.commands.max_capacity() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    drop(released);
    within(layer).await.unwrap().unwrap();
}
