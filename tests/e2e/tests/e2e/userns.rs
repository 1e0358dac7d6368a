//! A machine that maps the ids of containers.

use linkspan_test_e2e::Host;

use crate::{Own, unique};

pub(crate) const OWN: &[Own] =
    &[("mapped_ids_are_nobodys_outside_and_the_containers_own_on_the_disk", || {
        let host = Host::new();
        let settings = ["--memory", "512", "--disk", "2", "--userns", "default"];
        let _ = host.run(&[&["machine", "init"], &settings[..]].concat()).ok();
        runs_under_mapped_ids(&host);
        keeps_ids_in_volumes(&host);
        copies_with_the_containers_owners(&host);
        refuses_what_needs_the_machines_root(&host);
        joins_only_its_like(&host);
        // Off again: what was made with mapped ids goes on without.
        let name = unique("both");
        let _ = host.run(&["run", "--name", &name, "busybox", "touch", "/made"]).ok();
        let _ = host.run(&["machine", "stop"]).ok();
        let _ = host.run(&["machine", "set", "--userns", "off"]).ok();
        let owner = ["sh", "-c", "cat /proc/self/uid_map; stat -c %u:%g /bin /etc/hosts"];
        let plain = host.run(&[&["run", "--rm", "busybox"], &owner[..]].concat()).ok().text();
        let words: Vec<&str> = plain.split_whitespace().collect();
        assert_eq!(words, ["0", "0", "4294967295", "0:0", "0:0"], "{plain}");
        let _ = host.run(&["start", "-a", &name]).ok();
        host.leaves_nothing();
    })];

fn runs_under_mapped_ids(host: &Host) {
    let script = "cat /proc/self/uid_map; stat -c %u:%g /bin /etc/hosts /dev/null; \
                  ping -c 1 127.0.0.1 >/dev/null && echo pings; echo out > /dev/stdout";
    let seen = host.run(&["run", "--rm", "busybox", "sh", "-c", script]).ok().text();
    let words: Vec<&str> = seen.split_whitespace().collect();
    assert_eq!(words, ["0", "100000", "65536", "0:0", "0:0", "0:0", "pings", "out"], "{seen}");
    let name = unique("mapped");
    let _ = host.run(&["run", "-d", "--name", &name, "busybox", "sleep", "600"]).ok();
    let script = "for p in /proc/[0-9]*; do grep -q '^sleep.600' $p/cmdline 2>/dev/null \
                  && stat -c %u $p; done; true";
    assert_eq!(host.run(&["machine", "shell", "--", "sh", "-c", script]).ok().text(), "100000");
    let more = ["exec", "-u", "7:8", &name, "sh", "-c", "id -u; id -g; echo out > /dev/stdout"];
    assert_eq!(host.run(&more).ok().text(), "7\n8\nout");
    let interface = host.run(&["exec", &name, "ip", "-4", "addr", "show", "eth0"]).ok().text();
    assert!(interface.contains("inet "), "{interface}");
    let mode = host.run(&["inspect", "-f", "{{.HostConfig.UsernsMode}}", &name]).ok().text();
    assert_eq!(mode, "");
    let _ = host.run(&["rm", "-f", &name]).ok();
    let out =
        host.run(&["run", "--rm", "--userns", "host", "busybox", "cat", "/proc/self/uid_map"]);
    assert!(out.ok().text().contains("4294967295"));
}

fn keeps_ids_in_volumes(host: &Host) {
    let mount = format!("{}:/data", unique("vol"));
    let run = |flags: &[&str], script: &str| {
        let image = ["-v", &mount, "busybox", "sh", "-c", script];
        host.run(&[&["run", "--rm"], flags, &image].concat()).ok().text()
    };
    let _ = run(&[], "touch /data/root; touch /data/user; chown 7:8 /data/user");
    let owners = "stat -c %u:%g /data/root /data/user";
    assert_eq!(run(&[], owners), "0:0\n7:8");
    assert_eq!(run(&["--userns", "host"], owners), "0:0\n7:8");
}

fn copies_with_the_containers_owners(host: &Host) {
    let folder = tempfile::tempdir().expect("a folder");
    let local = |name: &str| folder.path().join(name).display().to_string();
    std::fs::write(local("in"), "content").expect("written");
    let name = unique("copied");
    let script = "touch /mine; chown 7:8 /mine; exec sleep 600";
    let _ = host.run(&["run", "-d", "--name", &name, "busybox", "sh", "-c", script]).ok();
    let _ = host.run(&["cp", &local("in"), &format!("{name}:/in")]).ok();
    let seen = host.run(&["exec", &name, "sh", "-c", "cat /in; stat -c %u:%g /in"]).ok().text();
    assert_eq!(seen, "content0:0");
    let archive = host.run(&["cp", &format!("{name}:/mine"), "-"]).ok();
    let mut archive = tar::Archive::new(archive.out.as_slice());
    let entry = archive.entries().expect("an archive").next().expect("an entry").expect("sound");
    assert_eq!((entry.header().uid().unwrap(), entry.header().gid().unwrap()), (7, 8));
    assert_eq!(host.run(&["diff", &name]).ok().text(), "A /in\nA /mine");
    let _ = host.run(&["rm", "-f", &name]).ok();
}

fn refuses_what_needs_the_machines_root(host: &Host) {
    let words = ["--privileged", "privileged mode is incompatible with user namespaces"];
    host.run(&["create", "--privileged", "busybox"]).fails(1, &words);
    for (flag, words) in [
        ("--network", "cannot share the host's network namespace when user namespaces are enabled"),
        ("--pid", "cannot share the host PID namespace when user namespaces are enabled"),
        ("--ipc", "cannot share the host IPC namespace when user namespaces are enabled"),
    ] {
        host.run(&["create", flag, "host", "busybox"]).fails(1, &[words]);
    }
    let both = ["run", "--rm", "--userns", "host", "--privileged", "busybox", "true"];
    let _ = host.run(&both).ok();
}

fn joins_only_its_like(host: &Host) {
    let (mapped, plain) = (unique("mapped"), unique("plain"));
    let _ = host.run(&["run", "-d", "--name", &mapped, "busybox", "sleep", "600"]).ok();
    let start = ["run", "-d", "--name", &plain, "--userns", "host", "busybox", "sleep", "600"];
    let _ = host.run(&start).ok();
    let join = |flag: &str, who: &str| {
        let script = "ls -l /proc/self/ns/user; ls -l /proc/1/ns/user";
        let whose = format!("container:{who}");
        host.run(&["run", "--rm", flag, &whose, "busybox", "sh", "-c", script])
    };
    let own = host.run(&["exec", &mapped, "readlink", "/proc/self/ns/user"]).ok().text();
    for flag in ["--network", "--pid"] {
        assert!(join(flag, &mapped).ok().text().contains(&own), "{flag}");
        join(flag, &plain).fails(125, &["both need the same --userns"]);
    }
    let _ = host.run(&["rm", "-f", &mapped, &plain]).ok();
}
