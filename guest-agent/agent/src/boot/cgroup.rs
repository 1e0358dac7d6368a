//! The agent's own cgroup, and the room for the containers'.
//!
//! ```text
//! /sys/fs/cgroup/linkspan/agent              this process
//! /sys/fs/cgroup/linkspan/containers/<id>    one each
//! ```
//!
//! A cgroup that hands controllers to its children may have no processes of its own
//! (cgroup-v2.rst, "No Internal Process Constraint"), so the agent sits in a leaf.

use std::{fs, path::Path};

use super::BootError;

/// Where cgroup2 is mounted.
pub const CGROUP_ROOT: &str = "/sys/fs/cgroup";

/// What containers can be limited by. A kernel without one of them gives what it has.
const CONTROLLERS: [&str; 6] = ["cpu", "cpuset", "io", "memory", "pids", "hugetlb"];

/// Makes the tree, enters it and hands the controllers down.
pub(super) fn enter() -> Result<(), BootError> {
    let root = Path::new(CGROUP_ROOT);
    let agent = root.join("linkspan/agent");
    let containers = root.join("linkspan/containers");
    for folder in [&agent, &containers] {
        fs::create_dir_all(folder).map_err(BootError::file("create", folder))?;
    }
    let procs = agent.join("cgroup.procs");
    fs::write(&procs, "0").map_err(BootError::file("write to", procs))?;
    let path = root.join("cgroup.controllers");
    let available = fs::read_to_string(&path).map_err(BootError::file("read", path))?;
    let wanted: Vec<String> = CONTROLLERS
        .iter()
        .filter(|name| available.split_whitespace().any(|have| have == **name))
        .map(|name| format!("+{name}"))
        .collect();
    for folder in [root.to_owned(), root.join("linkspan"), containers] {
        let path = folder.join("cgroup.subtree_control");
        fs::write(&path, wanted.join(" ")).map_err(BootError::file("write to", path))?;
    }
    Ok(())
}
