//! A Linkspan of its own in a temporary folder, by way of the built programs.

use std::{
    fs,
    path::{Path, PathBuf},
    process::{Command, Output, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;
use tempfile::TempDir;

/// A home, its daemon and its machine; ended when dropped.
pub(crate) struct Host {
    target: PathBuf,
    home: TempDir,
}

impl Host {
    /// With a machine that is created but not started.
    pub(crate) fn create(target: &Path, kernel: &str) -> Result<Self> {
        let home = tempfile::Builder::new().prefix("lsbench-").tempdir()?;
        let host = Self { target: target.to_owned(), home };
        host.run(&["machine", "init", "--kernel", kernel])?;
        Ok(host)
    }

    /// With a machine that runs.
    pub(crate) fn start(target: &Path, kernel: &str) -> Result<Self> {
        let host = Self::create(target, kernel)?;
        host.run(&["machine", "start"])?;
        Ok(host)
    }

    /// The state folder.
    pub(crate) fn home(&self) -> &Path {
        self.home.path()
    }

    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new(self.target.join("release/linkspan"));
        command.args(args).env("LINKSPAN_HOME", self.home.path()).stdin(Stdio::null());
        command
    }

    /// Runs a command that must succeed.
    pub(crate) fn run(&self, args: &[&str]) -> Result<Output> {
        let output = self.command(args).output().context("linkspan does not start")?;
        ensure!(
            output.status.success(),
            "linkspan {} failed: {}",
            args.join(" "),
            String::from_utf8_lossy(&output.stderr)
        );
        Ok(output)
    }

    /// How long a command takes as a whole process, its output thrown away.
    pub(crate) fn time(&self, args: &[&str]) -> Result<Duration> {
        let begin = Instant::now();
        let status = self
            .command(args)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .status()
            .context("linkspan does not start")?;
        let took = begin.elapsed();
        ensure!(status.success(), "linkspan {} failed", args.join(" "));
        Ok(took)
    }

    /// `linkspan machine status`.
    pub(crate) fn status(&self) -> Result<Value> {
        let output = self.run(&["machine", "status", "--format", "json"])?;
        Ok(serde_json::from_slice(&output.stdout)?)
    }

    /// Resident memory (proportional, where the kernel tells) of every process of this home, in
    /// bytes: the daemon, QEMU, the vsock device.
    pub(crate) fn resident_bytes(&self) -> u64 {
        let home = self.home.path().to_string_lossy().into_owned();
        fs::read_dir("/proc")
            .into_iter()
            .flatten()
            .flatten()
            .map(|entry| entry.path())
            .filter(|path| {
                ["cmdline", "environ"].iter().any(|file| {
                    let bytes = fs::read(path.join(file)).unwrap_or_default();
                    String::from_utf8_lossy(&bytes).contains(&home)
                })
            })
            .filter_map(|path| fs::read_to_string(path.join("smaps_rollup")).ok())
            .filter_map(|text| {
                let line = text.lines().find_map(|line| line.strip_prefix("Pss:"))?;
                line.trim().trim_end_matches(" kB").parse::<u64>().ok()
            })
            .map(|kib| kib * 1024)
            .sum()
    }

    /// Stops the machine and the daemon.
    pub(crate) fn end(self) -> Result<()> {
        self.run(&["machine", "stop"])?;
        Ok(())
    }
}

impl Drop for Host {
    fn drop(&mut self) {
        let _ = self.command(&["machine", "stop", "--force"]).output();
        let _ = self.command(&["system", "stop-daemon"]).output();
    }
}

/// The kernels of the built image.
pub(crate) fn kernels(target: &Path) -> Result<Vec<String>> {
    let manifest = manifest(target)?;
    let kernels = manifest["kernels"].as_object().context("the manifest names no kernels")?;
    Ok(kernels.keys().cloned().collect())
}

/// The built image's manifest.
pub(crate) fn manifest(target: &Path) -> Result<Value> {
    let path = target.join("vm-image/manifest.json");
    let bytes =
        fs::read(&path).with_context(|| format!("{}: `make image` first", path.display()))?;
    Ok(serde_json::from_slice(&bytes)?)
}

/// What this was measured on.
pub(crate) fn machine_line() -> String {
    let first = |path: &str, key: &str| {
        fs::read_to_string(path)
            .unwrap_or_default()
            .lines()
            .find_map(|line| line.strip_prefix(key))
            .map(|rest| rest.trim_start_matches([':', '\t', ' ']).to_owned())
            .unwrap_or_default()
    };
    let cpus = std::thread::available_parallelism().map_or(0, usize::from);
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    format!(
        "{} x {}, {} memory, Linux {}",
        cpus,
        first("/proc/cpuinfo", "model name"),
        first("/proc/meminfo", "MemTotal"),
        release.trim()
    )
}
