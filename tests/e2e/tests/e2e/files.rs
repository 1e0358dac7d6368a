//! cp, diff, export and commit in a real VM.

use std::{fs, io::Read as _};

use linkspan_test_e2e::{Host, finish};

use crate::{CHECKER, Shared, unique};

/// A container that does not run yet, with a volume at /v.
fn made(host: &Host, command: &str) -> String {
    let name = unique("files");
    let args = ["create", "--name", &name, "-v", "/v", "busybox", "sh", "-c", command];
    let _ = host.run(&args).ok();
    name
}

fn gone(host: &Host, name: &str) {
    let _ = host.run(&["rm", "-f", "-v", name]).ok();
}

pub(crate) const TESTS: &[Shared] = &[
    ("cp_goes_both_ways_and_through_mounts_whether_it_runs_or_not", |host| {
        let work = tempfile::tempdir().expect("a folder");
        let local = |name: &str| work.path().join(name).display().to_string();
        fs::create_dir_all(work.path().join("dir/deep")).expect("a folder");
        fs::write(work.path().join("dir/deep/file"), "content").expect("a file");
        std::os::unix::fs::symlink("deep/file", work.path().join("dir/link")).expect("a link");
        let name = made(host, "sleep 300");
        for state in ["stopped", "running"] {
            let inside = |path: &str| format!("{name}:{path}");
            for (source, target) in [
                (local("dir"), inside(&format!("/{state}"))),
                (local("dir/."), inside("/v")),
                (local("dir/deep/file"), inside(&format!("/v/{state}"))),
                (inside(&format!("/{state}")), local(state)),
                (inside("/v/deep/."), local(&format!("{state}-v"))),
            ] {
                let done = host.run(&["cp", &source, &target]).ok();
                assert!(done.err.contains("Successfully copied"), "{done:?}");
            }
            let read = |path: &str| fs::read_to_string(work.path().join(path)).expect("a file");
            assert_eq!(read(&format!("{state}/deep/file")), "content");
            assert_eq!(read(&format!("{state}-v/file")), "content");
            let link = fs::read_link(work.path().join(state).join("link")).expect("a link");
            assert_eq!(link.display().to_string(), "deep/file");
            if state == "stopped" {
                let _ = host.run(&["start", &name]).ok();
            }
        }
        let listed = host.run(&["exec", &name, "sh", "-c", "ls /v; stat -c %u:%g /v/deep/file"]);
        assert_eq!(listed.ok().text(), "deep\nlink\nrunning\nstopped\n0:0");
        host.run(&["cp", &format!("{name}:/no/such"), &local("x")]).fails(1, &["/no/such"]);
        host.run(&["cp", &local("dir"), &format!("{name}:/etc/passwd")])
            .fails(1, &["cannot copy directory"]);
        gone(host, &name);
    }),
    ("cp_takes_and_gives_archives_and_links_lead_nowhere_but_into_the_container", |host| {
        let name = made(
            host,
            "mkdir -p /data && echo inside > /data/file && ln -s /data /link && \
                               ln -s /../../data/file /up",
        );
        let _ = host.run(&["start", "-a", &name]).ok();
        let work = tempfile::tempdir().expect("a folder");
        let to = work.path().join("out").display().to_string();
        let _ = host.run(&["cp", "-L", &format!("{name}:/up"), &to]).ok();
        assert_eq!(fs::read_to_string(&to).expect("a file"), "inside\n");
        let _ = host.run(&["cp", &format!("{name}:/up"), &format!("{to}2")]).ok();
        assert!(fs::read_link(format!("{to}2")).is_ok());
        let archive = host.run(&["cp", &format!("{name}:/data"), "-"]).ok().out;
        let target = format!("{name}:/link");
        let _ = host.run_with_stdin(&["cp", "-", &target], &archive).ok();
        let copy = host.run(&["cp", &format!("{name}:/data/data/file"), "-"]).ok().out;
        assert!(String::from_utf8_lossy(&copy).contains("inside\n"));
        gone(host, &name);
    }),
    ("a_forced_removal_does_not_wait_for_a_copy_that_nobody_reads", |host| {
        let name = made(host, "head -c 64000000 /dev/zero > /big");
        let _ = host.run(&["start", "-a", &name]).ok();
        let path = format!("{name}:/big");
        let args = ["cp", &path, "-"];
        let mut copy = host.spawn(&args);
        let mut first = [0];
        copy.stdout.as_mut().expect("a pipe").read_exact(&mut first).expect("it has begun");
        gone(host, &name);
        finish(copy, &args).fails(1, &["the container is being removed"]);
    }),
    ("cp_keeps_owners_only_when_it_is_asked_to", |host| {
        if !nix::unistd::geteuid().is_root() {
            println!("skipped: only root can give files away on this host");
            return;
        }
        let work = tempfile::tempdir().expect("a folder");
        let local = |name: &str| work.path().join(name).display().to_string();
        fs::write(local("theirs"), "content").expect("a file");
        std::os::unix::fs::chown(local("theirs"), Some(1234), Some(1235)).expect("root may");
        let name = made(host, "stat -c %u:%g /kept /plain");
        let inside = |path: &str| format!("{name}:{path}");
        let _ = host.run(&["cp", "-a", &local("theirs"), &inside("/kept")]).ok();
        let _ = host.run(&["cp", &local("theirs"), &inside("/plain")]).ok();
        assert_eq!(host.run(&["start", "-a", &name]).ok().text(), "1234:1235\n0:0");
        let _ = host.run(&["cp", "-a", &inside("/kept"), &local("kept")]).ok();
        let _ = host.run(&["cp", &inside("/kept"), &local("plain")]).ok();
        let owner = |name: &str| {
            use std::os::unix::fs::MetadataExt as _;
            let file = fs::metadata(local(name)).expect("a file");
            (file.uid(), file.gid())
        };
        assert_eq!((owner("kept"), owner("plain")), ((1234, 1235), (0, 0)));
        gone(host, &name);
    }),
    ("diff_tells_what_was_added_changed_and_deleted_and_nothing_of_ours", |host| {
        let name = unique("diff");
        let script = "rm /etc/group; echo x >> /etc/passwd; mkdir /new; echo y > /new/file";
        let _ = host.run(&["run", "--name", &name, CHECKER, "sh", "-c", script]);
        let told = host.run(&["diff", &name]).ok().text();
        // `rm` and `mkdir` are not among this image's applets: only what the shell does counts.
        let lines: Vec<&str> = told.lines().collect();
        assert!(lines.contains(&"C /etc") && lines.contains(&"C /etc/passwd"), "{told}");
        for ours in ["/proc", "/dev", "/sys", "/etc/hosts"] {
            assert!(!lines.iter().any(|line| line.ends_with(ours)), "{told}");
        }
        let _ = host.run(&["rm", &name]).ok();
        let name = unique("diff");
        let script = "mkdir /new; echo y > /new/file; rm /bin/true";
        let _ = host.run(&["run", "--name", &name, "busybox", "sh", "-c", script]).ok();
        let told = host.run(&["diff", &name]).ok().text();
        assert_eq!(told, "C /bin\nD /bin/true\nA /new\nA /new/file");
        let _ = host.run(&["rm", &name]).ok();
    }),
    ("an_export_is_the_whole_root_without_what_is_mounted", |host| {
        let name = made(host, "echo root > /file; echo volume > /v/file");
        let _ = host.run(&["start", "-a", &name]).ok();
        let archive = host.run(&["export", &name]).ok().out;
        let names: Vec<String> = tar::Archive::new(&*archive)
            .entries()
            .expect("a tar")
            .map(|entry| entry.expect("whole").path().expect("a name").display().to_string())
            .collect();
        assert!(names.contains(&"file".to_owned()) && names.contains(&"bin/busybox".to_owned()));
        assert!(!names.contains(&"v/file".to_owned()));
        let image = unique("imported");
        let _ = host.run_with_stdin(&["import", "-", &image], &archive).ok();
        let text = host.run(&["run", "--rm", &image, "cat", "/file"]).ok().text();
        assert_eq!(text, "root");
        let _ = host.run(&["rmi", &image]).ok();
        gone(host, &name);
    }),
    ("a_commit_is_an_image_with_the_changes_also_of_a_running_container", |host| {
        let name = unique("commit");
        let script = "rm /bin/true; echo kept > /file; mkdir /ready; exec sleep 300";
        let _ = host.run(&["run", "-d", "--name", &name, "busybox", "sh", "-c", script]).ok();
        let ready = ["exec", &name, "sh", "-c", "until test -d /ready; do :; done"];
        let _ = host.run(&ready).ok();
        let image = unique("committed");
        let change = "CMD [\"cat\", \"/file\"]";
        let id = host.run(&["commit", "-c", change, "-m", "by hand", "-a", "me", &name, &image]);
        assert!(id.ok().text().starts_with("sha256:"));
        let state = host.run(&["inspect", "-f", "{{.State.Status}}", &name]).ok().text();
        assert_eq!(state, "running");
        let _ = host.run(&["exec", &name, "echo", "it runs on"]).ok();
        assert_eq!(host.run(&["run", "--rm", &image]).ok().text(), "kept");
        host.run(&["run", "--rm", &image, "true"]).fails(127, &["not found"]);
        let history = host.run(&["inspect", "-f", "{{.Author}} {{.Comment}}", &image]).ok().text();
        assert_eq!(history, "me by hand");
        let _ = host.run(&["rm", "-f", &name]).ok();
        let _ = host.run(&["rmi", &image]).ok();
    }),
];
