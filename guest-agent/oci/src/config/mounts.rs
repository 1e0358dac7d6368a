//! `mounts`: options as mount(8) names them.

use std::path::Path;

use linkspan_runtime::plan::{Bind, Detailed, Mount, MountKind, Propagation, PropagationKind};
use linkspan_sys::mount::Attributes;
use oci_spec::runtime::Mount as Wanted;

use super::{ConfigError, invalid, unsupported};

/// What an option does.
#[derive(Debug, Clone, Copy)]
enum Effect {
    /// Adds an attribute of the mount.
    Set(Attributes),
    /// Takes one away.
    Clear(Attributes),
    /// The same, of all mounts below too.
    SetBelow(Attributes),
    /// The same, of all mounts below too.
    ClearBelow(Attributes),
    /// One of the ways to keep access times.
    Time(Attributes),
    /// The same, of all mounts below too.
    TimeBelow(Attributes),
    Spread(PropagationKind, bool),
    /// A bind mount, recursive or not.
    Bind(bool),
    /// An option of the file system itself, of every type.
    FileSystem,
    CopyUp,
    /// What is so anyway.
    Nothing,
    Refused(&'static str),
}

use Effect::{
    Clear, ClearBelow, CopyUp, FileSystem, Nothing, Refused, Set, SetBelow, Spread, Time, TimeBelow,
};
use PropagationKind::{Private, Shared, Slave, Unbindable};

const REMOUNT: Effect = Refused("a mount is not changed after it was made");
const IDMAP: Effect = Refused("user namespaces are not made here");
const SILENT: Effect = Refused("the kernel has no such option for fsopen(2)");

/// Every option that is not a file system's own.
const EFFECTS: &[(&str, Effect)] = &[
    ("async", FileSystem),
    ("atime", Time(Attributes::NONE)),
    ("bind", Effect::Bind(false)),
    ("defaults", Nothing),
    ("dev", Clear(Attributes::NO_DEV)),
    ("diratime", Clear(Attributes::NO_DIR_ATIME)),
    ("dirsync", FileSystem),
    ("exec", Clear(Attributes::NO_EXEC)),
    ("idmap", IDMAP),
    ("iversion", SILENT),
    ("lazytime", FileSystem),
    ("loud", Nothing),
    ("mand", Refused("Linux 5.15 has taken mandatory locks out")),
    ("noatime", Time(Attributes::NO_ATIME)),
    ("nodev", Set(Attributes::NO_DEV)),
    ("nodiratime", Set(Attributes::NO_DIR_ATIME)),
    ("noexec", Set(Attributes::NO_EXEC)),
    ("noiversion", Nothing),
    ("nolazytime", FileSystem),
    ("nomand", Nothing),
    ("norelatime", Time(Attributes::STRICT_ATIME)),
    ("nostrictatime", Time(Attributes::NONE)),
    ("nosuid", Set(Attributes::NO_SUID)),
    ("nosymfollow", Set(Attributes::NO_SYMLINKS)),
    ("private", Spread(Private, false)),
    ("ratime", TimeBelow(Attributes::NONE)),
    ("rbind", Effect::Bind(true)),
    ("rdev", ClearBelow(Attributes::NO_DEV)),
    ("rdiratime", ClearBelow(Attributes::NO_DIR_ATIME)),
    ("relatime", Time(Attributes::NONE)),
    ("remount", REMOUNT),
    ("rexec", ClearBelow(Attributes::NO_EXEC)),
    ("ridmap", IDMAP),
    ("rnoatime", TimeBelow(Attributes::NO_ATIME)),
    ("rnodev", SetBelow(Attributes::NO_DEV)),
    ("rnodiratime", SetBelow(Attributes::NO_DIR_ATIME)),
    ("rnoexec", SetBelow(Attributes::NO_EXEC)),
    ("rnorelatime", TimeBelow(Attributes::STRICT_ATIME)),
    ("rnostrictatime", TimeBelow(Attributes::NONE)),
    ("rnosuid", SetBelow(Attributes::NO_SUID)),
    ("rnosymfollow", SetBelow(Attributes::NO_SYMLINKS)),
    ("ro", Set(Attributes::READ_ONLY)),
    ("rprivate", Spread(Private, true)),
    ("rrelatime", TimeBelow(Attributes::NONE)),
    ("rro", SetBelow(Attributes::READ_ONLY)),
    ("rrw", ClearBelow(Attributes::READ_ONLY)),
    ("rshared", Spread(Shared, true)),
    ("rslave", Spread(Slave, true)),
    ("rstrictatime", TimeBelow(Attributes::STRICT_ATIME)),
    ("rsuid", ClearBelow(Attributes::NO_SUID)),
    ("rsymfollow", ClearBelow(Attributes::NO_SYMLINKS)),
    ("runbindable", Spread(Unbindable, true)),
    ("rw", Clear(Attributes::READ_ONLY)),
    ("shared", Spread(Shared, false)),
    ("silent", SILENT),
    ("slave", Spread(Slave, false)),
    ("strictatime", Time(Attributes::STRICT_ATIME)),
    ("suid", Clear(Attributes::NO_SUID)),
    ("symfollow", Clear(Attributes::NO_SYMLINKS)),
    ("sync", FileSystem),
    ("tmpcopyup", CopyUp),
    ("unbindable", Spread(Unbindable, false)),
];

/// The names, for `features`.
pub(crate) fn option_names() -> Vec<String> {
    let honoured = EFFECTS.iter().filter(|(_, effect)| !matches!(effect, Refused(_)));
    honoured.map(|(name, _)| (*name).to_owned()).collect()
}

/// `own_view`: the container has a cgroup namespace; `cgroup`: the folder of its cgroup.
pub(super) fn convert(
    list: &[Wanted],
    bundle: &Path,
    own_view: bool,
    cgroup: &Path,
) -> Result<Vec<Mount>, ConfigError> {
    list.iter().map(|mount| convert_one(mount, bundle, own_view, cgroup)).collect()
}

fn convert_one(
    mount: &Wanted,
    bundle: &Path,
    own_view: bool,
    cgroup: &Path,
) -> Result<Mount, ConfigError> {
    let property = format!("mounts[{}]", mount.destination().display());
    if !mount.destination().is_absolute() {
        return invalid(property, "the destination is not absolute");
    }
    let mapped = |list: &Option<Vec<_>>| list.as_ref().is_some_and(|list| !list.is_empty());
    if mapped(mount.uid_mappings()) || mapped(mount.gid_mappings()) {
        return unsupported(property, "mappings of users need user namespaces");
    }
    let mut options = Options::default();
    for option in mount.options().iter().flatten() {
        options.add(option, &property)?;
    }
    let fstype = mount.typ().clone().unwrap_or_default();
    let kind = match options.bind.or((fstype == "bind").then_some(false)) {
        Some(recursive) => {
            let Some(source) = mount.source() else {
                return invalid(property, "a bind mount needs a source");
            };
            if let Some(option) = options.data.first() {
                let reason = format!("`{option}` is not an option of a bind mount");
                return invalid(property, reason);
            }
            // An absolute path takes the place of the bundle's.
            MountKind::Bind(Bind { recursive, ..Bind::of(bundle.join(source)) })
        }
        None if fstype.is_empty() => return invalid(property, "it has no type"),
        // The machine's whole hierarchy would be seen.
        None if is_cgroup(&fstype) && !own_view => MountKind::Bind(Bind::of(cgroup.to_owned())),
        None => MountKind::Fs {
            source: source_name(mount),
            data: options.data.join(","),
            fstype: if is_cgroup(&fstype) { "cgroup2".to_owned() } else { fstype.clone() },
        },
    };
    if options.copy_up && fstype != "tmpfs" {
        return invalid(property, "`tmpcopyup` is an option of tmpfs");
    }
    Ok(Mount {
        destination: mount.destination().clone(),
        kind: MountKind::Detailed(Box::new(options.detailed(kind))),
        readonly: false,
        nosuid: false,
        nodev: false,
        noexec: false,
    })
}

/// What /proc/mounts shows as the source of a file system; a device of it, if it has one.
fn source_name(mount: &Wanted) -> String {
    let source = mount.source().as_ref().map(|source| source.to_string_lossy().into_owned());
    source.filter(|source| !source.is_empty()).unwrap_or_else(|| "none".to_owned())
}

fn is_cgroup(fstype: &str) -> bool {
    matches!(fstype, "cgroup" | "cgroup2")
}

/// The options of one mount; a later one overrides those before it.
#[derive(Debug, Default)]
struct Options {
    here: Change,
    below: Change,
    propagation: Vec<Propagation>,
    bind: Option<bool>,
    copy_up: bool,
    data: Vec<String>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Change {
    set: u64,
    clear: u64,
}

impl Change {
    fn set(&mut self, attributes: Attributes) {
        self.set |= attributes.bits();
        self.clear &= !attributes.bits();
    }

