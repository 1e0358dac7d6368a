//! config.md, "Root" and "Mounts"; config-linux.md: default file systems, devices, propagation,
//! masked and read-only paths.

use std::fs;

use serde_json::{Value, json};

use crate::bench::{Bench, push};
use crate::{Case, Verdict};

pub(crate) const CASES: &[Case] = &[
    ("the_root_has_to_be_a_folder", the_root_has_to_be_a_folder),
    ("a_root_is_writable_unless_it_is_read_only", a_root_is_writable_unless_read_only),
    ("an_absolute_root_is_used_as_it_is", an_absolute_root_is_used_as_it_is),
    ("mounts_are_made_in_their_order", mounts_are_made_in_their_order),
    ("a_mount_needs_an_absolute_destination_and_a_type", a_mount_needs_a_destination),
    ("options_of_the_mount_are_set", options_of_the_mount_are_set),
    ("options_of_the_file_system_are_passed_on", options_of_the_file_system_are_passed_on),
    ("options_that_are_not_supported_are_errors", options_that_are_not_supported_are_errors),
    ("a_bind_mount_is_relative_to_the_bundle", a_bind_mount_is_relative_to_the_bundle),
    ("a_file_is_bind_mounted_on_a_file", a_file_is_bind_mounted_on_a_file),
    ("recursive_options_reach_mounts_below", recursive_options_reach_mounts_below),
    ("propagation_of_a_mount_is_set", propagation_of_a_mount_is_set),
    ("tmpcopyup_keeps_what_the_folder_had", tmpcopyup_keeps_what_the_folder_had),
    ("a_destination_does_not_lead_out_of_the_root", a_destination_does_not_lead_out),
    ("the_default_file_systems_can_be_used", the_default_file_systems_can_be_used),
    ("the_default_devices_are_there", the_default_devices_are_there),
    ("the_links_in_dev_are_there", the_links_in_dev_are_there),
    ("devices_have_their_numbers_modes_and_owners", devices_have_numbers_modes_and_owners),
    ("something_else_at_the_path_of_a_device_is_an_error", something_else_is_an_error),
    ("the_propagation_of_the_root_is_set", the_propagation_of_the_root_is_set),
    ("masked_paths_cannot_be_read", masked_paths_cannot_be_read),
    ("read_only_paths_cannot_be_written", read_only_paths_cannot_be_written),
    ("masked_and_read_only_paths_are_absolute", masked_and_read_only_paths_are_absolute),
];

fn mount(config: &mut Value, destination: &str, fstype: &str, source: &str, options: &[&str]) {
    let entry = json!({
        "destination": destination, "type": fstype, "source": source, "options": options
    });
    push(&mut config["mounts"], entry);
}

/// The options of a mount in a container, as /proc/self/mountinfo has them.
const MOUNTINFO: &str = "cat /proc/self/mountinfo";

fn line<'a>(mountinfo: &'a str, place: &str) -> &'a str {
    mountinfo
        .lines()
        .rfind(|line| line.split(' ').nth(4) == Some(place))
        .unwrap_or_else(|| panic!("`{place}` is not mounted:\n{mountinfo}"))
}

fn the_root_has_to_be_a_folder(bench: &Bench) -> Verdict {
    bench.refuses("root", |c| {
        c.as_object_mut().unwrap().remove("root");
    });
    bench.refuses("root.path", |c| c["root"]["path"] = json!("nowhere"));
    bench.refuses("root.path", |c| c["root"]["path"] = json!("config.json"));
    Verdict::Passed
}

fn a_root_is_writable_unless_read_only(bench: &Bench) -> Verdict {
    let bundle = bench.bundle("touch /made && echo made", |_| {});
    assert_eq!(bundle.run().ok().out, "made\n");
    assert!(bundle.path("rootfs/made").exists());
    let script = "touch /made || echo refused; touch /dev/shm/made && echo made";
    let said = bench.says(script, |c| c["root"]["readonly"] = json!(true));
    assert_eq!(said, "refused\nmade\n");
    Verdict::Passed
}

fn an_absolute_root_is_used_as_it_is(bench: &Bench) -> Verdict {
    let other = bench.bundle("true", |_| {});
    fs::write(other.path("rootfs/mark"), "other\n").unwrap();
    let root = other.path("rootfs");
    let said = bench.says("cat /mark", |c| c["root"]["path"] = json!(root));
    assert_eq!(said, "other\n");
    Verdict::Passed
}

