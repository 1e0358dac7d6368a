//! What `create` and `exec` refuse before anything exists, with the option named.

use std::{collections::BTreeSet, path::Path};

use linkspan_runtime::{capabilities, plan::CapabilitySets, rlimits, seccomp};

use crate::{
    Error,
    config::{Config, ExecConfig},
    devices,
    id::ContainerId,
    limits::{self, Capacity},
    mounts, namespaces, network, ports,
    restart::RestartPolicy,
    signal::Signal,
};

/// Which system call filter a container has.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Seccomp<'a> {
    /// The default one; none for a privileged container.
    #[default]
    Default,
    /// None.
    Unconfined,
    /// That of a profile, Docker's JSON.
    Profile(&'a str),
}

/// Security options that are understood.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Security<'a> {
    /// prctl(PR_SET_NO_NEW_PRIVS).
    pub no_new_privileges: bool,
    /// The system call filter.
    pub seccomp: Seccomp<'a>,
    /// Nothing of /proc and /sys is masked or read-only.
    pub system_paths: bool,
}

/// Checks everything of a request that can be checked without its image.
///
/// # Errors
/// Names the option and says what is wrong with its value.
pub fn config(config: &Config, capacity: Capacity) -> Result<(), Error> {
    limits::validate(&config.limits, capacity)?;
    let sets = capabilities(config)?;
    if let Seccomp::Profile(json) = security(&config.security_opts)?.seccomp {
        profile(json, &sets)?;
    }
    network::validate(config)?;
    ports::validate(config)?;
    namespaces::validate(config)?;
    devices::validate(config)?;
    config.log.validate()?;
    mounts::check::check(config)?;
    hostname("--hostname", &config.hostname)?;
    hostname("--domainname", &config.domainname)?;
    environment(&config.env)?;
    working_dir(&config.working_dir)?;
    text("--user", &config.user)?;
    for group in &config.group_add {
        text("--group-add", group)?;
    }
    for word in config.command.iter().chain(config.entrypoint.iter().flatten()) {
        text("command", word)?;
    }
    if !config.stop_signal.is_empty() {
        Signal::parse(&config.stop_signal).map_err(|why| Error::invalid("--stop-signal", why))?;
    }
    if config.auto_remove && config.restart != RestartPolicy::No {
        let why = "conflicting options: cannot specify both --restart and --rm";
        return Err(Error::invalid("--restart", why));
    }
    if let Some(health) = &config.health {
        health.validate()?;
        for word in &health.test {
            text("--health-cmd", word)?;
        }
    }
    // proc_pid_oom_score_adj(5)
    if config.oom_score_adj.is_some_and(|score| !(-1000..=1000).contains(&score)) {
        return Err(Error::invalid("--oom-score-adj", "the range is -1000 to 1000"));
    }
    if config.labels.keys().any(String::is_empty) {
        return Err(Error::invalid("--label", "a label needs a key"));
    }
    ulimits(config)
}

/// Checks one more process.
///
/// # Errors
/// Names the option and says what is wrong with its value.
pub fn exec(config: &ExecConfig) -> Result<(), Error> {
    if config.args.first().is_none_or(String::is_empty) {
        return Err(Error::invalid("command", "none was given"));
    }
    for word in &config.args {
        text("command", word)?;
    }
    environment(&config.env)?;
    working_dir(&config.working_dir)?;
    text("--user", &config.user)
}

/// The id that a caller gives one more process.
pub(crate) fn exec_id(id: &str) -> Result<ContainerId, Error> {
    let refuse = |_| Error::invalid("id", format!("`{id}` is not 64 hexadecimal digits"));
    id.parse().map_err(refuse)
}

/// What is left of root.
///
/// # Errors
/// A name that is no capability, with its option.
pub fn capabilities(config: &Config) -> Result<CapabilitySets, Error> {
    // Each list alone first, so that the message can name the option.
    for (option, list) in [("--cap-add", &config.cap_add), ("--cap-drop", &config.cap_drop)] {
        capabilities::resolve(list, &[], false).map_err(|unknown| {
            Error::invalid(option, format!("`{}` is not a capability", unknown.name))
        })?;
    }
    capabilities::resolve(&config.cap_add, &config.cap_drop, config.privileged)
        .map_err(|unknown| Error::invalid("--cap-add", unknown.to_string()))
}

/// Reads `--security-opt`s.
///
/// # Errors
/// One that is not known is refused by name.
pub fn security(options: &[String]) -> Result<Security<'_>, Error> {
    let mut security = Security::default();
    for option in options {
        // Docker's old spelling used a colon.
        let (key, value) =
            option.split_once(['=', ':']).map_or((option.as_str(), None), |(k, v)| (k, Some(v)));
        match (key, value) {
            ("no-new-privileges", None | Some("true")) => security.no_new_privileges = true,
            ("no-new-privileges", Some("false")) => security.no_new_privileges = false,
            ("seccomp", Some("unconfined")) => security.seccomp = Seccomp::Unconfined,
            ("seccomp", Some("builtin")) => security.seccomp = Seccomp::Default,
            ("seccomp", Some(json)) if json.starts_with('{') => {
                security.seccomp = Seccomp::Profile(json);
            }
            ("systempaths", Some("unconfined")) => security.system_paths = true,
            _ => {
                let why = match key {
                    "apparmor" => "the machine's kernel has no AppArmor",
                    "label" => "the machine's kernel has no SELinux",
                    _ => {
                        "known are `no-new-privileges[=true|false]`, `seccomp=unconfined|builtin` \
                         and `systempaths=unconfined`"
                    }
                };
                return Err(Error::Unsupported {
                    option: format!("--security-opt {option}"),
                    why: why.into(),
                });
            }
        }
    }
    Ok(security)
}

