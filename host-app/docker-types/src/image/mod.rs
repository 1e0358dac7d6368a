//! Images: lists, details, history, what was removed, what a registry says, progress.

pub mod inspect;
pub mod progress;

use linkspan_proto::v1 as wire;
use serde::Serialize;
use serde_json::{Value, json};

use crate::version::ApiVersion;
use crate::{Pairs, pairs, some};

/// One of `GET /images/json`.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Summary {
    pub id: String,
    pub parent_id: &'static str,
    pub repo_tags: Vec<String>,
    pub repo_digests: Vec<String>,
    /// Seconds since the Unix epoch.
    pub created: i64,
    pub size: u64,
    /// -1: not measured.
    pub shared_size: i64,
    pub labels: Option<Pairs>,
    pub containers: i64,
}

impl Summary {
    /// `shared_bytes`: where it was asked for.
    #[must_use]
    pub fn new(image: &wire::ImageSummary, shared_bytes: Option<u64>) -> Self {
        let labels = pairs(&image.labels);
        Self {
            id: image.id.clone(),
            parent_id: "",
            repo_tags: image.tags.clone(),
            repo_digests: image.digests.clone(),
            created: image.created_unix_nanos.div_euclid(1_000_000_000),
            size: image.size_bytes,
            shared_size: shared_bytes.map_or(-1, |bytes| i64::try_from(bytes).unwrap_or(i64::MAX)),
            labels: (!labels.is_empty()).then_some(labels),
            containers: image.containers.into(),
        }
    }

    /// As a version of the API has it.
    #[must_use]
    pub fn at(&self, version: ApiVersion) -> Value {
        let mut shown = serde_json::to_value(self).unwrap_or_default();
        if version.before(51) {
            shown["Containers"] = json!(-1);
        }
        if version.before(44) {
            shown["VirtualSize"] = json!(self.size);
        }
        if version.before(43) && self.repo_tags.is_empty() && self.repo_digests.is_empty() {
            shown["RepoTags"] = json!(["<none>:<none>"]);
            shown["RepoDigests"] = json!(["<none>@<none>"]);
        }
        shown
    }
}

/// One of `GET /images/{name}/history`, the newest first.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct HistoryStep {
    pub id: String,
    pub created: i64,
    pub created_by: String,
    pub tags: Option<Vec<String>>,
    pub size: u64,
    pub comment: String,
}

/// The steps of an image. Only the last is the image itself. `sizes`: of the layers, base first, as
/// far as they are known; a step without a layer has none.
#[must_use]
pub fn history(image: &wire::ImageDetail, sizes: &[u64]) -> Vec<HistoryStep> {
    let summary = image.summary.clone().unwrap_or_default();
    let mut sizes = sizes.iter();
    let mut steps: Vec<HistoryStep> = image
        .history
        .iter()
        .map(|step| HistoryStep {
            id: "<missing>".into(),
            created: step.created_unix_nanos.div_euclid(1_000_000_000),
            created_by: step.created_by.clone(),
            tags: None,
            size: if step.empty_layer { 0 } else { sizes.next().copied().unwrap_or(0) },
            comment: step.comment.clone(),
        })
        .collect();
    steps.reverse();
    if let Some(newest) = steps.first_mut() {
        newest.id = summary.id;
        newest.tags = some(&summary.tags);
    }
    steps
}

/// One of `DELETE /images/{name}` and of a prune's report.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub enum Deleted {
    Untagged(String),
    Deleted(String),
}

fn deleted(untagged: &[String], ids: &[String]) -> Vec<Deleted> {
    let untagged = untagged.iter().cloned().map(Deleted::Untagged);
    untagged.chain(ids.iter().cloned().map(Deleted::Deleted)).collect()
}

/// `DELETE /images/{name}`
#[must_use]
pub fn removed(answer: &wire::RemoveImageResponse) -> Vec<Deleted> {
    deleted(&answer.untagged, &answer.deleted)
}

/// `POST /images/prune`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Pruned {
    pub images_deleted: Option<Vec<Deleted>>,
    pub space_reclaimed: u64,
}

impl From<&wire::PruneImagesResponse> for Pruned {
    fn from(answer: &wire::PruneImagesResponse) -> Self {
        Self {
            images_deleted: some(&deleted(&answer.untagged, &answer.deleted)),
            space_reclaimed: answer.reclaimed_bytes,
        }
    }
}

/// One of `GET /images/search`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Found {
    pub star_count: u64,
    pub is_official: bool,
    pub name: String,
    pub is_automated: bool,
    pub description: String,
}

impl From<&wire::FoundImage> for Found {
    fn from(image: &wire::FoundImage) -> Self {
        Self {
            star_count: image.stars,
            is_official: image.official,
            name: image.name.clone(),
            is_automated: image.automated,
            description: image.description.clone(),
        }
    }
}

/// `GET /distribution/{name}/json`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Distribution {
    pub descriptor: Descriptor,
    pub platforms: Vec<Platform>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
