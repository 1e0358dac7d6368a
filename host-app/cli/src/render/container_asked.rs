//! The fields of `HostConfig` that Docker keeps in another form than the wire: what was mounted by
//! `-v`, `--tmpfs` and `--mount`, and which paths of /proc and /sys are covered.
//!
//! The wire has one list of mounts. What `-v` or `--tmpfs` could have said is shown as theirs, also
//! where `--mount` said it in the same words; each is in one of the three only, so that a program
//! that makes a container anew from all of them mounts nothing twice.

use std::collections::BTreeMap;

use linkspan_proto::v1::{self as wire, ContainerConfig, ContainerDetail};
use serde::Serialize;
use serde_json::{Map, Value, json};

/// The name of the one runtime.
pub(crate) const RUNTIME: &str = "linkspan-init";

/// The runtime's `defaults::masked_paths`, which a test compares.
const MASKED: &[&str] = &[
    "/proc/acpi",
    "/proc/asound",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
];

/// The runtime's `defaults::readonly_paths`.
const READONLY: &[&str] =
    &["/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger"];

/// In `HostConfig`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct HostConfig {
    binds: Option<Vec<String>>,
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    tmpfs: BTreeMap<String, String>,
    mounts: Vec<Value>,
    runtime: &'static str,
    /// Docker's word for `default`.
    isolation: &'static str,
    /// Empty: the runtime's own, the only one.
    cgroup_parent: &'static str,
    masked_paths: Option<&'static [&'static str]>,
    readonly_paths: Option<&'static [&'static str]>,
}

impl From<&ContainerDetail> for HostConfig {
    fn from(detail: &ContainerDetail) -> Self {
        let asked = detail.config.clone().unwrap_or_default();
        let mut shown = Self {
            binds: None,
            tmpfs: BTreeMap::new(),
            mounts: Vec::new(),
            runtime: RUNTIME,
            isolation: "",
            cgroup_parent: "",
            masked_paths: covered(&asked, MASKED),
            readonly_paths: covered(&asked, READONLY),
        };
        for one in &asked.mounts {
            if let Some(bind) = bind(one) {
                shown.binds.get_or_insert_default().push(bind);
            } else if is_tmpfs_flag(one) {
                shown.tmpfs.insert(one.target.clone(), one.tmpfs_options.clone());
            } else {
                shown.mounts.push(mount(one));
            }
        }
        shown
    }
}

/// Docker: none at all for a privileged container, an empty list where it was asked for.
fn covered(
    asked: &ContainerConfig,
    paths: &'static [&'static str],
) -> Option<&'static [&'static str]> {
    let unconfined =
        |option: &String| option.split_once(['=', ':']) == Some(("systempaths", "unconfined"));
    if asked.privileged {
        return None;
    }
    Some(if asked.security_opts.iter().any(unconfined) { &[] } else { paths })
}

/// `SOURCE:TARGET[:OPTIONS]`, when `-v` can say it.
fn bind(mount: &wire::Mount) -> Option<String> {
    use wire::{BindRecursive as R, MountPropagation as P, MountType as T};
    // `-v` puts an anonymous volume into `Config.Volumes`.
    if mount.r#type() == T::Tmpfs || mount.source.is_empty() {
        return None;
    }
    if !mount.mode.is_empty() {
        return Some(format!("{}:{}:{}", mount.source, mount.target, mount.mode));
    }
    // `-v` says these in its options, and the rest not at all.
    let plain = !mount.read_only
        && !mount.no_copy
        && matches!(mount.propagation(), P::Unspecified | P::Rprivate)
        && matches!(mount.recursive(), R::Unspecified | R::Enabled)
        && mount.subpath.is_empty()
        && mount.driver.is_empty()
        && mount.driver_options.is_empty()
        && mount.labels.is_empty();
    plain.then(|| format!("{}:{}", mount.source, mount.target))
}

/// `--mount` has a size and a mode of its own, and read-only.
fn is_tmpfs_flag(mount: &wire::Mount) -> bool {
    mount.r#type() == wire::MountType::Tmpfs
        && !mount.read_only
        && mount.tmpfs_size_bytes == 0
        && mount.tmpfs_mode.is_none()
}

