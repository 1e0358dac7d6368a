//! A guest that knows one of everything.

use linkspan_proto::v1 as wire;

use crate::common::Docker;

pub(super) const ID: &str = "3f1c0e5a7b9d2468ace013579bdf02468ace013579bdf02468ace013579bdf02";
pub(super) const IMAGE: &str =
    "sha256:9ae97d36d26566ff84e8893c64a6dc4fe8ca6d1144bf5b87b2b85a32def253c7";
/// 2026-01-01T00:00:00.123456789Z
pub(super) const THEN: i64 = 1_767_225_600_123_456_789;

fn mounts() -> Vec<wire::MountPoint> {
    vec![wire::MountPoint {
        r#type: wire::MountType::Volume.into(),
        name: "data".into(),
        source: "/var/lib/linkspan/volumes/data/_data".into(),
        target: "/data".into(),
        driver: "local".into(),
        read_write: true,
        ..wire::MountPoint::default()
    }]
}

pub(super) fn summary() -> wire::ContainerSummary {
    wire::ContainerSummary {
        id: ID.into(),
        name: "web".into(),
        image: "busybox:latest".into(),
        image_id: IMAGE.into(),
        command: vec!["httpd".into(), "-f".into()],
        created_unix_nanos: THEN,
        state: wire::ContainerState::Running.into(),
        started_unix_nanos: THEN,
        labels: [("tier".into(), "front".into())].into(),
        health: "healthy".into(),
        ports: vec![wire::PublishedPort {
            host_ip: "0.0.0.0".into(),
            host_port: 8080,
            container_port: 80,
            protocol: wire::PortProtocol::Tcp.into(),
        }],
        exposed_ports: vec!["80/tcp".into(), "443/tcp".into()],
        mounts: mounts(),
        networks: vec!["bridge".into()],
        size: Some(wire::ContainerSize { rw_bytes: 5, root_fs_bytes: 9 }),
        ..wire::ContainerSummary::default()
    }
}

fn endpoint() -> wire::NetworkEndpoint {
    wire::NetworkEndpoint {
        id: ID.replace('3', "e"),
        network_id: ID.replace('f', "0"),
        network: "bridge".into(),
        container: ID.into(),
        container_name: "web".into(),
        dns_names: vec!["web".into()],
        interface: "eth0".into(),
        mac_address: "02:42:ac:11:00:02".into(),
        ipv4_address: "172.17.0.2/16".into(),
        ipv4_gateway: "172.17.0.1".into(),
        ..wire::NetworkEndpoint::default()
    }
}

pub(super) fn container() -> wire::ContainerDetail {
    let result = wire::HealthResult {
        started_unix_nanos: THEN,
        finished_unix_nanos: THEN + 7,
        output: "fine".into(),
        ..wire::HealthResult::default()
    };
    wire::ContainerDetail {
        summary: Some(summary()),
        config: Some(wire::ContainerConfig { image: "busybox".into(), ..Default::default() }),
        pid: 42,
        log_path: "/var/lib/linkspan/containers/web/log".into(),
        hostname: "web".into(),
        working_dir: "/".into(),
        env: vec!["PATH=/bin".into()],
        rootfs_upper_dir: "/var/lib/linkspan/containers/web/upper".into(),
        rootfs_lower_dirs: vec!["/var/lib/linkspan/layers/1".into()],
        stop_signal: "SIGTERM".into(),
        health: Some(wire::Health {
            status: "healthy".into(),
            log: vec![result],
            ..wire::Health::default()
        }),
        healthcheck: Some(wire::Healthcheck {
            test: vec!["CMD".into(), "true".into()],
            ..wire::Healthcheck::default()
        }),
        mounts: mounts(),
        endpoints: vec![endpoint()],
        hostname_path: "/var/lib/linkspan/containers/web/hostname".into(),
        hosts_path: "/var/lib/linkspan/containers/web/hosts".into(),
        resolv_conf_path: "/var/lib/linkspan/containers/web/resolv.conf".into(),
        command: vec!["httpd".into(), "-f".into()],
        ..wire::ContainerDetail::default()
    }
}

