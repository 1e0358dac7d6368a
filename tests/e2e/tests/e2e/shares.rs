//! Folders of the host in containers of a real VM. The temporary folder is shared by default.

use std::{fs, os::unix::fs::MetadataExt as _, os::unix::fs::symlink, path::Path, time::Duration};

use linkspan_test_e2e::{Host, is_fs_device, wait_until};
use tempfile::TempDir;

use crate::{Own, Shared, unique};

/// The guest believes a file's attributes for a second.
const SOON: Duration = Duration::from_secs(10);
/// A folder of every host that is neither the home nor the temporary folder.
const OUTSIDE: &str = "/usr";

fn folder() -> TempDir {
    tempfile::Builder::new().prefix("lsshare-").tempdir().expect("a temporary folder")
}

fn text(path: &Path) -> &str {
    path.to_str().expect("UTF-8")
}

/// What a shell prints in a container that has `mount`.
fn sh(host: &Host, mount: &str, script: &str) -> String {
    host.run(&["run", "--rm", "-v", mount, "busybox", "sh", "-c", script]).ok().text()
}

pub(crate) const SHARED: &[Shared] = &[
    ("what_one_side_writes_the_other_reads", |host| {
        let folder = folder();
        let mount = format!("{}:/c", text(folder.path()));
        fs::write(folder.path().join("from-host"), "hello guest").expect("written");
        let script = "cat /c/from-host && echo hello host > /c/from-guest && mkdir /c/d";
        assert_eq!(sh(host, &mount, script), "hello guest");
        let read = fs::read_to_string(folder.path().join("from-guest")).expect("the guest's file");
        assert_eq!(read, "hello host\n");
        assert!(folder.path().join("d").is_dir());
        // While a container runs: what the host makes, changes and removes is seen.
        let name = unique("seer");
        let _ =
            host.run(&["run", "-d", "--name", &name, "-v", &mount, "busybox", "sleep", "600"]).ok();
        let sees = |script: &str, expected: &str| {
            wait_until(SOON, || host.run(&["exec", &name, "sh", "-c", script]).text() == expected)
        };
        fs::write(folder.path().join("from-host"), "changed").expect("written");
        assert!(sees("cat /c/from-host", "changed"));
        fs::remove_file(folder.path().join("from-host")).expect("removed");
        assert!(sees("test -e /c/from-host || echo gone", "gone"));
        let source = host.run(&["inspect", "-f", "{{range .Mounts}}{{.Source}}{{end}}", &name]);
        assert_eq!(source.ok().text(), text(folder.path()), "as on the host");
        let _ = host.run(&["rm", "-f", &name]).ok();
    }),
    ("a_read_only_mount_can_only_be_read", |host| {
        let folder = folder();
        fs::write(folder.path().join("file"), "kept").expect("written");
        let mount = format!("{}:/c:ro", text(folder.path()));
        let script = "cat /c/file; touch /c/file 2>/dev/null || echo refused; \
                      rm /c/file 2>/dev/null || echo refused";
        assert_eq!(sh(host, &mount, script), "keptrefused\nrefused");
        assert_eq!(fs::read_to_string(folder.path().join("file")).expect("still there"), "kept");
    }),
    ("a_single_file_can_be_mounted", |host| {
        let folder = folder();
        let file = folder.path().join("settings");
        fs::write(&file, "one\n").expect("written");
        fs::write(folder.path().join("secret"), "two\n").expect("written");
        let mount = format!("{}:/etc/settings", text(&file));
        assert_eq!(sh(host, &mount, "cat /etc/settings; echo more >> /etc/settings"), "one");
        assert_eq!(fs::read_to_string(&file).expect("readable"), "one\nmore\n");
    }),
    ("links_lead_neither_out_of_the_share_nor_into_the_machine", |host| {
        let folder = folder();
        let link = folder.path().join("link");
        symlink(OUTSIDE, &link).expect("a link");
        let mount = format!("{}:/c", text(&link));
        let words = ["cannot mount", OUTSIDE, "in none of the folders"];
        host.run(&["run", "--rm", "-v", &mount, "busybox", "true"]).fails(125, &words);
        // In a container a link means the container's own files.
        fs::write(folder.path().join("name"), "").expect("written");
        symlink("/etc/hostname", folder.path().join("hostname")).expect("a link");
        let mount = format!("{}:/c", text(folder.path()));
        assert_eq!(sh(host, &mount, "cmp /c/hostname /etc/hostname && echo own"), "own");
        // A link that takes a folder's place after the container was made: within the share there
        // is no such path, and what the machine has there is not looked at.
        let sub = folder.path().join("sub");
        fs::create_dir(&sub).expect("a folder");
        let (name, mount) = (unique("late"), format!("{}:/c", text(&sub)));
        let _ = host.run(&["create", "--name", &name, "-v", &mount, "busybox", "ls", "/c"]).ok();
        fs::remove_dir(&sub).expect("empty");
        symlink(OUTSIDE, &sub).expect("a link");
        let refused = wait_until(SOON, || {
            let done = host.run(&["start", "-a", &name]);
            // For a moment it may still see the folder that was there.
            assert!(!done.text().contains("bin"), "{done:?}");
            done.code != 0
        });
        assert!(refused, "a link out of the share was followed");
        let _ = host.run(&["rm", "-f", &name]).ok();
    }),
    ("a_path_outside_the_shares_is_refused_with_the_way_to_share_it", |host| {
        let mount = format!("{OUTSIDE}:/c");
        let temporary = std::env::temp_dir().canonicalize().expect("there is one");
        let share = format!("linkspan machine set default --share {OUTSIDE}");
        let words = ["cannot mount `/usr`", text(&temporary), &share, "hint:"];
        host.run(&["create", "-v", &mount, "busybox", "true"]).fails(1, &words);
    }),
    ("a_missing_folder_is_made_for_v_and_refused_for_mount", |host| {
        let folder = folder();
        let missing = folder.path().join("a/b");
        let mount = format!("type=bind,src={},dst=/c", text(&missing));
        let words = ["bind source path does not exist"];
        host.run(&["create", "--mount", &mount, "busybox", "true"]).fails(1, &words);
        assert!(!missing.exists());
        assert_eq!(sh(host, &format!("{}:/c", text(&missing)), "ls /c | wc -l"), "0");
        assert!(missing.is_dir());
    }),
    ("a_file_belongs_to_whom_the_daemon_can_give_it", |host| {
        let folder = folder();
        let mount = format!("{}:/c", text(folder.path()));
        // For every user of the container, as on a shared folder of one's own.
        fs::set_permissions(folder.path(), std::os::unix::fs::PermissionsExt::from_mode(0o777))
            .expect("it is ours");
        let _ = sh(host, &mount, "touch /c/root");
        let args = ["run", "--rm", "-u", "1234:2345", "-v", &mount, "busybox", "touch", "/c/user"];
        let me = nix::unistd::geteuid();
        let owner = |name: &str| {
            let data = fs::metadata(folder.path().join(name)).expect("the guest made it");
            (data.uid(), data.gid())
        };
        let _ = host.run(&args).ok();
        if me.is_root() {
            assert_eq!((owner("root"), owner("user")), ((0, 0), (1234, 2345)));
            let _ = sh(host, &mount, "chown 7:8 /c/root");
            assert_eq!(owner("root"), (7, 8));
        } else {
            let mine = (me.as_raw(), nix::unistd::getegid().as_raw());
            assert_eq!((owner("root"), owner("user")), (mine, mine));
            // Succeeds, as programs that set owners expect, and changes nothing.
            let _ = sh(host, &mount, "chown 7:8 /c/root");
            assert_eq!(owner("root"), mine);
        }
    }),
    ("two_thousand_files_and_a_large_one_arrive_whole", |host| {
        let folder = folder();
        let mount = format!("{}:/c", text(folder.path()));
        let script = "i=0; while [ $i -lt 2000 ]; do echo $i > /c/$i; i=$((i+1)); done; \
                      dd if=/dev/urandom of=/c/large bs=64k count=256 2>/dev/null; \
                      sha256sum < /c/large";
        let sum = sh(host, &mount, script);
        for number in [0, 1, 999, 1999] {
            let file = fs::read_to_string(folder.path().join(number.to_string()));
            assert_eq!(file.expect("made by the guest"), format!("{number}\n"));
        }
        let large = folder.path().join("large");
        let output = std::process::Command::new("sha256sum").arg(&large).output().expect("runs");
        let own = String::from_utf8_lossy(&output.stdout).into_owned();
        assert_eq!(own.split_whitespace().next(), sum.split_whitespace().next());
    }),
];

