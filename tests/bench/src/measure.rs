//! The figures.

use std::{
    fs,
    io::{Read as _, Write as _},
    net::{TcpListener, TcpStream},
    os::unix::fs::MetadataExt as _,
    path::Path,
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, ensure};
use linkspan_client::{Client, ConnectOptions};
use linkspan_proto::v1::PingRequest;

use crate::{figure::Figure, host, host::Host};

const MIB: f64 = 1024.0 * 1024.0;

/// Kernel + initramfs, as they lie in the image folder.
pub(crate) fn image(target: &Path, kernel: &str) -> Result<Vec<Figure>> {
    let manifest = host::manifest(target)?;
    let entry = &manifest["kernels"][kernel];
    let size = |key: &str| entry[key].as_u64().with_context(|| format!("no `{key}` of {kernel}"));
    let (vmlinux, initramfs) = (size("size")? as f64 / MIB, size("initramfs_size")? as f64 / MIB);
    let total = Figure::new(format!("image {kernel}"), "MiB", vec![vmlinux + initramfs]);
    Ok(vec![
        Figure::new(format!("image {kernel}: kernel"), "MiB", vec![vmlinux]),
        Figure::new(format!("image {kernel}: initramfs"), "MiB", vec![initramfs]),
        if kernel == "lean" { total.aim(20.0) } else { total },
    ])
}

/// `machine start` of a stopped machine with a formatted disk and a running daemon, and its phases.
pub(crate) fn boot(target: &Path, kernel: &str, runs: usize) -> Result<Vec<Figure>> {
    let host = Host::start(target, kernel)?;
    let mut whole = Vec::new();
    let mut phases: Vec<(String, Vec<f64>)> = Vec::new();
    for _ in 0..runs {
        host.run(&["machine", "stop"])?;
        whole.push(host.time(&["machine", "start"])?.as_secs_f64());
        let status = host.status()?;
        for phase in status["Phases"].as_array().context("the status has no phases")? {
            let name = phase["Name"].as_str().unwrap_or_default().to_owned();
            let millis = phase["DurationUs"].as_f64().unwrap_or_default() / 1000.0;
            match phases.iter_mut().find(|(known, _)| *known == name) {
                Some((_, values)) => values.push(millis),
                None => phases.push((name, vec![millis])),
            }
        }
    }
    let aim = if kernel == "lean" { 2.5 } else { 7.0 };
    let mut figures = vec![Figure::new(format!("boot {kernel}"), "s", whole).aim(aim)];
    for (name, values) in phases {
        figures.push(Figure::new(format!("boot {kernel}: {name}"), "ms", values));
    }
    host.end()?;
    Ok(figures)
}

/// What the data disk takes on the host after the first boot, nothing having been run.
pub(crate) fn disk(host: &Host) -> Result<Figure> {
    let path = host.home().join("machines/default/data.img");
    let meta = fs::metadata(&path).with_context(|| path.display().to_string())?;
    // st_blocks counts 512-byte units (stat(2)).
    Ok(Figure::new("disk after first boot", "MiB", vec![meta.blocks() as f64 * 512.0 / MIB]))
}

/// `run --rm busybox true` as a whole process, and the steps of one start in the guest.
pub(crate) fn run(host: &Host, runs: usize) -> Result<Vec<Figure>> {
    let args = ["run", "--rm", "busybox", "true"];
    host.run(&args)?;
    let mut values = Vec::new();
    for _ in 0..runs {
        values.push(host.time(&args)?.as_secs_f64() * 1000.0);
    }
    let mut figures = vec![Figure::new("run --rm busybox true", "ms", values).aim(400.0)];
    let mut version = Vec::new();
    for _ in 0..runs {
        version.push(host.time(&["ps", "-q"])?.as_secs_f64() * 1000.0);
    }
    figures.push(Figure::new("ps -q", "ms", version));
    Ok(figures)
}

/// `exec CONTAINER true` as a whole process.
pub(crate) fn exec(host: &Host, runs: usize) -> Result<Figure> {
    host.run(&["run", "-d", "--name", "bench-exec", "busybox", "sleep", "100000"])?;
    let args = ["exec", "bench-exec", "true"];
    host.run(&args)?;
    let mut values = Vec::new();
    for _ in 0..runs {
        values.push(host.time(&args)?.as_secs_f64() * 1000.0);
    }
    host.run(&["rm", "-f", "bench-exec"])?;
    Ok(Figure::new("exec true", "ms", values).aim(120.0))
}

/// A unary call to the agent and back: client, daemon, vsock, agent.
pub(crate) fn rpc(host: &Host, runs: usize) -> Result<Vec<Figure>> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(async {
        let options =
            ConnectOptions { home: Some(host.home().to_owned()), ..ConnectOptions::default() };
        let client = Client::connect(options).await?;
        let mut agent = client.agent(None);
        let mut values = Vec::new();
        agent.ping(PingRequest::default()).await?;
        for _ in 0..runs {
            let begin = Instant::now();
            agent.ping(PingRequest::default()).await?;
            values.push(begin.elapsed().as_secs_f64() * 1000.0);
        }
        Ok(vec![Figure::new("rpc round trip", "ms", values).aim(1.0)])
    })
}

