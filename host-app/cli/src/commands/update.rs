//! `update`.

use clap::Args;
use linkspan_proto::v1::{RestartPolicy, UpdateContainerRequest};

use super::for_each;
use crate::args::{restart, size};
use crate::context::Context;
use crate::error::{Error, Outcome};

/// Change the limits and the restart policy of containers, running or not
#[derive(Debug, Args)]
pub(crate) struct Update {
    /// The most memory, such as `512m` or `1.5g`
    #[arg(short, long, value_name = "BYTES", value_parser = size::bytes)]
    memory: Option<u64>,
    /// Memory and swap together; -1 for unlimited swap
    #[arg(long, value_name = "BYTES", value_parser = size::swap, allow_negative_numbers = true)]
    memory_swap: Option<i64>,
    /// Memory that is reclaimed only when there is no other
    #[arg(long, value_name = "BYTES", value_parser = size::bytes)]
    memory_reservation: Option<u64>,
    /// The most CPU time, in CPUs
    #[arg(long, value_name = "NUMBER", value_parser = size::nano_cpus)]
    cpus: Option<u64>,
    /// The length of a period of CPU time, microseconds. Not together with --cpus
    #[arg(long, value_name = "MICROSECONDS")]
    cpu_period: Option<u64>,
    /// CPU time in each period, microseconds; -1 for no limit. Not together with --cpus
    #[arg(long, value_name = "MICROSECONDS", allow_negative_numbers = true)]
    cpu_quota: Option<i64>,
    /// The weight against other containers at disks, 10 to 1000
    #[arg(long, value_name = "WEIGHT")]
    blkio_weight: Option<u32>,
    /// The weight against other containers; 1024 is neutral
    #[arg(short, long, value_name = "WEIGHT",
        value_parser = clap::value_parser!(u64).range(2..=262_144))]
    cpu_shares: Option<u64>,
    /// The CPUs that may be used, such as `0-1,3`
    #[arg(long, value_name = "CPUS")]
    cpuset_cpus: Option<String>,
    /// The memory nodes that may be used
    #[arg(long, value_name = "NODES")]
    cpuset_mems: Option<String>,
    /// The most processes and threads; -1 for no limit
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true)]
    pids_limit: Option<i64>,
    /// no, on-failure[:N], always or unless-stopped
    #[arg(long, value_name = "POLICY", value_parser = restart::policy)]
    restart: Option<RestartPolicy>,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Update {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let request = UpdateContainerRequest {
            container: String::new(),
            memory_bytes: self.memory,
            memory_swap_bytes: self.memory_swap,
            memory_reservation_bytes: self.memory_reservation,
            nano_cpus: self.cpus,
            cpu_shares: self.cpu_shares,
            cpuset_cpus: self.cpuset_cpus,
            cpuset_mems: self.cpuset_mems,
            pids_limit: self.pids_limit,
            restart_policy: self.restart,
            cpu_period_us: self.cpu_period,
            cpu_quota_us: self.cpu_quota,
            blkio_weight: self.blkio_weight,
        };
        if request == UpdateContainerRequest::default() {
            return Err(Error::invalid(
                "you must provide one or more flags when using this command",
            ));
        }
        let client = context.running().await?;
        let calls = client.containers(context.machine());
        for_each(&self.containers, |name| {
            let mut calls = calls.clone();
            let request = UpdateContainerRequest { container: name.clone(), ..request.clone() };
            async move {
                for warning in calls.update(request).await?.into_inner().warnings {
                    say!("warning: {warning}");
                }
                Ok(Some(name))
            }
        })
        .await
    }
}
