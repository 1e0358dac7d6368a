//! `--device` and `--device-cgroup-rule`: what of the VM's devices a container may use.

use std::{
    fs,
    os::unix::fs::{FileTypeExt as _, MetadataExt as _},
    path::{Path, PathBuf},
};

use linkspan_runtime::{
    devices::{Access, DeviceRule},
    plan::{Device, DiskNumber},
};

use crate::{
    Error,
    config::{Config, DeviceMapping},
};

const DEVICE: &str = "--device";
const RULE: &str = "--device-cgroup-rule";

/// Checks what can be checked without the devices, which may come and go.
///
/// # Errors
/// Names the option.
pub(crate) fn validate(config: &Config) -> Result<(), Error> {
    for mapping in &config.devices {
        access(mapping)?;
        let relative = |path: &Path| !path.as_os_str().is_empty() && !path.is_absolute();
        for path in [&mapping.host_path, &mapping.container_path] {
            if relative(path) {
                let why = format!("`{}` is not an absolute path", path.display());
                return Err(Error::invalid(DEVICE, why));
            }
        }
        if mapping.host_path.as_os_str().is_empty() {
            return Err(Error::invalid(DEVICE, "it needs a device of the machine"));
        }
    }
    config.device_cgroup_rules.iter().try_for_each(|rule| parse_rule(rule).map(drop))
}

fn access(mapping: &DeviceMapping) -> Result<Access, Error> {
    let text = mapping.permissions.as_str();
    if text.is_empty() {
        return Ok(Access::ALL);
    }
    Access::parse(text)
        .ok_or_else(|| Error::invalid(DEVICE, format!("`{text}` is not made of r, w and m")))
}

/// `c 10:229 rwm`, `b *:* m`, `a 1:3 r`: as devices.allow of cgroup v1. `a` is two rules.
fn parse_rule(text: &str) -> Result<Vec<DeviceRule>, Error> {
    let read = || {
        let mut words = text.split(' ');
        let (kind, numbers, access) = (words.next()?, words.next()?, words.next()?);
        let (major, minor) = numbers.split_once(':')?;
        let number = |text: &str| match text {
            "*" => Some(None),
            _ => text.parse::<u32>().ok().map(Some),
        };
        let (major, minor, access) = (number(major)?, number(minor)?, Access::parse(access)?);
        let kinds: &[bool] = match kind {
            "b" => &[true],
            "c" => &[false],
            "a" => &[true, false],
            _ => return None,
        };
        let rule = |block: &bool| DeviceRule { block: *block, major, minor, access };
        words.next().is_none().then(|| kinds.iter().map(rule).collect())
    };
    read().ok_or_else(|| {
        Error::invalid(RULE, format!("`{text}` is not of the form `[a|b|c] MAJOR:MINOR [rwm]`"))
    })
}

/// The nodes and rules that a configuration adds. Blocks.
///
/// # Errors
/// Names a device that is not there.
pub(crate) fn resolve(config: &Config) -> Result<(Vec<Device>, Vec<DeviceRule>), Error> {
    let (mut devices, mut rules) = (Vec::new(), Vec::new());
    for mapping in &config.devices {
        let access = access(mapping)?;
        let own = if mapping.container_path.as_os_str().is_empty() {
            &mapping.host_path
        } else {
            &mapping.container_path
        };
        let found = find(&mapping.host_path, own).map_err(|why| {
            Error::invalid(DEVICE, format!("`{}` {why}", mapping.host_path.display()))
        })?;
        rules.extend(found.iter().map(|device| DeviceRule {
            block: device.block,
            major: Some(device.major),
            minor: Some(device.minor),
            access,
        }));
        devices.extend(found);
    }
    for rule in &config.device_cgroup_rules {
        rules.extend(parse_rule(rule)?);
    }
    Ok((devices, rules))
}

