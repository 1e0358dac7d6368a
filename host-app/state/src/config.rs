//! The global settings: `config.json` in the home folder. People edit it, so a name that is not
//! known is an error and not ignored.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::{Document, MachineName, Paths, RegistrySettings, SettingsPatch, StateError};

/// What holds for all machines of a home.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Config {
    /// The machine that a call without `--machine` means.
    pub default_machine: MachineName,
    /// Where the VM image is, when not in the usual places.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub vm_image_dir: Option<PathBuf>,
    /// What a new machine has, where its creator says nothing.
    pub machine: SettingsPatch,
    /// How registries are reached.
    #[serde(skip_serializing_if = "is_default")]
    pub registries: RegistrySettings,
}

fn is_default(registries: &RegistrySettings) -> bool {
    *registries == RegistrySettings::default()
}

impl Document for Config {
    const FORMAT: u64 = 1;
    const WHAT: &'static str = "the configuration";
}

impl Config {
    /// The configuration of a home; the defaults when there is no file.
    ///
    /// # Errors
    /// When the file cannot be read, is malformed or is of a newer format.
    pub fn load(paths: &Paths) -> Result<Self, StateError> {
        Ok(crate::read(&paths.config())?.unwrap_or_default())
    }

    /// Replaces the file.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn save(&self, paths: &Paths) -> Result<(), StateError> {
        crate::write(&paths.config(), self)
    }
}
