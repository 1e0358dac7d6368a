//! The machine: phases, settings, adoption, restart, the daemon's life.

use std::{os::unix::fs::MetadataExt as _, path::Path};

use linkspan_test_e2e::{Host, finish, is_daemon, wait_until};
use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

use crate::{Own, SOON, Shared, unique};

fn status(host: &Host) -> serde_json::Value {
    host.run(&["machine", "status", "--format", "json"]).ok().json()
}

pub(crate) const SHARED: &[Shared] = &[
    ("status_shows_phases_kernel_and_figures", |host| {
        let status = status(host);
        assert_eq!(status["State"], "running", "{status}");
        let phases = status["Phases"].as_array().expect("phases");
        let names: Vec<_> = phases.iter().filter_map(|phase| phase["Name"].as_str()).collect();
        for name in ["image", "kernel", "agent", "disk", "ready"] {
            assert!(names.contains(&name), "{names:?}");
        }
        assert!(phases.iter().all(|phase| phase["State"] == "done"), "{status}");
        assert!(status["KernelRelease"].as_str().unwrap().contains("Linux"), "{status}");
        assert!(status["HostMemoryBytes"].as_u64().unwrap() > 1 << 20, "{status}");
        assert!(status["Usage"]["MemoryTotalBytes"].as_u64().unwrap() > 500 << 20, "{status}");
    }),
    ("the_accelerator_is_explained", |host| {
        let status = status(host);
        assert!(["kvm", "tcg"].contains(&status["Accelerator"].as_str().unwrap()), "{status}");
        assert!(status["AcceleratorReason"].as_str().unwrap().len() > 10, "{status}");
    }),
    ("the_serial_log_is_kept", |host| {
        let log = host.run(&["machine", "logs"]).ok().text();
        assert!(log.contains("linkspan"), "{log}");
        assert_eq!(host.run(&["machine", "logs", "--tail", "2"]).ok().text().lines().count(), 2);
    }),
    ("the_agents_log_is_in_the_daemons_too", |host| {
        let log = host.home().join("linkspand.log");
        let read = || std::fs::read_to_string(&log).unwrap_or_default();
        let ready = |line: &str| line.contains(" agent: ready version=");
        assert!(wait_until(SOON, || read().lines().any(ready)), "{}", read());
        assert_eq!(read().lines().filter(|line| ready(line)).count(), 1, "{}", read());
    }),
    ("the_shell_is_outside_every_container", |host| {
        let done = host.run(&["machine", "shell", "--", "cat", "/proc/1/comm"]).ok();
        assert_eq!(done.text(), "linkspan-agent");
        assert_eq!(host.run(&["machine", "shell", "--", "sh", "-c", "exit 3"]).code, 3);
    }),
    ("starting_a_running_machine_changes_nothing", |host| {
        let before = status(host)["VmmPid"].clone();
        let _ = host.run(&["machine", "start"]).ok();
        assert_eq!(status(host)["VmmPid"], before);
    }),
    ("nothing_listens_on_tcp", |host| {
        let tables = "cat /proc/net/tcp /proc/net/tcp6 | grep ' 0A '";
        assert_eq!(
            host.run(&["machine", "shell", "--", "sh", "-c", tables]).text(),
            "",
            "in the VM"
        );
        for (pid, command) in host.processes() {
            let sockets = listening_sockets(pid);
            assert!(sockets.is_empty(), "{command} listens: {sockets:?}");
        }
    }),
    ("sockets_and_folders_are_the_users_alone", |host| {
        let machines = std::fs::metadata(host.home().join("machines")).unwrap();
        assert_eq!(machines.mode() & 0o077, 0, "{:o}", machines.mode());
        walk(host.home(), &mut |path, meta| {
            use std::os::unix::fs::FileTypeExt as _;
            if meta.file_type().is_socket() {
                let parent = std::fs::metadata(path.parent().unwrap()).unwrap();
                let open = meta.mode() & 0o077 != 0 && parent.mode() & 0o077 != 0;
                assert!(!open, "{} is open to others", path.display());
            }
        });
    }),
    ("version_names_both_sides", |host| {
        let text = host.run(&["version"]).ok().text().to_lowercase();
        for word in ["client", "linkspand", "agent", "kernel"] {
            assert!(text.contains(word), "no `{word}`:\n{text}");
        }
    }),
];

