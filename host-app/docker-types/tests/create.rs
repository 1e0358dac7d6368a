//! `POST /containers/create`: every field that Docker's OpenAPI description has is honoured, refused
//! by name, or known to mean nothing here.

#![recursion_limit = "256"]

use bollard_stubs::models as schema;
use linkspan_docker_types::container::CreateBody;
use linkspan_docker_types::error::Refused;
use linkspan_docker_types::version::ApiVersion;
use linkspan_docker_types::{compat, container::Create};
use linkspan_proto::v1::{BindRecursive, MountPropagation, MountType};
use serde_json::{Value, json};

mod fields;

use fields::fields_of;

/// What becomes of a field.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Fate {
    /// The request differs.
    Honoured,
    /// Refused, by a name that ends so.
    Refused,
    /// Nothing, as with Docker Engine on Linux, or because it is the client's own matter.
    Nothing,
}
use Fate::{Honoured, Nothing, Refused as No};

const LATEST: ApiVersion = ApiVersion::MAX;

fn read(body: &Value, version: ApiVersion) -> Result<Create, Refused> {
    let mut body = CreateBody::read(body.to_string().as_bytes())?;
    let mut warnings = compat::create(&mut body, version)?;
    let mut create = body.request("web")?;
    warnings.append(&mut create.warnings);
    Ok(Create { warnings, ..create })
}

fn latest(body: &Value) -> Create {
    read(body, LATEST).unwrap_or_else(|refused| panic!("{body}: {refused}"))
}

/// Each field alone, in a body that is otherwise `base`.
fn walk(base: &Value, pointer: &str, schema: &[&str], table: &[(&str, Value, Fate)]) {
    let mut names: Vec<&str> = table.iter().map(|(name, _, _)| *name).collect();
    let mut wanted = schema.to_vec();
    names.sort_unstable();
    wanted.sort_unstable();
    assert_eq!(names, wanted, "the table has all of the schema's fields at `{pointer}`");
    for (name, sample, fate) in table {
        let mut body = base.clone();
        let object = body.pointer_mut(pointer).and_then(Value::as_object_mut).expect(pointer);
        object.insert((*name).to_owned(), sample.clone());
        match (fate, read(&body, LATEST)) {
            (No, Err(Refused::Unsupported { field, why })) => {
                assert!(field.contains(name) && !why.is_empty(), "{name}: {field}");
            }
            (Honoured, Ok(create)) => assert_ne!(create, latest(base), "{name} is dropped"),
            (Nothing, Ok(create)) => assert_eq!(create, latest(base), "{name} means something"),
            (fate, result) => panic!("{name}: {fate:?}, but {result:?}"),
        }
    }
}

#[test]
fn every_field_of_the_configuration_is_honoured_or_refused() {
    let table = [
        ("Hostname", json!("web"), Honoured),
        ("Domainname", json!("example.org"), Honoured),
        ("User", json!("1:2"), Honoured),
        ("AttachStdin", json!(true), Honoured),
        ("AttachStdout", json!(true), Honoured),
        ("AttachStderr", json!(true), Honoured),
        ("ExposedPorts", json!({"80/tcp": {}}), Honoured),
        ("Tty", json!(true), Honoured),
        ("OpenStdin", json!(true), Honoured),
        ("StdinOnce", json!(true), Honoured),
        ("Env", json!(["A=1"]), Honoured),
        ("Cmd", json!(["true"]), Honoured),
        ("Healthcheck", json!({"Test": ["NONE"]}), Honoured),
        ("ArgsEscaped", json!(true), Nothing),
        ("Image", json!("busybox"), Honoured),
        ("Volumes", json!({"/data": {}}), Honoured),
        ("WorkingDir", json!("/srv"), Honoured),
        ("Entrypoint", json!("sh"), Honoured),
        ("NetworkDisabled", json!(true), Honoured),
        ("OnBuild", json!(["RUN x"]), No),
        ("Labels", json!({"a": "b"}), Honoured),
        ("StopSignal", json!("SIGINT"), Honoured),
        ("StopTimeout", json!(3), Honoured),
        ("Shell", json!(["sh"]), No),
        ("HostConfig", json!({"Privileged": true}), Honoured),
        ("NetworkingConfig", json!({"EndpointsConfig": {"back": null}}), Honoured),
    ];
    walk(&json!({}), "", fields_of::<schema::ContainerCreateBody>(), &table);
    let table = [
        ("Test", json!(["CMD", "true"]), Honoured),
        ("Interval", json!(1_000_000), Honoured),
        ("Timeout", json!(1_000_000), Honoured),
        ("Retries", json!(2), Honoured),
        ("StartPeriod", json!(1_000_000), Honoured),
        ("StartInterval", json!(1_000_000), Honoured),
    ];
    let base = json!({"Healthcheck": {}});
    walk(&base, "/Healthcheck", fields_of::<schema::HealthConfig>(), &table);
}

