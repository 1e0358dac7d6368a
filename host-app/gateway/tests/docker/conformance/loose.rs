//! Where Docker Engine's answers are not what its own descriptions say, and ours are as Docker
//! Engine's. Each is a place and what is found there, with the last described version that has it: a
//! list that names what is no longer found is wrong, too.

/// A finding of `Description::differences`, at the end of its place, and its last version.
pub(super) type Loose = (&'static str, u16);

/// A container's place in a network: what it was not asked to have is Go's nil, and fields that
/// came later are not taken away from older versions.
const PLACE: &[Loose] = &[
    ("Networks.bridge.Aliases: null", 51),
    ("Networks.bridge.Links: null", 51),
    ("Networks.bridge.DNSNames: unnamed", 43),
    ("Networks.bridge.GwPriority: unnamed", 47),
];

/// In a list, whose places have been described for longer.
const LISTED_PLACE: &[Loose] =
    &[("Networks.bridge.DriverOpts: unnamed", 31), ("Networks.bridge.IPAMConfig: null", 31)];

/// What a container was not asked to have is Go's nil.
const UNSET: &[Loose] = &[
    ("Config.Entrypoint: null", 51),
    ("Config.OnBuild: null", 38),
    ("Config.Volumes: null", 51),
    ("ExecIDs: null", 37),
    ("HostConfig.Binds: null", 51),
    ("HostConfig.CapAdd: null", 51),
    ("HostConfig.CapDrop: null", 51),
    ("HostConfig.DeviceCgroupRules: null", 51),
    ("HostConfig.DeviceRequests: null", 51),
    ("HostConfig.ExtraHosts: null", 51),
    ("HostConfig.GroupAdd: null", 51),
    ("HostConfig.Links: null", 51),
    ("HostConfig.MemorySwappiness: null", 51),
    ("HostConfig.OomKillDisable: null", 51),
    ("HostConfig.PidsLimit: null", 38),
    ("HostConfig.SecurityOpt: null", 51),
    ("HostConfig.VolumesFrom: null", 51),
    // Exposed and not published.
    ("NetworkSettings.Ports.443/tcp: null", 38),
];

/// Of a container: what came later, or was there for longer than it is described.
const LATER: &[Loose] = &[
    ("HostConfig.CgroupnsMode: unnamed", 40),
    ("HostConfig.DeviceCgroupRules: unnamed", 27),
    ("HostConfig.DeviceRequests: unnamed", 39),
    ("HostConfig.Init: unnamed", 36),
    ("HostConfig.MaskedPaths: unnamed", 37),
    ("HostConfig.NanoCpus: unnamed", 27),
    ("HostConfig.ReadonlyPaths: unnamed", 37),
    ("Platform: unnamed", 39),
    ("State.Health: unnamed", 38),
    // Descriptions of that time have a part of `NetworkSettings`, and its ports as a list, which
    // they never were.
    ("NetworkSettings.EndpointID: unnamed", 31),
    ("NetworkSettings.GlobalIPv6Address: unnamed", 31),
    ("NetworkSettings.GlobalIPv6PrefixLen: unnamed", 31),
    ("NetworkSettings.HairpinMode: unnamed", 31),
    ("NetworkSettings.IPAddress: unnamed", 31),
    ("NetworkSettings.IPv6Gateway: unnamed", 31),
    ("NetworkSettings.LinkLocalIPv6Address: unnamed", 31),
    ("NetworkSettings.LinkLocalIPv6PrefixLen: unnamed", 31),
    ("NetworkSettings.Networks: unnamed", 31),
    ("NetworkSettings.Ports: type", 31),
    ("NetworkSettings.SandboxID: unnamed", 31),
    ("NetworkSettings.SandboxKey: unnamed", 31),
    ("NetworkSettings.SecondaryIPAddresses: unnamed", 31),
    ("NetworkSettings.SecondaryIPv6Addresses: unnamed", 31),
    // Forgotten: what the docker CLI has always asked for.
    ("HostConfig.RestartPolicy.Name: enum", 39),
];

const STATS: &[Loose] = &[("io_service_bytes_recursive: null", 51), ("os_type: unnamed", 51)];

/// Go's names of the fields stood there.
const DISTRIBUTION: &[Loose] = &[
    ("Descriptor.digest: unnamed", 39),
    ("Descriptor.mediaType: unnamed", 39),
    ("Descriptor.size: unnamed", 39),
    ("Platforms.*.architecture: unnamed", 39),
    ("Platforms.*.os: unnamed", 39),
    ("Platforms.*.variant: unnamed", 39),
    ("the path is unnamed", 29),
];

/// Three fields stood twice, and once in the descriptions.
const EVENT: &[Loose] =
    &[("from: unnamed", 51), ("id: unnamed", 51), ("status: unnamed", 51), ("scope: unnamed", 39)];

const EXEC: &[Loose] = &[("CanRemove: unnamed", 35), ("DetachKeys: unnamed", 35)];

/// The container that an image was made of is left out where there was none.
const IMAGE: &[Loose] = &[
    ("Config.Entrypoint: null", 51),
    ("Config.OnBuild: null", 38),
    ("Config.Volumes: null", 51),
    ("Container: required", 38),
    ("GraphDriver.Data: null", 51),
    ("Metadata: unnamed", 30),
];

const INFO: &[Loose] = &[
    ("AllowNondistributableArtifactsCIDRs: null", 48),
    ("AllowNondistributableArtifactsHostnames: null", 48),
    ("GenericResources: null", 51),
    ("Plugins.Authorization: null", 51),
    ("RegistryConfig.Mirrors: null", 51),
    ("Warnings: null", 51),
    ("CDISpecDirs: unnamed", 43),
    ("CgroupVersion: unnamed", 40),
    ("OSVersion: unnamed", 40),
    ("PidsLimit: unnamed", 39),
    ("Warnings: unnamed", 38),
    ("Plugins.Log: unnamed", 29),
    // Described in full since 1.32.
    ("BridgeNfIp6tables: unnamed", 31),
    ("BridgeNfIptables: unnamed", 31),
    ("CPUSet: unnamed", 31),
    ("CPUShares: unnamed", 31),
    ("CgroupDriver: unnamed", 31),
    ("ContainerdCommit: unnamed", 31),
    ("DefaultRuntime: unnamed", 31),
    ("GenericResources: unnamed", 31),
    ("InitBinary: unnamed", 31),
    ("InitCommit: unnamed", 31),
    ("Isolation: unnamed", 31),
    ("LiveRestoreEnabled: unnamed", 31),
    ("LoggingDriver: unnamed", 31),
    ("Plugins.Authorization: unnamed", 31),
    ("AllowNondistributableArtifactsCIDRs: unnamed", 31),
    ("AllowNondistributableArtifactsHostnames: unnamed", 31),
    ("RegistryConfig.Mirrors: unnamed", 31),
    ("RuncCommit: unnamed", 31),
    ("Runtimes: unnamed", 31),
    ("SecurityOptions: unnamed", 31),
    ("Swarm: unnamed", 31),
];

const NETWORK: &[Loose] = &[
    ("Attachable: unnamed", 26),
    ("Ingress: unnamed", 28),
    ("ConfigFrom: unnamed", 40),
    ("ConfigOnly: unnamed", 40),
    ("EnableIPv4: unnamed", 46),
    // A list of maps in the descriptions, and a map ever since there are networks.
    ("IPAM.Options: type", 38),
];
const NETWORKS: &[Loose] = &[("Name: unnamed", 27)];
const ONE_NETWORK: &[Loose] = &[("Name: unnamed", 29)];

const VOLUME: &[Loose] = &[("Labels: null", 51), ("Options: null", 51), ("CreatedAt: unnamed", 30)];
const VOLUMES: &[Loose] = &[("Warnings: null", 51)];

const USAGE: &[Loose] = &[
    ("BuildCache: unnamed", 38),
    ("BuilderSize: unnamed", 41),
    ("Networks.bridge.DNSNames: null", 51),
    // The description has a list of lists.
    ("Containers.*: type", 39),
];

/// What the answer to a request (`METHOD PATH`) has beside the descriptions.
pub(super) fn of(request: &str, is_success: bool) -> Vec<Loose> {
    let request = request.split('?').next().unwrap_or(request);
    if is_success { answered(request) } else { refused(request) }
}

fn answered(request: &str) -> Vec<Loose> {
    let lists: &[&[Loose]] = match request {
        "GET /containers/json" => &[PLACE, LISTED_PLACE],
        "GET /containers/web/json" => &[PLACE, UNSET, LATER],
        "GET /containers/web/stats" => &[STATS],
        "POST /containers/web/wait" => &[&[("Error: unnamed", 33)]],
        "GET /distribution/busybox/json" => &[DISTRIBUTION],
        "GET /events" => &[EVENT],
        "GET /images/busybox/json" => &[IMAGE],
        "GET /info" => &[INFO],
        "GET /version" => &[&[("Components: unnamed", 34), ("Platform: unnamed", 34)]],
        "GET /networks" => &[NETWORK, NETWORKS],
        "GET /networks/back" => &[NETWORK, ONE_NETWORK],
        "POST /networks/prune" => &[&[("NetworksDeleted: unnamed", 25)]],
        "GET /system/df" => &[PLACE, VOLUME, USAGE],
        "GET /volumes" => &[VOLUME, VOLUMES],
        "GET /volumes/data" | "POST /volumes/create" => &[VOLUME],
        "POST /images/prune" => &[&[("ImagesDeleted: null", 51)]],
        "POST /build/prune" => &[&[
            ("CachesDeleted: null", 51),
            ("CachesDeleted: unnamed", 38),
            ("the path is unnamed", 30),
        ]],
        // In no description, and served by Docker Engine.
        "POST /build/cancel" => &[&[("the path is unnamed", 51)]],
        exec if exec.starts_with("GET /exec/") => &[EXEC],
        _ => &[],
    };
    lists.concat()
}

/// Statuses and paths that Docker Engine had before its descriptions, and never named at all.
fn refused(request: &str) -> Vec<Loose> {
    const PATH: &str = "the path is unnamed";
    const METHOD: &str = "the method is unnamed";
    const STATUS: &str = "the status is unnamed";
    let of_swarm = ["/swarm", "/nodes", "/services", "/tasks", "/secrets", "/configs"];
    let path = request.split_once(' ').map_or(request, |(_, path)| path);
    let all: &[Loose] = match request {
        "DELETE /containers/web" | "GET /events" => &[(STATUS, 26)],
        "GET /containers/web/logs" | "POST /containers/web/attach" => &[(STATUS, 51)],
        "POST /containers/web/kill" => &[(STATUS, 36)],
        "POST /build" => &[(STATUS, 25)],
        // Docker Engine has no 501: what an engine without swarm mode, without plugins and without
        // BuildKit answers is ours to say.
        "POST /swarm/init" | "POST /swarm/join" => &[(STATUS, 51)],
        "GET /plugins/privileges" | "POST /plugins/pull" | "POST /plugins/create" => {
            &[(STATUS, 51)]
        }
        "POST /session" => &[(PATH, 30), (STATUS, 51)],
        "POST /grpc" => &[(PATH, 51)],
        "PUT /volumes/name" => &[(METHOD, 41)],
        "POST /plugins/name/upgrade" => &[(PATH, 25), (STATUS, 26)],
        _ if path.starts_with("/plugins/") => &[(STATUS, 26)],
        _ if of_swarm.iter().any(|noun| path.starts_with(noun)) => &[(PATH, 29), (STATUS, 26)],
        _ => &[],
    };
    all.to_vec()
}
