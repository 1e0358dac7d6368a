//! What older versions of the API had or lacked (moby's `api/docs/CHANGELOG.md` and the routers'
//! `compat` code). Everything else of this crate speaks the newest version.
//!
//! Requests lose what their version did not know; answers get back what was there before. What a
//! version only added to an answer is left there, as Docker Engine leaves it. Here are containers;
//! the answers of other things are changed where they are, by their `at`.
//!
//! | until | what a client sees |
//! |---|---|
//! | 1.24 | `AutoRemove` means nothing |
//! | 1.27 | networks are listed with their containers (`network`) |
//! | 1.29 | `wait` has no conditions (`container::answers`); the id of a built image is in its text only |
//! | 1.39 | `IpcMode` is `shareable`; no `NonRecursive`; `PidsLimit` cannot be updated |
//! | 1.41 | no `ConsoleSize` of an exec, no `CreateMountpoint`; every stream of a WebSocket; every kind in `system/df`; options of another type of mount mean nothing |
//! | 1.42 | no `Annotations`; `<none>:<none>` for images without a name (`image`) |
//! | 1.43 | one network at a time; read-only binds are not recursive; no `StartInterval`; the address is the container's; `VirtualSize`; images without a time have Go's zero time |
//! | 1.44 | no `Subpath`; the short id and the host name are aliases |
//! | 1.47 | no `GwPriority`, no images as mounts, no warning of `VolumeDriver` |
//! | 1.48 | `Expected` commits and `AllowNondistributable*` (`system::info`) |
//! | 1.49 | an image's `Config` has a container's fields (`image::inspect`); `BridgeNf*` |
//! | 1.50 | `Containers` of a listed image is -1 |
//! | 1.51 | `MacAddress` and the default bridge on the top level; empty fields of images; `status`, `id` and `from` of events; `Containers` of listed networks; no `Health` in the list of containers; the old `system/df` |
//! | 1.52 | both forms of `system/df` |
//!
//! Versions that only added (query parameters, endpoints, fields of Swarm) are not in it.

use serde::Serialize;
use serde_json::{Value, json};

use crate::container::{Container, CreateBody, network};
use crate::error::Refused;
use crate::version::ApiVersion;

fn value(answer: &impl Serialize) -> Value {
    // Only maps whose keys are no strings fail, and there are none.
    serde_json::to_value(answer).unwrap_or_default()
}

pub(crate) fn add(object: &mut Value, fields: Value) {
    if let (Some(object), Value::Object(fields)) = (object.as_object_mut(), fields) {
        for (name, value) in fields {
            object.entry(name).or_insert(value);
        }
    }
}

/// `GET /containers/{id}/json`
#[must_use]
pub fn container(answer: &Container, version: ApiVersion) -> Value {
    let mut shown = value(answer);
    if version.before(45) {
        // The short id and the host name were aliases, in networks of the user's own.
        let also = [answer.id.get(..12).unwrap_or(&answer.id), &answer.config.hostname];
        if let Some(all) = shown["NetworkSettings"]["Networks"].as_object_mut() {
            for (_, place) in all.iter_mut().filter(|(name, _)| is_users_own(name)) {
                alias(place, &also);
            }
        }
    }
    if version.before(52) {
        add(&mut shown["Config"], json!({ "OnBuild": null }));
        add(&mut shown["NetworkSettings"], legacy_network(answer));
        let mac = &answer.config.mac_address;
        if !mac.is_empty() {
            add(&mut shown["Config"], json!({ "MacAddress": mac }));
        }
    }
    shown
}

/// Neither one of the three that are always there nor another container's.
fn is_users_own(network: &str) -> bool {
    !["bridge", "host", "none", "default", ""].contains(&network)
        && !network.starts_with("container:")
}

fn alias(place: &mut Value, also: &[&str]) {
    let mut all: Vec<Value> = place["Aliases"].as_array().cloned().unwrap_or_default();
    for name in also {
        if !name.is_empty() && !all.iter().any(|other| other == name) {
            all.push((*name).into());
        }
    }
    place["Aliases"] = all.into();
}

/// What stood on the top level of `NetworkSettings` until 1.51: the default bridge's, and fields
/// that were never set.
fn legacy_network(answer: &Container) -> Value {
    let place = answer.network_settings.networks.get(network::DEFAULT).cloned().unwrap_or_default();
    json!({
        "Bridge": "",
        "HairpinMode": false,
        "LinkLocalIPv6Address": "",
        "LinkLocalIPv6PrefixLen": 0,
        "SecondaryIPAddresses": null,
        "SecondaryIPv6Addresses": null,
        "EndpointID": place.endpoint_id,
        "Gateway": place.gateway,
        "GlobalIPv6Address": place.global_ipv6_address,
        "GlobalIPv6PrefixLen": place.global_ipv6_prefix_len,
        "IPAddress": place.ip_address,
        "IPPrefixLen": place.ip_prefix_len,
        "IPv6Gateway": place.ipv6_gateway,
        "MacAddress": place.mac_address,
    })
}

/// One container of `GET /containers/json`.
#[must_use]
pub fn container_summary(answer: &crate::container::Summary, version: ApiVersion) -> Value {
    let mut shown = value(answer);
    if let Some(fields) = shown.as_object_mut().filter(|_| version.before(52)) {
        fields.remove("Health");
    }
    shown
}

