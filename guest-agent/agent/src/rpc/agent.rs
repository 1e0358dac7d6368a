//! `linkspan.v1.AgentService`.

use std::{
    path::Path,
    pin::Pin,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use futures::{Stream, stream};
use linkspan_containers::session::Session;
use linkspan_proto::{
    PROTOCOL_VERSION,
    error::{ErrorCode, Failure},
    v1::{self as wire, agent_service_server::AgentService},
};
use linkspan_sys::boot::BootCalls;
use nix::sys::{statvfs::statvfs, utsname::uname};
use tokio::sync::broadcast;
use tonic::{Request, Response, Status, Streaming};

use super::{
    Guest, ShellSpec, blocking,
    stdio::{self, Output},
};
use crate::{boot::timeline::since_kernel_us, console};

/// What this agent can do beyond the protocol's version.
const FEATURES: &[&str] = &["byte-streams", "start-trace", "shell"];

/// The clock is set when it is further off than this.
const BEHIND: Duration = Duration::from_millis(100);
/// The same in the other direction, where the age of the host's answer looks like drift.
const AHEAD: Duration = Duration::from_secs(2);

/// The service.
pub(super) struct Face(pub(super) Guest);

type Answer<T> = Result<Response<T>, Status>;
type Records = Pin<Box<dyn Stream<Item = Result<wire::AgentLogRecord, Status>> + Send>>;

fn internal(what: impl std::fmt::Display) -> Failure {
    Failure::new(ErrorCode::Internal, what.to_string())
}

#[tonic::async_trait]
impl AgentService for Face {
    type ShellStream = Output;
    type LogsStream = Records;

    async fn hello(&self, request: Request<wire::HelloRequest>) -> Answer<wire::HelloResponse> {
        let request = request.into_inner();
        if request.protocol_version != PROTOCOL_VERSION {
            return Err(Failure::new(
                ErrorCode::VersionMismatch,
                format!(
                    "the host is version {} (protocol {}), the agent is version {} (protocol {PROTOCOL_VERSION})",
                    request.version,
                    request.protocol_version,
                    env!("CARGO_PKG_VERSION"),
                ),
            )
            .hint("start the machine again with the VM image of this version")
            .into());
        }
        let drift = match request.unix_nanos {
            0 => 0,
            theirs => set_clock(self.0.kernel.as_ref(), theirs),
        };
        let uts = uname().map_err(|errno| internal(errno.desc()))?;
        Ok(Response::new(wire::HelloResponse {
            protocol_version: PROTOCOL_VERSION,
            version: env!("CARGO_PKG_VERSION").into(),
            features: FEATURES.iter().map(|&feature| feature.to_owned()).collect(),
            kernel_release: format!(
                "{} {} {}",
                uts.sysname().to_string_lossy(),
                uts.release().to_string_lossy(),
                uts.machine().to_string_lossy()
            ),
            kernel_version: uts.version().to_string_lossy().into_owned(),
            architecture: uts.machine().to_string_lossy().into_owned(),
            phases: self.0.timeline.phases(),
            boot_id: self.0.boot_id.to_string(),
            clock_drift_ms: drift,
        }))
    }

    async fn power_off(
        &self,
        request: Request<wire::PowerOffRequest>,
    ) -> Answer<wire::PowerOffResponse> {
        let request = request.into_inner();
        let grace = request.stop_timeout_seconds.map(|seconds| Duration::from_secs(seconds.into()));
        let stopped = self.0.power.off(&self.0.containers, grace, request.reboot).await;
        Ok(Response::new(wire::PowerOffResponse {
            stopped_containers: u32::try_from(stopped).unwrap_or(u32::MAX),
        }))
    }

    async fn shell(&self, request: Request<Streaming<wire::ShellRequest>>) -> Answer<Output> {
        let mut requests = request.into_inner();
        let Some(wire::ShellRequest { kind: Some(wire::shell_request::Kind::Open(open)) }) =
            requests.message().await?
        else {
            return Err(Failure::new(
                ErrorCode::InvalidArgument,
                "the first message of this call must be `open`",
            )
            .into());
        };
        let args = if open.args.is_empty() { vec!["/bin/sh".into()] } else { open.args };
        let spec = ShellSpec {
            args,
            env: open.env,
            terminal: open.tty.then(|| stdio::size(open.size).unwrap_or((24, 80))),
        };
        let shell = self.0.shell.clone();
        let launched = blocking(move || shell.spawn(&spec)).await?;
        let session = Session::new(launched, self.0.launcher.clone()).map_err(internal)?;
        Ok(Response::new(stdio::serve(session, requests, |request| match request.kind {
            Some(wire::shell_request::Kind::Input(input)) => Some(input),
            _ => None,
        })))
    }

    async fn logs(&self, request: Request<wire::AgentLogsRequest>) -> Answer<Records> {
        let request = request.into_inner();
        let (recent, live) = self.0.journal.listen(request.backlog as usize);
        let recent = stream::iter(recent.into_iter().map(Ok));
        if !request.follow {
            return Ok(Response::new(Box::pin(recent)));
        }
        let live = stream::unfold(live, |mut live| async {
            match live.recv().await {
                Ok(record) => Some((Ok(record), live)),
                // A slow reader misses records rather than holding the agent up.
                Err(broadcast::error::RecvError::Lagged(missed)) => {
                    Some((Ok(console::gap(missed)), live))
                }
                Err(broadcast::error::RecvError::Closed) => None,
            }
        });
        Ok(Response::new(Box::pin(futures::StreamExt::chain(recent, live))))
    }

    async fn usage(&self, _: Request<wire::UsageRequest>) -> Answer<wire::UsageResponse> {
        let running = u32::try_from(self.0.containers.running()).unwrap_or(u32::MAX);
        let data = self.0.data.clone();
        let usage = blocking(move || usage(running, &data)).await?;
        Ok(Response::new(usage))
    }

    async fn ping(&self, request: Request<wire::PingRequest>) -> Answer<wire::PingResponse> {
        Ok(Response::new(wire::PingResponse { payload: request.into_inner().payload }))
    }
}

/// Sets the clock to the host's when it has drifted. Returns how far it was off, in milliseconds.
fn set_clock(kernel: &dyn BootCalls, theirs: i64) -> i64 {
    let ours = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .map(|since| i64::try_from(since.as_nanos()).unwrap_or(i64::MAX))
        .unwrap_or_default();
    let drift = ours.saturating_sub(theirs);
    if must_set(drift) {
        let (seconds, nanos) = (theirs.div_euclid(1_000_000_000), theirs.rem_euclid(1_000_000_000));
        if let Err(errno) = kernel.set_clock(seconds, nanos) {
            // A wrong clock is worse than no clock, but better than no machine.
            tracing::warn!(%errno, drift_ms = drift / 1_000_000, "the clock could not be set");
        }
    }
    drift / 1_000_000
}

/// Whether a clock that is this far ahead of the host's (in nanoseconds, negative: behind) is set.
/// The host's time is as old as its Hello took to arrive, so a clock that is a little ahead is
/// probably right.
fn must_set(drift: i64) -> bool {
    i128::from(drift) < -(BEHIND.as_nanos() as i128) || i128::from(drift) > AHEAD.as_nanos() as i128
}

fn usage(containers_running: u32, data: &Path) -> Result<wire::UsageResponse, Failure> {
    let meminfo = std::fs::read_to_string("/proc/meminfo")
        .map_err(|error| internal(format!("cannot read `/proc/meminfo`: {error}")))?;
    let memory = |key: &str| {
        meminfo
            .lines()
            .find_map(|line| {
                line.strip_prefix(key)?.trim().strip_suffix(" kB")?.parse::<u64>().ok()
            })
            .unwrap_or_default()
            * 1024
    };
    let disk = statvfs(data).map_err(|errno| {
        internal(format!("cannot read the size of `{}`: {}", data.display(), errno.desc()))
    })?;
    let stat = std::fs::read_to_string("/proc/stat")
        .map_err(|error| internal(format!("cannot read `/proc/stat`: {error}")))?;
    let (cpu_busy_us, cpu_total_us) = processors(&stat).unwrap_or_default();
    Ok(wire::UsageResponse {
        memory_total_bytes: memory("MemTotal:"),
        memory_available_bytes: memory("MemAvailable:"),
        disk_total_bytes: disk.blocks() * disk.fragment_size(),
        disk_free_bytes: disk.blocks_available() * disk.fragment_size(),
        cpus: std::thread::available_parallelism()
            .map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(u32::MAX)),
        uptime_us: since_kernel_us(),
        containers_running,
        cpu_busy_us,
        cpu_total_us,
    })
}