#[test]
fn every_field_of_the_host_configuration_is_honoured_or_refused() {
    let rate = json!([{"Path": "/dev/vda", "Rate": 7}]);
    let table = [
        ("CpuShares", json!(2), Honoured),
        ("Memory", json!(1 << 30), Honoured),
        ("CgroupParent", json!("x"), No),
        ("BlkioWeight", json!(10), Honoured),
        ("BlkioWeightDevice", json!([{"Path": "/dev/vda", "Weight": 10}]), Honoured),
        ("BlkioDeviceReadBps", rate.clone(), Honoured),
        ("BlkioDeviceWriteBps", rate.clone(), Honoured),
        ("BlkioDeviceReadIOps", rate.clone(), Honoured),
        ("BlkioDeviceWriteIOps", rate, Honoured),
        ("CpuPeriod", json!(5), Honoured),
        ("CpuQuota", json!(-1), Honoured),
        ("CpuRealtimePeriod", json!(1), No),
        ("CpuRealtimeRuntime", json!(1), No),
        ("CpusetCpus", json!("0"), Honoured),
        ("CpusetMems", json!("0"), Honoured),
        ("Devices", json!([{"PathOnHost": "/dev/null"}]), Honoured),
        ("DeviceCgroupRules", json!(["c 1:1 r"]), Honoured),
        ("DeviceRequests", json!([{"Count": -1}]), No),
        ("MemoryReservation", json!(6 << 20), Honoured),
        ("MemorySwap", json!(-1), Honoured),
        ("MemorySwappiness", json!(0), No),
        ("NanoCpus", json!(1), Honoured),
        ("OomKillDisable", json!(true), No),
        ("Init", json!(true), Honoured),
        ("PidsLimit", json!(3), Honoured),
        ("Ulimits", json!([{"Name": "core", "Soft": -1, "Hard": -1}]), Honoured),
        ("CpuCount", json!(1), No),
        ("CpuPercent", json!(1), No),
        ("IOMaximumIOps", json!(1), No),
        ("IOMaximumBandwidth", json!(1), No),
        ("Binds", json!(["/a:/b"]), Honoured),
        ("ContainerIDFile", json!("/tmp/id"), Nothing),
        ("LogConfig", json!({"Type": "none"}), Honoured),
        ("NetworkMode", json!("host"), Honoured),
        ("PortBindings", json!({"80/tcp": [{"HostPort": "80"}]}), Honoured),
        ("RestartPolicy", json!({"Name": "on-failure", "MaximumRetryCount": 3}), Honoured),
        ("AutoRemove", json!(true), Honoured),
        ("VolumeDriver", json!("local"), Honoured),
        ("VolumesFrom", json!(["x:ro"]), Honoured),
        ("Mounts", json!([{"Type": "tmpfs", "Target": "/t"}]), Honoured),
        ("ConsoleSize", json!([25, 80]), Nothing),
        ("Annotations", json!({"a": "b"}), Honoured),
        ("CapAdd", json!(["NET_ADMIN"]), Honoured),
        ("CapDrop", json!(["ALL"]), Honoured),
        ("CgroupnsMode", json!("host"), Honoured),
        ("Dns", json!(["9.9.9.9"]), Honoured),
        ("DnsOptions", json!(["ndots:2"]), Honoured),
        ("DnsSearch", json!(["example.org"]), Honoured),
        ("ExtraHosts", json!(["a:1.2.3.4"]), Honoured),
        ("GroupAdd", json!(["9"]), Honoured),
        ("IpcMode", json!("host"), Honoured),
        ("Cgroup", json!("container:x"), No),
        ("Links", json!(["a:b"]), No),
        ("OomScoreAdj", json!(-5), Honoured),
        ("PidMode", json!("host"), Honoured),
        ("Privileged", json!(true), Honoured),
        ("PublishAllPorts", json!(true), Honoured),
        ("ReadonlyRootfs", json!(true), Honoured),
        ("SecurityOpt", json!(["no-new-privileges"]), Honoured),
        ("StorageOpt", json!({"size": "1G"}), No),
        ("Tmpfs", json!({"/t": ""}), Honoured),
        ("UTSMode", json!("host"), Honoured),
        ("UsernsMode", json!("host"), Honoured),
        ("ShmSize", json!(1), Honoured),
        ("Sysctls", json!({"net.ipv4.ip_forward": "1"}), Honoured),
        ("Runtime", json!("runsc"), No),
        ("Isolation", json!("hyperv"), No),
        ("MaskedPaths", json!(["/proc/kcore"]), No),
        ("ReadonlyPaths", json!(["/proc/sys"]), No),
    ];
    let base = json!({"HostConfig": {}});
    walk(&base, "/HostConfig", fields_of::<schema::HostConfig>(), &table);
}

