//! Standard streams: run, attach, terminals, replay.

use super::*;
use crate::ports::PortMapping;

#[tokio::test]
async fn a_run_gives_its_output_and_its_code() {
    let bench = Bench::new();
    let containers = bench.open();
    let heard = run(&containers, config(&["echo", "hello", "world"])).await;
    assert_eq!(heard.stdout, "hello world\n");
    assert_eq!(heard.code, Some(0));
    assert_eq!(run(&containers, config(&["err", "oops"])).await.stderr, "oops\n");
    assert_eq!(run(&containers, config(&["sh", "-c", "exit 42"])).await.code, Some(42));
    assert!(bench.launcher.cgroups().len() <= 1, "only the last one's may still be going");
}

#[tokio::test]
async fn input_reaches_the_process_and_its_end_ends_it() {
    let containers = Bench::new().open();
    let made = containers.create("", interactive(&["cat"])).await.unwrap();
    let mut attachment = containers.attach(made.id.as_str(), ALL).await.unwrap();
    let input = attachment.input();
    assert!(input.write(Bytes::from_static(b"to and fro\n")).await);
    input.close_stdin().await;
    let heard = hear(&mut attachment).await;
    assert_eq!((heard.stdout.as_str(), heard.code), ("to and fro\n", Some(0)));
}

#[tokio::test]
async fn the_first_client_that_leaves_takes_the_input_with_it() {
    let containers = Bench::new().open();
    let made = containers.create("", interactive(&["cat"])).await.unwrap();
    let attachment = containers.attach(made.id.as_str(), ALL).await.unwrap();
    drop(attachment);
    let exit = within(containers.wait(made.id.as_str(), WaitCondition::NotRunning)).await.unwrap();
    assert_eq!(exit.unwrap().code, 0);
}

#[tokio::test]
async fn a_client_may_leave_and_another_come_when_the_input_is_kept() {
    let containers = Bench::new().open();
    let config = Config { open_stdin: true, ..config(&["cat"]) };
    containers.create("keeps", config).await.unwrap();
    let first = containers.attach("keeps", ALL).await.unwrap();
    assert!(first.input().write(Bytes::from_static(b"one\n")).await);
    first.input().close_stdin().await;
    drop(first);
    logged(&containers, "keeps", "one").await;
    let mut second = containers
        .attach("keeps", AttachOptions { start: false, logs: true, ..ALL })
        .await
        .unwrap();
    assert!(second.input().write(Bytes::from_static(b"two\n")).await);
    logged(&containers, "keeps", "two").await;
    containers.kill("keeps", Signal::KILL).await.unwrap();
    let heard = hear(&mut second).await;
    assert_eq!((heard.stdout.as_str(), heard.code), ("one\ntwo\n", Some(137)));
}

#[tokio::test]
async fn replay_and_live_output_meet_without_a_gap_or_a_repeat() {
    let containers = Bench::new().open();
    let size = 3_000_000;
    containers.create("flow", config(&["bytes", &size.to_string()])).await.unwrap();
    let mut first = containers.attach("flow", ALL).await.unwrap();
    // Joins somewhere in the middle.
    for _ in 0..4 {
        within(first.next()).await.unwrap();
    }
    let options = AttachOptions { start: false, logs: true, ..ALL };
    let mut second = containers.attach("flow", options).await.unwrap();
    let (_, heard) = tokio::join!(hear(&mut first), hear(&mut second));
    assert_eq!(heard.stdout.len(), size);
    let pattern = "the quick brown fox jumps over 13 lazy dogs.\n";
    assert!(
        heard
            .stdout
            .as_bytes()
            .chunks(pattern.len())
            .all(|line| pattern.starts_with(std::str::from_utf8(line).unwrap()))
    );
}

