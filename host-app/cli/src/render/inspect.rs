//! `inspect`: Docker's objects with Docker's names, in Docker's order.

use std::collections::{BTreeMap, HashMap};

use linkspan_proto::v1 as wire;
use linkspan_proto::v1::{
    ContainerDetail, ContainerNetworkConfig, ContainerState, ImageDetail, TraceStep, Ulimit,
};
use serde::Serialize;

use super::{container, container_asked, container_more, human, network, ports};

/// A container as `docker inspect` shows it, and what only Linkspan knows at the end.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Container {
    id: String,
    created: String,
    path: String,
    args: Vec<String>,
    state: State,
    image: String,
    log_path: String,
    name: String,
    restart_count: u32,
    driver: &'static str,
    platform: &'static str,
    host_config: HostConfig,
    graph_driver: GraphDriver,
    mounts: Vec<MountPoint>,
    network_settings: network::Settings,
    config: Config,
    /// The effective capability set.
    capabilities: Vec<String>,
    cgroup_path: String,
    /// The steps of the last start, in microseconds since its beginning.
    start_trace: Vec<Step>,
    #[serde(flatten)]
    more: container_more::Container,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct State {
    status: &'static str,
    running: bool,
    paused: bool,
    restarting: bool,
    #[serde(rename = "OOMKilled")]
    oom_killed: bool,
    dead: bool,
    pid: u32,
    exit_code: i32,
    error: String,
    started_at: String,
    finished_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    health: Option<Health>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Health {
    status: String,
    failing_streak: u32,
    log: Vec<HealthResult>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct HealthResult {
    start: String,
    end: String,
    exit_code: i32,
    output: String,
}

/// Spans are nanoseconds, as in Docker.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Healthcheck {
    test: Vec<String>,
    interval: u64,
    timeout: u64,
    start_period: u64,
    start_interval: u64,
    retries: u32,
}

impl From<&wire::Health> for Health {
    fn from(health: &wire::Health) -> Self {
        let result = |result: &wire::HealthResult| HealthResult {
            start: human::rfc3339(result.started_unix_nanos),
            end: human::rfc3339(result.finished_unix_nanos),
            exit_code: result.exit_code,
            output: result.output.clone(),
        };
        Self {
            status: health.status.clone(),
            failing_streak: health.failing_streak,
            log: health.log.iter().map(result).collect(),
        }
    }
}

impl From<&wire::Healthcheck> for Healthcheck {
    fn from(check: &wire::Healthcheck) -> Self {
        Self {
            test: check.test.clone(),
            interval: check.interval_nanos,
            timeout: check.timeout_nanos,
            start_period: check.start_period_nanos,
            start_interval: check.start_interval_nanos,
            retries: check.retries,
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct HostConfig {
    network_mode: String,
    port_bindings: BTreeMap<String, Vec<ports::Binding>>,
    publish_all_ports: bool,
    restart_policy: RestartPolicy,
    auto_remove: bool,
    cap_add: Option<Vec<String>>,
    cap_drop: Option<Vec<String>>,
    group_add: Option<Vec<String>>,
    privileged: bool,
    readonly_rootfs: bool,
    security_opt: Option<Vec<String>>,
    cpu_shares: u64,
    memory: u64,
    memory_reservation: u64,
    memory_swap: i64,
    nano_cpus: u64,
    cpuset_cpus: String,
    cpuset_mems: String,
    pids_limit: Option<i64>,
    ulimits: Vec<UlimitView>,
    init: bool,
    oom_score_adj: i32,
    shm_size: u64,
    volumes_from: Option<Vec<String>>,
    volume_driver: String,
    pid_mode: String,
    ipc_mode: String,
    #[serde(rename = "UTSMode")]
    uts_mode: String,
    cgroupns_mode: String,
    userns_mode: String,
    sysctls: BTreeMap<String, String>,
    annotations: BTreeMap<String, String>,
    devices: Vec<Device>,
    device_cgroup_rules: Option<Vec<String>>,
    log_config: LogConfig,
    cpu_period: u64,
    cpu_quota: i64,
    blkio_weight: u32,
    blkio_weight_device: Vec<DeviceWeight>,
    #[serde(rename = "BlkioDeviceReadBps")]
    device_read_bps: Vec<DeviceRate>,
    #[serde(rename = "BlkioDeviceWriteBps")]
    device_write_bps: Vec<DeviceRate>,
    #[serde(rename = "BlkioDeviceReadIOps")]
    device_read_iops: Vec<DeviceRate>,
    #[serde(rename = "BlkioDeviceWriteIOps")]
    device_write_iops: Vec<DeviceRate>,
    #[serde(flatten)]
    asked: container_asked::HostConfig,
    #[serde(flatten)]
    more: container_more::HostConfig,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct LogConfig {
    r#type: String,
    config: BTreeMap<String, String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Device {
    path_on_host: String,
    path_in_container: String,
    cgroup_permissions: String,
}

impl From<&wire::DeviceMapping> for Device {
    fn from(device: &wire::DeviceMapping) -> Self {
        let or = |own: &String, other: &str| {
            if own.is_empty() { other.to_owned() } else { own.clone() }
        };
        Self {
            path_on_host: device.host_path.clone(),
            path_in_container: or(&device.container_path, &device.host_path),
            cgroup_permissions: or(&device.permissions, "rwm"),
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct DeviceRate {
    path: String,
    rate: u64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct DeviceWeight {
    path: String,
    weight: u64,
}

fn rates(list: &[wire::DeviceAmount]) -> Vec<DeviceRate> {
    let rate =
        |device: &wire::DeviceAmount| DeviceRate { path: device.path.clone(), rate: device.amount };
    list.iter().map(rate).collect()
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct RestartPolicy {
    name: String,
    maximum_retry_count: u32,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct UlimitView {
    name: String,
    hard: i64,
    soft: i64,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct GraphDriver {
    data: GraphData,
    name: &'static str,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct GraphData {
    lower_dir: String,
    upper_dir: String,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct MountPoint {
    r#type: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    name: String,
    source: String,
    destination: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    driver: String,
    mode: String,
    #[serde(rename = "RW")]
    rw: bool,
    propagation: &'static str,
}

impl From<&wire::MountPoint> for MountPoint {
    fn from(point: &wire::MountPoint) -> Self {
        use wire::MountPropagation as P;
        Self {
            r#type: match point.r#type() {
                wire::MountType::Bind => "bind",
                wire::MountType::Tmpfs => "tmpfs",
                wire::MountType::Volume | wire::MountType::Unspecified => "volume",
            },
            name: point.name.clone(),
            source: point.source.clone(),
            destination: point.target.clone(),
            driver: point.driver.clone(),
            mode: point.mode.clone(),
            rw: point.read_write,
            propagation: match point.propagation() {
                P::Unspecified => "",
                P::Rprivate => "rprivate",
                P::Private => "private",
                P::Rshared => "rshared",
                P::Shared => "shared",
                P::Rslave => "rslave",
                P::Slave => "slave",
            },
        }
    }
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Config {
    hostname: String,
    domainname: String,
    user: String,
    tty: bool,
    open_stdin: bool,
    stdin_once: bool,
    env: Vec<String>,
    cmd: Option<Vec<String>>,
    image: String,
    working_dir: String,
    entrypoint: Option<Vec<String>>,
    labels: BTreeMap<String, String>,
    stop_signal: String,
    stop_timeout: Option<u32>,
    #[serde(skip_serializing_if = "Option::is_none")]
    healthcheck: Option<Healthcheck>,
    #[serde(flatten)]
    more: container_more::Config,
}

/// One step of a start.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Step {
    name: String,
    started_us: u64,
    duration_us: u64,
}

impl From<&TraceStep> for Step {
    fn from(step: &TraceStep) -> Self {
        Self { name: step.name.clone(), started_us: step.started_us, duration_us: step.duration_us }
    }
}

fn some(list: &[String]) -> Option<Vec<String>> {
    (!list.is_empty()).then(|| list.to_vec())
}

fn or_private(mode: &str) -> String {
    if mode.is_empty() { "private".into() } else { mode.to_owned() }
}

fn sorted(labels: &HashMap<String, String>) -> BTreeMap<String, String> {
    labels.iter().map(|(key, value)| (key.clone(), value.clone())).collect()
}

impl From<&Ulimit> for UlimitView {
    fn from(limit: &Ulimit) -> Self {
        // Docker's number for no limit is -1.
        let number = |limit: u64| i64::try_from(limit).unwrap_or(-1);
        Self { name: limit.name.clone(), hard: number(limit.hard), soft: number(limit.soft) }
    }
}

impl From<&ContainerDetail> for Container {
    fn from(detail: &ContainerDetail) -> Self {
        let summary = detail.summary.clone().unwrap_or_default();
        let asked = detail.config.clone().unwrap_or_default();
        let (path, args) = match summary.command.split_first() {
            Some((path, args)) => (path.clone(), args.to_vec()),
            None => (String::new(), Vec::new()),
        };
        Self {
            id: summary.id.clone(),
            created: human::rfc3339(summary.created_unix_nanos),
            path,
            args,
            state: state(detail),
            image: summary.image_id.clone(),
            log_path: detail.log_path.clone(),
            name: format!("/{}", summary.name),
            restart_count: detail.restart_count,
            driver: "overlay2",
            platform: "linux",
            host_config: host_config(detail),
            graph_driver: GraphDriver {
                data: GraphData {
                    upper_dir: detail.rootfs_upper_dir.clone(),
                    // Overlayfs has the topmost first.
                    lower_dir: detail
                        .rootfs_lower_dirs
                        .iter()
                        .rev()
                        .cloned()
                        .collect::<Vec<_>>()
                        .join(":"),
                },
                name: "overlay2",
            },
            mounts: detail.mounts.iter().map(MountPoint::from).collect(),
            network_settings: network::settings(&summary, &detail.endpoints),
            config: Config {
                hostname: detail.hostname.clone(),
                domainname: asked.domainname,
                user: detail.user.clone(),
                tty: asked.tty,
                open_stdin: asked.open_stdin,
                stdin_once: asked.stdin_once,
                env: detail.env.clone(),
                cmd: some(&detail.command),
                image: summary.image.clone(),
                working_dir: detail.working_dir.clone(),
                entrypoint: some(&detail.entrypoint),
                labels: sorted(&summary.labels),
                stop_signal: detail.stop_signal.clone(),
                stop_timeout: asked.stop_timeout_seconds,
                healthcheck: detail.healthcheck.as_ref().map(Healthcheck::from),
                more: container_more::Config::from(detail),
            },
            capabilities: detail.capabilities.clone(),
            cgroup_path: detail.cgroup_path.clone(),
            start_trace: detail.start_trace.iter().map(Step::from).collect(),
            more: container_more::Container::from(detail),
        }
    }
}

fn state(detail: &ContainerDetail) -> State {
    let summary = detail.summary.clone().unwrap_or_default();
    let is = |state| summary.state() == state;
    State {
        status: container::state(summary.state()),
        // As in Docker, paused and restarting containers also count as running.
        running: is(ContainerState::Running)
            || is(ContainerState::Paused)
            || is(ContainerState::Restarting),
        paused: is(ContainerState::Paused),
        restarting: is(ContainerState::Restarting),
        oom_killed: detail.oom_killed,
        dead: is(ContainerState::Dead),
        pid: detail.pid,
        exit_code: summary.exit_code,
        error: detail.error.clone(),
        started_at: human::rfc3339(summary.started_unix_nanos),
        finished_at: human::rfc3339(summary.finished_unix_nanos),
        health: detail.health.as_ref().map(Health::from),
    }
}

/// The first network, as Docker has it.
fn network_mode(config: Option<&ContainerNetworkConfig>) -> String {
    let first = config.and_then(|config| config.endpoints.first());
    match first.map(|endpoint| endpoint.network.as_str()) {
        None | Some("" | "default") => "bridge".into(),
        Some(network) => network.into(),
    }
}

fn host_config(detail: &ContainerDetail) -> HostConfig {
    let asked = detail.config.clone().unwrap_or_default();
    let limits = asked.resources.unwrap_or_default();
    HostConfig {
        network_mode: network_mode(asked.network.as_ref()),
        port_bindings: ports::bindings(&asked.ports),
        publish_all_ports: asked.publish_all_ports,
        restart_policy: {
            let policy = asked.restart_policy.unwrap_or_default();
            let name = if policy.name.is_empty() { "no".into() } else { policy.name };
            RestartPolicy { name, maximum_retry_count: policy.maximum_retry_count }
        },
        auto_remove: asked.auto_remove,
        cap_add: some(&asked.cap_add),
        cap_drop: some(&asked.cap_drop),
        group_add: some(&asked.group_add),
        privileged: asked.privileged,
        readonly_rootfs: asked.read_only_rootfs,
        security_opt: some(&asked.security_opts),
        cpu_shares: limits.cpu_shares,
        memory: limits.memory_bytes,
        memory_reservation: limits.memory_reservation_bytes,
        memory_swap: limits.memory_swap_bytes,
        nano_cpus: limits.nano_cpus,
        cpuset_cpus: limits.cpuset_cpus,
        cpuset_mems: limits.cpuset_mems,
        pids_limit: Some(limits.pids_limit).filter(|limit| *limit != 0),
        ulimits: asked.ulimits.iter().map(UlimitView::from).collect(),
        init: asked.init,
        oom_score_adj: asked.oom_score_adj.unwrap_or(0),
        shm_size: if asked.shm_size_bytes == 0 { 64 << 20 } else { asked.shm_size_bytes },
        volumes_from: some(&asked.volumes_from),
        volume_driver: asked.volume_driver.clone(),
        pid_mode: asked.pid_mode.clone(),
        ipc_mode: or_private(&asked.ipc_mode),
        uts_mode: asked.uts_mode.clone(),
        cgroupns_mode: or_private(&asked.cgroupns_mode),
        userns_mode: asked.userns_mode.clone(),
        sysctls: sorted(&asked.sysctls),
        annotations: sorted(&asked.annotations),
        devices: asked.devices.iter().map(Device::from).collect(),
        device_cgroup_rules: some(&asked.device_cgroup_rules),
        log_config: {
            let log = asked.log_config.unwrap_or_default();
            let driver = if log.driver.is_empty() { "json-file".into() } else { log.driver };
            LogConfig { config: sorted(&log.options), r#type: driver }
        },
        cpu_period: limits.cpu_period_us,
        cpu_quota: limits.cpu_quota_us,
        blkio_weight: limits.blkio_weight,
        blkio_weight_device: limits
            .blkio_weight_device
            .iter()
            .map(|device| DeviceWeight { path: device.path.clone(), weight: device.amount })
            .collect(),
        device_read_bps: rates(&limits.device_read_bps),
        device_write_bps: rates(&limits.device_write_bps),
        device_read_iops: rates(&limits.device_read_iops),
        device_write_iops: rates(&limits.device_write_iops),
        asked: container_asked::HostConfig::from(detail),
        more: container_more::HostConfig::from(detail),
    }
}

/// An image as `docker image inspect` shows it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Image {
    id: String,
    repo_tags: Vec<String>,
    repo_digests: Vec<String>,
    comment: String,
    created: String,
    author: String,
    config: ImageConfig,
    architecture: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    variant: String,
    os: String,
    size: u64,
    #[serde(rename = "RootFS")]
    root_fs: RootFs,
    history: Vec<History>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct ImageConfig {
    user: String,
    env: Option<Vec<String>>,
    cmd: Option<Vec<String>>,
    entrypoint: Option<Vec<String>>,
    working_dir: String,
    exposed_ports: BTreeMap<String, Empty>,
    volumes: BTreeMap<String, Empty>,
    labels: BTreeMap<String, String>,
    stop_signal: String,
    #[serde(flatten)]
    more: container_more::ImageConfig,
}

/// The OCI configuration's sets are objects of empty objects.
#[derive(Debug, Serialize)]
struct Empty {}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct RootFs {
    r#type: &'static str,
    layers: Vec<String>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct History {
    created: String,
    created_by: String,
    comment: String,
    empty_layer: bool,
}

fn set(names: &[String]) -> BTreeMap<String, Empty> {
    names.iter().map(|name| (name.clone(), Empty {})).collect()
}

impl From<&ImageDetail> for Image {
    fn from(detail: &ImageDetail) -> Self {
        let summary = detail.summary.clone().unwrap_or_default();
        Self {
            id: summary.id,
            repo_tags: summary.tags,
            repo_digests: summary.digests,
            comment: detail.history.last().map(|step| step.comment.clone()).unwrap_or_default(),
            created: human::rfc3339(summary.created_unix_nanos),
            author: detail.author.clone(),
            config: ImageConfig {
                user: detail.user.clone(),
                env: some(&detail.env),
                cmd: some(&detail.command),
                entrypoint: some(&detail.entrypoint),
                working_dir: detail.working_dir.clone(),
                exposed_ports: set(&detail.exposed_ports),
                volumes: set(&detail.volumes),
                labels: sorted(&summary.labels),
                stop_signal: detail.stop_signal.clone(),
                more: container_more::ImageConfig::read(&detail.config_json),
            },
            architecture: detail.architecture.clone(),
            variant: detail.variant.clone(),
            os: detail.os.clone(),
            size: summary.size_bytes,
            root_fs: RootFs { r#type: "layers", layers: detail.diff_ids.clone() },
            history: detail
                .history
                .iter()
                .map(|step| History {
                    created: human::rfc3339(step.created_unix_nanos),
                    created_by: step.created_by.clone(),
                    comment: step.comment.clone(),
                    empty_layer: step.empty_layer,
                })
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    use linkspan_proto::v1::{ContainerConfig, ContainerSummary, Entrypoint, Resources};
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn a_container_has_dockers_keys_and_the_trace() {
        let detail = ContainerDetail {
            summary: Some(ContainerSummary {
                id: "abc".into(),
                name: "web".into(),
                image: "busybox".into(),
                image_id: "sha256:1".into(),
                command: vec!["sh".into(), "-c".into(), "true".into()],
                state: ContainerState::Running.into(),
                started_unix_nanos: 1_500_000_000,
                ..ContainerSummary::default()
            }),
            config: Some(ContainerConfig {
                command: vec!["-c".into(), "true".into()],
                entrypoint: Some(Entrypoint { args: vec!["sh".into()] }),
                resources: Some(Resources { memory_bytes: 7, ..Resources::default() }),
                ulimits: vec![Ulimit { name: "core".into(), soft: 0, hard: u64::MAX }],
                ..ContainerConfig::default()
            }),
            pid: 42,
            command: vec!["-c".into(), "true".into()],
            entrypoint: vec!["sh".into()],
            start_trace: vec![TraceStep { name: "clone".into(), started_us: 1, duration_us: 2 }],
            ..ContainerDetail::default()
        };
        let value = serde_json::to_value(Container::from(&detail)).expect("JSON");
        for (pointer, expected) in [
            ("/Id", json!("abc")),
            ("/Name", json!("/web")),
            ("/Path", json!("sh")),
            ("/Args", json!(["-c", "true"])),
            ("/State/Status", json!("running")),
            ("/State/Running", json!(true)),
            ("/State/OOMKilled", json!(false)),
            ("/State/Pid", json!(42)),
            ("/State/StartedAt", json!("1970-01-01T00:00:01.5Z")),
            ("/State/FinishedAt", json!("0001-01-01T00:00:00Z")),
            ("/Config/Cmd", json!(["-c", "true"])),
            ("/Config/Entrypoint", json!(["sh"])),
            ("/Config/Image", json!("busybox")),
            ("/HostConfig/Memory", json!(7)),
            ("/HostConfig/PidsLimit", Value::Null),
            ("/HostConfig/LogConfig", json!({"Type": "json-file", "Config": {}})),
            ("/HostConfig/UsernsMode", json!("")),
            ("/HostConfig/Runtime", json!("linkspan-init")),
            ("/HostConfig/Ulimits/0", json!({"Name": "core", "Hard": -1, "Soft": 0})),
            ("/StartTrace/0", json!({"Name": "clone", "StartedUs": 1, "DurationUs": 2})),
        ] {
            assert_eq!(value.pointer(pointer), Some(&expected), "{pointer}");
        }
    }

    #[test]
    fn an_image_has_dockers_keys() {
        let detail = ImageDetail {
            exposed_ports: vec!["80/tcp".into()],
            diff_ids: vec!["sha256:2".into()],
            os: "linux".into(),
            ..ImageDetail::default()
        };
        let value = serde_json::to_value(Image::from(&detail)).expect("JSON");
        assert_eq!(value["Config"]["ExposedPorts"], json!({"80/tcp": {}}));
        assert_eq!(value["RootFS"], json!({"Type": "layers", "Layers": ["sha256:2"]}));
        assert_eq!(value["Os"], "linux");
    }
}
