use clap::error::ErrorKind;
use linkspan_proto::error::ErrorCode;
use linkspan_proto::v1::{ContainerConfig, ContainerNetworkConfig};

use super::*;

fn matches(line: &[&str]) -> Result<ArgMatches, clap::Error> {
    command().try_get_matches_from(["linkspan"].iter().chain(line))
}

fn parse(line: &[&str]) -> Result<Cli, Error> {
    match matches(line) {
        Ok(matches) => Cli::from_matches(&matches),
        Err(error) => panic!("{line:?}: {error}"),
    }
}

fn run_of(line: &[&str]) -> Box<Run> {
    let line: Vec<&str> = ["run"].iter().chain(line).copied().collect();
    match parse(&line).map(|cli| cli.command) {
        Ok(Verb::Run(run)) => run,
        other => panic!("{line:?}: {other:?}"),
    }
}

fn config(line: &[&str]) -> ContainerConfig {
    let run = run_of(line);
    run.container.config(!run.detach).unwrap_or_else(|error| panic!("{line:?}: {error:?}"))
}

fn network(config: &ContainerConfig) -> &ContainerNetworkConfig {
    config.network.as_ref().expect("always sent")
}

#[test]
fn clap_finds_no_fault_with_the_parser() {
    command().debug_assert();
}

#[test]
fn every_verb_is_in_one_group_of_the_help() {
    let help = command().render_help().to_string();
    for verb in command().get_subcommands().filter(|verb| !verb.is_hide_set()) {
        let name = verb.get_name();
        let groups = GROUPS.iter().filter(|(_, verbs)| verbs.contains(&name)).count();
        assert_eq!(groups, 1, "{name}");
        assert!(help.contains(&format!("\n  {name} ")), "{name}: {help}");
        assert!(verb.get_about().is_some(), "{name} has no help");
    }
}