#[test]
fn every_field_of_an_endpoint_is_honoured_or_refused() {
    let table = [
        ("IPAMConfig", json!({"IPv4Address": "10.0.0.9"}), Honoured),
        ("Links", json!(["a:b"]), No),
        ("MacAddress", json!("02:42:ac:11:00:02"), Honoured),
        ("Aliases", json!(["db"]), Honoured),
        ("DriverOpts", json!({"a": "b"}), No),
        ("GwPriority", json!(1), No),
        // What an answer has.
        ("NetworkID", json!("x"), Nothing),
        ("EndpointID", json!("x"), Nothing),
        ("Gateway", json!("10.0.0.1"), Nothing),
        ("IPAddress", json!("10.0.0.9"), Nothing),
        ("IPPrefixLen", json!(16), Nothing),
        ("IPv6Gateway", json!("fe80::1"), Nothing),
        ("GlobalIPv6Address", json!("fd00::2"), Nothing),
        ("GlobalIPv6PrefixLen", json!(64), Nothing),
        ("DNSNames", json!(["web"]), Nothing),
    ];
    let base = json!({"NetworkingConfig": {"EndpointsConfig": {"back": {}}}});
    let at = "/NetworkingConfig/EndpointsConfig/back";
    walk(&base, at, fields_of::<schema::EndpointSettings>(), &table);
}

#[test]
fn every_field_of_a_mount_is_honoured_or_refused() {
    let mount = |mount: Value| json!({"HostConfig": {"Mounts": [mount]}});
    let table = [
        ("Target", json!("/other"), Honoured),
        ("Source", json!("data"), Honoured),
        ("Type", json!("image"), No),
        ("ReadOnly", json!(true), Honoured),
        ("Consistency", json!("cached"), Nothing),
        ("VolumeOptions", json!({"NoCopy": true}), Honoured),
    ];
    let others = ["BindOptions", "ImageOptions", "TmpfsOptions"];
    let mut all = fields_of::<schema::Mount>().to_vec();
    all.retain(|field| !others.contains(field));
    let base = mount(json!({"Type": "volume", "Target": "/data"}));
    walk(&base, "/HostConfig/Mounts/0", &all, &table);
    let table = [
        ("Propagation", json!("rslave"), Honoured),
        ("NonRecursive", json!(true), Honoured),
        ("CreateMountpoint", json!(true), Honoured),
        ("ReadOnlyNonRecursive", json!(true), Honoured),
        ("ReadOnlyForceRecursive", json!(true), Honoured),
    ];
    let bind = json!({"Type": "bind", "Source": "/a", "Target": "/b", "BindOptions": {}});
    let at = "/HostConfig/Mounts/0/BindOptions";
    walk(&mount(bind), at, fields_of::<schema::MountBindOptions>(), &table);
    let table = [
        ("NoCopy", json!(true), Honoured),
        ("Labels", json!({"a": "b"}), Honoured),
        ("DriverConfig", json!({"Name": "local", "Options": {"type": "tmpfs"}}), Honoured),
        ("Subpath", json!("a/b"), Honoured),
    ];
    let volume = json!({"Type": "volume", "Target": "/b", "VolumeOptions": {}});
    let at = "/HostConfig/Mounts/0/VolumeOptions";
    walk(&mount(volume), at, fields_of::<schema::MountVolumeOptions>(), &table);
    let table = [
        ("SizeBytes", json!(4096), Honoured),
        ("Mode", json!(0o1770), Honoured),
        ("Options", json!([["noexec"]]), Honoured),
    ];
    let tmpfs = json!({"Type": "tmpfs", "Target": "/b", "TmpfsOptions": {}});
    let at = "/HostConfig/Mounts/0/TmpfsOptions";
    walk(&mount(tmpfs), at, fields_of::<schema::MountTmpfsOptions>(), &table);
}

