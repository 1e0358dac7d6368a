//! runtime.md: state, create, start, kill, delete.

use std::fs;

use serde_json::json;

use crate::bench::Bench;
use crate::{Case, Verdict};

pub(crate) const CASES: &[Case] = &[
    ("the_state_has_what_it_must_have", the_state_has_what_it_must_have),
    ("a_command_without_an_id_is_an_error", a_command_without_an_id_is_an_error),
    ("a_container_that_does_not_exist_is_an_error", a_container_that_does_not_exist_is_an_error),
    ("create_without_a_configuration_is_an_error", create_without_a_configuration_is_an_error),
    ("an_id_is_used_once", an_id_is_used_once),
    ("an_invalid_id_is_an_error", an_invalid_id_is_an_error),
    ("create_ends_in_created_and_runs_nothing", create_ends_in_created_and_runs_nothing),
    ("create_writes_the_pid_file", create_writes_the_pid_file),
    ("a_later_change_of_the_configuration_is_without_effect", a_later_change_is_without_effect),
    ("a_failed_create_leaves_nothing", a_failed_create_leaves_nothing),
    ("start_runs_the_program", start_runs_the_program),
    ("a_second_start_is_an_error_without_effect", a_second_start_is_an_error_without_effect),
    ("start_says_why_the_program_cannot_be_executed", start_says_why),
    ("kill_sends_the_signal_that_it_is_given", kill_sends_the_signal),
    ("kill_reaches_a_created_container", kill_reaches_a_created_container),
    ("kill_all_reaches_every_process", kill_all_reaches_every_process),
    ("a_signal_to_a_stopped_container_is_an_error", a_signal_to_a_stopped_container_is_an_error),
    ("an_ended_program_is_stopped", an_ended_program_is_stopped),
    ("a_container_that_has_not_stopped_is_not_deleted", what_has_not_stopped_is_not_deleted),
    ("delete_undoes_create_and_frees_the_id", delete_undoes_create_and_frees_the_id),
    ("delete_force_ends_a_running_container", delete_force_ends_a_running_container),
    ("run_ends_with_the_code_of_the_program", run_ends_with_the_code_of_the_program),
    ("list_has_every_container", list_has_every_container),
    ("features_are_json_with_versions", features_are_json_with_versions),
    ("preserved_descriptors_begin_at_3", preserved_descriptors_begin_at_3),
];

fn the_state_has_what_it_must_have(bench: &Bench) -> Verdict {
    let bundle = bench.bundle("true", |c| c["annotations"] = json!({ "org.example.key": "value" }));
    let _ = bundle.create().ok();
    let state = bundle.state().unwrap();
    assert_eq!(state["ociVersion"], "1.0.2");
    assert_eq!(state["id"], bundle.id);
    assert_eq!(state["status"], "created");
    let pid = state["pid"].as_i64().unwrap();
    assert!(fs::metadata(format!("/proc/{pid}")).is_ok(), "{pid}");
    assert_eq!(state["bundle"], bundle.folder.canonicalize().unwrap().to_str().unwrap());
    assert_eq!(state["annotations"], json!({ "org.example.key": "value" }));
    Verdict::Passed
}

fn a_command_without_an_id_is_an_error(bench: &Bench) -> Verdict {
    for command in ["state", "create", "start", "kill", "delete"] {
        bench.oci(&[command]).fails("ID");
    }
    Verdict::Passed
}

fn a_container_that_does_not_exist_is_an_error(bench: &Bench) -> Verdict {
    for command in ["state", "start", "kill", "delete"] {
        bench.oci(&[command, "nobody"]).fails("nobody");
    }
    Verdict::Passed
}

fn create_without_a_configuration_is_an_error(bench: &Bench) -> Verdict {
    let bundle = bench.bundle("true", |_| {});
    fs::remove_file(bundle.path("config.json")).unwrap();
    bundle.create().fails("config.json");
    bench.oci(&["create", "--bundle", "/no/such/bundle", "x"]).fails("/no/such/bundle");
    Verdict::Passed
}

fn an_id_is_used_once(bench: &Bench) -> Verdict {
    let bundle = bench.bundle("true", |_| {});
    let _ = bundle.create().ok();
    let before = bundle.state();
    let folder = bundle.folder.to_str().unwrap();
    bench.oci(&["create", "--bundle", folder, &bundle.id]).fails(&bundle.id);
    assert_eq!(bundle.state(), before);
    Verdict::Passed
}

fn an_invalid_id_is_an_error(bench: &Bench) -> Verdict {
    let bundle = bench.bundle("true", |_| {});
    let folder = bundle.folder.to_str().unwrap();
    for id in ["", "..", "a/b", "a b"] {
        bench.oci(&["create", "--bundle", folder, id]).fails("ID");
    }
    Verdict::Passed
}