fn mounts_are_made_in_their_order(bench: &Bench) -> Verdict {
    let said = bench.says("cut -d ' ' -f 5 /proc/self/mountinfo | grep ^/m; ls /m", |c| {
        mount(c, "/m", "tmpfs", "tmpfs", &[]);
        mount(c, "/m/one", "tmpfs", "tmpfs", &[]);
        mount(c, "/m/one/two", "tmpfs", "tmpfs", &[]);
    });
    assert_eq!(said, "/m\n/m/one\n/m/one/two\none\n");
    // The later one covers the earlier one.
    let said = bench.says("ls /m", |c| {
        mount(c, "/m/one", "tmpfs", "tmpfs", &[]);
        mount(c, "/m", "tmpfs", "tmpfs", &[]);
    });
    assert_eq!(said, "");
    Verdict::Passed
}

fn a_mount_needs_a_destination(bench: &Bench) -> Verdict {
    bench.refuses("absolute", |c| mount(c, "relative", "tmpfs", "tmpfs", &[]));
    bench.refuses("type", |c| push(&mut c["mounts"], json!({ "destination": "/x" })));
    bench.refuses("source", |c| {
        push(&mut c["mounts"], json!({ "destination": "/x", "options": ["bind"] }));
    });
    Verdict::Passed
}

fn options_of_the_mount_are_set(bench: &Bench) -> Verdict {
    let said = bench.says(MOUNTINFO, |c| {
        mount(c, "/a", "tmpfs", "tmpfs", &["ro", "nosuid", "nodev", "noexec", "noatime"]);
        mount(c, "/b", "tmpfs", "tmpfs", &["ro", "rw", "nosuid", "suid", "nodiratime"]);
        mount(c, "/c", "tmpfs", "tmpfs", &["strictatime", "nosymfollow"]);
        mount(c, "/d", "tmpfs", "tmpfs", &["defaults"]);
    });
    let options = |place: &str| line(&said, place).split(' ').nth(5).unwrap().to_owned();
    assert_eq!(options("/a"), "ro,nosuid,nodev,noexec,noatime");
    assert_eq!(options("/b"), "rw,nodiratime,relatime");
    assert_eq!(options("/c"), "rw,nosymfollow");
    assert_eq!(options("/d"), "rw,relatime");
    Verdict::Passed
}

fn options_of_the_file_system_are_passed_on(bench: &Bench) -> Verdict {
    let said = bench.says(&format!("{MOUNTINFO}; stat -c %a /a"), |c| {
        mount(c, "/a", "tmpfs", "name", &["mode=711", "size=1m", "sync"]);
    });
    let own = line(&said, "/a");
    assert!(own.contains("tmpfs name rw,sync,size=1024k,mode=711"), "{own}");
    assert!(said.ends_with("711\n"), "{said}");
    Verdict::Passed
}

fn options_that_are_not_supported_are_errors(bench: &Bench) -> Verdict {
    bench.refuses("/x", |c| mount(c, "/x", "tmpfs", "tmpfs", &["nosuchoption"]));
    bench.refuses("idmap", |c| mount(c, "/x", "bind", ".", &["bind", "idmap"]));
    bench.refuses("remount", |c| mount(c, "/x", "tmpfs", "tmpfs", &["remount"]));
    bench.refuses("size=1m", |c| mount(c, "/x", "bind", ".", &["bind", "size=1m"]));
    Verdict::Passed
}

fn a_bind_mount_is_relative_to_the_bundle(bench: &Bench) -> Verdict {
    let bundle = bench.bundle("cat /x/file; touch /y/z || echo refused", |c| {
        mount(c, "/x", "bind", "data", &["rbind"]);
        mount(c, "/y", "none", "data", &["bind", "ro"]);
    });
    fs::create_dir(bundle.path("data")).unwrap();
    fs::write(bundle.path("data/file"), "data\n").unwrap();
    assert_eq!(bundle.run().ok().out, "data\nrefused\n");
    bench.refuses("nowhere", |c| mount(c, "/x", "bind", "nowhere", &["bind"]));
    Verdict::Passed
}

fn a_file_is_bind_mounted_on_a_file(bench: &Bench) -> Verdict {
    let bundle = bench.bundle("cat /etc/made/here", |c| {
        mount(c, "/etc/made/here", "bind", "config.json", &["bind"]);
    });
    assert!(bundle.run().ok().out.contains("ociVersion"));
    Verdict::Passed
}

