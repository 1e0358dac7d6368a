//! A place to start containers in, and plans to start from.

use std::io::Read as _;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use linkspan_runtime::cgroup::{Cgroup, Hierarchy};
use linkspan_runtime::launch::{
    DirectSpawner, InitProgram, LaunchError, Launcher, Network, Started, Stdio,
};
use linkspan_runtime::plan::{
    Namespaces, Plan, Process, Resources, Rootfs, TerminalSize, UserSpec,
};
use linkspan_runtime::{capabilities, defaults, seccomp};
use linkspan_sys::process::wait_pidfd;
use tempfile::TempDir;

pub(crate) const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) struct Bench {
    pub(crate) launcher: Launcher<DirectSpawner>,
    pub(crate) folder: TempDir,
    pub(crate) controllers: String,
}

/// What a process has left behind.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct Outcome {
    pub(crate) code: i32,
    pub(crate) stdout: String,
    pub(crate) stderr: String,
}

/// None, with a printed reason: containers cannot be started here.
pub(crate) fn bench() -> Option<Bench> {
    let skip = |reason: &str| {
        println!("skipped: {reason}");
        None
    };
    if !nix::unistd::geteuid().is_root() {
        return skip("not root");
    }
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").unwrap();
    let Some(cgroup2) = mounts.lines().find_map(|line| {
        line.contains(" - cgroup2 ").then(|| line.split(' ').nth(4).unwrap().to_owned())
    }) else {
        return skip("no cgroup2 mount");
    };
    let busybox = Path::new("/bin/busybox");
    if !busybox.exists() {
        return skip("no static /bin/busybox");
    }
    let program = std::env::var_os("LINKSPAN_INIT")
        .unwrap_or_else(|| env!("CARGO_BIN_EXE_linkspan-init").into());
    let init = InitProgram::load(Path::new(&program)).unwrap();
    let controllers =
        std::fs::read_to_string(Path::new(&cgroup2).join("cgroup.controllers")).unwrap();
    let folder = tempfile::tempdir().unwrap();
    make_layer(&folder.path().join("base"), busybox);
    let launcher = Launcher::new(init, Hierarchy::new(cgroup2), DirectSpawner::default()).unwrap();
    Some(Bench { launcher, folder, controllers })
}

fn make_layer(layer: &Path, busybox: &Path) {
    for folder in ["bin", "etc", "tmp", "root"] {
        std::fs::create_dir_all(layer.join(folder)).unwrap();
    }
    std::fs::copy(busybox, layer.join("bin/busybox")).unwrap();
    for applet in [
        "sh", "cat", "ls", "echo", "id", "sleep", "hostname", "mknod", "dd", "head", "yes", "tty",
        "stty", "unshare", "mount", "ip", "wc", "grep", "touch", "env", "pwd", "readlink", "stat",
        "kill", "true", "sort", "tail", "chmod", "sync", "umount", "sysctl", "cut", "tr", "ps",
    ] {
        symlink("busybox", layer.join("bin").join(applet)).unwrap();
    }
    std::fs::write(
        layer.join("etc/passwd"),
        "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001::/home/app:/bin/sh\n",
    )
    .unwrap();
    std::fs::write(layer.join("etc/group"), "root:x:0:root\nwheel:x:10:root,app\napp:x:1001:\n")
        .unwrap();
}

impl Bench {
    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// A container with Docker's defaults that runs a shell script.
    pub(crate) fn plan(&self, script: &str) -> Plan {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let name = format!("c{}", NUMBER.fetch_add(1, Ordering::Relaxed));
        let own = self.path(&name);
        for folder in ["upper", "work"] {
            std::fs::create_dir_all(own.join(folder)).unwrap();
        }
        Plan {
            process: process(script),
            rootfs: Rootfs {
                lower: vec![self.path("base")],
                upper: own.join("upper"),
                work: own.join("work"),
                readonly: false,
            },
            mounts: defaults::mounts(false, defaults::SHM_SIZE),
            hostname: "box".into(),
            domainname: "example".into(),
            namespaces: Namespaces { pid: true, uts: true, ipc: true, network: true, cgroup: true },
            user_namespace: None,
            cgroup: self.parent().join(name),
            resources: Resources::default(),
            devices: defaults::devices(),
            device_rules: Vec::new(),
            all_devices: false,
            masked_paths: defaults::masked_paths(),
            readonly_paths: defaults::readonly_paths(),
            sysctls: defaults::sysctls(None),
        }
    }