fn create_ends_in_created_and_runs_nothing(bench: &Bench) -> Verdict {
    let bundle = bench.bundle("touch /ran", |_| {});
    let _ = bundle.create().ok();
    assert_eq!(bundle.status(), "created");
    assert!(!bundle.path("rootfs/ran").exists());
    let _ = bundle.start().ok();
    bundle.stopped();
    assert!(bundle.path("rootfs/ran").exists());
    Verdict::Passed
}

fn create_writes_the_pid_file(bench: &Bench) -> Verdict {
    let bundle = bench.bundle("true", |_| {});
    let file = bundle.path("pid");
    let _ = bundle.oci("create", &["--pid-file", file.to_str().unwrap()]).ok();
    assert_eq!(fs::read_to_string(file).unwrap(), bundle.pid().to_string());
    Verdict::Passed
}

fn a_later_change_is_without_effect(bench: &Bench) -> Verdict {
    let bundle = bench.bundle("echo first", |_| {});
    let _ = bundle.create().ok();
    bundle.write(&json!({ "ociVersion": "1.0.2" }));
    let _ = bundle.start().ok();
    bundle.stopped();
    assert_eq!(bundle.said(), "first\n");
    Verdict::Passed
}

fn a_failed_create_leaves_nothing(bench: &Bench) -> Verdict {
    let cgroup = "linkspan-test-oci-failed/inner";
    bench.refuses("no-such-file-system", |c| {
        c["linux"]["cgroupsPath"] = json!(format!("/{cgroup}"));
        crate::bench::push(
            &mut c["mounts"],
            json!({ "destination": "/x", "type": "no-such-file-system", "source": "x" }),
        );
    });
    assert!(!bench.cgroups.join("linkspan-test-oci-failed").exists(), "a cgroup is left");
    Verdict::Passed
}

fn start_runs_the_program(bench: &Bench) -> Verdict {
    let bundle = bench.bundle("echo up; exec sleep 1000", |_| {}).started();
    bundle.has_said("up");
    assert_eq!(bundle.status(), "running");
    Verdict::Passed
}

fn a_second_start_is_an_error_without_effect(bench: &Bench) -> Verdict {
    let bundle = bench.bundle("echo up; exec sleep 1000", |_| {}).started();
    bundle.has_said("up");
    let before = bundle.state();
    bundle.start().fails("running");
    assert_eq!(bundle.state(), before);
    let _ = bundle.kill("KILL").ok();
    bundle.stopped().start().fails("stopped");
    Verdict::Passed
}

fn start_says_why(bench: &Bench) -> Verdict {
    let bundle = bench.bundle("", |c| c["process"]["args"] = json!(["no-such-program"]));
    let _ = bundle.create().ok();
    bundle.start().fails("no-such-program");
    bundle.stopped();
    Verdict::Passed
}

fn kill_sends_the_signal(bench: &Bench) -> Verdict {
    let script = "trap 'echo one' USR1; trap 'echo two; exit 0' USR2; echo up; \
        while true; do sleep 0.01; done";
    let bundle = bench.bundle(script, |_| {}).started();
    bundle.has_said("up");
    let _ = bundle.kill("SIGUSR1").ok();
    bundle.has_said("one");
    let _ = bundle.kill("12").ok();
    bundle.stopped().has_said("two");
    bundle.kill("NOTHING").fails("NOTHING");
    Verdict::Passed
}

fn kill_reaches_a_created_container(bench: &Bench) -> Verdict {
    let bundle = bench.bundle("touch /ran", |_| {});
    let _ = bundle.create().ok();
    let _ = bundle.kill("KILL").ok();
    bundle.stopped();
    assert!(!bundle.path("rootfs/ran").exists());
    Verdict::Passed
}

fn kill_all_reaches_every_process(bench: &Bench) -> Verdict {
    let script = "(trap 'echo child; exit' USR1; echo in; while true; do sleep 0.01; done) & \
        trap 'echo parent' USR1; echo up; while true; do wait; sleep 0.01; done";
    let bundle = bench.bundle(script, |_| {}).started();
    bundle.has_said("up").has_said("in");
    let _ = bench.oci(&["kill", "--all", &bundle.id, "USR1"]).ok();
    bundle.has_said("child").has_said("parent");
    Verdict::Passed
}

fn a_signal_to_a_stopped_container_is_an_error(bench: &Bench) -> Verdict {
    let bundle = bench.bundle("true", |_| {}).started();
    bundle.stopped().kill("TERM").fails("stopped");
    assert_eq!(bundle.status(), "stopped");
    Verdict::Passed
}

fn an_ended_program_is_stopped(bench: &Bench) -> Verdict {
    let bundle = bench.bundle("exit 3", |_| {}).started();
    bundle.stopped();
    Verdict::Passed
}

