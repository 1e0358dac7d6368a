//! Fuzz targets: whatever parses bytes that strangers wrote. A target takes any bytes, and its
//! only demand is that nothing panics, hangs or breaks a promise that it checks.
//!
//! The tests run each for a moment on its seeds and on changed copies of them; for longer:
//! `cargo run --release -p linkspan-fuzz -- TARGET SECONDS`. Inputs are changed at random rather
//! than guided by coverage: that needs a nightly compiler, and `make test` does not have one. So
//! seeds are whole, valid inputs, and [`mutate`] knows the one checksum that would stop nearly
//! every changed archive at the door.
//!
//! The packets that a guest writes into the vsock device's queues are fuzzed beside the device
//! (`host-app/vsock-device/src/tests/hostile.rs`), and its descriptors in `src/tests/queues.rs` there.

mod docker;
pub mod mutate;
mod seeds;
mod targets;

use std::time::{Duration, Instant};

use rand::{SeedableRng as _, rngs::StdRng};

/// One parser.
pub struct Target {
    /// What is parsed.
    pub name: &'static str,
    /// Valid inputs.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// Takes any bytes.
    pub run: fn(&[u8]),
    /// The input is a tar archive, maybe.
    pub tar: bool,
}

/// All targets.
pub const TARGETS: &[Target] = &[
    Target { name: "image", seeds: seeds::images, run: targets::image, tar: true },
    Target { name: "layer", seeds: seeds::layers, run: targets::layer, tar: true },
    Target { name: "copy", seeds: seeds::plain_archives, run: targets::copy, tar: true },
    Target { name: "config", seeds: seeds::configs, run: targets::config, tar: false },
    Target { name: "manifest", seeds: seeds::manifests, run: targets::manifest, tar: false },
    Target { name: "index", seeds: seeds::indexes, run: targets::index, tar: false },
    Target { name: "reference", seeds: seeds::references, run: targets::reference, tar: false },
    Target { name: "seccomp", seeds: seeds::profiles, run: targets::seccomp, tar: false },
    Target { name: "dns", seeds: seeds::questions, run: targets::dns, tar: false },
    Target { name: "preface", seeds: seeds::prefaces, run: targets::preface, tar: false },
    Target { name: "dockerfile", seeds: seeds::dockerfiles, run: targets::dockerfile, tar: false },
    Target { name: "ignore", seeds: seeds::ignores, run: targets::ignore, tar: false },
    Target { name: "log", seeds: seeds::logs, run: targets::log, tar: false },
    Target { name: "wire", seeds: seeds::orders, run: targets::wire, tar: false },
    Target { name: "request", seeds: docker::requests, run: docker::request, tar: false },
    Target { name: "parameter", seeds: docker::parameters, run: docker::parameter, tar: false },
];

/// Runs a target on its seeds, then on changed ones until the time is over. `seed` makes a run
/// repeatable. The number of inputs.
///
/// # Panics
/// When the target does; the input is in the file that is printed.
pub fn run(target: &Target, time: Duration, seed: u64) -> u64 {
    let seeds = (target.seeds)();
    for input in &seeds {
        one(target, input);
    }
    let mut random = StdRng::seed_from_u64(seed);
    let begin = Instant::now();
    let mut inputs = seeds.len() as u64;
    while begin.elapsed() < time {
        let input = mutate::mutate(&mut random, &seeds, target.tar);
        one(target, &input);
        inputs += 1;
    }
    inputs
}

fn one(target: &Target, input: &[u8]) {
    let run = std::panic::AssertUnwindSafe(|| (target.run)(input));
    if let Err(panic) = std::panic::catch_unwind(run) {
        let path = std::env::temp_dir().join(format!("linkspan-fuzz-{}", target.name));
        match std::fs::write(&path, input) {
            Ok(()) => eprintln!("the input of `{}` is in {}", target.name, path.display()),
            Err(error) => eprintln!("the input of `{}` cannot be kept: {error}", target.name),
        }
        std::panic::resume_unwind(panic);
    }
}
