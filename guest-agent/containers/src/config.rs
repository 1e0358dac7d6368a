//! What `create` was asked for, and what it comes to once the image has been looked at.
//!
//! [`Config`] is the request as it came (it is what inspect shows); [`Resolved`] has every default
//! filled in. Both are stored in config.json.

use std::{collections::BTreeMap, path::PathBuf};

use serde::{Deserialize, Serialize};

use crate::{
    Error,
    health::Healthcheck,
    id::ContainerId,
    launch::ImageView,
    log::LogConfig,
    mounts::{MountConfig, MountPoint},
    network::NetworkConfig,
    ports::{Port, PortConfig},
    restart::RestartPolicy,
    signal::Signal,
};

/// What a shell finds programs in when neither the image nor the request says.
pub const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// The seconds between the stop signal and SIGKILL when nobody says.
pub const DEFAULT_STOP_TIMEOUT: u32 = 10;

/// What `create` was asked for. Absent or empty fields take the image's value, then the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Config {
    /// A reference or an image id.
    pub image: String,
    /// Arguments; empty: the image's.
    pub command: Vec<String>,
    /// None: the image's. Empty: none.
    pub entrypoint: Option<Vec<String>>,
    /// KEY=VALUE; KEY alone removes the image's.
    pub env: Vec<String>,
    /// Absolute; empty: the image's.
    pub working_dir: String,
    /// name|uid[:group|gid]
    pub user: String,
    /// Empty: the first 12 digits of the id.
    pub hostname: String,
    /// NIS domain name.
    pub domainname: String,
    /// A pseudo-terminal instead of pipes.
    pub tty: bool,
    /// Rows and columns of the terminal, where the client that starts it says none.
    pub terminal_size: Option<(u16, u16)>,
    /// Keep standard input open for attach.
    pub open_stdin: bool,
    /// Close standard input when the first attached client leaves.
    pub stdin_once: bool,
    /// What the client meant to connect. Kept and shown, without effect.
    pub attach: AttachConfig,
    /// The request's own; the image's are merged below them.
    pub labels: BTreeMap<String, String>,
    /// Remove the container when it ends.
    pub auto_remove: bool,
    /// `--read-only`
    pub read_only_rootfs: bool,
    /// Names with or without `CAP_`, or `ALL`.
    pub cap_add: Vec<String>,
    /// The same.
    pub cap_drop: Vec<String>,
    /// Every capability, no seccomp filter, nothing masked.
    pub privileged: bool,
    /// Limits.
    pub limits: Limits,
    /// Name or number; empty: the image's, else SIGTERM.
    pub stop_signal: String,
    /// Seconds.
    pub stop_timeout: Option<u32>,
    /// setrlimit(2).
    pub ulimits: Vec<Ulimit>,
    /// See [`crate::validate::security`].
    pub security_opts: Vec<String>,
    /// Supplementary groups.
    pub group_add: Vec<String>,
    /// Networks and names.
    pub network: NetworkConfig,
    /// Ports on the host.
    pub ports: PortConfig,
    /// Whether it starts again when it has ended.
    pub restart: RestartPolicy,
    /// None: the image's.
    pub health: Option<Healthcheck>,
    /// Our init as its first process: passes signals on and reaps.
    pub init: bool,
    /// -1000 to 1000: how readily the OOM killer takes it; None: untouched.
    pub oom_score_adj: Option<i32>,
    /// What is mounted beside the root.
    pub mounts: Vec<MountConfig>,
    /// `CONTAINER[:ro|rw]`: whose mounts it has too.
    pub volumes_from: Vec<String>,
    /// For volumes that are made with it. Empty: local.
    pub volume_driver: String,
    /// Of /dev/shm, bytes; 0: Docker's 64 MiB.
    pub shm_size: u64,
    /// Kernel parameters of its namespaces.
    pub sysctls: BTreeMap<String, String>,
    /// `--pid`: empty, `private`, `host`, `container:ID`.
    pub pid_mode: String,
    /// `--ipc`: the same, `shareable` and `none`.
    pub ipc_mode: String,
    /// `--uts`: as `--pid`.
    pub uts_mode: String,
    /// `--cgroupns`: empty, `private`, `host`.
    pub cgroupns_mode: String,
    /// `--userns`: empty, or `host`: its ids are not mapped, whatever the machine's setting.
    pub userns_mode: String,
    /// Kept and shown.
    pub annotations: BTreeMap<String, String>,
    /// Devices of the VM.
    pub devices: Vec<DeviceMapping>,
    /// `TYPE MAJOR:MINOR ACCESS`.
    pub device_cgroup_rules: Vec<String>,
    /// What is kept of its output.
    pub log: LogConfig,
}

