//! Disk bandwidth: io.max by device, and the weight against other cgroups.

use std::io;

use super::{Cgroup, CgroupError, write};
use crate::plan::{DiskNumber, IoMax, Resources};

impl Cgroup {
    /// Writes what the resources say of disks.
    pub(super) fn apply_io(&self, resources: &Resources) -> Result<(), CgroupError> {
        for limit in &resources.io_max {
            self.write_io("io.max", &max_line(limit))?;
        }
        if resources.io_weight.is_none() && resources.io_weights.is_empty() {
            return Ok(());
        }
        // BFQ has a file of its own, in blkio's old range; io.weight is that of io.cost.
        let bfq = self.path.join("io.bfq.weight").exists();
        let file = if bfq { "io.bfq.weight" } else { "io.weight" };
        let scale = |weight| if bfq { weight } else { io_weight(weight) };
        if let Some(weight) = resources.io_weight {
            self.write_io(file, &format!("default {}", scale(weight)))?;
        }
        for (DiskNumber { major, minor }, weight) in &resources.io_weights {
            let weight =
                if *weight == 0 { "default".to_owned() } else { scale(*weight).to_string() };
            self.write_io(file, &format!("{major}:{minor} {weight}"))?;
        }
        Ok(())
    }

    fn write_io(&self, file: &'static str, value: &str) -> Result<(), CgroupError> {
        match write(&self.path.join(file), value) {
            Err(CgroupError::Write { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Err(CgroupError::NoController { file })
            }
            other => other,
        }
    }
}

fn max_line(limit: &IoMax) -> String {
    let DiskNumber { major, minor } = limit.disk;
    let fields = [
        ("rbps", limit.read_bytes),
        ("wbps", limit.written_bytes),
        ("riops", limit.reads),
        ("wiops", limit.writes),
    ];
    fields.iter().filter_map(|(name, value)| value.map(|value| format!(" {name}={value}"))).fold(
        format!("{major}:{minor}"),
        |mut line, field| {
            line.push_str(&field);
            line
        },
    )
}

/// 10..1000 of blkio to 1..10000 of io.weight, linearly, as runc and crun do it.
fn io_weight(weight: u64) -> u64 {
    1 + weight.saturating_sub(10) * 9999 / 990
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_limit_is_one_line_with_what_is_limited() {
        let disk = DiskNumber { major: 254, minor: 16 };
        let limit = IoMax { read_bytes: Some(1 << 20), writes: Some(7), ..IoMax::none(disk) };
        assert_eq!(max_line(&limit), "254:16 rbps=1048576 wiops=7");
    }

    #[test]
    fn weights_fill_the_kernels_range() {
        assert_eq!((io_weight(10), io_weight(1000)), (1, 10_000));
    }
}