/// Each flag of `run`, and the one place in the request that it must reach.
#[test]
fn every_flag_of_run_reaches_its_field() {
    type Check = fn(&ContainerConfig) -> bool;
    let table: &[(&[&str], Check)] = &[
        (&["-i"], |c| c.open_stdin && c.stdin_once && !c.tty),
        (&["-di"], |c| c.open_stdin && !c.stdin_once),
        (&["-t"], |c| c.tty && !c.open_stdin),
        (&["-i"], |c| c.attach_stdin && c.attach_stdout && c.attach_stderr),
        (&["-a", "stderr"], |c| !c.attach_stdin && !c.attach_stdout && c.attach_stderr),
        (&["-di"], |c| !(c.attach_stdin || c.attach_stdout || c.attach_stderr)),
        (&["-it"], |c| c.tty && c.open_stdin),
        (&["--rm"], |c| c.auto_remove),
        (&["-e", "A=1", "--env=B=2"], |c| c.env == ["A=1", "B=2"]),
        (&["-w", "/x"], |c| c.working_dir == "/x"),
        (&["-u", "1:2"], |c| c.user == "1:2"),
        (&["-h", "box"], |c| c.hostname == "box"),
        (&["--hostname", "box"], |c| c.hostname == "box"),
        (&["--domainname", "d"], |c| c.domainname == "d"),
        (&["--entrypoint", "/bin/x"], |c| {
            c.entrypoint.as_ref().is_some_and(|e| e.args == ["/bin/x"])
        }),
        (&["--entrypoint", ""], |c| c.entrypoint.as_ref().is_some_and(|e| e.args.is_empty())),
        (&["--read-only"], |c| c.read_only_rootfs),
        (&["-v", "data:/data:ro"], |c| c.mounts[0].source == "data" && c.mounts[0].read_only),
        (&["--mount", "type=volume,dst=/x"], |c| c.mounts[0].target == "/x"),
        (&["--tmpfs", "/run:size=1m"], |c| c.mounts[0].tmpfs_options == "size=1m"),
        (&["--volumes-from", "web:ro"], |c| c.volumes_from == ["web:ro"]),
        (&["--volume-driver", "local"], |c| c.volume_driver == "local"),
        (&["--shm-size", "1m"], |c| c.shm_size_bytes == 1 << 20),
        (&["--cap-add", "NET_ADMIN", "--cap-add", "ALL"], |c| c.cap_add == ["NET_ADMIN", "ALL"]),
        (&["--cap-drop", "ALL"], |c| c.cap_drop == ["ALL"]),
        (&["--privileged"], |c| c.privileged),
        (&["-l", "a=b", "--label", "c"], |c| c.labels["a"] == "b" && c.labels["c"].is_empty()),
        (&["--stop-signal", "INT"], |c| c.stop_signal == "INT"),
        (&["--stop-timeout", "3"], |c| c.stop_timeout_seconds == Some(3)),
        (&["--ulimit", "nofile=1:2"], |c| c.ulimits[0].soft == 1 && c.ulimits[0].hard == 2),
        (&["--group-add", "audio"], |c| c.group_add == ["audio"]),
        (&["--security-opt", "no-new-privileges"], |c| c.security_opts == ["no-new-privileges"]),
        (&["--network", "none"], |c| network(c).endpoints[0].network == "none"),
        (&["--net", "a", "--network", "b"], |c| network(c).endpoints[1].network == "b"),
        (&["-p", "127.0.0.1:8080:80/udp"], |c| {
            let port = &c.ports[0];
            port.host_ip == "127.0.0.1" && port.host_port == 8080 && port.container_port == 80
        }),
        (&["-P"], |c| c.publish_all_ports),
        (&["--expose", "53/udp"], |c| c.exposed_ports == ["53/udp"]),
        (&["--network-alias", "x"], |c| network(c).endpoints[0].aliases == ["x"]),
        (&["--ip", "10.1.0.9"], |c| network(c).endpoints[0].ipv4_address == "10.1.0.9"),
        (&["--ip6", "fd00::9"], |c| network(c).endpoints[0].ipv6_address == "fd00::9"),
        (&["--mac-address", "02:42:00:00:00:01"], |c| {
            network(c).endpoints[0].mac_address == "02:42:00:00:00:01"
        }),
        (&["--dns", "9.9.9.9"], |c| network(c).dns_servers == ["9.9.9.9"]),
        (&["--dns-search", "a.b"], |c| network(c).dns_search == ["a.b"]),
        (&["--dns-option", "ndots:2"], |c| network(c).dns_options == ["ndots:2"]),
        (&["--add-host", "a:host-gateway"], |c| network(c).extra_hosts == ["a:host-gateway"]),
        (&["--restart", "on-failure:3"], |c| {
            c.restart_policy
                .as_ref()
                .is_some_and(|p| p.name == "on-failure" && p.maximum_retry_count == 3)
        }),
        (&["--health-cmd", "curl x"], |c| {
            c.healthcheck.as_ref().is_some_and(|h| h.test == ["CMD-SHELL", "curl x"])
        }),
        (&["--health-interval", "2s"], |c| {
            c.healthcheck.as_ref().is_some_and(|h| h.interval_nanos == 2_000_000_000)
        }),
        (&["--health-timeout", "500ms"], |c| {
            c.healthcheck.as_ref().is_some_and(|h| h.timeout_nanos == 500_000_000)
        }),
        (&["--health-start-period", "1m"], |c| {
            c.healthcheck.as_ref().is_some_and(|h| h.start_period_nanos == 60_000_000_000)
        }),
        (&["--health-start-interval", "1s"], |c| {
            c.healthcheck.as_ref().is_some_and(|h| h.start_interval_nanos == 1_000_000_000)
        }),
        (&["--health-retries", "5"], |c| c.healthcheck.as_ref().is_some_and(|h| h.retries == 5)),
        (&["--no-healthcheck"], |c| c.healthcheck.as_ref().is_some_and(|h| h.test == ["NONE"])),
        (&["--init"], |c| c.init),
        (&["--init=false"], |c| !c.init),
        (&["--oom-score-adj", "-500"], |c| c.oom_score_adj == Some(-500)),
        (&["--pull", "never"], |c| c.image == "busybox"),
    ];
    for (flags, check) in table {
        let line: Vec<&str> = flags.iter().chain(&["busybox"]).copied().collect();
        assert!(check(&config(&line)), "{flags:?}");
    }
    let limit =
        |flags: &[&str]| config(&[flags, &["busybox"]].concat()).resources.expect("always sent");
    assert_eq!(limit(&["-m", "512m"]).memory_bytes, 512 << 20);
    assert_eq!(limit(&["--memory-swap", "-1"]).memory_swap_bytes, -1);
    assert_eq!(limit(&["--memory-reservation", "1g"]).memory_reservation_bytes, 1 << 30);
    assert_eq!(limit(&["--cpus", "1.5"]).nano_cpus, 1_500_000_000);
    assert_eq!(limit(&["-c", "512"]).cpu_shares, 512);
    assert_eq!(limit(&["--cpu-shares", "512"]).cpu_shares, 512);
    assert_eq!(limit(&["--cpuset-cpus", "0-1"]).cpuset_cpus, "0-1");
    assert_eq!(limit(&["--cpuset-mems", "0"]).cpuset_mems, "0");
    assert_eq!(limit(&["--pids-limit", "-1"]).pids_limit, -1);
}

#[test]
fn everything_after_the_image_is_the_commands() {
    let config = config(&["--rm", "busybox", "ls", "-la", "--name", "x", "--", "-it", "--help"]);
    assert_eq!(config.image, "busybox");
    assert_eq!(config.command, ["ls", "-la", "--name", "x", "--", "-it", "--help"]);
    let Ok(Verb::Exec(_)) = parse(&["exec", "-it", "web", "sh", "-c", "exit 3"]).map(|c| c.command)
    else {
        panic!("exec was not understood");
    };
    assert!(matches(&["exec", "web"]).is_err(), "a command is required");
}