pub(crate) const OWN: &[Own] = &[
    ("the_first_run_starts_everything_and_nothing_is_left", || {
        let host = Host::new();
        let done = host.run(&["run", "--rm", "busybox", "echo", "from nothing"]).ok();
        assert_eq!(done.text(), "from nothing");
        assert!(!done.err.is_empty(), "the phases are shown on standard error");
        let second = host.run(&["run", "--rm", "busybox", "echo", "again"]).ok();
        assert_eq!((second.text().as_str(), second.err.as_str()), ("again", ""));
        let _ = host.run(&["machine", "stop"]).ok();
        assert_eq!(status(&host)["State"], "stopped");
        host.leaves_nothing();
    }),
    ("a_killed_daemon_leaves_vm_and_containers_and_the_next_adopts_them", || {
        let host = Host::new();
        let id = host.run(&["run", "-d", "busybox", "sleep", "1000"]).ok().text();
        let vmm = status(&host)["VmmPid"].clone();
        let started = host.run(&["inspect", "-f", "{{.State.StartedAt}}", &id]).ok().text();
        let daemon = host.daemon_pid();
        kill(Pid::from_raw(daemon), Signal::SIGKILL).unwrap();
        assert!(wait_until(SOON, || !Path::new(&format!("/proc/{daemon}")).exists()));
        // The next daemon says `starting` while it adopts.
        assert!(wait_until(SOON, || status(&host)["State"] == "running"), "{}", status(&host));
        let after = status(&host);
        assert_ne!(host.daemon_pid(), daemon);
        assert_eq!((&after["VmmPid"], &after["State"]), (&vmm, &"running".into()));
        assert_eq!(host.run(&["inspect", "-f", "{{.State.StartedAt}}", &id]).ok().text(), started);
        assert_eq!(host.run(&["exec", &id, "echo", "alive"]).ok().text(), "alive");
        let _ = host.run(&["machine", "stop"]).ok();
        host.leaves_nothing();
    }),
    ("two_starts_at_once_share_one_boot", || {
        let host = Host::new();
        let args = ["machine", "start"];
        let children = [host.spawn(&args), host.spawn(&args), host.spawn(&args)];
        for child in children {
            let _ = finish(child, &args).ok();
        }
        let vms =
            host.processes().iter().filter(|(_, command)| command.contains("qemu-system")).count();
        assert_eq!(vms, 1);
        let daemons = host.processes().iter().filter(|(_, command)| is_daemon(command)).count();
        assert_eq!(daemons, 1);
    }),
    ("what_was_made_survives_a_restart_and_the_disk_grows", || {
        let host = Host::new();
        let _ = host.run(&["machine", "init", "--disk", "2", "--memory", "512"]).ok();
        let name = unique("kept");
        let done =
            host.run(&["run", "--name", &name, "busybox", "sh", "-c", "echo kept > /file; exit 5"]);
        assert_eq!(done.code, 5, "{done:?}");
        let running = unique("was-running");
        let _ = host.run(&["run", "-d", "--name", &running, "busybox", "sleep", "1000"]).ok();
        let before = status(&host)["Usage"]["DiskTotalBytes"].as_u64().unwrap();
        let _ = host.run(&["machine", "stop"]).ok();
        let _ = host.run(&["machine", "set", "--disk", "6", "--cpus", "1"]).ok();
        host.run(&["machine", "set", "--disk", "1"]).fails(1, &["disk"]);
        let _ = host.run(&["machine", "start"]).ok();
        let after = status(&host)["Usage"]["DiskTotalBytes"].as_u64().unwrap();
        assert!(after > 2 * before, "{before} -> {after}");
        assert_eq!(host.run(&["inspect", "-f", "{{.State.ExitCode}}", &name]).ok().text(), "5");
        let gone = host.run(&["inspect", "-f", "{{.State.Status}}", &running]).ok().text();
        assert_eq!(gone, "exited");
        let _ = host.run(&["start", &running]).ok();
        assert_eq!(host.run(&["exec", &running, "echo", "again"]).ok().text(), "again");
        host.leaves_nothing();
    }),
    ("the_data_disk_is_sparse", || {
        let host = Host::new();
        let _ = host.run(&["machine", "init", "--disk", "40"]).ok();
        let _ = host.run(&["machine", "start"]).ok();
        let disk = std::fs::metadata(host.home().join("machines/default/data.img")).unwrap();
        assert_eq!(disk.len(), 40 << 30);
        assert!(disk.blocks() * 512 < 300 << 20, "{} MiB on the host", disk.blocks() / 2048);
    }),
    ("all_wrong_settings_are_named_at_once", || {
        let host = Host::new();
        host.run(&[
            "machine", "init", "--cpus", "0", "--memory", "1", "--disk", "0", "--kernel",
            "/no/such",
        ])
        .fails(1, &["cpus", "memory", "disk", "kernel"]);
        host.run(&["machine", "status", "no-such-machine"]).fails(1, &["no-such-machine"]);
        host.run(&["machine", "init", "Bad_Name"]).fails(1, &["Bad_Name"]);
    }),
    ("machines_are_listed_and_removed", || {
        let host = Host::new();
        let _ = host.run(&["machine", "init", "other", "--memory", "512"]).ok();
        let list = host.run(&["machine", "list"]).ok().text().to_lowercase();
        assert!(list.contains("other") && list.contains("stopped"), "{list}");
        let _ = host.run(&["machine", "rm", "other"]).ok();
        assert!(!host.home().join("machines/other").exists());
        assert!(!host.run(&["machine", "list"]).ok().text().contains("other"));
    }),
    ("both_kernels_boot", || {
        // The lean kernel is there only when `make kernel` has built it.
        let manifest =
            std::fs::read(linkspan_test_e2e::target().join("vm-image/manifest.json")).unwrap();
        let manifest: serde_json::Value = serde_json::from_slice(&manifest).unwrap();
        let kernels: Vec<_> = manifest["kernels"].as_object().unwrap().keys().cloned().collect();
        assert!(kernels.contains(&"debian".to_owned()), "{kernels:?}");
        for kernel in kernels {
            let host = Host::new();
            let _ = host.run(&["machine", "init", "--kernel", &kernel]).ok();
            let _ = host.run(&["machine", "start"]).ok();
            let version = manifest["kernels"][&kernel]["version"].as_str().unwrap().to_owned();
            let seen = host.run(&["run", "--rm", "busybox", "uname", "-r"]).ok().text();
            assert!(
                version.contains(&seen) || seen.contains(&version),
                "{kernel}: {seen}, {version}"
            );
            let _ = host.run(&["machine", "stop"]).ok();
            host.leaves_nothing();
        }
    }),
    ("power_off_from_inside_is_noticed", || {
        let host = Host::new();
        let _ = host.run(&["machine", "start"]).ok();
        let _ = host.run(&["machine", "shell", "--", "sh", "-c", "busybox poweroff -f"]);
        assert!(wait_until(SOON, || status(&host)["State"] == "stopped"), "{}", status(&host));
    }),
    ("stop_during_start_ends_the_start", || {
        let host = Host::new();
        let args = ["machine", "start"];
        let child = host.spawn(&args);
        assert!(wait_until(SOON, || {
            host.processes().iter().any(|(_, command)| command.contains("qemu-system"))
        }));
        let _ = host.run(&["machine", "stop", "--force"]).ok();
        let _ = finish(child, &args);
        assert!(wait_until(SOON, || {
            !host.processes().iter().any(|(_, command)| command.contains("qemu-system"))
        }));
        host.leaves_nothing();
    }),
];

