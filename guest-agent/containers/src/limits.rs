//! Docker's resource options: what is valid, and what they mean for cgroup v2.

use std::{collections::BTreeSet, path::Path};

use linkspan_runtime::plan::{DiskNumber, IoMax, Resources};

use crate::{
    Error,
    config::{DeviceAmount, Limits},
};

/// Less than this cannot run anything; Docker refuses it too.
const MINIMUM_MEMORY: u64 = 6 << 20;

/// cpu.max: microseconds.
const CPU_PERIOD_US: u64 = 100_000;

/// What the VM has. Limits beyond it are refused when the container is created, not when it runs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Capacity {
    /// Processors that are online.
    pub cpus: u32,
    /// NUMA nodes.
    pub memory_nodes: u32,
}

/// Checks limits against what the VM has.
///
/// # Errors
/// Names the option and says what would be valid.
pub fn validate(limits: &Limits, capacity: Capacity) -> Result<(), Error> {
    memory(limits)?;
    cpu_time(limits)?;
    disks(limits)?;
    let invalid = |option, why: String| Err(Error::invalid(option, why));
    let cpus = limits.nano_cpus;
    if cpus != 0 && (cpus < 10_000_000 || cpus > u64::from(capacity.cpus) * 1_000_000_000) {
        return invalid(
            "--cpus",
            format!("the range is 0.01 to {}: the VM has {0} CPUs", capacity.cpus),
        );
    }
    if limits.cpu_shares != 0 && !(2..=262_144).contains(&limits.cpu_shares) {
        return invalid(
            "--cpu-shares",
            format!("{} is outside the range 2 to 262144", limits.cpu_shares),
        );
    }
    for (option, text, count, what) in [
        ("--cpuset-cpus", &limits.cpuset_cpus, capacity.cpus, "CPUs"),
        ("--cpuset-mems", &limits.cpuset_mems, capacity.memory_nodes, "memory nodes"),
    ] {
        if text.is_empty() {
            continue;
        }
        let wanted = parse_set(text).ok_or_else(|| {
            Error::invalid(option, format!("`{text}` is not a list like `0-2,4`"))
        })?;
        if let Some(beyond) = wanted.iter().find(|number| **number >= count) {
            let last = count.saturating_sub(1);
            return invalid(option, format!("{beyond} is not among the VM's {what}, 0 to {last}"));
        }
    }
    if limits.pids < -1 {
        return invalid("--pids-limit", format!("{} is neither a count nor -1", limits.pids));
    }
    Ok(())
}

fn memory(limits: &Limits) -> Result<(), Error> {
    let invalid = |option, why: &str| Err(Error::invalid(option, why));
    let Limits { memory, memory_swap, memory_reservation, .. } = *limits;
    if memory != 0 && memory < MINIMUM_MEMORY {
        return invalid("--memory", "the least is 6 MiB");
    }
    if memory_swap < -1 {
        return invalid("--memory-swap", "it is a size, or -1 for unlimited");
    }
    if memory_swap > 0 && memory == 0 {
        return invalid("--memory-swap", "it counts memory and swap together and needs --memory");
    }
    if memory_swap > 0 && memory_swap.unsigned_abs() < memory {
        return invalid(
            "--memory-swap",
            "it counts memory and swap together and cannot be less than --memory",
        );
    }
    if memory_reservation != 0 && memory_reservation < MINIMUM_MEMORY {
        return invalid("--memory-reservation", "the least is 6 MiB");
    }
    if memory != 0 && memory_reservation > memory {
        return invalid("--memory-reservation", "it cannot be more than --memory");
    }
    Ok(())
}

/// Docker's rules and ranges; the kernel's are the same (Documentation/scheduler/sched-bwc.rst).
fn cpu_time(limits: &Limits) -> Result<(), Error> {
    let Limits { nano_cpus, cpu_period, cpu_quota, .. } = *limits;
    if nano_cpus != 0 && cpu_period != 0 {
        let why = "conflicting options: --cpus and --cpu-period cannot both be set";
        return Err(Error::invalid("--cpu-period", why));
    }
    if nano_cpus != 0 && cpu_quota != 0 {
        let why = "conflicting options: --cpus and --cpu-quota cannot both be set";
        return Err(Error::invalid("--cpu-quota", why));
    }
    if cpu_period != 0 && !(1_000..=1_000_000).contains(&cpu_period) {
        return Err(Error::invalid("--cpu-period", "the range is 1 ms (1000) to 1 s (1000000)"));
    }
    if cpu_quota < -1 || (1..1_000).contains(&cpu_quota) {
        return Err(Error::invalid("--cpu-quota", "the least is 1 ms (1000)"));
    }
    Ok(())
}

