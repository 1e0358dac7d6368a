//! Volumes and mounts in a real VM.

use linkspan_test_e2e::Host;

use crate::{CHECKER, Shared, unique};

/// What a shell prints in a container with these flags.
fn sh(host: &Host, flags: &[&str], script: &str) -> String {
    let mut args = vec!["run", "--rm"];
    args.extend_from_slice(flags);
    args.extend_from_slice(&["busybox", "sh", "-c", script]);
    host.run(&args).ok().text()
}

pub(crate) const TESTS: &[Shared] = &[
    ("what_is_written_to_a_volume_is_there_for_the_next_container", |host| {
        let name = unique("vol");
        let mount = format!("{name}:/data");
        sh(host, &["-v", &mount], "echo kept > /data/file");
        assert_eq!(sh(host, &["-v", &format!("{mount}:ro")], "cat /data/file"), "kept");
        let read_only = format!("type=volume,src={name},dst=/data,readonly");
        let script = "touch /data/x 2>/dev/null || echo refused";
        assert_eq!(sh(host, &["--mount", &read_only], script), "refused");
        let box_ = unique("user");
        let _ = host.run(&["create", "--name", &box_, "-v", &mount, "busybox", "true"]).ok();
        host.run(&["volume", "rm", &name]).fails(1, &["volume is in use"]);
        let shown = host.run(&[
            "inspect",
            "-f",
            "{{range .Mounts}}{{.Name}} {{.Destination}}{{end}}",
            &box_,
        ]);
        assert_eq!(shown.ok().text(), format!("{name} /data"));
        let _ = host.run(&["rm", &box_]).ok();
        assert_eq!(host.run(&["volume", "rm", &name]).ok().text(), name);
        host.run(&["volume", "inspect", &name]).fails(1, &["no such volume"]);
    }),
    ("an_empty_volume_takes_the_images_files_with_their_owner_and_mode", |host| {
        let name = unique("copy");
        // /tmp of this image is a folder with mode 1777, /etc has files.
        let mount = format!("{name}:/etc");
        let mut args = vec!["run", "--rm", "-v", &mount];
        args.extend_from_slice(&[CHECKER, "sh", "-c", "cat /etc/group"]);
        assert!(host.run(&args).ok().text().contains("extra:x:2000:app"));
        let listed = sh(host, &["-v", &format!("{name}:/copy")], "cd /copy && cat passwd | wc -l");
        assert_eq!(listed, "2");
        let bare = unique("nocopy");
        let mount = format!("{bare}:/tmp:nocopy");
        let mode = "stat -c %a /tmp";
        let done = host.run(&["run", "--rm", "-v", &mount, CHECKER, "sh", "-c", mode]).ok();
        assert_eq!(done.text(), "755");
        let done = host.run(&["run", "--rm", "-v", "/tmp", CHECKER, "sh", "-c", mode]).ok();
        assert_eq!(done.text(), "1777");
        let _ = host.run(&["volume", "rm", &name, &bare]).ok();
    }),
    ("a_subpath_shows_only_that_folder_and_links_do_not_lead_out_of_the_volume", |host| {
        let name = unique("sub");
        let whole = format!("{name}:/v");
        sh(host, &["-v", &whole], "mkdir -p /v/a/b && echo deep > /v/a/b/file && ln -s / /v/evil");
        let part = |path: &str| format!("type=volume,src={name},dst=/p,volume-subpath={path}");
        assert_eq!(sh(host, &["--mount", &part("a/b")], "cat /p/file"), "deep");
        // `/` is the volume's own top for the link.
        assert_eq!(sh(host, &["--mount", &part("evil/a/b")], "cat /p/file"), "deep");
        assert_eq!(sh(host, &["--mount", &part("evil")], "ls /p"), "a\nevil");
        host.run(&["run", "--rm", "--mount", &part("no/such"), "busybox", "true"])
            .fails(125, &["no/such"]);
        let _ = host.run(&["volume", "rm", &name]).ok();
    }),
    ("tmpfs_has_its_options_and_shm_its_size", |host| {
        let script = "stat -c %a /t /m; df -k /t /m /dev/shm | tail -3 | tr -s ' ' | cut -d' ' -f2; \
                      touch /t/x && touch /x 2>/dev/null || echo read-only root";
        let flags = [
            "--read-only",
            "--tmpfs",
            "/t:size=128k,mode=1770",
            "--mount",
            "type=tmpfs,dst=/m,tmpfs-size=1m,tmpfs-mode=700",
            "--shm-size",
            "2m",
        ];
        assert_eq!(sh(host, &flags, script), "1770\n700\n128\n1024\n2048\nread-only root");
        let run = "cp /bin/busybox /t/ && /t/busybox true && echo executed || echo refused";
        assert_eq!(sh(host, &["--tmpfs", "/t"], &format!("({run}) 2>/dev/null")), "refused");
        assert_eq!(sh(host, &["--tmpfs", "/t:exec"], run), "executed");
    }),
    ("memory_volumes_are_shared_while_somebody_runs_with_them", |host| {
        let name = unique("mem");
        let _ = host
            .run(&[
                "volume",
                "create",
                "-o",
                "type=tmpfs",
                "-o",
                "device=tmpfs",
                "-o",
                "o=size=1m",
                &name,
            ])
            .ok();
        let mount = format!("{name}:/m");
        let holder = unique("holder");
        let command = "echo shared > /m/file && touch /m/done && exec sleep 300";
        let _ = host
            .run(&["run", "-d", "--name", &holder, "-v", &mount, "busybox", "sh", "-c", command])
            .ok();
        let script = "until test -e /m/done; do :; done; cat /m/file";
        assert_eq!(sh(host, &["-v", &mount], script), "shared");
        let _ = host.run(&["rm", "-f", &holder]).ok();
        assert_eq!(sh(host, &["-v", &mount], "ls /m | wc -l"), "0");
        let _ = host.run(&["volume", "rm", &name]).ok();
    }),
    ("paths_of_the_machine_can_be_mounted_and_the_hosts_cannot", |host| {
        let seen = sh(host, &["-v", "/sys/kernel:/k:ro"], "test -d /k/mm && echo seen");
        assert_eq!(seen, "seen");
        host.run(&["run", "--rm", "-v", "/home:/h", "busybox", "true"])
            .fails(125, &["`/home`", "in none of the folders", "hint:"]);
        host.run(&["volume", "create", "-o", "type=nfs", "-o", "device=:/x", "nfs"])
            .fails(1, &["type=nfs", "not supported"]);
    }),
    ("another_containers_volumes_come_along", |host| {
        let source = unique("from");
        let _ = host
            .run(&[
                "run",
                "--name",
                &source,
                "-v",
                "/own",
                "busybox",
                "sh",
                "-c",
                "echo x > /own/f",
            ])
            .ok();
        let flags = ["--volumes-from", &format!("{source}:ro")];
        let script = "cat /own/f; touch /own/y 2>/dev/null || echo refused";
        assert_eq!(sh(host, &flags, script), "x\nrefused");
        let _ = host.run(&["rm", "-v", &source]).ok();
        let left = host.run(&["volume", "ls", "-q", "-f", "dangling=true"]).ok().text();
        assert_eq!(left.lines().filter(|name| name.len() == 64).count(), 0, "{left}");
    }),
];
