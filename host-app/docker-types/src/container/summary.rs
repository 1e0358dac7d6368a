//! `GET /containers/json`.

use std::collections::BTreeMap;

use jiff::Timestamp;
use linkspan_proto::v1::{ContainerSummary, NetworkEndpoint};
use serde::Serialize;

use super::mount::MountPoint;
use super::network::{self, EndpointSettings};
use super::port::{self, Port};
use super::state;
use crate::{Pairs, is_zero, pairs};

/// One container of the list.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Summary {
    pub id: String,
    /// Each with a slash before it.
    pub names: Vec<String>,
    pub image: String,
    #[serde(rename = "ImageID")]
    pub image_id: String,
    pub command: String,
    /// Seconds since the Unix epoch.
    pub created: i64,
    pub ports: Vec<Port>,
    #[serde(skip_serializing_if = "is_zero")]
    pub size_rw: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub size_root_fs: u64,
    pub labels: Pairs,
    pub state: &'static str,
    pub status: String,
    pub host_config: SummaryHostConfig,
    pub network_settings: SummaryNetworks,
    pub mounts: Vec<MountPoint>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub health: Option<SummaryHealth>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct SummaryHostConfig {
    pub network_mode: String,
}

#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct SummaryNetworks {
    pub networks: BTreeMap<String, EndpointSettings>,
}

/// Since API 1.52.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct SummaryHealth {
    pub status: String,
    pub failing_streak: u32,
}

impl Summary {
    /// `endpoints`: those of all containers, where the caller has them (`NetworkService.List`);
    /// without them the places have names only.
    #[must_use]
    pub fn new(
        container: &ContainerSummary,
        endpoints: &[NetworkEndpoint],
        now: Timestamp,
    ) -> Self {
        let own: Vec<NetworkEndpoint> =
            endpoints.iter().filter(|one| one.container == container.id).cloned().collect();
        let size = container.size.unwrap_or_default();
        let first = container.networks.first().map_or("", String::as_str);
        Self {
            id: container.id.clone(),
            names: vec![format!("/{}", container.name)],
            image: container.image.clone(),
            image_id: container.image_id.clone(),
            command: command(&container.command),
            created: container.created_unix_nanos.div_euclid(1_000_000_000),
            ports: port::list(container),
            size_rw: size.rw_bytes,
            size_root_fs: size.root_fs_bytes,
            labels: pairs(&container.labels),
            state: state::word(container.state()),
            status: state::status(container, now),
            host_config: SummaryHostConfig { network_mode: network::name(first).to_owned() },
            network_settings: SummaryNetworks { networks: network::places(container, None, &own) },
            mounts: container.mounts.iter().map(MountPoint::from).collect(),
            health: (!container.health.is_empty())
                .then(|| SummaryHealth { status: container.health.clone(), failing_streak: 0 }),
        }
    }
}

/// A command as lists show it: words with a space in them are quoted, the first excepted (moby's
/// `container/view.go`).
#[must_use]
pub fn command(words: &[String]) -> String {
    let quoted = |(index, word): (usize, &String)| match index > 0 && word.contains(' ') {
        true => format!("'{word}'"),
        false => word.clone(),
    };
    words.iter().enumerate().map(quoted).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use linkspan_proto::v1::{ContainerSize, ContainerState};
    use serde_json::json;

    use super::*;

    #[test]
    fn a_container_of_the_list_has_dockers_shape() {
        let container = ContainerSummary {
            id: "abc".into(),
            name: "web".into(),
            image: "busybox".into(),
            image_id: "sha256:1".into(),
            command: ["sh", "-c", "sleep 1"].map(String::from).into(),
            created_unix_nanos: 1_767_225_540_999_999_999,
            state: ContainerState::Running.into(),
            started_unix_nanos: 1_767_225_597_000_000_000,
            networks: vec!["bridge".into()],
            ..ContainerSummary::default()
        };
        let now = Timestamp::from_second(1_767_225_600).unwrap();
        let endpoint = NetworkEndpoint {
            container: "abc".into(),
            network: "bridge".into(),
            ipv4_address: "172.17.0.2/16".into(),
            ..NetworkEndpoint::default()
        };
        let other =
            NetworkEndpoint { container: "def".into(), network: "x".into(), ..endpoint.clone() };
        let mut shown =
            serde_json::to_value(Summary::new(&container, &[endpoint, other], now)).unwrap();
        let networks = shown["NetworkSettings"]["Networks"].take();
        assert_eq!(networks["bridge"]["IPAddress"], "172.17.0.2");
        assert_eq!(networks.as_object().unwrap().len(), 1);
        assert_eq!(
            shown,
            json!({
                "Id": "abc", "Names": ["/web"], "Image": "busybox", "ImageID": "sha256:1",
                "Command": "sh -c 'sleep 1'", "Created": 1_767_225_540, "Ports": [], "Labels": {},
                "State": "running", "Status": "Up 3 seconds",
                "HostConfig": {"NetworkMode": "bridge"}, "NetworkSettings": {"Networks": null},
                "Mounts": [],
            })
        );
        let size = Some(ContainerSize { rw_bytes: 5, root_fs_bytes: 9 });
        let measured = ContainerSummary { size, health: "healthy".into(), ..container };
        let shown = serde_json::to_value(Summary::new(&measured, &[], now)).unwrap();
        assert_eq!((&shown["SizeRw"], &shown["SizeRootFs"]), (&json!(5), &json!(9)));
        assert_eq!(shown["Health"], json!({"Status": "healthy", "FailingStreak": 0}));
    }
}
