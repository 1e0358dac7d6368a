//! Docker's resource options: what is valid, and what they mean for cgroup v2.

use std::collections::BTreeSet;

use linkspan_runtime::plan::Resources;

use crate::{Error, config::Limits};

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

/// What the limits mean in cgroup v2's files. The limits are valid.
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
        cpu_max: some(limits.nano_cpus)
            .map(|nano| (nano.saturating_mul(CPU_PERIOD_US) / 1_000_000_000, CPU_PERIOD_US)),
        cpu_weight: some(limits.cpu_shares).map(cpu_weight),
        cpuset_cpus: text(&limits.cpuset_cpus),
        cpuset_mems: text(&limits.cpuset_mems),
        pids_max: u64::try_from(limits.pids).ok().and_then(some),
    }
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
