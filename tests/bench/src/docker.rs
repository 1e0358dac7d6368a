//! The Docker Engine API, as the docker CLI and as its clients see it. The reference is the docker
//! CLI against Docker Engine in a Debian VM on the same kind of machine; the aim is a tenth of it.

use std::{
    fs,
    io::{BufRead as _, BufReader, Read as _, Write as _},
    os::unix::net::UnixStream,
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use crate::{figure::Figure, host::Host};

const MIB: f64 = 1024.0 * 1024.0;
/// Of the reference, as this measures them.
const RUN_MS: f64 = 5600.0;
const EXEC_MS: f64 = 600.0;
const PING_MS: f64 = 18.0;
const STDOUT_MB: f64 = 6.0;
/// How many containers a list has.
const KNOWN: usize = 100;
const LISTS: usize = 1000;
/// Clients that ask for lists at the same time.
const CLIENTS: usize = 8;

/// The docker CLI with this machine's engine, and the socket that it uses.
struct Docker<'a> {
    host: &'a Host,
    socket: PathBuf,
}

/// Everything of this file.
pub(crate) fn docker(host: &Host, runs: usize) -> Result<Vec<Figure>> {
    // The first use has the machine's built-in image unpacked.
    host.run(&["run", "--rm", "busybox", "true"])?;
    let docker = Docker { host, socket: socket(host)? };
    let mut figures = vec![docker.ping(runs * 10)?];
    if Command::new("docker").arg("--version").output().is_ok() {
        figures.extend(docker.commands(runs)?);
    } else {
        println!("skipped: the docker commands: there is no docker CLI");
    }
    figures.extend(docker.lists()?);
    Ok(figures)
}

/// Where `linkspan docker env` says that it is.
fn socket(host: &Host) -> Result<PathBuf> {
    let shown = String::from_utf8(host.run(&["docker", "env"])?.stdout)?;
    let (_, path) = shown.split_once("unix://").context("no socket in `docker env`")?;
    let end = path.find(['"', '\'', '\n']).unwrap_or(path.len());
    Ok(PathBuf::from(&path[..end]))
}

impl Docker<'_> {
    fn command(&self, args: &[&str]) -> Command {
        let mut command = Command::new("docker");
        let host = format!("unix://{}", self.socket.display());
        command.args(args).env("DOCKER_HOST", host).env("DOCKER_BUILDKIT", "0");
        // No plug-ins, no contexts: only the CLI itself is measured.
        command.env("DOCKER_CONFIG", self.host.home().join("docker"));
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
        command
    }

    /// How long a command takes as a whole process.
    fn time(&self, args: &[&str]) -> Result<Duration> {
        let begin = Instant::now();
        let output = self.command(args).output()?;
        let took = begin.elapsed();
        let why = String::from_utf8_lossy(&output.stderr);
        ensure!(output.status.success(), "docker {} failed: {why}", args.join(" "));
        Ok(took)
    }

    fn times(&self, args: &[&str], runs: usize) -> Result<Vec<f64>> {
        self.time(args)?;
        (0..runs).map(|_| Ok(self.time(args)?.as_secs_f64() * 1000.0)).collect()
    }

    fn commands(&self, runs: usize) -> Result<Vec<Figure>> {
        let run = self.times(&["run", "--rm", "busybox", "true"], runs)?;
        let ps = self.times(&["ps"], runs)?;
        self.time(&["run", "-d", "--name", "bench-docker", "busybox", "sleep", "100000"])?;
        let exec = self.times(&["exec", "bench-docker", "true"], runs)?;
        let flood = ["exec", "bench-docker", "dd", "if=/dev/zero", "bs=256k", "count=256"];
        let stdout = self.times(&flood, runs.min(10))?;
        let stdout = stdout.into_iter().map(|millis| 64.0 * MIB / 1e3 / millis).collect();
        self.time(&["rm", "-f", "bench-docker"])?;
        let mut figures = vec![
            Figure::new("docker run --rm busybox true", "ms", run)
                .aim(RUN_MS / 10.0)
                .reference(RUN_MS),
            Figure::new("docker exec true", "ms", exec).aim(EXEC_MS / 10.0).reference(EXEC_MS),
            Figure::new("docker ps", "ms", ps),
            Figure::new("docker exec stdout, 64 MiB", "MB/s", stdout)
                .aim(STDOUT_MB * 10.0)
                .reference(STDOUT_MB),
            self.parallel(runs.min(3))?,
        ];
        figures.extend(self.build(runs.min(5))?);
        Ok(figures)
    }

    /// Fifty containers that come and go, each by a docker command of its own.
    fn parallel(&self, runs: usize) -> Result<Figure> {
        let mut values = Vec::new();
        for _ in 0..runs {
            let begin = Instant::now();
            std::thread::scope(|scope| -> Result<()> {
                let one = || self.time(&["run", "--rm", "busybox", "true"]);
                let all: Vec<_> = (0..50).map(|_| scope.spawn(one)).collect();
                all.into_iter().try_for_each(|one| match one.join() {
                    Ok(result) => result.map(drop),
                    Err(panic) => std::panic::resume_unwind(panic),
                })
            })?;
            values.push(begin.elapsed().as_secs_f64());
        }
        Ok(Figure::new("50 x docker run --rm at once", "s", values))
    }

    /// A Dockerfile of which nothing has changed.
    fn build(&self, runs: usize) -> Result<Option<Figure>> {
        let folder = tempfile::Builder::new().prefix("lsbench-build-").tempdir()?;
        fs::write(folder.path().join("file"), "content\n")?;
        let text = "FROM busybox\nCOPY file /file\nRUN cat /file > /copy\nCMD [\"true\"]\n";
        fs::write(folder.path().join("Dockerfile"), text)?;
        let args = ["build", "-q", "-t", "bench/docker", &folder.path().to_string_lossy()];
        let output = self.command(&args).output()?;
        if !output.status.success() {
            let why = String::from_utf8_lossy(&output.stderr);
            println!("skipped: docker build: {}", why.trim());
            return Ok(None);
        }
        Ok(Some(Figure::new("docker build, all cached", "ms", self.times(&args, runs)?)))
    }

    /// A new connection, the request, the answer.
    fn ping(&self, runs: usize) -> Result<Figure> {
        let mut values = Vec::new();
        for _ in 0..runs {
            let begin = Instant::now();
            Client::connect(&self.socket)?.call("GET", "/_ping", "")?;
            values.push(begin.elapsed().as_secs_f64() * 1000.0);
        }
        Ok(Figure::new("_ping", "ms", values).aim(PING_MS / 10.0).reference(PING_MS))
    }

    /// `GET /containers/json` by one client and by several, and what of it stays in the daemon.
    fn lists(&self) -> Result<Vec<Figure>> {
        let mut client = Client::connect(&self.socket)?;
        for index in 0..KNOWN {
            let path = format!("/containers/create?name=bench-known-{index}");
            client.call(
                "POST",
                &path,
                r#"{"Image":"busybox","Cmd":["true"],"Labels":{"a":"b"}}"#,
            )?;
        }
        let asked = || -> Result<()> {
            let mut client = Client::connect(&self.socket)?;
            for _ in 0..LISTS / CLIENTS {
                list(&mut client)?;
            }
            Ok(())
        };
        let all: Vec<serde::de::IgnoredAny> = serde_json::from_slice(&list(&mut client)?)?;
        ensure!(all.len() >= KNOWN, "{} containers are listed", all.len());
        let before = daemon_bytes(self.host)?;
        let begin = Instant::now();
        (0..LISTS).try_for_each(|_| list(&mut client).map(drop))?;
        let one = LISTS as f64 / begin.elapsed().as_secs_f64();
        let begin = Instant::now();
        std::thread::scope(|scope| {
            let all: Vec<_> = (0..CLIENTS).map(|_| scope.spawn(asked)).collect();
            all.into_iter().try_for_each(|one| match one.join() {
                Ok(result) => result,
                Err(panic) => std::panic::resume_unwind(panic),
            })
        })?;
        let several = LISTS as f64 / begin.elapsed().as_secs_f64();
        let after = daemon_bytes(self.host)?;
        for index in 0..KNOWN {
            client.call("DELETE", &format!("/containers/bench-known-{index}?force=1"), "")?;
        }
        Ok(vec![
            Figure::new("GET /containers/json of 100, one client", "1/s", vec![one]).aim(1000.0),
            Figure::new("GET /containers/json of 100, 8 clients", "1/s", vec![several]).aim(1000.0),
            Figure::new("the daemon before 2,000 lists", "MiB", vec![before]),
            Figure::new("the daemon after 2,000 lists", "MiB", vec![after]),
        ])
    }
}

