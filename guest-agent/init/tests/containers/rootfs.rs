//! The root: layers, mounts, what stays outside.

use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};

use linkspan_runtime::launch::LaunchErrorKind;
use linkspan_runtime::plan::{Bind, Look, Mount, MountKind, Propagation, PropagationKind};
use linkspan_runtime::wire::Step;

use crate::bench::{Bench, bench};

fn bind(source: PathBuf, destination: &str, readonly: bool) -> Mount {
    Mount {
        destination: destination.into(),
        kind: MountKind::Bind(Bind { recursive: true, readonly_below: true, ..Bind::of(source) }),
        readonly,
        nosuid: false,
        nodev: false,
        noexec: false,
    }
}

fn layer(bench: &Bench, name: &str, file: &str, content: &str) -> PathBuf {
    let layer = bench.path(name);
    std::fs::create_dir_all(&layer).unwrap();
    std::fs::write(layer.join(file), content).unwrap();
    layer
}

#[test]
fn upper_layers_win_and_changes_stay_in_the_containers_own() {
    let Some(bench) = bench() else { return };
    let mut plan = bench.plan("cat /file; echo changed > /file; cat /file");
    plan.rootfs.lower.push(layer(&bench, "one", "file", "one\n"));
    plan.rootfs.lower.push(layer(&bench, "two", "file", "two\n"));
    assert_eq!(bench.run(&plan).stdout, "two\nchanged\n");
    assert_eq!(std::fs::read_to_string(bench.path("two/file")).unwrap(), "two\n");
    assert_eq!(std::fs::read_to_string(plan.rootfs.upper.join("file")).unwrap(), "changed\n");
    assert_eq!(bench.run(&plan).stdout, "changed\nchanged\n", "a second start finds the changes");
}

#[test]
fn many_layers_with_long_and_odd_names_fit() {
    let Some(bench) = bench() else { return };
    let mut plan = bench.plan("cat /n1 /n130 /top");
    let long = "x".repeat(120);
    for number in 1..=130 {
        let name = format!("layers/{long}:{number},odd");
        let layer = layer(&bench, &name, &format!("n{number}"), &format!("{number}\n"));
        std::fs::write(layer.join("top"), format!("top {number}\n")).unwrap();
        plan.rootfs.lower.push(layer);
    }
    assert_eq!(bench.run(&plan).stdout, "1\n130\ntop 130\n");
}

#[test]
fn nothing_of_the_vm_is_left_and_nothing_shows_up_in_it() {
    let Some(bench) = bench() else { return };
    let script = format!(
        "ls {} 2>&1 | wc -l; cut -d' ' -f5 /proc/self/mountinfo | sort",
        bench.folder.path().display()
    );
    let outcome = bench.run(&bench.plan(&script));
    let (absent, mounts) = outcome.stdout.split_once('\n').unwrap();
    assert_eq!(absent, "1", "an error message: {}", outcome.stdout);
    for mount in [
        "/",
        "/dev",
        "/dev/mqueue",
        "/dev/pts",
        "/dev/shm",
        "/proc",
        "/proc/sys",
        "/sys",
        "/sys/fs/cgroup",
    ] {
        assert!(mounts.lines().any(|line| line == mount), "{mount} of {mounts}");
    }
    let ours = bench.folder.path().to_str().unwrap();
    let outside = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!outside.contains(ours), "{outside}");
}

#[test]
fn binds_make_their_mount_points_and_keep_their_attributes() {
    let Some(bench) = bench() else { return };
    let shared = bench.path("shared");
    std::fs::create_dir_all(&shared).unwrap();
    std::fs::write(shared.join("hello"), "hi\n").unwrap();
    let mut plan = bench.plan(
        "cat /deep/er/hello /etc/only; echo new > /deep/er/made; echo no > /ro/made || echo refused",
    );
    plan.mounts.push(bind(shared.clone(), "/deep/er", false));
    plan.mounts.push(bind(shared.join("hello"), "/etc/only", false));
    plan.mounts.push(bind(shared.clone(), "/ro", true));
    assert_eq!(bench.run(&plan).stdout, "hi\nhi\nrefused\n");
    assert_eq!(std::fs::read_to_string(shared.join("made")).unwrap(), "new\n");
}

