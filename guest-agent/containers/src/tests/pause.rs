//! Freezing and thawing.

use super::*;

async fn paused(containers: &Containers, name: &str, program: &str) {
    started(containers, name, config(&[program])).await;
    logged(containers, name, "ready").await;
    containers.pause(name).await.unwrap();
    assert_eq!(kind(containers, name), Kind::Paused);
}

#[tokio::test]
async fn a_paused_container_keeps_its_process_and_goes_on() {
    let bench = Bench::new();
    let containers = bench.open();
    started(&containers, "box", config(&["sigwait"])).await;
    let before = containers.inspect("box").unwrap().status.state.process();
    containers.pause("box").await.unwrap();
    assert_eq!(containers.inspect("box").unwrap().status.state.process(), before);
    assert_eq!((bench.launcher.frozen(), containers.running()), (1, 1));
    let names: Vec<_> = containers.list(false, None, &Filters::default()).unwrap();
    assert_eq!(names.len(), 1, "ps shows it");
    containers.unpause("box").await.unwrap();
    assert_eq!((bench.launcher.frozen(), kind(&containers, "box")), (0, Kind::Running));
    containers.remove("box", true, false).await.unwrap();
}

#[tokio::test]
async fn what_a_paused_container_cannot_do_is_refused_in_dockers_words() {
    let containers = Bench::new().open();
    paused(&containers, "box", "sigwait").await;
    let exec = ExecConfig { args: vec!["true".into()], ..ExecConfig::default() };
    for (result, words) in [
        (containers.exec("box", exec).await.map(drop), "unpause the container before exec"),
        (containers.start("box").await.map(drop), "try unpause instead"),
        (containers.pause("box").await, "already paused"),
        (containers.remove("box", false, false).await.map(drop), "paused"),
    ] {
        let error = result.unwrap_err();
        assert!(matches!(error, Error::WrongState { .. }), "{error}");
        assert!(error.to_string().contains(words), "{error}");
    }
    containers.remove("box", true, false).await.unwrap();
}

#[tokio::test]
async fn stop_unpauses_so_that_the_signal_is_heard() {
    let containers = Bench::new().open();
    paused(&containers, "box", "sigwait").await;
    within(containers.stop("box", None, None)).await.unwrap();
    let exit = containers.inspect("box").unwrap().status.state.exit().cloned().unwrap();
    assert_eq!(exit.code, 15, "it had its say");
}

#[tokio::test]
async fn a_signal_unpauses_and_sigkill_ends_what_is_frozen() {
    let containers = Bench::new().open();
    paused(&containers, "usr", "sigwait").await;
    containers.kill("usr", Signal::parse("USR1").unwrap()).await.unwrap();
    let exit = within(containers.wait("usr", WaitCondition::NotRunning)).await.unwrap();
    assert_eq!(exit.unwrap().code, 10);
    paused(&containers, "hard", "stubborn").await;
    within(containers.kill("hard", Signal::KILL)).await.unwrap();
    assert_eq!(kind(&containers, "hard"), Kind::Exited);
}

#[tokio::test]
async fn only_what_runs_is_paused_and_only_what_is_paused_unpaused() {
    let containers = Bench::new().open();
    containers.create("box", config(&["sigwait"])).await.unwrap();
    let error = containers.pause("box").await.unwrap_err();
    assert!(error.to_string().ends_with("it is not running"), "{error}");
    containers.start("box").await.unwrap();
    let error = containers.unpause("box").await.unwrap_err();
    assert!(error.to_string().ends_with("it is not paused"), "{error}");
    containers.remove("box", true, false).await.unwrap();
}

/// Takes a layer only when it may.
struct Gate(std::sync::mpsc::Receiver<()>);

impl std::io::Write for Gate {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        // An error is the end of its sender: it may.
        while self.0.recv().is_ok() {}
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_container_that_is_committed_is_paused_and_hears_a_stop() {
    let bench = Bench::new();
    let containers = bench.open();
    for (name, stops) in [("goes-on", false), ("stops", true)] {
        started(&containers, name, config(&["sigwait"])).await;
        logged(&containers, name, "ready").await;
        let upper = containers.inspect(name).unwrap().folder.join("upper");
        std::fs::write(upper.join("file"), "x").unwrap();
        let (open, gate) = std::sync::mpsc::channel();
        let handle = containers.clone();
        let layer = tokio::spawn(async move { handle.layer(name, true, Gate(gate)).await });
        let container = containers.find(name).unwrap();
        within(container.wait_until(|status| status.state.kind() == Kind::Paused)).await;
        assert_eq!(bench.launcher.frozen(), 1);
        if stops {
            let grace = Some(Duration::from_secs(3600));
            within(containers.stop(name, None, grace)).await.unwrap();
            let exit = containers.inspect(name).unwrap().status.state.exit().cloned().unwrap();
            assert_eq!(exit.code, 15, "it had its say");
        }
        drop(open);
        within(layer).await.unwrap().unwrap();
        let state = if stops { Kind::Exited } else { Kind::Running };
        assert_eq!((bench.launcher.frozen(), kind(&containers, name)), (0, state), "{name}");
    }
    containers.remove("goes-on", true, false).await.unwrap();
}
