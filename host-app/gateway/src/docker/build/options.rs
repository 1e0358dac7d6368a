//! The query of `POST /build`. What Docker's classic builder knows and a build here has not is refused
//! by name; the parameters that only the order of its own work explains (`rm`, `forcerm`) have no
//! effect: the container of a command never stays.

use std::collections::BTreeMap;

use http::StatusCode;
use linkspan_docker_types::{container::host_config::Ulimit, json};
use linkspan_proto::v1::{BuildContext, BuildOpen, BuildUlimit, Resources, build_context::Kind};
use serde::de::DeserializeOwned;

use crate::docker::{answer::Refusal, call::Call};

/// A build that a client has asked for.
pub(super) struct Asked {
    /// Without the body's stream.
    pub(super) open: BuildOpen,
    /// The context is the body.
    pub(super) has_body: bool,
    /// Nothing is said but the id at the end.
    pub(super) quiet: bool,
    /// Since 1.30 the id is told for programs, too.
    pub(super) aux: bool,
    /// What is to be said before all.
    pub(super) notes: Vec<String>,
}

fn unsupported(what: impl Into<String>) -> Refusal {
    Refusal::new(StatusCode::NOT_IMPLEMENTED, what)
}

/// A parameter that is JSON; absent when it is absent or empty.
fn json_of<T: DeserializeOwned + Default>(
    call: &Call,
    key: &str,
    what: &str,
) -> Result<T, Refusal> {
    match call.text(key) {
        "" => Ok(T::default()),
        text => json::read(text.as_bytes())
            .map_err(|error| Refusal::bad(format!("error reading {what}: {error}"))),
    }
}

/// # Errors
/// What cannot be read, and what is not supported.
pub(super) fn read(call: &Call) -> Result<Asked, Refusal> {
    refuse(call)?;
    let arguments: BTreeMap<String, Option<String>> = json_of(call, "buildargs", "build args")?;
    let labels: BTreeMap<String, String> = json_of(call, "labels", "labels")?;
    let ulimits: Vec<Ulimit> = json_of(call, "ulimits", "ulimit settings")?;
    let sources: Vec<String> = json_of(call, "cachefrom", "cache-from")?;
    let network = match call.text("networkmode") {
        "bridge" => "default",
        other => other,
    };
    let remote = call.text("remote");
    let open = BuildOpen {
        context: context(remote)?,
        dockerfile_name: call.text("dockerfile").to_owned(),
        tags: call.texts("t").into_iter().filter(|tag| !tag.is_empty()).collect(),
        // A name without a value is one that the client's environment lacks.
        build_args: arguments
            .into_iter()
            .filter_map(|(name, value)| Some((name, value?)))
            .collect(),
        target: call.text("target").to_owned(),
        no_cache: call.flag("nocache"),
        pull: call.flag("pull"),
        labels: labels.into_iter().collect(),
        platform: call.text("platform").to_owned(),
        network: network.to_owned(),
        // The classic builder asks for nothing more.
        allow: if network == "host" { vec!["network.host".to_owned()] } else { Vec::new() },
        extra_hosts: call.texts("extrahosts"),
        shm_size: call.number("shmsize")?.unwrap_or(0),
        ulimits: ulimits.into_iter().map(ulimit).collect(),
        resources: Some(resources(call)?),
        instructions: true,
        ..BuildOpen::default()
    };
    let note =
        "[Warning] cachefrom has no effect: whatever earlier builds left in the machine is found\n";
    Ok(Asked {
        has_body: open.context.is_none(),
        open,
        quiet: call.flag("q"),
        aux: !call.version.before(30),
        notes: if sources.is_empty() { Vec::new() } else { vec![note.to_owned()] },
    })
}

fn refuse(call: &Call) -> Result<(), Refusal> {
    match call.text("version") {
        "" | "1" => {}
        "2" => {
            return Err(unsupported(
                "version=2 is not supported: BuildKit's sessions are not served; clients build with the classic builder (DOCKER_BUILDKIT=0)",
            ));
        }
        other => return Err(Refusal::bad(format!("invalid version {other}"))),
    }
    if call.flag("squash") {
        return Err(Refusal::bad("squash is only supported with experimental mode"));
    }
    if !matches!(call.text("securityopt"), "" | "null" | "[]") {
        return Err(Refusal::bad(
            "The daemon on this platform does not support setting security options on build",
        ));
    }
    let isolation = call.text("isolation");
    if !matches!(isolation, "" | "default") {
        return Err(Refusal::bad(format!("Unsupported isolation: {isolation:?}")));
    }
    if !matches!(call.text("outputs"), "" | "null" | "[]") {
        return Err(unsupported(
            "outputs is not supported: the result of a build here is an image; `linkspan build --output` writes files",
        ));
    }
    if !call.text("cgroupparent").is_empty() {
        return Err(unsupported(
            "cgroupparent is not supported: builds have a cgroup of their own",
        ));
    }
    Ok(())
}

/// What `remote` names; none: the body.
fn context(remote: &str) -> Result<Option<BuildContext>, Refusal> {
    // github.com/moby/moby/builder/remotecontext/urlutil: what is a repository and not a file.
    let is_git = remote.starts_with("git@")
        || remote.starts_with("git://")
        || remote.starts_with("github.com/")
        || remote.split('#').next().is_some_and(|url| url.ends_with(".git"));
    if is_git {
        return Err(unsupported(format!(
            "cannot use `{remote}` as a context: there is no git in the machine"
        )));
    }
    match remote {
        // The body, whatever this client calls it.
        "" | "client-session" => Ok(None),
        url if url.starts_with("http://") || url.starts_with("https://") => {
            Ok(Some(BuildContext { kind: Some(Kind::Url(url.to_owned())) }))
        }
        other => Err(Refusal::bad(format!("remoteURL ({other}) could not be recognized as URL"))),
    }
}

fn resources(call: &Call) -> Result<Resources, Refusal> {
    Ok(Resources {
        memory_bytes: call.number("memory")?.unwrap_or(0),
        memory_swap_bytes: call.number("memswap")?.unwrap_or(0),
        cpu_shares: call.number("cpushares")?.unwrap_or(0),
        cpu_period_us: call.number("cpuperiod")?.unwrap_or(0),
        cpu_quota_us: call.number("cpuquota")?.unwrap_or(0),
        cpuset_cpus: call.text("cpusetcpus").to_owned(),
        cpuset_mems: call.text("cpusetmems").to_owned(),
        ..Resources::default()
    })
}

fn ulimit(limit: Ulimit) -> BuildUlimit {
    // -1 is no limit.
    let number = |limit: i64| u64::try_from(limit).unwrap_or(u64::MAX);
    BuildUlimit { name: limit.name, soft: number(limit.soft), hard: number(limit.hard) }
}
