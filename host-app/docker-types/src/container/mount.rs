//! What is mounted: `HostConfig.Mounts`, `Binds`, `Tmpfs`, and the `Mounts` that result.
//!
//! The wire has one list. What `-v` or `--tmpfs` could have said is shown as theirs, also where
//! `--mount` said it in the same words; each is in one of the three only, so that a program that
//! makes a container anew from all of them mounts nothing twice.

mod flag;

use linkspan_proto::v1::{self as wire, BindRecursive, MountPropagation, MountType};
use serde::{Deserialize, Serialize};

pub(crate) use flag::{as_bind, is_anonymous_flag, is_tmpfs_flag};
pub use flag::{bind, tmpfs};

use crate::error::Refused;
use crate::{Pairs, is_zero, pairs};

/// An object of `HostConfig.Mounts` (`mount.Mount`).
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Mount {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub r#type: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub source: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub target: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub read_only: bool,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub consistency: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub bind_options: Option<BindOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub volume_options: Option<VolumeOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub image_options: Option<serde_json::Value>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tmpfs_options: Option<TmpfsOptions>,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub cluster_options: Option<serde_json::Value>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct BindOptions {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub propagation: String,
    #[serde(skip_serializing_if = "is_zero")]
    pub non_recursive: bool,
    #[serde(skip_serializing_if = "is_zero")]
    pub create_mountpoint: bool,
    #[serde(skip_serializing_if = "is_zero")]
    pub read_only_non_recursive: bool,
    #[serde(skip_serializing_if = "is_zero")]
    pub read_only_force_recursive: bool,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct VolumeOptions {
    #[serde(skip_serializing_if = "is_zero")]
    pub no_copy: bool,
    #[serde(skip_serializing_if = "Pairs::is_empty")]
    pub labels: Pairs,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub subpath: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub driver_config: Option<Driver>,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Driver {
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    #[serde(skip_serializing_if = "Pairs::is_empty")]
    pub options: Pairs,
}

#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct TmpfsOptions {
    #[serde(skip_serializing_if = "is_zero")]
    pub size_bytes: u64,
    #[serde(skip_serializing_if = "is_zero")]
    pub mode: u32,
    /// Each a name, or a name and a value.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub options: Vec<Vec<String>>,
}

/// One of a container's `Mounts` (`container.MountPoint`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct MountPoint {
    pub r#type: &'static str,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub name: String,
    pub source: String,
    pub destination: String,
    #[serde(skip_serializing_if = "String::is_empty")]
    pub driver: String,
    pub mode: String,
    #[serde(rename = "RW")]
    pub rw: bool,
    pub propagation: &'static str,
}

impl From<&wire::MountPoint> for MountPoint {
    fn from(point: &wire::MountPoint) -> Self {
        Self {
            r#type: kind(point.r#type()),
            name: point.name.clone(),
            source: point.source.clone(),
            destination: point.target.clone(),
            driver: point.driver.clone(),
            mode: point.mode.clone(),
            rw: point.read_write,
            propagation: propagation_word(point.propagation()),
        }
    }
}

/// `bind`, `volume`, `tmpfs`
#[must_use]
pub fn kind(kind: MountType) -> &'static str {
    match kind {
        MountType::Bind => "bind",
        MountType::Tmpfs => "tmpfs",
        MountType::Volume | MountType::Unspecified => "volume",
    }
}

/// `rprivate`, `shared`, ... as a word of `-v` or `bind-propagation`.
#[must_use]
pub fn propagation(word: &str) -> Option<MountPropagation> {
    Some(match word {
        "rprivate" => MountPropagation::Rprivate,
        "private" => MountPropagation::Private,
        "rshared" => MountPropagation::Rshared,
        "shared" => MountPropagation::Shared,
        "rslave" => MountPropagation::Rslave,
        "slave" => MountPropagation::Slave,
        _ => return None,
    })
}

fn propagation_word(propagation: MountPropagation) -> &'static str {
    match propagation {
        MountPropagation::Unspecified => "",
        MountPropagation::Rprivate => "rprivate",
        MountPropagation::Private => "private",
        MountPropagation::Rshared => "rshared",
        MountPropagation::Shared => "shared",
        MountPropagation::Rslave => "rslave",
        MountPropagation::Slave => "slave",
    }
}

impl From<&wire::Mount> for Mount {
    fn from(mount: &wire::Mount) -> Self {
        let mut shown = Self {
            r#type: kind(mount.r#type()).into(),
            source: mount.source.clone(),
            target: mount.target.clone(),
            read_only: mount.read_only,
            ..Self::default()
        };
        match mount.r#type() {
            MountType::Bind => {
                let options = BindOptions {
                    propagation: propagation_word(mount.propagation()).into(),
                    non_recursive: mount.recursive() == BindRecursive::Disabled,
                    create_mountpoint: mount.create_source,
                    read_only_non_recursive: mount.recursive() == BindRecursive::Writable,
                    read_only_force_recursive: mount.recursive() == BindRecursive::Readonly,
                };
                shown.bind_options = Some(options).filter(|options| !is_zero(options));
            }
            MountType::Tmpfs => {
                let option = |option: &str| option.splitn(2, '=').map(str::to_owned).collect();
                let given = mount.tmpfs_options.split(',').filter(|option| !option.is_empty());
                let options = TmpfsOptions {
                    size_bytes: mount.tmpfs_size_bytes,
                    mode: mount.tmpfs_mode.unwrap_or(0),
                    options: given.map(option).collect(),
                };
                shown.tmpfs_options = Some(options).filter(|options| !is_zero(options));
            }
            MountType::Volume | MountType::Unspecified => {
                let driver =
                    Driver { name: mount.driver.clone(), options: pairs(&mount.driver_options) };
                let options = VolumeOptions {
                    no_copy: mount.no_copy,
                    labels: pairs(&mount.labels),
                    subpath: mount.subpath.clone(),
                    driver_config: Some(driver).filter(|driver| !is_zero(driver)),
                };
                shown.volume_options = Some(options).filter(|options| !is_zero(options));
            }
        }
        shown
    }
}