#[test]
fn an_images_links_lead_nowhere_but_into_the_container() {
    let Some(bench) = bench() else { return };
    let shared = bench.path("shared");
    std::fs::create_dir_all(&shared).unwrap();
    let evil = bench.path("evil");
    std::fs::create_dir_all(&evil).unwrap();
    let outside = bench.path("outside");
    std::fs::create_dir_all(&outside).unwrap();
    // As paths of the VM, all of these are outside.
    symlink(&outside, evil.join("absolute")).unwrap();
    symlink("../../../../../../../..", evil.join("up")).unwrap();
    let mut plan = bench.plan("echo x > /absolute/mount/seen; ls -d /up/in/mount");
    plan.rootfs.lower.push(evil);
    plan.mounts.push(bind(shared.clone(), "/absolute/mount", false));
    plan.mounts.push(bind(shared.clone(), "/up/in/mount", false));
    // /absolute dangles inside: the link's target does not exist there and is not made through it.
    let error = bench.try_run(&plan).unwrap_err();
    assert_eq!(error.step(), Step::Mounts, "{error}");
    assert_eq!(std::fs::read_dir(&outside).unwrap().count(), 0);
    plan.mounts.remove(plan.mounts.len() - 2);
    plan.process.args[2] = "ls -d /up/in/mount /in/mount".into();
    assert_eq!(bench.run(&plan).stdout, "/in/mount\n/up/in/mount\n");
}

#[test]
fn a_link_to_an_open_descriptor_is_refused_as_a_mount_point() {
    let Some(bench) = bench() else { return };
    let evil = bench.path("evil");
    std::fs::create_dir_all(&evil).unwrap();
    symlink("/proc/self/fd/3", evil.join("magic")).unwrap();
    let mut plan = bench.plan("true");
    plan.rootfs.lower.push(evil);
    plan.mounts.push(bind(bench.path("base"), "/magic", false));
    let error = bench.try_run(&plan).unwrap_err();
    assert_eq!((error.step(), error.kind), (Step::Mounts, LaunchErrorKind::Other), "{error}");
}

#[test]
fn a_missing_source_is_named() {
    let Some(bench) = bench() else { return };
    let mut plan = bench.plan("true");
    plan.mounts.push(bind(PathBuf::from("/no/such/folder"), "/x", false));
    assert_eq!(
        bench.try_run(&plan).unwrap_err().to_string(),
        "cannot open a bind mount's source: `/no/such/folder`: no such file or directory"
    );
}

#[test]
fn a_read_only_root_is_read_only_and_what_is_mounted_in_it_is_not() {
    let Some(bench) = bench() else { return };
    let mut plan =
        bench.plan("pwd; touch /x 2>/dev/null || echo refused; touch /dev/shm/x && echo allowed");
    plan.rootfs.readonly = true;
    plan.process.cwd = "/made/at/start".into();
    assert_eq!(bench.run(&plan).stdout, "/made/at/start\nrefused\nallowed\n");
}

#[test]
fn devices_and_links_are_there_and_usable() {
    let Some(bench) = bench() else { return };
    let script = "head -c 3 /dev/zero | wc -c; echo x > /dev/null && echo null; \
        for l in fd stdin stdout stderr ptmx; do readlink /dev/$l; done; \
        stat -c '%a %t:%T' /dev/null /dev/tty; echo via > /dev/stdout";
    assert_eq!(
        bench.run(&bench.plan(script)).stdout,
        "3\nnull\n/proc/self/fd\n/proc/self/fd/0\n/proc/self/fd/1\n/proc/self/fd/2\npts/ptmx\n\
         666 1:3\n666 5:0\nvia\n"
    );
}

#[test]
fn an_image_may_lack_every_folder() {
    let Some(bench) = bench() else { return };
    let bare = bench.path("bare");
    std::fs::create_dir_all(&bare).unwrap();
    std::fs::copy("/bin/busybox", bare.join("busybox")).unwrap();
    let mut plan = bench.plan("");
    plan.rootfs.lower = vec![bare];
    plan.process.args = vec!["/busybox".into(), "id".into(), "-u".into()];
    assert_eq!(bench.run(&plan).stdout, "0\n");
    assert!(Path::new(&plan.rootfs.upper).join("proc").is_dir());
}

fn tmpfs(destination: &str, data: &str) -> Mount {
    Mount {
        destination: destination.into(),
        kind: MountKind::Tmpfs { data: data.into() },
        readonly: false,
        nosuid: true,
        nodev: true,
        noexec: true,
    }
}

