//! Volumes.

use linkspan_proto::v1 as wire;
use serde::{Deserialize, Serialize};

use crate::error::Refused;
use crate::{Pairs, pairs, time};

/// Where a volume can be used; there are no others.
pub const SCOPE: &str = "local";

/// `GET /volumes/{name}`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Volume {
    pub created_at: String,
    pub driver: String,
    pub labels: Option<Pairs>,
    pub mountpoint: String,
    pub name: String,
    pub options: Option<Pairs>,
    pub scope: &'static str,
    /// In `GET /system/df` only.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub usage_data: Option<Usage>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Usage {
    /// -1: not known.
    pub size: i64,
    pub ref_count: i64,
}

impl From<&wire::Volume> for Volume {
    fn from(volume: &wire::Volume) -> Self {
        let some = |map| Some(pairs(map)).filter(|map| !map.is_empty());
        Self {
            created_at: time::rfc3339(whole_seconds(volume.created_unix_nanos)),
            driver: volume.driver.clone(),
            labels: some(&volume.labels),
            mountpoint: volume.mountpoint.clone(),
            name: volume.name.clone(),
            options: some(&volume.options),
            scope: SCOPE,
            usage_data: None,
        }
    }
}

/// Docker shows those of volumes without decimals (`time.RFC3339`), all others with them.
fn whole_seconds(unix_nanos: i64) -> i64 {
    unix_nanos.div_euclid(1_000_000_000) * 1_000_000_000
}

impl From<&wire::VolumeUsage> for Volume {
    fn from(usage: &wire::VolumeUsage) -> Self {
        let size = usage.size_bytes.map_or(-1, |size| i64::try_from(size).unwrap_or(i64::MAX));
        let usage_data = Some(Usage { size, ref_count: usage.references.into() });
        Self { usage_data, ..Self::from(&usage.volume.clone().unwrap_or_default()) }
    }
}

/// `GET /volumes`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct List {
    pub volumes: Vec<Volume>,
    pub warnings: Option<Vec<String>>,
}

impl From<&wire::ListVolumesResponse> for List {
    fn from(answer: &wire::ListVolumesResponse) -> Self {
        Self { volumes: answer.volumes.iter().map(Volume::from).collect(), warnings: None }
    }
}

/// `POST /volumes/create`
#[derive(Debug, Clone, Default, PartialEq, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct CreateBody {
    pub name: String,
    pub driver: String,
    pub driver_opts: Pairs,
    pub labels: Pairs,
    pub cluster_volume_spec: Option<serde_json::Value>,
}

impl CreateBody {
    /// For the engine.
    ///
    /// # Errors
    /// Volumes of a cluster.
    pub fn request(self) -> Result<wire::CreateVolumeRequest, Refused> {
        let Self { name, driver, driver_opts, labels, cluster_volume_spec } = self;
        if cluster_volume_spec.is_some() {
            let (field, why) = ("ClusterVolumeSpec", "there is no Swarm");
            return Err(Refused::Unsupported { field, why });
        }
        Ok(wire::CreateVolumeRequest {
            name,
            driver,
            options: driver_opts.into_iter().collect(),
            labels: labels.into_iter().collect(),
        })
    }
}

/// `POST /volumes/prune`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Pruned {
    /// Never null, unlike in the answers of the other prunes.
    pub volumes_deleted: Vec<String>,
    pub space_reclaimed: u64,
}

impl From<wire::PruneVolumesResponse> for Pruned {
    fn from(answer: wire::PruneVolumesResponse) -> Self {
        Self { volumes_deleted: answer.removed, space_reclaimed: answer.reclaimed_bytes }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{json, to_value};

    use super::*;

    #[test]
    fn volumes_have_dockers_shape() {
        let volume =
            wire::Volume { name: "data".into(), driver: "local".into(), ..wire::Volume::default() };
        let mut expected = json!({
            "CreatedAt": "0001-01-01T00:00:00Z", "Driver": "local", "Labels": null,
            "Mountpoint": "", "Name": "data", "Options": null, "Scope": "local",
        });
        assert_eq!(to_value(Volume::from(&volume)).unwrap(), expected);
        let list = wire::ListVolumesResponse { volumes: vec![volume.clone()] };
        let list = to_value(List::from(&list)).unwrap();
        assert_eq!(list, json!({"Volumes": [expected.clone()], "Warnings": null}));
        let usage = wire::VolumeUsage { volume: Some(volume), size_bytes: None, references: 2 };
        expected["UsageData"] = json!({"Size": -1, "RefCount": 2});
        assert_eq!(to_value(Volume::from(&usage)).unwrap(), expected);
        let nothing = Pruned::from(wire::PruneVolumesResponse::default());
        assert_eq!(to_value(nothing).unwrap(), json!({"VolumesDeleted": [], "SpaceReclaimed": 0}));
    }

    #[test]
    fn a_volume_is_made_as_asked() {
        let body = json!({"Name": "data", "Driver": "local", "DriverOpts": {"type": "tmpfs"}, "Labels": null});
        let request = crate::json::from_value::<CreateBody>(body).unwrap().request().unwrap();
        assert_eq!((request.name.as_str(), request.options["type"].as_str()), ("data", "tmpfs"));
        let body: CreateBody = crate::json::from_value(json!({"ClusterVolumeSpec": {}})).unwrap();
        assert!(body.request().is_err());
    }
}
