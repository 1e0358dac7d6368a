//! `GET /images/{name}/json`, as the newest version of the API has it.

use linkspan_proto::v1::ImageDetail;
use serde::Serialize;
use serde_json::{Map, Value, json};

use crate::version::ApiVersion;
use crate::{Pairs, Set, is_zero, pairs, set, time};

/// An inspected image.
#[derive(Debug, Clone, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Image {
    pub id: String,
    pub repo_tags: Vec<String>,
    pub repo_digests: Vec<String>,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub comment: String,
    /// Empty: the configuration does not say.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub created: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub author: String,
    pub config: Config,
    pub architecture: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub variant: String,
    pub os: String,
    pub size: u64,
    #[serde(rename = "RootFS")]
    pub root_fs: RootFs,
    pub metadata: Metadata,
}

/// `dockerspec.DockerOCIImageConfig`: what is not there is left out.
#[derive(Debug, Clone, Default, PartialEq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Config {
    #[serde(skip_serializing_if = "is_zero")]
    pub user: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub exposed_ports: Set,
    #[serde(skip_serializing_if = "is_zero")]
    pub env: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub entrypoint: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub cmd: Vec<String>,
    #[serde(skip_serializing_if = "is_zero")]
    pub volumes: Set,
    #[serde(skip_serializing_if = "is_zero")]
    pub working_dir: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub labels: Pairs,
    #[serde(skip_serializing_if = "is_zero")]
    pub stop_signal: String,
    /// `Healthcheck`, `OnBuild`, `Shell`, `ArgsEscaped` as the configuration has them.
    #[serde(flatten)]
    pub more: Map<String, Value>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct RootFs {
    pub r#type: &'static str,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub layers: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Metadata {
    /// Not kept.
    pub last_tag_time: &'static str,
}

impl From<&ImageDetail> for Image {
    fn from(detail: &ImageDetail) -> Self {
        let summary = detail.summary.clone().unwrap_or_default();
        Self {
            id: summary.id.clone(),
            repo_tags: summary.tags.clone(),
            repo_digests: summary.digests.clone(),
            comment: detail.history.last().map(|step| step.comment.clone()).unwrap_or_default(),
            created: match summary.created_unix_nanos {
                0 => String::new(),
                nanos => time::rfc3339(nanos),
            },
            author: detail.author.clone(),
            config: Config {
                user: detail.user.clone(),
                exposed_ports: set(&detail.exposed_ports),
                env: detail.env.clone(),
                entrypoint: detail.entrypoint.clone(),
                cmd: detail.command.clone(),
                volumes: set(&detail.volumes),
                working_dir: detail.working_dir.clone(),
                labels: pairs(&summary.labels),
                stop_signal: detail.stop_signal.clone(),
                more: more(&detail.config_json),
            },
            architecture: detail.architecture.clone(),
            variant: detail.variant.clone(),
            os: detail.os.clone(),
            size: summary.size_bytes,
            root_fs: RootFs { r#type: "layers", layers: detail.diff_ids.clone() },
            metadata: Metadata { last_tag_time: time::ZERO },
        }
    }
}

/// What the configuration blob has and the contract does not name.
fn more(blob: &[u8]) -> Map<String, Value> {
    let blob: Value = serde_json::from_slice(blob).unwrap_or_default();
    let field = |name: &str| {
        let value = blob["config"].get(name).filter(|value| !value.is_null())?;
        Some((name.to_owned(), value.clone()))
    };
    ["Healthcheck", "OnBuild", "Shell", "ArgsEscaped"].into_iter().filter_map(field).collect()
}

impl Image {
    /// As a version of the API has it.
    #[must_use]
    pub fn at(&self, version: ApiVersion) -> Value {
        let mut shown = serde_json::to_value(self).unwrap_or_default();
        if version.before(52) {
            let always = json!({
                "Parent": "", "Comment": "", "DockerVersion": "", "Author": "",
                "GraphDriver": {"Data": null, "Name": crate::container::inspect::DRIVER},
            });
            crate::compat::add(&mut shown, always);
            let config = json!({
                "Cmd": null, "Entrypoint": null, "Env": null, "Labels": null, "OnBuild": null,
                "User": "", "Volumes": null, "WorkingDir": "",
            });
            crate::compat::add(&mut shown["Config"], config);
        }
        if version.before(50) {
            let containers = json!({
                "AttachStderr": false, "AttachStdin": false, "AttachStdout": false,
                "Domainname": "", "Hostname": "", "Image": "", "OpenStdin": false,
                "StdinOnce": false, "Tty": false,
            });
            crate::compat::add(&mut shown["Config"], containers);
        }
        if version.before(44) {
            let size = json!({ "VirtualSize": self.size, "Created": time::ZERO });
            crate::compat::add(&mut shown, size);
        }
        shown
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_image_has_its_versions_shape() {
        let detail = ImageDetail {
            exposed_ports: vec!["80/tcp".into()],
            diff_ids: vec!["sha256:2".into()],
            os: "linux".into(),
            architecture: "amd64".into(),
            config_json:
                r#"{"config":{"Healthcheck":{"Test":["NONE"]},"OnBuild":["RUN x"],"Shell":null}}"#
                    .into(),
            ..ImageDetail::default()
        };
        let image = Image::from(&detail);
        assert_eq!(
            image.at(ApiVersion::MAX),
            json!({
                "Id": "", "RepoTags": [], "RepoDigests": [], "Architecture": "amd64", "Os": "linux",
                "Size": 0, "RootFS": {"Type": "layers", "Layers": ["sha256:2"]},
                "Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"},
                "Config": {"ExposedPorts": {"80/tcp": {}}, "Healthcheck": {"Test": ["NONE"]},
                    "OnBuild": ["RUN x"]},
            })
        );
        let old = image.at(ApiVersion::v1(51));
        assert_eq!((&old["Parent"], &old["Config"]["Cmd"]), (&json!(""), &json!(null)));
        assert_eq!(old["Config"]["OnBuild"], json!(["RUN x"]));
        assert_eq!(old["Config"].get("Hostname"), None);
        let old = image.at(ApiVersion::v1(43));
        assert_eq!((&old["Config"]["Hostname"], &old["VirtualSize"]), (&json!(""), &json!(0)));
        assert_eq!(old["Created"], time::ZERO);
        assert_eq!(image.at(ApiVersion::v1(44)).get("Created"), None);
    }
}
