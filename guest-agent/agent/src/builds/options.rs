//! What a caller asks of a build, checked.

use linkspan_build::{Entitlement, Ignore, Network, Options, parse_platform};
use linkspan_builder::RunOptions;
use linkspan_containers::limits::{self, Capacity};
use linkspan_images::{Platform, check_tags};
use linkspan_net::files::DnsSpec;
use linkspan_proto::{
    error::{ErrorCode, Failure},
    v1::{BuildOpen, build_context},
};
use linkspan_runtime::plan::Rlimit;

use crate::{failure::of_store, rpc::convert};

fn invalid(text: impl Into<String>) -> Failure {
    Failure::new(ErrorCode::InvalidArgument, text)
}

/// What the planner is told.
pub(super) fn planning(open: &BuildOpen, ignore: Ignore) -> Result<Options, Failure> {
    check_tags(&open.tags).map_err(|error| of_store(&error))?;
    let here = Platform::here();
    let platform = match open.platform.as_str() {
        "" => None,
        text => Some(
            parse_platform(text, &here)
                .map_err(|why| invalid(format!("--platform `{text}`: {why}")))?,
        ),
    };
    let network = match open.network.as_str() {
        "" | "default" => Network::Default,
        "none" => Network::None,
        "host" => Network::Host,
        other => {
            return Err(Failure::new(
                ErrorCode::Unsupported,
                format!("--network `{other}` is not supported: a build has default, none or host"),
            ));
        }
    };
    let allow = open.allow.iter().map(|name| match name.as_str() {
        "network.host" => Ok(Entitlement::NetworkHost),
        "security.insecure" => Ok(Entitlement::SecurityInsecure),
        other => {
            Err(invalid(format!("--allow `{other}` is not one of network.host, security.insecure")))
        }
    });
    let named = open.named_contexts.iter().map(|(name, context)| match &context.kind {
        Some(build_context::Kind::Image(image)) => Ok((name.to_lowercase(), image.clone())),
        _ => Err(Failure::new(
            ErrorCode::Unsupported,
            format!("the build context `{name}` is not supported: only images can have a name"),
        )),
    });
    Ok(Options {
        named_images: named.collect::<Result<_, _>>()?,
        build_args: open.build_args.clone().into_iter().collect(),
        target: Some(open.target.clone()).filter(|target| !target.is_empty()),
        platform,
        build_platform: here,
        labels: open.labels.clone().into_iter().collect(),
        allow: allow.collect::<Result<_, _>>()?,
        network,
        no_cache: open.no_cache,
        no_cache_stages: open.no_cache_stages.iter().cloned().collect(),
        ignore,
    })
}

/// What all commands have in common.
pub(super) fn running(open: &BuildOpen, capacity: Capacity) -> Result<RunOptions, Failure> {
    let dns = DnsSpec { extra_hosts: open.extra_hosts.clone(), ..DnsSpec::default() };
    dns.check().map_err(|error| invalid(error.to_string()))?;
    let ulimit = |limit: &linkspan_proto::v1::BuildUlimit| Rlimit {
        kind: limit.name.clone(),
        soft: limit.soft,
        hard: limit.hard,
    };
    let secrets = open.secrets.iter().map(|(id, secret)| (id.clone(), secret.to_vec()));
    let limits = convert::limits(open.resources.clone().unwrap_or_default());
    limits::validate(&limits, capacity).map_err(|error| invalid(error.to_string()))?;
    Ok(RunOptions {
        extra_hosts: open.extra_hosts.clone(),
        shm_size: open.shm_size,
        ulimits: open.ulimits.iter().map(ulimit).collect(),
        secrets: secrets.collect(),
        ssh: open.ssh.iter().cloned().collect(),
        resources: limits::resources(&limits),
    })
}
