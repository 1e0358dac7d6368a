//! `stats`: what containers use, sampled once a second and pushed to whoever listens.

use std::{collections::HashMap, time::Duration};

use jiff::Timestamp;
use tokio::time::{Instant, sleep_until};

use crate::{Containers, Error, container::blocking, id::ContainerId, network::Mode};

/// From one sample to the next.
const PERIOD: Duration = Duration::from_secs(1);

/// What a cgroup has used up to one moment, and what it may use (cgroup-v2.rst).
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Usage {
    /// CPU time of the container, nanoseconds (cpu.stat).
    pub cpu_ns: u64,
    /// CPU time that has passed in the machine, all processors together, idle or not.
    pub system_ns: u64,
    /// Processors.
    pub cpus: u32,
    /// Bytes, without file cache that can be given back at once (memory.stat, inactive_file).
    pub memory: u64,
    /// Bytes; the machine's memory when there is no limit.
    pub memory_limit: u64,
    /// Processes and threads.
    pub pids: u64,
    /// 0: no limit.
    pub pids_limit: u64,
    /// Bytes read from disks (io.stat).
    pub block_read: u64,
    /// Bytes written to disks.
    pub block_written: u64,
}

/// What an interface has carried since it was made (proc_pid_net(5), dev).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct InterfaceUsage {
    /// `eth0`
    pub name: String,
    /// To the container.
    pub received: Traffic,
    /// From the container.
    pub sent: Traffic,
}

/// One direction of an interface.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Bytes.
    pub bytes: u64,
    /// Packets.
    pub packets: u64,
    /// Packets that were damaged.
    pub errors: u64,
    /// Packets that were given up.
    pub dropped: u64,
}

/// One container at one moment.
#[derive(Debug, Clone, PartialEq)]
pub struct Sample {
    /// Which.
    pub id: ContainerId,
    /// Its name.
    pub name: String,
    /// When.
    pub time: Timestamp,
    /// None: it has no processes.
    pub usage: Option<Usage>,
    /// Of its network; none where that is the machine's.
    pub interfaces: Vec<InterfaceUsage>,
    /// Of one processor since the sample before: 100 is a whole one. 0 in the first sample.
    pub cpu_percent: f64,
}

/// Samples of several containers.
pub struct Stats {
    containers: Containers,
    /// Empty: whatever runs, or everything.
    wanted: Vec<ContainerId>,
    all: bool,
    before: HashMap<ContainerId, Usage>,
    next: Instant,
}

impl Containers {
    /// Begins to sample these containers; none named: those that run, or `all`.
    ///
    /// # Errors
    /// When one of them does not exist.
    pub fn stats(&self, who: &[String], all: bool) -> Result<Stats, Error> {
        let ids = who.iter().map(|who| Ok(self.find(who)?.id.clone()));
        let wanted = ids.collect::<Result<_, Error>>()?;
        let containers = self.clone();
        Ok(Stats { containers, wanted, all, before: HashMap::new(), next: Instant::now() })
    }
}

impl Stats {
    /// Waits for the next moment to sample, the first is at once. A container that was removed
    /// meanwhile is left out.
    pub async fn next(&mut self) -> Vec<Sample> {
        sleep_until(self.next).await;
        self.next = Instant::now() + PERIOD;
        let chosen: Vec<_> = if self.wanted.is_empty() {
            let live = |c: &std::sync::Arc<_>| self.all || is_live(c);
            let mut chosen: Vec<_> = self.containers.all().into_iter().filter(live).collect();
            // The newest first, as every list has them.
            chosen.sort_by_key(|container| std::cmp::Reverse(container.record().created_at));
            chosen
        } else {
            self.wanted.iter().filter_map(|id| self.containers.find(id.as_str()).ok()).collect()
        };
        let mut samples = Vec::with_capacity(chosen.len());
        let mut seen = HashMap::with_capacity(chosen.len());
        for container in chosen {
            let time = Timestamp::now();
            let launcher = self.containers.shared.launcher.clone();
            let target = container.target.lock().clone();
            let own_network = container.record().config.network.mode() != Mode::Host;
            // What is not there any more has just ended.
            let measured = blocking(move || {
                let target = target?;
                let usage = launcher.usage(&target.cgroup).ok()?;
                let interfaces = own_network.then(|| launcher.interfaces(&target).ok()).flatten();
                Some((usage, interfaces.unwrap_or_default()))
            });
            let (usage, interfaces) = measured.await.unzip();
            let id = container.id.clone();
            let before = self.before.get(&id);
            let cpu_percent =
                usage.zip(before).map_or(0.0, |(usage, before)| cpu_percent(*before, usage));
            seen.extend(usage.map(|usage| (id.clone(), usage)));
            let interfaces = interfaces.unwrap_or_default();
            samples.push(Sample {
                id,
                name: container.name(),
                time,
                usage,
                interfaces,
                cpu_percent,
            });
        }
        self.before = seen;
        samples
    }
}

fn is_live(container: &crate::container::Container) -> bool {
    container.status.borrow().state.kind().is_live()
}

/// Docker's formula.
#[allow(clippy::cast_precision_loss)]
fn cpu_percent(before: Usage, now: Usage) -> f64 {
    let used = now.cpu_ns.saturating_sub(before.cpu_ns) as f64;
    let passed = now.system_ns.saturating_sub(before.system_ns) as f64;
    if passed > 0.0 { used / passed * f64::from(now.cpus) * 100.0 } else { 0.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_whole_processor_is_a_hundred_percent() {
        let before = Usage { cpus: 4, ..Usage::default() };
        let second = 1_000_000_000;
        let now = Usage { cpu_ns: second, system_ns: 4 * second, ..before };
        assert!((cpu_percent(before, now) - 100.0).abs() < 1e-9);
        assert!(cpu_percent(now, before).abs() < 1e-9, "a restarted container begins at 0");
    }
}
