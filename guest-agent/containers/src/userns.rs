//! Mapped ids: the machine's setting, and which containers it holds for.
//!
//! Either no container's ids are mapped, or those of every container that does not say
//! `--userns host`, all into the same range, as with Docker's `userns-remap`. Files keep the ids
//! of the container on the disk (the mounts are mapped, not the files), so a container may be
//! started with one setting today and with the other tomorrow, and volumes belong to no mapping.

use linkspan_runtime::plan::{IdMapping, UserNamespace};

use crate::{
    Error,
    config::Config,
    launch::{Joins, Target},
    network::Mode,
};

/// The first id of the range in the VM: far above those of any user there.
const FIRST: u32 = 100_000;

/// How many ids: as many as Docker and useradd(8) give, so that 65534, nobody, is one of them.
const COUNT: u32 = 65_536;

/// The machine's range.
#[must_use]
pub fn range() -> UserNamespace {
    let range = vec![IdMapping { container_id: 0, host_id: FIRST, size: COUNT }];
    UserNamespace { uid_mappings: range.clone(), gid_mappings: range }
}

/// The mapping of a container's ids, if they are mapped.
pub(crate) fn of<'a>(
    config: &Config,
    setting: Option<&'a UserNamespace>,
) -> Option<&'a UserNamespace> {
    setting.filter(|_| config.userns_mode != "host")
}

/// Refuses what cannot be had with mapped ids, in Docker's words where it has some.
///
/// # Errors
/// Names the option.
pub(crate) fn validate(config: &Config, setting: Option<&UserNamespace>) -> Result<(), Error> {
    if !matches!(config.userns_mode.as_str(), "" | "host") {
        let why =
            format!("invalid USER mode: `{}`: it is `host`, or not given", config.userns_mode);
        return Err(Error::invalid("--userns", why));
    }
    if of(config, setting).is_none() {
        return Ok(());
    }
    let refuse = |option, why: &str| Err(Error::invalid(option, why));
    if config.privileged {
        return refuse(
            "--privileged",
            "privileged mode is incompatible with user namespaces. You must run the container in \
             the host namespace (--userns host) when running privileged mode",
        );
    }
    if matches!(config.network.mode(), Mode::Host) {
        let why = "cannot share the host's network namespace when user namespaces are enabled";
        return refuse("--network", why);
    }
    for (option, mode, name) in [
        ("--pid", &config.pid_mode, "PID"),
        ("--ipc", &config.ipc_mode, "IPC"),
        ("--cgroupns", &config.cgroupns_mode, "cgroup"),
    ] {
        if mode == "host" {
            let why =
                format!("cannot share the host {name} namespace when user namespaces are enabled");
            return Err(Error::invalid(option, why));
        }
    }
    Ok(())
}

/// Whose user namespace a container has whose ids are mapped: that of the container of which it
/// joins a namespace, because only who owns one may use it. `network`: whose network it joins.
///
/// # Errors
/// When namespaces of several containers are joined, which no single user namespace owns.
pub(crate) fn joined(network: Option<&Target>, joins: &Joins) -> Result<Option<Target>, Error> {
    let mut found: Option<&Target> = None;
    for target in [network, joins.ipc.as_ref(), joins.pid.as_ref()].into_iter().flatten() {
        if found.is_some_and(|first| first.pid != target.pid) {
            let why = "with mapped ids all namespaces that are joined have to be one container's";
            return Err(Error::invalid("--userns", why));
        }
        found = Some(target);
    }
    Ok(found.cloned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use linkspan_net::EndpointSpec;

    fn check(change: impl FnOnce(&mut Config)) -> Result<(), String> {
        let mut config = Config::default();
        change(&mut config);
        validate(&config, Some(&range())).map_err(|error| error.to_string())
    }

    #[test]
    fn what_needs_the_machines_root_is_refused_in_dockers_words() {
        for (result, option, words) in [
            (check(|c| c.privileged = true), "--privileged", "incompatible with user namespaces"),
            (check(|c| c.pid_mode = "host".into()), "--pid", "cannot share the host PID namespace"),
            (check(|c| c.ipc_mode = "host".into()), "--ipc", "cannot share the host IPC namespace"),
            (check(|c| c.cgroupns_mode = "host".into()), "--cgroupns", "host cgroup namespace"),
            (
                check(|c| {
                    let network = "host".into();
                    c.network.endpoints = vec![EndpointSpec { network, ..EndpointSpec::default() }];
                }),
                "--network",
                "cannot share the host's network namespace",
            ),
            (check(|c| c.userns_mode = "keep-id".into()), "--userns", "invalid USER mode"),
        ] {
            let text = result.expect_err(option);
            assert!(text.starts_with(option) && text.contains(words), "{text}");
        }
        check(|c| c.uts_mode = "host".into()).unwrap();
    }

    #[test]
    fn who_opts_out_or_has_no_setting_may_have_it_all() {
        check(|c| {
            c.userns_mode = "host".into();
            c.privileged = true;
            c.pid_mode = "host".into();
        })
        .unwrap();
        let config = Config { privileged: true, ..Config::default() };
        validate(&config, None).unwrap();
        assert!(of(&config, None).is_none() && of(&config, Some(&range())).is_some());
    }

    #[test]
    fn the_user_namespace_is_the_joined_containers_and_there_is_only_one() {
        let target = |pid| Target { pid, pidfd: None, cgroup: "c".into() };
        let joins = |ipc, pid| Joins { ipc, pid, ..Joins::default() };
        assert!(joined(None, &Joins::default()).unwrap().is_none());
        let of_7 = joined(Some(&target(7)), &joins(Some(target(7)), None)).unwrap();
        assert_eq!(of_7.map(|target| target.pid), Some(7));
        let several = joined(Some(&target(7)), &joins(None, Some(target(8))));
        assert!(several.unwrap_err().to_string().starts_with("--userns: "));
    }
}
