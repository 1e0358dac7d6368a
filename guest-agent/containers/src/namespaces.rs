//! Which namespaces a container has of its own, which it shares with the VM, and which with
//! another container: `--pid`, `--ipc`, `--uts`, `--cgroupns`. The network is in
//! [`crate::network`].

use std::sync::Arc;

use linkspan_runtime::{
    defaults::IPC_SYSCTLS,
    plan::{MountKind, Namespaces, Plan},
};

use crate::{
    Containers, Error, Shared,
    config::Config,
    container::Container,
    launch::{Joins, Target},
    network::{self, Mode},
    userns,
};

/// Where shared memory is (shm_overview(7)).
const SHARED_MEMORY: &str = "/dev/shm";

/// Whose a namespace is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Whose<'a> {
    /// The container's own.
    Own,
    /// The VM's.
    Host,
    /// Another container's, by name or id.
    Container(&'a str),
}

impl<'a> Whose<'a> {
    fn read(option: &'static str, text: &'a str) -> Result<Self, Error> {
        match text {
            "" | "private" => Ok(Self::Own),
            "host" => Ok(Self::Host),
            _ => match text.strip_prefix("container:") {
                Some("") => Err(Error::invalid(option, "container: needs a name or an id")),
                Some(who) => Ok(Self::Container(who)),
                None => Err(Error::invalid(option, format!("`{text}` is not a mode"))),
            },
        }
    }

    fn is_own(self) -> bool {
        self == Self::Own
    }
}

/// The modes of a configuration.
#[derive(Debug, Clone, Copy)]
struct Modes<'a> {
    pid: Whose<'a>,
    ipc: Whose<'a>,
    uts: Whose<'a>,
    cgroup: Whose<'a>,
}

impl<'a> Modes<'a> {
    fn of(config: &'a Config) -> Result<Self, Error> {
        let ipc = match config.ipc_mode.as_str() {
            "shareable" | "none" => Whose::Own,
            other => Whose::read("--ipc", other)?,
        };
        let cgroup = Whose::read("--cgroupns", &config.cgroupns_mode)?;
        if let Whose::Container(_) = cgroup {
            return Err(Error::invalid("--cgroupns", "it is `private` or `host`"));
        }
        let pid = Whose::read("--pid", &config.pid_mode)?;
        let uts = Whose::read("--uts", &config.uts_mode)?;
        Ok(Self { pid, ipc, uts, cgroup })
    }
}

/// Checks what can be checked without the other containers.
///
/// # Errors
/// Names the option.
pub(crate) fn validate(config: &Config) -> Result<(), Error> {
    let modes = Modes::of(config)?;
    let named = [("--hostname", &config.hostname), ("--domainname", &config.domainname)];
    for (option, value) in named {
        if !modes.uts.is_own() && !value.is_empty() {
            let why = format!("it has no meaning with --uts {}", config.uts_mode);
            return Err(Error::invalid(option, why));
        }
    }
    let no_memory_of_its_own = !modes.ipc.is_own() || config.ipc_mode == "none";
    if no_memory_of_its_own && config.shm_size != 0 {
        let why = format!("it has no meaning with --ipc {}", config.ipc_mode);
        return Err(Error::invalid("--shm-size", why));
    }
    for name in config.sysctls.keys() {
        sysctl(name, config, modes.ipc)?;
    }
    Ok(())
}

/// Docker's rule: a parameter has to belong to a namespace, and that to the container.
fn sysctl(name: &str, config: &Config, ipc: Whose<'_>) -> Result<(), Error> {
    // `net/ipv4/...` is the other spelling of sysctl(8).
    let name = name.replace('/', ".");
    let refuse = |why: &str| {
        Err(Error::invalid("--sysctl", format!("sysctl `{name}` is not allowed: {why}")))
    };
    if name.starts_with("net.") {
        return match config.network.mode() {
            Mode::Host => refuse("the network is the machine's"),
            Mode::Own | Mode::Container(_) => Ok(()),
        };
    }
    if IPC_SYSCTLS.contains(&name.as_str()) || name.starts_with("fs.mqueue.") {
        return match ipc {
            Whose::Host => refuse("the IPC namespace is the machine's"),
            Whose::Own | Whose::Container(_) => Ok(()),
        };
    }
    refuse(
        "it belongs to no namespace: net.*, fs.mqueue.*, kernel.msg*, kernel.shm*, kernel.sem do",
    )
}

/// What a plan makes new, but for the network.
///
/// # Errors
/// As [`validate`].
pub(crate) fn new_ones(config: &Config) -> Result<Namespaces, Error> {
    let modes = Modes::of(config)?;
    Ok(Namespaces {
        pid: modes.pid.is_own(),
        uts: modes.uts.is_own(),
        ipc: modes.ipc.is_own(),
        network: true,
        cgroup: modes.cgroup.is_own(),
    })
}