/// An object of `HostConfig.Mounts`.
fn mount(mount: &wire::Mount) -> Value {
    let mut object = json!({ "Target": mount.target });
    if !mount.source.is_empty() {
        object["Source"] = mount.source.clone().into();
    }
    if mount.read_only {
        object["ReadOnly"] = true.into();
    }
    match mount.r#type() {
        wire::MountType::Bind => {
            object["Type"] = "bind".into();
            let propagation = mount.propagation().as_str_name();
            let word = propagation.trim_start_matches("MOUNT_PROPAGATION_").to_lowercase();
            if mount.propagation() != wire::MountPropagation::Unspecified {
                object["BindOptions"] = json!({ "Propagation": word });
            }
        }
        wire::MountType::Tmpfs => {
            object["Type"] = "tmpfs".into();
            let mut options = Map::new();
            if mount.tmpfs_size_bytes > 0 {
                options.insert("SizeBytes".into(), mount.tmpfs_size_bytes.into());
            }
            options.extend(mount.tmpfs_mode.map(|mode| ("Mode".to_owned(), mode.into())));
            if !options.is_empty() {
                object["TmpfsOptions"] = options.into();
            }
        }
        wire::MountType::Volume | wire::MountType::Unspecified => {
            object["Type"] = "volume".into();
            let mut options = Map::new();
            if mount.no_copy {
                options.insert("NoCopy".into(), true.into());
            }
            if !mount.subpath.is_empty() {
                options.insert("Subpath".into(), mount.subpath.clone().into());
            }
            if !options.is_empty() {
                object["VolumeOptions"] = options.into();
            }
        }
    }
    object
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn shown(config: ContainerConfig) -> Value {
        let detail = ContainerDetail { config: Some(config), ..ContainerDetail::default() };
        serde_json::to_value(HostConfig::from(&detail)).expect("JSON")
    }

    fn mounted(kind: wire::MountType, source: &str, target: &str) -> wire::Mount {
        wire::Mount {
            r#type: kind.into(),
            source: source.into(),
            target: target.into(),
            ..wire::Mount::default()
        }
    }

    #[test]
    fn each_mount_is_shown_once_and_in_the_form_of_its_flag() {
        use wire::MountType::{Bind, Tmpfs, Volume};
        let mode = |mode: &str, mount| wire::Mount { mode: mode.into(), ..mount };
        let mounts = vec![
            mounted(Bind, "/srv", "/a"),
            wire::Mount { read_only: true, ..mode("ro,rslave", mounted(Bind, "/srv", "/b")) },
            mounted(Volume, "data", "/c"),
            wire::Mount { no_copy: true, ..mode("nocopy", mounted(Volume, "data", "/d")) },
            wire::Mount { tmpfs_options: "size=1m".into(), ..mounted(Tmpfs, "", "/e") },
            // What only `--mount` says.
            wire::Mount { read_only: true, ..mounted(Bind, "/srv", "/f") },
            wire::Mount { subpath: "x".into(), ..mounted(Volume, "data", "/g") },
            wire::Mount { tmpfs_size_bytes: 7, ..mounted(Tmpfs, "", "/h") },
            mounted(Volume, "", "/i"),
        ];
        let value = shown(ContainerConfig { mounts, ..ContainerConfig::default() });
        assert_eq!(
            value["Binds"],
            json!(["/srv:/a", "/srv:/b:ro,rslave", "data:/c", "data:/d:nocopy"])
        );
        assert_eq!(value["Tmpfs"], json!({"/e": "size=1m"}));
        assert_eq!(
            value["Mounts"],
            json!([
                {"Type": "bind", "Source": "/srv", "Target": "/f", "ReadOnly": true},
                {"Type": "volume", "Source": "data", "Target": "/g",
                    "VolumeOptions": {"Subpath": "x"}},
                {"Type": "tmpfs", "Target": "/h", "TmpfsOptions": {"SizeBytes": 7}},
                {"Type": "volume", "Target": "/i"},
            ])
        );
    }

    #[test]
    fn what_the_agent_fills_in_keeps_a_bind_a_bind() {
        let mut mount = mounted(wire::MountType::Bind, "/srv", "/a");
        mount.set_propagation(wire::MountPropagation::Rprivate);
        mount.set_recursive(wire::BindRecursive::Enabled);
        assert_eq!(bind(&mount).as_deref(), Some("/srv:/a"));
        mount.set_recursive(wire::BindRecursive::Disabled);
        assert_eq!(bind(&mount), None);
    }

    #[test]
    fn a_container_without_flags_has_dockers_defaults() {
        assert_eq!(
            shown(ContainerConfig::default()),
            json!({
                "Binds": null,
                "Mounts": [],
                "Runtime": "linkspan-init",
                "Isolation": "",
                "CgroupParent": "",
                "MaskedPaths": MASKED,
                "ReadonlyPaths": READONLY,
            })
        );
    }

    #[test]
    fn no_path_is_covered_for_those_who_asked() {
        let privileged = shown(ContainerConfig { privileged: true, ..ContainerConfig::default() });
        let security_opts = vec!["systempaths=unconfined".into()];
        let unconfined = shown(ContainerConfig { security_opts, ..ContainerConfig::default() });
        for field in ["MaskedPaths", "ReadonlyPaths"] {
            assert_eq!(privileged.get(field), Some(&Value::Null), "{field}");
            assert_eq!(unconfined[field], json!([]), "{field}");
        }
    }

    /// Host and guest meet in the contract only, which does not name these paths.
    #[test]
    fn the_covered_paths_are_the_runtimes() {
        let file =
            Path::new(env!("CARGO_MANIFEST_DIR")).join("../../guest-agent/runtime/src/defaults.rs");
        let source = std::fs::read_to_string(file).expect("the runtime's source is beside ours");
        for (function, ours) in [("masked_paths", MASKED), ("readonly_paths", READONLY)] {
            let (_, rest) =
                source.split_once(&format!("pub fn {function}()")).expect("the function is there");
            let (body, _) = rest.split_once("\n}").expect("it ends");
            let theirs: Vec<&str> = body.split('"').skip(1).step_by(2).collect();
            assert_eq!(theirs, ours, "{function}");
        }
    }
}