#[tokio::test]
async fn large_output_is_exact_for_a_client_that_reads_slowly() {
    let containers = Bench::new().open();
    let size = 8_000_000;
    let made = containers.create("", config(&["bytes", &size.to_string()])).await.unwrap();
    let mut attachment = containers.attach(made.id.as_str(), ALL).await.unwrap();
    let mut count = 0;
    while let Some(event) = within(attachment.next()).await.unwrap() {
        if let Event::Output(_, bytes) = event {
            count += bytes.len();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
    assert_eq!(count, size);
}

#[tokio::test(start_paused = true)]
async fn a_client_that_never_reads_is_given_up_and_the_log_is_complete() {
    let bench = Bench::new();
    let containers = bench.open();
    let size = 8_000_000;
    let made = containers.create("", config(&["bytes", &size.to_string()])).await.unwrap();
    let id = made.id.as_str();
    let mut stuck = containers.attach(id, ALL).await.unwrap();
    let exit = containers.wait(id, WaitCondition::NotRunning).await.unwrap().unwrap();
    assert_eq!(exit.code, 0);
    assert_eq!(log_text(&containers, id, Select::ALL).await.len(), size);
    let error = loop {
        match stuck.next().await {
            Ok(Some(_)) => {}
            Ok(None) => panic!("it must be told"),
            Err(error) => break error,
        }
    };
    assert!(matches!(error, Error::SlowReader(_)), "{error}");
}

#[tokio::test]
async fn a_watcher_that_never_reads_is_given_up_and_holds_nobody_up() {
    let containers = Bench::new().open();
    containers.create("flow", interactive(&["cat"])).await.unwrap();
    let mut first = containers.attach("flow", ALL).await.unwrap();
    let watches = AttachOptions { start: false, stdin: false, ..ALL };
    let mut stuck = containers.attach("flow", watches).await.unwrap();
    let input = first.input();
    let (chunk, count) = (Bytes::from(vec![b'x'; 100_000]), 80);
    let talk = async {
        for _ in 0..count {
            assert!(within(input.write(chunk.clone())).await);
        }
        input.close_stdin().await;
    };
    let ((), heard) = tokio::join!(talk, hear(&mut first));
    assert_eq!((heard.stdout.len(), heard.code), (chunk.len() * count, Some(0)));
    assert_eq!(log_text(&containers, "flow", Select::ALL).await, heard.stdout);
    let told = loop {
        match within(stuck.next()).await {
            Ok(Some(_)) => {}
            other => break other,
        }
    };
    assert!(matches!(told, Err(Error::SlowReader(_))), "{told:?}");
}

#[tokio::test]
async fn a_process_left_in_the_background_does_not_hold_the_end_up() {
    let containers = Bench::new().open();
    let begun = std::time::Instant::now();
    assert_eq!(run(&containers, config(&["linger"])).await.code, Some(0));
    assert!(begun.elapsed() < Duration::from_secs(30), "its pipe stays open for a minute");
}

#[tokio::test]
async fn logs_are_followed_to_the_end_of_the_run() {
    let containers = Bench::new().open();
    containers.create("talks", config(&["bytes", "100000"])).await.unwrap();
    containers.start("talks").await.unwrap();
    let mut log = containers.logs("talks", Select::ALL, true).await.unwrap();
    let mut bytes = 0;
    while let Some(batch) = within(log.next()).await.unwrap() {
        bytes += batch.records.iter().map(|record| record.line.len()).sum::<usize>();
    }
    assert_eq!(bytes, 100_000);
    let last = Select { tail: Some(2), ..Select::ALL };
    assert_eq!(log_text(&containers, "talks", last).await.lines().count(), 2);
    let none = Select { stdout: false, ..Select::ALL };
    assert_eq!(log_text(&containers, "talks", none).await, "");
}

#[tokio::test]
async fn a_client_that_comes_while_the_run_is_being_closed_hears_of_its_end() {
    let bench = Bench::new();
    let containers = bench.open();
    let mut asked = config(&["sigwait"]);
    let port = "80/tcp".parse().unwrap();
    asked.ports.published = vec![PortMapping { host_ip: None, host_ports: None, port }];
    started(&containers, "box", asked).await;
    logged(&containers, "box", "ready").await;
    let container = containers.find("box").unwrap();
    let released = bench.ports.hold_withdrawals();
    containers.kill("box", Signal::parse("USR1").unwrap()).await.unwrap();
    within(container.hub.log_end().wait_for(|end| !end.open)).await.unwrap();
    assert_eq!(kind(&containers, "box"), Kind::Running, "its ports are not closed yet");
    let mut late = containers.attach("box", AttachOptions { start: false, ..ALL }).await.unwrap();
    drop(released);
    assert_eq!(hear(&mut late).await.code, Some(10));
}

#[tokio::test]
async fn a_client_that_starts_one_whose_run_is_being_closed_hears_of_its_own_run() {
    let bench = Bench::new();
    let containers = bench.open();
    let mut asked = config(&["sigwait"]);
    let port = "80/tcp".parse().unwrap();
    asked.ports.published = vec![PortMapping { host_ip: None, host_ports: None, port }];
    started(&containers, "box", asked).await;
    logged(&containers, "box", "ready").await;
    let container = containers.find("box").unwrap();
    let end = async |signal| {
        let released = bench.ports.hold_withdrawals();
        containers.kill("box", Signal::parse(signal).unwrap()).await.unwrap();
        within(container.hub.log_end().wait_for(|end| !end.open)).await.unwrap();
        released
    };
    let released = end("USR1").await;
    let mut attach = Box::pin(containers.attach("box", ALL));
    assert!(poll_once(attach.as_mut()).await.is_none(), "the run before is not over");
    drop(released);
    let mut own = within(attach).await.unwrap();
    assert!(matches!(own.next().await.unwrap(), Some(Event::Started { .. })));
    let Some(Event::Output(_, text)) = within(own.next()).await.unwrap() else { panic!() };
    assert_eq!(text, "ready\n");
    let released = end("TERM").await;
    let hearing = tokio::spawn(async move { hear(&mut own).await.code });
    // Long enough to hear of a run that is over.
    for _ in 0..100 {
        tokio::task::yield_now().await;
    }
    drop(released);
    assert_eq!(hearing.await.unwrap(), Some(15));
}

#[tokio::test]
async fn clients_that_have_left_a_silent_container_are_forgotten() {
    let containers = Bench::new().open();
    started(&containers, "box", config(&["sleep", "3600"])).await;
    let only = AttachOptions { start: false, ..ALL };
    let stays = containers.attach("box", only).await.unwrap();
    for _ in 0..50 {
        drop(containers.attach("box", only).await.unwrap());
    }
    let known = containers.find("box").unwrap().hub.clients();
    assert!(known <= 2, "{known} clients");
    drop(stays);
    containers.remove("box", true, false).await.unwrap();
}
