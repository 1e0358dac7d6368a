//! A launcher and images without namespaces, for tests on any Linux host.
//!
//! Processes are threads that play small scripted programs (see [`programs`]) with real pipes and
//! terminals; they end, take signals and are reported the way the agent's reaper reports them.

mod networks;
mod ports;
mod programs;

use std::{
    collections::{HashMap, HashSet},
    fs::File,
    io::{self, Write as _},
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::{Duration, Instant},
};

use linkspan_runtime::plan::{CapabilitySets, Look, Plan, Process, Resources};
use parking_lot::{Condvar, Mutex};
use tokio::sync::{oneshot, watch};

use crate::{
    error::{ImageError, LaunchError, LaunchKind},
    launch::{
        ExitCode, ImageView, Images, Joins, Launched, Launcher, Mounted, Network, OomWatch, Stdio,
        StdioSpec, Target, TraceStep,
    },
    signal::Signal,
    stats::{InterfaceUsage, Traffic, Usage},
    top::ProcessInfo,
};

pub use networks::FakeNetworks;
pub use ports::FakePorts;

/// Starts scripted programs. Clones share their processes.
#[derive(Clone, Default)]
pub struct FakeLauncher {
    table: Arc<Table>,
}

struct Table {
    inner: Mutex<Inner>,
    changed: Condvar,
    born: Instant,
}

impl Default for Table {
    fn default() -> Self {
        Self { inner: Mutex::default(), changed: Condvar::new(), born: Instant::now() }
    }
}

#[derive(Default)]
struct Inner {
    last_pid: u32,
    processes: HashMap<u32, Running>,
    cgroups: HashMap<PathBuf, u64>,
    plans: Vec<Plan>,
    /// Frozen cgroups, with the signals that wait for the thaw.
    frozen: HashMap<PathBuf, Vec<(u32, Signal)>>,
    /// Who is told of kills by the OOM killer.
    oom: HashMap<PathBuf, watch::Sender<()>>,
    limits: Vec<Resources>,
    refuses_limits: bool,
    breaks_streams: bool,
}

struct Running {
    signals: File,
    cgroup: PathBuf,
    command: String,
}

impl FakeLauncher {
    /// The cgroups that exist: none, when every container has been cleaned up after.
    #[must_use]
    pub fn cgroups(&self) -> HashSet<PathBuf> {
        self.table.inner.lock().cgroups.keys().cloned().collect()
    }

    /// How many processes run.
    #[must_use]
    pub fn processes(&self) -> usize {
        self.table.inner.lock().processes.len()
    }

    /// How many processes were started.
    #[must_use]
    pub fn started(&self) -> u32 {
        self.table.inner.lock().last_pid
    }

    /// From now on processes have standard streams that nobody can use, or proper ones again.
    pub fn break_streams(&self, breaks: bool) {
        self.table.inner.lock().breaks_streams = breaks;
    }

    /// Every plan that was carried out, oldest first.
    #[must_use]
    pub fn plans(&self) -> Vec<Plan> {
        self.table.inner.lock().plans.clone()
    }

    /// Every change of limits that was written, oldest first.
    #[must_use]
    pub fn limits(&self) -> Vec<Resources> {
        self.table.inner.lock().limits.clone()
    }

    /// From now on the "kernel" refuses changes of limits, or takes them again.
    pub fn refuse_limits(&self, refuses: bool) {
        self.table.inner.lock().refuses_limits = refuses;
    }

    /// The cgroups that are frozen.
    #[must_use]
    pub fn frozen(&self) -> usize {
        self.table.inner.lock().frozen.len()
    }

    /// What was launched, with streams as [`FakeLauncher::break_streams`] has them.
    fn with_streams(&self, launched: Launched) -> Result<Launched, LaunchError> {
        if !self.table.inner.lock().breaks_streams {
            return Ok(launched);
        }
        // Neither a pipe nor a terminal.
        let no_pipe = File::open("/proc/self/exe").map_err(engine)?;
        let stdio = Stdio::Pipes { stdin: None, stdout: Some(no_pipe.into()), stderr: None };
        Ok(Launched { stdio, ..launched })
    }

