//! One more process.

use super::*;

#[tokio::test]
async fn exec_runs_beside_the_first_process_and_is_not_logged() {
    let containers = Bench::new().open();
    let config = Config { env: vec!["A=1".into()], ..config(&["sleep", "3600"]) };
    started(&containers, "host", config).await;
    let exec = |args: &[&str]| ExecConfig {
        args: args.iter().map(ToString::to_string).collect(),
        env: vec!["B=2".into()],
        stdin: true,
        ..ExecConfig::default()
    };
    let mut session = containers.exec("host", exec(&["env"])).await.unwrap();
    let heard = hear_session(&mut session).await;
    assert!(heard.stdout.contains("A=1\n") && heard.stdout.contains("B=2\n"), "{heard:?}");
    let mut session = containers.exec("host", exec(&["cat"])).await.unwrap();
    assert!(session.control.write(Bytes::from_static(b"echo")).await);
    session.control.close_stdin();
    assert_eq!(hear_session(&mut session).await.stdout, "echo");
    let error = containers.exec("host", exec(&["nonsense"])).await.err().unwrap();
    assert!(matches!(error, Error::Launch(failure) if failure.exit_code() == 127));
    assert_eq!(log_text(&containers, "host", Select::ALL).await, "");
    containers.remove("host", true, false).await.unwrap();
}

#[tokio::test]
async fn exec_ends_with_the_container() {
    let containers = Bench::new().open();
    started(&containers, "host", config(&["sleep", "3600"])).await;
    let exec = ExecConfig { args: vec!["sleep".into(), "3600".into()], ..ExecConfig::default() };
    let mut session = containers.exec("host", exec.clone()).await.unwrap();
    containers.kill("host", Signal::KILL).await.unwrap();
    assert_eq!(hear_session(&mut session).await.code, Some(137));
    let refused = containers.exec("host", exec).await.err().unwrap();
    assert_eq!(refused.to_string(), "cannot exec in container `host`: it is not running");
}

#[tokio::test]
async fn a_terminal_takes_its_size_and_hangs_up_with_its_client() {
    let bench = Bench::new();
    let containers = bench.open();
    started(&containers, "host", config(&["sleep", "3600"])).await;
    let exec = ExecConfig {
        args: vec!["size".into()],
        tty: true,
        size: Some((10, 20)),
        ..ExecConfig::default()
    };
    let mut session = containers.exec("host", exec).await.unwrap();
    for (rows, columns) in [(10, 20), (33, 111)] {
        session.control.resize(rows, columns).unwrap();
        assert!(session.control.write(Bytes::from_static(b"\n")).await);
        let wanted = format!("{rows} {columns}");
        let mut seen = String::new();
        while !seen.contains(&wanted) {
            match within(session.events.recv()).await.expect("it runs") {
                Event::Output(_, bytes) => seen += std::str::from_utf8(&bytes).unwrap(),
                Event::Started { .. } => {}
                Event::Exited { .. } => panic!("it ended after {seen:?}"),
            }
        }
    }
    drop(session);
    within(async {
        while bench.launcher.processes() > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_detached_process_goes_on_without_its_client() {
    let bench = Bench::new();
    let containers = bench.open();
    started(&containers, "host", config(&["sleep", "3600"])).await;
    for tty in [false, true] {
        let args = vec!["sleep".into(), "3600".into()];
        let exec = ExecConfig { args, tty, detach: true, ..ExecConfig::default() };
        let mut session = containers.exec("host", exec).await.unwrap();
        assert!(matches!(within(session.events.recv()).await, Some(Event::Started { pid: 1.. })));
        assert_eq!(within(session.events.recv()).await, None);
    }
    let exec = ExecConfig { args: vec!["true".into()], ..ExecConfig::default() };
    // A round trip through everything, after which a hang-up would have been delivered.
    assert_eq!(hear_session(&mut containers.exec("host", exec).await.unwrap()).await.code, Some(0));
    assert_eq!(bench.launcher.processes(), 3);
    containers.remove("host", true, false).await.unwrap();
}

#[tokio::test]
async fn commands_are_listed_with_their_ids_while_they_run() {
    let containers = Bench::new().open();
    started(&containers, "host", config(&["sleep", "3600"])).await;
    let listed = || -> Vec<String> {
        let execs = containers.inspect("host").unwrap().execs;
        execs.iter().map(ToString::to_string).collect()
    };
    let own = "5a".repeat(32);
    let exec = ExecConfig {
        id: own.clone(),
        args: vec!["cat".into()],
        stdin: true,
        ..ExecConfig::default()
    };
    let mut first = containers.exec("host", exec.clone()).await.unwrap();
    assert_eq!(listed(), [&*own]);
    let taken = containers.exec("host", exec.clone()).await.err().unwrap();
    let why = format!("cannot exec in container `host`: the id `{own}` is of a command that runs");
    assert_eq!(taken.to_string(), why);
    let generated = ExecConfig { id: String::new(), ..exec.clone() };
    let mut second = containers.exec("host", generated).await.unwrap();
    assert_eq!(listed().len(), 2);
    first.control.close_stdin();
    assert_eq!(hear_session(&mut first).await.code, Some(0));
    let left = listed();
    assert!(left.len() == 1 && left[0] != own && left[0].len() == 64, "{left:?}");
    second.control.close_stdin();
    assert_eq!(hear_session(&mut second).await.code, Some(0));
    assert!(listed().is_empty());
    for (id, args) in [("1234", "cat"), ("", "nonsense")] {
        let exec = ExecConfig { id: id.into(), args: vec![args.into()], ..ExecConfig::default() };
        assert!(containers.exec("host", exec).await.is_err());
        assert!(listed().is_empty(), "{args}: it never ran");
    }
    containers.remove("host", true, false).await.unwrap();
}

#[tokio::test]
async fn a_command_without_usable_streams_is_not_left_behind() {
    let bench = Bench::new();
    let containers = bench.open();
    started(&containers, "host", config(&["sleep", "3600"])).await;
    bench.launcher.break_streams(true);
    let exec = ExecConfig { args: vec!["sleep".into(), "3600".into()], ..ExecConfig::default() };
    containers.exec("host", exec).await.map(drop).expect_err("nobody could hear it");
    within(async {
        while bench.launcher.processes() > 1 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    containers.remove("host", true, false).await.unwrap();
}

#[tokio::test]
async fn a_caller_that_goes_while_it_is_started_leaves_it_listed_until_it_ends() {
    let bench = Bench::new();
    let containers = bench.open();
    started(&containers, "host", config(&["sleep", "3600"])).await;
    let exec = ExecConfig { args: vec!["sleep".into(), "3600".into()], ..ExecConfig::default() };
    {
        let mut call = Box::pin(containers.exec("host", exec));
        assert!(poll_once(call.as_mut()).await.is_none(), "it is under way");
    }
    within(async {
        while bench.launcher.started() < 2 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    assert_eq!(bench.launcher.processes(), 2);
    assert_eq!(containers.inspect("host").unwrap().execs.len(), 1);
    containers.remove("host", true, false).await.unwrap();
}
