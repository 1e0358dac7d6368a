//! Capability names and numbers, Docker's default set, and `--cap-add` / `--cap-drop`.

use crate::plan::CapabilitySets;

/// By number, as in include/uapi/linux/capability.h.
const NAMES: [&str; 41] = [
    "CHOWN",
    "DAC_OVERRIDE",
    "DAC_READ_SEARCH",
    "FOWNER",
    "FSETID",
    "KILL",
    "SETGID",
    "SETUID",
    "SETPCAP",
    "LINUX_IMMUTABLE",
    "NET_BIND_SERVICE",
    "NET_BROADCAST",
    "NET_ADMIN",
    "NET_RAW",
    "IPC_LOCK",
    "IPC_OWNER",
    "SYS_MODULE",
    "SYS_RAWIO",
    "SYS_CHROOT",
    "SYS_PTRACE",
    "SYS_PACCT",
    "SYS_ADMIN",
    "SYS_BOOT",
    "SYS_NICE",
    "SYS_RESOURCE",
    "SYS_TIME",
    "SYS_TTY_CONFIG",
    "MKNOD",
    "LEASE",
    "AUDIT_WRITE",
    "AUDIT_CONTROL",
    "SETFCAP",
    "MAC_OVERRIDE",
    "MAC_ADMIN",
    "SYSLOG",
    "WAKE_ALARM",
    "BLOCK_SUSPEND",
    "AUDIT_READ",
    "PERFMON",
    "BPF",
    "CHECKPOINT_RESTORE",
];

/// Every capability that this program knows (Linux 5.9 and later have exactly these).
pub const ALL: u64 = (1 << NAMES.len()) - 1;

/// What Docker leaves to a container's root (moby, `oci/caps/defaults.go`).
pub const DEFAULT: u64 = bit(Capability::CHOWN)
    | bit(Capability::DAC_OVERRIDE)
    | bit(Capability::FSETID)
    | bit(Capability::FOWNER)
    | bit(Capability::MKNOD)
    | bit(Capability::NET_RAW)
    | bit(Capability::SETGID)
    | bit(Capability::SETUID)
    | bit(Capability::SETFCAP)
    | bit(Capability::SETPCAP)
    | bit(Capability::NET_BIND_SERVICE)
    | bit(Capability::SYS_CHROOT)
    | bit(Capability::KILL)
    | bit(Capability::AUDIT_WRITE);

/// The number of a capability.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Capability(u32);

/// Those that are named in code.
#[allow(missing_docs, reason = "the names are the kernel's; capabilities(7) describes them")]
impl Capability {
    pub const CHOWN: Self = Self(0);
    pub const DAC_OVERRIDE: Self = Self(1);
    pub const DAC_READ_SEARCH: Self = Self(2);
    pub const FOWNER: Self = Self(3);
    pub const FSETID: Self = Self(4);
    pub const KILL: Self = Self(5);
    pub const SETGID: Self = Self(6);
    pub const SETUID: Self = Self(7);
    pub const SETPCAP: Self = Self(8);
    pub const NET_BIND_SERVICE: Self = Self(10);
    pub const NET_RAW: Self = Self(13);
    pub const SYS_MODULE: Self = Self(16);
    pub const SYS_RAWIO: Self = Self(17);
    pub const SYS_CHROOT: Self = Self(18);
    pub const SYS_PTRACE: Self = Self(19);
    pub const SYS_PACCT: Self = Self(20);
    pub const SYS_ADMIN: Self = Self(21);
    pub const SYS_BOOT: Self = Self(22);
    pub const SYS_NICE: Self = Self(23);
    pub const SYS_TIME: Self = Self(25);
    pub const SYS_TTY_CONFIG: Self = Self(26);
    pub const MKNOD: Self = Self(27);
    pub const AUDIT_WRITE: Self = Self(29);
    pub const SETFCAP: Self = Self(31);
    pub const SYSLOG: Self = Self(34);
    pub const PERFMON: Self = Self(38);
    pub const BPF: Self = Self(39);
}

/// The bit of a capability in a set.
#[must_use]
pub const fn bit(capability: Capability) -> u64 {
    1 << capability.0
}

/// A capability that does not exist.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("unknown capability: `{name}`")]
pub struct UnknownCapability {
    /// As it was written.
    pub name: String,
}

impl std::str::FromStr for Capability {
    type Err = UnknownCapability;

