//! What `run` and `create` ask of a container: Docker's flags to a [`ContainerConfig`].

use std::path::PathBuf;

use clap::{ArgAction, Args, ValueEnum};
use linkspan_proto::error::{ErrorCode, Failure};
use linkspan_proto::v1::{
    ContainerConfig, DeviceAmount, DeviceMapping, Entrypoint, Mount, Resources, RestartPolicy,
    Ulimit,
};

use super::health::HealthFlags;
use super::{
    env, isolation, log::LogFlags, mount, network::NetworkFlags, platform, publish::PortFlags,
    restart, size,
};
use crate::error::Error;

const PROCESS: &str = "Process";
const LIMITS: &str = "Limits";
const MOUNTS: &str = "Volumes and mounts";
const SECURITY: &str = "Security";
const NAMESPACES: &str = "Namespaces";
const IDENTITY: &str = "Name and labels";

/// The flags that `run` and `create` share.
#[derive(Debug, Args)]
pub(crate) struct ContainerFlags {
    /// Keep standard input open and connect it
    #[arg(short, long)]
    pub(crate) interactive: bool,
    /// Give the process a terminal
    #[arg(short, long)]
    pub(crate) tty: bool,
    /// Remove the container when it ends
    #[arg(long)]
    pub(crate) rm: bool,
    /// Connect only these streams: stdin, stdout, stderr
    #[arg(short, long, value_name = "STREAM", ignore_case = true)]
    pub(crate) attach: Vec<Stream>,
    /// When to pull the image before the container is made
    #[arg(long, value_name = "WHEN", default_value = "missing")]
    pub(crate) pull: Pull,
    /// Whether signatures are left unchecked: only `true`, which is the default. Content trust is
    /// not supported
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = true,
        num_args = 0..=1, require_equals = true, default_missing_value = "true")]
    disable_content_trust: bool,
    /// Do not show how a pull goes
    #[arg(short, long)]
    pub(crate) quiet: bool,
    /// Write the container's id to this file, which must not exist
    #[arg(long, value_name = "FILE")]
    pub(crate) cidfile: Option<PathBuf>,

    /// The container's name. Generated when not given
    #[arg(long, help_heading = IDENTITY)]
    pub(crate) name: Option<String>,
    /// The host name inside the container. The short id when not given
    #[arg(short = 'h', long, value_name = "NAME", help_heading = IDENTITY)]
    hostname: Option<String>,
    /// The domain name inside the container
    #[arg(long, value_name = "NAME", help_heading = IDENTITY)]
    domainname: Option<String>,
    /// A label, KEY or KEY=VALUE
    #[arg(short, long, value_name = "KEY=VALUE", help_heading = IDENTITY)]
    label: Vec<String>,
    /// Read labels from a file, one a line
    #[arg(long, value_name = "FILE", help_heading = IDENTITY)]
    label_file: Vec<PathBuf>,

    /// Set an environment variable; a name alone takes our own value
    #[arg(short, long, value_name = "NAME=VALUE", help_heading = PROCESS)]
    env: Vec<String>,
    /// Read environment variables from a file, one a line
    #[arg(long, value_name = "FILE", help_heading = PROCESS)]
    env_file: Vec<PathBuf>,
    /// The working directory inside the container
    #[arg(short, long, value_name = "DIR", help_heading = PROCESS)]
    workdir: Option<String>,
    /// The user, as name or number, and the group
    #[arg(short, long, value_name = "USER[:GROUP]", help_heading = PROCESS)]
    user: Option<String>,
    /// One more group
    #[arg(long, value_name = "GROUP", help_heading = PROCESS)]
    group_add: Vec<String>,
    /// Run this instead of the image's entry point; empty for none
    #[arg(long, value_name = "COMMAND", help_heading = PROCESS)]
    entrypoint: Option<String>,
    /// The signal that `stop` sends first
    #[arg(long, value_name = "SIGNAL", help_heading = PROCESS)]
    stop_signal: Option<String>,
    /// Seconds that `stop` waits before it kills
    #[arg(long, value_name = "SECONDS", help_heading = PROCESS)]
    stop_timeout: Option<u32>,

    /// The most memory, such as `512m` or `1.5g`
    #[arg(short, long, value_name = "BYTES", value_parser = size::bytes, help_heading = LIMITS)]
    memory: Option<u64>,
    /// Memory and swap together; -1 for unlimited swap
    #[arg(long, value_name = "BYTES", value_parser = size::swap, allow_negative_numbers = true,
        help_heading = LIMITS)]
    memory_swap: Option<i64>,
    /// Memory that is reclaimed only when there is no other
    #[arg(long, value_name = "BYTES", value_parser = size::bytes, help_heading = LIMITS)]
    memory_reservation: Option<u64>,
    /// The most CPU time, in CPUs
    #[arg(long, value_name = "NUMBER", value_parser = size::nano_cpus, help_heading = LIMITS)]
    cpus: Option<u64>,
    /// The length of a period of CPU time, microseconds. Not together with --cpus
    #[arg(long, value_name = "MICROSECONDS", help_heading = LIMITS)]
    cpu_period: Option<u64>,
    /// CPU time in each period, microseconds; -1 for no limit. Not together with --cpus
    #[arg(long, value_name = "MICROSECONDS", allow_negative_numbers = true,
        help_heading = LIMITS)]
    cpu_quota: Option<i64>,
    /// The weight against other containers at disks, 10 to 1000
    #[arg(long, value_name = "WEIGHT", help_heading = LIMITS)]
    blkio_weight: Option<u32>,
    /// The same at one disk of the machine
    #[arg(long, value_name = "DISK:WEIGHT", value_parser = isolation::disk_number,
        help_heading = LIMITS)]
    blkio_weight_device: Vec<DeviceAmount>,
    /// The most bytes read from a disk of the machine in a second
    #[arg(long, value_name = "DISK:BYTES", value_parser = isolation::disk_bytes,
        help_heading = LIMITS)]
    device_read_bps: Vec<DeviceAmount>,
    /// The most bytes written to a disk of the machine in a second
    #[arg(long, value_name = "DISK:BYTES", value_parser = isolation::disk_bytes,
        help_heading = LIMITS)]
    device_write_bps: Vec<DeviceAmount>,
    /// The most reads from a disk of the machine in a second
    #[arg(long, value_name = "DISK:NUMBER", value_parser = isolation::disk_number,
        help_heading = LIMITS)]
    device_read_iops: Vec<DeviceAmount>,
    /// The most writes to a disk of the machine in a second
    #[arg(long, value_name = "DISK:NUMBER", value_parser = isolation::disk_number,
        help_heading = LIMITS)]
    device_write_iops: Vec<DeviceAmount>,
    /// The weight against other containers; 1024 is neutral
    #[arg(short, long, value_name = "WEIGHT", help_heading = LIMITS,
        value_parser = clap::value_parser!(u64).range(2..=262_144))]
    cpu_shares: Option<u64>,
    /// The CPUs that may be used, such as `0-1,3`
    #[arg(long, value_name = "CPUS", help_heading = LIMITS)]
    cpuset_cpus: Option<String>,
    /// The memory nodes that may be used
    #[arg(long, value_name = "NODES", help_heading = LIMITS)]
    cpuset_mems: Option<String>,
    /// The most processes and threads; -1 for no limit
    #[arg(long, value_name = "NUMBER", allow_negative_numbers = true, help_heading = LIMITS)]
    pids_limit: Option<i64>,
    /// A resource limit of each process, such as `nofile=1024:2048`
    #[arg(long, value_name = "NAME=SOFT[:HARD]", value_parser = size::ulimit,
        help_heading = LIMITS)]
    ulimit: Vec<Ulimit>,

    /// Mount a volume: NAME:/path[:ro,nocopy], or /path for an anonymous one
    #[arg(short, long, value_name = "[NAME:]PATH[:OPTIONS]", value_parser = mount::volume,
        help_heading = MOUNTS)]
    volume: Vec<Mount>,
    /// Mount something: type=volume|tmpfs|bind,src=...,dst=...
    #[arg(long, value_name = "KEY=VALUE,...", value_parser = mount::mount, help_heading = MOUNTS)]
    mount: Vec<Mount>,
    /// Mount memory: /path[:size=64m,mode=1777,exec]
    #[arg(long, value_name = "PATH[:OPTIONS]", value_parser = mount::tmpfs,
        help_heading = MOUNTS)]
    tmpfs: Vec<Mount>,
    /// Mount all that another container has mounted
    #[arg(long, value_name = "CONTAINER[:ro]", help_heading = MOUNTS)]
    volumes_from: Vec<String>,
    /// The driver of volumes that are made with the container. There is one, `local`
    #[arg(long, value_name = "DRIVER", help_heading = MOUNTS)]
    volume_driver: Option<String>,
    /// The size of /dev/shm, such as `1g`
    #[arg(long, value_name = "BYTES", value_parser = size::bytes, help_heading = MOUNTS)]
    shm_size: Option<u64>,

    /// Mount the root file system read-only
    #[arg(long, help_heading = SECURITY)]
    read_only: bool,
    /// Add a Linux capability, or ALL
    #[arg(long, value_name = "CAPABILITY", help_heading = SECURITY)]
    cap_add: Vec<String>,
    /// Take a Linux capability away, or ALL
    #[arg(long, value_name = "CAPABILITY", help_heading = SECURITY)]
    cap_drop: Vec<String>,
    /// Every capability and device, and no seccomp filter (inside the VM)
    #[arg(long, help_heading = SECURITY)]
    privileged: bool,
    /// no-new-privileges[=true|false], seccomp=FILE|unconfined|builtin or systempaths=unconfined
    #[arg(long, value_name = "OPTION", help_heading = SECURITY)]
    security_opt: Vec<String>,

    /// Use a device of the machine, or all in a folder of it: HOST[:CONTAINER[:rwm]]
    #[arg(long, value_name = "DEVICE", value_parser = isolation::device, help_heading = SECURITY)]
    device: Vec<DeviceMapping>,
    /// Allow devices by number: [a|b|c] MAJOR:MINOR [rwm], `*` for any number
    #[arg(long, value_name = "RULE", help_heading = SECURITY)]
    device_cgroup_rule: Vec<String>,

    /// Whose processes it sees: private, host (the machine's) or container:ID
    #[arg(long, value_name = "MODE", help_heading = NAMESPACES)]
    pid: Option<String>,
    /// Whose shared memory it has: private, shareable, none, host or container:ID
    #[arg(long, value_name = "MODE", help_heading = NAMESPACES)]
    ipc: Option<String>,
    /// Whose host name it has: private, host or container:ID
    #[arg(long, value_name = "MODE", help_heading = NAMESPACES)]
    uts: Option<String>,
    /// Whether it sees cgroups from its own on (private) or all of them (host)
    #[arg(long, value_name = "MODE", help_heading = NAMESPACES)]
    cgroupns: Option<String>,
    /// `host`: its user ids are the machine's, even when the machine maps those of containers
    /// (`machine set --userns default`)
    #[arg(long, value_name = "MODE", value_parser = ["", "host"], help_heading = NAMESPACES)]
    userns: Option<String>,
    /// Set a kernel parameter of its namespaces
    #[arg(long, value_name = "NAME=VALUE", value_parser = isolation::sysctl,
        help_heading = NAMESPACES)]
    sysctl: Vec<(String, String)>,
    /// The isolation technology: only `default`; the others are of Windows
    #[arg(long, value_name = "NAME", value_parser = ["default"], help_heading = NAMESPACES)]
    isolation: Option<String>,
    /// The platform of the image: only the machine's own
    #[arg(long, value_name = "PLATFORM", value_parser = platform::own_platform,
        help_heading = IDENTITY)]
    pub(crate) platform: Option<String>,
    /// An OCI annotation, kept and shown by inspect
    #[arg(long, value_name = "KEY=VALUE", help_heading = IDENTITY)]
    annotation: Vec<String>,

    #[command(flatten)]
    network: NetworkFlags,
    #[command(flatten)]
    ports: PortFlags,
    #[command(flatten)]
    log: LogFlags,
    /// What follows its end: no, on-failure[:N], always or unless-stopped
    #[arg(long, value_name = "POLICY", value_parser = restart::policy, help_heading = PROCESS)]
    restart: Option<RestartPolicy>,
    /// Run a small init as the first process, which passes signals on and reaps
    #[arg(long, value_name = "BOOL", action = ArgAction::Set, default_value_t = false,
        num_args = 0..=1, require_equals = true, default_missing_value = "true",
        help_heading = PROCESS)]
    init: bool,
    /// How readily it is killed when memory is short, -1000 to 1000
    #[arg(long, value_name = "SCORE", allow_negative_numbers = true, help_heading = LIMITS)]
    oom_score_adj: Option<i32>,
    #[command(flatten)]
    health: HealthFlags,

    /// The image, then the command to run instead of the image's own and its arguments
    #[arg(required = true, trailing_var_arg = true, value_name = "IMAGE")]
    image_and_command: Vec<String>,

    /// Print help
    #[arg(long, action = clap::ArgAction::Help)]
    help: Option<bool>,
}