#[allow(missing_docs, reason = "the fields are OCI's")]
pub struct Descriptor {
    pub media_type: String,
    pub digest: String,
    pub size: u64,
}

/// Also a query's `platform`, as JSON.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, serde::Deserialize)]
#[serde(default)]
#[allow(missing_docs, reason = "the fields are OCI's")]
pub struct Platform {
    pub architecture: String,
    pub os: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
}

impl Platform {
    /// From `os/architecture[/variant]`.
    #[must_use]
    pub fn read(text: &str) -> Self {
        let mut parts = text.split('/').map(str::to_owned);
        let mut next = || parts.next().unwrap_or_default();
        let (os, architecture, variant) = (next(), next(), next());
        Self { architecture, os, variant }
    }

    /// What an image is for, with its variant and without, as text.
    #[must_use]
    pub fn of(image: &wire::ImageDetail) -> [String; 2] {
        let whole = Self {
            architecture: image.architecture.clone(),
            os: image.os.clone(),
            variant: image.variant.clone(),
        };
        let any_variant = Self { variant: String::new(), ..whole.clone() };
        [whole.to_string(), any_variant.to_string()]
    }
}

/// `os/architecture[/variant]`
impl std::fmt::Display for Platform {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.os, self.architecture)?;
        if self.variant.is_empty() { Ok(()) } else { write!(f, "/{}", self.variant) }
    }
}

impl From<&wire::DistributionResponse> for Distribution {
    fn from(answer: &wire::DistributionResponse) -> Self {
        Self {
            descriptor: Descriptor {
                media_type: answer.media_type.clone(),
                digest: answer.digest.clone(),
                size: answer.size,
            },
            platforms: answer.platforms.iter().map(|text| Platform::read(text)).collect(),
        }
    }
}

/// `POST /auth`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct LoginAnswer {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub identity_token: String,
    pub status: String,
}

impl From<wire::LoginResponse> for LoginAnswer {
    fn from(answer: wire::LoginResponse) -> Self {
        Self { identity_token: answer.identity_token, status: answer.status }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::to_value;

    use super::*;

    #[test]
    fn an_image_of_the_list_has_its_versions_shape() {
        let image = wire::ImageSummary {
            id: "sha256:1".into(),
            created_unix_nanos: 1_500_000_000,
            size_bytes: 7,
            containers: 2,
            ..wire::ImageSummary::default()
        };
        let image = Summary::new(&image, None);
        let newest = json!({
            "Id": "sha256:1", "ParentId": "", "RepoTags": [], "RepoDigests": [], "Created": 1,
            "Size": 7, "SharedSize": -1, "Labels": null, "Containers": 2,
        });
        assert_eq!(image.at(ApiVersion::MAX), newest);
        assert_eq!(image.at(ApiVersion::v1(50))["Containers"], -1);
        let old = image.at(ApiVersion::v1(42));
        assert_eq!((&old["VirtualSize"], &old["RepoTags"]), (&json!(7), &json!(["<none>:<none>"])));
    }

    #[test]
    fn the_newest_step_of_a_history_is_the_image() {
        let step = |created_by: &str, empty_layer| wire::ImageHistory {
            created_by: created_by.into(),
            empty_layer,
            ..wire::ImageHistory::default()
        };
        let image = wire::ImageDetail {
            summary: Some(wire::ImageSummary {
                id: "sha256:1".into(),
                tags: vec!["a:1".into()],
                ..wire::ImageSummary::default()
            }),
            history: vec![step("ADD", false), step("ENV", true), step("RUN", false)],
            ..wire::ImageDetail::default()
        };
        let shown = to_value(history(&image, &[5, 6])).unwrap();
        assert_eq!(
            shown[0],
            json!({"Id": "sha256:1", "Created": 0, "CreatedBy": "RUN",
            "Tags": ["a:1"], "Size": 6, "Comment": ""})
        );
        assert_eq!((&shown[1]["Size"], &shown[2]["Size"]), (&json!(0), &json!(5)));
        assert_eq!((&shown[2]["Id"], &shown[2]["Tags"]), (&json!("<missing>"), &json!(null)));
    }

    #[test]
    fn what_is_removed_is_said_one_by_one() {
        let answer = wire::RemoveImageResponse {
            untagged: vec!["a:1".into()],
            deleted: vec!["sha256:1".into()],
        };
        let expected = json!([{"Untagged": "a:1"}, {"Deleted": "sha256:1"}]);
        assert_eq!(to_value(removed(&answer)).unwrap(), expected);
        let nothing = Pruned::from(&wire::PruneImagesResponse::default());
        assert_eq!(to_value(nothing).unwrap(), json!({"ImagesDeleted": null, "SpaceReclaimed": 0}));
    }

    #[test]
    fn platforms_are_read_and_written_alike() {
        for text in ["linux/amd64", "linux/arm/v7"] {
            assert_eq!(Platform::read(text).to_string(), text);
        }
        let shown = to_value(Platform::read("linux/amd64")).unwrap();
        assert_eq!(shown, json!({"architecture": "amd64", "os": "linux"}));
    }
}
