//! `linux.resources` as files of cgroup v2 (config-linux.md, "Control groups").

use std::fmt::Write as _;

use linkspan_runtime::plan::{DiskNumber, IoMax, Resources};
use oci_spec::runtime::{LinuxBlockIo, LinuxCpu, LinuxMemory, LinuxResources, LinuxThrottleDevice};

use super::{ConfigError, invalid, unsupported};

/// Limits, and files that are written as they are.
#[derive(Debug, Default)]
pub(super) struct Limits {
    pub(super) resources: Resources,
    pub(super) files: Vec<(String, String)>,
}

impl Limits {
    fn file(&mut self, name: impl Into<String>, value: impl ToString) {
        self.files.push((name.into(), value.to_string()));
    }
}

pub(super) fn convert(wanted: Option<&LinuxResources>) -> Result<Limits, ConfigError> {
    let mut limits = Limits::default();
    let Some(wanted) = wanted else { return Ok(limits) };
    if let Some(memory) = wanted.memory() {
        convert_memory(memory, &mut limits)?;
    }
    if let Some(cpu) = wanted.cpu() {
        convert_cpu(cpu, &mut limits)?;
    }
    if let Some(pids) = wanted.pids() {
        // 0 is "not set", as with runc: a process could not even begin.
        limits.resources.pids_max = match pids.limit() {
            0 => None,
            limit => Some(amount(limit)),
        };
    }
    if let Some(block) = wanted.block_io() {
        convert_block(block, &mut limits)?;
    }
    for page in wanted.hugepage_limits().iter().flatten() {
        let file = format!("hugetlb.{}.max", page.page_size());
        limits.file(file, page.limit());
    }
    if let Some(network) = wanted.network() {
        let there = network.class_id().is_some()
            || network.priorities().as_ref().is_some_and(|list| !list.is_empty());
        if there {
            return unsupported("linux.resources.network", "cgroup v2 has no such controller");
        }
    }
    for (device, limit) in wanted.rdma().iter().flatten() {
        let mut line = device.clone();
        for (name, value) in
            [("hca_handle", limit.hca_handles()), ("hca_object", limit.hca_objects())]
        {
            if let Some(value) = value {
                let _ = write!(line, " {name}={value}");
            }
        }
        if line == *device {
            return invalid(format!("linux.resources.rdma[{device}]"), "it limits nothing");
        }
        limits.file("rdma.max", line);
    }
    let mut unified: Vec<_> = wanted.unified().iter().flatten().collect();
    unified.sort();
    for (file, value) in unified {
        if file.contains('/') || !file.contains('.') {
            let property = format!("linux.resources.unified[{file}]");
            return invalid(property, "it is not the name of a file of a cgroup");
        }
        // One line a write, as the kernel wants it.
        for line in value.lines() {
            limits.file(file.as_str(), line);
        }
    }
    Ok(limits)
}

/// -1 is "unlimited".
fn amount(value: i64) -> u64 {
    u64::try_from(value).unwrap_or(u64::MAX)
}

fn convert_memory(memory: &LinuxMemory, limits: &mut Limits) -> Result<(), ConfigError> {
    let refuse = |property: &str, reason: &str| {
        unsupported(format!("linux.resources.memory.{property}"), reason)
    };
    let limited = |value: Option<i64>| value.is_some_and(|value| value > 0);
    if limited(memory.kernel()) || limited(memory.kernel_tcp()) {
        return refuse("kernel", "cgroup v2 does not limit the kernel's memory apart");
    }
    if memory.swappiness().is_some() {
        return refuse("swappiness", "cgroup v2 has none of its own");
    }
    if memory.disable_oom_killer() == Some(true) {
        return refuse("disableOOMKiller", "cgroup v2 always has it");
    }
    if memory.use_hierarchy() == Some(false) {
        return refuse("useHierarchy", "cgroup v2 always counts what is below");
    }
    // `checkBeforeUpdate` is about an update: a new cgroup uses nothing.
    let resources = &mut limits.resources;
    resources.memory_max = memory.limit().map(amount);
    resources.memory_low = memory.reservation().map(amount);
    resources.swap_max = match (memory.swap(), memory.limit()) {
        (None, _) => None,
        (Some(swap), _) if swap < 0 => Some(u64::MAX),
        // Both together in config.json, swap alone in cgroup v2.
        (Some(swap), Some(limit)) if limit >= 0 && swap >= limit => Some(amount(swap - limit)),
        _ => {
            let reason = "it is memory and swap together: at least `limit`, which it needs";
            return invalid("linux.resources.memory.swap", reason);
        }
    };
    Ok(())
}

