//! `GET /system/df`.

use jiff::Timestamp;
use linkspan_proto::v1 as wire;
use serde::Serialize;
use serde_json::{Map, Value, json};

use super::build_cache::Record;
use crate::container::Summary as Container;
use crate::image::Summary as Image;
use crate::version::ApiVersion;
use crate::volume::Volume;

/// What is asked for: all of it without a `type` in the query.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[allow(missing_docs, reason = "they are Docker's words")]
pub struct Kinds {
    pub containers: bool,
    pub images: bool,
    pub volumes: bool,
    pub build_cache: bool,
}

impl Kinds {
    /// From the `type`s of a query.
    ///
    /// # Errors
    /// In Docker's words, one that is none.
    pub fn read<'a>(
        types: impl IntoIterator<Item = &'a str>,
    ) -> Result<Self, crate::error::Refused> {
        let none = Self { containers: false, images: false, volumes: false, build_cache: false };
        let mut kinds = none;
        for one in types {
            match one {
                "container" => kinds.containers = true,
                "image" => kinds.images = true,
                "volume" => kinds.volumes = true,
                "build-cache" => kinds.build_cache = true,
                other => {
                    let why = format!("unknown object type: {other}");
                    return Err(crate::error::Refused::Invalid(why));
                }
            }
        }
        let all = Self { containers: true, images: true, volumes: true, build_cache: true };
        Ok(if kinds == none { all } else { kinds })
    }
}

/// Of one kind, since 1.52.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
struct Usage {
    #[serde(skip_serializing_if = "crate::is_zero")]
    active_count: u64,
    #[serde(skip_serializing_if = "crate::is_zero")]
    total_count: u64,
    #[serde(skip_serializing_if = "crate::is_zero")]
    reclaimable: u64,
    #[serde(skip_serializing_if = "crate::is_zero")]
    total_size: u64,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    items: Vec<Value>,
}

impl Usage {
    /// Of things that are each active or not, and have a size.
    fn of(all: impl Iterator<Item = (bool, u64)>) -> Self {
        all.fold(Self::default(), |mut usage, (active, size)| {
            usage.total_count += 1;
            usage.active_count += u64::from(active);
            usage.total_size += size;
            usage.reclaimable += if active { 0 } else { size };
            usage
        })
    }
}

/// The answer of a version of the API. `verbose`: with every single thing, where the version does
/// not have them anyway (1.52 and later).
#[must_use]
pub fn answer(
    usage: &wire::DiskUsageResponse,
    builds: &[Record],
    kinds: Kinds,
    verbose: bool,
    now: Timestamp,
    version: ApiVersion,
) -> Value {
    let images: Vec<Value> = usage
        .images
        .iter()
        .map(|image| {
            let summary = image.image.clone().unwrap_or_default();
            let mut shown = Image::new(&summary, Some(image.shared_bytes)).at(version);
            // Which lists leave out before 1.51: Docker's CLI counts by it what is in use.
            shown["Containers"] = json!(summary.containers);
            shown
        })
        .collect();
    let containers: Vec<Value> = usage
        .containers
        .iter()
        .map(|one| crate::compat::container_summary(&Container::new(one, &[], now), version))
        .collect();
    let volumes: Vec<Value> = usage.volumes.iter().map(|one| json!(Volume::from(one))).collect();
    let mut shown = Map::new();
    // 1.52 has both, but for a verbose answer.
    if version.before(52) || (version.before(53) && !verbose) {
        legacy(&mut shown, usage, kinds, [&images, &containers, &volumes]);
        let records = if kinds.build_cache { json!(builds) } else { Value::Null };
        shown.insert("BuildCache".into(), records);
        let size: u64 = builds.iter().map(|record| record.size).sum();
        if version.before(42) && size > 0 {
            shown.insert("BuilderSize".into(), json!(size));
        }
    }
    if !version.before(52) {
        let items = |all: Vec<Value>| if verbose { all } else { Vec::new() };
        let mut add = |wanted: bool, name: &str, usage: Usage| {
            if wanted {
                shown.insert(name.to_owned(), json!(usage));
            }
        };
        add(kinds.images, "ImageUsage", Usage { items: items(images), ..of_images(usage) });
        let of_containers = Usage { items: items(containers), ..of_containers(usage) };
        add(kinds.containers, "ContainerUsage", of_containers);
        add(kinds.volumes, "VolumeUsage", Usage { items: items(volumes), ..of_volumes(usage) });
        let records = builds.iter().map(|record| json!(record)).collect();
        let of_builds = Usage { items: items(records), ..of_builds(builds) };
        add(kinds.build_cache, "BuildCacheUsage", of_builds);
    }
    shown.into()
}