/// The docker CLI writes every field, most of them empty.
#[test]
fn a_body_of_the_docker_cli_is_read() {
    let body = json!({
        "Hostname": "", "Domainname": "", "User": "", "AttachStdin": false, "AttachStdout": true,
        "AttachStderr": true, "Tty": false, "OpenStdin": false, "StdinOnce": false, "Env": null,
        "Cmd": ["echo", "hi"], "Image": "busybox", "Volumes": {}, "WorkingDir": "",
        "Entrypoint": null, "OnBuild": null, "Labels": {},
        "HostConfig": {
            "Binds": null, "ContainerIDFile": "", "LogConfig": {"Type": "", "Config": {}},
            "NetworkMode": "default", "PortBindings": {},
            "RestartPolicy": {"Name": "no", "MaximumRetryCount": 0}, "AutoRemove": true,
            "VolumeDriver": "", "VolumesFrom": null, "ConsoleSize": [0, 0], "CapAdd": null,
            "CapDrop": null, "CgroupnsMode": "", "Dns": [], "DnsOptions": [], "DnsSearch": [],
            "ExtraHosts": null, "GroupAdd": null, "IpcMode": "", "Cgroup": "", "Links": null,
            "OomScoreAdj": 0, "PidMode": "", "Privileged": false, "PublishAllPorts": false,
            "ReadonlyRootfs": false, "SecurityOpt": null, "UTSMode": "", "UsernsMode": "",
            "ShmSize": 0, "Isolation": "", "CpuShares": 0, "Memory": 0, "NanoCpus": 0,
            "CgroupParent": "", "BlkioWeight": 0, "BlkioWeightDevice": [],
            "BlkioDeviceReadBps": [], "BlkioDeviceWriteBps": [], "BlkioDeviceReadIOps": [],
            "BlkioDeviceWriteIOps": [], "CpuPeriod": 0, "CpuQuota": 0, "CpuRealtimePeriod": 0,
            "CpuRealtimeRuntime": 0, "CpusetCpus": "", "CpusetMems": "", "Devices": [],
            "DeviceCgroupRules": null, "DeviceRequests": null, "MemoryReservation": 0,
            "MemorySwap": 0, "MemorySwappiness": -1, "OomKillDisable": false, "PidsLimit": 0,
            "Ulimits": [], "CpuCount": 0, "CpuPercent": 0, "IOMaximumIOps": 0,
            "IOMaximumBandwidth": 0, "MaskedPaths": null, "ReadonlyPaths": null,
        },
        "NetworkingConfig": {"EndpointsConfig": {"default": {
            "IPAMConfig": null, "Links": null, "Aliases": null, "MacAddress": "",
            "DriverOpts": null, "GwPriority": 0, "NetworkID": "", "EndpointID": "", "Gateway": "",
            "IPAddress": "", "IPPrefixLen": 0, "IPv6Gateway": "", "GlobalIPv6Address": "",
            "GlobalIPv6PrefixLen": 0, "DNSNames": null,
        }}},
    });
    for minor in 24..=54 {
        let create = read(&body, ApiVersion::v1(minor)).unwrap();
        let config = create.request.config.unwrap();
        assert_eq!(
            (config.image.as_str(), &config.command[..]),
            ("busybox", &["echo", "hi"].map(String::from)[..])
        );
        assert_eq!(config.auto_remove, minor >= 25);
        assert!(create.warnings.is_empty() && config.security_opts.is_empty());
        assert_eq!(config.network.unwrap().endpoints[0].network, "bridge");
    }
}

