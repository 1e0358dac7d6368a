//! The documents that tie an archive together: OCI's index and manifest (image-spec,
//! image-index.md and manifest.md; Docker's schema 2 has the same shape) and Docker's
//! `manifest.json`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::config::or_default;
use crate::digest::Digest;
use crate::error::{Error, Result};
use crate::platform::Platform;

/// The full name, written by containerd and buildkit.
pub(crate) const ANNOTATION_NAME: &str = "io.containerd.image.name";
/// The specification's: a full name or a mere tag, depending on the writer.
pub(crate) const ANNOTATION_REF: &str = "org.opencontainers.image.ref.name";
/// On what buildkit attaches to an image, such as provenance.
const ANNOTATION_REFERENCE_TYPE: &str = "vnd.docker.reference.type";

/// Image-spec, manifest.md.
pub(crate) const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";

/// Points to a blob.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(crate) struct Descriptor {
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) media_type: String,
    pub(crate) digest: Digest,
    /// Bytes of the blob; 0: some writers leave it out.
    #[serde(default)]
    pub(crate) size: u64,
    pub(crate) platform: Option<Platform>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) annotations: BTreeMap<String, String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) artifact_type: String,
}

impl Descriptor {
    /// Not an image but something said about one.
    pub(crate) fn is_attachment(&self) -> bool {
        self.annotations.contains_key(ANNOTATION_REFERENCE_TYPE) || !self.artifact_type.is_empty()
    }
}

/// An index or a manifest: which one shows only inside.
#[derive(Debug)]
pub(crate) enum Document {
    Index(Vec<Descriptor>),
    Manifest { config: Descriptor, layers: Vec<Descriptor> },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct RawDocument {
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
    schema_version: Option<u32>,
    #[serde(default, deserialize_with = "or_default")]
    media_type: String,
}

impl Document {
    /// Reads an index or manifest. `what` names it in errors.
    pub(crate) fn parse(bytes: &[u8], what: &str) -> Result<Self> {
        let raw: RawDocument = serde_json::from_slice(bytes).map_err(|error| {
            Error::corrupt(what, format!("not an image index or manifest: {error}"))
        })?;
        if raw.schema_version == Some(1) {
            return Err(Error::Unsupported {
                what: what.to_owned(),
                why: "Docker's manifest schema 1 is obsolete".to_owned(),
            });
        }
        let claims_index = match &*raw.media_type {
            "" => None,
            kind if kind.contains("index") || kind.contains("manifest.list") => Some(true),
            _ => Some(false),
        };
        match (raw.manifests, raw.config) {
            (Some(manifests), None) if raw.layers.is_none() && claims_index != Some(false) => {
                Ok(Self::Index(manifests))
            }
            (None, Some(config)) if claims_index != Some(true) => {
                Ok(Self::Manifest { config, layers: raw.layers.unwrap_or_default() })
            }
            (Some(_), None) | (None, Some(_)) if claims_index.is_some() => {
                let why = format!("it is not the `{}` that it says it is", raw.media_type);
                Err(Error::corrupt(what, why))
            }
            (None, None) => Err(Error::corrupt(what, "it lists neither manifests nor a config")),
            // Two readers could see two images in it (image-spec, "Ambiguous documents").
            _ => Err(Error::corrupt(what, "it is an index and a manifest at once")),
        }
    }
}

/// What a manifest says that it is: OCI's, unless it names another type (image-spec, manifest.md,
/// leaves the property out).
pub(crate) fn media_type(bytes: &[u8]) -> String {
    #[derive(Default, Deserialize)]
    #[serde(rename_all = "camelCase", default)]
    struct Typed {
        #[serde(deserialize_with = "or_default")]
        media_type: String,
    }
    let typed: Typed = serde_json::from_slice(bytes).unwrap_or_default();
    if typed.media_type.is_empty() {
        return OCI_MANIFEST.to_owned();
    }
    typed.media_type
}

/// One image in Docker's `manifest.json`.
#[derive(Debug, Clone, Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct DockerItem {
    pub(crate) config: String,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) repo_tags: Vec<String>,
    #[serde(default, deserialize_with = "or_default")]
    pub(crate) layers: Vec<String>,
}

/// Reads `manifest.json`.
pub(crate) fn docker_items(bytes: &[u8]) -> Result<Vec<DockerItem>> {
    serde_json::from_slice(bytes)
        .map_err(|error| Error::corrupt("manifest.json", format!("not a list of images: {error}")))
}

/// `repositories`: repository -> tag -> id of the top layer (the archive's folder of that name).
pub(crate) type Repositories = BTreeMap<String, BTreeMap<String, String>>;

#[cfg(test)]
mod tests {
    use super::*;

    const D: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";

    #[test]
    fn a_document_is_an_index_or_a_manifest_and_never_both() {
        let descriptor = format!(r#"{{"digest":"{D}","size":1,"mediaType":"x"}}"#);
        let index = format!(r#"{{"manifests":[{descriptor}]}}"#);
        assert!(matches!(Document::parse(index.as_bytes(), "x").unwrap(), Document::Index(_)));
        let manifest = format!(r#"{{"config":{descriptor},"layers":[{descriptor}]}}"#);
        assert!(matches!(
            Document::parse(manifest.as_bytes(), "x").unwrap(),
            Document::Manifest { .. }
        ));
        for bad in [
            format!(r#"{{"manifests":[{descriptor}],"config":{descriptor},"layers":[]}}"#),
            format!(r#"{{"manifests":[{descriptor}],"layers":[{descriptor}]}}"#),
            "{}".to_owned(),
            "x".to_owned(),
        ] {
            assert!(matches!(Document::parse(bad.as_bytes(), "x"), Err(Error::Corrupt { .. })));
        }
        assert!(matches!(
            Document::parse(br#"{"schemaVersion":1}"#, "x"),
            Err(Error::Unsupported { .. })
        ));
    }
}