pub(super) fn image() -> wire::ImageSummary {
    wire::ImageSummary {
        id: IMAGE.into(),
        tags: vec!["busybox:latest".into()],
        digests: vec![format!("busybox@{IMAGE}")],
        created_unix_nanos: THEN,
        size_bytes: 9,
        containers: 1,
        labels: [("maintainer".into(), "me".into())].into(),
        layer_bytes: vec![9],
        ..wire::ImageSummary::default()
    }
}

pub(super) fn network() -> wire::Network {
    wire::Network {
        id: ID.replace('f', "0"),
        spec: Some(wire::NetworkSpec {
            name: "back".into(),
            driver: "bridge".into(),
            pools: vec![wire::IpamPool {
                subnet: "10.9.0.0/24".into(),
                gateway: "10.9.0.1".into(),
                ..wire::IpamPool::default()
            }],
            ..wire::NetworkSpec::default()
        }),
        created_unix_nanos: THEN,
        endpoints: vec![wire::NetworkEndpoint { network: "back".into(), ..endpoint() }],
    }
}

pub(super) fn volume() -> wire::Volume {
    wire::Volume {
        name: "data".into(),
        driver: "local".into(),
        mountpoint: "/var/lib/linkspan/volumes/data/_data".into(),
        created_unix_nanos: THEN,
        ..wire::Volume::default()
    }
}

/// The container `web`, its image, its network and its volume.
pub(super) fn docker() -> Docker {
    let docker = Docker::start();
    let guest = &docker.engine.guest;
    guest.set_hello(|hello| {
        hello.kernel_release = "Linux 6.12.0 x86_64".into();
        hello.architecture = "x86_64".into();
    });
    let list = wire::ListContainersResponse {
        containers: vec![summary()],
        endpoints: vec![endpoint()],
        ..wire::ListContainersResponse::default()
    };
    guest.answer("Container.List", &list);
    let container = Some(container());
    guest.answer("Container.Inspect", &wire::InspectContainerResponse { container });
    let bridge = wire::Network {
        spec: Some(wire::NetworkSpec { name: "bridge".into(), ..Default::default() }),
        endpoints: vec![endpoint()],
        ..network()
    };
    let networks = vec![bridge, wire::Network { endpoints: Vec::new(), ..network() }];
    guest.answer("Network.List", &wire::ListNetworksResponse { networks });
    guest.answer("Network.Inspect", &wire::InspectNetworkResponse { network: Some(network()) });
    guest.answer("Volume.List", &wire::ListVolumesResponse { volumes: vec![volume()] });
    guest.answer("Volume.Inspect", &wire::InspectVolumeResponse { volume: Some(volume()) });
    guest.answer("Volume.Create", &wire::CreateVolumeResponse { volume: Some(volume()) });
    guest.answer("Image.List", &wire::ListImagesResponse { images: vec![image()] });
    let detail = wire::ImageDetail {
        summary: Some(image()),
        architecture: "amd64".into(),
        os: "linux".into(),
        env: vec!["PATH=/bin".into()],
        command: vec!["sh".into()],
        diff_ids: vec![IMAGE.into()],
        history: vec![wire::ImageHistory {
            created_unix_nanos: THEN,
            created_by: "CMD [\"sh\"]".into(),
            ..wire::ImageHistory::default()
        }],
        ..wire::ImageDetail::default()
    };
    guest.answer("Image.Inspect", &wire::InspectImageResponse { image: Some(detail) });
    let usage = wire::DiskUsageResponse {
        images: vec![wire::ImageUsage { image: Some(image()), shared_bytes: 1 }],
        layers_bytes: 9,
        containers: vec![summary()],
        volumes: vec![wire::VolumeUsage {
            volume: Some(volume()),
            size_bytes: Some(4),
            references: 1,
        }],
        ..wire::DiskUsageResponse::default()
    };
    guest.answer("System.DiskUsage", &usage);
    let record = wire::BuildRecord {
        id: "1a".into(),
        kind: "regular".into(),
        description: "[2/2] RUN make".into(),
        size_bytes: 7,
        created_unix_nanos: THEN,
        last_used_unix_nanos: THEN,
        ..wire::BuildRecord::default()
    };
    guest.answer("Build.Usage", &wire::BuildUsageResponse { records: vec![record] });
    docker
}
