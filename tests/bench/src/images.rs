//! Images: pulled, loaded, rebuilt; and what memory of the agent that takes.
//!
//! The comparison is `skopeo copy` and `umoci unpack` in the same VM, from the same registry on the
//! host's loopback. They are this machine's own programs with their libraries, in the image of the
//! tools that measure, and write to a volume, which is on the same disk as the image store. Both
//! ways end with everything on the disk (`sync`).

use std::{fs, path::Path};

use anyhow::{Context as _, Result};
use linkspan_test_registry::{Act, File, Image, Layer, Packing, Server, noise};

use crate::{
    figure::Figure,
    host::Host,
    runtimes::{IMAGE, programs},
};

const MB: usize = 1_000_000;
/// Of the image that is pulled.
const LAYERS: usize = 8;
const LAYER: usize = 25 * MB;
/// What the agent may take at most, MiB.
const MEMORY: f64 = 100.0;

/// Half of it does not compress, as programs nearly do not; half does, as texts do.
fn layer(number: usize, size: usize, packing: Packing) -> Layer {
    const FILE: usize = 64_000;
    let random = noise(number as u64, size / 2);
    let files: Vec<_> = random
        .chunks(FILE / 2)
        .enumerate()
        .map(|(index, part)| {
            let mut content = part.to_vec();
            let line = format!("line {index} of layer {number}: what compresses well\n");
            content.extend(line.bytes().cycle().take(part.len()));
            File::new(format!("layer-{number}/{}/{index}", index % 10), content)
        })
        .collect();
    Layer::new(&files, packing)
}

/// The agent's peak of resident memory since [`forget_peak`], MiB.
fn peak(host: &Host) -> Result<f64> {
    let output = host.run(&["machine", "shell", "--", "grep", "VmHWM", "/proc/1/status"])?;
    let text = String::from_utf8(output.stdout)?;
    let kib: f64 = text.split_whitespace().nth(1).context("no VmHWM")?.parse()?;
    Ok(kib / 1024.0)
}

/// proc_pid_clear_refs(5): 5 sets the peak to what is resident now.
fn forget_peak(host: &Host) -> Result<()> {
    let command = "echo 5 > /proc/1/clear_refs";
    host.run(&["machine", "shell", "--", "sh", "-c", command])?;
    Ok(())
}

/// Runs a command some times and gives its seconds; `undo` is not part of them. With the agent's
/// peak of memory over all runs.
fn timed(
    host: &Host,
    what: &str,
    runs: usize,
    args: &[&str],
    undo: impl Fn() -> Result<()>,
) -> Result<Vec<Figure>> {
    forget_peak(host)?;
    let mut seconds = Vec::new();
    for _ in 0..runs {
        seconds.push(host.time(args)?.as_secs_f64());
        undo()?;
    }
    Ok(vec![
        Figure::new(what, "s", seconds),
        Figure::new(format!("{what}: the agent's peak"), "MiB", vec![peak(host)?]).aim(MEMORY),
    ])
}

/// A pull from a registry of this process, and the same by other programs.
pub(crate) fn pull(host: &Host, runs: usize) -> Result<Vec<Figure>> {
    let layers: Vec<_> = (0..LAYERS).map(|number| layer(number, LAYER, Packing::Gzip)).collect();
    let travels: usize = layers.iter().map(|layer| layer.blob.len()).sum();
    let server = Server::in_background(|_| Act::Serve);
    Image::new(layers, &[]).put(&server, "bench/image", "1");
    let name = format!("{}/bench/image:1", server.address);
    let remove = || host.run(&["rmi", &name]).map(drop);
    let mut figures = vec![Figure::new(
        "image of 200 MB, 8 layers: compressed",
        "MB",
        vec![travels as f64 / MB as f64],
    )];
    figures.extend(timed(host, "pull, 200 MB in 8 layers", runs, &["pull", "-q", &name], remove)?);
    if let [Some(skopeo), Some(umoci)] = [found("skopeo"), found("umoci")] {
        let from = format!("docker://host.docker.internal:{}/bench/image:1", server.address.port());
        let copy = format!(
            "rm -rf /work/* && {skopeo} --insecure-policy --tmpdir /work copy -q \
             --src-tls-verify=false {from} oci:/work/image:1"
        );
        let unpack = format!("{umoci} unpack --image /work/image:1 /work/bundle");
        let both = format!("{copy} && {unpack} && sync");
        let seconds = |script: &str, runs: usize| -> Result<Vec<f64>> {
            let flags = ["run", "--rm", "-v", "bench-images:/work", IMAGE];
            let args = [&flags[..], &["/bin/busybox", "sh", "-c", script]].concat();
            (0..runs).map(|_| Ok(host.time(&args)?.as_secs_f64())).collect()
        };
        figures.push(Figure::new("skopeo copy + umoci unpack", "s", seconds(&both, runs)?));
        let alone = seconds(&format!("{copy} && sync"), runs)?;
        figures.push(Figure::new("skopeo copy alone", "s", alone));
    }
    Ok(figures)
}

fn found(name: &'static str) -> Option<String> {
    let (_, path) = programs(&[name]).pop()?;
    Some(path.to_string_lossy().into_owned())
}

/// An archive of 500 MB, uncompressed, from a file.
pub(crate) fn load(host: &Host, runs: usize) -> Result<Vec<Figure>> {
    let layers: Vec<_> = (0..5).map(|n| layer(100 + n, 100 * MB, Packing::Plain)).collect();
    let archive = host.home().join("bench-archive.tar");
    fs::write(&archive, Image::new(layers, &[]).archive("bench/archive:1"))
        .with_context(|| archive.display().to_string())?;
    let args = ["load", "-q", "-i", &archive.to_string_lossy()];
    let figures = timed(host, "load, archive of 500 MB", runs, &args, || {
        host.run(&["rmi", "bench/archive:1"]).map(drop)
    });
    fs::remove_file(&archive)?;
    figures
}

/// A Dockerfile of twenty steps and a context of ten thousand files, none of which has changed.
pub(crate) fn rebuild(host: &Host, runs: usize) -> Result<Vec<Figure>> {
    const FILES: usize = 10_000;
    let folder = tempfile::Builder::new().prefix("lsbench-context-").tempdir()?;
    context(folder.path(), FILES)?;
    let path = folder.path().to_string_lossy().into_owned();
    let args = ["build", "-q", "-t", "bench/built:1", &path];
    let first = host.time(&args)?.as_secs_f64();
    let mut figures =
        vec![Figure::new("build, 20 steps, 10,000 files: the first", "s", vec![first])];
    let mut again =
        timed(host, "build again, nothing changed", runs, &args, || Ok(()))?.into_iter();
    figures.extend(again.next().map(|seconds| seconds.aim(1.0)));
    figures.extend(again);
    Ok(figures)
}

fn context(folder: &Path, files: usize) -> Result<()> {
    for index in 0..files {
        let sub = folder.join(format!("source/{}", index / 100));
        if index % 100 == 0 {
            fs::create_dir_all(&sub)?;
        }
        fs::write(sub.join(format!("{index}.txt")), format!("file {index}\n").repeat(64))?;
    }
    let mut text = String::from("FROM busybox\nWORKDIR /app\nCOPY source /app/source\n");
    for step in 3..20 {
        text.push_str(&match step % 3 {
            0 => format!("RUN echo {step} > /app/{step}\n"),
            1 => format!("ENV STEP_{step}={step}\n"),
            _ => format!("COPY source/{step} /app/copy-{step}\n"),
        });
    }
    fs::write(folder.join("Dockerfile"), text)?;
    Ok(())
}
