//! The life of containers, with scripted processes.

use std::{path::Path, sync::Arc, time::Duration};

use bytes::Bytes;
use tokio::time::timeout;

use crate::{
    AttachOptions, Attachment, Containers, Error, Setup, WaitCondition,
    config::{Config, ExecConfig},
    error::LaunchKind,
    fake::{FakeImages, FakeLauncher},
    filter::Filters,
    io::Channel,
    limits::Capacity,
    log::Select,
    session::{Event, Session},
    signal::Signal,
    state::Kind,
    volumes::Volumes,
};

/// Long enough for a busy machine; only reached by a failure.
const DEADLINE: Duration = Duration::from_secs(60);

struct Bench {
    folder: tempfile::TempDir,
    volumes: tempfile::TempDir,
    launcher: FakeLauncher,
    images: FakeImages,
}

impl Bench {
    fn new() -> Self {
        Self {
            folder: tempfile::tempdir().unwrap(),
            volumes: tempfile::tempdir().unwrap(),
            launcher: FakeLauncher::default(),
            images: FakeImages::with_busybox(),
        }
    }

    /// What a boot does; a second call is the next boot.
    fn open(&self) -> Containers {
        Containers::open(Setup {
            root: self.root().into(),
            volumes: Arc::new(Volumes::open(self.volumes.path().into()).unwrap()),
            launcher: Arc::new(self.launcher.clone()),
            images: Arc::new(self.images.clone()),
            capacity: Capacity { cpus: 2, memory_nodes: 1 },
            on_removed: None,
        })
        .unwrap()
    }

    fn root(&self) -> &Path {
        self.folder.path()
    }

    fn folders(&self) -> usize {
        std::fs::read_dir(self.root()).unwrap().count()
    }
}

fn config(command: &[&str]) -> Config {
    Config {
        image: "busybox".into(),
        command: command.iter().map(ToString::to_string).collect(),
        ..Config::default()
    }
}

fn interactive(command: &[&str]) -> Config {
    Config { open_stdin: true, stdin_once: true, ..config(command) }
}

const ALL: AttachOptions =
    AttachOptions { stdin: true, stdout: true, stderr: true, start: true, logs: false, size: None };

#[derive(Debug, Default, PartialEq, Eq)]
struct Heard {
    stdout: String,
    stderr: String,
    code: Option<i32>,
}

impl Heard {
    fn take(&mut self, event: Event) {
        match event {
            Event::Started { .. } => {}
            Event::Output(Channel::Stdout, bytes) => {
                self.stdout += std::str::from_utf8(&bytes).unwrap()
            }
            Event::Output(Channel::Stderr, bytes) => {
                self.stderr += std::str::from_utf8(&bytes).unwrap()
            }
            Event::Exited { code, .. } => self.code = Some(code),
        }
    }
}

async fn within<T>(future: impl Future<Output = T>) -> T {
    timeout(DEADLINE, future).await.expect("it takes too long")
}

async fn hear(attachment: &mut Attachment) -> Heard {
    let mut heard = Heard::default();
    while let Some(event) = within(attachment.next()).await.unwrap() {
        heard.take(event);
    }
    heard
}

async fn hear_session(session: &mut Session) -> Heard {
    let mut heard = Heard::default();
    while let Some(event) = within(session.events.recv()).await {
        heard.take(event);
    }
    heard
}

/// As `run` does it: create, attach, start.
async fn run(containers: &Containers, config: Config) -> Heard {
    let made = containers.create("", config).await.unwrap();
    let mut attachment = containers.attach(made.id.as_str(), ALL).await.unwrap();
    hear(&mut attachment).await
}

async fn started(containers: &Containers, name: &str, config: Config) {
    containers.create(name, config).await.unwrap();
    containers.start(name).await.unwrap();
}

/// Waits until the log contains `text`: what the process does first is done then.
async fn logged(containers: &Containers, name: &str, text: &str) {
    let mut log = containers.logs(name, Select::ALL, true).await.unwrap();
    while let Some(records) = within(log.next()).await.unwrap() {
        if records.iter().any(|record| record.line.starts_with(text.as_bytes())) {
            return;
        }
    }
    panic!("`{text}` was never logged");
}

async fn log_text(containers: &Containers, name: &str, select: Select) -> String {
    let mut log = containers.logs(name, select, false).await.unwrap();
    let mut text = String::new();
    while let Some(records) = within(log.next()).await.unwrap() {
        for record in records {
            text += std::str::from_utf8(&record.line).unwrap();
        }
    }
    text
}

