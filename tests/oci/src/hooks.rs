//! config.md, "POSIX-platform Hooks", and their places in runtime.md, "Lifecycle".

use std::fs;
use std::path::Path;

use serde_json::{Value, json};

use crate::bench::{Bench, own_namespace};
use crate::{Case, Verdict};

pub(crate) const CASES: &[Case] = &[
    ("every_hook_is_run_in_its_turn_with_the_state", every_hook_is_run_in_its_turn),
    ("hooks_run_in_the_namespaces_that_are_theirs", hooks_run_in_their_namespaces),
    ("create_container_hooks_see_the_mounts_and_the_machine", create_container_hooks_see_both),
    ("start_container_hooks_are_the_containers_programs", start_container_hooks_are_inside),
    ("hooks_have_their_arguments_and_environment_only", hooks_have_their_environment_only),
    ("a_failed_create_runtime_hook_ends_the_creation", a_failed_create_runtime_hook_ends_it),
    ("a_failed_create_container_hook_ends_the_creation", a_failed_create_container_hook_ends_it),
    ("a_failed_start_container_hook_ends_the_container", a_failed_start_container_hook_ends_it),
    ("failed_poststart_and_poststop_hooks_are_warnings", failed_late_hooks_are_warnings),
    ("a_hook_that_takes_too_long_is_an_error", a_hook_that_takes_too_long_is_an_error),
    ("a_hook_needs_an_absolute_path_and_a_sound_timeout", a_hook_needs_an_absolute_path),
];

/// A hook that is a shell script of the machine.
fn shell(script: &str) -> Value {
    json!({ "path": "/bin/busybox", "args": ["sh", "-c", script] })
}

fn every_hook_is_run_in_its_turn(bench: &Bench) -> Verdict {
    let bundle = bench.bundle("touch /program", |_| {});
    let log = bundle.path("log");
    let log = log.to_str().unwrap();
    let note = |name: &str| shell(&format!("echo {name} >> {log}; cat >> {log}; echo >> {log}"));
    let mut config: Value =
        serde_json::from_str(&fs::read_to_string(bundle.path("config.json")).unwrap()).unwrap();
    fs::copy("/bin/busybox", bundle.path("rootfs/busybox")).unwrap();
    let inside = json!({ "path": "/busybox", "args": ["sh", "-c",
        "echo startContainer > /log; cat >> /log"] });
    config["hooks"] = json!({
        "prestart": [note("prestart"), note("second")],
        "createRuntime": [note("createRuntime")],
        "createContainer": [note("createContainer")],
        "startContainer": [inside],
        "poststart": [note("poststart")],
        "poststop": [note("poststop")]
    });
    bundle.write(&config);
    let _ = bundle.create().ok();
    let pid = bundle.pid();
    assert!(!bundle.path("rootfs/log").exists(), "startContainer belongs to the start");
    let _ = bundle.start().ok();
    let _ = bundle.stopped().delete().ok();
    let text = fs::read_to_string(log).unwrap();
    let inside = fs::read_to_string(bundle.path("rootfs/log")).unwrap();
    let mut seen = Vec::new();
    for pair in text.lines().chain(inside.lines()).collect::<Vec<_>>().chunks(2) {
        let state: Value = serde_json::from_str(pair[1]).unwrap_or_else(|e| panic!("{e}: {text}"));
        assert_eq!(state["id"], bundle.id);
        assert_eq!(state["bundle"], bundle.folder.canonicalize().unwrap().to_str().unwrap());
        if state["status"] != "stopped" {
            assert_eq!(state["pid"], pid, "{}", pair[0]);
        }
        seen.push((pair[0], state["status"].as_str().unwrap().to_owned()));
    }
    let seen: Vec<_> = seen.iter().map(|(name, status)| (*name, status.as_str())).collect();
    let expected = [
        ("prestart", "creating"),
        ("second", "creating"),
        ("createRuntime", "creating"),
        ("createContainer", "creating"),
        ("poststart", "running"),
        ("poststop", "stopped"),
        ("startContainer", "created"),
    ];
    assert_eq!(seen, expected);
    Verdict::Passed
}

fn hooks_run_in_their_namespaces(bench: &Bench) -> Verdict {
    let bundle = bench.bundle("exec sleep 1000", |_| {});
    let folder = bundle.folder.to_str().unwrap().to_owned();
    let note = |name: &str| {
        let kinds = "for k in mnt net uts; do readlink /proc/self/ns/$k; done";
        shell(&format!("({kinds}) > {folder}/{name}"))
    };
    let mut config: Value =
        serde_json::from_str(&fs::read_to_string(bundle.path("config.json")).unwrap()).unwrap();
    let with_path = |mut hook: Value| {
        hook["env"] = json!(["PATH=/bin:/usr/bin:/sbin"]);
        hook
    };
    config["hooks"] = json!({
        "createRuntime": [with_path(note("runtime"))],
        "createContainer": [with_path(note("container"))],
        "poststart": [with_path(note("late"))]
    });
    bundle.write(&config);
    let bundle = bundle.started();
    let read = |name: &str| fs::read_to_string(bundle.path(name)).unwrap();
    let text = |of: &dyn Fn(&str) -> std::path::PathBuf| {
        ["mnt", "net", "uts"].map(|kind| format!("{}\n", of(kind).display())).concat()
    };
    assert_eq!(read("runtime"), text(&own_namespace));
    assert_eq!(read("late"), text(&own_namespace));
    assert_eq!(read("container"), text(&|kind| bundle.namespace(kind)));
    Verdict::Passed
}

