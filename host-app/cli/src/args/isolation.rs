//! Devices, disks, kernel parameters and security options of `run` and `create`.

use linkspan_proto::v1::{DeviceAmount, DeviceMapping};

use super::size;
use crate::error::Error;

/// `--device HOST[:CONTAINER[:rwm]]`; `HOST:rwm` too, as in Docker.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn device(text: &str) -> Result<DeviceMapping, String> {
    // `vendor.com/class=name` of the Container Device Interface.
    if !text.starts_with('/') && text.split_once('/').is_some_and(|(_, rest)| rest.contains('=')) {
        return Err(
            "CDI devices are not supported: the machine has no specifications of any".into()
        );
    }
    let parts: Vec<&str> = text.split(':').collect();
    let is_access = |part: &str| !part.is_empty() && part.chars().all(|c| "rwm".contains(c));
    let (host, own, access) = match parts[..] {
        [host] => (host, "", ""),
        [host, access] if is_access(access) => (host, "", access),
        [host, own] => (host, own, ""),
        [host, own, access] => (host, own, access),
        _ => return Err("a device is HOST[:CONTAINER[:rwm]]".into()),
    };
    if host.is_empty() {
        return Err("a device of the machine is missing".into());
    }
    let permissions = access.into();
    Ok(DeviceMapping { host_path: host.into(), container_path: own.into(), permissions })
}

/// `DISK:BYTES`, such as `/dev/vda:1mb`.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn disk_bytes(text: &str) -> Result<DeviceAmount, String> {
    disk(text, size::bytes)
}

/// `DISK:NUMBER`.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn disk_number(text: &str) -> Result<DeviceAmount, String> {
    disk(text, |amount| amount.parse().map_err(|_| format!("`{amount}` is not a number")))
}

fn disk(text: &str, amount: impl Fn(&str) -> Result<u64, String>) -> Result<DeviceAmount, String> {
    let (path, value) = text.rsplit_once(':').ok_or("it is a disk and an amount: DISK:AMOUNT")?;
    if !path.starts_with("/dev/") {
        return Err(format!("`{path}` is not a device: it does not begin with /dev/"));
    }
    Ok(DeviceAmount { path: path.into(), amount: amount(value)? })
}

/// `--sysctl NAME=VALUE`.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn sysctl(text: &str) -> Result<(String, String), String> {
    match text.split_once('=') {
        Some((name, value)) if !name.is_empty() => Ok((name.into(), value.into())),
        _ => Err("a kernel parameter is NAME=VALUE".into()),
    }
}

/// `--security-opt`s, with the content of a seccomp profile in the place of its file's name: the
/// machine does not see the file.
///
/// # Errors
/// A profile that cannot be read, or is not JSON.
pub(crate) fn security(options: &[String]) -> Result<Vec<String>, Error> {
    options.iter().map(|option| security_option(option)).collect()
}

fn security_option(option: &str) -> Result<String, Error> {
    let file = option.strip_prefix("seccomp=").or_else(|| option.strip_prefix("seccomp:"));
    let Some(file) = file.filter(|file| !["unconfined", "builtin"].contains(file)) else {
        return Ok(option.to_owned());
    };
    let failed = |why: &dyn std::fmt::Display| {
        Error::invalid(format!("cannot use the seccomp profile `{file}`: {why}"))
    };
    let text = std::fs::read_to_string(file).map_err(|error| failed(&error))?;
    let profile: serde_json::Value = serde_json::from_str(&text).map_err(|error| failed(&error))?;
    Ok(format!("seccomp={profile}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_are_read_as_docker_reads_them() {
        for (text, (host, own, access)) in [
            ("/dev/a", ("/dev/a", "", "")),
            ("/dev/a:/dev/b", ("/dev/a", "/dev/b", "")),
            ("/dev/a:rw", ("/dev/a", "", "rw")),
            ("/dev/a:/dev/b:r", ("/dev/a", "/dev/b", "r")),
        ] {
            let read = device(text).unwrap();
            let read =
                (read.host_path.as_str(), read.container_path.as_str(), read.permissions.as_str());
            assert_eq!(read, (host, own, access), "{text}");
        }
        assert!(device("").is_err() && device("a:b:c:d").is_err());
        assert!(device("vendor.com/gpu=all").unwrap_err().contains("CDI"));
    }

    #[test]
    fn disks_have_an_amount() {
        assert_eq!(disk_bytes("/dev/vda:1mb").map(|disk| disk.amount), Ok(1 << 20));
        assert_eq!(disk_number("/dev/vda:100").map(|disk| disk.amount), Ok(100));
        for text in ["/dev/vda", "vda:1", "/dev/vda:x"] {
            assert!(disk_number(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_profile_travels_as_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("profile.json");
        let option = format!("seccomp={}", file.display());
        assert!(security(std::slice::from_ref(&option)).is_err());
        std::fs::write(&file, "{\n  \"defaultAction\": \"SCMP_ACT_ALLOW\"\n}").unwrap();
        let read = security(&[option, "seccomp=unconfined".into()]).unwrap();
        assert_eq!(read, [r#"seccomp={"defaultAction":"SCMP_ACT_ALLOW"}"#, "seccomp=unconfined"]);
    }
}