fn kind(containers: &Containers, name: &str) -> Kind {
    containers.inspect(name).unwrap().status.state.kind()
}

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
    assert!(matches!(error, Error::SlowReader(10)), "{error}");
}

#[tokio::test]
async fn a_process_left_in_the_background_does_not_hold_the_end_up() {
    let containers = Bench::new().open();
    let begun = std::time::Instant::now();
    assert_eq!(run(&containers, config(&["linger"])).await.code, Some(0));
    assert!(begun.elapsed() < Duration::from_secs(30), "its pipe stays open for a minute");
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
async fn out_of_memory_is_told() {
    let containers = Bench::new().open();
    let made = containers.create("", config(&["oom"])).await.unwrap();
    containers.start(made.id.as_str()).await.unwrap();
    let exit = within(containers.wait(made.id.as_str(), WaitCondition::NotRunning)).await.unwrap();
    let exit = exit.unwrap();
    assert_eq!((exit.code, exit.oom_killed), (137, true));
}

#[tokio::test]
async fn auto_remove_leaves_nothing_and_frees_the_name_before_the_end_is_told() {
    let bench = Bench::new();
    let containers = bench.open();
    for _ in 0..20 {
        let config = Config { auto_remove: true, ..config(&["true"]) };
        containers.create("again", config).await.expect("the name is free");
        let handle = containers.clone();
        let removed =
            tokio::spawn(async move { handle.wait("again", WaitCondition::Removed).await });
        tokio::task::yield_now().await;
        let mut attachment = containers.attach("again", ALL).await.unwrap();
        assert_eq!(hear(&mut attachment).await.code, Some(0));
        assert!(matches!(containers.inspect("again"), Err(Error::NotFound(_))));
        assert_eq!(within(removed).await.unwrap().unwrap().unwrap().code, 0);
    }
    assert_eq!(bench.folders(), 0);
    assert!(bench.launcher.cgroups().is_empty());
    let made = containers.create("", Config { auto_remove: true, ..config(&["nonsense"]) }).await;
    let id = made.unwrap().id;
    let handle = containers.clone();
    let (waited, start) = tokio::join!(
        within(handle.wait(id.as_str(), WaitCondition::Removed)),
        containers.start(id.as_str())
    );
    assert!(start.is_err() && waited.unwrap().is_none());
    assert_eq!(bench.folders(), 0, "also when the start fails");
}

#[tokio::test]
async fn names_are_unique_and_free_again_after_removal() {
    let containers = Bench::new().open();
    let made = containers.create("web", config(&["true"])).await.unwrap();
    let error = containers.create("web", config(&["true"])).await.unwrap_err();
    assert!(error.to_string().contains(made.id.short()), "{error}");
    let prefix = &made.id.as_str()[..20];
    assert_eq!(containers.remove(prefix, false, false).await.unwrap(), made.id);
    containers.create("/web", config(&["true"])).await.unwrap();
    assert!(matches!(containers.inspect(""), Err(Error::NotFound(_))));
}

#[tokio::test]
async fn a_running_container_is_only_removed_by_force() {
    let bench = Bench::new();
    let containers = bench.open();
    started(&containers, "busy", config(&["sleep", "3600"])).await;
    assert!(matches!(containers.remove("busy", false, false).await, Err(Error::WrongState { .. })));
    within(containers.remove("busy", true, false)).await.unwrap();
    assert_eq!((bench.folders(), bench.launcher.processes()), (0, 0));
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
async fn logs_are_followed_to_the_end_of_the_run() {
    let containers = Bench::new().open();
    containers.create("talks", config(&["bytes", "100000"])).await.unwrap();
    containers.start("talks").await.unwrap();
    let mut log = containers.logs("talks", Select::ALL, true).await.unwrap();
    let mut bytes = 0;
    while let Some(records) = within(log.next()).await.unwrap() {
        bytes += records.iter().map(|record| record.line.len()).sum::<usize>();
    }
    assert_eq!(bytes, 100_000);
    let last = Select { tail: Some(2), ..Select::ALL };
    assert_eq!(log_text(&containers, "talks", last).await.lines().count(), 2);
    let none = Select { stdout: false, ..Select::ALL };
    assert_eq!(log_text(&containers, "talks", none).await, "");
}

#[tokio::test]
async fn the_next_boot_finds_what_the_disk_holds() {
    let bench = Bench::new();
    let before = bench.open();
    let done = before.create("done", config(&["sh", "-c", "exit 3"])).await.unwrap();
    before.start("done").await.unwrap();
    within(before.wait("done", WaitCondition::NotRunning)).await.unwrap();
    started(&before, "cut-off", config(&["sleep", "3600"])).await;
    started(&before, "gone", Config { auto_remove: true, ..config(&["sleep", "3600"]) }).await;
    before.create("fresh", config(&["true"])).await.unwrap();
    // Writing state.json follows the answer; a crash is not what is tested here.
    let state = bench.root().join(done.id.as_str()).join("state.json");
    let cut_off = before.inspect("cut-off").unwrap().folder.join("state.json");
    within(async {
        let has = |path: &Path, text: &str| {
            std::fs::read_to_string(path).is_ok_and(|content| content.contains(text))
        };
        while !has(&state, "exited") || !has(&cut_off, "running") {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    })
    .await;
    std::fs::create_dir(bench.root().join("a".repeat(64))).unwrap();

    let after = bench.open();
    let names = |containers: &Containers| {
        let list = containers.list(true, None, &Filters::default()).unwrap();
        list.into_iter().map(|container| container.record.name).collect::<Vec<_>>()
    };
    assert_eq!(names(&after), ["fresh", "cut-off", "done"], "newest first, auto_remove is gone");
    let exit = |name: &str| after.inspect(name).unwrap().status.state.exit().cloned();
    assert_eq!(exit("done").unwrap().code, 3);
    assert_eq!(exit("cut-off").unwrap().code, 255);
    assert_eq!(kind(&after, "fresh"), Kind::Created);
    assert_eq!(bench.folders(), 3, "the half-made one is deleted");
    let error = after.create("done", config(&["true"])).await.unwrap_err();
    assert!(matches!(error, Error::NameConflict { .. }));
}

#[tokio::test]
async fn a_record_of_another_format_is_left_alone() {
    let bench = Bench::new();
    let made = bench.open().create("old", config(&["true"])).await.unwrap();
    let path = bench.root().join(made.id.as_str()).join("config.json");
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(&path, text.replacen("\"format\":1", "\"format\":9", 1)).unwrap();
    let after = bench.open();
    assert!(after.list(true, None, &Filters::default()).unwrap().is_empty());
    assert!(path.exists(), "it is not ours to delete");
}

#[tokio::test]
async fn a_container_outlives_its_images_name() {
    let bench = Bench::new();
    let containers = bench.open();
    containers.create("orphan", config(&["true"])).await.unwrap();
    bench.images.remove("busybox:latest");
    containers.start("orphan").await.expect("its layers were kept with it");
    assert!(matches!(containers.create("", config(&["true"])).await, Err(Error::Image(_))));
    assert!(containers.uses_layer(&format!("sha256:{}", "d".repeat(64))));
}

#[tokio::test]
async fn filters_choose_and_unknown_ones_are_refused() {
    let containers = Bench::new().open();
    let labels = [("tier".to_owned(), "web".to_owned())].into();
    containers.create("one", Config { labels, ..config(&["true"]) }).await.unwrap();
    started(&containers, "two", config(&["sleep", "3600"])).await;
    let list = |all: bool, filters: &[&str]| {
        let filters: Vec<_> = filters.iter().map(ToString::to_string).collect();
        let found = containers.list(all, None, &Filters::parse(&filters).unwrap()).unwrap();
        found.into_iter().map(|container| container.record.name).collect::<Vec<_>>()
    };
    assert_eq!(list(false, &[]), ["two"]);
    assert_eq!(list(true, &["label=tier=web"]), ["one"]);
    assert_eq!(list(false, &["status=created"]), ["one"]);
    assert_eq!(list(true, &["ancestor=busybox", "name=tw"]), ["two"]);
    let error = Filters::parse(&["health=starting".into()]).unwrap_err();
    assert!(error.to_string().starts_with("--filter health is not supported"), "{error}");
    containers.remove("two", true, false).await.unwrap();
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
async fn the_plan_says_what_the_request_said() {
    let bench = Bench::new();
    let containers = bench.open();
    let mut asked = config(&["hostname"]);
    asked.hostname = "bridge".into();
    asked.limits.memory = 64 << 20;
    asked.read_only_rootfs = true;
    assert_eq!(run(&containers, asked).await.stdout, "bridge\n");
    let plan = bench.launcher.plans().pop().unwrap();
    assert_eq!(plan.resources.memory_max, Some(64 << 20));
    assert!(plan.rootfs.readonly);
    assert_eq!(plan.rootfs.lower, [Path::new("/fake/busybox")]);
    assert!(plan.rootfs.upper.starts_with(bench.root()));
}

mod mounts;
