//! Bundles, and a runtime to drive with them.

use std::fs::{self, File};
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tempfile::TempDir;

/// Far more than anything here takes, on a slow machine too.
const PATIENCE: Duration = Duration::from_secs(60);

/// The runtime, and a place for bundles.
pub(crate) struct Bench {
    command: Vec<String>,
    folder: TempDir,
    pub(crate) cgroups: PathBuf,
    next: AtomicU32,
}

/// What a command left.
#[derive(Debug)]
pub(crate) struct Done {
    pub(crate) code: i32,
    pub(crate) out: String,
    pub(crate) err: String,
}

impl Done {
    #[track_caller]
    pub(crate) fn ok(self) -> Self {
        assert_eq!(self.code, 0, "{self:?}");
        self
    }

    /// Demands an error that says what it is about.
    #[track_caller]
    pub(crate) fn fails(self, about: &str) {
        assert!(self.code != 0, "it succeeded: {self:?}");
        assert!(self.err.contains(about), "it does not say `{about}`: {self:?}");
    }
}

/// A folder with a config.json and a root file system.
pub(crate) struct Bundle<'a> {
    pub(crate) bench: &'a Bench,
    pub(crate) folder: PathBuf,
    pub(crate) id: String,
}

impl Drop for Bundle<'_> {
    fn drop(&mut self) {
        let _ = self.bench.oci(&["delete", "--force", &self.id]);
    }
}

impl Bench {
    pub(crate) fn new(runtime: &str) -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("procfs");
        let cgroups = mounts.lines().find_map(|line| {
            let mut fields = line.split(' ');
            let place = fields.nth(1)?;
            (fields.next()? == "cgroup2").then(|| PathBuf::from(place))
        });
        Self {
            command: runtime.split_whitespace().map(str::to_owned).collect(),
            folder: tempfile::Builder::new().prefix("oci-").tempdir().expect("a folder"),
            cgroups: cgroups.expect("a mount of cgroup2"),
            next: AtomicU32::new(0),
        }
    }

    pub(crate) fn root(&self) -> PathBuf {
        self.folder.path().join("root")
    }

    /// A command of the runtime, not started.
    pub(crate) fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(&self.command[0]);
        command.args(&self.command[1..]).arg("--root").arg(self.root()).args(args);
        command.stdin(Stdio::null());
        command
    }

    /// Runs a command whose container, if any, does not keep our pipes.
    pub(crate) fn oci(&self, args: &[&str]) -> Done {
        let output = self.command(args).output().expect("the runtime starts");
        Done {
            code: output.status.code().unwrap_or(-1),
            out: String::from_utf8_lossy(&output.stdout).into_owned(),
            err: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// Whether a limit of this controller can be set.
    pub(crate) fn has_controller(&self, name: &str) -> bool {
        let list = fs::read_to_string(self.cgroups.join("cgroup.controllers")).unwrap_or_default();
        list.split_whitespace().any(|known| known == name)
    }

    /// A bundle whose program is a shell script.
    pub(crate) fn bundle(&self, script: &str, edit: impl FnOnce(&mut Value)) -> Bundle<'_> {
        let id = format!("c{}", self.next.fetch_add(1, Ordering::Relaxed));
        let id = format!("{id}-{}", std::process::id());
        let folder = self.folder.path().join(&id);
        let bin = folder.join("rootfs/bin");
        fs::create_dir_all(&bin).expect("a folder");
        fs::copy("/bin/busybox", bin.join("busybox")).expect("a static /bin/busybox");
        for applet in [
            "sh", "cat", "ls", "id", "sleep", "true", "false", "stat", "readlink", "grep", "echo",
            "touch", "hostname", "mknod", "head", "env", "tty", "stty", "mkdir", "kill", "chmod",
            "test", "wc", "dd", "pwd", "cut", "chrt",
        ] {
            symlink("busybox", bin.join(applet)).expect("a link");
        }
        let bundle = Bundle { bench: self, folder, id };
        let mut config = config();
        config["process"]["args"] = json!(["sh", "-c", script]);
        edit(&mut config);
        bundle.write(&config);
        bundle
    }

    /// What a script says in a container, which has to end well.
    #[track_caller]
    pub(crate) fn says(&self, script: &str, edit: impl FnOnce(&mut Value)) -> String {
        self.bundle(script, edit).run().ok().out
    }

    /// Demands that a bundle is refused at `create`, with a word about why, and leaves nothing.
    #[track_caller]
    pub(crate) fn refuses(&self, about: &str, edit: impl FnOnce(&mut Value)) {
        let bundle = self.bundle("true", edit);
        bundle.create().fails(about);
        assert!(bundle.state().is_none(), "the container exists all the same");
        assert!(!self.root().join(&bundle.id).exists(), "a folder is left");
    }
}

