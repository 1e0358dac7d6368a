//! `linux.uidMappings` and `linux.gidMappings`, and the mappings of a user namespace that is joined.

use std::fs::File;
use std::io;
use std::path::Path;

use linkspan_runtime::bundle::Node;
use linkspan_runtime::plan::{IdMapping, UserNamespace};
use linkspan_sys::process::{beside, setns};
use nix::sched::CloneFlags;
use oci_spec::runtime::{Linux, LinuxIdMapping};

use super::namespaces::Namespaces;
use super::process::Converted;
use super::{ConfigError, invalid, unsupported};

/// None: ids are the runtime's.
pub(super) fn convert(
    linux: Option<&Linux>,
    namespaces: &Namespaces,
) -> Result<Option<UserNamespace>, ConfigError> {
    let wanted = UserNamespace {
        uid_mappings: mappings(linux.and_then(|linux| linux.uid_mappings().as_deref())),
        gid_mappings: mappings(linux.and_then(|linux| linux.gid_mappings().as_deref())),
    };
    let lists =
        [("linux.uidMappings", &wanted.uid_mappings), ("linux.gidMappings", &wanted.gid_mappings)];
    if let Some(path) = &namespaces.joined.user {
        let there = mappings_of(path)?;
        let found = [&there.uid_mappings, &there.gid_mappings];
        for ((property, list), found) in lists.into_iter().zip(found) {
            if !list.is_empty() && list != found {
                return invalid(property, "the user namespace that is joined has others");
            }
        }
        return with_root(there).map(Some);
    }
    for (property, list) in lists {
        match (namespaces.new_user, list.is_empty()) {
            (true, true) => return invalid(property, "a new user namespace needs it"),
            (false, false) => return invalid(property, "it needs a user namespace"),
            _ => {}
        }
    }
    namespaces.new_user.then(|| with_root(wanted)).transpose()
}

fn with_root(mapped: UserNamespace) -> Result<UserNamespace, ConfigError> {
    if mapped.outside(0, 0).is_none() {
        let reason = "without id 0 there is nobody who may mount";
        return unsupported("linux.uidMappings and gidMappings", reason);
    }
    Ok(mapped)
}

fn mappings(list: Option<&[LinuxIdMapping]>) -> Vec<IdMapping> {
    let convert = |mapping: &LinuxIdMapping| IdMapping {
        container_id: mapping.container_id(),
        host_id: mapping.host_id(),
        size: mapping.size(),
    };
    list.unwrap_or_default().iter().map(convert).collect()
}

/// The kernel tells them of processes, not of namespaces, so one joins it for a moment.
fn mappings_of(path: &Path) -> Result<UserNamespace, ConfigError> {
    let failed = |source| ConfigError::UserNamespace { path: path.to_owned(), source };
    let namespace = File::open(path).map_err(failed)?;
    let read = |pid, name: &str| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/{name}"))?;
        text.lines().map(mapping).collect::<io::Result<_>>()
    };
    let found = beside(
        || setns(&namespace, CloneFlags::CLONE_NEWUSER),
        |pid| {
            io::Result::Ok(UserNamespace {
                uid_mappings: read(pid, "uid_map")?,
                gid_mappings: read(pid, "gid_map")?,
            })
        },
    );
    found.map_err(failed)
}

/// user_namespaces(7), "User and group ID mappings".
fn mapping(line: &str) -> io::Result<IdMapping> {
    let mut numbers = line.split_ascii_whitespace().map(str::parse);
    match (numbers.next(), numbers.next(), numbers.next()) {
        (Some(Ok(container_id)), Some(Ok(host_id)), Some(Ok(size))) => {
            Ok(IdMapping { container_id, host_id, size })
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidData, format!("`{line}` is no mapping"))),
    }
}

/// What the mappings leave out cannot be used.
pub(super) fn check(
    mapped: &UserNamespace,
    process: &Converted,
    nodes: &[Node],
) -> Result<(), ConfigError> {
    let unmapped = |uid, gid| mapped.outside(uid, gid).is_none();
    let ids = &process.ids;
    if unmapped(ids.uid, ids.gid) {
        return invalid("process.user", format!("{}:{} is not mapped", ids.uid, ids.gid));
    }
    if let Some(group) = ids.groups.iter().find(|group| unmapped(0, **group)) {
        return invalid("process.user.additionalGids", format!("{group} is not mapped"));
    }
    if let Some(node) = nodes.iter().find(|node| unmapped(node.uid, node.gid)) {
        let reason = format!("the owner of `{}` is not mapped", node.path.display());
        return invalid("linux.devices", reason);
    }
    // Set before the process is made, by whoever has the machine's rights.
    let reset = u64::from(nix::libc::SCHED_FLAG_RESET_ON_FORK.unsigned_abs());
    if process.scheduler.is_some_and(|scheduler| scheduler.flags & reset != 0) {
        let reason = "SCHED_FLAG_RESET_ON_FORK cannot be had in a user namespace";
        return unsupported("process.scheduler.flags", reason);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_kernels_mappings_are_read() {
        let read = mapping("         0     100000      65536").unwrap();
        assert_eq!(read, IdMapping { container_id: 0, host_id: 100_000, size: 65536 });
        for line in ["", "0 1", "0 1 x"] {
            assert!(mapping(line).is_err(), "{line}");
        }
    }
}
