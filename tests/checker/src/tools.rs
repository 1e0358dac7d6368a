//! Small programs that the tests run in containers.

use std::{
    io::{Read as _, Write as _},
    net::Shutdown,
    os::unix::net::UnixStream,
    process::{Command, ExitCode, Stdio},
    time::{Duration, Instant},
};

use nix::{
    sys::{
        resource::{UsageWho, getrusage},
        signal::{Signal, raise},
    },
    time::{ClockId, clock_gettime},
};

use crate::{attacks, services, timing, vsock};

/// Runs the tool of that name.
pub(crate) fn run(tool: &str, args: &[&str]) -> Result<ExitCode, String> {
    match (tool, args) {
        ("crash-pid-1", []) => attacks::crash_pid_1(),
        ("kill-inits", [seconds]) => attacks::kill_inits(Duration::from_secs(number(seconds)?)),
        ("overwrite-runtime", [seconds]) => {
            attacks::overwrite_runtime(Duration::from_secs(number(seconds)?))
        }
        ("ask-vsock", [cid, port]) => vsock::ask(number(cid)?, number(port)?),
        ("http-get", [socket, path]) => http_get(socket, path),
        ("eat-memory", [mib]) => eat_memory(number(mib)?),
        ("fork", [count]) => fork(number(count)?),
        ("emit", [bytes]) => emit(number(bytes)?),
        ("count", []) => count(),
        ("exit", [code]) => Ok(ExitCode::from(number::<u8>(code)?)),
        ("signal", [signal]) => send_to_self(number(signal)?),
        ("spin", [millis]) => spin(Duration::from_millis(number(millis)?)),
        ("time-runtime", [runtime, bundle, runs]) => {
            timing::runtime(runtime, bundle, number(runs)?).map(|()| ExitCode::SUCCESS)
        }
        ("time-files", [folder, count, mib]) => {
            timing::files(folder, number(count)?, number(mib)?).map(|()| ExitCode::SUCCESS)
        }
        ("udp-echo", [port]) => services::udp_echo(number(port)?),
        ("tcp-ends", [port]) => services::tcp_ends(number(port)?),
        ("name-server", [address]) => services::name_server(number(address)?),
        ("dial", [socket, text]) => dial(socket, text),
        ("sleep-forever", []) => loop {
            std::thread::park();
        },
        _ => Err(format!("`{tool}` with {} arguments is not known", args.len())),
    }
}

fn number<T: std::str::FromStr>(text: &str) -> Result<T, String> {
    text.parse().map_err(|_| format!("`{text}` is not a value in range"))
}

fn http_get(socket: &str, path: &str) -> Result<ExitCode, String> {
    let failed = |error: std::io::Error| format!("{socket}: {error}");
    let mut stream = UnixStream::connect(socket).map_err(failed)?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: docker\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).map_err(failed)?;
    std::io::copy(&mut stream, &mut std::io::stdout()).map_err(failed)?;
    Ok(ExitCode::SUCCESS)
}

fn eat_memory(mib: usize) -> Result<ExitCode, String> {
    let mut kept: Vec<Vec<u8>> = Vec::new();
    for _ in 0..mib {
        // Not zero: a page of zeroes might never be given.
        kept.push(vec![0xa5; 1 << 20]);
    }
    println!("{}", kept.iter().map(Vec::len).sum::<usize>());
    Ok(ExitCode::SUCCESS)
}

fn dial(socket: &str, text: &str) -> Result<ExitCode, String> {
    let failed = |error: std::io::Error| format!("{socket}: {error}");
    let mut stream = UnixStream::connect(socket).map_err(failed)?;
    writeln!(stream, "{text}").map_err(failed)?;
    stream.shutdown(Shutdown::Write).map_err(failed)?;
    std::io::copy(&mut stream, &mut std::io::stdout()).map_err(failed)?;
    Ok(ExitCode::SUCCESS)
}

fn fork(count: usize) -> Result<ExitCode, String> {
    let me = std::env::current_exe().map_err(|error| error.to_string())?;
    let mut children = Vec::new();
    let mut refused = None;
    for _ in 0..count {
        match Command::new(&me).arg("sleep-forever").stdin(Stdio::null()).spawn() {
            Ok(child) => children.push(child),
            Err(error) => {
                refused = Some(error.to_string());
                break;
            }
        }
    }
    println!("{}", children.len());
    if let Some(refused) = refused {
        println!("{refused}");
    }
    for mut child in children {
        let _ = child.kill();
        let _ = child.wait();
    }
    Ok(ExitCode::SUCCESS)
}

/// Byte `i` of the pattern: not periodic in any power of two, so that a lost or repeated chunk shows.
fn pattern(index: u64) -> u8 {
    (index.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 56) as u8
}

fn emit(bytes: u64) -> Result<ExitCode, String> {
    let mut out = std::io::stdout().lock();
    // One block of the pattern, repeated: the tests make the same. Under emulation, computing each
    // byte would be what is measured.
    let block: Vec<u8> = (0..65_537).map(pattern).collect();
    let mut left = bytes;
    while left > 0 {
        let size = left.min(block.len() as u64) as usize;
        out.write_all(&block[..size]).map_err(|error| format!("standard output: {error}"))?;
        left -= size as u64;
    }
    out.flush().map_err(|error| format!("standard output: {error}"))?;
    Ok(ExitCode::SUCCESS)
}

fn count() -> Result<ExitCode, String> {
    let mut input = std::io::stdin().lock();
    let mut buffer = vec![0; 1 << 16];
    let (mut total, mut sum) = (0_u64, 0_u64);
    loop {
        let size = input.read(&mut buffer).map_err(|error| format!("standard input: {error}"))?;
        if size == 0 {
            break;
        }
        for &byte in &buffer[..size] {
            sum = sum.wrapping_mul(31).wrapping_add(u64::from(byte));
        }
        total += size as u64;
    }
    println!("{total} {sum:016x}");
    Ok(ExitCode::SUCCESS)
}

fn send_to_self(number: i32) -> Result<ExitCode, String> {
    let signal = Signal::try_from(number).map_err(|error| error.to_string())?;
    raise(signal).map_err(|error| error.to_string())?;
    Err(format!("{signal} did not end the process"))
}

fn spin(length: Duration) -> Result<ExitCode, String> {
    let begin = Instant::now();
    while begin.elapsed() < length {
        // A system call a round, so that the loop cannot be optimised away.
        clock_gettime(ClockId::CLOCK_MONOTONIC).map_err(|error| error.to_string())?;
    }
    let usage = getrusage(UsageWho::RUSAGE_SELF).map_err(|error| error.to_string())?;
    let used = usage.user_time() + usage.system_time();
    println!("{}", used.tv_sec() * 1000 + used.tv_usec() / 1000);
    Ok(ExitCode::SUCCESS)
}