#[test]
fn mounts_of_all_four_places_become_one_list() {
    let create = latest(&json!({
        "Volumes": {"/own": {}, "/b/": {}},
        "HostConfig": {
            "Binds": ["/a:/b:ro,rslave", "data:/c:nocopy", "/anonymous"],
            "Mounts": [
                {"Type": "bind", "Source": "/x", "Target": "/y", "ReadOnly": true,
                    "BindOptions": {"Propagation": "rshared", "CreateMountpoint": true,
                        "ReadOnlyForceRecursive": true}},
                {"Type": "tmpfs", "Target": "/t", "TmpfsOptions": {"SizeBytes": 7, "Mode": 504,
                    "Options": [["uid", "5"], ["noexec"]]}},
            ],
            "Tmpfs": {"/run": "size=1m"},
        },
    }));
    let mounts = create.request.config.unwrap().mounts;
    let targets: Vec<&str> = mounts.iter().map(|mount| mount.target.as_str()).collect();
    assert_eq!(targets, ["/b", "/c", "/anonymous", "/y", "/t", "/run", "/own"]);
    assert_eq!(mounts[0].propagation(), MountPropagation::Rslave);
    assert!(mounts[0].read_only && mounts[0].create_source && mounts[1].no_copy);
    assert_eq!(mounts[2].r#type(), MountType::Volume);
    assert_eq!(mounts[3].recursive(), BindRecursive::Readonly);
    assert!(mounts[3].create_source);
    assert_eq!(mounts[4].tmpfs_options, "uid=5,noexec");
    assert_eq!((mounts[4].tmpfs_mode, mounts[5].tmpfs_options.as_str()), (Some(504), "size=1m"));
}

#[test]
fn networks_are_those_configured_and_the_modes_is_the_first() {
    let networks = |mode: &str, configured: Value| {
        let body = json!({
            "HostConfig": {"NetworkMode": mode},
            "NetworkingConfig": {"EndpointsConfig": configured},
        });
        let network = latest(&body).request.config.unwrap().network.unwrap();
        network.endpoints.into_iter().map(|one| one.network).collect::<Vec<_>>()
    };
    assert_eq!(networks("", json!({})), [""; 0]);
    assert_eq!(networks("default", json!(null)), [""; 0]);
    assert_eq!(networks("host", json!({})), ["host"]);
    assert_eq!(networks("front", json!({"back": {}, "front": null})), ["front", "back"]);
    assert_eq!(networks("", json!({"back": {}})), ["back"]);
    assert_eq!(networks("container:x", json!({})), ["container:x"]);
    let body = json!({"HostConfig": {"NetworkMode": "host"},
        "NetworkingConfig": {"EndpointsConfig": {"back": {}}}});
    assert!(read(&body, LATEST).unwrap_err().to_string().starts_with("conflicting options"));
}

#[test]
fn the_mac_address_moves_to_the_main_network() {
    let mac = "02:42:ac:11:00:02";
    let body = |mode: &str| json!({"MacAddress": mac, "HostConfig": {"NetworkMode": mode}});
    let given = |create: &Create| {
        let network = create.request.config.clone().unwrap().network.unwrap();
        network.endpoints.first().map(|one| one.mac_address.clone()).unwrap_or_default()
    };
    for (minor, warned) in [(43, 0), (44, 1), (51, 1)] {
        let create = read(&body("back"), ApiVersion::v1(minor)).unwrap();
        assert_eq!((given(&create).as_str(), create.warnings.len()), (mac, warned), "1.{minor}");
        assert_eq!(given(&read(&body("default"), ApiVersion::v1(minor)).unwrap()), mac);
    }
    assert!(read(&body("host"), ApiVersion::v1(43)).is_err());
    assert_eq!(given(&latest(&body("back"))), "");
    let other = json!({
        "MacAddress": mac, "HostConfig": {"NetworkMode": "back"},
        "NetworkingConfig": {"EndpointsConfig": {"back": {"MacAddress": "02:00:00:00:00:01"}}},
    });
    let why = read(&other, ApiVersion::v1(44)).unwrap_err().to_string();
    assert!(why.contains("must match"), "{why}");
    assert_eq!(given(&read(&other, ApiVersion::v1(43)).unwrap()), mac);
}

#[test]
fn older_versions_mean_what_they_meant() {
    let host = |host: Value| json!({"HostConfig": host});
    let config =
        |host: &Value, minor| read(host, ApiVersion::v1(minor)).unwrap().request.config.unwrap();
    assert_eq!(config(&host(json!({})), 39).ipc_mode, "shareable");
    assert_eq!(config(&host(json!({})), 40).ipc_mode, "");
    assert!(config(&host(json!({"Annotations": {"a": "b"}})), 42).annotations.is_empty());
    let bind = |options: Value| {
        host(json!({"Mounts": [{"Type": "bind", "Source": "/a", "Target": "/b", "ReadOnly": true,
            "BindOptions": options}]}))
    };
    assert_eq!(config(&bind(json!({})), 43).mounts[0].recursive(), BindRecursive::Writable);
    assert_eq!(config(&bind(json!({})), 44).mounts[0].recursive(), BindRecursive::Unspecified);
    assert!(!config(&bind(json!({"CreateMountpoint": true})), 41).mounts[0].create_source);
    for (body, minor) in [
        (bind(json!({"ReadOnlyForceRecursive": true})), 43),
        (
            host(json!({"Mounts": [{"Type": "volume", "Source": "x", "Target": "/b",
            "VolumeOptions": {"Subpath": "a"}}]})),
            44,
        ),
        (json!({"NetworkingConfig": {"EndpointsConfig": {"a": {}, "b": {}}}}), 43),
    ] {
        assert!(read(&body, ApiVersion::v1(minor)).is_err(), "{body}");
        assert!(read(&body, ApiVersion::v1(minor + 1)).is_ok(), "{body}");
    }
    let mixed = host(json!({"Mounts": [{"Type": "bind", "Source": "/a", "Target": "/b",
        "TmpfsOptions": {}}]}));
    assert!(read(&mixed, ApiVersion::v1(41)).is_ok());
    let why = read(&mixed, ApiVersion::v1(42)).unwrap_err().to_string();
    assert_eq!(why, "TmpfsOptions must not be specified on mount type \"bind\"");
    let warned = |body: &Value, minor| read(body, ApiVersion::v1(minor)).unwrap().warnings.len();
    let empty = host(json!({"PortBindings": {"80/tcp": []}}));
    assert_eq!((warned(&empty, 51), warned(&empty, 52)), (0, 1));
    let kernel = host(json!({"KernelMemory": 1, "KernelMemoryTCP": 1}));
    assert_eq!(
        (warned(&kernel, 39), warned(&kernel, 41), warned(&kernel, 51), warned(&kernel, 52)),
        (1, 2, 1, 0)
    );
    let driver =
        host(json!({"VolumeDriver": "local", "Mounts": [{"Type": "volume", "Target": "/b"}]}));
    assert_eq!((warned(&driver, 47), warned(&driver, 48)), (0, 1));
}

#[test]
fn what_has_no_meaning_is_refused_in_dockers_words() {
    let host = |host: Value| json!({"HostConfig": host});
    for (body, why) in [
        (host(json!({"Memory": -1})), "invalid Memory: -1 is negative"),
        (host(json!({"ShmSize": -1})), "SHM size can not be less than 0"),
        (host(json!({"Binds": ["/a:/b:bogus"]})), "invalid mode: bogus"),
        (host(json!({"Binds": [":/b"]})), "invalid volume specification: ':/b'"),
        (
            host(json!({"RestartPolicy": {"Name": "x"}})),
            "invalid restart policy: unknown policy 'x'; use one of 'no', 'always', 'on-failure', or 'unless-stopped'",
        ),
        (
            host(json!({"RestartPolicy": {"Name": "always", "MaximumRetryCount": -1}})),
            "invalid restart policy: maximum retry count can only be used with 'on-failure' and cannot be negative",
        ),
        (
            host(json!({"AutoRemove": true, "RestartPolicy": {"Name": "always"}})),
            "can't create 'AutoRemove' container with restart policy",
        ),
        (
            json!({"Healthcheck": {"Interval": 3}}),
            "Interval in Healthcheck cannot be less than one millisecond",
        ),
        (json!({"Healthcheck": {"Retries": -1}}), "Retries in Healthcheck cannot be negative"),
        (
            host(json!({"Mounts": [{"Type": "nfs", "Target": "/x"}]})),
            "invalid mount config for type \"nfs\": mount type unknown",
        ),
        (
            host(json!({"Mounts": [{"Type": "bind", "Source": "/x"}]})),
            "invalid mount config for type \"bind\": field Target must not be empty",
        ),
    ] {
        assert_eq!(read(&body, LATEST).unwrap_err().to_string(), why);
    }
}

#[test]
fn the_special_values_of_the_docker_cli_are_understood() {
    let config = |body: Value| latest(&body).request.config.unwrap();
    let uncovered = config(json!({"HostConfig": {"MaskedPaths": [], "ReadonlyPaths": []}}));
    assert_eq!(uncovered.security_opts, ["systempaths=unconfined"]);
    let cleared = config(json!({"Entrypoint": [""]}));
    assert_eq!(cleared.entrypoint.map(|entrypoint| entrypoint.args), Some(vec![]));
    assert_eq!(config(json!({"StopTimeout": -1})).stop_timeout_seconds, Some(u32::MAX));
    assert_eq!(config(json!({"HostConfig": {"PidsLimit": -1}})).resources.unwrap().pids_limit, 0);
    let limits =
        config(json!({"HostConfig": {"Ulimits": [{"Name": "core", "Soft": 0, "Hard": -1}]}}));
    assert_eq!((limits.ulimits[0].soft, limits.ulimits[0].hard), (0, u64::MAX));
}
