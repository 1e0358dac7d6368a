//! `linux.namespaces`, and the kernel parameters that belong to them.

use std::collections::HashMap;
use std::path::PathBuf;

use linkspan_runtime::{defaults::IPC_SYSCTLS, plan::Namespaces as New};
use oci_spec::runtime::{LinuxNamespace, LinuxNamespaceType as Type};

use super::{ConfigError, invalid, unsupported};

/// Files of namespaces that are joined.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct JoinedPaths {
    pub(crate) network: Option<PathBuf>,
    pub(crate) pid: Option<PathBuf>,
    pub(crate) ipc: Option<PathBuf>,
    pub(crate) uts: Option<PathBuf>,
    pub(crate) cgroup: Option<PathBuf>,
    pub(crate) user: Option<PathBuf>,
    pub(crate) time: Option<PathBuf>,
}

/// What is new and what is joined; the rest is the runtime's.
#[derive(Debug)]
pub(super) struct Namespaces {
    pub(super) new: New,
    pub(super) new_user: bool,
    pub(super) new_time: bool,
    pub(super) joined: JoinedPaths,
}

pub(super) fn convert(list: Option<&[LinuxNamespace]>) -> Result<Namespaces, ConfigError> {
    let mut new = New { pid: false, uts: false, ipc: false, network: false, cgroup: false };
    let (mut new_user, mut new_time) = (false, false);
    let mut joined = JoinedPaths::default();
    let mut seen = Vec::new();
    for entry in list.unwrap_or_default() {
        let kind = entry.typ();
        let property = format!("linux.namespaces[{}]", seen.len());
        if seen.contains(&kind) {
            return invalid(property, format!("there are two of the type `{}`", word(kind)));
        }
        seen.push(kind);
        let path = entry.path().clone();
        if let Some(path) = path.as_ref().filter(|path| !path.is_absolute()) {
            return invalid(property, format!("the path `{}` is not absolute", path.display()));
        }
        let (fresh, place) = match kind {
            Type::Pid => (&mut new.pid, &mut joined.pid),
            Type::Network => (&mut new.network, &mut joined.network),
            Type::Ipc => (&mut new.ipc, &mut joined.ipc),
            Type::Uts => (&mut new.uts, &mut joined.uts),
            Type::Cgroup => (&mut new.cgroup, &mut joined.cgroup),
            Type::Mount if path.is_none() => continue,
            Type::Mount => {
                return unsupported(property, "a mount namespace of others is not joined");
            }
            Type::User => (&mut new_user, &mut joined.user),
            Type::Time => (&mut new_time, &mut joined.time),
        };
        *fresh = path.is_none();
        *place = path;
    }
    if !seen.contains(&Type::Mount) {
        return unsupported(
            "linux.namespaces",
            "a container without a mount namespace of its own would change the machine's root",
        );
    }
    Ok(Namespaces { new, new_user, new_time, joined })
}

fn word(kind: Type) -> &'static str {
    match kind {
        Type::Mount => "mount",
        Type::Cgroup => "cgroup",
        Type::Uts => "uts",
        Type::Ipc => "ipc",
        Type::User => "user",
        Type::Pid => "pid",
        Type::Network => "network",
        Type::Time => "time",
    }
}

/// Kernel parameters, as long as they are a namespace's that is not the runtime's: any other
/// would change the machine.
pub(super) fn sysctls(
    wanted: Option<&HashMap<String, String>>,
    namespaces: &Namespaces,
) -> Result<Vec<(String, String)>, ConfigError> {
    let Namespaces { new, joined, .. } = namespaces;
    let mut sysctls: Vec<(String, String)> =
        wanted.into_iter().flatten().map(|(name, value)| (name.clone(), value.clone())).collect();
    sysctls.sort();
    for (name, _) in &sysctls {
        let dotted = name.replace('/', ".");
        let (own, kind) = if dotted.starts_with("net.") {
            (new.network || joined.network.is_some(), "network")
        } else if dotted.starts_with("fs.mqueue.") || IPC_SYSCTLS.contains(&&*dotted) {
            (new.ipc || joined.ipc.is_some(), "IPC")
        } else if matches!(&*dotted, "kernel.domainname" | "kernel.hostname") {
            (new.uts || joined.uts.is_some(), "UTS")
        } else {
            return invalid(
                format!("linux.sysctl[{name}]"),
                "it belongs to no namespace: it would change the machine",
            );
        };
        if !own {
            return invalid(
                format!("linux.sysctl[{name}]"),
                format!("it needs a {kind} namespace other than the runtime's"),
            );
        }
    }
    Ok(sysctls)
}