/// A standard stream.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Stream {
    Stdin,
    Stdout,
    Stderr,
}

/// `--pull`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Pull {
    Always,
    Missing,
    Never,
}

/// Which streams are connected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Streams {
    pub(crate) stdin: bool,
    pub(crate) stdout: bool,
    pub(crate) stderr: bool,
}

impl ContainerFlags {
    /// What a client in the foreground connects to: all output, and input with `-i`, unless
    /// `--attach` names the streams.
    pub(crate) fn streams(&self) -> Streams {
        if self.attach.is_empty() {
            return Streams { stdin: self.interactive, stdout: true, stderr: true };
        }
        let has = |stream| self.attach.contains(&stream);
        Streams {
            stdin: has(Stream::Stdin),
            stdout: has(Stream::Stdout),
            stderr: has(Stream::Stderr),
        }
    }

    /// Refuses what depends on parts that do not exist yet, naming the flag.
    fn check(&self) -> Result<(), Error> {
        let refuse = |what: String, why: &str| {
            Err(Failure::new(ErrorCode::Unsupported, format!("{what}: {why}")).into())
        };
        if !self.disable_content_trust {
            return refuse(
                "cannot use --disable-content-trust=false".into(),
                "content trust is not supported, no signature can be checked",
            );
        }
        let restarts = self.restart.as_ref().is_some_and(|policy| policy.name != "no");
        if restarts && self.rm {
            return Err(Error::invalid(
                "conflicting options: cannot specify both --restart and --rm",
            ));
        }
        Ok(())
    }