fn disks(limits: &Limits) -> Result<(), Error> {
    let in_range = |weight: u64| weight == 0 || (10..=1000).contains(&weight);
    if !in_range(limits.blkio_weight.into()) {
        return Err(Error::invalid("--blkio-weight", "the range is 10 to 1000"));
    }
    if !limits.blkio_weight_device.iter().all(|device| in_range(device.amount)) {
        return Err(Error::invalid("--blkio-weight-device", "the range is 10 to 1000"));
    }
    for (option, list) in per_device(limits) {
        if let Some(wrong) = list.iter().find(|device| !device.path.is_absolute()) {
            let why = format!("`{}` is not an absolute path", wrong.path.display());
            return Err(Error::invalid(option, why));
        }
    }
    Ok(())
}

fn per_device(limits: &Limits) -> [(&'static str, &[DeviceAmount]); 5] {
    [
        ("--blkio-weight-device", &limits.blkio_weight_device),
        ("--device-read-bps", &limits.device_read_bps),
        ("--device-write-bps", &limits.device_write_bps),
        ("--device-read-iops", &limits.device_read_iops),
        ("--device-write-iops", &limits.device_write_iops),
    ]
}

/// The limits that name a disk, with the disks' numbers; `number` looks a path up.
///
/// # Errors
/// Names the option of a path that is no disk.
pub fn disk_limits(
    limits: &Limits,
    number: impl Fn(&Path) -> Result<DiskNumber, String>,
) -> Result<Resources, Error> {
    let mut found = Resources::default();
    for (option, list) in per_device(limits) {
        for device in list {
            let disk = number(&device.path).map_err(|why| {
                Error::invalid(option, format!("`{}` {why}", device.path.display()))
            })?;
            if option == "--blkio-weight-device" {
                found.io_weights.push((disk, device.amount));
                continue;
            }
            let known = found.io_max.iter().position(|limit| limit.disk == disk);
            let at = known.unwrap_or_else(|| {
                found.io_max.push(IoMax::none(disk));
                found.io_max.len() - 1
            });
            // Docker's 0 means no limit.
            let amount = (device.amount != 0).then_some(device.amount);
            let limit = &mut found.io_max[at];
            match option {
                "--device-read-bps" => limit.read_bytes = amount,
                "--device-write-bps" => limit.written_bytes = amount,
                "--device-read-iops" => limit.reads = amount,
                _ => limit.writes = amount,
            }
        }
    }
    Ok(found)
}

/// What the limits mean in cgroup v2's files, but for those that name a disk ([`disk_limits`]). The limits are valid.
#[must_use]
pub fn resources(limits: &Limits) -> Resources {
    let some = |value: u64| (value != 0).then_some(value);
    let text = |value: &String| (!value.is_empty()).then(|| value.clone());
    Resources {
        memory_max: some(limits.memory),
        swap_max: match limits.memory_swap {
            -1 => Some(u64::MAX),
            0 => some(limits.memory),
            total => Some(total.unsigned_abs().saturating_sub(limits.memory)),
        },
        memory_low: some(limits.memory_reservation),
        cpu_max: cpu_max(limits),
        cpu_weight: some(limits.cpu_shares).map(cpu_weight),
        cpuset_cpus: text(&limits.cpuset_cpus),
        cpuset_mems: text(&limits.cpuset_mems),
        pids_max: u64::try_from(limits.pids).ok().and_then(some),
        io_weight: some(limits.blkio_weight.into()),
        ..Resources::default()
    }
}

fn cpu_max(limits: &Limits) -> Option<(u64, u64)> {
    if limits.nano_cpus != 0 {
        let quota = limits.nano_cpus.saturating_mul(CPU_PERIOD_US) / 1_000_000_000;
        return Some((quota, CPU_PERIOD_US));
    }
    let quota = u64::try_from(limits.cpu_quota).ok().filter(|quota| *quota != 0);
    let period = Some(limits.cpu_period).filter(|period| *period != 0);
    if quota.is_none() && period.is_none() {
        return None;
    }
    Some((quota.unwrap_or(u64::MAX), period.unwrap_or(CPU_PERIOD_US)))
}

/// What to write to a cgroup whose limits change from `old` to `new`. Unlike [`resources`], it
/// says "no limit" where there was one.
#[must_use]
pub fn difference(old: &Limits, new: &Limits) -> Resources {
    fn changed<T: PartialEq>(old: Option<T>, new: Option<T>, none: T) -> Option<T> {
        if old == new { None } else { Some(new.unwrap_or(none)) }
    }
    let (old, new) = (resources(old), resources(new));
    Resources {
        memory_max: changed(old.memory_max, new.memory_max, u64::MAX),
        swap_max: changed(old.swap_max, new.swap_max, u64::MAX),
        memory_low: changed(old.memory_low, new.memory_low, 0),
        cpu_max: changed(old.cpu_max, new.cpu_max, (u64::MAX, CPU_PERIOD_US)),
        // The kernel's default.
        cpu_weight: changed(old.cpu_weight, new.cpu_weight, 100),
        // An empty line takes a cpuset back.
        cpuset_cpus: changed(old.cpuset_cpus, new.cpuset_cpus, "\n".into()),
        cpuset_mems: changed(old.cpuset_mems, new.cpuset_mems, "\n".into()),
        pids_max: changed(old.pids_max, new.pids_max, u64::MAX),
        // blkio's default, which is that of both kernel files.
        io_weight: changed(old.io_weight, new.io_weight, 100),
        ..Resources::default()
    }
}

/// Shares 2..262144 to weight 1..10000, linearly, as runc and crun do it.
fn cpu_weight(shares: u64) -> u64 {
    1 + (shares.saturating_sub(2) * 9999) / 262_142
}

/// `0-2,4` as numbers. None: not such a list.
fn parse_set(text: &str) -> Option<BTreeSet<u32>> {
    let mut set = BTreeSet::new();
    for part in text.split(',') {
        let (first, last) = part.split_once('-').unwrap_or((part, part));
        let (first, last) = (first.trim().parse::<u32>().ok()?, last.trim().parse::<u32>().ok()?);
        // More than any machine has: keeps a hostile `0-4294967295` from filling memory.
        if first > last || last > 8192 {
            return None;
        }
        set.extend(first..=last);
    }
    Some(set)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    const VM: Capacity = Capacity { cpus: 4, memory_nodes: 1 };
    const MIB: u64 = 1 << 20;

    fn refusal(limits: Limits) -> String {
        validate(&limits, VM).expect_err("it is not valid").to_string()
    }

    #[test]
    fn each_impossible_limit_is_refused_by_its_options_name() {
        let none = Limits::default;
        let of = |path: &str, amount| vec![DeviceAmount { path: path.into(), amount }];
        for (option, limits) in [
            ("--memory", Limits { memory: 6 * MIB - 1, ..none() }),
            ("--memory-swap", Limits { memory_swap: 10 << 20, ..none() }),
            ("--memory-swap", Limits { memory: 64 * MIB, memory_swap: 32 << 20, ..none() }),
            ("--memory-swap", Limits { memory: 64 * MIB, memory_swap: -2, ..none() }),
            (
                "--memory-reservation",
                Limits { memory: 64 * MIB, memory_reservation: 65 * MIB, ..none() },
            ),
            ("--cpus", Limits { nano_cpus: 4_000_000_001, ..none() }),
            ("--cpus", Limits { nano_cpus: 1, ..none() }),
            ("--cpu-period", Limits { nano_cpus: 1 << 30, cpu_period: 1000, ..none() }),
            ("--cpu-quota", Limits { nano_cpus: 1 << 30, cpu_quota: 1000, ..none() }),
            ("--cpu-period", Limits { cpu_period: 999, ..none() }),
            ("--cpu-period", Limits { cpu_period: 1_000_001, ..none() }),
            ("--cpu-quota", Limits { cpu_quota: 999, ..none() }),
            ("--blkio-weight", Limits { blkio_weight: 9, ..none() }),
            ("--blkio-weight", Limits { blkio_weight: 1001, ..none() }),
            ("--blkio-weight-device", Limits { blkio_weight_device: of("/dev/vda", 1), ..none() }),
            ("--device-read-bps", Limits { device_read_bps: of("vda", 1), ..none() }),
            ("--cpu-shares", Limits { cpu_shares: 1, ..none() }),
            ("--cpuset-cpus", Limits { cpuset_cpus: "0-4".into(), ..none() }),
            ("--cpuset-cpus", Limits { cpuset_cpus: "2-1".into(), ..none() }),
            ("--cpuset-cpus", Limits { cpuset_cpus: "a".into(), ..none() }),
            ("--cpuset-cpus", Limits { cpuset_cpus: "0-4294967295".into(), ..none() }),
            ("--cpuset-mems", Limits { cpuset_mems: "1".into(), ..none() }),
            ("--pids-limit", Limits { pids: -2, ..none() }),
        ] {
            let text = refusal(limits.clone());
            assert!(text.starts_with(&format!("{option}: ")), "{limits:?}: {text}");
        }
    }

    #[test]
    fn swap_is_what_is_left_of_the_total() {
        let swap = |memory, memory_swap| {
            resources(&Limits { memory, memory_swap, ..Limits::default() }).swap_max
        };
        assert_eq!(swap(64 * MIB, 0), Some(64 * MIB));
        assert_eq!(swap(64 * MIB, -1), Some(u64::MAX));
        assert_eq!(swap(64 * MIB, 64 << 20), Some(0));
        assert_eq!(swap(64 * MIB, 100 << 20), Some(36 * MIB));
        assert_eq!(swap(0, 0), None);
    }

    #[test]
    fn cpus_become_a_quota_of_a_tenth_of_a_second() {
        let limits = Limits { nano_cpus: 1_500_000_000, ..Limits::default() };
        assert_eq!(resources(&limits).cpu_max, Some((150_000, 100_000)));
    }

    #[test]
    fn quota_and_period_stand_alone_and_together() {
        let cpu_max = |cpu_period, cpu_quota| {
            resources(&Limits { cpu_period, cpu_quota, ..Limits::default() }).cpu_max
        };
        assert_eq!(cpu_max(50_000, 25_000), Some((25_000, 50_000)));
        assert_eq!(cpu_max(0, 25_000), Some((25_000, 100_000)));
        assert_eq!(cpu_max(50_000, -1), Some((u64::MAX, 50_000)));
        assert_eq!(cpu_max(0, -1), None);
    }

    #[test]
    fn the_limits_of_one_disk_are_one_line() {
        let of = |amount| vec![DeviceAmount { path: "/dev/vda".into(), amount }];
        let limits = Limits {
            device_read_bps: of(1024),
            device_write_iops: of(7),
            blkio_weight_device: of(300),
            ..Limits::default()
        };
        let disk = DiskNumber { major: 254, minor: 0 };
        let found = disk_limits(&limits, |_| Ok(disk)).unwrap();
        let expected = IoMax {
            disk,
            read_bytes: Some(1024),
            written_bytes: None,
            reads: None,
            writes: Some(7),
        };
        assert_eq!((found.io_max, found.io_weights), (vec![expected], vec![(disk, 300)]));
        let refused = disk_limits(&limits, |_| Err("is not a disk".into())).unwrap_err();
        let text = "--blkio-weight-device: `/dev/vda` is not a disk";
        assert_eq!(refused.to_string(), text);
    }

    #[test]
    fn no_limit_writes_no_file() {
        assert_eq!(resources(&Limits::default()), Resources::default());
        assert_eq!(resources(&Limits { pids: -1, ..Limits::default() }).pids_max, None);
    }

    #[test]
    fn a_change_writes_what_differs_and_takes_back_what_is_gone() {
        let old = Limits { memory: 64 * MIB, pids: 10, nano_cpus: 1, ..Limits::default() };
        let new = Limits { memory: 128 * MIB, pids: -1, ..old.clone() };
        let written = difference(&old, &new);
        let expected = Resources {
            memory_max: Some(128 * MIB),
            swap_max: Some(128 * MIB),
            pids_max: Some(u64::MAX),
            ..Resources::default()
        };
        assert_eq!(written, expected);
        assert_eq!(difference(&new, &new), Resources::default());
    }

    proptest! {
        #[test]
        fn weights_stay_in_the_kernels_range_and_in_order(a in 2_u64..=262_144, b in 2_u64..=262_144) {
            prop_assert!((1..=10_000).contains(&cpu_weight(a)));
            prop_assert_eq!(a <= b, cpu_weight(a) <= cpu_weight(b) && (a <= b));
        }

        #[test]
        fn foreign_sets_never_panic(text in ".{0,40}") {
            let _ = parse_set(&text);
        }
    }
}