fn recursive_options_reach_mounts_below(bench: &Bench) -> Verdict {
    let bundle = bench.bundle(MOUNTINFO, |c| {
        mount(c, "/flat", "bind", "outer", &["rbind", "ro"]);
        mount(c, "/deep", "bind", "outer", &["rbind", "rro", "rnoexec"]);
    });
    let inner = bundle.path("outer/inner");
    fs::create_dir_all(&inner).unwrap();
    let busybox = |args: &[&str]| {
        let status = std::process::Command::new("/bin/busybox").args(args).status();
        assert!(status.unwrap().success(), "{args:?}");
    };
    let place = inner.to_str().unwrap();
    busybox(&["mount", "-t", "tmpfs", "tmpfs", place]);
    let done = bundle.run();
    busybox(&["umount", place]);
    let said = done.ok().out;
    let options = |place: &str| line(&said, place).split(' ').nth(5).unwrap().to_owned();
    assert!(options("/flat").starts_with("ro") && options("/flat/inner").starts_with("rw"));
    for place in ["/deep", "/deep/inner"] {
        let options = options(place);
        let set = |word| options.split(',').any(|option| option == word);
        assert!(set("ro") && set("noexec"), "{place}: {options}");
    }
    Verdict::Passed
}

fn propagation_of_a_mount_is_set(bench: &Bench) -> Verdict {
    let said = bench.says(MOUNTINFO, |c| {
        mount(c, "/a", "tmpfs", "tmpfs", &["shared"]);
        mount(c, "/b", "tmpfs", "tmpfs", &["private"]);
        mount(c, "/c", "tmpfs", "tmpfs", &["unbindable"]);
        mount(c, "/d", "bind", "rootfs", &["bind", "rshared", "rslave"]);
    });
    assert!(line(&said, "/a").contains("shared:"), "{said}");
    assert!(!line(&said, "/b").contains(":shared"), "{said}");
    assert!(line(&said, "/c").contains("unbindable"), "{said}");
    assert!(!line(&said, "/d").contains("shared:"), "{said}");
    Verdict::Passed
}

fn tmpcopyup_keeps_what_the_folder_had(bench: &Bench) -> Verdict {
    let bundle = bench.bundle(
        "cat /had/sub/file; readlink /had/link; stat -c %a /had/sub/file; echo new > /had/new",
        |c| mount(c, "/had", "tmpfs", "tmpfs", &["tmpcopyup"]),
    );
    fs::create_dir_all(bundle.path("rootfs/had/sub")).unwrap();
    fs::write(bundle.path("rootfs/had/sub/file"), "had\n").unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o4711);
    fs::set_permissions(bundle.path("rootfs/had/sub/file"), mode).unwrap();
    std::os::unix::fs::symlink("sub/file", bundle.path("rootfs/had/link")).unwrap();
    assert_eq!(bundle.run().ok().out, "had\nsub/file\n4711\n");
    assert!(!bundle.path("rootfs/had/new").exists());
    bench.refuses("tmpcopyup", |c| mount(c, "/x", "proc", "proc", &["tmpcopyup"]));
    Verdict::Passed
}

fn a_destination_does_not_lead_out(bench: &Bench) -> Verdict {
    let bundle = bench.bundle("echo inside > /out/file; cat /elsewhere/file", |c| {
        mount(c, "/out", "tmpfs", "tmpfs", &[]);
    });
    let target = bundle.path("rootfs/elsewhere");
    fs::create_dir(&target).unwrap();
    std::os::unix::fs::symlink("/../../../elsewhere", bundle.path("rootfs/out")).unwrap();
    assert_eq!(bundle.run().ok().out, "inside\n");
    assert!(!target.join("file").exists(), "the tmpfs was mounted there");
    Verdict::Passed
}

fn the_default_file_systems_can_be_used(bench: &Bench) -> Verdict {
    let said = bench.says(MOUNTINFO, |_| {});
    for (place, fstype) in
        [("/proc", "proc"), ("/sys", "sysfs"), ("/dev/pts", "devpts"), ("/dev/shm", "tmpfs")]
    {
        assert!(line(&said, place).contains(&format!(" - {fstype} ")), "{said}");
    }
    Verdict::Passed
}