fn list(client: &mut Client) -> Result<Vec<u8>> {
    client.call("GET", "/containers/json?all=1", "")
}

/// Resident memory of the daemon's own process, MiB.
fn daemon_bytes(host: &Host) -> Result<f64> {
    let home = host.home().to_string_lossy().into_owned();
    let read = |path: &Path, file: &str| {
        String::from_utf8_lossy(&fs::read(path.join(file)).unwrap_or_default()).into_owned()
    };
    for entry in fs::read_dir("/proc")?.flatten() {
        let path = entry.path();
        let command = read(&path, "cmdline");
        let words: Vec<&str> = command.split('\0').filter(|word| !word.is_empty()).collect();
        // The devices are the same program with an argument more.
        let daemon = words.first().is_some_and(|program| program.ends_with("linkspand"))
            && !words.iter().any(|word| word.ends_with("-device"));
        if !daemon || !(command.contains(&home) || read(&path, "environ").contains(&home)) {
            continue;
        }
        let status = read(&path, "status");
        let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
        let kib = line.and_then(|line| line.trim().trim_end_matches(" kB").parse::<f64>().ok());
        return Ok(kib.context("the daemon has no VmRSS")? / 1024.0);
    }
    bail!("there is no daemon of `{home}`")
}

/// One connection that is used again and again, as clients do.
struct Client(BufReader<UnixStream>);

impl Client {
    fn connect(socket: &Path) -> Result<Self> {
        let stream = UnixStream::connect(socket).with_context(|| socket.display().to_string())?;
        Ok(Self(BufReader::new(stream)))
    }

    /// The body of an answer that says how long it is, or has none.
    fn call(&mut self, method: &str, path: &str, body: &str) -> Result<Vec<u8>> {
        let length = body.len();
        let head = format!(
            "{method} {path} HTTP/1.1\r\nHost: docker\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n\r\n"
        );
        self.0.get_mut().write_all((head + body).as_bytes())?;
        let (mut first, mut length) = (String::new(), 0);
        self.0.read_line(&mut first)?;
        loop {
            let mut line = String::new();
            self.0.read_line(&mut line)?;
            if line.trim().is_empty() {
                break;
            }
            if let Some(value) = line.to_ascii_lowercase().strip_prefix("content-length:") {
                length = value.trim().parse()?;
            }
        }
        let mut answer = vec![0; length];
        self.0.read_exact(&mut answer)?;
        let shown = String::from_utf8_lossy(&answer);
        ensure!(first.starts_with("HTTP/1.1 2"), "{method} {path}: {}: {shown}", first.trim());
        Ok(answer)
    }
}