fn legacy(
    shown: &mut Map<String, Value>,
    usage: &wire::DiskUsageResponse,
    kinds: Kinds,
    [images, containers, volumes]: [&Vec<Value>; 3],
) {
    let mut add = |wanted: bool, name: &str, value: Value| {
        if wanted {
            shown.insert(name.to_owned(), value);
        }
    };
    add(true, "LayersSize", json!(if kinds.images { usage.layers_bytes } else { 0 }));
    add(true, "Images", if kinds.images { json!(images) } else { Value::Null });
    add(true, "Containers", if kinds.containers { json!(containers) } else { Value::Null });
    add(true, "Volumes", if kinds.volumes { json!(volumes) } else { Value::Null });
}

fn of_images(usage: &wire::DiskUsageResponse) -> Usage {
    let active = |image: &&wire::ImageUsage| {
        image.image.as_ref().is_some_and(|summary| summary.containers > 0)
    };
    Usage {
        active_count: usage.images.iter().filter(active).count() as u64,
        total_count: usage.images.len() as u64,
        reclaimable: usage.layers_reclaimable_bytes,
        total_size: usage.layers_bytes,
        items: Vec::new(),
    }
}

fn of_containers(usage: &wire::DiskUsageResponse) -> Usage {
    use wire::ContainerState as S;
    Usage::of(usage.containers.iter().map(|one| {
        let active = matches!(one.state(), S::Running | S::Paused | S::Restarting);
        (active, one.size.unwrap_or_default().rw_bytes)
    }))
}

/// What an image has too is not given back by a prune.
fn of_builds(builds: &[Record]) -> Usage {
    let free = builds.iter().filter(|record| !record.in_use && !record.shared);
    Usage {
        active_count: builds.iter().filter(|record| record.in_use).count() as u64,
        total_count: builds.len() as u64,
        reclaimable: free.map(|record| record.size).sum(),
        total_size: builds.iter().map(|record| record.size).sum(),
        items: Vec::new(),
    }
}

fn of_volumes(usage: &wire::DiskUsageResponse) -> Usage {
    Usage::of(usage.volumes.iter().map(|one| (one.references > 0, one.size_bytes.unwrap_or(0))))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn usage_has_its_versions_shape() {
        let volume = wire::VolumeUsage { size_bytes: Some(5), ..wire::VolumeUsage::default() };
        let used = wire::VolumeUsage { references: 1, ..volume.clone() };
        let usage = wire::DiskUsageResponse {
            layers_bytes: 100,
            layers_reclaimable_bytes: 40,
            images: vec![wire::ImageUsage {
                image: Some(wire::ImageSummary { containers: 3, ..Default::default() }),
                ..Default::default()
            }],
            volumes: vec![volume, used],
            ..wire::DiskUsageResponse::default()
        };
        let all = Kinds::read([]).unwrap();
        let shown = |kinds, verbose, minor| {
            let records =
                [Record::from(&wire::BuildRecord { size_bytes: 9, ..Default::default() })];
            let now = Timestamp::UNIX_EPOCH;
            answer(&usage, &records, kinds, verbose, now, ApiVersion::v1(minor))
        };
        let old = shown(all, false, 51);
        assert_eq!((&old["LayersSize"], &old["BuildCache"][0]["Size"]), (&json!(100), &json!(9)));
        assert_eq!(old.get("BuilderSize"), None);
        assert_eq!(shown(all, false, 50)["Images"][0]["Containers"], 3);
        assert_eq!(shown(all, false, 41)["BuilderSize"], 9);
        assert_eq!(old["Volumes"][1]["UsageData"], json!({"Size": 5, "RefCount": 1}));
        assert_eq!(old.get("VolumeUsage"), None);
        let new = shown(all, false, 53);
        assert_eq!(
            new,
            json!({
                "ImageUsage": {"ActiveCount": 1, "TotalCount": 1, "Reclaimable": 40, "TotalSize": 100},
                "ContainerUsage": {},
                "BuildCacheUsage": {"TotalCount": 1, "Reclaimable": 9, "TotalSize": 9},
                "VolumeUsage": {"ActiveCount": 1, "TotalCount": 2, "Reclaimable": 5, "TotalSize": 10},
            })
        );
        let both = shown(all, false, 52);
        assert!(both.get("LayersSize").is_some() && both.get("ImageUsage").is_some());
        let verbose = shown(all, true, 52);
        assert_eq!(verbose.get("LayersSize"), None);
        assert_eq!(verbose["VolumeUsage"]["Items"].as_array().unwrap().len(), 2);
        let some = Kinds::read(["volume"]).unwrap();
        assert_eq!(shown(some, false, 53).as_object().unwrap().len(), 1);
        assert_eq!(shown(some, false, 51)["Images"], Value::Null);
        assert!(Kinds::read(["x"]).is_err());
    }
}