/// `POST /containers/create`: the body as its version means it, and what Docker warns of.
///
/// # Errors
/// What the version did not have and Docker refuses rather than ignores.
pub fn create(body: &mut CreateBody, version: ApiVersion) -> Result<Vec<String>, Refused> {
    let host = &mut body.host_config;
    // The client removed the container.
    host.auto_remove &= !version.before(25);
    if version.before(40) && host.ipc_mode.is_empty() {
        host.ipc_mode = "shareable".into();
    }
    if version.before(40) {
        host.kernel_memory_tcp = 0;
    }
    if version.before(43) {
        host.annotations.clear();
    }
    if !version.before(42) {
        host.kernel_memory = 0;
    }
    if !version.before(52) {
        host.kernel_memory_tcp = 0;
    }
    mounts(body, version)?;
    if let Some(check) = body.config.healthcheck.as_mut().filter(|_| version.before(44)) {
        check.start_interval = 0;
    }
    let endpoints = &mut body.networking_config.endpoints_config;
    if version.before(44) && endpoints.len() > 1 {
        let names: Vec<&str> = endpoints.keys().map(String::as_str).collect();
        return Err(Refused::Invalid(format!(
            "Container cannot be created with multiple network endpoints: {}",
            names.join(", ")
        )));
    }
    for endpoint in endpoints.values_mut().flatten().filter(|_| version.before(48)) {
        endpoint.gw_priority = 0;
    }
    let mut warnings: Vec<String> = volume_driver(body, version).into_iter().collect();
    warnings.extend(mac_address(body, version)?);
    warnings.extend(empty_bindings(body, version));
    Ok(warnings)
}

fn mounts(body: &mut CreateBody, version: ApiVersion) -> Result<(), Refused> {
    for mount in &mut body.host_config.mounts {
        if version.before(42) {
            // Not checked then.
            mount.volume_options.take_if(|_| mount.r#type != "volume");
            mount.tmpfs_options.take_if(|_| mount.r#type != "tmpfs");
        }
        if let Some(options) = &mut mount.bind_options {
            options.non_recursive &= !version.before(40);
            options.create_mountpoint &= !version.before(42);
            if version.before(44) && options.read_only_force_recursive {
                return needs("BindOptions.ReadOnlyForceRecursive", 44);
            }
        }
        let subpath = mount.volume_options.as_ref().is_some_and(|o| !o.subpath.is_empty());
        if version.before(45) && subpath {
            return needs("VolumeOptions.Subpath", 45);
        }
        if version.before(48) && mount.r#type == "image" {
            return needs("Mount type \"Image\"", 48);
        }
        // Read-only was for the top mount only.
        if version.before(44) && mount.r#type == "bind" && mount.read_only {
            let options = mount.bind_options.get_or_insert_default();
            options.read_only_non_recursive = !options.non_recursive;
        }
    }
    Ok(())
}

fn needs(what: &str, minor: u16) -> Result<(), Refused> {
    Err(Refused::Invalid(format!("{what} needs API v{} or newer", ApiVersion::v1(minor))))
}

fn volume_driver(body: &CreateBody, version: ApiVersion) -> Option<String> {
    let host = &body.host_config;
    let unnamed = |mount: &crate::container::mount::Mount| {
        let options = mount.volume_options.as_ref();
        let driver = options.and_then(|options| options.driver_config.as_ref());
        mount.r#type == "volume" && driver.is_none_or(|driver| driver.name.is_empty())
    };
    (!version.before(48) && !host.volume_driver.is_empty() && host.mounts.iter().any(unnamed))
        .then(|| {
            "WARNING: the container-wide volume-driver configuration is ignored for volumes specified via 'mount'. Use '--mount type=volume,volume-driver=...' instead".into()
        })
}

/// `Config.MacAddress` becomes the main network's, as long as the version had it.
fn mac_address(body: &mut CreateBody, version: ApiVersion) -> Result<Option<String>, Refused> {
    let mac = std::mem::take(&mut body.config.mac_address);
    let endpoints = &mut body.networking_config.endpoints_config;
    if version.before(44) && mac.is_empty() {
        for endpoint in endpoints.values_mut().flatten() {
            endpoint.mac_address.clear();
        }
    }
    // From 1.52 on Docker does not know the field.
    if mac.is_empty() || !version.before(52) {
        return Ok(None);
    }
    let main = network::name(&body.host_config.network_mode).to_owned();
    if main == "bridge" || is_users_own(&main) {
        let key = endpoints.keys().find(|key| network::name(key) == main).cloned();
        // What is configured is all that the container gets, whatever its mode says.
        let Some(key) = key.or_else(|| endpoints.is_empty().then(|| main.clone())) else {
            return Err(Refused::Invalid(format!(
                "unable to migrate container-wide MAC address to a specific network: the container is not in its main network `{main}`"
            )));
        };
        let endpoint = endpoints.entry(key).or_default().get_or_insert_default();
        if !version.before(44) && !["", &mac].contains(&endpoint.mac_address.as_str()) {
            return Err(Refused::Invalid(
                "the container-wide MAC address must match the endpoint-specific MAC address for the main network, or be left empty".into(),
            ));
        }
        endpoint.mac_address = mac;
    } else if version.before(44) {
        return Err(Refused::Invalid(
            "conflicting options: mac-address and the network mode".into(),
        ));
    }
    Ok((!version.before(44)).then(|| {
        "The container-wide MacAddress field is now deprecated. It should be specified in EndpointsConfig instead.".into()
    }))
}

/// Backfilled (see `container::port`), which Docker warns of since 1.52.
fn empty_bindings(body: &CreateBody, version: ApiVersion) -> Option<String> {
    let empty = |list: &Option<Vec<_>>| list.as_ref().is_none_or(Vec::is_empty);
    let ports: Vec<&str> = body
        .host_config
        .port_bindings
        .iter()
        .filter(|(_, list)| empty(list))
        .map(|(port, _)| port.as_str())
        .collect();
    (!version.before(52) && !ports.is_empty()).then(|| {
        format!(
            "Following container port(s) have an empty list of port-bindings: {}. Such bindings will be discarded in a future version.",
            ports.join(", ")
        )
    })
}
