//! A guest that crashes: the machine comes back by itself, its containers with a restart policy
//! too, and nothing that was acknowledged is lost.

use linkspan_test_e2e::{Host, wait_until};

use crate::{CHECKER, Own, SOON, import_checker};

fn status(host: &Host) -> serde_json::Value {
    host.run(&["machine", "status", "--format", "json"]).ok().json()
}

/// Waits for a machine that runs again, as another process of the host than `vmm`.
fn comes_back(host: &Host, vmm: &serde_json::Value) -> serde_json::Value {
    let mut now = status(host);
    let back = wait_until(SOON, || {
        now = status(host);
        now["State"] == "running" && now["VmmPid"] != *vmm
    });
    assert!(back, "{now}");
    now
}

fn field(host: &Host, container: &str, field: &str) -> String {
    host.run(&["inspect", "-f", &format!("{{{{.{field}}}}}"), container]).ok().text()
}

fn runs(host: &Host, container: &str) -> bool {
    wait_until(SOON, || field(host, container, "State.Running") == "true")
}

/// What was acknowledged before the crash.
fn make(host: &Host) {
    import_checker(host);
    let kept = "echo kept > /volume/file && sync";
    let _ = host.run(&["run", "--rm", "-v", "kept:/volume", "busybox", "sh", "-c", kept]).ok();
    let ended = "echo also kept > /file; sync; echo told; exit 7";
    assert_eq!(host.run(&["run", "--name", "ended", "busybox", "sh", "-c", ended]).code, 7);
    let _ = host.run(&["create", "--name", "created", "busybox", "echo", "late"]).ok();
    let _ = host.run(&["network", "create", "--subnet", "10.99.0.0/24", "mine"]).ok();
    for (name, policy) in [("always", "always"), ("unless", "unless-stopped"), ("never", "no")] {
        let options = ["--name", name, "--restart", policy, "--network", "mine", "busybox"];
        let mut args = vec!["run", "-d"];
        args.extend(options);
        args.extend(["sleep", "1000"]);
        let _ = host.run(&args).ok();
    }
    let stopped = ["--name", "stopped", "--restart", "unless-stopped", "busybox", "sleep", "1000"];
    let _ = host.run(&[&["run", "-d"], &stopped[..]].concat()).ok();
    let _ = host.run(&["stop", "-t", "0", "stopped"]).ok();
}

fn nothing_is_lost(host: &Host) {
    assert!(runs(host, "always") && runs(host, "unless"));
    assert_eq!(field(host, "never", "State.Status"), "exited");
    assert_ne!(field(host, "never", "State.Error"), "", "it did not end by itself");
    assert_eq!(field(host, "stopped", "State.Status"), "exited");
    assert_eq!(field(host, "ended", "State.ExitCode"), "7");
    assert_eq!(host.run(&["logs", "ended"]).ok().text(), "told");
    assert_eq!(host.run(&["cp", "ended:/file", "-"]).ok().out.len() % 512, 0, "an archive");
    let read = ["run", "--rm", "-v", "kept:/volume", "busybox", "cat", "/volume/file"];
    assert_eq!(host.run(&read).ok().text(), "kept");
    assert_eq!(field(host, "created", "State.Status"), "created");
    assert_eq!(host.run(&["start", "-a", "created"]).ok().text(), "late");
    assert_eq!(host.run(&["exec", "always", "hostname", "-i"]).ok().text().split('.').count(), 4);
    let _ = host.run(&["run", "--rm", CHECKER, "true"]).ok();
}

/// Containers and volumes that are made, and removed again in every way there is.
fn make_and_remove(host: &Host) {
    for name in ["one", "two", "three"] {
        let volume = format!("{name}:/data");
        let _ = host.run(&["create", "--name", name, "-v", &volume, "busybox", "true"]).ok();
    }
    let _ = host.run(&["run", "-d", "--name", "forced", "busybox", "sleep", "1000"]).ok();
    let _ = host.run(&["rm", "-f", "forced", "one"]).ok();
    let _ = host.run(&["volume", "rm", "one"]).ok();
    let _ = host.run(&["container", "prune", "--force"]).ok();
    let _ = host.run(&["volume", "prune", "--all", "--force"]).ok();
}

pub(crate) const OWN: &[Own] = &[
    ("what_was_removed_is_not_there_again_when_the_power_goes", || {
        let host = Host::new();
        let _ = host.run(&["machine", "init", "--memory", "512", "--disk", "2"]).ok();
        make_and_remove(&host);
        let _ = host.run(&["machine", "stop", "--force"]).ok();
        let _ = host.run(&["machine", "start"]).ok();
        assert_eq!(host.run(&["ps", "-aq"]).ok().text(), "");
        assert_eq!(host.run(&["volume", "ls", "-q"]).ok().text(), "");
        host.leaves_nothing();
    }),
    ("a_crash_of_the_agent_or_the_kernel_boots_again_and_loses_nothing", || {
        let host = Host::new();
        let _ = host.run(&["machine", "init", "--memory", "768", "--disk", "2"]).ok();
        make(&host);
        let before = status(&host);
        assert!(before["LastCrash"].is_null(), "{before}");
        // The agent itself crashes.
        let options = ["--privileged", "--pid", "host", CHECKER, "/checker", "crash-pid-1"];
        let done = host.run(&[&["run", "--rm"], &options[..]].concat());
        assert_eq!(done.code, 125, "the call ends with the machine: {done:?}");
        assert!(done.err.contains("agent"), "{done:?}");
        let after = comes_back(&host, &before["VmmPid"]);
        let crash = &after["LastCrash"];
        assert!(crash["Message"].as_str().unwrap().contains("panicked"), "{after}");
        let evidence = crash["Evidence"].to_string();
        assert!(evidence.contains("Attempted to kill init"), "{evidence}");
        nothing_is_lost(&host);
        // The kernel panics.
        let panic = "echo c > /proc/sysrq-trigger";
        let _ = host.run(&["machine", "shell", "--", "sh", "-c", panic]);
        let _ = comes_back(&host, &after["VmmPid"]);
        assert!(runs(&host, "always") && runs(&host, "unless"));
        let text = host.run(&["machine", "status"]).ok().text();
        assert!(text.contains("crashed") && text.contains("started again"), "{text}");
        let log = std::fs::read_to_string(host.home().join("linkspand.log")).unwrap();
        assert_eq!(log.matches("crashed, and is started again").count(), 2, "{log}");
        let _ = host.run(&["machine", "stop"]).ok();
        assert!(status(&host)["LastCrash"].is_null());
        host.leaves_nothing();
    }),
];