fn listening_sockets(pid: i32) -> Vec<String> {
    let inodes: Vec<String> = ["tcp", "tcp6"]
        .iter()
        .flat_map(|table| {
            std::fs::read_to_string(format!("/proc/{pid}/net/{table}"))
                .unwrap_or_default()
                .lines()
                .filter_map(|line| {
                    let fields: Vec<_> = line.split_whitespace().collect();
                    // 0A is LISTEN (include/net/tcp_states.h); field 9 is the inode.
                    (fields.get(3) == Some(&"0A")).then(|| format!("socket:[{}]", fields[9]))
                })
                .collect::<Vec<_>>()
        })
        .collect();
    std::fs::read_dir(format!("/proc/{pid}/fd"))
        .into_iter()
        .flatten()
        .flatten()
        .filter_map(|fd| std::fs::read_link(fd.path()).ok())
        .map(|link| link.display().to_string())
        .filter(|link| inodes.contains(link))
        .collect()
}

fn walk(folder: &Path, visit: &mut impl FnMut(&Path, &std::fs::Metadata)) {
    for entry in std::fs::read_dir(folder).into_iter().flatten().flatten() {
        let Ok(meta) = entry.metadata() else { continue };
        visit(&entry.path(), &meta);
        if meta.is_dir() {
            walk(&entry.path(), visit);
        }
    }
}