/// The kernel's period when only a quota is given, microseconds.
const PERIOD: u64 = 100_000;

fn convert_cpu(cpu: &LinuxCpu, limits: &mut Limits) -> Result<(), ConfigError> {
    if cpu.realtime_runtime().is_some_and(|value| value != 0)
        || cpu.realtime_period().is_some_and(|value| value != 0)
    {
        return unsupported("linux.resources.cpu.realtimeRuntime", "cgroup v2 has none");
    }
    let resources = &mut limits.resources;
    // 0 is "not set", as with runc. Shares 2..262144 to weight 1..10000, linearly.
    resources.cpu_weight = cpu
        .shares()
        .filter(|shares| *shares != 0)
        .map(|shares| 1 + shares.clamp(2, 262_144).saturating_sub(2) * 9999 / 262_142);
    let quota = cpu.quota().filter(|quota| *quota != 0);
    let period = cpu.period().filter(|period| *period != 0);
    if quota.is_some() || period.is_some() {
        resources.cpu_max = Some((amount(quota.unwrap_or(-1)), period.unwrap_or(PERIOD)));
    }
    resources.cpuset_cpus = cpu.cpus().clone().filter(|list| !list.is_empty());
    resources.cpuset_mems = cpu.mems().clone().filter(|list| !list.is_empty());
    if let Some(burst) = cpu.burst() {
        if quota.is_some_and(|quota| quota > 0 && burst > quota.unsigned_abs()) {
            return invalid("linux.resources.cpu.burst", "it is more than the quota");
        }
        limits.file("cpu.max.burst", burst);
    }
    match cpu.idle() {
        None => {}
        Some(idle @ 0..=1) => limits.file("cpu.idle", idle),
        Some(_) => return invalid("linux.resources.cpu.idle", "it is neither 0 nor 1"),
    }
    Ok(())
}

fn convert_block(block: &LinuxBlockIo, limits: &mut Limits) -> Result<(), ConfigError> {
    const LEAF: &str = "cgroup v2 has no leaf weight";
    if block.leaf_weight().is_some_and(|weight| weight != 0) {
        return unsupported("linux.resources.blockIO.leafWeight", LEAF);
    }
    limits.resources.io_weight = block.weight().filter(|weight| *weight != 0).map(u64::from);
    for device in block.weight_device().iter().flatten() {
        let property = "linux.resources.blockIO.weightDevice";
        if device.leaf_weight().is_some_and(|weight| weight != 0) {
            return unsupported(property, LEAF);
        }
        let Some(weight) = device.weight() else {
            return invalid(property, "an entry has no weight");
        };
        let disk = disk(device.major(), device.minor())?;
        limits.resources.io_weights.push((disk, u64::from(weight)));
    }
    type Set = fn(&mut IoMax, u64);
    let kinds: [(&Option<Vec<LinuxThrottleDevice>>, Set); 4] = [
        (block.throttle_read_bps_device(), |limit, rate| limit.read_bytes = Some(rate)),
        (block.throttle_write_bps_device(), |limit, rate| limit.written_bytes = Some(rate)),
        (block.throttle_read_iops_device(), |limit, rate| limit.reads = Some(rate)),
        (block.throttle_write_iops_device(), |limit, rate| limit.writes = Some(rate)),
    ];
    for (list, set) in kinds {
        for device in list.iter().flatten() {
            let mut limit = IoMax::none(disk(device.major(), device.minor())?);
            set(&mut limit, device.rate());
            limits.resources.io_max.push(limit);
        }
    }
    Ok(())
}

fn disk(major: i64, minor: i64) -> Result<DiskNumber, ConfigError> {
    match (u32::try_from(major), u32::try_from(minor)) {
        (Ok(major), Ok(minor)) => Ok(DiskNumber { major, minor }),
        _ => invalid("linux.resources.blockIO", format!("{major}:{minor} is not a disk")),
    }
}
