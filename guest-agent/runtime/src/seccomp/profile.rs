//! Seccomp profiles in Docker's JSON, which is the OCI runtime specification's `seccomp` object
//! (config-linux.md) with conditions on when an entry counts (moby, `profiles/seccomp`).
//!
//! A name that no table knows is passed over, as libseccomp does with calls newer than itself;
//! a call newer than every call that the profile names answers ENOSYS, as with runc.

use std::collections::BTreeMap;

use linkspan_sys::nix::{libc, sys::utsname::uname};
use serde::Deserialize;

use super::compile::{Argument, Body, Comparison, NATIVE, Table, always, compile, when};
use crate::capabilities::{self, Capability};

/// The kernel takes no longer program (BPF_MAXINSNS).
const LONGEST: usize = 4096;

/// Why a profile cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ProfileError {
    /// It is not of the form that Docker documents.
    #[error("it is not a seccomp profile: {0}")]
    Malformed(#[from] serde_json::Error),
    /// An action that nobody here could carry out.
    #[error("the action `{0}` is not supported")]
    Action(String),
    /// A part of the specification that is not there.
    #[error("`{0}` is not supported")]
    Unsupported(&'static str),
    /// A capability or kernel version that is none.
    #[error("`{0}` is neither a capability nor a kernel version")]
    Condition(String),
    /// Calls have six arguments.
    #[error("`{name}` has no argument {index}: there are 0 to 5")]
    Argument {
        /// The call.
        name: String,
        /// Which argument.
        index: u32,
    },
    /// More than the kernel takes.
    #[error("it compiles to {0} instructions: the kernel takes {LONGEST}")]
    TooLong(usize),
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Profile {
    default_action: String,
    default_errno_ret: Option<u16>,
    #[serde(default)]
    architectures: Vec<String>,
    #[serde(default)]
    arch_map: Vec<ArchMap>,
    #[serde(default)]
    syscalls: Vec<Entry>,
    #[serde(default)]
    listener_path: String,
    #[serde(default)]
    flags: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ArchMap {
    architecture: String,
    #[serde(default)]
    sub_architectures: Option<Vec<String>>,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Entry {
    /// The older form.
    #[serde(default)]
    name: String,
    #[serde(default)]
    names: Vec<String>,
    action: String,
    errno_ret: Option<u16>,
    #[serde(default)]
    args: Option<Vec<Arg>>,
    #[serde(default)]
    includes: Conditions,
    #[serde(default)]
    excludes: Conditions,
}

#[derive(Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Arg {
    index: u32,
    value: u64,
    #[serde(default)]
    value_two: u64,
    op: Op,
}

#[derive(Debug, Clone, Copy, Deserialize)]
enum Op {
    #[serde(rename = "SCMP_CMP_NE")]
    NotEqual,
    #[serde(rename = "SCMP_CMP_LT")]
    Less,
    #[serde(rename = "SCMP_CMP_LE")]
    LessOrEqual,
    #[serde(rename = "SCMP_CMP_EQ")]
    Equal,
    #[serde(rename = "SCMP_CMP_GE")]
    GreaterOrEqual,
    #[serde(rename = "SCMP_CMP_GT")]
    Greater,
    #[serde(rename = "SCMP_CMP_MASKED_EQ")]
    MaskedEqual,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Conditions {
    arches: Option<Vec<String>>,
    caps: Option<Vec<String>>,
    min_kernel: String,
}

/// The filter of a profile for a process with these bounding capabilities.
///
/// # Errors
/// Says what of the profile cannot be used.
pub fn profile_filter(json: &str, bounding: u64) -> Result<Vec<u64>, ProfileError> {
    let profile: Profile = serde_json::from_str(json)?;
    if !profile.listener_path.is_empty() {
        return Err(ProfileError::Unsupported("listenerPath"));
    }
    // All threads: there is only one when a filter is installed.
    if profile.flags.iter().any(|flag| flag != "SECCOMP_FILTER_FLAG_TSYNC") {
        return Err(ProfileError::Unsupported("flags"));
    }
    let default = action(&profile.default_action, profile.default_errno_ret)?;
    let mut tables = vec![table(&profile, bounding, default, NATIVE, native_number)?];
    #[cfg(target_arch = "x86_64")]
    if profile.wants("SCMP_ARCH_X86") {
        tables.push(table(&profile, bounding, default, super::compile::I386, i386_number)?);
    }
    // libseccomp's answer to an architecture that is not in the profile.
    let filter = compile(&tables, always(libc::SECCOMP_RET_KILL_THREAD));
    if filter.len() > LONGEST {
        return Err(ProfileError::TooLong(filter.len()));
    }
    Ok(filter)
}

impl Profile {
    /// Whether it covers an architecture beside the native one.
    #[cfg(target_arch = "x86_64")]
    fn wants(&self, architecture: &str) -> bool {
        let native = self.arch_map.iter().filter(|map| map.architecture == "SCMP_ARCH_X86_64");
        let below = native.filter_map(|map| map.sub_architectures.as_ref()).flatten();
        below.chain(&self.architectures).any(|name| name == architecture)
    }
}

fn native_number(name: &str) -> Option<u32> {
    name.parse::<syscalls::Sysno>().ok().map(|call| call.id().cast_unsigned())
}

#[cfg(target_arch = "x86_64")]
fn i386_number(name: &str) -> Option<u32> {
    name.parse::<syscalls::x86::Sysno>().ok().map(|call| call.id().cast_unsigned())
}

fn table(
    profile: &Profile,
    bounding: u64,
    default: u32,
    architecture: u32,
    number: impl Fn(&str) -> Option<u32>,
) -> Result<Table, ProfileError> {
    // Entries without comparisons are asked last: the others are exceptions from them.
    let mut exceptions: BTreeMap<u32, Body> = BTreeMap::new();
    let mut plain: BTreeMap<u32, u32> = BTreeMap::new();
    let mut newest = 0;
    for entry in &profile.syscalls {
        let action = action(&entry.action, entry.errno_ret)?;
        let counts = entry.counts(bounding)?;
        let single = Some(&entry.name).filter(|name| !name.is_empty());
        for name in entry.names.iter().chain(single) {
            let comparisons = comparisons(name, entry.args.as_deref().unwrap_or_default())?;
            let Some(number) = number(name) else { continue };
            newest = newest.max(number);
            if !counts {
                continue;
            }
            if comparisons.is_empty() {
                plain.insert(number, action);
            } else {
                exceptions.entry(number).or_default().extend(when(&comparisons, action));
            }
        }
    }
    let mut rules: BTreeMap<u32, Body> = BTreeMap::new();
    for (number, mut body) in exceptions {
        body.extend(always(plain.remove(&number).unwrap_or(default)));
        rules.insert(number, body);
    }
    rules.extend(plain.into_iter().map(|(number, action)| (number, always(action))));
    let permissive = [libc::SECCOMP_RET_ALLOW, libc::SECCOMP_RET_LOG].contains(&default);
    let beyond = if permissive { default } else { libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32 };
    let (otherwise, beyond) = (always(default), always(beyond));
    Ok(Table { architecture, rules, otherwise, newest, beyond })
}

fn action(name: &str, errno: Option<u16>) -> Result<u32, ProfileError> {
    let data = |default: i32| u32::from(errno.unwrap_or(default as u16));
    Ok(match name {
        "SCMP_ACT_ALLOW" => libc::SECCOMP_RET_ALLOW,
        "SCMP_ACT_ERRNO" => libc::SECCOMP_RET_ERRNO | data(libc::EPERM),
        "SCMP_ACT_KILL" | "SCMP_ACT_KILL_THREAD" => libc::SECCOMP_RET_KILL_THREAD,
        "SCMP_ACT_KILL_PROCESS" => libc::SECCOMP_RET_KILL_PROCESS,
        "SCMP_ACT_TRAP" => libc::SECCOMP_RET_TRAP,
        "SCMP_ACT_TRACE" => libc::SECCOMP_RET_TRACE | data(libc::EPERM),
        "SCMP_ACT_LOG" => libc::SECCOMP_RET_LOG,
        // SCMP_ACT_NOTIFY needs a supervisor that listens.
        _ => return Err(ProfileError::Action(name.to_owned())),
    })
}

fn comparisons(name: &str, args: &[Arg]) -> Result<Vec<(Argument, Comparison)>, ProfileError> {
    args.iter()
        .map(|arg| {
            let Arg { index, value, value_two, op } = *arg;
            if index > 5 {
                return Err(ProfileError::Argument { name: name.to_owned(), index });
            }
            let comparison = match op {
                Op::NotEqual => Comparison::NotEqual(value),
                Op::Less => Comparison::Less(value),
                Op::LessOrEqual => Comparison::LessOrEqual(value),
                Op::Equal => Comparison::Equal(value),
                Op::GreaterOrEqual => Comparison::GreaterOrEqual(value),
                Op::Greater => Comparison::Greater(value),
                Op::MaskedEqual => Comparison::MaskedEqual { mask: value, value: value_two },
            };
            Ok((Argument(index), comparison))
        })
        .collect()
}

impl Entry {
    /// Docker's rule: everything of `includes` holds and nothing of `excludes` does.
    fn counts(&self, bounding: u64) -> Result<bool, ProfileError> {
        let (includes, excludes) = (&self.includes, &self.excludes);
        let arch = |list: &Option<Vec<String>>| {
            list.as_ref().filter(|list| !list.is_empty()).map(|list| list.iter().any(|a| a == ARCH))
        };
        if arch(&includes.arches) == Some(false) || arch(&excludes.arches) == Some(true) {
            return Ok(false);
        }
        for name in includes.caps.iter().flatten() {
            if bounding & capability(name)? == 0 {
                return Ok(false);
            }
        }
        for name in excludes.caps.iter().flatten() {
            if bounding & capability(name)? != 0 {
                return Ok(false);
            }
        }
        let new_enough = |text: &str| kernel_is_at_least(text);
        Ok((includes.min_kernel.is_empty() || new_enough(&includes.min_kernel)?)
            && (excludes.min_kernel.is_empty() || !new_enough(&excludes.min_kernel)?))
    }
}

/// As Go and so Docker calls it.
#[cfg(target_arch = "x86_64")]
const ARCH: &str = "amd64";
#[cfg(target_arch = "aarch64")]
const ARCH: &str = "arm64";

fn capability(name: &str) -> Result<u64, ProfileError> {
    let known: Result<Capability, _> = name.parse();
    known.map(capabilities::bit).map_err(|_| ProfileError::Condition(name.to_owned()))
}

fn version(text: &str) -> Option<(u32, u32)> {
    let mut numbers = text.split(['.', '-']);
    Some((numbers.next()?.parse().ok()?, numbers.next()?.parse().ok()?))
}

fn kernel_is_at_least(wanted: &str) -> Result<bool, ProfileError> {
    let wanted = version(wanted).ok_or_else(|| ProfileError::Condition(wanted.to_owned()))?;
    let running = uname().ok();
    let running = running.as_ref().and_then(|name| version(name.release().to_str()?));
    // A kernel that does not say is not refused what every supported kernel has.
    Ok(running.is_none_or(|running| running >= wanted))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use syscalls::Sysno;

    use super::super::compile::run;
    use super::*;

    const ALLOW: u32 = libc::SECCOMP_RET_ALLOW;
    const EPERM: u32 = libc::SECCOMP_RET_ERRNO | libc::EPERM as u32;
    const ENOSYS: u32 = libc::SECCOMP_RET_ERRNO | libc::ENOSYS as u32;

    fn answer(json: &str, bounding: u64, call: Sysno, arguments: [u64; 6]) -> u32 {
        run(&profile_filter(json, bounding).unwrap(), NATIVE, call as u32, arguments)
    }

    #[test]
    fn entries_defaults_and_unknown_names_are_as_in_docker() {
        let json = r#"{"defaultAction":"SCMP_ACT_ERRNO","defaultErrnoRet":38,"syscalls":[
            {"names":["read","no_such_call_yet"],"action":"SCMP_ACT_ALLOW","args":null},
            {"name":"write","action":"SCMP_ACT_ERRNO","errnoRet":13},
            {"names":["openat"],"action":"SCMP_ACT_KILL_PROCESS"},
            {"names":["statx"],"action":"SCMP_ACT_ALLOW"}]}"#;
        assert_eq!(answer(json, 0, Sysno::read, [0; 6]), ALLOW);
        assert_eq!(answer(json, 0, Sysno::write, [0; 6]), libc::SECCOMP_RET_ERRNO | 13);
        assert_eq!(answer(json, 0, Sysno::openat, [0; 6]), libc::SECCOMP_RET_KILL_PROCESS);
        assert_eq!(answer(json, 0, Sysno::close, [0; 6]), ENOSYS);
        let deny = json.replace("\"defaultErrnoRet\":38,", "");
        assert_eq!(answer(&deny, 0, Sysno::close, [0; 6]), EPERM);
        // Newer than all that the profile names.
        assert_eq!(answer(&deny, 0, Sysno::fchmodat2, [0; 6]), ENOSYS);
    }

    #[test]
    fn an_entry_counts_when_its_conditions_hold() {
        let json = r#"{"defaultAction":"SCMP_ACT_ERRNO","syscalls":[
            {"names":["mount"],"action":"SCMP_ACT_ALLOW","includes":{"caps":["CAP_SYS_ADMIN"]}},
            {"names":["ptrace"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"4.8"}},
            {"names":["kcmp"],"action":"SCMP_ACT_ALLOW","includes":{"minKernel":"99.0"}},
            {"names":["read"],"action":"SCMP_ACT_ALLOW","includes":{"arches":["s390x"]}},
            {"names":["write"],"action":"SCMP_ACT_ALLOW","excludes":{"arches":["s390x"]}},
            {"names":["clone"],"action":"SCMP_ACT_ALLOW","excludes":{"caps":["CAP_SYS_ADMIN"]},
             "args":[{"index":0,"value":2114060288,"valueTwo":0,"op":"SCMP_CMP_MASKED_EQ"}]}]}"#;
        let admin = capabilities::bit(Capability::SYS_ADMIN);
        assert_eq!(answer(json, 0, Sysno::mount, [0; 6]), EPERM);
        assert_eq!(answer(json, admin, Sysno::mount, [0; 6]), ALLOW);
        assert_eq!(answer(json, 0, Sysno::ptrace, [0; 6]), ALLOW);
        assert_eq!(answer(json, 0, Sysno::kcmp, [0; 6]), EPERM);
        assert_eq!(answer(json, 0, Sysno::read, [0; 6]), EPERM);
        assert_eq!(answer(json, 0, Sysno::write, [0; 6]), ALLOW);
        let new_user = [libc::CLONE_NEWUSER as u64, 0, 0, 0, 0, 0];
        assert_eq!(answer(json, 0, Sysno::clone, [17, 0, 0, 0, 0, 0]), ALLOW);
        assert_eq!(answer(json, 0, Sysno::clone, new_user), EPERM);
        assert_eq!(answer(json, admin, Sysno::clone, [17, 0, 0, 0, 0, 0]), EPERM);
    }

    #[test]
    fn other_architectures_are_killed_unless_the_profile_has_them() {
        let json = r#"{"defaultAction":"SCMP_ACT_ALLOW"}"#;
        let i386 = 0x4000_0003;
        let filter = profile_filter(json, 0).unwrap();
        assert_eq!(run(&filter, i386, 3, [0; 6]), libc::SECCOMP_RET_KILL_THREAD);
        #[cfg(target_arch = "x86_64")]
        for more in [
            r#""architectures":["SCMP_ARCH_X86"]"#,
            r#""archMap":[{"architecture":"SCMP_ARCH_X86_64","subArchitectures":["SCMP_ARCH_X86"]}]"#,
        ] {
            let json = json.replace('}', &format!(",{more}}}"));
            assert_eq!(run(&profile_filter(&json, 0).unwrap(), i386, 3, [0; 6]), ALLOW, "{json}");
        }
    }

    #[test]
    fn what_cannot_be_done_is_refused_by_name() {
        for (json, part) in [
            ("[]", "seccomp profile"),
            (r#"{"defaultAction":"SCMP_ACT_NOTIFY"}"#, "SCMP_ACT_NOTIFY"),
            (r#"{"defaultAction":"SCMP_ACT_ALLOW","listenerPath":"/x"}"#, "listenerPath"),
            (r#"{"defaultAction":"SCMP_ACT_ALLOW","flags":["SECCOMP_FILTER_FLAG_LOG"]}"#, "flags"),
            (
                r#"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{"names":["read"],
                    "action":"SCMP_ACT_KILL","args":[{"index":6,"value":1,"op":"SCMP_CMP_EQ"}]}]}"#,
                "argument 6",
            ),
        ] {
            let error = profile_filter(json, 0).unwrap_err().to_string();
            assert!(error.contains(part), "{part}: {error}");
        }
    }

    proptest! {
        #[test]
        fn comparisons_are_those_of_64_bit_numbers(
            // Equal halves are what goes wrong.
            seen in prop::sample::select(vec![0, 1, 2, 1 << 32, (1 << 32) + 1, u64::MAX]),
            value in prop::sample::select(vec![0, 1, 2, 1 << 32, (1 << 32) + 1, u64::MAX]),
            mask: u64,
            other: u64,
        ) {
            for (comparison, holds) in [
                (Comparison::NotEqual(value), seen != value),
                (Comparison::Less(value), seen < value),
                (Comparison::LessOrEqual(value), seen <= value),
                (Comparison::Equal(value), seen == value),
                (Comparison::GreaterOrEqual(value), seen >= value),
                (Comparison::Greater(value), seen > value),
                (Comparison::MaskedEqual { mask, value: seen }, true),
            ] {
                let second = (Argument(5), Comparison::Equal(other));
                let mut body = when(&[(Argument(2), comparison), second], ALLOW);
                body.extend(always(EPERM));
                let expected = if holds { ALLOW } else { EPERM };
                let arguments = [9, 9, seen, 9, 9, other];
                prop_assert_eq!(run(&body, NATIVE, 0, arguments), expected, "{:?}", comparison);
                let wrong = [9, 9, seen, 9, 9, !other];
                prop_assert_eq!(run(&body, NATIVE, 0, wrong), EPERM);
            }
        }

        #[test]
        fn foreign_bytes_are_an_error_and_never_a_panic(text in ".{0,200}") {
            let _ = profile_filter(&text, 0);
        }
    }
}
