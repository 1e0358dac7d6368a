//! Starting, stopping, killing, waiting.

use super::*;

#[tokio::test]
async fn start_failures_have_the_codes_that_users_know() {
    let bench = Bench::new();
    let containers = bench.open();
    for (command, kind, code) in
        [("nonsense", LaunchKind::NotFound, 127), ("noexec", LaunchKind::NotExecutable, 126)]
    {
        let made = containers.create("", config(&[command])).await.unwrap();
        let error = containers.attach(made.id.as_str(), ALL).await.err().unwrap();
        let Error::Launch(failure) = error else { panic!("{error}") };
        assert_eq!((failure.kind, failure.exit_code()), (kind, code));
        let snapshot = containers.inspect(made.id.as_str()).unwrap();
        assert_eq!(snapshot.status.state.kind(), Kind::Created);
        assert_eq!(snapshot.status.state.failed(), Some(&failure));
    }
    assert!(bench.launcher.cgroups().is_empty(), "a failed start leaves no cgroup");
}

#[tokio::test]
async fn stop_kills_after_the_grace_period() {
    let containers = Bench::new().open();
    started(&containers, "stubborn", config(&["stubborn"])).await;
    logged(&containers, "stubborn", "ready").await;
    within(containers.stop("stubborn", None, Some(Duration::from_millis(50)))).await.unwrap();
    let status = containers.inspect("stubborn").unwrap().status;
    assert_eq!(status.state.exit().unwrap().code, 137);
}

#[tokio::test]
async fn stop_sends_the_configured_signal_first() {
    let containers = Bench::new().open();
    let config = Config { stop_signal: "SIGINT".into(), ..config(&["sigwait"]) };
    started(&containers, "polite", config).await;
    logged(&containers, "polite", "ready").await;
    within(containers.stop("polite", None, None)).await.unwrap();
    let status = containers.inspect("polite").unwrap().status;
    assert_eq!(status.state.exit().unwrap().code, 2, "it exits with the signal's number");
    containers.stop("polite", None, None).await.expect("stopping again is no error");
}

#[tokio::test]
async fn a_kill_is_not_held_up_by_a_stop() {
    let containers = Bench::new().open();
    started(&containers, "stubborn", config(&["stubborn"])).await;
    logged(&containers, "stubborn", "ready").await;
    let stopper = containers.clone();
    let stop = tokio::spawn(async move {
        stopper.stop("stubborn", None, Some(Duration::from_secs(3600))).await
    });
    within(containers.kill("stubborn", Signal::KILL)).await.unwrap();
    within(stop).await.unwrap().unwrap();
    assert!(matches!(
        containers.kill("stubborn", Signal::TERM).await,
        Err(Error::WrongState { action: "kill", .. })
    ));
}

#[tokio::test]
async fn out_of_memory_is_told() {
    let containers = Bench::new().open();
    let made = containers.create("", config(&["oom"])).await.unwrap();
    containers.start(made.id.as_str()).await.unwrap();
    let exit = within(containers.wait(made.id.as_str(), WaitCondition::NotRunning)).await.unwrap();
    let exit = exit.unwrap();
    assert_eq!((exit.code, exit.oom_killed), (137, true));
}

#[tokio::test]
async fn waiting_for_the_next_exit_sees_a_second_run() {
    let containers = Bench::new().open();
    started(&containers, "twice", config(&["sigwait"])).await;
    logged(&containers, "twice", "ready").await;
    containers.kill("twice", Signal::parse("USR1").unwrap()).await.unwrap();
    let first = within(containers.wait("twice", WaitCondition::NotRunning)).await.unwrap();
    assert_eq!(first.unwrap().code, 10);
    let (waiter, handle) = (containers.clone(), containers.clone());
    let (exit, ()) = tokio::join!(within(waiter.wait("twice", WaitCondition::NextExit)), async {
        handle.start("twice").await.unwrap();
        handle.kill("twice", Signal::KILL).await.unwrap();
    });
    assert_eq!(exit.unwrap().unwrap().code, 137);
}

#[tokio::test]
async fn stop_all_stops_everything_at_once() {
    let containers = Bench::new().open();
    for name in ["s1", "s2", "s3"] {
        started(&containers, name, config(&["stubborn"])).await;
        logged(&containers, name, "ready").await;
    }
    let (count, errors) = within(containers.stop_all(Some(Duration::from_millis(50)))).await;
    assert_eq!((count, errors.len(), containers.running()), (3, 0, 0));
}

#[tokio::test]
async fn what_is_left_of_a_container_with_the_machines_processes_ends_with_it() {
    let bench = Bench::new();
    let containers = bench.open();
    let config = Config { pid_mode: "host".into(), ..config(&["chatter"]) };
    started(&containers, "box", config).await;
    let exit = within(containers.wait("box", WaitCondition::NotRunning)).await.unwrap();
    assert_eq!(exit.unwrap().code, 0);
    // A process that was killed ends by itself, a moment later.
    within(async {
        while bench.launcher.processes() > 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_start_without_usable_streams_leaves_nothing() {
    let bench = Bench::new();
    let containers = bench.open();
    containers.create("box", config(&["sleep", "3600"])).await.unwrap();
    bench.launcher.break_streams(true);
    let error = containers.start("box").await.unwrap_err();
    assert!(error.to_string().contains("streams"), "{error}");
    assert_eq!((bench.networks.places(), bench.launcher.cgroups().len()), (0, 0));
    bench.launcher.break_streams(false);
    containers.start("box").await.expect("nothing is in the way");
    containers.remove("box", true, false).await.unwrap();
}
