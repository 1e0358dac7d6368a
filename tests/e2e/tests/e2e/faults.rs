//! What goes wrong with a machine ends within its budget, in a message that names the phase, the
//! cause and the remedy.

use std::{
    fs,
    path::Path,
    process::Command,
    time::{Duration, Instant},
};

use linkspan_test_e2e::{Host, is_fs_device, is_vsock_device, target, wait_until};

use crate::{Own, SOON};

/// A VM image whose manifest was changed; the files are links to the built one's.
struct Image {
    folder: tempfile::TempDir,
}

impl Image {
    fn with(change: impl FnOnce(&mut serde_json::Value, &Path)) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let built = target().join("vm-image");
        let done = Command::new("cp")
            .arg("-rs")
            .arg(&built)
            .arg(folder.path().join("image"))
            .status()
            .unwrap();
        assert!(done.success());
        let root = folder.path().join("image");
        let bytes = fs::read(built.join("manifest.json")).unwrap();
        let mut manifest = serde_json::from_slice(&bytes).unwrap();
        change(&mut manifest, &root);
        fs::remove_file(root.join("manifest.json")).unwrap();
        fs::write(root.join("manifest.json"), serde_json::to_vec(&manifest).unwrap()).unwrap();
        Self { folder }
    }

    /// The kernel's command line gets one more word.
    fn with_cmdline(word: &str) -> Self {
        Self::with(|manifest, _| {
            let old = manifest["cmdline"].as_str().unwrap().to_owned();
            manifest["cmdline"] = format!("{old} {word}").into();
        })
    }

    fn host(&self) -> Host {
        Host::new()
            .with_env("LINKSPAN_VM_IMAGE", self.folder.path().join("image"))
            .with_env("LINKSPAN_PHASE_BUDGETS", "kernel=15,agent=15,ready=15,slow=1")
    }
}

/// A host whose files are on a file system of its own, of this size, which is at the path.
fn with_small_disk(size: &str, work: impl FnOnce(&Host, &Path)) {
    let place = tempfile::tempdir().unwrap();
    let (from, kind) = (Some("none"), Some("tmpfs"));
    let no_flags = nix::mount::MsFlags::empty();
    if let Err(errno) = nix::mount::mount(from, place.path(), kind, no_flags, Some(size)) {
        println!("skipped: cannot mount a small file system ({errno})");
        return;
    }
    let home = place.path().join("home");
    fs::create_dir(&home).unwrap();
    let host = Host::new().with_env("LINKSPAN_HOME", &home);
    let work = std::panic::AssertUnwindSafe(|| work(&host, place.path()));
    let tried = std::panic::catch_unwind(work);
    let _ = host.run(&["machine", "stop", "--force"]);
    let _ = host.run(&["system", "stop-daemon"]);
    let _ = nix::mount::umount2(place.path(), nix::mount::MntFlags::MNT_DETACH);
    if let Err(panic) = tried {
        std::panic::resume_unwind(panic);
    }
}

/// The machine of `host` lives on a small file system, which `filler` fills.
fn fills_up(host: &Host, filler: &Path) {
    use std::io::Write as _;
    let _ = host.run(&["machine", "init", "--disk", "1", "--memory", "512"]).ok();
    let write = "while :; do dd if=/dev/zero of=/fill bs=1M count=4; sync; sleep 1; done";
    let _ = host.run(&["run", "-d", "--name", "writer", "busybox", "sh", "-c", write]).ok();
    let mut full = fs::File::create(filler).unwrap();
    while full.write_all(&[1; 1 << 16]).is_ok() {}
    let status = || host.run(&["machine", "list", "--format", "{{.Status}}"]).text();
    assert!(wait_until(SOON, || status().contains("stands still")), "{}", status());
    host.run(&["ps"]).fails(1, &["`default` stands still", "no room", "hint: free some space"]);
    host.run(&["machine", "stop"]).fails(1, &["`default` stands still", "--force"]);
    fs::remove_file(filler).unwrap();
    drop(full);
    assert!(wait_until(SOON, || !status().contains("stands still")), "{}", status());
    assert_eq!(host.run(&["exec", "writer", "echo", "goes on"]).ok().text(), "goes on");
}

fn no_vm(host: &Host) -> bool {
    wait_until(SOON, || {
        !host.processes().iter().any(|(_, command)| {
            command.contains("qemu-system") || is_vsock_device(command) || is_fs_device(command)
        })
    })
}

