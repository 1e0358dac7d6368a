//! A root file system without a configuration gets one.

use crate::changes;
use crate::config::{ConfigFile, History, RootFs, Section};
use crate::digest::{Digest, ImageId};
use crate::error::{Error, Result};
use crate::platform::Platform;
use crate::reference::Reference;
use crate::store::{NewImage, parse_tag};

/// What an imported image says of itself.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImportOptions {
    /// Its name; None: untagged.
    pub reference: Option<String>,
    /// The comment in its history.
    pub message: String,
    /// Dockerfile instructions, one or more lines each: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL,
    /// STOPSIGNAL, USER, VOLUME, WORKDIR.
    pub changes: Vec<String>,
    /// What it is for; None: this machine.
    pub platform: Option<Platform>,
}

/// The checked options: nothing in them can fail any more when the archive was unpacked.
pub(crate) struct Plan {
    tags: Vec<Reference>,
    config: Section,
    comment: String,
    platform: Platform,
}

impl Plan {
    pub(crate) fn new(options: &ImportOptions, platform: &Platform) -> Result<Self> {
        let tag = options.reference.as_deref().filter(|text| !text.is_empty());
        Ok(Self {
            tags: tag.map(parse_tag).transpose()?.into_iter().collect(),
            config: changes::apply(&options.changes)?,
            comment: options.message.clone(),
            platform: options.platform.as_ref().unwrap_or(platform).clone(),
        })
    }

    /// The image of this layer.
    pub(crate) fn finish(self, diff_id: Digest) -> Result<NewImage> {
        let created = jiff::Timestamp::now().to_string();
        let history =
            History { created: created.clone(), comment: self.comment, ..History::default() };
        let config = ConfigFile {
            architecture: self.platform.architecture,
            os: self.platform.os,
            variant: self.platform.variant,
            author: String::new(),
            created,
            config: self.config,
            rootfs: RootFs { kind: "layers".to_owned(), diff_ids: vec![diff_id] },
            history: vec![history],
        };
        let config_json = serde_json::to_vec(&config)
            .map_err(|error| Error::corrupt("the new configuration", error.to_string()))?;
        let id = ImageId(Digest::of(&config_json));
        let (manifest, parent, origin) = (None, None, None);
        Ok(NewImage { id, config, config_json, manifest, tags: self.tags, parent, origin })
    }
}
