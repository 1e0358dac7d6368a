//! Docker's own command line against the Docker Engine API of a real machine.

use std::{
    io::Write as _,
    path::PathBuf,
    process::{Command, Stdio},
};

use linkspan_test_e2e::{Done, Host, finish, wait_until};
use linkspan_test_registry::is_missing;

use crate::{SOON, Shared, unique};

/// Whether there is a docker CLI to test with.
pub(crate) fn there_is_one() -> bool {
    let there = Command::new("docker").arg("--version").stdout(Stdio::null()).status().is_ok();
    if !there {
        is_missing("docker command line");
    }
    there
}

/// Docker's configuration of these tests, not the user's.
fn config(host: &Host) -> PathBuf {
    host.home().join("docker-config")
}

fn command(host: &Host, args: &[&str]) -> Command {
    let mut command = host.command(&[&["docker"], args].concat());
    // The classic builder, whether or not there is a plugin for another one.
    command.env("DOCKER_CONFIG", config(host)).env("DOCKER_BUILDKIT", "0");
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}

/// Runs a docker command to its end.
pub(crate) fn docker(host: &Host, args: &[&str]) -> Done {
    finish(command(host, args).spawn().expect("linkspan starts"), args)
}

/// The same with something on standard input, and its end.
pub(crate) fn with_stdin(host: &Host, args: &[&str], stdin: &[u8]) -> Done {
    let mut child = command(host, args).stdin(Stdio::piped()).spawn().expect("linkspan starts");
    let mut pipe = child.stdin.take().expect("standard input is a pipe");
    let stdin = stdin.to_vec();
    let writer = std::thread::spawn(move || {
        // The command may end without reading it all: that is its right.
        let _ = pipe.write_all(&stdin);
    });
    let done = finish(child, args);
    writer.join().expect("the writer does not panic");
    done
}

/// The same in a terminal of its own.
fn in_terminal(host: &Host, line: &str) -> Done {
    let mut script = Command::new("script");
    script.args(["-qec", line, "/dev/null"]).stdin(Stdio::null());
    let linkspan = command(host, &[]);
    for (name, value) in linkspan.get_envs() {
        match value {
            Some(value) => script.env(name, value),
            None => script.env_remove(name),
        };
    }
    script.env("LINKSPAN", linkspan.get_program());
    script.stdout(Stdio::piped()).stderr(Stdio::piped());
    finish(script.spawn().expect("script starts"), &[line])
}

fn runs(host: &Host) {
    let done = docker(host, &["run", "--rm", "busybox", "sh", "-c", "echo out; echo err >&2"]);
    assert_eq!((done.text().as_str(), done.err.trim(), done.code), ("out", "err", 0), "{done:?}");
    docker(host, &["run", "--rm", "busybox", "sh", "-c", "exit 7"]).fails(7, &[]);
    docker(host, &["run", "--rm", "busybox", "nosuch"]).fails(127, &["executable file not found"]);
    docker(host, &["run", "--rm", "busybox", "/etc"]).fails(126, &["is a directory"]);
    docker(host, &["run", "--rm", "--memory", "1", "busybox"]).fails(125, &["emory"]);
    // Standard input ends when ours does, and everything comes back.
    let bytes: Vec<u8> = (0..3_000_000_u32).map(|n| (n % 251) as u8).collect();
    let echoed = with_stdin(host, &["run", "-i", "--rm", "busybox", "cat"], &bytes).ok();
    assert!(echoed.out == bytes, "{} bytes", echoed.out.len());
    let env = docker(
        host,
        &[
            "run",
            "--rm",
            "-e",
            "A=1",
            "-w",
            "/tmp",
            "-u",
            "7",
            "busybox",
            "sh",
            "-c",
            "echo $A $(pwd) $(id -u)",
        ],
    );
    assert_eq!(env.ok().text(), "1 /tmp 7");
}

