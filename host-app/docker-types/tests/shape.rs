//! What is written can be read by the types that are generated from Docker's OpenAPI description,
//! and has all of its fields but those that are named here.

#![recursion_limit = "256"]

use bollard_stubs::models as schema;
use jiff::Timestamp;
use linkspan_docker_types::container::exec::{ExecCreateBody, ExecInspect};
use linkspan_docker_types::container::host_config::HostConfig;
use linkspan_docker_types::container::stats::Stats;
use linkspan_docker_types::container::{Container, CreateBody, Summary};
use linkspan_docker_types::event::Event;
use linkspan_docker_types::image::inspect::Image;
use linkspan_docker_types::system::{self, df, info};
use linkspan_docker_types::version::ApiVersion;
use linkspan_docker_types::{compat, image, json, network, volume};
use linkspan_proto::v1 as wire;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};

mod fields;

use fields::fields_of;

const LATEST: ApiVersion = ApiVersion::MAX;

/// Reads it as the schema does, and compares the names of fields.
fn conforms<T: DeserializeOwned>(shown: &Value, absent: &[&str]) {
    if let Err(error) = serde_json::from_value::<T>(shown.clone()) {
        panic!("{}: {error}\n{shown}", std::any::type_name::<T>());
    }
    let object = shown.as_object().expect("an object");
    let missing: Vec<&str> = fields_of::<T>()
        .iter()
        .copied()
        .filter(|field| !object.contains_key(*field) && !absent.contains(field))
        .collect();
    assert!(missing.is_empty(), "{}: {missing:?} in {shown}", std::any::type_name::<T>());
    let unknown: Vec<&String> =
        object.keys().filter(|name| !fields_of::<T>().contains(&name.as_str())).collect();
    assert!(unknown.is_empty(), "{}: {unknown:?} is not Docker's", std::any::type_name::<T>());
}

fn summary() -> wire::ContainerSummary {
    wire::ContainerSummary {
        id: "0123456789abcdef".into(),
        name: "web".into(),
        command: vec!["sleep".into(), "1".into()],
        created_unix_nanos: 1,
        state: wire::ContainerState::Running.into(),
        started_unix_nanos: 2,
        health: "healthy".into(),
        networks: vec!["bridge".into(), "back".into()],
        exposed_ports: vec!["80/tcp".into()],
        size: Some(wire::ContainerSize { rw_bytes: 1, root_fs_bytes: 2 }),
        ..wire::ContainerSummary::default()
    }
}

fn detail(config: wire::ContainerConfig) -> wire::ContainerDetail {
    wire::ContainerDetail {
        summary: Some(summary()),
        config: Some(config),
        hostname: "web".into(),
        health: Some(wire::Health { status: "healthy".into(), ..wire::Health::default() }),
        healthcheck: Some(wire::Healthcheck { test: vec!["NONE".into()], ..Default::default() }),
        stop_signal: "SIGTERM".into(),
        mounts: vec![wire::MountPoint { target: "/data".into(), ..Default::default() }],
        endpoints: vec![wire::NetworkEndpoint {
            network: "bridge".into(),
            ipv4_address: "172.17.0.2/16".into(),
            ..wire::NetworkEndpoint::default()
        }],
        ..wire::ContainerDetail::default()
    }
}

