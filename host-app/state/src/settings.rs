//! The settings of a machine as someone asks for them: on the command line, in the config. Not
//! judged here; the `machine` crate turns them into settings that hold.

use serde::{Deserialize, Serialize};

/// Each field absent: unchanged, or the default.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SettingsPatch {
    /// Virtual processors.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cpus: Option<u32>,
    /// Memory in MiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub memory_mib: Option<u64>,
    /// Size of the data disk in GiB.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub disk_gib: Option<u64>,
    /// `auto`, `debian`, `lean`, or a kernel's path.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kernel: Option<String>,
    /// `auto`, `kvm`, `hvf`, `whpx` or `tcg`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accelerator: Option<String>,
    /// `off` or `default`: whether ids of containers are mapped.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub userns: Option<String>,
    /// Folders to share besides, each `PATH` or `PATH:ro`.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub share: Vec<String>,
    /// Folders not to share any more. Taken away before the others are added.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub unshare: Vec<String>,
}

impl SettingsPatch {
    /// These wishes, and where there is none, those of `under`.
    #[must_use]
    pub fn over(self, under: Self) -> Self {
        Self {
            cpus: self.cpus.or(under.cpus),
            memory_mib: self.memory_mib.or(under.memory_mib),
            disk_gib: self.disk_gib.or(under.disk_gib),
            kernel: self.kernel.or(under.kernel),
            accelerator: self.accelerator.or(under.accelerator),
            userns: self.userns.or(under.userns),
            // The own ones last: for the same folder they count.
            share: under.share.into_iter().chain(self.share).collect(),
            unshare: under.unshare.into_iter().chain(self.unshare).collect(),
        }
    }
}
