//! The documents of a registry: indexes and manifests, OCI's and Docker's (image-spec, and
//! Docker's image manifest version 2, schema 2, which has the same shape).

use std::collections::BTreeMap;

use bytes::Bytes;
use linkspan_images::{Digest, Platform};
use serde::{Deserialize, Deserializer, Serialize};

use crate::error::{Error, Result};

/// OCI's image index.
pub const OCI_INDEX: &str = "application/vnd.oci.image.index.v1+json";
/// OCI's image manifest.
pub const OCI_MANIFEST: &str = "application/vnd.oci.image.manifest.v1+json";
/// Docker's image index.
pub const DOCKER_INDEX: &str = "application/vnd.docker.distribution.manifest.list.v2+json";
/// Docker's image manifest.
pub const DOCKER_MANIFEST: &str = "application/vnd.docker.distribution.manifest.v2+json";
/// The types that a manifest may have, for `Accept`.
pub(crate) const ACCEPTED: &str = "application/vnd.oci.image.index.v1+json, application/vnd.oci.image.manifest.v1+json, application/vnd.docker.distribution.manifest.list.v2+json, application/vnd.docker.distribution.manifest.v2+json";

/// On what buildkit attaches to an image, such as provenance.
const ANNOTATION_REFERENCE_TYPE: &str = "vnd.docker.reference.type";

/// Points to a blob or manifest (image-spec, descriptor.md).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Descriptor {
    /// What it is.
    #[serde(default, deserialize_with = "or_default")]
    pub media_type: String,
    /// Its digest.
    pub digest: Digest,
    /// Its length in bytes.
    pub size: u64,
    /// In an index: what the image runs on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub platform: Option<Platform>,
    /// Anything.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "BTreeMap::is_empty")]
    pub annotations: BTreeMap<String, String>,
    /// Set where it is not an image.
    #[serde(default, deserialize_with = "or_default", skip_serializing_if = "String::is_empty")]
    pub artifact_type: String,
}

fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(
    deserializer: D,
) -> Result<T, D::Error> {
    Option::<T>::deserialize(deserializer).map(Option::unwrap_or_default)
}

impl Descriptor {
    /// A descriptor with no more than these.
    #[must_use]
    pub fn new(media_type: impl Into<String>, digest: Digest, size: u64) -> Self {
        Self {
            media_type: media_type.into(),
            digest,
            size,
            platform: None,
            annotations: BTreeMap::new(),
            artifact_type: String::new(),
        }
    }

    /// Not an image but something said about one.
    #[must_use]
    pub fn is_attachment(&self) -> bool {
        self.annotations.contains_key(ANNOTATION_REFERENCE_TYPE) || !self.artifact_type.is_empty()
    }
}

/// An index or manifest, byte for byte as the registry has it, and read.
#[derive(Debug, Clone)]
pub struct Document {
    /// What the registry says it is.
    pub media_type: String,
    /// The digest of the bytes.
    pub digest: Digest,
    /// The bytes.
    pub bytes: Bytes,
    /// What they say.
    pub content: Content,
}

/// What a [`Document`] says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Content {
    /// Several images.
    Index(Vec<Descriptor>),
    /// One image.
    Image {
        /// Its configuration.
        config: Descriptor,
        /// Its layers, the lowest first.
        layers: Vec<Descriptor>,
    },
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Raw {
    schema_version: Option<u32>,
    #[serde(default)]
    media_type: Option<String>,
    manifests: Option<Vec<Descriptor>>,
    config: Option<Descriptor>,
    layers: Option<Vec<Descriptor>>,
}