/// A configuration in which nothing has its default.
fn everything() -> Value {
    json!({
        "Hostname": "web", "Domainname": "example.org", "User": "1", "Tty": true,
        "OpenStdin": true, "StdinOnce": true, "Env": ["A=1"], "Cmd": ["1"], "Image": "busybox",
        "Volumes": {"/own": {}}, "WorkingDir": "/srv", "Entrypoint": ["sleep"],
        "ExposedPorts": {"80/tcp": {}}, "Labels": {"a": "b"}, "StopSignal": "SIGINT",
        "StopTimeout": -1,
        "HostConfig": {
            "Binds": ["/a:/b:ro", "data:/c"],
            "LogConfig": {"Type": "local", "Config": {"max-size": "1m"}},
            "NetworkMode": "back", "AutoRemove": true,
            "PortBindings": {"80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}]},
            "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}, "VolumeDriver": "local",
            "VolumesFrom": ["x:ro"], "Annotations": {"a": "b"}, "CapAdd": ["KILL"], "CapDrop": ["ALL"],
            "CgroupnsMode": "host", "Dns": ["9.9.9.9"], "DnsOptions": ["ndots:2"],
            "DnsSearch": ["example.org"], "ExtraHosts": ["a:1.2.3.4"], "GroupAdd": ["9"],
            "IpcMode": "host", "OomScoreAdj": -5, "PidMode": "host", "PublishAllPorts": true,
            "ReadonlyRootfs": true, "SecurityOpt": ["no-new-privileges"],
            "Tmpfs": {"/run": "size=1m"}, "UTSMode": "host", "UsernsMode": "host", "ShmSize": 4096,
            "Sysctls": {"a": "b"}, "Runtime": "linkspan-init", "CpuShares": 2, "Memory": 1 << 30,
            "NanoCpus": 5, "BlkioWeight": 10,
            "BlkioWeightDevice": [{"Path": "/dev/vda", "Weight": 10}],
            "BlkioDeviceReadBps": [{"Path": "/dev/vda", "Rate": 7}],
            "BlkioDeviceWriteBps": [{"Path": "/dev/vda", "Rate": 7}],
            "BlkioDeviceReadIOps": [{"Path": "/dev/vda", "Rate": 7}],
            "BlkioDeviceWriteIOps": [{"Path": "/dev/vda", "Rate": 7}],
            "CpuPeriod": 5, "CpuQuota": -1, "CpusetCpus": "0", "CpusetMems": "0",
            "Devices": [{"PathOnHost": "/dev/a", "PathInContainer": "/dev/b", "CgroupPermissions": "r"}],
            "DeviceCgroupRules": ["c 1:1 r"], "MemoryReservation": 6 << 20, "MemorySwap": -1,
            "PidsLimit": 3, "Ulimits": [{"Name": "core", "Hard": -1, "Soft": 0}],
            "Mounts": [
                {"Type": "bind", "Source": "/x", "Target": "/y", "BindOptions":
                    {"Propagation": "rslave", "CreateMountpoint": true, "NonRecursive": true}},
                {"Type": "volume", "Source": "v", "Target": "/v", "ReadOnly": true, "VolumeOptions":
                    {"NoCopy": true, "Labels": {"a": "b"}, "Subpath": "s",
                        "DriverConfig": {"Name": "local", "Options": {"type": "tmpfs"}}}},
                {"Type": "tmpfs", "Target": "/t", "TmpfsOptions":
                    {"SizeBytes": 7, "Mode": 504, "Options": [["uid", "5"], ["noexec"]]}},
            ],
            "Init": true,
        },
        "NetworkingConfig": {"EndpointsConfig": {"back": {"Aliases": ["db"],
            "MacAddress": "02:42:ac:11:00:02", "IPAMConfig": {"IPv4Address": "10.1.0.9"}}}},
    })
}

fn created(body: &Value) -> wire::ContainerConfig {
    let body = CreateBody::read(body.to_string().as_bytes()).unwrap();
    body.request("web").unwrap().request.config.unwrap()
}

#[test]
fn a_container_conforms() {
    for config in [wire::ContainerConfig::default(), created(&everything())] {
        let container = Container::from(&detail(config));
        let shown = serde_json::to_value(&container).unwrap();
        // Of stores of images for several platforms; the second stands for `GraphDriver`.
        conforms::<schema::ContainerInspectResponse>(
            &shown,
            &["ImageManifestDescriptor", "Storage"],
        );
        conforms::<schema::ContainerState>(&shown["State"], &[]);
        conforms::<schema::NetworkSettings>(&shown["NetworkSettings"], &[]);
        conforms::<schema::EndpointSettings>(&shown["NetworkSettings"]["Networks"]["back"], &[]);
        // Left out when they are not set.
        let unset = ["ArgsEscaped", "NetworkDisabled", "OnBuild", "Shell", "StopTimeout"];
        conforms::<schema::ContainerConfig>(&shown["Config"], &unset);
        let unset = ["Annotations", "Mounts", "StorageOpt", "Sysctls", "Tmpfs"];
        conforms::<schema::HostConfig>(&shown["HostConfig"], &unset);
        let asked_mac = !container.config.mac_address.is_empty();
        for minor in 24..=54 {
            let old = compat::container(&container, ApiVersion::v1(minor));
            let address = old["NetworkSettings"].get("IPAddress");
            assert_eq!(address, (minor < 52).then(|| json!("172.17.0.2")).as_ref(), "1.{minor}");
            let mac = (minor < 52 && asked_mac).then(|| json!("02:42:ac:11:00:02"));
            assert_eq!(old["Config"].get("MacAddress"), mac.as_ref(), "1.{minor}");
            let aliases = &old["NetworkSettings"]["Networks"]["back"]["Aliases"];
            let has_id = aliases.to_string().contains("0123456789ab");
            assert_eq!(has_id, minor < 45, "1.{minor}: {aliases}");
        }
    }
}

/// Who reads one container and makes another of it gets the same.
#[test]
fn what_is_shown_of_a_container_makes_the_same_again() {
    let asked = everything();
    let first = created(&asked);
    let container = Container::from(&wire::ContainerDetail {
        env: first.env.clone(),
        command: first.command.clone(),
        entrypoint: first.entrypoint.clone().unwrap().args,
        working_dir: first.working_dir.clone(),
        user: first.user.clone(),
        stop_signal: first.stop_signal.clone(),
        healthcheck: None,
        summary: Some(wire::ContainerSummary {
            image: first.image.clone(),
            labels: first.labels.clone(),
            ..summary()
        }),
        ..detail(first.clone())
    });
    let shown = serde_json::to_value(&container).unwrap();
    let mut body = shown["Config"].clone();
    body["HostConfig"] = shown["HostConfig"].clone();
    let place = &shown["NetworkSettings"]["Networks"]["back"];
    body["NetworkingConfig"] = json!({"EndpointsConfig": {"back": place}});
    let mut second = created(&body);
    // The same list in another order.
    second
        .mounts
        .sort_by_key(|mount| first.mounts.iter().position(|one| one.target == mount.target));
    assert_eq!(second, first);
    let host: HostConfig = json::from_value(asked["HostConfig"].clone()).unwrap();
    let again = container.host_config;
    assert_eq!(again.port_bindings, host.port_bindings);
    assert_eq!((again.binds, again.tmpfs, again.mounts), (host.binds, host.tmpfs, host.mounts));
}

#[test]
fn lists_and_small_answers_conform() {
    let now = Timestamp::UNIX_EPOCH;
    let shown = serde_json::to_value(Summary::new(&summary(), &[], now)).unwrap();
    conforms::<schema::ContainerSummary>(&shown, &["ImageManifestDescriptor"]);
    let image = image::Summary::new(&wire::ImageSummary::default(), None);
    let mut shown = image.at(LATEST);
    shown["Labels"] = json!({});
    conforms::<schema::ImageSummary>(&shown, &["Manifests", "Descriptor"]);
    let image = Image::from(&wire::ImageDetail {
        author: "a".into(),
        history: vec![wire::ImageHistory { comment: "c".into(), ..Default::default() }],
        summary: Some(wire::ImageSummary { created_unix_nanos: 1, ..Default::default() }),
        ..wire::ImageDetail::default()
    });
    let absent = ["Descriptor", "Manifests", "Identity", "Variant", "OsVersion", "GraphDriver"];
    conforms::<schema::ImageInspect>(&image.at(LATEST), &absent);
    let network = network::Network::from(&wire::Network::default());
    let mut shown = serde_json::to_value(&network).unwrap();
    // Types of times are not the schema's business.
    shown["Created"] = json!("1970-01-01T00:00:00Z");
    conforms::<schema::NetworkInspect>(&shown, &["Peers", "Services", "Status"]);
    conforms::<schema::NetworkSummary>(&network.listed(LATEST), &["Peers"]);
    let mut shown = serde_json::to_value(volume::Volume::from(&wire::Volume::default())).unwrap();
    (shown["Labels"], shown["Options"]) = (json!({}), json!({}));
    conforms::<schema::Volume>(&shown, &["Status", "ClusterVolume", "UsageData"]);
    let event = wire::Event { r#type: "container".into(), ..wire::Event::default() };
    conforms::<schema::EventMessage>(&Event::from(&event).at(LATEST), &[]);
    let exec = ExecInspect::new("e", "c", &ExecCreateBody::default(), None, None);
    conforms::<schema::ExecInspectResponse>(&serde_json::to_value(exec).unwrap(), &[]);
}

#[test]
fn samples_conform() {
    let usage = wire::ContainerUsage {
        cpu_nanos: 1,
        system_cpu_nanos: 2,
        cpus: 2,
        memory_bytes: 1,
        memory_limit_bytes: 2,
        pids: 1,
        interfaces: vec![wire::InterfaceUsage { name: "eth0".into(), ..Default::default() }],
        ..wire::ContainerUsage::default()
    };
    let sample = wire::ContainerStats { usage: Some(usage), ..wire::ContainerStats::default() };
    let shown = serde_json::to_value(Stats::new(&sample, Some(&sample))).unwrap();
    conforms::<schema::ContainerStatsResponse>(&shown, &[]);
    conforms::<schema::ContainerCpuStats>(&shown["cpu_stats"], &[]);
    conforms::<schema::ContainerCpuUsage>(&shown["cpu_stats"]["cpu_usage"], &["percpu_usage"]);
    conforms::<schema::ContainerBlkioStats>(&shown["blkio_stats"], &[]);
    // Of cgroup v1 and of Windows.
    let absent =
        ["stats", "max_usage", "failcnt", "commitbytes", "commitpeakbytes", "privateworkingset"];
    conforms::<schema::ContainerMemoryStats>(&shown["memory_stats"], &absent);
    let absent = ["endpoint_id", "instance_id"];
    conforms::<schema::ContainerNetworkStats>(&shown["networks"]["eth0"], &absent);
}

#[test]
fn what_the_engine_says_of_itself_conforms() {
    let shown = info::answer(&info::Facts::default(), LATEST);
    // A license, pools of addresses, a firewall, devices, NRI and containerd: there are none.
    let absent = [
        "ProductLicense",
        "DefaultAddressPools",
        "FirewallBackend",
        "DiscoveredDevices",
        "NRI",
        "Containerd",
    ];
    conforms::<schema::SystemInfo>(&shown, &absent);
    let shown = serde_json::to_value(system::Version::from(&system::VersionFacts {
        kernel: "6.12".into(),
        ..system::VersionFacts::default()
    }));
    conforms::<schema::SystemVersion>(&shown.unwrap(), &["Experimental", "BuildTime"]);
    let usage = wire::DiskUsageResponse::default();
    let kinds = df::Kinds::read([]).unwrap();
    let shown = df::answer(&usage, &[], kinds, true, Timestamp::UNIX_EPOCH, LATEST);
    conforms::<schema::SystemDataUsageResponse>(&shown, &[]);
}
