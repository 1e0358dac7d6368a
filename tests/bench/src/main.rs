//! `make bench`: each figure with its median and spread, as text and JSON.
//!
//! The programs are run as a user would run them, in a home of their own; only the round trip of
//! an RPC is measured from inside, by way of the client library. Nothing is asserted: a figure is
//! shown beside its aim, and a person decides.

mod docker;
mod figure;
mod files;
mod host;
mod images;
mod measure;
mod runtimes;

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use clap::Parser;
use figure::Figure;
use host::Host;

/// Measures Linkspan on this machine.
#[derive(Parser)]
struct Args {
    /// Where the built programs are.
    #[arg(long, env = "LINKSPAN_TARGET", default_value = "target")]
    target: PathBuf,
    /// Also write the figures to this file, as JSON.
    #[arg(long)]
    json: Option<PathBuf>,
    /// Runs of each figure (boots are slower and get half as many, but at least ten unless this is less).
    #[arg(long, default_value_t = 20)]
    runs: usize,
    /// Only figures whose name contains this.
    #[arg(long)]
    only: Option<String>,
}

fn main() -> Result<()> {
    let args = Args::parse();
    let target = args
        .target
        .canonicalize()
        .with_context(|| format!("{} does not exist: `make image` first", args.target.display()))?;
    let wanted = |name: &str| args.only.as_deref().is_none_or(|only| name.contains(only));
    let boots = args.runs.min(10.max(args.runs / 2));
    let mut figures = Vec::new();
    let mut add = |new: Vec<Figure>| {
        for figure in &new {
            println!("{figure}");
        }
        figures.extend(new);
    };

    println!("{}", host::machine_line());
    println!("{}", Figure::header());
    for kernel in host::kernels(&target)? {
        if wanted("image") {
            add(measure::image(&target, &kernel)?);
        }
        if wanted("boot") {
            add(measure::boot(&target, &kernel, boots)?);
        }
    }
    let running =
        ["run", "exec", "rpc", "stdout", "ports", "memory", "disk", "parallel", "oci", "files"];
    if running.iter().any(|name| wanted(name)) {
        let host = Host::start(&target, "auto")?;
        if wanted("disk") {
            add(vec![measure::disk(&host)?]);
        }
        if wanted("memory") {
            add(vec![measure::memory(&host, "idle", args.runs.min(10))?]);
        }
        if wanted("run") {
            add(measure::run(&host, args.runs)?);
        }
        if wanted("exec") {
            add(vec![measure::exec(&host, args.runs)?]);
        }
        if wanted("rpc") {
            add(measure::rpc(&host, args.runs * 50)?);
        }
        if wanted("stdout") {
            add(vec![measure::stdout(&host, args.runs.min(10))?]);
        }
        if wanted("ports") {
            add(measure::ports(&host, args.runs.min(10))?);
        }
        if wanted("memory") {
            add(vec![measure::memory(&host, "after the above", args.runs.min(10))?]);
        }
        // After the memory: these leave the guest's caches full.
        if wanted("parallel") {
            add(vec![measure::parallel(&host, args.runs.min(5))?]);
        }
        if wanted("oci") || wanted("files") {
            runtimes::import(&host, &target)?;
        }
        if wanted("oci") {
            add(runtimes::oci(&host, args.runs)?);
        }
        if wanted("files") {
            add(files::files(&host, &target)?);
        }
        host.end()?;
    }
    if wanted("docker") {
        let host = Host::start(&target, "auto")?;
        add(docker::docker(&host, args.runs)?);
        host.end()?;
    }
    let images = ["pull", "load", "rebuild"];
    if images.iter().any(|name| wanted(name)) {
        // A machine of its own: what these leave in the guest's caches is none of the others'.
        let host = Host::start(&target, "auto")?;
        let runs = args.runs.min(5);
        runtimes::import(&host, &target)?;
        if wanted("pull") {
            add(images::pull(&host, runs)?);
        }
        if wanted("load") {
            add(images::load(&host, runs)?);
        }
        if wanted("rebuild") {
            add(images::rebuild(&host, runs)?);
        }
        host.end()?;
    }
    if let Some(path) = args.json {
        let document = serde_json::json!({
            "format": 1,
            "machine": host::machine_line(),
            "figures": figures,
        });
        std::fs::write(&path, serde_json::to_vec_pretty(&document)?)
            .with_context(|| format!("cannot write `{}`", path.display()))?;
        println!("\nwritten to {}", path.display());
    }
    Ok(())
}