#[test]
fn streams_follow_the_flags() {
    let streams = |line: &[&str]| {
        let streams = run_of(line).container.streams();
        (streams.stdin, streams.stdout, streams.stderr)
    };
    assert_eq!(streams(&["busybox"]), (false, true, true));
    assert_eq!(streams(&["-i", "busybox"]), (true, true, true));
    assert_eq!(streams(&["-a", "STDOUT", "busybox"]), (false, true, false));
    assert_eq!(streams(&["-a", "stdin", "-a", "stderr", "busybox"]), (true, false, true));
}

#[test]
fn every_refused_flag_is_named_in_its_refusal() {
    for flag in refused::FLAGS {
        for verb in flag.verbs {
            let long = format!("--{}", flag.long);
            let mut line = vec![*verb, &long];
            if flag.takes_value {
                line.push("x");
            }
            line.extend(["a", "b"].iter().take(match *verb {
                "ps" => 0,
                "images" => 1,
                "import" => 2,
                _ => 1,
            }));
            let error = parse(&line).expect_err("refused");
            let Error::Failure(failure) = error else { panic!("{line:?}: {error:?}") };
            assert_eq!(failure.code, ErrorCode::Unsupported, "{line:?}");
            assert!(failure.message.contains(&long), "{line:?}: {}", failure.message);
            assert!(failure.message.contains(flag.why), "{line:?}: {}", failure.message);
        }
    }
}

#[test]
fn a_short_refused_flag_and_one_after_others_are_refused_too() {
    for line in [
        &["run", "--gpus", "all", "busybox"][..],
        &["rm", "-fl", "web"],
        &["container", "run", "--gpus", "all", "busybox"],
        &["run", "--runtime", "runc", "busybox"],
        &["build", "--provenance", "."],
        &["build", "--provenance=mode=max", "."],
        &["builder", "build", "--squash", "."],
        &["image", "build", "--sbom=true", "."],
    ] {
        assert!(matches!(parse(line), Err(Error::Failure(_))), "{line:?}");
    }
    // Without them is how it is anyway.
    assert!(parse(&["build", "--provenance=false", "--sbom=false", "--squash=false", "."]).is_ok());
    // The command's own flags are none of ours.
    assert!(parse(&["run", "busybox", "-p", "80"]).is_ok());
    assert!(parse(&["image", "ls", "--tree"]).is_err());
    assert!(matches(&["image", "ls", "--size"]).is_err());
    assert!(matches(&["machine", "list", "--size"]).is_err());
}

#[test]
fn values_that_cannot_be_done_yet_are_refused_by_name() {
    let flag = "--disable-content-trust=false";
    let Err(Error::Failure(failure)) = run_of(&[flag, "busybox"]).container.config(true) else {
        panic!("{flag} was not refused");
    };
    assert_eq!(failure.code, ErrorCode::Unsupported);
    assert!(failure.message.contains(flag), "{}", failure.message);
    // What is asked for is what is done anyway.
    for flag in ["--disable-content-trust", "--disable-content-trust=true"] {
        assert!(run_of(&[flag, "busybox"]).container.config(true).is_ok(), "{flag}");
    }
    for line in [
        &["--restart", "always", "--rm", "busybox"][..],
        &["--no-healthcheck", "--health-retries", "1", "busybox"],
    ] {
        assert!(run_of(line).container.config(true).is_err(), "{line:?}");
    }
    assert!(run_of(&["--restart", "no", "--rm", "busybox"]).container.config(true).is_ok());
}

#[test]
fn an_unknown_flag_is_an_error_with_a_suggestion() {
    let error = matches(&["run", "--privileges", "busybox"]).expect_err("unknown");
    assert_eq!(error.kind(), ErrorKind::UnknownArgument);
    assert!(error.to_string().contains("--privileged"), "{error}");
    let error = matches(&["rum"]).expect_err("unknown");
    assert!(error.to_string().contains("run"), "{error}");
}