#[test]
fn memory_takes_the_mode_of_what_it_covers_unless_told_otherwise() {
    let Some(bench) = bench() else { return };
    let mut plan = bench.plan(
        "stat -c %a /keeps /other; stat -c %u:%g /other; df -k /other | tail -1 | \
         while read _ size _; do echo $size; done; touch /keeps/x && echo writable",
    );
    let base = layer(&bench, "modes", "file", "");
    std::fs::create_dir(base.join("keeps")).unwrap();
    let mode = std::os::unix::fs::PermissionsExt::from_mode(0o1770);
    std::fs::set_permissions(base.join("keeps"), mode).unwrap();
    plan.rootfs.lower.push(base);
    plan.rootfs.readonly = true;
    plan.mounts.push(tmpfs("/keeps", ""));
    plan.mounts.push(tmpfs("/other", "mode=700,size=64k,uid=7,gid=8"));
    assert_eq!(bench.run(&plan).stdout, "1770\n700\n7:8\n64\nwritable\n");
}

#[test]
fn a_part_of_a_source_is_found_within_it_whatever_links_say() {
    let Some(bench) = bench() else { return };
    let volume = bench.path("volume");
    std::fs::create_dir_all(volume.join("real/below")).unwrap();
    std::fs::write(volume.join("real/below/file"), "inside\n").unwrap();
    let secret = layer(&bench, "secret", "file", "outside\n");
    symlink("/real", volume.join("absolute")).unwrap();
    symlink(secret, volume.join("evil")).unwrap();
    let part = |within: &str| Mount {
        kind: MountKind::Bind(Bind { within: within.into(), ..Bind::of(volume.clone()) }),
        ..tmpfs("/part", "")
    };
    let mut plan = bench.plan("cat /part/file");
    plan.mounts.push(part("absolute/below"));
    assert_eq!(bench.run(&plan).stdout, "inside\n");
    plan.mounts.pop();
    plan.mounts.push(part("evil"));
    let error = bench.try_run(&plan).unwrap_err();
    assert_eq!(error.step(), Step::Sources, "{error}");
}

#[test]
fn mounts_spread_as_asked() {
    let Some(bench) = bench() else { return };
    let shared = bench.path("shared");
    std::fs::create_dir_all(&shared).unwrap();
    for (kind, expected) in
        [(PropagationKind::Private, "private"), (PropagationKind::Shared, "shared")]
    {
        // Whether the mount beneath is shared depends on the machine, so only what was set is
        // looked at: a slave of a private mount is private.
        let mut plan = bench.plan(
            "grep ' /spread ' /proc/self/mountinfo | grep -q shared: && echo shared || echo private",
        );
        let propagation = Some(Propagation { kind, recursive: true });
        plan.mounts.push(Mount {
            kind: MountKind::Bind(Bind { propagation, ..Bind::of(shared.clone()) }),
            ..tmpfs("/spread", "")
        });
        assert_eq!(bench.run(&plan).stdout.trim(), expected, "{kind:?}");
    }
}

#[test]
fn the_files_of_a_stopped_container_can_be_worked_with_through_its_mounts() {
    let Some(bench) = bench() else { return };
    let volume = bench.path("volume");
    std::fs::create_dir_all(&volume).unwrap();
    let mut plan = bench.plan("echo run > /file; echo run > /v/file");
    plan.mounts.push(bind(volume.clone(), "/v", false));
    bench.run(&plan);
    let own = plan.mounts.pop().unwrap();
    let look = Look { rootfs: plan.rootfs.clone(), mounts: vec![own] };
    let looking = bench.launcher.look(&look).unwrap();
    let read = |path: &str| {
        let flags = nix::fcntl::OFlag::O_RDONLY;
        let file = linkspan_sys::mount::open_in_root(looking.root(), path, flags, 0).unwrap();
        std::io::read_to_string(std::fs::File::from(file)).unwrap()
    };
    assert_eq!((read("/file").as_str(), read("/v/file").as_str()), ("run\n", "run\n"));
    let flags = nix::fcntl::OFlag::O_CREAT | nix::fcntl::OFlag::O_WRONLY;
    linkspan_sys::mount::open_in_root(looking.root(), "/v/made", flags, 0o644).unwrap();
    linkspan_sys::mount::open_in_root(looking.root(), "/made", flags, 0o644).unwrap();
    assert!(volume.join("made").exists() && plan.rootfs.upper.join("made").exists());
    drop(looking);
    let outside = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    assert!(!outside.contains(bench.folder.path().to_str().unwrap()), "{outside}");
}