impl Mount {
    /// As the wire has it.
    ///
    /// # Errors
    /// A type that is not there, or options of another type.
    pub(crate) fn read(&self) -> Result<wire::Mount, Refused> {
        let Self {
            r#type,
            source,
            target,
            read_only,
            // Only Docker Desktop for macOS looks at it.
            consistency: _,
            bind_options,
            volume_options,
            image_options: _,
            tmpfs_options,
            cluster_options: _,
        } = self;
        let invalid = |why: String| Err(Refused::Invalid(why));
        let kind = match r#type.as_str() {
            "bind" => MountType::Bind,
            "volume" => MountType::Volume,
            "tmpfs" => MountType::Tmpfs,
            "image" => {
                return unsupported("HostConfig.Mounts.Type `image`", "images are not mounted");
            }
            "npipe" => {
                return unsupported(
                    "HostConfig.Mounts.Type `npipe`",
                    "it is for Windows containers only",
                );
            }
            "cluster" => {
                return unsupported("HostConfig.Mounts.Type `cluster`", "there is no Swarm");
            }
            other => {
                return invalid(format!(
                    "invalid mount config for type \"{other}\": mount type unknown"
                ));
            }
        };
        for (given, name, needs) in [
            (volume_options.is_some(), "VolumeOptions", MountType::Volume),
            (bind_options.is_some(), "BindOptions", MountType::Bind),
            (tmpfs_options.is_some(), "TmpfsOptions", MountType::Tmpfs),
        ] {
            if given && kind != needs {
                return invalid(format!("{name} must not be specified on mount type \"{type}\""));
            }
        }
        if target.is_empty() {
            let what = "field Target must not be empty";
            return invalid(format!("invalid mount config for type \"{type}\": {what}"));
        }
        if kind == MountType::Bind && source.is_empty() {
            let what = "field Source must not be empty";
            return invalid(format!("invalid mount config for type \"{type}\": {what}"));
        }
        let mut mount = wire::Mount {
            source: source.clone(),
            target: target.clone(),
            read_only: *read_only,
            ..wire::Mount::default()
        };
        mount.set_type(kind);
        if let Some(options) = bind_options {
            options.read(&mut mount)?;
        }
        if let Some(options) = volume_options {
            options.read(&mut mount);
        }
        if let Some(options) = tmpfs_options {
            options.read(&mut mount);
        }
        Ok(mount)
    }
}

fn unsupported<T>(field: &'static str, why: &'static str) -> Result<T, Refused> {
    Err(Refused::Unsupported { field, why })
}

impl BindOptions {
    fn read(&self, mount: &mut wire::Mount) -> Result<(), Refused> {
        let Self {
            propagation: word,
            non_recursive,
            create_mountpoint,
            read_only_non_recursive,
            read_only_force_recursive,
        } = self;
        mount.create_source = *create_mountpoint;
        if !word.is_empty() {
            let known = propagation(word);
            mount
                .set_propagation(known.ok_or_else(|| {
                    Refused::Invalid(format!("invalid propagation mode: {word}"))
                })?);
        }
        mount.set_recursive(match (non_recursive, read_only_non_recursive, read_only_force_recursive) {
            (false, false, false) => BindRecursive::Unspecified,
            (true, false, false) => BindRecursive::Disabled,
            (false, true, false) => BindRecursive::Writable,
            (false, false, true) => BindRecursive::Readonly,
            _ => return Err(Refused::Invalid(
                "of BindOptions.NonRecursive, ReadOnlyNonRecursive and ReadOnlyForceRecursive only one can be true".into(),
            )),
        });
        Ok(())
    }
}

impl VolumeOptions {
    fn read(&self, mount: &mut wire::Mount) {
        let Self { no_copy, labels, subpath, driver_config } = self;
        mount.no_copy = *no_copy;
        mount.labels = labels.clone().into_iter().collect();
        mount.subpath.clone_from(subpath);
        if let Some(Driver { name, options }) = driver_config {
            mount.driver.clone_from(name);
            mount.driver_options = options.clone().into_iter().collect();
        }
    }
}

impl TmpfsOptions {
    fn read(&self, mount: &mut wire::Mount) {
        let Self { size_bytes, mode, options } = self;
        mount.tmpfs_size_bytes = *size_bytes;
        mount.tmpfs_mode = (*mode != 0).then_some(*mode);
        let options: Vec<String> = options.iter().map(|option| option.join("=")).collect();
        mount.tmpfs_options = options.join(",");
    }
}
