//! `GET /containers/{id}/json`, as the newest version of the API has it.
//!
//! Not there, because there is nothing of the kind: the labels of SELinux and the profile of
//! AppArmor are empty as on any host without them; `MergedDir` of the overlay exists in the
//! container's own mount namespace only.

use linkspan_proto::v1::ContainerDetail;
use serde::Serialize;

use super::config::Config;
use super::host_config::HostConfig;
use super::mount::MountPoint;
use super::network::{self, Settings};
use super::port;
use super::state::State;
use crate::time;

/// The name of the storage driver.
pub const DRIVER: &str = "overlay2";

/// An inspected container.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Container {
    pub id: String,
    pub created: String,
    pub path: String,
    pub args: Vec<String>,
    pub state: State,
    pub image: String,
    pub resolv_conf_path: String,
    pub hostname_path: String,
    pub hosts_path: String,
    pub log_path: String,
    pub name: String,
    pub restart_count: u32,
    pub driver: &'static str,
    pub platform: &'static str,
    pub mount_label: &'static str,
    pub process_label: &'static str,
    pub app_armor_profile: &'static str,
    /// Null: none.
    #[serde(rename = "ExecIDs")]
    pub exec_ids: Option<Vec<String>>,
    pub host_config: HostConfig,
    pub graph_driver: GraphDriver,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_rw: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub size_root_fs: Option<u64>,
    pub mounts: Vec<MountPoint>,
    pub config: Config,
    pub network_settings: Settings,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct GraphDriver {
    pub data: GraphData,
    pub name: &'static str,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct GraphData {
    /// The topmost first, as overlayfs has them.
    pub lower_dir: String,
    pub upper_dir: String,
}

impl From<&ContainerDetail> for Container {
    fn from(detail: &ContainerDetail) -> Self {
        let summary = detail.summary.clone().unwrap_or_default();
        let (path, args) = match summary.command.split_first() {
            Some((path, args)) => (path.clone(), args.to_vec()),
            None => (String::new(), Vec::new()),
        };
        let asked = detail.config.as_ref().and_then(|config| config.network.as_ref());
        let lower: Vec<&str> = detail.rootfs_lower_dirs.iter().rev().map(String::as_str).collect();
        let data =
            GraphData { lower_dir: lower.join(":"), upper_dir: detail.rootfs_upper_dir.clone() };
        Self {
            id: summary.id.clone(),
            created: time::rfc3339(summary.created_unix_nanos),
            path,
            args,
            state: detail.into(),
            image: summary.image_id.clone(),
            resolv_conf_path: detail.resolv_conf_path.clone(),
            hostname_path: detail.hostname_path.clone(),
            hosts_path: detail.hosts_path.clone(),
            log_path: detail.log_path.clone(),
            name: format!("/{}", summary.name),
            restart_count: detail.restart_count,
            driver: DRIVER,
            platform: "linux",
            mount_label: "",
            process_label: "",
            app_armor_profile: "",
            exec_ids: None,
            host_config: detail.into(),
            graph_driver: GraphDriver { data, name: DRIVER },
            size_rw: summary.size.map(|size| size.rw_bytes),
            size_root_fs: summary.size.map(|size| size.root_fs_bytes),
            mounts: detail.mounts.iter().map(MountPoint::from).collect(),
            config: detail.into(),
            network_settings: Settings {
                sandbox_id: String::new(),
                sandbox_key: String::new(),
                ports: port::map(&summary),
                networks: network::places(&summary, asked, &detail.endpoints),
            },
        }
    }
}