    pub(crate) fn cgroup(&self, plan: &Plan) -> Cgroup {
        self.launcher.hierarchy().open(&plan.cgroup)
    }

    /// Runs to the end and cleans up.
    pub(crate) fn run(&self, plan: &Plan) -> Outcome {
        self.try_run(plan).unwrap_or_else(|error| panic!("{error}"))
    }

    pub(crate) fn try_run(&self, plan: &Plan) -> Result<Outcome, LaunchError> {
        let (stdio, out, err) = pipes();
        let result = self.launcher.start(plan, stdio, Network::Plain, false);
        let outcome = result.map(|started| finish(&started, out, err));
        self.cgroup(plan).remove(PATIENCE).unwrap();
        outcome
    }

    /// Starts something that stays, until the guard is dropped.
    pub(crate) fn start(&self, plan: &Plan) -> Running {
        let started = self.launcher.start(plan, Stdio::default(), Network::Plain, false);
        let started = started.unwrap_or_else(|error| panic!("{error}"));
        Running { started, cgroup: self.cgroup(plan) }
    }

    pub(crate) fn exec(
        &self,
        plan: &Plan,
        target: &Running,
        process: &Process,
    ) -> Result<Outcome, LaunchError> {
        let (stdio, out, err) = pipes();
        let target = target.started.pidfd.as_fd();
        let started = self.launcher.exec(target, &plan.cgroup, process, stdio, false)?;
        Ok(finish(&started, out, err))
    }
}

impl Bench {
    /// The cgroup above those of this bench's containers, and of nobody else's.
    fn parent(&self) -> PathBuf {
        let name = self.folder.path().file_name().unwrap().to_str().unwrap();
        format!("linkspan-test-{}", name.trim_start_matches('.')).into()
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // A test that has failed may have left containers: then it stays, for a look at it.
        let _ = std::fs::remove_dir(self.launcher.hierarchy().open(&self.parent()).path());
    }
}

/// A container that is ended when the test is.
pub(crate) struct Running {
    pub(crate) started: Started,
    pub(crate) cgroup: Cgroup,
}

impl Running {
    pub(crate) fn end(&self) -> i32 {
        self.cgroup.kill().unwrap();
        wait_pidfd(&self.started.pidfd).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        let _ = self.cgroup.kill();
        let _ = wait_pidfd(&self.started.pidfd);
        let _ = self.cgroup.remove(PATIENCE);
    }
}

/// Docker's defaults for a shell script, but for the limits.
pub(crate) fn process(script: &str) -> Process {
    Process {
        args: vec!["sh".into(), "-c".into(), script.into()],
        env: vec!["PATH=/usr/bin:/bin".into()],
        cwd: "/".into(),
        user: UserSpec::default(),
        terminal: None,
        capabilities: capabilities::sets(capabilities::DEFAULT),
        no_new_privileges: false,
        // Not the defaults: raising a hard limit needs CAP_SYS_RESOURCE, which a test may lack.
        rlimits: Vec::new(),
        seccomp: seccomp::default_filter(capabilities::DEFAULT).to_vec(),
        oom_score_adj: None,
        init: false,
        mapped_root: None,
    }
}

pub(crate) const SIZE: TerminalSize = TerminalSize { rows: 33, columns: 111 };

pub(crate) fn pipes() -> (Stdio, OwnedFd, OwnedFd) {
    let pipe = || nix::unistd::pipe2(nix::fcntl::OFlag::O_CLOEXEC).unwrap();
    let ((out, stdout), (err, stderr)) = (pipe(), pipe());
    (Stdio { stdin: None, stdout: Some(stdout), stderr: Some(stderr) }, out, err)
}

pub(crate) fn finish(started: &Started, out: OwnedFd, err: OwnedFd) -> Outcome {
    let reader = std::thread::spawn(move || read_all(err));
    let stdout = read_all(out);
    let code = wait_pidfd(&started.pidfd).unwrap();
    Outcome { code, stdout, stderr: reader.join().unwrap() }
}

fn read_all(fd: OwnedFd) -> String {
    let mut bytes = Vec::new();
    std::fs::File::from(fd).read_to_end(&mut bytes).unwrap();
    String::from_utf8_lossy(&bytes).into_owned()
}
