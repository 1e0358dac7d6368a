//! What `inspect` shows besides the fields of [`super::inspect`]: Docker's other fields, each where
//! Docker has it.
//!
//! Not there, because there is nothing of the kind: the labels of SELinux and the profile of
//! AppArmor are empty as on any host without them; `Links`, `StorageOpt`, `CpuRealtime*`,
//! `MemorySwappiness`, `OomKillDisable` (none in cgroup v2 or with a VM of one's own),
//! `DeviceRequests`, the fields of Windows but for `Isolation`, the network's deprecated fields on
//! the top level, and `MergedDir` of the overlay, which exists in the container's own mount
//! namespace only.

use std::collections::BTreeMap;

use linkspan_proto::v1::{self as wire, ContainerDetail};
use serde::Serialize;
use serde_json::{Value, json};

/// On the top level.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Container {
    resolv_conf_path: String,
    hostname_path: String,
    hosts_path: String,
    mount_label: &'static str,
    process_label: &'static str,
    app_armor_profile: &'static str,
    /// Null: none.
    #[serde(rename = "ExecIDs")]
    exec_ids: Option<Vec<String>>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_rw: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    size_root_fs: Option<u64>,
}

impl From<&ContainerDetail> for Container {
    fn from(detail: &ContainerDetail) -> Self {
        let size = detail.summary.as_ref().and_then(|summary| summary.size);
        Self {
            resolv_conf_path: detail.resolv_conf_path.clone(),
            hostname_path: detail.hostname_path.clone(),
            hosts_path: detail.hosts_path.clone(),
            mount_label: "",
            process_label: "",
            app_armor_profile: "",
            exec_ids: Some(detail.exec_ids.clone()).filter(|ids| !ids.is_empty()),
            size_rw: size.map(|size| size.rw_bytes),
            size_root_fs: size.map(|size| size.root_fs_bytes),
        }
    }
}

/// In `HostConfig`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct HostConfig {
    dns: Vec<String>,
    dns_options: Vec<String>,
    dns_search: Vec<String>,
    extra_hosts: Option<Vec<String>>,
}

impl From<&ContainerDetail> for HostConfig {
    fn from(detail: &ContainerDetail) -> Self {
        let asked = detail.config.clone().unwrap_or_default();
        let network = asked.network.unwrap_or_default();
        Self {
            dns: network.dns_servers,
            dns_options: network.dns_options,
            dns_search: network.dns_search,
            extra_hosts: Some(network.extra_hosts).filter(|hosts| !hosts.is_empty()),
        }
    }
}

/// In `Config`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Config {
    attach_stdin: bool,
    attach_stdout: bool,
    attach_stderr: bool,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    exposed_ports: BTreeMap<String, Value>,
    volumes: Option<BTreeMap<String, Value>>,
}

impl From<&ContainerDetail> for Config {
    fn from(detail: &ContainerDetail) -> Self {
        let summary = detail.summary.clone().unwrap_or_default();
        let asked = detail.config.clone().unwrap_or_default();
        let set = |names: Vec<String>| -> BTreeMap<String, Value> {
            names.into_iter().map(|name| (name, json!({}))).collect()
        };
        let anonymous = asked.mounts.into_iter().filter(|mount| {
            mount.source.is_empty()
                && matches!(mount.r#type(), wire::MountType::Volume | wire::MountType::Unspecified)
        });
        let volumes = set(anonymous.map(|mount| mount.target).collect());
        Self {
            attach_stdin: asked.attach_stdin,
            attach_stdout: asked.attach_stdout,
            attach_stderr: asked.attach_stderr,
            exposed_ports: set(summary.exposed_ports),
            volumes: (!volumes.is_empty()).then_some(volumes),
        }
    }
}

/// In `Config` of an image: what its configuration has and a container does not need to run.
#[derive(Debug, Default, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct ImageConfig {
    #[serde(skip_serializing_if = "Option::is_none")]
    healthcheck: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    on_build: Option<Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    shell: Option<Value>,
}

impl ImageConfig {
    /// From the configuration blob. What is not there is left out.
    pub(crate) fn read(config: &[u8]) -> Self {
        let config: Value = serde_json::from_slice(config).unwrap_or_default();
        let field = |name: &str| config["config"].get(name).filter(|v| !v.is_null()).cloned();
        Self {
            healthcheck: field("Healthcheck"),
            on_build: field("OnBuild"),
            shell: field("Shell"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dockers_other_fields_are_where_docker_has_them() {
        let data = wire::Mount {
            r#type: wire::MountType::Volume.into(),
            source: "data".into(),
            target: "/data".into(),
            read_only: true,
            ..wire::Mount::default()
        };
        let anonymous = wire::Mount { target: "/own".into(), ..wire::Mount::default() };
        let detail = ContainerDetail {
            summary: Some(wire::ContainerSummary {
                exposed_ports: vec!["80/tcp".into()],
                size: Some(wire::ContainerSize { rw_bytes: 5, root_fs_bytes: 9 }),
                ..wire::ContainerSummary::default()
            }),
            config: Some(wire::ContainerConfig {
                mounts: vec![data, anonymous],
                attach_stderr: true,
                network: Some(wire::ContainerNetworkConfig {
                    dns_servers: vec!["9.9.9.9".into()],
                    ..wire::ContainerNetworkConfig::default()
                }),
                ..wire::ContainerConfig::default()
            }),
            hosts_path: "/c/hosts".into(),
            exec_ids: vec!["5a".into()],
            ..ContainerDetail::default()
        };
        let whole = crate::render::inspect::Container::from(&detail);
        let value = serde_json::to_value(whole).expect("JSON");
        for (pointer, expected) in [
            ("/HostsPath", json!("/c/hosts")),
            ("/ExecIDs", json!(["5a"])),
            ("/Config/AttachStdin", json!(false)),
            ("/Config/AttachStderr", json!(true)),
            ("/SizeRw", json!(5)),
            ("/SizeRootFs", json!(9)),
            ("/HostConfig/Dns", json!(["9.9.9.9"])),
            ("/HostConfig/ExtraHosts", Value::Null),
            (
                "/HostConfig/Mounts/0",
                json!({"Type": "volume", "Source": "data", "Target": "/data", "ReadOnly": true}),
            ),
            ("/Config/ExposedPorts", json!({"80/tcp": {}})),
            ("/Config/Volumes", json!({"/own": {}})),
        ] {
            assert_eq!(value.pointer(pointer), Some(&expected), "{pointer}");
        }
        let unmeasured = crate::render::inspect::Container::from(&ContainerDetail::default());
        let value = serde_json::to_value(unmeasured).expect("JSON");
        assert_eq!(value.get("SizeRw"), None, "only where it was asked for");
        assert_eq!(value.get("ExecIDs"), Some(&Value::Null));
    }

    #[test]
    fn an_image_shows_its_probe_and_triggers() {
        let config =
            br#"{"config":{"Healthcheck":{"Test":["NONE"]},"OnBuild":["RUN x"],"Shell":null}}"#;
        let value = serde_json::to_value(ImageConfig::read(config)).expect("JSON");
        assert_eq!(value, json!({"Healthcheck": {"Test": ["NONE"]}, "OnBuild": ["RUN x"]}));
        assert_eq!(serde_json::to_value(ImageConfig::read(b"")).expect("JSON"), json!({}));
    }
}
