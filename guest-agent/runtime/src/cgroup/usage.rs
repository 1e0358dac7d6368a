//! What a cgroup has used, and which processes are in it.

use std::fs;
use std::io;
use std::path::Path;

use super::{Cgroup, CgroupError, field, read};

/// What a cgroup has used, and its limits. 0 where the kernel has no controller for it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct CgroupUsage {
    /// cpu.stat, usage_usec.
    pub cpu_us: u64,
    /// memory.current without inactive_file of memory.stat, bytes: that is file cache which is
    /// given back first.
    pub memory: u64,
    /// memory.max; None: no limit.
    pub memory_max: Option<u64>,
    /// pids.current.
    pub pids: u64,
    /// pids.max; None: no limit.
    pub pids_max: Option<u64>,
    /// io.stat, rbytes of all devices.
    pub block_read: u64,
    /// io.stat, wbytes of all devices.
    pub block_written: u64,
}

impl Cgroup {
    /// What it has used up to now.
    ///
    /// # Errors
    /// When there is no such cgroup, or a file cannot be read.
    pub fn usage(&self) -> Result<CgroupUsage, CgroupError> {
        let cpu = read(&self.path.join("cpu.stat"))?;
        let optional = |name: &str| self.read_if_there(name);
        let number = |name: &str| Ok(optional(name)?.trim().parse::<u64>().ok());
        let cache = field(&optional("memory.stat")?, "inactive_file").unwrap_or(0);
        let io = optional("io.stat")?;
        Ok(CgroupUsage {
            cpu_us: field(&cpu, "usage_usec").unwrap_or(0),
            memory: number("memory.current")?.unwrap_or(0).saturating_sub(cache),
            memory_max: number("memory.max")?,
            pids: number("pids.current")?.unwrap_or(0),
            pids_max: number("pids.max")?,
            block_read: total(&io, "rbytes="),
            block_written: total(&io, "wbytes="),
        })
    }

    /// The processes in it and below, by pid.
    ///
    /// # Errors
    /// When there is no such cgroup, or a file cannot be read.
    pub fn processes(&self) -> Result<Vec<u32>, CgroupError> {
        let mut pids = Vec::new();
        collect(&self.path, &mut pids)?;
        pids.sort_unstable();
        Ok(pids)
    }

    /// A kernel without the controller has no such file.
    fn read_if_there(&self, name: &str) -> Result<String, CgroupError> {
        match read(&self.path.join(name)) {
            Err(CgroupError::Read { source, .. }) if source.kind() == io::ErrorKind::NotFound => {
                Ok(String::new())
            }
            other => other,
        }
    }
}

fn collect(folder: &Path, pids: &mut Vec<u32>) -> Result<(), CgroupError> {
    let failed = |source| CgroupError::Read { path: folder.to_owned(), source };
    let procs = read(&folder.join("cgroup.procs"))?;
    // 0: of a namespace that cannot be seen from here.
    pids.extend(procs.lines().filter_map(|line| line.parse::<u32>().ok()).filter(|pid| *pid != 0));
    for entry in fs::read_dir(folder).map_err(failed)? {
        let entry = entry.map_err(failed)?;
        if entry.file_type().map_err(failed)?.is_dir() {
            match collect(&entry.path(), pids) {
                // The container has just removed it.
                Err(CgroupError::Read { source, .. }) if super::is_gone(&source) => {}
                other => other?,
            }
        }
    }
    Ok(())
}

/// The sum of a key over the lines of a nested keyed file.
fn total(content: &str, key: &str) -> u64 {
    let values = content.split_whitespace().filter_map(|word| word.strip_prefix(key));
    values.filter_map(|value| value.parse::<u64>().ok()).sum()
}

#[cfg(test)]
mod tests {
    use super::super::Hierarchy;
    use super::*;

    #[test]
    fn use_is_read_from_every_controllers_files() {
        let folder = tempfile::tempdir().unwrap();
        let cgroup = Hierarchy::new(folder.path()).open(Path::new(""));
        assert!(cgroup.usage().is_err(), "there is none");
        for (name, content) in [
            ("cpu.stat", "usage_usec 1500\nuser_usec 1000\n"),
            ("memory.current", "5000\n"),
            ("memory.stat", "anon 1\ninactive_file 2000\n"),
            ("memory.max", "max\n"),
            ("pids.max", "7\n"),
            ("io.stat", "254:0 rbytes=10 wbytes=20 rios=1\n254:16 rbytes=5 wbytes=1\n"),
        ] {
            fs::write(folder.path().join(name), content).unwrap();
        }
        let expected = CgroupUsage {
            cpu_us: 1500,
            memory: 3000,
            memory_max: None,
            pids: 0,
            pids_max: Some(7),
            block_read: 15,
            block_written: 21,
        };
        assert_eq!(cgroup.usage().unwrap(), expected);
    }

    #[test]
    fn processes_of_cgroups_below_count() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("below")).unwrap();
        fs::write(folder.path().join("cgroup.procs"), "30\n0\n").unwrap();
        fs::write(folder.path().join("below/cgroup.procs"), "12\n").unwrap();
        let cgroup = Hierarchy::new(folder.path()).open(Path::new(""));
        assert_eq!(cgroup.processes().unwrap(), [12, 30]);
    }
}
