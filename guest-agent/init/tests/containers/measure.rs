//! Where the time of a start and of an exec goes. Not a test of anything: run it by hand, with
//! `--ignored --nocapture --test-threads=1`, best inside the VM.

use std::collections::BTreeMap;
use std::os::fd::AsFd as _;
use std::time::{Duration, Instant};

use linkspan_runtime::launch::{Network, Stdio, Timing};
use linkspan_sys::process::wait_pidfd;

use crate::bench::{PATIENCE, bench, process};

const ROUNDS: usize = 40;

/// All rounds of one step.
#[derive(Default)]
struct Step {
    began: Vec<u64>,
    took: Vec<u64>,
}

/// Median durations by step, in the order of the steps, and what the caller of all saw.
#[derive(Default)]
struct Times {
    steps: BTreeMap<(usize, &'static str), Step>,
    whole: Vec<u64>,
    total: Vec<u64>,
}

impl Times {
    fn add(&mut self, trace: &[Timing], whole: Duration, total: Duration) {
        for (index, timing) in trace.iter().enumerate() {
            let step = self.steps.entry((index, timing.name)).or_default();
            step.began.push(timing.started_us);
            step.took.push(timing.duration_us);
        }
        self.whole.push(whole.as_micros() as u64);
        self.total.push(total.as_micros() as u64);
    }

    fn print(mut self, what: &str) {
        let median = |values: &mut Vec<u64>| {
            values.sort_unstable();
            values[values.len() / 2]
        };
        println!("{what}: median of {ROUNDS}, microseconds");
        for ((_, name), Step { began, took }) in &mut self.steps {
            println!("{name:>16} {:>7}  from {:>6}", median(took), median(began));
        }
        println!("{:>16} {:>7}", "= until executed", median(&mut self.whole));
        println!("{:>16} {:>7}", "until ended", median(&mut self.total));
    }
}

#[test]
#[ignore = "prints times, tests nothing"]
fn where_the_time_of_a_start_goes() {
    let Some(bench) = bench() else { return };
    for trace in [true, false] {
        let mut times = Times::default();
        let mut removal = Duration::ZERO;
        for _ in 0..ROUNDS {
            let mut plan = bench.plan("");
            plan.process.args = vec!["true".into()];
            let began = Instant::now();
            let started =
                bench.launcher.start(&plan, Stdio::default(), Network::Plain, trace).unwrap();
            let whole = began.elapsed();
            wait_pidfd(&started.pidfd).unwrap();
            times.add(&started.trace, whole, began.elapsed());
            let began = Instant::now();
            bench.cgroup(&plan).remove(PATIENCE).unwrap();
            removal += began.elapsed();
        }
        times.print("start");
        println!("{:>16} {:>7}", "remove cgroup", removal.as_micros() / ROUNDS as u128);
    }
}

#[test]
#[ignore = "prints times, tests nothing"]
fn where_the_time_of_an_exec_goes() {
    let Some(bench) = bench() else { return };
    let plan = bench.plan("sleep 1000");
    let running = bench.start(&plan);
    let mut times = Times::default();
    let mut more = process("");
    more.args = vec!["true".into()];
    for _ in 0..ROUNDS {
        let began = Instant::now();
        let target = running.started.pidfd.as_fd();
        let started =
            bench.launcher.exec(target, &plan.cgroup, &more, Stdio::default(), true).unwrap();
        let whole = began.elapsed();
        wait_pidfd(&started.pidfd).unwrap();
        times.add(&started.trace, whole, began.elapsed());
    }
    times.print("exec");
}