fn config() -> Value {
    let capabilities = json!(["CAP_CHOWN", "CAP_KILL", "CAP_MKNOD", "CAP_DAC_OVERRIDE"]);
    let restricted = json!(["nosuid", "noexec", "nodev"]);
    json!({
        "ociVersion": "1.0.2",
        "process": {
            "user": { "uid": 0, "gid": 0 },
            "args": [],
            "env": ["PATH=/bin"],
            "cwd": "/",
            "capabilities": {
                "bounding": capabilities, "effective": capabilities, "permitted": capabilities
            }
        },
        "root": { "path": "rootfs" },
        "mounts": [
            { "destination": "/proc", "type": "proc", "source": "proc" },
            { "destination": "/dev", "type": "tmpfs", "source": "tmpfs",
              "options": ["nosuid", "mode=755", "size=65536k"] },
            { "destination": "/dev/pts", "type": "devpts", "source": "devpts",
              "options": ["nosuid", "noexec", "newinstance", "ptmxmode=0666", "mode=0620"] },
            { "destination": "/dev/shm", "type": "tmpfs", "source": "shm", "options": restricted },
            { "destination": "/sys", "type": "sysfs", "source": "sysfs",
              "options": ["nosuid", "noexec", "nodev", "ro"] }
        ],
        "linux": {
            "namespaces": [
                { "type": "pid" }, { "type": "network" }, { "type": "ipc" }, { "type": "uts" },
                { "type": "mount" }, { "type": "cgroup" }
            ]
        }
    })
}

impl Bundle<'_> {
    pub(crate) fn write(&self, config: &Value) {
        fs::write(self.folder.join("config.json"), config.to_string()).expect("config.json");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.join(name)
    }

    fn text(&self, name: &str) -> String {
        fs::read_to_string(self.path(name)).unwrap_or_default()
    }

    /// A command about this container. Its streams are files: a created process keeps them.
    pub(crate) fn oci(&self, name: &str, options: &[&str]) -> Done {
        let folder = self.folder.to_str().expect("text");
        let mut args = vec![name];
        if name == "create" || name == "run" {
            args.extend(["--bundle", folder]);
        }
        args.extend(options);
        args.push(&self.id);
        let file = |name: &str| Stdio::from(File::create(self.path(name)).expect("a file"));
        let mut command = self.bench.command(&args);
        let status = command.stdout(file("out")).stderr(file("err")).status();
        let code = status.expect("the runtime starts").code().unwrap_or(-1);
        Done { code, out: self.text("out"), err: self.text("err") }
    }

    pub(crate) fn create(&self) -> Done {
        self.oci("create", &[])
    }

    /// To its end, with what the program has written.
    pub(crate) fn run(&self) -> Done {
        self.oci("run", &[])
    }

    /// Created and started, its streams in the files `out` and `err`.
    #[track_caller]
    pub(crate) fn started(self) -> Self {
        let _ = self.create().ok();
        let _ = self.start().ok();
        self
    }

    // The streams of the created process must not be written over.
    pub(crate) fn start(&self) -> Done {
        self.bench.oci(&["start", &self.id])
    }

    pub(crate) fn kill(&self, signal: &str) -> Done {
        self.bench.oci(&["kill", &self.id, signal])
    }

    pub(crate) fn delete(&self) -> Done {
        self.bench.oci(&["delete", &self.id])
    }

    pub(crate) fn state(&self) -> Option<Value> {
        let done = self.bench.oci(&["state", &self.id]);
        (done.code == 0).then(|| serde_json::from_str(&done.out).expect("a state is JSON"))
    }

    #[track_caller]
    pub(crate) fn status(&self) -> String {
        let state = self.state().expect("the container exists");
        state["status"].as_str().expect("a status").to_owned()
    }

    #[track_caller]
    pub(crate) fn pid(&self) -> i64 {
        self.state().expect("the container exists")["pid"].as_i64().expect("a pid")
    }

    /// Waits until the program has ended.
    #[track_caller]
    pub(crate) fn stopped(&self) -> &Self {
        until("the container stops", || self.status() == "stopped");
        self
    }

    /// Waits for a text in what the program has written.
    #[track_caller]
    pub(crate) fn has_said(&self, text: &str) -> &Self {
        until(&format!("it says `{text}`"), || self.text("out").contains(text));
        self
    }

    pub(crate) fn said(&self) -> String {
        self.text("out")
    }

    pub(crate) fn namespace(&self, kind: &str) -> PathBuf {
        fs::read_link(format!("/proc/{}/ns/{kind}", self.pid())).expect("a namespace")
    }
}

/// Waits for a condition.
#[track_caller]
pub(crate) fn until(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + PATIENCE;
    while !holds() {
        assert!(Instant::now() < deadline, "waited in vain: {what}");
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// The runtime's own namespace of a kind.
pub(crate) fn own_namespace(kind: &str) -> PathBuf {
    fs::read_link(Path::new("/proc/self/ns").join(kind)).expect("a namespace")
}

/// Adds to a list of the configuration, which may have yet to be made.
pub(crate) fn push(list: &mut Value, entry: Value) {
    if list.is_null() {
        *list = json!([]);
    }
    list.as_array_mut().expect("a list").push(entry);
}

/// Takes a namespace out of the configuration.
pub(crate) fn without_namespace(config: &mut Value, kind: &str) {
    let list = config["linux"]["namespaces"].as_array_mut().expect("a list");
    list.retain(|entry| entry["type"] != kind);
}