pub(crate) const OWN: &[Own] =
    &[("shares_are_set_take_effect_at_the_next_start_and_end_with_the_machine", || {
        let host = Host::new();
        let folder = folder();
        let path = folder.path().canonicalize().expect("it exists");
        fs::write(path.join("file"), "shared").expect("written");
        let temporary = std::env::temp_dir().canonicalize().expect("there is one");
        let init = ["machine", "init", "--cpus", "1", "--memory", "512", "--disk", "2"];
        let _ = host.run(&init).ok();
        let wrong = ["--share", "/no/such/folder", "--unshare", "/not/shared", "--cpus", "0"];
        let args: Vec<_> = ["machine", "set"].into_iter().chain(wrong).collect();
        host.run(&args).fails(1, &["/no/such/folder", "/not/shared", "cpus"]);
        let share = format!("{}:ro", text(&path));
        let set = ["machine", "set", "--share", &share, "--unshare", text(&temporary)];
        let _ = host.run(&set).ok();
        let shares = || {
            let status = host.run(&["machine", "status", "--format", "json"]).ok().json();
            status["Settings"]["Shares"].as_array().cloned().unwrap_or_default()
        };
        assert!(shares().contains(&share.clone().into()), "{:?}", shares());
        let _ = host.run(&["machine", "start"]).ok();
        // The share is read-only, so the mount is, which is said.
        let mount = format!("{}:/c", text(&path));
        let script = "cat /c/file; touch /c/x 2>/dev/null || echo refused";
        let done = host.run(&["run", "--rm", "-v", &mount, "busybox", "sh", "-c", script]).ok();
        assert_eq!(done.text(), "sharedrefused");
        assert!(done.err.contains("is mounted read-only"), "{}", done.err);
        let hidden = format!("{}:/c", text(&temporary));
        host.run(&["create", "-v", &hidden, "busybox", "true"]).fails(1, &["in none of"]);
        let back = host.run(&["machine", "set", "--share", text(&temporary)]).ok();
        assert!(back.err.contains("next start"), "{}", back.err);
        host.run(&["create", "-v", &hidden, "busybox", "true"]).fails(1, &["in none of"]);
        assert!(host.processes().iter().any(|(_, command)| is_fs_device(command)));
        let _ = host.run(&["machine", "stop"]).ok();
        let gone = || !host.processes().iter().any(|(_, command)| is_fs_device(command));
        assert!(wait_until(SOON, gone), "a share's process outlives its machine");
        host.leaves_nothing();
    })];