/// Shared memory goes with the IPC namespace.
///
/// # Errors
/// As [`validate`].
pub(crate) fn change_shared_memory(config: &Config, plan: &mut Plan) -> Result<(), Error> {
    let at = |destination: &std::path::Path| destination.as_os_str() == SHARED_MEMORY;
    if config.ipc_mode == "none" {
        plan.mounts.retain(|mount| !at(&mount.destination));
        return Ok(());
    }
    let kind = match Modes::of(config)?.ipc {
        Whose::Own => return Ok(()),
        Whose::Host => MountKind::Bind(linkspan_runtime::plan::Bind::of(SHARED_MEMORY.into())),
        Whose::Container(_) => MountKind::JoinedSharedMemory,
    };
    if let Some(mount) = plan.mounts.iter_mut().find(|mount| at(&mount.destination)) {
        mount.kind = kind;
    }
    Ok(())
}

/// Whether its processes can outlive its first one: those of a pid namespace of its own cannot.
pub(crate) fn shares_pids(config: &Config) -> bool {
    Modes::of(config).is_ok_and(|modes| !modes.pid.is_own())
}

/// Finds the containers whose namespaces are to be joined. They have to run.
///
/// # Errors
/// Names the container and why it cannot be joined.
pub(crate) fn find(container: &Container, shared: &Arc<Shared>) -> Result<Joins, Error> {
    let record = container.record();
    let modes = Modes::of(&record.config)?;
    let join = |whose: Whose<'_>, action: &'static str| match whose {
        Whose::Container(who) => target(container, shared, who, action).map(Some),
        Whose::Own | Whose::Host => Ok(None),
    };
    let mut joins = Joins {
        pid: join(modes.pid, "join the processes of")?,
        ipc: join(modes.ipc, "join the IPC namespace of")?,
        uts: join(modes.uts, "join the host name of")?,
        user: None,
    };
    if shared.user_namespace(&record.config).is_some() {
        let network = match record.config.network.mode() {
            Mode::Container(who) => Some(target(container, shared, &who, "join the network of")?),
            Mode::Own | Mode::Host => None,
        };
        joins.user = userns::joined(network.as_ref(), &joins)?;
    }
    Ok(joins)
}

fn target(
    container: &Container,
    shared: &Arc<Shared>,
    who: &str,
    action: &'static str,
) -> Result<Target, Error> {
    let all = Containers { shared: Arc::clone(shared) };
    let other = all.find(who)?;
    let target = network::joinable(container, &other, action)?;
    let config = &other.record().config;
    let own = container.record();
    if shared.user_namespace(&own.config).is_some() && shared.user_namespace(config).is_none() {
        let why = "its user ids are the machine's, and these would be mapped: both need the same \
                   --userns"
            .into();
        return Err(Error::WrongState { action, name: other.name(), why });
    }
    let joins_ipc = action.contains("IPC");
    // As in Docker: shared memory is private unless it was made to be shared.
    if joins_ipc && Modes::of(config)?.ipc.is_own() && config.ipc_mode != "shareable" {
        let why = "it was not created with --ipc shareable".into();
        return Err(Error::WrongState { action, name: other.name(), why });
    }
    Ok(target)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refusal(change: impl FnOnce(&mut Config)) -> String {
        let mut config = Config::default();
        change(&mut config);
        validate(&config).expect_err("it is not valid").to_string()
    }

    #[test]
    fn a_parameter_of_no_namespace_is_refused_by_name() {
        let of = |name: &str| vec![(name.to_owned(), "1".to_owned())].into_iter().collect();
        for name in ["kernel.panic", "vm.swappiness", "fs.file-max", "kernel.shm", "netx.a"] {
            let text = refusal(|config| config.sysctls = of(name));
            assert!(text.starts_with(&format!("--sysctl: sysctl `{name}` is not")), "{text}");
        }
        for name in ["net.core.somaxconn", "kernel.shmmax", "kernel.sem", "fs.mqueue.msg_max"] {
            validate(&Config { sysctls: of(name), ..Config::default() }).expect(name);
        }
        let text = refusal(|config| {
            config.ipc_mode = "host".into();
            config.sysctls = of("kernel.shmmax");
        });
        assert!(text.contains("the IPC namespace is the machine's"), "{text}");
    }

    #[test]
    fn modes_that_do_not_exist_or_contradict_are_refused_by_their_option() {
        for (text, option) in [
            (refusal(|c| c.pid_mode = "shareable".into()), "--pid: "),
            (refusal(|c| c.pid_mode = "container:".into()), "--pid: "),
            (refusal(|c| c.ipc_mode = "hosts".into()), "--ipc: "),
            (refusal(|c| c.cgroupns_mode = "container:x".into()), "--cgroupns: "),
            (
                refusal(|c| {
                    c.uts_mode = "host".into();
                    c.hostname = "x".into();
                }),
                "--hostname: ",
            ),
            (
                refusal(|c| {
                    c.ipc_mode = "none".into();
                    c.shm_size = 1;
                }),
                "--shm-size: ",
            ),
        ] {
            assert!(text.starts_with(option), "{option}: {text}");
        }
    }
}