    fn clear(&mut self, attributes: Attributes) {
        self.clear |= attributes.bits();
        self.set &= !attributes.bits();
    }

    /// The ways to keep access times are values of one field.
    fn time(&mut self, attributes: Attributes) {
        self.clear |= Attributes::ATIME.bits();
        self.set = self.set & !Attributes::ATIME.bits() | attributes.bits();
    }
}

impl Options {
    fn add(&mut self, option: &str, property: &str) -> Result<(), ConfigError> {
        let known = EFFECTS.iter().find(|(name, _)| *name == option);
        match known.map(|(_, effect)| *effect) {
            None if option.starts_with("idmap=") || option.starts_with("ridmap=") => {
                return unsupported(property, format!("`{option}`: user namespaces"));
            }
            None | Some(FileSystem) => self.data.push(option.to_owned()),
            Some(Set(attributes)) => self.here.set(attributes),
            Some(Clear(attributes)) => self.here.clear(attributes),
            Some(SetBelow(attributes)) => self.below.set(attributes),
            Some(ClearBelow(attributes)) => self.below.clear(attributes),
            Some(Time(attributes)) => self.here.time(attributes),
            Some(TimeBelow(attributes)) => self.below.time(attributes),
            Some(Spread(kind, recursive)) => self.propagation.push(Propagation { kind, recursive }),
            Some(Effect::Bind(recursive)) => self.bind = Some(recursive),
            Some(CopyUp) => self.copy_up = true,
            Some(Nothing) => {}
            Some(Refused(reason)) => {
                return unsupported(property, format!("`{option}`: {reason}"));
            }
        }
        Ok(())
    }

    fn detailed(self, kind: MountKind) -> Detailed {
        Detailed {
            kind,
            set: self.here.set,
            clear: self.here.clear,
            set_below: self.below.set,
            clear_below: self.below.clear,
            propagation: self.propagation,
            copy_up: self.copy_up,
        }
    }
}
