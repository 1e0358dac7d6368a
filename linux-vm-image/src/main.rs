//! Builds the VM image: kernels, their initramfs, the built-in container images, the manifest.
//! Runs on Linux hosts with apt; the image itself boots on every host.
//!
//! This file reads the command line and prints what happened; the work is in the modules.

mod apt;
mod builtin;
mod cache;
mod cpio;
mod image;
mod initramfs;
mod kernel;
mod oci;
mod process;
mod template;

use std::{path::PathBuf, process::ExitCode};

use anyhow::Result;
use clap::{Args, Parser, Subcommand};

use cache::Cache;
use image::{Inputs, Kernels, Outcome};
use initramfs::Packing;

/// Builds the Linux VM that Linkspan runs containers in.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Subcommand)]
enum Verb {
    /// Put the VM image together; does nothing when nothing has changed.
    Build(BuildArguments),
    /// Get a kernel into the cache.
    Kernel {
        #[command(subcommand)]
        kind: KernelKind,
    },
    /// Compare every file of an image with its manifest.
    Verify {
        /// The image's folder.
        folder: PathBuf,
    },
}

#[derive(Args)]
struct BuildArguments {
    /// Where the image goes.
    #[arg(long)]
    out: PathBuf,
    /// The static linkspan-agent.
    #[arg(long)]
    agent: PathBuf,
    /// The static linkspan-init.
    #[arg(long)]
    init: PathBuf,
    /// The static linkspan-hello.
    #[arg(long)]
    hello: PathBuf,
    /// The static busybox, from the package busybox-static.
    #[arg(long, default_value = "/bin/busybox")]
    busybox: PathBuf,
    /// A static user emulator of QEMU, such as /usr/bin/qemu-aarch64-static of the package
    /// qemu-user-static, with which containers run programs of that processor; may be given several
    /// times. Each adds its size to every VM's memory.
    #[arg(long, value_name = "FILE")]
    emulator: Vec<PathBuf>,
    /// Which kernels go in.
    #[arg(long, value_enum, default_value_t = Kernels::Present)]
    kernel: Kernels,
    /// How the initramfs is packed.
    #[arg(long, value_enum, default_value_t = Packing::Lz4)]
    packing: Packing,
    #[command(flatten)]
    cache: CacheArgument,
}

#[derive(Subcommand)]
enum KernelKind {
    /// Fetch the distribution's newest cloud kernel.
    Debian(CacheArgument),
    /// Build the small kernel from the distribution's source: a quarter of an hour, once.
    Lean(CacheArgument),
}

#[derive(Args)]
struct CacheArgument {
    /// The cache [default: $LINKSPAN_CACHE, else linkspan in the user's cache folder].
    #[arg(long)]
    cache: Option<PathBuf>,
}

fn main() -> ExitCode {
    match run(Arguments::parse().verb) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(verb: Verb) -> Result<()> {
    match verb {
        Verb::Build(arguments) => build(arguments),
        Verb::Kernel { kind } => {
            let kernel = match kind {
                KernelKind::Debian(argument) => {
                    kernel::debian::fetch(&Cache::open(argument.cache)?)?
                }
                KernelKind::Lean(argument) => kernel::lean::build(&Cache::open(argument.cache)?)?,
            };
            println!("{} is in `{}`", kernel.built.release, kernel.folder.display());
            Ok(())
        }
        Verb::Verify { folder } => {
            let manifest = image::verify(&folder)?;
            println!(
                "`{}` is whole: {} kernels, {} container images",
                folder.display(),
                manifest.kernels.len(),
                manifest.images.len()
            );
            Ok(())
        }
    }
}

fn build(arguments: BuildArguments) -> Result<()> {
    let cache = Cache::open(arguments.cache.cache)?;
    let inputs = Inputs {
        out: arguments.out,
        agent: arguments.agent,
        init: arguments.init,
        hello: arguments.hello,
        busybox: arguments.busybox,
        emulators: arguments.emulator,
        kernels: arguments.kernel,
        packing: arguments.packing,
    };
    match image::build(&inputs, &cache)? {
        Outcome::Unchanged => println!("the VM image `{}` is up to date", inputs.out.display()),
        Outcome::Built => {
            println!("built the VM image `{}`", inputs.out.display());
            for (name, kernel) in image::verify(&inputs.out)?.kernels {
                println!(
                    "  {name}: Linux {}, kernel {:.1} MB, initramfs {:.1} MB",
                    kernel.version,
                    kernel.size as f64 / 1e6,
                    kernel.initramfs_size as f64 / 1e6
                );
            }
        }
    }
    Ok(())
}