fn create_container_hooks_see_both(bench: &Bench) -> Verdict {
    let bundle = bench.bundle("cat /dev/shm/from-hook", |_| {});
    let folder = bundle.folder.to_str().unwrap();
    let script = format!("echo seen > {folder}/rootfs/dev/shm/from-hook");
    let mut config: Value =
        serde_json::from_str(&fs::read_to_string(bundle.path("config.json")).unwrap()).unwrap();
    config["hooks"] = json!({ "createContainer": [shell(&script)] });
    bundle.write(&config);
    assert_eq!(bundle.run().ok().out, "seen\n");
    assert!(!bundle.path("rootfs/dev/shm/from-hook").exists(), "the mount was the container's");
    Verdict::Passed
}

fn start_container_hooks_are_inside(bench: &Bench) -> Verdict {
    let said = bench.says("cat /mark", |c| {
        c["hooks"] = json!({ "startContainer": [
            { "path": "/bin/sh", "args": ["sh", "-c", "echo $PPID-$(hostname) > /mark"],
              "env": ["PATH=/bin"] }
        ] });
        c["hostname"] = json!("inside");
    });
    assert_eq!(said, "1-inside\n");
    Verdict::Passed
}

fn hooks_have_their_environment_only(bench: &Bench) -> Verdict {
    // Busybox is what its name says: the first argument is the hook's, not its path.
    let said = bench.says("cat /mark", |c| {
        c["hooks"] = json!({ "startContainer": [
            { "path": "/bin/busybox", "args": ["sh", "-c", "/bin/env > /mark; echo $1 >> /mark",
                "zero", "one"], "env": ["A=b=c"] }
        ] });
    });
    assert!(said.contains("A=b=c\n") && said.ends_with("one\n"), "{said}");
    assert!(!said.contains("HOME="), "{said}");
    Verdict::Passed
}

/// A bundle whose hooks of one kind fail, and whose `poststop` leaves a mark.
fn with_failing<'a>(bench: &'a Bench, kind: &str) -> crate::bench::Bundle<'a> {
    let bundle = bench.bundle("touch /ran; exec sleep 1000", |_| {});
    let mark = bundle.path("poststop");
    let mut config: Value =
        serde_json::from_str(&fs::read_to_string(bundle.path("config.json")).unwrap()).unwrap();
    let failing = json!({ "path": "/bin/busybox", "args": ["sh", "-c", "echo why >&2; exit 1"] });
    config["hooks"] = json!({ "poststop": [shell(&format!("cat > {}", mark.display()))] });
    let inside = json!({ "path": "/bin/busybox", "args": ["false"] });
    config["hooks"][kind] = json!([if kind == "startContainer" { inside } else { failing }]);
    bundle.write(&config);
    bundle
}

fn gone(bench: &Bench, bundle: &crate::bench::Bundle<'_>) {
    assert!(bundle.state().is_none() && !bench.root().join(&bundle.id).exists());
    assert!(!bundle.path("rootfs/ran").exists(), "the program was run");
    let state = fs::read_to_string(bundle.path("poststop")).expect("poststop hooks are run");
    assert!(state.contains("\"stopped\""), "{state}");
}

fn a_failed_create_runtime_hook_ends_it(bench: &Bench) -> Verdict {
    for kind in ["prestart", "createRuntime"] {
        let bundle = with_failing(bench, kind);
        bundle.create().fails("why");
        gone(bench, &bundle);
    }
    Verdict::Passed
}

fn a_failed_create_container_hook_ends_it(bench: &Bench) -> Verdict {
    let bundle = with_failing(bench, "createContainer");
    bundle.create().fails("why");
    gone(bench, &bundle);
    Verdict::Passed
}

fn a_failed_start_container_hook_ends_it(bench: &Bench) -> Verdict {
    let bundle = with_failing(bench, "startContainer");
    let _ = bundle.create().ok();
    bundle.start().fails("/bin/busybox");
    gone(bench, &bundle);
    Verdict::Passed
}

fn failed_late_hooks_are_warnings(bench: &Bench) -> Verdict {
    let bundle = with_failing(bench, "poststart");
    let _ = bundle.create().ok();
    let started = bundle.start().ok();
    assert!(started.err.contains("why"), "{started:?}");
    assert_eq!(bundle.status(), "running");
    let bundle = bench.bundle("true", |c| {
        c["hooks"] = json!({ "poststop": [shell("exit 3"), shell("exit 4")] });
    });
    let done = bundle.run().ok();
    assert!(done.err.contains("exit code 3") && done.err.contains("exit code 4"), "{done:?}");
    Verdict::Passed
}

fn a_hook_that_takes_too_long_is_an_error(bench: &Bench) -> Verdict {
    bench.refuses("1 s", |c| {
        let mut hook = shell("exec /bin/busybox sleep 1000");
        hook["timeout"] = json!(1);
        c["hooks"] = json!({ "createRuntime": [hook] });
    });
    Verdict::Passed
}

fn a_hook_needs_an_absolute_path(bench: &Bench) -> Verdict {
    bench.refuses("bin/true", |c| {
        c["hooks"] = json!({ "poststop": [{ "path": "bin/true" }] });
    });
    bench.refuses("timeout", |c| {
        c["hooks"] = json!({ "poststop": [{ "path": "/bin/true", "timeout": 0 }] });
    });
    assert!(Path::new("/bin/busybox").exists());
    Verdict::Passed
}
