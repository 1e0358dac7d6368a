//! Commands and what is mounted for them.

use std::fs;

use crate::bench::Bench;

#[test]
fn mount_points_are_no_part_of_a_layer() {
    let mut bench = Bench::new();
    bench.run.secrets.insert("key".into(), b"hush".to_vec());
    let text = "FROM base\nRUN --mount=type=secret,id=key --mount=type=cache,target=/cache/deep \
                --mount=type=tmpfs,target=/mem write /made x\n";
    let done = bench.build(text);
    assert_eq!(done.names("/"), ["etc", "made", "run", "tmp", "var"]);
    assert_eq!(done.names("/etc"), ["group", "passwd"]);
    assert!(done.names("/run").is_empty());
    assert_eq!(done.stat("/etc").unwrap().3, 1_000_000);
}

#[test]
fn mounts_are_in_the_order_of_the_instruction_whichever_are_missing() {
    let bench = Bench::new();
    bench.file("f", "x");
    bench.build(
        "FROM base\nRUN --mount=type=secret,id=none,target=/s --mount=type=tmpfs,target=/m \
         --mount=source=f,target=/m/f --mount=type=ssh --mount=type=cache,target=/m/c true\n",
    );
    let points = bench.played.points.lock().unwrap();
    let own: Vec<_> = points.iter().filter(|point| point.starts_with("/m")).collect();
    assert_eq!(own, ["/m", "/m/f", "/m/c"]);
}

#[test]
fn a_secret_is_read_and_is_nowhere_in_the_image() {
    let mut bench = Bench::new();
    bench.run.secrets.insert("key".into(), b"hush".to_vec());
    let text =
        "FROM base\nRUN --mount=type=secret,id=key,target=/s,env=KEY read /s seen && env KEY env\n";
    let done = bench.build(text);
    assert_eq!(
        (done.text("/seen").unwrap(), done.text("/env").unwrap()),
        ("hush".into(), "hush".into())
    );
    assert!(!done.config.to_string().contains("hush"));
    bench.run.secrets.clear();
    let error = bench.fails("FROM base\nRUN --mount=type=secret,id=other,required=true true\n");
    assert!(error.contains("`other` is required"), "{error}");
}

#[test]
fn an_ssh_agent_is_a_socket_while_its_command_runs_and_goes_with_it() {
    let mut bench = Bench::new();
    bench.run.ssh.insert("default".into());
    let done = bench.build(
        "FROM base\nRUN --mount=type=ssh,mode=660,uid=7,gid=8 \
         socket /run/buildkit/ssh_agent.0 seen && env SSH_AUTH_SOCK env\n\
         RUN --mount=type=ssh,id=other env SSH_AUTH_SOCK none\n",
    );
    assert_eq!(done.text("/seen").unwrap(), "660 7");
    assert_eq!(done.text("/env").unwrap(), "/run/buildkit/ssh_agent.0");
    assert_eq!(done.text("/none").unwrap(), "");
    assert_eq!(*bench.played.agents.lock().unwrap(), ["default"]);
    let socket = bench.played.mounts.lock().unwrap()["/run/buildkit/ssh_agent.0"].clone();
    assert!(!socket.exists(), "{} stays behind", socket.display());
    assert_eq!(done.names("/run"), Vec::<String>::new());
    let error = bench.fails("FROM base\nRUN --mount=type=ssh,id=other,required=true true\n");
    assert!(error.contains("SSH agent `other` is required"), "{error}");
}

#[test]
fn a_cache_mount_outlives_the_build() {
    let bench = Bench::new();
    let run = |n| format!("FROM base\nRUN --mount=type=cache,id=c,target=/c keep /c {n}\n");
    bench.build(&run(1));
    let done = bench.build(&run(2));
    assert!(!done.names("/").contains(&"c".to_owned()));
    let kept = bench.played.mounts.lock().unwrap()["/c"].join("kept");
    assert_eq!(fs::read_to_string(kept).unwrap(), "12");
}

#[test]
fn a_bind_mount_shows_files_of_elsewhere() {
    let bench = Bench::new();
    bench.file("d/f", "from the context");
    let text = "FROM base AS one\nRUN write /o/f staged\nFROM base\n\
                RUN --mount=target=/d,source=d/f read /d a\n\
                RUN --mount=from=one,source=/o/f,target=/o read /o b\n";
    let done = bench.build(text);
    assert_eq!(done.text("/a").unwrap(), "from the context");
    assert_eq!(done.text("/b").unwrap(), "staged");
}

#[test]
fn a_command_that_fails_is_told_with_its_code_and_keeps_nothing() {
    let bench = Bench::new();
    let failure = bench.try_build("FROM base\nENV A=1\nRUN fail\n").err().unwrap();
    assert_eq!(failure.step, 1);
    let text = failure.error.to_string();
    assert_eq!(text, "process \"/bin/sh -c fail\" did not complete successfully: exit code: 3");
    assert!(bench.try_build("FROM base\nENV A=1\nRUN fail\n").is_err());
    assert_eq!(bench.played.ran.lock().unwrap().len(), 2);
}