#[test]
fn the_other_verbs_take_dockers_flags() {
    for line in [
        "start -a -i web",
        "start --attach --detach-keys ctrl-a web",
        "stop -t 3 -s INT a b",
        "stop --time 3 a",
        "kill -s HUP a",
        "kill --signal=9 a b",
        "rm -f -v a b",
        "rm -fv a",
        "ps -a -q --no-trunc",
        "ps -n -1",
        "ps --last=-1",
        "ps -n 3 --filter status=exited --filter name=x",
        "ps -l --format json",
        "ps -aq",
        "ps -as --format {{.Size}}",
        "inspect --size --type volume a",
        "inspect -s --type network a",
        "container inspect -s a",
        "container list",
        "image list",
        "image remove x",
        "image prune -a -f --filter until=24h",
        "system df -v --format json",
        "system prune -a -f --volumes --filter label=x",
        "system events --since 10m",
        "system info",
        "exec -i -t -d -e A=1 --env-file f -u 0 -w / --privileged web id -u",
        "logs -f --tail 3 --since 10m --until 1m -t web",
        "logs -n all web",
        "logs --tail -1 web",
        "attach --no-stdin --sig-proxy=false --detach-keys a,b web",
        "wait a b",
        "pause a b",
        "unpause a b",
        "restart -t 3 -s INT a b",
        "rename a b",
        "update -m 64m --memory-swap -1 --cpus 1.5 --pids-limit -1 --restart on-failure:2 a b",
        "top web",
        "top web -ef",
        "stats",
        "stats -a --no-stream --no-trunc --format json a b",
        "events --since 10m --until 1m -f event=die --filter container=x --format json",
        "container prune -f --filter until=24h",
        "container restart web",
        "container stats --no-stream",
        "inspect -f {{.Id}} --type container a b",
        "images -a -q --no-trunc --digests --filter reference=busy* busybox",
        "rmi -f a b",
        "tag a b",
        "pull busybox",
        "pull -q --platform linux/arm64 host:5000/a/b@sha256:00",
        "pull --all-tags busybox",
        "image pull -a busybox",
        "push host:5000/app:1",
        "image push -a -q --platform linux/amd64 host:5000/app",
        "login",
        "login -u someone --password-stdin host:5000",
        "login -u someone -p x",
        "logout",
        "logout host:5000",
        "search --limit 3 --no-trunc -f is-official=true --filter stars=3 --format json box",
        "registry show --format {{.Mirrors}}",
        "registry set --mirror https://a --mirror http://b:5000/x,authoritative --insecure h:5000",
        "registry set --no-mirror https://a --no-insecure h --ca f --no-ca g --parallel-uploads 2",
        "registry set --http-proxy http://p:1 --https-proxy= --no-proxy a,b",
        "save -o f --format oci a b",
        "image save --output f --platform linux/amd64 --format docker a",
        "load -i f -q --platform linux/arm64",
        "load --input f",
        "import - name:tag -c CMD=sh -m text",
        "import f --change ENV=1",
        "version --format json",
        "info -f {{.Host.Kernel}}",
        "container run -it --rm busybox",
        "container ls -a",
        "container ps",
        "container rm -f x",
        "image ls -q",
        "image rm -f x",
        "image rm --no-prune x",
        "image history -q --no-trunc x",
        "history --human=false --format json x",
        "history -H x",
        "image inspect x",
        "machine init dev --cpus 2 --memory 2g --disk 64 --kernel lean --accelerator tcg --now",
        "machine start dev",
        "machine stop dev --force -t 5",
        "machine status",
        "machine ls -q",
        "machine list --format json",
        "machine set --cpus 4",
        "machine rm -f dev",
        "machine logs -f --tail 5",
        "machine shell",
        "machine shell dev -- ls -la /",
        "system restart",
        "system stop-daemon --machines",
        "--machine dev ps",
        "ps --machine dev",
        "run --sig-proxy=false --cidfile f --detach-keys ctrl-x -q busybox",
        "tour --stop",
        "completion zsh",
        "man --out d",
    ] {
        let words: Vec<&str> = line.split(' ').collect();
        assert!(parse(&words).is_ok(), "{line}");
    }
    for line in ["ps -n 3 -l", "stop", "kill", "logs", "machine rm", "completion csh", "run"] {
        let words: Vec<&str> = line.split(' ').collect();
        assert!(matches(&words).is_err(), "{line}");
    }
}

#[test]
fn only_run_and_exec_have_dockers_exit_codes() {
    for (line, expected) in [
        (&["run", "x"][..], true),
        (&["container", "run", "x"], true),
        (&["exec", "x", "y"], true),
        (&["start", "-a", "x"], false),
        (&["machine", "start"], false),
    ] {
        assert_eq!(runs_a_program(&matches(line).expect("valid")), expected, "{line:?}");
    }
}

#[test]
fn completions_and_manual_pages_are_generated() {
    for shell in ["bash", "zsh", "fish", "powershell", "elvish"] {
        let shell: clap_complete::Shell = shell.parse().expect("a shell");
        let mut out = Vec::new();
        clap_complete::generate(shell, &mut command(), "linkspan", &mut out);
        let text = String::from_utf8(out).expect("UTF-8");
        assert!(text.contains("pids-limit"), "{shell}");
    }
    let mut page = Vec::new();
    clap_mangen::Man::new(command()).render(&mut page).expect("rendered");
    assert!(!page.is_empty());
}
