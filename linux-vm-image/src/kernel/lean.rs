//! The kernel `lean`: built from the distribution's kernel source with the committed configuration,
//! everything in one file. Takes a compiler and about a quarter of an hour of two cores, once.

use std::{
    fs::{self, File},
    io::{BufRead as _, BufReader, Write as _},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use anyhow::{Context as _, Result, bail, ensure};

use super::{config, elf};
use crate::{
    apt::{self, Candidate},
    cache::{Built, Cache, CachedKernel, load, sha256, store},
    process,
};

/// The committed configuration, merged over `tinyconfig`.
pub(crate) const FRAGMENT: &str = include_str!("../../kernel/lean.fragment");

/// The source's packages, best first: the configuration is written for 6.12.
const SOURCES: [&str; 2] = ["linux-source-6.12", "linux-source"];

/// Part of the cache key: changes when the way this module builds a kernel does.
const RECIPE: u32 = 1;

/// Fixed, so that the same source and configuration give the same bytes.
const FIXED: [(&str, &str); 4] = [
    ("KBUILD_BUILD_TIMESTAMP", "2026-01-01 00:00:00 UTC"),
    ("KBUILD_BUILD_USER", "linkspan"),
    ("KBUILD_BUILD_HOST", "linkspan"),
    ("KBUILD_BUILD_VERSION", "1"),
];

/// Programs that the kernel's build calls, with the package of each.
const TOOLS: [(&str, &str); 6] = [
    ("make", "build-essential"),
    ("gcc", "build-essential"),
    ("flex", "flex"),
    ("bison", "bison"),
    ("bc", "bc"),
    ("xz", "xz-utils"),
];

/// Covers what decides the kernel besides the source.
pub(crate) fn hash12() -> String {
    sha256(format!("{RECIPE}\n{FRAGMENT}").as_bytes())[..12].to_owned()
}

/// The cached kernel of this configuration, whichever version; no question to apt.
pub(crate) fn cached(cache: &Cache) -> Result<Option<CachedKernel>> {
    cache.newest("lean", &hash12())
}

/// Builds the kernel from the source that apt offers now, unless the cache has it.
pub(crate) fn build(cache: &Cache) -> Result<CachedKernel> {
    let source = source_package()?;
    if let Some(kernel) = cache.exact("lean", &source.version, &hash12())? {
        eprintln!("the lean kernel {} is in the cache already", kernel.built.release);
        return Ok(kernel);
    }
    check_tools()?;
    let package = apt::download(cache, &source)?;
    let work = cache.work()?;
    let tree = unpack(&package, &source.name, work.path())?;
    configure(&tree)?;
    compile(cache, &tree)?;
    keep(cache, &tree, &source)
}

fn source_package() -> Result<Candidate> {
    for name in SOURCES {
        let Some(found) = apt::candidate(name)? else { continue };
        // `linux-source` is an empty package that depends on the numbered one.
        let numbered = found.depends.iter().find(|name| name.starts_with("linux-source-"));
        return match numbered {
            Some(numbered) => apt::candidate(numbered)?
                .with_context(|| format!("apt does not know `{numbered}`, which `{name}` needs")),
            None => Ok(found),
        };
    }
    bail!(
        "apt offers no kernel source: it knows neither `{}`; run `apt-get update`",
        SOURCES.join("` nor `")
    )
}

fn check_tools() -> Result<()> {
    let missing: Vec<&str> = TOOLS
        .into_iter()
        .filter(|(tool, _)| {
            let mut probe = process::command("sh");
            probe.args(["-c", "command -v \"$0\" >/dev/null", tool]);
            !probe.status().is_ok_and(|status| status.success())
        })
        .map(|(_, package)| package)
        .chain((!Path::new("/usr/include/libelf.h").exists()).then_some("libelf-dev"))
        .collect();
    ensure!(missing.is_empty(), "building a kernel needs more packages: {}", missing.join(" "));
    Ok(())
}

fn unpack(package: &Path, name: &str, work: &Path) -> Result<PathBuf> {
    eprintln!("unpacking {name}");
    apt::unpack(package, work)?;
    let archive = work.join(format!("usr/src/{name}.tar.xz"));
    process::output(process::command("tar").arg("-xJf").arg(&archive).arg("-C").arg(work))?;
    fs::remove_file(&archive).with_context(|| format!("cannot remove `{}`", archive.display()))?;
    let tree = work.join(name);
    ensure!(tree.join("Makefile").is_file(), "the package `{name}` unpacks to no `{name}` folder");
    Ok(tree)
}

fn make(tree: &Path) -> Command {
    let mut command = process::command("make");
    command.current_dir(tree).envs(FIXED);
    // A build in a build: neither the outer make's job server nor its flags are meant for it.
    for variable in ["MAKEFLAGS", "MFLAGS", "MAKELEVEL", "ARCH", "CROSS_COMPILE"] {
        command.env_remove(variable);
    }
    command
}

fn configure(tree: &Path) -> Result<()> {
    eprintln!("configuring");
    let fragment = tree.join("lean.fragment");
    store(&fragment, FRAGMENT.as_bytes())?;
    process::output(make(tree).arg("tinyconfig"))?;
    let mut merge = process::command("sh");
    merge.current_dir(tree).args(["scripts/kconfig/merge_config.sh", "-m", ".config"]);
    process::output(merge.arg(&fragment))?;
    process::output(make(tree).arg("olddefconfig"))?;
    let have = String::from_utf8_lossy(&load(&tree.join(".config"))?).into_owned();
    let lost = config::differences(&config::parse(FRAGMENT), &config::parse(&have));
    ensure!(
        lost.is_empty(),
        "the kernel's configuration did not come out as asked:\n  {}",
        lost.join("\n  ")
    );
    Ok(())
}

fn compile(cache: &Cache, tree: &Path) -> Result<()> {
    let jobs = std::thread::available_parallelism().map_or(1, usize::from);
    let log_path = cache.folder("kernels")?.join("lean-build.log");
    let io = || format!("cannot write `{}`", log_path.display());
    let mut log = File::create(&log_path).with_context(io)?;
    eprintln!("compiling with {jobs} jobs; the log is `{}`", log_path.display());
    let mut command = make(tree);
    command.arg(format!("-j{jobs}")).args(["vmlinux"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(log.try_clone().with_context(io)?);
    let mut child = process::spawned(command.spawn(), &command)?;
    let stdout = child.stdout.take().context("the compiler's output is not there")?;
    let mut progress = Progress::new();
    for line in BufReader::new(stdout).split(b'\n') {
        let line = line.context("cannot read the compiler's output")?;
        log.write_all(&line).and_then(|()| log.write_all(b"\n")).with_context(io)?;
        progress.step();
    }
    let status = child.wait().context("cannot wait for the compiler")?;
    if !status.success() {
        let text = String::from_utf8_lossy(&load(&log_path)?).into_owned();
        bail!(
            "the kernel does not compile ({status}); the end of `{}`:\n{}",
            log_path.display(),
            process::last_lines(&text, 30)
        );
    }
    eprintln!("compiled in {}", minutes(progress.started.elapsed()));
    Ok(())
}

/// A line now and then, so that a quarter of an hour does not look like a hang.
struct Progress {
    started: Instant,
    said: Instant,
    steps: usize,
}

impl Progress {
    fn new() -> Self {
        Self { started: Instant::now(), said: Instant::now(), steps: 0 }
    }

    fn step(&mut self) {
        self.steps += 1;
        if self.said.elapsed() >= Duration::from_secs(30) {
            self.said = Instant::now();
            eprintln!("  {} steps done after {}", self.steps, minutes(self.started.elapsed()));
        }
    }
}

fn minutes(time: Duration) -> String {
    format!("{} min {:02} s", time.as_secs() / 60, time.as_secs() % 60)
}

fn keep(cache: &Cache, tree: &Path, source: &Candidate) -> Result<CachedKernel> {
    let work = cache.work()?;
    let vmlinux =
        elf::pack(&load(&tree.join("vmlinux"))?).context("the built kernel is of no use")?;
    store(&work.path().join("vmlinux"), &vmlinux)?;
    store(&work.path().join("config"), &load(&tree.join(".config"))?)?;
    let release = process::text(make(tree).args(["-s", "kernelrelease"]))?.trim().to_owned();
    let compiler = process::text(process::command("gcc").arg("-dumpfullversion"))?;
    let built = Built {
        format: 1,
        release,
        package_version: source.version.clone(),
        sha256: sha256(&vmlinux),
        origin: format!(
            "built from package {} {} with lean.fragment {} by gcc {}, stripped of padding",
            source.name,
            source.version,
            hash12(),
            compiler.trim()
        ),
        modules: Vec::new(),
    };
    cache.keep(work, "lean", &hash12(), &built)
}