/// One `--device`: a device, or a folder of devices.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceMapping {
    /// In the VM.
    pub host_path: PathBuf,
    /// In the container; empty: the same.
    pub container_path: PathBuf,
    /// Of `r`, `w` and `m`; empty: all.
    pub permissions: String,
}

/// Limits as Docker's options have them. 0 or empty: no limit.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Limits {
    /// `--memory`, bytes.
    pub memory: u64,
    /// `--memory-swap`: memory plus swap. -1: unlimited. 0: twice the memory.
    pub memory_swap: i64,
    /// `--memory-reservation`, bytes.
    pub memory_reservation: u64,
    /// `--cpus` in billionths.
    pub nano_cpus: u64,
    /// `--cpu-shares`, 2 to 262144.
    pub cpu_shares: u64,
    /// `--cpuset-cpus`: `0-2,4`.
    pub cpuset_cpus: String,
    /// `--cpuset-mems`.
    pub cpuset_mems: String,
    /// `--pids-limit`; -1 or 0: none.
    pub pids: i64,
    /// `--cpu-period`, microseconds.
    pub cpu_period: u64,
    /// `--cpu-quota`, microseconds; -1 or 0: none.
    pub cpu_quota: i64,
    /// `--blkio-weight`, 10 to 1000.
    pub blkio_weight: u32,
    /// `--blkio-weight-device`.
    pub blkio_weight_device: Vec<DeviceAmount>,
    /// `--device-read-bps`: bytes in a second.
    pub device_read_bps: Vec<DeviceAmount>,
    /// `--device-write-bps`.
    pub device_write_bps: Vec<DeviceAmount>,
    /// `--device-read-iops`: operations in a second.
    pub device_read_iops: Vec<DeviceAmount>,
    /// `--device-write-iops`.
    pub device_write_iops: Vec<DeviceAmount>,
}

/// An amount for one disk.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeviceAmount {
    /// A block device of the VM.
    pub path: PathBuf,
    /// How much.
    pub amount: u64,
}

/// One `--ulimit`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ulimit {
    /// `nofile`, ...
    pub name: String,
    /// Soft limit.
    pub soft: u64,
    /// Hard limit.
    pub hard: u64,
}

/// Streams that the client that asked for a container meant to connect.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct AttachConfig {
    /// Standard input.
    pub stdin: bool,
    /// Standard output.
    pub stdout: bool,
    /// Standard error.
    pub stderr: bool,
}

/// One more process in a running container.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ExecConfig {
    /// Empty: a generated one.
    pub id: String,
    /// Never empty.
    pub args: Vec<String>,
    /// Added to the container's.
    pub env: Vec<String>,
    /// Empty: the container's.
    pub working_dir: String,
    /// Empty: the container's.
    pub user: String,
    /// A pseudo-terminal instead of pipes.
    pub tty: bool,
    /// Connect standard input.
    pub stdin: bool,
    /// Every capability and no seccomp filter.
    pub privileged: bool,
    /// Nobody listens.
    pub detach: bool,
    /// Rows and columns of the terminal.
    pub size: Option<(u16, u16)>,
}