/// Time of all processors at work, and at all, from the first line of /proc/stat (proc_stat(5)).
/// What guests of the VM take is in `user` and `nice` already, so only the first eight count.
fn processors(stat: &str) -> Option<(u64, u64)> {
    // USER_HZ is 100 on every architecture that we run on.
    const TICK_US: u64 = 10_000;
    let line = stat.lines().find_map(|line| line.strip_prefix("cpu "))?;
    let ticks: Vec<u64> =
        line.split_ascii_whitespace().take(8).map_while(|tick| tick.parse().ok()).collect();
    let total: u64 = ticks.iter().sum();
    let idle = ticks.get(3)? + ticks.get(4)?;
    Some(((total - idle) * TICK_US, total * TICK_US))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn processors_are_busy_when_they_neither_idle_nor_wait_for_disks() {
        let stat = "cpu  10 0 20 100 5 1 2 3 7 0\ncpu0 1 2 3 4 5 6 7 8 0 0\nintr 9\n";
        assert_eq!(processors(stat), Some((360_000, 1_410_000)));
        assert_eq!(processors("cpu 1 2"), None);
    }

    #[test]
    fn a_clock_is_set_forwards_soon_and_backwards_late() {
        const MILLI: i64 = 1_000_000;
        assert!(must_set(-101 * MILLI) && must_set(i64::MIN));
        assert!(!must_set(-99 * MILLI) && !must_set(0) && !must_set(1900 * MILLI));
        assert!(must_set(2001 * MILLI) && must_set(i64::MAX));
    }
}