pub(crate) const TESTS: &[Own] = &[
    ("a_missing_qemu_is_named_with_the_package", || {
        let host = Host::new().with_env("LINKSPAN_QEMU", "/no/such/qemu");
        let done = host.run(&["machine", "start"]);
        assert_eq!(done.code, 1, "{done:?}");
        assert!(done.err.contains("/no/such/qemu") && done.err.contains("hint:"), "{}", done.err);
        host.leaves_nothing();
    }),
    ("a_kernel_that_hangs_ends_within_its_budget", || {
        // A shell instead of the agent waits for input for ever: nothing comes out of the guest.
        let image = Image::with_cmdline("rdinit=/bin/sh");
        let host = image.host();
        let begin = Instant::now();
        let done = host.run(&["machine", "start"]);
        assert_eq!(done.code, 1, "{done:?}");
        assert!(begin.elapsed() < Duration::from_secs(60), "{:?}", begin.elapsed());
        assert!(done.err.contains("kernel") && done.err.contains("hint:"), "{}", done.err);
        assert!(done.err.contains("BusyBox"), "the end of the serial log is shown:\n{}", done.err);
        assert!(no_vm(&host));
        host.leaves_nothing();
    }),
    ("a_kernel_panic_is_told_at_once", || {
        let image = Image::with_cmdline("rdinit=/bin/true");
        let host = image.host();
        let done = host.run(&["machine", "start"]);
        assert_eq!(done.code, 1, "{done:?}");
        assert!(done.err.contains("panic"), "{}", done.err);
        assert!(no_vm(&host));
    }),
    ("an_image_with_a_missing_or_short_file_is_named", || {
        let image = Image::with(|manifest, root| {
            let kernels = manifest["kernels"].as_object().unwrap().clone();
            for kernel in kernels.values() {
                let file = root.join(kernel["file"].as_str().unwrap());
                let _ = fs::remove_file(&file);
                fs::write(&file, b"short").unwrap();
            }
        });
        image.host().run(&["machine", "start"]).fails(1, &["image", "make image"]);
        let host = Host::new().with_env("LINKSPAN_VM_IMAGE", "/no/such/folder");
        host.run(&["machine", "start"]).fails(1, &["/no/such/folder", "make image"]);
    }),
    ("a_disk_with_something_else_on_it_is_not_formatted", || {
        let host = Host::new();
        let _ = host.run(&["machine", "init", "--disk", "1"]).ok();
        let disk = host.home().join("machines/default/data.img");
        let foreign = vec![0x5a_u8; 1 << 20];
        fs::write(&disk, &foreign).unwrap();
        let file = fs::OpenOptions::new().write(true).open(&disk).unwrap();
        file.set_len(1 << 30).unwrap();
        let done = host.run(&["machine", "start"]);
        assert_eq!(done.code, 1, "{done:?}");
        assert!(done.err.contains("disk"), "{}", done.err);
        assert!(no_vm(&host));
        assert!(fs::read(&disk).unwrap()[..1 << 20] == foreign, "the disk was written to");
    }),
    ("a_lock_file_left_by_a_crash_does_not_matter", || {
        let host = Host::new();
        let _ = host.run(&["machine", "init", "--memory", "512"]).ok();
        let daemon = host.daemon_pid();
        nix::sys::signal::kill(
            nix::unistd::Pid::from_raw(daemon),
            nix::sys::signal::Signal::SIGKILL,
        )
        .unwrap();
        assert!(wait_until(SOON, || !Path::new(&format!("/proc/{daemon}")).exists()));
        let _ = host.run(&["machine", "start"]).ok();
        host.leaves_nothing();
    }),
    ("a_killed_vmm_is_noticed_and_started_anew", || {
        let host = Host::new();
        let _ = host.run(&["machine", "start"]).ok();
        let status = || host.run(&["machine", "status", "--format", "json"]).ok().json();
        let vmm = i32::try_from(status()["VmmPid"].as_i64().unwrap()).unwrap();
        nix::sys::signal::kill(nix::unistd::Pid::from_raw(vmm), nix::sys::signal::Signal::SIGKILL)
            .unwrap();
        assert!(wait_until(SOON, || status()["State"] != "running"), "{}", status());
        assert!(no_vm(&host), "{:?}", host.processes());
        assert_eq!(
            host.run(&["run", "--rm", "busybox", "echo", "up again"]).ok().text(),
            "up again"
        );
        host.leaves_nothing();
    }),
    ("a_path_in_use_is_named", || {
        let host = Host::new();
        let _ = host.run(&["machine", "init", "--memory", "512"]).ok();
        // A folder where the data disk should be.
        let disk = host.home().join("machines/default/data.img");
        let _ = fs::remove_file(&disk);
        fs::create_dir_all(disk.join("in the way")).unwrap();
        host.run(&["machine", "start"]).fails(1, &["data.img"]);
        assert!(no_vm(&host));
    }),
    ("a_full_host_disk_is_told_with_the_phase", || {
        with_small_disk("size=256k", |host, place| {
            fs::write(place.join("filler"), vec![1; 240 << 10]).expect("room for the filler");
            let done = host.run(&["machine", "start"]);
            assert_eq!(done.code, 1, "{done:?}");
            assert!(done.err.contains("space"), "{}", done.err);
        });
    }),
    ("a_host_disk_that_fills_up_halts_the_machine_until_there_is_room", || {
        with_small_disk("size=400m", |host, place| fills_up(host, &place.join("filler")));
    }),
    ("a_full_data_disk_is_the_containers_problem_only", || {
        let host = Host::new();
        let _ = host.run(&["machine", "init", "--disk", "1", "--memory", "512"]).ok();
        let done = host.run(&[
            "run",
            "--name",
            "full",
            "busybox",
            "sh",
            "-c",
            "dd if=/dev/zero of=/fill bs=1M count=2000",
        ]);
        assert_ne!(done.code, 0, "{done:?}");
        assert!(done.err.contains("No space left on device"), "{done:?}");
        let _ = host.run(&["rm", "-f", "full"]).ok();
        assert_eq!(
            host.run(&["run", "--rm", "busybox", "echo", "room again"]).ok().text(),
            "room again"
        );
    }),
];