/// A container's configuration with every default filled in.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolved {
    /// `sha256:...` of the image's configuration.
    pub image_id: String,
    /// The image as `ps` shows it.
    pub image_name: String,
    /// Entry point and command in one; never empty.
    pub args: Vec<String>,
    /// How many of `args` are the entry point.
    #[serde(default)]
    pub entrypoint: usize,
    /// KEY=VALUE, one for each key.
    pub env: Vec<String>,
    /// Absolute.
    pub working_dir: PathBuf,
    /// Empty: root.
    pub user: String,
    /// UTS host name.
    pub hostname: String,
    /// The image's and the request's.
    pub labels: BTreeMap<String, String>,
    /// What `stop` sends.
    pub stop_signal: Signal,
    /// Seconds.
    pub stop_timeout: u32,
    /// The folders of the image's unpacked layers, base first. Kept, because the image may be
    /// removed by force while its layers stay for this container.
    pub layers: Vec<PathBuf>,
    /// `sha256:...` of each layer's uncompressed archive.
    pub diff_ids: Vec<String>,
    /// None: nothing is probed.
    #[serde(default)]
    pub health: Option<Healthcheck>,
    /// What is mounted beside the root, and what the engine mounts itself.
    #[serde(default)]
    pub mounts: Vec<MountPoint>,
    /// Ports that the image or the request exposes.
    #[serde(default)]
    pub exposed: Vec<Port>,
}

impl Resolved {
    /// Merges a request over an image, as Docker does.
    ///
    /// # Errors
    /// When there is nothing to run, or the image or request names something impossible.
    pub fn new(id: &ContainerId, config: &Config, image: &ImageView) -> Result<Self, Error> {
        let args = arguments(config, image);
        if args.is_empty() || args.iter().all(String::is_empty) {
            return Err(Error::invalid(
                "command",
                format!("none was given, and the image `{}` has none either", image.reference),
            ));
        }
        let hostname = if !config.hostname.is_empty() {
            config.hostname.clone()
        } else if config.uts_mode == "host" {
            nix::unistd::gethostname().unwrap_or_default().to_string_lossy().into_owned()
        } else {
            id.short().to_owned()
        };
        let first = |own: &str, images: &str| {
            if own.is_empty() { images.to_owned() } else { own.to_owned() }
        };
        let signal = first(&config.stop_signal, &image.stop_signal);
        let working_dir = first(&config.working_dir, &image.working_dir);
        Ok(Self {
            image_id: image.id.clone(),
            image_name: image.reference.clone(),
            args,
            entrypoint: config.entrypoint.as_ref().unwrap_or(&image.entrypoint).len(),
            env: environment(config, image, &hostname),
            working_dir: if working_dir.is_empty() {
                "/".into()
            } else {
                // An image may say `WORKDIR app`; it means /app.
                PathBuf::from("/").join(working_dir)
            },
            user: first(&config.user, &image.user),
            hostname,
            labels: image.labels.iter().chain(&config.labels).map(pair).collect(),
            stop_signal: if signal.is_empty() {
                Signal::TERM
            } else {
                Signal::parse(&signal).map_err(|why| Error::invalid("--stop-signal", why))?
            },
            stop_timeout: config.stop_timeout.unwrap_or(DEFAULT_STOP_TIMEOUT),
            layers: image.layers.clone(),
            diff_ids: image.diff_ids.clone(),
            health: Healthcheck::resolve(config.health.as_ref(), image.health.as_ref()),
            mounts: Vec::new(),
            exposed: config.ports.all_exposed(&image.exposed_ports),
        })
    }
}

fn pair((key, value): (&String, &String)) -> (String, String) {
    (key.clone(), value.clone())
}