fn terminals(host: &Host) {
    let run = r#"stty rows 33 cols 77; "$LINKSPAN" docker run -it --rm busybox sh -c 'sleep 1; stty size; tty; exit 3'"#;
    let done = in_terminal(host, run);
    assert_eq!(done.code, 3, "{done:?}");
    assert!(done.text().contains("33 77") && done.text().contains("/dev/pts/"), "{done:?}");
    let name = unique("docker-tty");
    let _ = docker(host, &["run", "-d", "--name", &name, "busybox", "sleep", "600"]).ok();
    let exec = format!(r#""$LINKSPAN" docker exec -it {name} sh -c 'tty; exit 4'"#);
    let done = in_terminal(host, &exec);
    assert_eq!(done.code, 4, "{done:?}");
    assert!(done.text().contains("/dev/pts/"), "{done:?}");
    let _ = docker(host, &["rm", "-f", &name]).ok();
}

fn lives(host: &Host) {
    let name = unique("docker-life");
    let label = format!("of={name}");
    let id = docker(
        host,
        &["run", "-d", "--name", &name, "-l", &label, "busybox", "sh", "-c", "echo one; sleep 600"],
    );
    let id = id.ok().text();
    let filter = format!("label={label}");
    let ps = |more: &[&str]| {
        let args = ["ps", "--no-trunc", "--format", "{{.ID}} {{.Names}} {{.State}}", "-f", &filter];
        docker(host, &[&args[..], more].concat()).ok().text()
    };
    assert_eq!(ps(&[]), format!("{id} {name} running"));
    assert_eq!(ps(&["-f", "status=exited"]), "");
    assert_eq!(ps(&["-f", &format!("name=^/{name}$")]), format!("{id} {name} running"));
    let shown = docker(
        host,
        &[
            "inspect",
            "-f",
            "{{.Name}} {{.State.Running}} {{.Config.Image}} {{.HostConfig.NetworkMode}}",
            &name,
        ],
    );
    assert_eq!(shown.ok().text(), format!("/{name} true busybox bridge"));
    assert!(wait_until(SOON, || docker(host, &["logs", &name]).text() == "one"));

    docker(host, &["exec", &name, "sh", "-c", "exit 4"]).fails(4, &[]);
    docker(host, &["exec", &name, "nosuch"]).fails(127, &[]);
    let echoed = with_stdin(host, &["exec", "-i", &name, "cat"], b"through exec").ok();
    assert_eq!(echoed.text(), "through exec");
    let _ = docker(host, &["exec", "-d", &name, "touch", "/marker"]).ok();
    assert!(wait_until(SOON, || docker(host, &["exec", &name, "ls", "/marker"]).code == 0));
    assert!(docker(host, &["top", &name]).ok().text().contains("sleep 600"));
    let stats = docker(host, &["stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", &name]);
    assert!(stats.ok().text().starts_with(&name));

    let _ = docker(host, &["pause", &name]).ok();
    docker(host, &["exec", &name, "true"]).fails(1, &["is paused"]);
    let _ = docker(host, &["unpause", &name]).ok();
    let _ = docker(host, &["update", "--memory", "64m", "--memory-swap", "64m", &name]).ok();
    let memory = docker(host, &["inspect", "-f", "{{.HostConfig.Memory}}", &name]);
    assert_eq!(memory.ok().text(), (64 << 20).to_string());
    let other = format!("{name}-renamed");
    let _ = docker(host, &["rename", &name, &other]).ok();
    let _ = docker(host, &["stop", "-t", "0", &other]).ok();
    assert_eq!(docker(host, &["wait", &other]).ok().text(), "137");
    docker(host, &["kill", &other]).fails(1, &["is not running"]);
    docker(host, &["exec", &other, "true"]).fails(1, &["is not running"]);
    let _ = docker(host, &["rm", &other]).ok();
    docker(host, &["inspect", &other]).fails(1, &["No such object"]);
    docker(host, &["rm", &other]).fails(1, &["No such container"]);
}

fn attaches(host: &Host) {
    let name = unique("docker-attach");
    let _ = docker(
        host,
        &["create", "-i", "--name", &name, "busybox", "sh", "-c", "read x; echo got $x; exit 5"],
    )
    .ok();
    // Started with its streams; then a second time, after it has ended.
    for word in ["first", "second"] {
        let done = with_stdin(host, &["start", "-ai", &name], format!("{word}\n").as_bytes());
        assert_eq!((done.text(), done.code), (format!("got {word}"), 5), "{done:?}");
    }
    let logs = docker(host, &["logs", "--timestamps", "--tail", "1", &name]).ok().text();
    assert!(logs.ends_with("Z got second"), "{logs}");
    let _ = docker(host, &["rm", &name]).ok();
    // Followed logs end with the container.
    let name = unique("docker-follow");
    let _ = docker(
        host,
        &[
            "run",
            "-d",
            "--name",
            &name,
            "busybox",
            "sh",
            "-c",
            "for n in 1 2 3; do echo $n; sleep 0.2; done",
        ],
    )
    .ok();
    assert_eq!(docker(host, &["logs", "-f", &name]).ok().text(), "1\n2\n3");
    let _ = docker(host, &["rm", "-f", &name]).ok();
}

fn files(host: &Host) {
    let [name, image] = ["docker-files", "docker-image"].map(unique);
    let _ = docker(host, &["create", "--name", &name, "busybox", "true"]).ok();
    let file = host.home().join(&name);
    std::fs::write(&file, "carried").expect("a file");
    let to = format!("{name}:/carried");
    let _ = docker(host, &["cp", &file.to_string_lossy(), &to]).ok();
    let back = host.home().join(format!("{name}-back"));
    let _ = docker(host, &["cp", &to, &back.to_string_lossy()]).ok();
    assert_eq!(std::fs::read_to_string(&back).expect("it came back"), "carried");
    docker(host, &["cp", &format!("{name}:/nosuch"), "/tmp"])
        .fails(1, &["Could not find the file /nosuch"]);
    assert_eq!(docker(host, &["diff", &name]).ok().text(), "A /carried");
    let exported = docker(host, &["export", &name]).ok().out;
    let mut archive = tar::Archive::new(exported.as_slice());
    let found = archive
        .entries()
        .expect("a tar")
        .any(|entry| entry.expect("an entry").path().expect("a path").ends_with("carried"));
    assert!(found);

    let _ = docker(
        host,
        &["commit", "-c", "CMD [\"cat\", \"/carried\"]", "-m", "a word", &name, &image],
    )
    .ok();
    assert_eq!(docker(host, &["run", "--rm", &image]).ok().text(), "carried");
    let history = docker(host, &["history", "--format", "{{.Comment}}", &image]).ok().text();
    assert_eq!(history.lines().next(), Some("a word"));
    let tagged = format!("{image}:two");
    let _ = docker(host, &["tag", &image, &tagged]).ok();
    let tags = docker(host, &["images", "--format", "{{.Tag}}", &image]).ok().text();
    assert!(tags.contains("two") && tags.contains("latest"), "{tags}");
    assert_eq!(
        docker(host, &["inspect", "-f", "{{.Config.Cmd}}", &tagged]).ok().text(),
        "[cat /carried]"
    );
    let imported = with_stdin(host, &["import", "-", &format!("{image}:three")], &exported).ok();
    assert!(imported.text().starts_with("sha256:"), "{imported:?}");
    for tag in ["latest", "two", "three"] {
        assert!(
            docker(host, &["rmi", &format!("{image}:{tag}")]).ok().text().contains("Untagged:")
        );
    }
    docker(host, &["rmi", &image]).fails(1, &["No such image"]);
    let _ = docker(host, &["rm", &name]).ok();
}

fn networks_and_volumes(host: &Host) {
    let [network, volume, server] = ["docker-net", "docker-vol", "docker-web"].map(unique);
    let _ = docker(host, &["network", "create", "--label", "a=b", &network]).ok();
    let _ = docker(host, &["volume", "create", "--label", "a=b", &volume]).ok();
    let mount = format!("{volume}:/www");
    let serve = "echo served > /www/index.html; exec httpd -f -h /www";
    let _ = docker(
        host,
        &[
            "run",
            "-d",
            "--name",
            &server,
            "--network",
            &network,
            "-v",
            &mount,
            "-p",
            "127.0.0.1::80",
            "busybox",
            "sh",
            "-c",
            serve,
        ],
    )
    .ok();
    let url = format!("http://{server}/");
    let fetch = ["run", "--rm", "--network", &network, "busybox", "wget", "-qO-", &url];
    assert!(wait_until(SOON, || docker(host, &fetch).text() == "served"));
    // The port is open on the host when `run` returns.
    let port = docker(host, &["port", &server, "80"]).ok().text();
    std::net::TcpStream::connect(&port).unwrap_or_else(|error| panic!("{port}: {error}"));
    let members = "{{range .Containers}}{{.Name}}{{end}}";
    assert_eq!(docker(host, &["network", "inspect", "-f", members, &network]).ok().text(), server);
    docker(host, &["volume", "rm", &volume]).fails(1, &[&volume]);
    docker(host, &["network", "rm", &network]).fails(1, &[&network]);
    let _ = docker(host, &["network", "disconnect", &network, &server]).ok();
    let _ = docker(host, &["network", "connect", "--alias", "also", &network, &server]).ok();
    let _ = docker(host, &["rm", "-f", &server]).ok();
    let names = docker(host, &["volume", "ls", "-q", "-f", &format!("name={volume}")]).ok();
    assert_eq!(names.text(), volume);
    let _ = docker(host, &["network", "rm", &network]).ok();
    let _ = docker(host, &["volume", "rm", &volume]).ok();
    docker(host, &["network", "inspect", &network]).fails(1, &["not found"]);
    docker(host, &["volume", "inspect", &volume]).fails(1, &["no such volume"]);
}

fn tells(host: &Host) {
    let name = unique("docker-events");
    let _ = docker(host, &["run", "--name", &name, "busybox", "true"]).ok();
    let of = format!("container={name}");
    let args = ["events", "--since", "10m", "--until", "0s", "-f", &of, "--format", "{{.Action}}"];
    // Docker's client asks until the whole second.
    let told = || docker(host, &args).ok().text();
    for action in ["create", "attach", "start", "die"] {
        let is_told = || told().lines().any(|line| line == action);
        assert!(wait_until(SOON, is_told), "{action}: {}", told());
    }
    let _ = docker(host, &["rm", &name]).ok();
    assert_eq!(
        docker(host, &["info", "-f", "{{.OSType}} {{.Swarm.LocalNodeState}}"]).ok().text(),
        "linux inactive"
    );
    let version = docker(host, &["version", "-f", "{{.Server.Os}}"]).ok();
    assert_eq!(version.text(), "linux");
    assert!(docker(host, &["system", "df"]).ok().text().contains("Local Volumes"));
    docker(host, &["node", "ls"]).fails(1, &["This node is not a swarm manager"]);
    let only = ["system", "prune", "-f", "--filter", "label=nobody.has.this"];
    assert!(docker(host, &only).ok().text().contains("Total reclaimed space"));
}

fn bind_mounts(host: &Host) {
    let folder = tempfile::tempdir().expect("a folder");
    std::fs::write(folder.path().join("word"), "shared").expect("a file");
    let mount = format!("{}:/host", folder.path().display());
    let run = [
        "run",
        "--rm",
        "-v",
        &mount,
        "busybox",
        "sh",
        "-c",
        "cat /host/word; echo back > /host/answer",
    ];
    assert_eq!(docker(host, &run).ok().text(), "shared");
    let answer = std::fs::read_to_string(folder.path().join("answer")).expect("written");
    assert_eq!(answer.trim(), "back");
}

fn contexts(host: &Host) {
    let install = ["context", "install", "--use", "--yes"];
    assert_eq!(docker(host, &install).ok().text(), "linkspan");
    // Docker alone, with nothing but its own configuration.
    let plain = |args: &[&str]| {
        let mut docker = Command::new("docker");
        docker.args(args).env("DOCKER_CONFIG", config(host)).env_remove("DOCKER_HOST");
        docker.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        finish(docker.spawn().expect("docker starts"), args)
    };
    assert_eq!(plain(&["context", "show"]).ok().text(), "linkspan");
    assert_eq!(plain(&["run", "--rm", "busybox", "echo", "found"]).ok().text(), "found");
    let _ = plain(&["context", "use", "default"]).ok();
    let used = docker(host, &["context", "use", "--yes"]).ok();
    assert_eq!(used.text(), "linkspan");
    assert_eq!(plain(&["context", "show"]).ok().text(), "linkspan");
    let listed = plain(&["context", "ls", "--format", "{{.Name}} {{.Current}}"]).ok().text();
    assert!(listed.lines().any(|line| line == "linkspan true"), "{listed}");
    let _ = docker(host, &["context", "remove", "--yes"]).ok();
    docker(host, &["context", "use", "--yes"]).fails(1, &["install"]);
    assert_eq!(plain(&["context", "show"]).ok().text(), "default");
    let env = docker(host, &["env"]).ok().text();
    assert!(env.starts_with("export DOCKER_HOST='unix://"), "{env}");
    // Who says nothing of the builder gets the one that there is; who does is left alone.
    assert!(!env.contains("DOCKER_BUILDKIT"), "{env}");
    let mut unsaid = command(host, &["env"]);
    let unsaid = unsaid.env_remove("DOCKER_BUILDKIT").spawn().expect("linkspan starts");
    let unsaid = finish(unsaid, &["env"]).ok().text();
    assert!(unsaid.ends_with("\nexport DOCKER_BUILDKIT='0'"), "{unsaid}");
}

fn many_at_once(host: &Host) {
    let results: Vec<Done> = std::thread::scope(|scope| {
        let runs: Vec<_> = (0..8)
            .map(|n| {
                let word = n.to_string();
                scope.spawn(move || docker(host, &["run", "--rm", "busybox", "echo", &word]))
            })
            .collect();
        runs.into_iter().map(|run| run.join().expect("no panic")).collect()
    });
    for (n, done) in results.into_iter().enumerate() {
        assert_eq!(done.ok().text(), n.to_string());
    }
}

macro_rules! with_docker {
    ($($test:ident => $name:literal,)*) => {
        &[$(($name, |host| if there_is_one() { $test(host) })),*]
    };
}

pub(crate) const TESTS: &[Shared] = with_docker![
    runs => "run_gives_output_and_exit_codes_as_docker_does",
    terminals => "a_terminal_has_the_size_of_the_callers",
    lives => "a_containers_life_through_dockers_verbs",
    attaches => "start_attaches_again_and_followed_logs_end",
    files => "files_and_images_come_and_go",
    networks_and_volumes => "networks_volumes_and_ports_are_there_when_the_answer_comes",
    tells => "events_info_and_usage_are_told",
    bind_mounts => "folders_of_the_host_are_mounted",
    contexts => "docker_finds_the_machine_by_its_context",
    many_at_once => "several_runs_at_once_do_not_disturb_each_other",
];