    fn launch(
        &self,
        process: &Process,
        hostname: &str,
        cgroup: &Path,
        spec: StdioSpec,
        first: bool,
    ) -> Result<Launched, LaunchError> {
        let program = programs::find(&process.args)?;
        let (ours, theirs) = if process.terminal.is_some() {
            terminal(process).map_err(engine)?
        } else {
            pipes(spec).map_err(engine)?
        };
        let (signals, sender) = pipe().map_err(engine)?;
        let (report, exit) = oneshot::channel();
        let mut inner = self.table.inner.lock();
        inner.last_pid += 1;
        let pid = inner.last_pid;
        inner.processes.insert(
            pid,
            Running { signals: sender, cgroup: cgroup.into(), command: process.args.join(" ") },
        );
        drop(inner);
        let stage = programs::Stage {
            args: process.args.clone(),
            env: process.env.clone(),
            cwd: process.cwd.clone(),
            hostname: hostname.to_owned(),
            stdio: theirs,
            signals,
            out_of_memory: Box::new(self.counter(cgroup)),
            leave_behind: Box::new(self.nursery(cgroup)),
        };
        let (table, cgroup_path) = (Arc::clone(&self.table), cgroup.to_owned());
        let spawned = thread::Builder::new().name("fake process".into()).spawn(move || {
            let code = programs::play(program, stage);
            table.end(pid, first.then_some(cgroup_path.as_path()));
            // Whoever waited may have lost interest.
            let _ = report.send(ExitCode(code));
        });
        spawned.map_err(engine)?;
        let target = Target { pid, pidfd: None, cgroup: cgroup.into() };
        let trace = vec![TraceStep { name: "play".into(), started_us: 0, duration_us: 1 }];
        Ok(Launched { target, stdio: ours, exit, trace })
    }

    /// Makes one more process of a cgroup, which nobody waits for: writes until it is killed.
    fn nursery(&self, cgroup: &Path) -> impl Fn(File) + Send + 'static {
        let (table, cgroup) = (Arc::clone(&self.table), cgroup.to_owned());
        move |output: File| {
            let Ok((signals, sender)) = pipe() else { return };
            let pid = {
                let mut inner = table.inner.lock();
                inner.last_pid += 1;
                let pid = inner.last_pid;
                let process =
                    Running { signals: sender, cgroup: cgroup.clone(), command: "left".into() };
                inner.processes.insert(pid, process);
                pid
            };
            let table = Arc::clone(&table);
            thread::spawn(move || {
                programs::chat(&output, &signals);
                drop(output);
                table.end(pid, None);
            });
        }
    }

    fn counter(&self, cgroup: &Path) -> impl Fn() + Send + 'static {
        let (table, cgroup) = (Arc::clone(&self.table), cgroup.to_owned());
        move || {
            let mut inner = table.inner.lock();
            *inner.cgroups.entry(cgroup.clone()).or_default() += 1;
            if let Some(watched) = inner.oom.get(&cgroup) {
                watched.send_replace(());
            }
        }
    }
}

impl Table {
    fn end(&self, pid: u32, cgroup_of_first: Option<&Path>) {
        let mut inner = self.inner.lock();
        inner.processes.remove(&pid);
        if let Some(cgroup) = cgroup_of_first {
            // As when the first process of a PID namespace ends.
            inner.signal_all(cgroup);
        }
        drop(inner);
        self.changed.notify_all();
    }
}

impl Inner {
    fn signal_all(&self, cgroup: &Path) {
        for process in self.processes.values().filter(|process| process.cgroup == cgroup) {
            process.send(Signal::KILL);
        }
    }
}

impl Running {
    fn send(&self, signal: Signal) {
        // A process that has ended no longer reads; nobody cares then.
        let _ = (&self.signals).write_all(&[signal.number().unsigned_abs() as u8]);
    }
}

fn engine(error: impl std::fmt::Display) -> LaunchError {
    LaunchError { kind: LaunchKind::Engine, message: error.to_string() }
}

fn pipe() -> io::Result<(File, File)> {
    let (read, write) = io::pipe()?;
    Ok((File::from(OwnedFd::from(read)), File::from(OwnedFd::from(write))))
}

fn pipes(spec: StdioSpec) -> io::Result<(Stdio, programs::Streams)> {
    let mut theirs = programs::Streams::default();
    let (mut stdin, mut stdout, mut stderr) = (None, None, None);
    if spec.stdin {
        let (read, write) = pipe()?;
        (theirs.stdin, stdin) = (Some(read), Some(write.into()));
    }
    if spec.output {
        let (read, write) = pipe()?;
        (stdout, theirs.stdout) = (Some(read.into()), Some(write));
        let (read, write) = pipe()?;
        (stderr, theirs.stderr) = (Some(read.into()), Some(write));
    }
    Ok((Stdio::Pipes { stdin, stdout, stderr }, theirs))
}