/// A device, or all devices in a folder.
fn find(path: &Path, own: &Path) -> Result<Vec<Device>, String> {
    let metadata = fs::metadata(path).map_err(|error| format!("cannot be used: {error}"))?;
    if let Some(device) = node(own.into(), &metadata) {
        return Ok(vec![device]);
    }
    if !metadata.is_dir() {
        return Err("is neither a device of the machine nor a folder of devices".into());
    }
    let mut found = Vec::new();
    let mut folders = vec![(path.to_owned(), own.to_owned())];
    while let Some((folder, own)) = folders.pop() {
        let entries = fs::read_dir(&folder).map_err(|error| format!("cannot be read: {error}"))?;
        for entry in entries.flatten() {
            // Not followed: a link may lead out of the folder. Gone meanwhile: not there.
            let Ok(metadata) = entry.metadata() else { continue };
            let own = own.join(entry.file_name());
            if metadata.is_dir() {
                folders.push((entry.path(), own));
            } else {
                found.extend(node(own, &metadata));
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    Ok(found)
}

/// The node of a device; None: it is something else.
pub(crate) fn node(path: PathBuf, metadata: &fs::Metadata) -> Option<Device> {
    let kind = metadata.file_type();
    if !kind.is_block_device() && !kind.is_char_device() {
        return None;
    }
    let (major, minor) = numbers(metadata.rdev());
    let mode = metadata.mode() & 0o777;
    // As Docker does it: the node is the machine's in all but its place.
    let (uid, gid) = (metadata.uid(), metadata.gid());
    Some(Device { path, block: kind.is_block_device(), major, minor, mode, uid, gid })
}

/// The encoding of glibc's gnu_dev_major and gnu_dev_minor.
fn numbers(rdev: u64) -> (u32, u32) {
    let major = ((rdev >> 8) & 0xfff) | ((rdev >> 32) & !0xfff);
    let minor = (rdev & 0xff) | ((rdev >> 12) & !0xff);
    (major as u32, minor as u32)
}

/// The number of a disk, or what it is instead. Blocks.
pub(crate) fn disk(path: &Path) -> Result<DiskNumber, String> {
    let metadata = fs::metadata(path).map_err(|error| format!("cannot be used: {error}"))?;
    if !metadata.file_type().is_block_device() {
        return Err("is not a block device of the machine".into());
    }
    let (major, minor) = numbers(metadata.rdev());
    Ok(DiskNumber { major, minor })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(host: &str, own: &str, permissions: &str) -> Config {
        let mapping = DeviceMapping {
            host_path: host.into(),
            container_path: own.into(),
            permissions: permissions.into(),
        };
        Config { devices: vec![mapping], ..Config::default() }
    }

    #[test]
    fn a_device_becomes_a_node_and_a_rule_with_its_access() {
        let config = of("/dev/zero", "/dev/nothing", "r");
        validate(&config).unwrap();
        let (devices, rules) = resolve(&config).unwrap();
        assert_eq!((devices[0].major, devices[0].minor, devices[0].block), (1, 5, false));
        assert_eq!(devices[0].path, Path::new("/dev/nothing"));
        let access = Access::READ;
        let rule = DeviceRule { block: false, major: Some(1), minor: Some(5), access };
        assert_eq!(rules, [rule]);
    }

    #[test]
    fn what_is_not_a_device_is_refused_by_name() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("file");
        fs::write(&file, "").unwrap();
        for path in ["/dev/no-such-device", file.to_str().unwrap()] {
            let text = resolve(&of(path, "", "")).unwrap_err().to_string();
            assert!(text.starts_with(&format!("--device: `{path}` ")), "{text}");
        }
        // A folder without devices is as empty as it looks.
        assert!(resolve(&of(folder.path().to_str().unwrap(), "", "")).unwrap().0.is_empty());
        for config in [of("/dev/null", "", "rx"), of("null", "", ""), of("/dev/null", "x", "")] {
            assert!(validate(&config).unwrap_err().to_string().starts_with("--device: "));
        }
        assert!(disk(Path::new("/dev/null")).unwrap_err().contains("block device"));
    }

    #[test]
    fn rules_are_those_of_cgroup_v1() {
        let all = parse_rule("a *:* rwm").unwrap();
        assert_eq!(all.len(), 2);
        assert!(all.iter().all(|rule| rule.major.is_none() && rule.access == Access::ALL));
        let one = parse_rule("c 10:229 rw").unwrap();
        assert_eq!((one[0].major, one[0].minor), (Some(10), Some(229)));
        for wrong in ["", "c 1:3", "d 1:3 r", "c 1 r", "c 1:3 x", "c 1:3 r r", "c 1:3  r"] {
            let text = parse_rule(wrong).unwrap_err().to_string();
            assert!(text.starts_with("--device-cgroup-rule: "), "{wrong}: {text}");
        }
    }
}
