//! What `make bench` measures inside the VM: OCI runtimes by their command line, and files.
//!
//! Each tool prints one line of JSON: arrays of milliseconds, a value a run.

use std::{
    fs::{self, File},
    io::{Read as _, Write as _},
    path::Path,
    process::{Command, Stdio},
    time::Instant,
};

use nix::{
    sys::{prctl, wait::waitpid},
    unistd::Pid,
};
use serde_json::json;

/// One small file's size: about what a source file of a large tree has.
const SMALL: usize = 1024;
/// How many small files a folder holds.
const A_FOLDER: usize = 100;

/// create, start, wait until the process has ended, delete: `runs` times, one after another.
/// `runtime` is a program and its first words, by blanks.
///
/// # Errors
/// When a command fails, with what it said.
pub(crate) fn runtime(runtime: &str, bundle: &str, runs: usize) -> Result<(), String> {
    // The container's process is the runtime's orphan and becomes ours, so that its end is
    // waited for, not polled.
    prctl::set_child_subreaper(true).map_err(|error| format!("subreaper: {error}"))?;
    let (mut created, mut whole) = (Vec::new(), Vec::new());
    for index in 0..=runs {
        let id = format!("timed-{index}");
        let pid_file = format!("/tmp/{id}.pid");
        let begin = Instant::now();
        call(runtime, &["create", "--bundle", bundle, "--pid-file", &pid_file, &id])?;
        let after_create = millis(begin);
        let pid = fs::read_to_string(&pid_file).map_err(|error| format!("{pid_file}: {error}"))?;
        let pid = pid.trim().parse().map_err(|error| format!("{pid_file}: {error}"))?;
        call(runtime, &["start", &id])?;
        waitpid(Pid::from_raw(pid), None).map_err(|error| format!("wait for {pid}: {error}"))?;
        call(runtime, &["delete", &id])?;
        // The first one fills the caches.
        if index > 0 {
            whole.push(millis(begin));
            created.push(after_create);
        }
    }
    println!("{}", json!({"create": created, "whole": whole}));
    Ok(())
}

fn call(runtime: &str, args: &[&str]) -> Result<(), String> {
    let mut words = runtime.split_whitespace();
    let program = words.next().ok_or("no runtime is named")?;
    let failed = |why: String| format!("{runtime} {}: {why}", args.join(" "));
    // Its standard streams become the container's: a pipe would be held open by it.
    let status = Command::new(program)
        .args(words)
        .args(args)
        .stdin(Stdio::null())
        .status()
        .map_err(|error| failed(error.to_string()))?;
    if status.success() { Ok(()) } else { Err(failed(status.to_string())) }
}

/// `count` small files and one of `mib` MiB in `folder`: made, and then looked at and read when
/// no cache of this kernel holds them (where it may drop them) and again when it does.
///
/// # Errors
/// When a file cannot be made or read.
pub(crate) fn files(folder: &str, count: usize, mib: usize) -> Result<(), String> {
    let folder = Path::new(folder);
    let small: Vec<_> =
        (0..count).map(|index| folder.join(format!("{}/{index}", index / A_FOLDER))).collect();
    let big = folder.join("big");
    let made = timed(|| {
        for path in &small {
            if let Some(parent) = path.parent() {
                fs::create_dir_all(parent)?;
            }
            fs::write(path, [b'x'; SMALL])?;
        }
        Ok(())
    })?;
    let written = timed(|| {
        let chunk = vec![b'x'; 1 << 20];
        let mut file = File::create(&big)?;
        for _ in 0..mib {
            file.write_all(&chunk)?;
        }
        file.sync_all()
    })?;
    let stat = || small.iter().try_for_each(|path| fs::metadata(path).map(drop));
    let read = || small.iter().try_for_each(|path| fs::read(path).map(drop));
    let stream = || {
        let mut chunk = vec![0; 1 << 20];
        let mut file = File::open(&big)?;
        while file.read(&mut chunk)? > 0 {}
        Ok(())
    };
    let drops = drop_caches();
    let stat_cold = timed(stat)?;
    let stat_warm = timed(stat)?;
    drop_caches();
    let read_cold = timed(read)?;
    let read_warm = timed(read)?;
    drop_caches();
    let streamed = timed(stream)?;
    fs::remove_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    println!(
        "{}",
        json!({
            "drops_caches": drops,
            "create": made, "write": written,
            "stat": stat_cold, "stat_cached": stat_warm,
            "read": read_cold, "read_cached": read_warm,
            "stream": streamed,
        })
    );
    Ok(())
}

/// Makes this kernel forget what it has of files (Documentation/admin-guide/sysctl/vm.rst). False:
/// it may not.
fn drop_caches() -> bool {
    nix::unistd::sync();
    fs::write("/proc/sys/vm/drop_caches", "3").is_ok()
}

fn timed(work: impl FnOnce() -> std::io::Result<()>) -> Result<f64, String> {
    let begin = Instant::now();
    work().map_err(|error| error.to_string())?;
    Ok(millis(begin))
}

fn millis(since: Instant) -> f64 {
    since.elapsed().as_secs_f64() * 1000.0
}
