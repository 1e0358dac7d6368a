//! What the tests do to a machine on purpose. All but the last need a container that is
//! privileged and sees the machine's processes (`--privileged --pid host`).

use std::{
    fs::{self, File, OpenOptions},
    io::{Read as _, Seek as _, SeekFrom, Write as _},
    os::unix::fs::FileExt as _,
    process::ExitCode,
    time::{Duration, Instant},
};

use nix::{
    sys::signal::{Signal, kill},
    unistd::Pid,
};

/// Bytes that are no instruction: `ud2` on x86, `udf` on arm64.
#[cfg(target_arch = "x86_64")]
const NO_INSTRUCTION: [u8; 2] = [0x0f, 0x0b];
#[cfg(not(target_arch = "x86_64"))]
const NO_INSTRUCTION: [u8; 2] = [0, 0];

/// Overwrites the program of the machine's first process while it runs. No signal that it is sent
/// from inside ends that process; a fault of its own does, and the kernel panics.
pub(crate) fn crash_pid_1() -> Result<ExitCode, String> {
    let maps = fs::read_to_string("/proc/1/maps").map_err(|error| error.to_string())?;
    let code = maps.lines().find(|line| line.contains(" r-xp ")).ok_or("no code is mapped")?;
    let range = code.split(' ').next().and_then(|range| range.split_once('-'));
    let (begin, end) = range.ok_or("a mapping has no range")?;
    let address = |text| u64::from_str_radix(text, 16).map_err(|_| format!("no address: {text}"));
    let (begin, end) = (address(begin)?, address(end)?);
    let memory = OpenOptions::new().write(true).open("/proc/1/mem");
    let memory = memory.map_err(|error| format!("/proc/1/mem: {error}"))?;
    let page = NO_INSTRUCTION.repeat(2048);
    for place in (begin..end).step_by(page.len()) {
        memory.write_all_at(&page, place).map_err(|error| format!("/proc/1/mem: {error}"))?;
    }
    Err("the first process lives on".into())
}

/// For that long, kills every `linkspan-init` as soon as it is there; prints how many.
pub(crate) fn kill_inits(length: Duration) -> Result<ExitCode, String> {
    println!("ready");
    let mut killed = 0;
    let begin = Instant::now();
    while begin.elapsed() < length {
        for pid in processes() {
            if fs::read_to_string(format!("/proc/{pid}/cmdline"))
                .is_ok_and(|line| line.starts_with("linkspan-init"))
                && kill(Pid::from_raw(pid), Signal::SIGKILL).is_ok()
            {
                killed += 1;
            }
        }
    }
    println!("{killed}");
    Ok(ExitCode::SUCCESS)
}

/// So many chances are enough.
const ENOUGH: u32 = 3;

/// For at most that long, tries to write to the program of every other process of this container by way
/// of /proc/PID/exe (CVE-2019-5736); prints which runtime programs were seen and changed.
pub(crate) fn overwrite_runtime(length: Duration) -> Result<ExitCode, String> {
    println!("ready");
    let (mut seen, mut written) = (0, 0);
    let begin = Instant::now();
    while begin.elapsed() < length {
        for pid in processes() {
            let path = format!("/proc/{pid}/exe");
            let Ok(program) = fs::read_link(&path) else { continue };
            if !program.to_string_lossy().contains("linkspan-init") {
                continue;
            }
            // Held, so that it can be opened again when nothing executes it any more.
            let Ok(held) = File::open(&path) else { continue };
            seen += 1;
            written += u32::from(change(&path));
            let again = format!("/proc/self/fd/{}", std::os::fd::AsRawFd::as_raw_fd(&held));
            while begin.elapsed() < length && fs::metadata(format!("/proc/{pid}")).is_ok() {
                std::thread::yield_now();
            }
            written += u32::from(change(&again));
            if seen == ENOUGH {
                println!("seen {seen} written {written}");
                return Ok(ExitCode::SUCCESS);
            }
        }
    }
    Err(format!("only {seen} runtime programs were seen, written {written}"))
}

/// Whether its first byte could be written, with what is there already.
fn change(path: &str) -> bool {
    let Ok(mut file) = OpenOptions::new().read(true).write(true).open(path) else { return false };
    let mut byte = [0];
    file.read_exact(&mut byte).is_ok()
        && file.seek(SeekFrom::Start(0)).is_ok()
        && file.write_all(&byte).is_ok()
}

fn processes() -> Vec<i32> {
    let own = i32::try_from(std::process::id()).unwrap_or(0);
    let names = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = names.filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter(|pid| *pid != own).collect()
}