fn terminal(process: &Process) -> io::Result<(Stdio, programs::Streams)> {
    let pair = nix::pty::openpty(None, None)?;
    if let Some(size) = process.terminal {
        linkspan_sys::tty::set_window_size(&pair.master, size.rows, size.columns)?;
    }
    let slave = File::from(pair.slave);
    let theirs = programs::Streams {
        stdin: Some(slave.try_clone()?),
        stdout: Some(slave.try_clone()?),
        stderr: Some(slave),
    };
    Ok((Stdio::Terminal { master: pair.master }, theirs))
}

impl Launcher for FakeLauncher {
    fn start(
        &self,
        plan: &Plan,
        stdio: StdioSpec,
        network: Network<'_>,
        joins: &Joins,
    ) -> Result<Launched, LaunchError> {
        if let Network::Prepare(prepare) = network {
            // No namespace of its own: the fake networks put nothing into it.
            let own = File::open("/proc/self/ns/net").map_err(engine)?;
            prepare(own.as_fd()).map_err(engine)?;
        }
        let mut inner = self.table.inner.lock();
        for target in [&joins.pid, &joins.ipc, &joins.uts].into_iter().flatten() {
            if !inner.processes.contains_key(&target.pid) {
                return Err(engine("setns: no such process"));
            }
        }
        inner.plans.push(plan.clone());
        if inner.cgroups.insert(plan.cgroup.clone(), 0).is_some() {
            return Err(engine(format!("cgroup `{}` exists already", plan.cgroup.display())));
        }
        drop(inner);
        let first = plan.namespaces.pid;
        let launched = self.launch(&plan.process, &plan.hostname, &plan.cgroup, stdio, first)?;
        self.with_streams(launched)
    }

    fn docker_api(&self) -> io::Result<PathBuf> {
        Ok(PathBuf::from("/run/docker-api"))
    }

    fn network_namespace(&self, target: &Target) -> io::Result<OwnedFd> {
        if !self.table.inner.lock().processes.contains_key(&target.pid) {
            return Err(io::ErrorKind::NotFound.into());
        }
        File::open("/proc/self/ns/net").map(OwnedFd::from)
    }

    fn exec(
        &self,
        target: &Target,
        process: &Process,
        stdio: StdioSpec,
    ) -> Result<Launched, LaunchError> {
        if !self.table.inner.lock().processes.contains_key(&target.pid) {
            return Err(engine("setns: no such process"));
        }
        let launched = self.launch(process, "", &target.cgroup, stdio, false)?;
        self.with_streams(launched)
    }

    fn signal(&self, target: &Target, signal: Signal) -> io::Result<()> {
        let mut inner = self.table.inner.lock();
        // A frozen process takes only SIGKILL.
        if signal != Signal::KILL
            && let Some(waiting) = inner.frozen.get_mut(&target.cgroup)
        {
            waiting.push((target.pid, signal));
        } else if let Some(process) = inner.processes.get(&target.pid) {
            process.send(signal);
        }
        Ok(())
    }

    fn freeze(&self, cgroup: &Path) -> io::Result<()> {
        self.table.inner.lock().frozen.entry(cgroup.into()).or_default();
        Ok(())
    }

    fn thaw(&self, cgroup: &Path) -> io::Result<()> {
        let mut inner = self.table.inner.lock();
        for (pid, signal) in inner.frozen.remove(cgroup).unwrap_or_default() {
            if let Some(process) = inner.processes.get(&pid) {
                process.send(signal);
            }
        }
        Ok(())
    }

    fn limit(&self, _cgroup: &Path, resources: &Resources) -> io::Result<()> {
        let mut inner = self.table.inner.lock();
        if inner.refuses_limits {
            return Err(io::ErrorKind::InvalidInput.into());
        }
        inner.limits.push(resources.clone());
        Ok(())
    }

    /// One CPU of two, and 1 MiB a process.
    fn usage(&self, cgroup: &Path) -> io::Result<Usage> {
        let inner = self.table.inner.lock();
        let count = inner.processes.values().filter(|process| process.cgroup == cgroup).count();
        let passed = u64::try_from(self.table.born.elapsed().as_nanos()).unwrap_or(u64::MAX);
        Ok(Usage {
            cpu_ns: passed,
            system_ns: passed * 2,
            cpus: 2,
            memory: (count as u64) << 20,
            memory_limit: 64 << 20,
            pids: count as u64,
            ..Usage::default()
        })
    }

    fn processes(&self, cgroup: &Path) -> io::Result<Vec<ProcessInfo>> {
        let inner = self.table.inner.lock();
        let of_it = inner.processes.iter().filter(|(_, process)| process.cgroup == cgroup);
        let info = |(pid, process): (&u32, &Running)| ProcessInfo {
            pid: *pid,
            command: process.command.clone(),
            ..ProcessInfo::default()
        };
        let mut found: Vec<_> = of_it.map(info).collect();
        found.sort_by_key(|process| process.pid);
        Ok(found)
    }