impl Document {
    /// Reads a document. `media_type` is from the answer's header and may be empty; `what` names
    /// it in errors.
    pub fn parse(what: &str, media_type: &str, bytes: Bytes) -> Result<Self> {
        let raw: Raw = serde_json::from_slice(&bytes).map_err(|error| {
            Error::corrupt(what, format!("not an image index or manifest: {error}"))
        })?;
        if raw.schema_version == Some(1) {
            return Err(Error::Unsupported {
                what: what.to_owned(),
                why: "Docker's manifest schema 1 is obsolete".to_owned(),
            });
        }
        let content = match (raw.manifests, raw.config) {
            (Some(manifests), None) if raw.layers.is_none() => Content::Index(manifests),
            (None, Some(config)) => {
                Content::Image { config, layers: raw.layers.unwrap_or_default() }
            }
            (None, None) => {
                return Err(Error::corrupt(what, "it lists neither manifests nor a config"));
            }
            // Two readers could see two images in it (image-spec, "Ambiguous documents").
            _ => return Err(Error::corrupt(what, "it is an index and a manifest at once")),
        };
        let header = media_type.split(';').next().unwrap_or_default().trim();
        let media_type = match (raw.media_type.filter(|inner| !inner.is_empty()), header) {
            (Some(inner), header) if is_known(header) && header != inner => {
                return Err(Error::corrupt(
                    what,
                    format!("it calls itself `{inner}` and the registry calls it `{header}`"),
                ));
            }
            (Some(inner), _) => inner,
            (None, header) if is_known(header) => header.to_owned(),
            (None, _) if matches!(content, Content::Index(_)) => OCI_INDEX.to_owned(),
            (None, _) => OCI_MANIFEST.to_owned(),
        };
        let index = matches!(content, Content::Index(_));
        if is_known(&media_type) && index != [OCI_INDEX, DOCKER_INDEX].contains(&&*media_type) {
            return Err(Error::corrupt(what, format!("it is not what `{media_type}` means")));
        }
        Ok(Self { media_type, digest: Digest::of(&bytes), bytes, content })
    }

    /// Points to this document.
    #[must_use]
    pub fn descriptor(&self) -> Descriptor {
        Descriptor::new(self.media_type.clone(), self.digest, self.bytes.len() as u64)
    }
}

fn is_known(media_type: &str) -> bool {
    [OCI_INDEX, OCI_MANIFEST, DOCKER_INDEX, DOCKER_MANIFEST].contains(&media_type)
}

#[cfg(test)]
mod tests {
    use super::*;

    const D: &str = r#"{"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":1,"mediaType":"x","annotations":null}"#;

    fn parse(media_type: &str, text: &str) -> Result<Document> {
        Document::parse("m", media_type, Bytes::copy_from_slice(text.as_bytes()))
    }

    #[test]
    fn a_document_is_an_index_or_a_manifest_as_its_type_says() {
        let manifest = format!(r#"{{"schemaVersion":2,"config":{D},"layers":[{D}]}}"#);
        let index = format!(r#"{{"schemaVersion":2,"manifests":[{D},{D}]}}"#);
        assert_eq!(parse(DOCKER_MANIFEST, &manifest).unwrap().media_type, DOCKER_MANIFEST);
        assert_eq!(parse("application/json", &manifest).unwrap().media_type, OCI_MANIFEST);
        assert_eq!(parse("", &index).unwrap().media_type, OCI_INDEX);
        assert_eq!(
            parse(&format!("{DOCKER_INDEX}; charset=utf-8"), &index).unwrap().media_type,
            DOCKER_INDEX
        );
        let typed = format!(r#"{{"mediaType":"{OCI_MANIFEST}","config":{D},"layers":[]}}"#);
        assert_eq!(parse("text/plain", &typed).unwrap().media_type, OCI_MANIFEST);
        for (header, bad) in [
            (OCI_INDEX, manifest.as_str()),
            (OCI_MANIFEST, &index),
            (DOCKER_MANIFEST, &typed),
            ("", r#"{"schemaVersion":2}"#),
            ("", &format!(r#"{{"manifests":[{D}],"config":{D}}}"#)),
            ("", &format!(r#"{{"manifests":[{D}],"layers":[{D}]}}"#)),
            ("", r#"{"config":{"digest":"sha256:12","size":1}}"#),
            (
                "",
                r#"{"config":{"digest":"sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855","size":-1}}"#,
            ),
            ("", "["),
        ] {
            assert!(matches!(parse(header, bad), Err(Error::Corrupt { .. })), "{bad}");
        }
        assert!(matches!(parse("", r#"{"schemaVersion":1}"#), Err(Error::Unsupported { .. })));
    }

    proptest::proptest! {
        #[test]
        fn no_document_panics(
            text in r#"\{("(schemaVersion|mediaType|manifests|config|layers|x)":(1|2|-1|null|\[\]|\{\}|"x"|\[\{\}\]),?){0,5}\}?"#,
        ) {
            let _ = parse("", &text);
        }
    }
}