/// Docker's rule: an entry point of the request drops the image's command; a command of the
/// request replaces the image's; an empty entry point only removes the image's.
fn arguments(config: &Config, image: &ImageView) -> Vec<String> {
    let own_entrypoint = config.entrypoint.as_deref().filter(|list| !list.is_empty());
    let command = if !config.command.is_empty() || own_entrypoint.is_some() {
        &config.command
    } else {
        &image.command
    };
    let entrypoint = config.entrypoint.as_ref().unwrap_or(&image.entrypoint);
    entrypoint.iter().chain(command).cloned().collect()
}

fn environment(config: &Config, image: &ImageView, hostname: &str) -> Vec<String> {
    let mut env = vec![format!("PATH={DEFAULT_PATH}"), format!("HOSTNAME={hostname}")];
    if config.tty {
        env.push("TERM=xterm".into());
    }
    merge_env(&mut env, &image.env);
    merge_env(&mut env, &config.env);
    env
}

/// Replaces what has the same key, in place; a key without `=` is removed.
pub fn merge_env(env: &mut Vec<String>, over: &[String]) {
    for entry in over {
        let key = entry.split_once('=').map_or(entry.as_str(), |(key, _)| key);
        let has_key = |known: &String| known.split_once('=').is_some_and(|(k, _)| k == key);
        if !entry.contains('=') {
            env.retain(|known| !has_key(known));
        } else if let Some(known) = env.iter_mut().find(|known| has_key(known)) {
            known.clone_from(entry);
        } else {
            env.push(entry.clone());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn image() -> ImageView {
        ImageView {
            id: "sha256:1".into(),
            reference: "demo:latest".into(),
            env: vec!["A=image".into(), "B=image".into()],
            entrypoint: vec!["/entry".into()],
            command: vec!["default".into()],
            working_dir: "srv".into(),
            user: "web".into(),
            stop_signal: "SIGQUIT".into(),
            ..ImageView::default()
        }
    }

    fn args(entrypoint: Option<&[&str]>, command: &[&str]) -> Vec<String> {
        let list = |list: &[&str]| list.iter().map(ToString::to_string).collect::<Vec<_>>();
        let config = Config {
            entrypoint: entrypoint.map(list),
            command: list(command),
            ..Config::default()
        };
        arguments(&config, &image())
    }

    #[test]
    fn entrypoint_and_command_combine_as_in_docker() {
        assert_eq!(args(None, &[]), ["/entry", "default"]);
        assert_eq!(args(None, &["x"]), ["/entry", "x"]);
        assert_eq!(args(Some(&["/mine"]), &[]), ["/mine"]);
        assert_eq!(args(Some(&["/mine"]), &["x"]), ["/mine", "x"]);
        assert_eq!(args(Some(&[]), &["x"]), ["x"]);
        assert_eq!(args(Some(&[]), &[]), ["default"]);
    }

    #[test]
    fn the_request_wins_over_the_image_and_the_image_over_the_defaults() {
        let id = ContainerId::generate();
        let config = Config {
            env: vec!["B=mine".into(), "A".into(), "C=".into()],
            tty: true,
            ..Config::default()
        };
        let resolved = Resolved::new(&id, &config, &image()).unwrap();
        let path = format!("PATH={DEFAULT_PATH}");
        let host = format!("HOSTNAME={}", id.short());
        assert_eq!(resolved.env, [path.as_str(), &host, "TERM=xterm", "B=mine", "C="]);
        assert_eq!(resolved.working_dir, PathBuf::from("/srv"));
        assert_eq!(resolved.user, "web");
        assert_eq!(resolved.stop_signal, Signal::parse("QUIT").unwrap());
        assert_eq!(resolved.stop_timeout, 10);
    }

    #[test]
    fn an_image_without_a_command_needs_one() {
        let id = ContainerId::generate();
        let error = Resolved::new(&id, &Config::default(), &ImageView::default()).unwrap_err();
        assert!(error.to_string().starts_with("command: "), "{error}");
    }
}