    fn kill_all(&self, cgroup: &Path) -> io::Result<()> {
        self.table.inner.lock().signal_all(cgroup);
        Ok(())
    }

    fn root_of(&self, target: &Target) -> io::Result<OwnedFd> {
        let inner = self.table.inner.lock();
        let plan = inner.plans.iter().rfind(|plan| plan.cgroup == target.cgroup);
        open(&plan.ok_or(io::ErrorKind::NotFound)?.rootfs.upper)
    }

    fn look(&self, look: &Look) -> Result<Box<dyn Mounted>, LaunchError> {
        Ok(Box::new(Upper(open(&look.rootfs.upper).map_err(engine)?)))
    }

    fn oom_kills(&self, cgroup: &Path) -> io::Result<u64> {
        let inner = self.table.inner.lock();
        inner.cgroups.get(cgroup).copied().ok_or_else(|| io::ErrorKind::NotFound.into())
    }

    fn watch_oom(&self, cgroup: &Path) -> io::Result<OomWatch> {
        let news = self.table.inner.lock().oom.entry(cgroup.into()).or_default().subscribe();
        Ok(OomWatch { news, guard: Box::new(()) })
    }

    /// A packet of a hundred bytes each way.
    fn interfaces(&self, target: &Target) -> io::Result<Vec<InterfaceUsage>> {
        if !self.table.inner.lock().processes.contains_key(&target.pid) {
            return Err(io::ErrorKind::NotFound.into());
        }
        let traffic = Traffic { bytes: 100, packets: 1, ..Traffic::default() };
        Ok(vec![InterfaceUsage { name: "eth0".into(), received: traffic, sent: traffic }])
    }

    fn remove_cgroup(&self, cgroup: &Path) -> io::Result<()> {
        let mut inner = self.table.inner.lock();
        let busy = |inner: &mut Inner| inner.processes.values().any(|p| p.cgroup == cgroup);
        let waited = self.table.changed.wait_while_for(&mut inner, busy, Duration::from_secs(5));
        if waited.timed_out() {
            return Err(io::ErrorKind::ResourceBusy.into());
        }
        inner.cgroups.remove(cgroup);
        inner.oom.remove(cgroup);
        inner.frozen.remove(cgroup);
        Ok(())
    }

    fn default_seccomp(&self, _capabilities: &CapabilitySets) -> Result<Vec<u64>, LaunchError> {
        // A thread is not confined; an empty filter says so in the recorded plan.
        Ok(Vec::new())
    }

    fn resize(&self, terminal: &OwnedFd, rows: u16, columns: u16) -> io::Result<()> {
        Ok(linkspan_sys::tty::set_window_size(terminal, rows, columns)?)
    }
}

/// A container's own layer stands for all of its files: nothing is mounted here.
struct Upper(OwnedFd);

impl Mounted for Upper {
    fn root(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

fn open(folder: &Path) -> io::Result<OwnedFd> {
    File::open(folder).map(OwnedFd::from)
}

/// Images that exist by being named.
#[derive(Clone, Default)]
pub struct FakeImages {
    images: Arc<Mutex<Vec<ImageView>>>,
}

impl FakeImages {
    /// With `busybox:latest`, whose command is `sh`.
    #[must_use]
    pub fn with_busybox() -> Self {
        let images = Self::default();
        images.add(ImageView {
            id: format!("sha256:{}", "b".repeat(64)),
            reference: "busybox:latest".into(),
            command: vec!["sh".into()],
            layers: vec!["/fake/busybox".into()],
            diff_ids: vec![format!("sha256:{}", "d".repeat(64))],
            ..ImageView::default()
        });
        images
    }

    /// Adds an image.
    pub fn add(&self, image: ImageView) {
        self.images.lock().push(image);
    }

    /// Removes an image by its reference.
    pub fn remove(&self, reference: &str) {
        self.images.lock().retain(|image| image.reference != reference);
    }
}

impl Images for FakeImages {
    fn resolve(&self, reference: &str) -> Result<ImageView, ImageError> {
        let images = self.images.lock();
        let is_it = |image: &&ImageView| {
            image.reference == reference
                || image.reference.strip_suffix(":latest") == Some(reference)
                || image.id == reference
        };
        let found = images.iter().find(is_it).cloned();
        found.ok_or_else(|| ImageError::NotFound(reference.into()))
    }
}
