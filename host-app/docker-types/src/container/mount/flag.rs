//! Mounts as `-v`, `Binds`, `--tmpfs` and `Tmpfs` say them, in one text.

use linkspan_proto::v1::{self as wire, BindRecursive, MountPropagation, MountType};

use super::propagation;

/// `[SOURCE:]TARGET[:OPTIONS]`, as `-v` and `Binds` have it (moby's
/// `volume/mounts/linux_parser.go`). A relative source stays as it is.
///
/// # Errors
/// What is wrong with the text, in Docker's words.
pub fn bind(text: &str) -> Result<wire::Mount, String> {
    let bad = || format!("invalid volume specification: '{text}'");
    let parts = split(text);
    let (source, target, options) = match parts[..] {
        [target] => ("", target, ""),
        [source, target] => (source, target, ""),
        [source, target, options] => (source, target, options),
        _ => return Err(bad()),
    };
    if target.is_empty() || (source.is_empty() && parts.len() > 1) {
        return Err(bad());
    }
    // What has a separator or begins with a dot is a path; all else is a name.
    let is_path =
        source.contains(['/', '\\']) || source.starts_with('.') || source.starts_with('~');
    let mut mount = wire::Mount {
        source: source.to_owned(),
        target: target.to_owned(),
        mode: options.to_owned(),
        // Docker: a folder that is not there is made; `--mount` refuses it.
        create_source: is_path,
        ..wire::Mount::default()
    };
    mount.set_type(if is_path { MountType::Bind } else { MountType::Volume });
    for option in options.split(',').filter(|option| !option.is_empty()) {
        match option {
            "ro" => mount.read_only = true,
            "rw" => mount.read_only = false,
            "nocopy" if !is_path => mount.no_copy = true,
            // z and Z are about SELinux labels, the others about Docker Desktop for macOS.
            "copy" | "z" | "Z" | "consistent" | "cached" | "delegated" => {}
            word => match propagation(word) {
                Some(propagation) if is_path => mount.set_propagation(propagation),
                _ => return Err(format!("invalid mode: {word}")),
            },
        }
    }
    Ok(mount)
}

/// At colons, but for that of a drive (`C:\data:/data`).
fn split(text: &str) -> Vec<&str> {
    let bytes = text.as_bytes();
    let drive = bytes.len() > 2
        && bytes[0].is_ascii_alphabetic()
        && bytes[1] == b':'
        && matches!(bytes[2], b'\\' | b'/')
        && text[2..].contains(':');
    if !drive {
        return text.split(':').collect();
    }
    let end = text[2..].find(':').map_or(text.len(), |at| at + 2);
    std::iter::once(&text[..end]).chain(text[end + 1..].split(':')).collect()
}

/// A target and its options, as `--tmpfs` and `Tmpfs` have them. The machine checks the options.
#[must_use]
pub fn tmpfs(target: &str, options: &str) -> wire::Mount {
    let mut mount = wire::Mount {
        target: target.to_owned(),
        tmpfs_options: options.to_owned(),
        ..wire::Mount::default()
    };
    mount.set_type(MountType::Tmpfs);
    mount
}

/// `SOURCE:TARGET[:OPTIONS]`, when `-v` can say it.
pub(crate) fn as_bind(mount: &wire::Mount) -> Option<String> {
    if mount.r#type() == MountType::Tmpfs || mount.source.is_empty() {
        return None;
    }
    if !mount.mode.is_empty() {
        return Some(format!("{}:{}:{}", mount.source, mount.target, mount.mode));
    }
    is_plain(mount).then(|| format!("{}:{}", mount.source, mount.target))
}

/// An anonymous volume that `-v` can say: it stands in `Config.Volumes`.
pub(crate) fn is_anonymous_flag(mount: &wire::Mount) -> bool {
    matches!(mount.r#type(), MountType::Volume | MountType::Unspecified)
        && mount.source.is_empty()
        && is_plain(mount)
}

/// Nothing that only options say, of `-v` or of `--mount`.
fn is_plain(mount: &wire::Mount) -> bool {
    use {BindRecursive as R, MountPropagation as P};
    !mount.read_only
        && !mount.no_copy
        && matches!(mount.propagation(), P::Unspecified | P::Rprivate)
        && matches!(mount.recursive(), R::Unspecified | R::Enabled)
        && mount.subpath.is_empty()
        && mount.driver.is_empty()
        && mount.driver_options.is_empty()
        && mount.labels.is_empty()
}

/// `--mount` has a size and a mode of its own, and read-only.
pub(crate) fn is_tmpfs_flag(mount: &wire::Mount) -> bool {
    mount.r#type() == MountType::Tmpfs
        && !mount.read_only
        && mount.tmpfs_size_bytes == 0
        && mount.tmpfs_mode.is_none()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_bind_is_a_path_a_name_or_neither() {
        for (text, kind, source, target, read_only) in [
            ("/data", MountType::Volume, "", "/data", false),
            ("cache:/data", MountType::Volume, "cache", "/data", false),
            ("cache:/data:ro,z,nocopy", MountType::Volume, "cache", "/data", true),
            ("/srv/x:/data:ro,rslave", MountType::Bind, "/srv/x", "/data", true),
            ("./x:/data", MountType::Bind, "./x", "/data", false),
            (r"C:\data:/data:ro", MountType::Bind, r"C:\data", "/data", true),
        ] {
            let mount = bind(text).expect(text);
            assert_eq!((mount.r#type(), &*mount.source, &*mount.target), (kind, source, target));
            assert_eq!(
                (mount.read_only, mount.create_source),
                (read_only, kind == MountType::Bind)
            );
        }
        assert_eq!(bind("/x:/y:rslave").unwrap().propagation(), MountPropagation::Rslave);
        for wrong in ["", ":/data", "a:b:c:d", "cache:/data:bogus", "cache:/data:rslave", "a:"] {
            assert!(bind(wrong).is_err(), "{wrong}");
        }
    }
}