/// Standard output of `exec`: 64 MiB to a pipe that throws it away.
pub(crate) fn stdout(host: &Host, runs: usize) -> Result<Figure> {
    host.run(&["run", "-d", "--name", "bench-out", "busybox", "sleep", "100000"])?;
    let args = ["exec", "bench-out", "dd", "if=/dev/zero", "bs=256k", "count=256"];
    host.run(&args)?;
    let mut values = Vec::new();
    for _ in 0..runs {
        let took = host.time(&args)?.as_secs_f64();
        values.push(64.0 * MIB / 1e6 / took);
    }
    host.run(&["rm", "-f", "bench-out"])?;
    Ok(Figure::new("exec stdout, 64 MiB", "MB/s", values).aim(60.0))
}

/// Fifty containers started at the same time, each by a command of its own, until the last answers.
pub(crate) fn parallel(host: &Host, runs: usize) -> Result<Figure> {
    const CONTAINERS: usize = 50;
    let mut values = Vec::new();
    for _ in 0..runs {
        let names: Vec<String> = (0..CONTAINERS).map(|index| format!("bench-{index}")).collect();
        let begin = Instant::now();
        std::thread::scope(|scope| -> Result<()> {
            let start = |name: &String| {
                let name = name.clone();
                scope.spawn(move || {
                    host.run(&["run", "-d", "--name", &name, "busybox", "sleep", "100000"])
                })
            };
            let starts: Vec<_> = names.iter().map(start).collect();
            starts.into_iter().try_for_each(|started| match started.join() {
                Ok(result) => result.map(drop),
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })?;
        values.push(begin.elapsed().as_secs_f64());
        let all: Vec<&str> = names.iter().map(String::as_str).collect();
        host.run(&[&["rm", "-f"][..], &all].concat())?;
    }
    Ok(Figure::new("50 containers started at once", "s", values))
}

/// A published port: what one connection carries out of a container, and how long it takes to
/// connect, be answered and be closed.
pub(crate) fn ports(host: &Host, runs: usize) -> Result<Vec<Figure>> {
    let serve = |name: &str, command: &[&str]| -> Result<String> {
        let args = ["run", "-d", "--name", name, "-p", "127.0.0.1::7", "busybox"];
        let server = ["nc", "-ll", "-p", "7", "-e"];
        host.run(&[&args[..], &server, command].concat())?;
        let address = String::from_utf8(host.run(&["port", name, "7"])?.stdout)?.trim().to_owned();
        // Until the server listens.
        let end = Instant::now() + Duration::from_secs(30);
        while drain(&address)? == 0 {
            ensure!(Instant::now() < end, "nothing answers behind {address}");
        }
        Ok(address)
    };
    let wide = serve("bench-wide", &["dd", "if=/dev/zero", "bs=64k", "count=1024"])?;
    let short = serve("bench-short", &["echo", "hello"])?;
    let mut figures = port("published port", &wide, &short, runs)?;
    host.run(&["rm", "-f", "bench-wide", "bench-short"])?;
    let (wide, short) = (loopback(64 << 20)?, loopback(6)?);
    figures.extend(port("loopback alone", &wide, &short, runs)?);
    Ok(figures)
}

fn port(what: &str, wide: &str, short: &str, runs: usize) -> Result<Vec<Figure>> {
    let (mut throughput, mut connections) = (Vec::new(), Vec::new());
    for _ in 0..runs {
        let begin = Instant::now();
        throughput.push(drain(wide)? as f64 / 1e6 / begin.elapsed().as_secs_f64());
    }
    for _ in 0..runs * 5 {
        let begin = Instant::now();
        drain(short)?;
        connections.push(begin.elapsed().as_secs_f64() * 1000.0);
    }
    Ok(vec![
        Figure::new(format!("{what}, 64 MiB out"), "MB/s", throughput),
        Figure::new(format!("{what}, connect to close"), "ms", connections),
    ])
}

/// A server of this process that gives every connection so many bytes, to compare with.
fn loopback(bytes: usize) -> Result<String> {
    let listener = TcpListener::bind(("127.0.0.1", 0))?;
    let address = listener.local_addr()?.to_string();
    // Ends with the process.
    std::thread::spawn(move || {
        let content = vec![0; bytes];
        for mut stream in listener.incoming().flatten() {
            let _ = stream.write_all(&content);
        }
    });
    Ok(address)
}

/// Reads a connection to its end; a reset counts as one.
fn drain(address: &str) -> Result<u64> {
    let mut stream = TcpStream::connect(address)?;
    let mut buffer = vec![0; 1 << 18];
    let mut total = 0;
    loop {
        match stream.read(&mut buffer) {
            Ok(0) | Err(_) => return Ok(total),
            Ok(count) => total += count as u64,
        }
    }
}

/// Every host process of an idle machine.
pub(crate) fn memory(host: &Host, when: &str, runs: usize) -> Result<Figure> {
    let values = (0..runs).map(|_| host.resident_bytes() as f64 / MIB).collect();
    Ok(Figure::new(format!("memory of all host processes, {when}"), "MiB", values).aim(300.0))
}