/// The filter of a profile.
///
/// # Errors
/// Says what of the profile cannot be used.
pub fn profile(json: &str, sets: &CapabilitySets) -> Result<Vec<u64>, Error> {
    seccomp::profile_filter(json, sets.bounding)
        .map_err(|why| Error::invalid("--security-opt", format!("seccomp profile: {why}")))
}

fn text(option: &'static str, value: &str) -> Result<(), Error> {
    if value.contains('\0') {
        return Err(Error::invalid(option, "it contains a NUL byte"));
    }
    Ok(())
}

fn environment(env: &[String]) -> Result<(), Error> {
    for entry in env {
        text("--env", entry)?;
        if entry.is_empty() || entry.starts_with('=') {
            return Err(Error::invalid("--env", format!("`{entry}` has no name before the `=`")));
        }
    }
    Ok(())
}

fn working_dir(path: &str) -> Result<(), Error> {
    text("--workdir", path)?;
    if !path.is_empty() && !Path::new(path).is_absolute() {
        return Err(Error::invalid("--workdir", format!("`{path}` is not an absolute path")));
    }
    Ok(())
}

/// sethostname(2) takes 64 bytes; the characters are those of RFC 1123 plus `_`, which Docker
/// lets through too.
fn hostname(option: &'static str, name: &str) -> Result<(), Error> {
    if name.len() > 64 {
        return Err(Error::invalid(option, "it is longer than 64 characters"));
    }
    let allowed = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.' | '_');
    if !name.chars().all(allowed) || name.starts_with(['-', '.']) {
        return Err(Error::invalid(option, format!("`{name}` is not a host name")));
    }
    Ok(())
}

fn ulimits(config: &Config) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    for limit in &config.ulimits {
        let name = limit.name.as_str();
        let invalid = |why: &str| Err(Error::invalid("--ulimit", format!("`{name}` {why}")));
        if rlimits::number(name).is_none() {
            return invalid("is not a resource limit");
        }
        if limit.soft > limit.hard {
            return invalid("has a soft limit above its hard limit");
        }
        if !seen.insert(name) {
            return invalid("is given twice");
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Ulimit;

    const VM: Capacity = Capacity { cpus: 2, memory_nodes: 1 };

    fn refusal(change: impl FnOnce(&mut Config)) -> String {
        let mut asked = Config::default();
        change(&mut asked);
        config(&asked, VM).expect_err("it is not valid").to_string()
    }

    #[test]
    fn every_wrong_value_is_refused_by_its_options_name() {
        let ulimit = |name: &str, soft, hard| Ulimit { name: name.into(), soft, hard };
        for (text, option) in [
            (refusal(|c| c.hostname = "a b".into()), "--hostname: "),
            (refusal(|c| c.hostname = "x".repeat(65)), "--hostname: "),
            (refusal(|c| c.env = vec!["=x".into()]), "--env: "),
            (refusal(|c| c.working_dir = "srv".into()), "--workdir: "),
            (refusal(|c| c.command = vec!["a\0b".into()]), "command: "),
            (refusal(|c| c.stop_signal = "SIGNOPE".into()), "--stop-signal: "),
            (refusal(|c| c.ulimits = vec![ulimit("files", 1, 1)]), "--ulimit: "),
            (refusal(|c| c.ulimits = vec![ulimit("nofile", 2, 1)]), "--ulimit: "),
            (refusal(|c| c.cap_drop = vec!["X".into()]), "--cap-drop: "),
            (
                refusal(|c| c.security_opts = vec!["apparmor=x".into()]),
                "--security-opt apparmor=x is not supported: ",
            ),
            (
                refusal(|c| c.security_opts = vec!["seccomp={}".into()]),
                "--security-opt: seccomp profile: ",
            ),
        ] {
            assert!(text.starts_with(option), "{option}: {text}");
        }
    }

    #[test]
    fn security_options_are_read_in_both_spellings() {
        fn read(options: &[&'static str]) -> Security<'static> {
            let options: Vec<String> = options.iter().map(ToString::to_string).collect();
            security(options.leak()).unwrap()
        }
        assert!(read(&["no-new-privileges"]).no_new_privileges);
        assert!(read(&["no-new-privileges:true"]).no_new_privileges);
        assert!(!read(&["no-new-privileges=true", "no-new-privileges=false"]).no_new_privileges);
        assert_eq!(read(&["seccomp=unconfined"]).seccomp, Seccomp::Unconfined);
        let profile = ["seccomp=unconfined", r#"seccomp={"a":"b=c"}"#];
        assert_eq!(read(&profile).seccomp, Seccomp::Profile(r#"{"a":"b=c"}"#));
    }
}