    /// With or without `CAP_`, in any case.
    fn from_str(name: &str) -> Result<Self, UnknownCapability> {
        let upper = name.to_ascii_uppercase();
        let short = upper.strip_prefix("CAP_").unwrap_or(&upper);
        NAMES
            .iter()
            .position(|known| *known == short)
            .and_then(|number| u32::try_from(number).ok())
            .map(Self)
            .ok_or_else(|| UnknownCapability { name: name.to_owned() })
    }
}

impl std::fmt::Display for Capability {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "CAP_{}", NAMES[self.0 as usize])
    }
}

/// The capabilities of a set, lowest number first. Bits without a name are left out.
pub fn names(set: u64) -> impl Iterator<Item = Capability> {
    (0..NAMES.len() as u32).map(Capability).filter(move |capability| set & bit(*capability) != 0)
}

/// A list of names in which `ALL` may stand.
fn parse(list: &[String]) -> Result<(bool, u64), UnknownCapability> {
    let mut all = false;
    let mut set = 0;
    for name in list {
        if name.eq_ignore_ascii_case("ALL") || name.eq_ignore_ascii_case("CAP_ALL") {
            all = true;
        } else {
            set |= bit(name.parse()?);
        }
    }
    Ok((all, set))
}

/// What a container may do, given its options. The rules are Docker's (moby,
/// `oci/caps.TweakCapabilities`): `ALL` in `add` is everything but `drop`; otherwise `ALL` in
/// `drop` is only `add`; otherwise the default without `drop`, and with `add`, which wins.
///
/// # Errors
/// A name that is no capability.
pub fn resolve(
    add: &[String],
    drop: &[String],
    privileged: bool,
) -> Result<CapabilitySets, UnknownCapability> {
    let (add_all, added) = parse(add)?;
    let (drop_all, dropped) = parse(drop)?;
    let set = if privileged {
        ALL
    } else if add_all {
        ALL & !dropped
    } else if drop_all {
        added
    } else {
        (DEFAULT & !dropped) | added
    };
    Ok(sets(set))
}

/// One set for everything that matters to root. Nothing is inheritable or ambient: a user other
/// than root gets nothing but what a file grants (the rule since CVE-2022-24769).
#[must_use]
pub fn sets(set: u64) -> CapabilitySets {
    CapabilitySets { bounding: set, effective: set, permitted: set, inheritable: 0, ambient: 0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    fn bounding(add: &[&str], drop: &[&str]) -> u64 {
        resolve(&list(add), &list(drop), false).unwrap().bounding
    }

    #[test]
    fn every_name_round_trips_with_and_without_prefix() {
        for capability in names(ALL) {
            let long = capability.to_string();
            assert_eq!(long.parse(), Ok(capability));
            assert_eq!(long["CAP_".len()..].to_lowercase().parse(), Ok(capability));
        }
        assert_eq!(names(ALL).count(), 41);
    }

    #[test]
    fn the_default_set_is_dockers() {
        // The mask that `docker run busybox grep CapBnd /proc/self/status` shows.
        assert_eq!(bounding(&[], &[]), 0xa80425fb);
    }

    #[test]
    fn add_and_drop_follow_dockers_order() {
        let sys_admin = bit(Capability::SYS_ADMIN);
        let chown = bit(Capability::CHOWN);
        assert_eq!(bounding(&["sys_admin"], &["CAP_CHOWN"]), (DEFAULT | sys_admin) & !chown);
        assert_eq!(bounding(&["ALL"], &["CHOWN"]), ALL & !chown);
        assert_eq!(bounding(&["SYS_ADMIN"], &["all"]), sys_admin);
        assert_eq!(bounding(&[], &["ALL"]), 0);
        assert_eq!(bounding(&["CHOWN"], &["CHOWN"]), DEFAULT, "what is added wins");
    }

    #[test]
    fn privileged_has_everything_and_unknown_names_are_refused() {
        assert_eq!(resolve(&[], &[], true).unwrap().effective, ALL);
        let error = resolve(&list(&["SYS_FLY"]), &[], false).unwrap_err();
        assert_eq!(error.to_string(), "unknown capability: `SYS_FLY`");
    }

    #[test]
    fn nothing_is_inheritable_or_ambient() {
        let sets = resolve(&list(&["ALL"]), &[], false).unwrap();
        assert_eq!((sets.inheritable, sets.ambient), (0, 0));
    }
}