fn what_has_not_stopped_is_not_deleted(bench: &Bench) -> Verdict {
    let bundle = bench.bundle("echo up; exec sleep 1000", |_| {});
    let _ = bundle.create().ok();
    bundle.delete().fails("created");
    let _ = bundle.start().ok();
    bundle.has_said("up").delete().fails("running");
    assert_eq!(bundle.status(), "running");
    Verdict::Passed
}

fn delete_undoes_create_and_frees_the_id(bench: &Bench) -> Verdict {
    // A process outside of the pid namespace's reach would hold the cgroup.
    let bundle = bench.bundle("sleep 1000 & echo up", |c| {
        crate::bench::without_namespace(c, "pid");
        c["linux"]["cgroupsPath"] = json!("/linkspan-test-oci-delete/inner");
    });
    let cgroup = bench.cgroups.join("linkspan-test-oci-delete/inner");
    let bundle = bundle.started();
    assert!(cgroup.exists());
    let _ = bundle.stopped().delete().ok();
    assert!(bundle.state().is_none() && !bench.root().join(&bundle.id).exists());
    assert!(!bench.cgroups.join("linkspan-test-oci-delete").exists(), "a cgroup is left");
    let _ = bundle.create().ok();
    Verdict::Passed
}

fn delete_force_ends_a_running_container(bench: &Bench) -> Verdict {
    let bundle = bench.bundle("echo up; exec sleep 1000", |_| {}).started();
    bundle.has_said("up");
    let _ = bench.oci(&["delete", "--force", &bundle.id]).ok();
    assert!(bundle.state().is_none());
    let _ = bench.oci(&["delete", "--force", &bundle.id]).ok();
    Verdict::Passed
}

fn run_ends_with_the_code_of_the_program(bench: &Bench) -> Verdict {
    let bundle = bench.bundle("echo out; exit 7", |_| {});
    let done = bundle.run();
    assert_eq!((done.code, done.out.as_str()), (7, "out\n"), "{done:?}");
    assert!(bundle.state().is_none());
    Verdict::Passed
}

fn list_has_every_container(bench: &Bench) -> Verdict {
    let (one, two) = (bench.bundle("true", |_| {}), bench.bundle("true", |_| {}));
    let _ = (one.create().ok(), two.create().ok());
    let quiet = bench.oci(&["list", "--quiet"]).ok().out;
    for id in [&one.id, &two.id] {
        assert!(quiet.lines().any(|line| line == id), "{quiet}");
    }
    let json = bench.oci(&["list", "--format", "json"]).ok().out;
    let list: serde_json::Value = serde_json::from_str(&json).unwrap();
    let one_of = list.as_array().unwrap().iter().find(|state| state["id"] == one.id).unwrap();
    assert_eq!(one_of["status"], "created");
    Verdict::Passed
}

fn features_are_json_with_versions(bench: &Bench) -> Verdict {
    let features: serde_json::Value =
        serde_json::from_str(&bench.oci(&["features"]).ok().out).unwrap();
    assert_eq!(features["ociVersionMin"], "1.0.0");
    assert!(features["linux"]["cgroup"]["v2"].as_bool().unwrap());
    assert!(features["mountOptions"].as_array().unwrap().contains(&json!("rro")));
    bench.oci(&["--systemd-cgroup", "list"]).fails("--systemd-cgroup");
    Verdict::Passed
}

fn preserved_descriptors_begin_at_3(bench: &Bench) -> Verdict {
    let bundle = bench.bundle("cat <&3; ls /proc/self/fd | wc -l", |_| {});
    fs::write(bundle.path("input"), "passed on\n").unwrap();
    let (root, folder) = (bench.root(), bundle.folder.display());
    let mut line = String::new();
    for word in bench.command(&[]).get_args().collect::<Vec<_>>() {
        line.push_str(&format!(" {}", word.to_str().unwrap()));
    }
    let program = bench.command(&[]).get_program().to_str().unwrap().to_owned();
    let script = format!(
        "exec 3<{folder}/input; exec 9</dev/null; {program}{line} run --preserve-fds 1 \
         --bundle {folder} {}",
        bundle.id
    );
    assert!(line.contains(root.to_str().unwrap()));
    let output = std::process::Command::new("/bin/busybox").args(["sh", "-c", &script]).output();
    let output = output.unwrap();
    // 0, 1, 2, 3 and the folder that `ls` reads.
    let said = String::from_utf8_lossy(&output.stdout).into_owned();
    assert_eq!(said, "passed on\n5\n", "{}", String::from_utf8_lossy(&output.stderr));
    bundle.oci("create", &["--preserve-fds", "59"]).fails("--preserve-fds");
    Verdict::Passed
}