    /// The request's configuration. `foreground`: somebody stays connected.
    ///
    /// # Errors
    /// A flag that is not supported, or a file that cannot be read.
    pub(crate) fn config(&self, foreground: bool) -> Result<ContainerConfig, Error> {
        self.check()?;
        let streams = self.streams();
        let own = |name: &str| std::env::var(name).ok();
        let (image, command) = self
            .image_and_command
            .split_first()
            .ok_or_else(|| Error::invalid("an image is missing"))?;
        if image.is_empty() {
            return Err(Error::invalid("the image's name is empty"));
        }
        // Docker's `--entrypoint ''` clears the image's.
        let entrypoint = self.entrypoint.as_ref().map(|entrypoint| Entrypoint {
            args: Some(entrypoint.clone()).filter(|one| !one.is_empty()).into_iter().collect(),
        });
        Ok(ContainerConfig {
            image: image.clone(),
            command: command.to_vec(),
            entrypoint,
            env: env::environment(&self.env_file, &self.env, own)?,
            working_dir: self.workdir.clone().unwrap_or_default(),
            user: self.user.clone().unwrap_or_default(),
            hostname: self.hostname.clone().unwrap_or_default(),
            tty: self.tty,
            // The client that attaches tells its own.
            terminal_size: None,
            open_stdin: self.interactive,
            stdin_once: self.interactive && foreground && streams.stdin,
            attach_stdin: foreground && streams.stdin,
            attach_stdout: foreground && streams.stdout,
            attach_stderr: foreground && streams.stderr,
            labels: env::labels(&self.label_file, &self.label)?,
            auto_remove: self.rm,
            read_only_rootfs: self.read_only,
            cap_add: self.cap_add.clone(),
            cap_drop: self.cap_drop.clone(),
            privileged: self.privileged,
            resources: Some(Resources {
                memory_bytes: self.memory.unwrap_or(0),
                memory_swap_bytes: self.memory_swap.unwrap_or(0),
                memory_reservation_bytes: self.memory_reservation.unwrap_or(0),
                nano_cpus: self.cpus.unwrap_or(0),
                cpu_shares: self.cpu_shares.unwrap_or(0),
                cpuset_cpus: self.cpuset_cpus.clone().unwrap_or_default(),
                cpuset_mems: self.cpuset_mems.clone().unwrap_or_default(),
                pids_limit: self.pids_limit.unwrap_or(0),
                cpu_period_us: self.cpu_period.unwrap_or(0),
                cpu_quota_us: self.cpu_quota.unwrap_or(0),
                blkio_weight: self.blkio_weight.unwrap_or(0),
                blkio_weight_device: self.blkio_weight_device.clone(),
                device_read_bps: self.device_read_bps.clone(),
                device_write_bps: self.device_write_bps.clone(),
                device_read_iops: self.device_read_iops.clone(),
                device_write_iops: self.device_write_iops.clone(),
            }),
            stop_signal: self.stop_signal.clone().unwrap_or_default(),
            stop_timeout_seconds: self.stop_timeout,
            ulimits: self.ulimit.clone(),
            domainname: self.domainname.clone().unwrap_or_default(),
            security_opts: isolation::security(&self.security_opt)?,
            group_add: self.group_add.clone(),
            network: Some(self.network.config()?),
            ports: self.ports.published(),
            exposed_ports: self.ports.exposed(),
            publish_all_ports: self.ports.publish_all(),
            restart_policy: self.restart.clone(),
            healthcheck: self.health.check()?,
            init: self.init,
            oom_score_adj: self.oom_score_adj,
            mounts: [&self.volume, &self.mount, &self.tmpfs]
                .into_iter()
                .flatten()
                .cloned()
                .collect(),
            volumes_from: self.volumes_from.clone(),
            volume_driver: self.volume_driver.clone().unwrap_or_default(),
            shm_size_bytes: self.shm_size.unwrap_or(0),
            sysctls: self.sysctl.iter().cloned().collect(),
            pid_mode: self.pid.clone().unwrap_or_default(),
            ipc_mode: self.ipc.clone().unwrap_or_default(),
            uts_mode: self.uts.clone().unwrap_or_default(),
            cgroupns_mode: self.cgroupns.clone().unwrap_or_default(),
            userns_mode: self.userns.clone().unwrap_or_default(),
            annotations: env::labels(&[] as &[PathBuf], &self.annotation)?,
            devices: self.device.clone(),
            device_cgroup_rules: self.device_cgroup_rule.clone(),
            log_config: self.log.config()?,
        })
    }
}