fn the_default_devices_are_there(bench: &Bench) -> Verdict {
    let script = "stat -c %n:%t:%T:%a /dev/null /dev/zero /dev/full /dev/random /dev/urandom \
        /dev/tty; echo x > /dev/null; head -c 1 /dev/zero | wc -c; readlink /dev/ptmx";
    let said = bench.says(script, |_| {});
    assert_eq!(
        said,
        "/dev/null:1:3:666\n/dev/zero:1:5:666\n/dev/full:1:7:666\n/dev/random:1:8:666\n\
         /dev/urandom:1:9:666\n/dev/tty:5:0:666\n1\npts/ptmx\n"
    );
    Verdict::Passed
}

fn the_links_in_dev_are_there(bench: &Bench) -> Verdict {
    let script = "for name in fd stdin stdout stderr; do readlink /dev/$name; done";
    let expected = "/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\n";
    assert_eq!(bench.says(script, |_| {}), expected);
    Verdict::Passed
}

fn devices_have_numbers_modes_and_owners(bench: &Bench) -> Verdict {
    let script = "stat -c '%n %F %t:%T %a %u:%g' /dev/one /else/two /dev/pipe; \
        head -c 1 /dev/one | wc -c";
    let said = bench.says(script, |c| {
        c["linux"]["devices"] = json!([
            { "path": "/dev/one", "type": "c", "major": 1, "minor": 5, "fileMode": 0o640,
              "uid": 0, "gid": 7 },
            { "path": "/else/two", "type": "b", "major": 7, "minor": 300, "fileMode": 0o600,
              "uid": 5, "gid": 6 },
            { "path": "/dev/pipe", "type": "p", "major": 0, "minor": 0, "fileMode": 0o622 }
        ]);
    });
    assert_eq!(
        said,
        "/dev/one character special file 1:5 640 0:7\n\
         /else/two block special file 7:12c 600 5:6\n\
         /dev/pipe fifo 0:0 622 0:0\n1\n"
    );
    Verdict::Passed
}

fn something_else_is_an_error(bench: &Bench) -> Verdict {
    bench.refuses("/bin/busybox", |c| {
        c["linux"]["devices"] =
            json!([{ "path": "/bin/busybox", "type": "c", "major": 1, "minor": 5 }]);
    });
    Verdict::Passed
}

fn the_propagation_of_the_root_is_set(bench: &Bench) -> Verdict {
    for (value, word) in [("shared", "shared:"), ("unbindable", "unbindable")] {
        let said = bench.says(MOUNTINFO, |c| c["linux"]["rootfsPropagation"] = json!(value));
        assert!(line(&said, "/").contains(word), "{value}: {said}");
    }
    for value in ["private", "slave"] {
        let said = bench.says(MOUNTINFO, |c| c["linux"]["rootfsPropagation"] = json!(value));
        assert!(!line(&said, "/").contains("shared:"), "{value}: {said}");
    }
    Verdict::Passed
}

fn masked_paths_cannot_be_read(bench: &Bench) -> Verdict {
    let bundle = bench.bundle("cat /secret; ls /folder; cat /proc/version; echo end", |c| {
        c["linux"]["maskedPaths"] = json!(["/secret", "/folder", "/proc/version", "/no/such"]);
    });
    fs::write(bundle.path("rootfs/secret"), "secret").unwrap();
    fs::create_dir(bundle.path("rootfs/folder")).unwrap();
    fs::write(bundle.path("rootfs/folder/secret"), "secret").unwrap();
    assert_eq!(bundle.run().ok().out, "end\n");
    Verdict::Passed
}

fn read_only_paths_cannot_be_written(bench: &Bench) -> Verdict {
    let script =
        "touch /folder/x || echo refused; echo 1 > /proc/sys/vm/swappiness || echo refused";
    let bundle = bench.bundle(script, |c| {
        c["linux"]["readonlyPaths"] = json!(["/folder", "/proc/sys", "/no/such"]);
    });
    fs::create_dir(bundle.path("rootfs/folder")).unwrap();
    assert_eq!(bundle.run().ok().out, "refused\nrefused\n");
    Verdict::Passed
}

fn masked_and_read_only_paths_are_absolute(bench: &Bench) -> Verdict {
    bench.refuses("maskedPaths", |c| c["linux"]["maskedPaths"] = json!(["x"]));
    bench.refuses("readonlyPaths", |c| c["linux"]["readonlyPaths"] = json!(["x"]));
    Verdict::Passed
}
