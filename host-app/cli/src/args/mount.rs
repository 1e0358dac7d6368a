//! What is mounted in a container: `--mount`, `-v`, `--tmpfs`, as Docker's CLI reads them
//! (`opts/mount.go`, `cli/compose/loader/volume.go`, and moby's `volume/mounts/linux_parser.go`).

use linkspan_docker_types::container::mount as docker;
use linkspan_proto::v1::{BindRecursive, Mount, MountType};

use super::size;

/// `--mount type=...,src=...,dst=...`.
///
/// # Errors
/// What is wrong with the text, in Docker's words.
pub(crate) fn mount(text: &str) -> Result<Mount, String> {
    let mut mount = Mount::default();
    mount.set_type(MountType::Volume);
    let mut given = Given::default();
    for field in fields(text)? {
        let (key, value) = match field.split_once('=') {
            Some((key, value)) => (key.to_ascii_lowercase(), Some(value)),
            None => (field.to_ascii_lowercase(), None),
        };
        match key.as_str() {
            "readonly" | "ro" => {
                mount.read_only = flag(&key, value)?;
                continue;
            }
            "volume-nocopy" => {
                mount.no_copy = flag(&key, value)?;
                given.volume = true;
                continue;
            }
            "bind-nonrecursive" => {
                given.bind = true;
                if flag(&key, value)? {
                    mount.set_recursive(BindRecursive::Disabled);
                }
                continue;
            }
            _ => {}
        }
        let value =
            value.ok_or_else(|| format!("invalid field '{field}' must be a key=value pair"))?;
        option(&mut mount, &mut given, &key, value)?;
    }
    given.check(&mount)?;
    if mount.target.is_empty() {
        return Err("target is required".into());
    }
    if mount.r#type() == MountType::Bind {
        mount.source = absolute(&mount.source);
    }
    Ok(mount)
}

/// Which groups of options were given, for they go with one type only.
#[derive(Default)]
struct Given {
    bind: bool,
    volume: bool,
    tmpfs: bool,
}

impl Given {
    fn check(&self, mount: &Mount) -> Result<(), String> {
        let kind = mount.r#type();
        for (given, group, needs) in [
            (self.volume, "volume-*", MountType::Volume),
            (self.bind, "bind-*", MountType::Bind),
            (self.tmpfs, "tmpfs-*", MountType::Tmpfs),
        ] {
            if given && kind != needs {
                let kind = docker::kind(kind);
                return Err(format!("cannot mix '{group}' options with mount type '{kind}'"));
            }
        }
        if kind == MountType::Bind && mount.source.is_empty() {
            return Err("a bind mount needs a source".into());
        }
        Ok(())
    }
}

fn option(mount: &mut Mount, given: &mut Given, key: &str, value: &str) -> Result<(), String> {
    let bad = || format!("invalid value for {key}: {value}");
    match key {
        "type" => mount.set_type(match value.to_ascii_lowercase().as_str() {
            "bind" => MountType::Bind,
            "volume" => MountType::Volume,
            "tmpfs" => MountType::Tmpfs,
            other => {
                return Err(format!("mount type `{other}` is not supported: bind, volume, tmpfs"));
            }
        }),
        "source" | "src" => value.clone_into(&mut mount.source),
        "target" | "dst" | "destination" => value.clone_into(&mut mount.target),
        // Docker: only Docker Desktop for macOS looks at it.
        "consistency" => {}
        "bind-propagation" => {
            given.bind = true;
            mount.set_propagation(docker::propagation(value).ok_or_else(bad)?);
        }
        "bind-recursive" => {
            given.bind = true;
            mount.set_recursive(match value {
                "enabled" => BindRecursive::Enabled,
                "disabled" => BindRecursive::Disabled,
                "writable" => BindRecursive::Writable,
                "readonly" => BindRecursive::Readonly,
                _ => return Err(bad()),
            });
        }
        "volume-subpath" => {
            given.volume = true;
            value.clone_into(&mut mount.subpath);
        }
        "volume-driver" => {
            given.volume = true;
            value.clone_into(&mut mount.driver);
        }
        "volume-opt" | "volume-label" => {
            given.volume = true;
            let (name, value) = value.split_once('=').unwrap_or((value, ""));
            let map =
                if key == "volume-opt" { &mut mount.driver_options } else { &mut mount.labels };
            map.insert(name.to_owned(), value.to_owned());
        }
        "tmpfs-size" => {
            given.tmpfs = true;
            mount.tmpfs_size_bytes = size::bytes(value).map_err(|_| bad())?;
        }
        "tmpfs-mode" => {
            given.tmpfs = true;
            mount.tmpfs_mode = Some(u32::from_str_radix(value, 8).map_err(|_| bad())?);
        }
        other => return Err(format!("unexpected key '{other}' in '{other}={value}'")),
    }
    Ok(())
}

/// One line of CSV (RFC 4180), as Docker reads it: a field in quotes may contain commas.
fn fields(text: &str) -> Result<Vec<String>, String> {
    let mut fields = vec![String::new()];
    let mut chars = text.chars().peekable();
    let mut quoted = false;
    while let Some(c) = chars.next() {
        let at_start = fields.last().is_none_or(String::is_empty);
        match c {
            '"' if quoted && chars.next_if_eq(&'"').is_some() => push(&mut fields, '"'),
            '"' if quoted => quoted = false,
            '"' if at_start => quoted = true,
            ',' if !quoted => fields.push(String::new()),
            c => push(&mut fields, c),
        }
    }
    if quoted {
        return Err("a quote is not closed".into());
    }
    if fields.iter().any(String::is_empty) {
        return Err("a field is empty".into());
    }
    Ok(fields)
}

fn push(fields: &mut [String], c: char) {
    if let Some(field) = fields.last_mut() {
        field.push(c);
    }
}

fn flag(key: &str, value: Option<&str>) -> Result<bool, String> {
    match value {
        None | Some("true" | "1") => Ok(true),
        Some("false" | "0") => Ok(false),
        Some(other) => Err(format!("invalid value for {key}: {other}")),
    }
}

/// `-v [SOURCE:]TARGET[:OPTIONS]`.
///
/// # Errors
/// What is wrong with the text.
pub(crate) fn volume(text: &str) -> Result<Mount, String> {
    let mut mount = docker::bind(text)?;
    if mount.r#type() == MountType::Bind {
        mount.source = absolute(&mount.source);
    }
    Ok(mount)
}

/// Docker's CLI completes a relative path with its own folder.
fn absolute(path: &str) -> String {
    match std::path::absolute(path) {
        Ok(whole) if !path.is_empty() => whole.to_string_lossy().into_owned(),
        _ => path.to_owned(),
    }
}

/// `--tmpfs TARGET[:OPTIONS]`.
///
/// # Errors
/// Never: the machine checks the options.
pub(crate) fn tmpfs(text: &str) -> Result<Mount, String> {
    let (target, options) = text.split_once(':').unwrap_or((text, ""));
    Ok(docker::tmpfs(target, options))
}

#[cfg(test)]
mod tests {
    use linkspan_proto::v1::MountPropagation;

    use super::*;

    #[test]
    fn a_volume_is_a_name_a_path_or_neither() {
        for (text, kind, source, target, read_only) in [
            ("/data", MountType::Volume, "", "/data", false),
            ("cache:/data", MountType::Volume, "cache", "/data", false),
            ("cache:/data:ro,z,nocopy", MountType::Volume, "cache", "/data", true),
            ("/srv/x:/data:ro,rslave", MountType::Bind, "/srv/x", "/data", true),
        ] {
            let mount = volume(text).expect(text);
            assert_eq!((mount.r#type(), &*mount.source, &*mount.target), (kind, source, target));
            assert_eq!(mount.read_only, read_only, "{text}");
        }
        assert!(volume("./x:/data").expect("valid").source.ends_with("x"));
        let slave = volume("/x:/y:rslave").expect("valid");
        assert_eq!(slave.propagation(), MountPropagation::Rslave);
        for wrong in ["", ":/data", "a:b:c:d", "cache:/data:bogus", "cache:/data:rslave", "a:"] {
            assert!(volume(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn mount_takes_dockers_keys() {
        let text = "type=volume,src=data,dst=/data,readonly,volume-nocopy=true,volume-subpath=a/b,\
                    volume-driver=local,volume-opt=type=tmpfs,\"volume-opt=o=size=1m,uid=5\",\
                    volume-label=a=b";
        let volume = mount(text).expect("valid");
        assert_eq!((&*volume.source, &*volume.target, &*volume.subpath), ("data", "/data", "a/b"));
        assert!(volume.read_only && volume.no_copy);
        assert_eq!(volume.driver_options["type"], "tmpfs");
        assert_eq!(volume.driver_options["o"], "size=1m,uid=5");
        assert_eq!(volume.labels["a"], "b");
        let tmpfs = mount("type=tmpfs,target=/t,tmpfs-size=1m,tmpfs-mode=1770").expect("valid");
        assert_eq!((tmpfs.tmpfs_size_bytes, tmpfs.tmpfs_mode), (1 << 20, Some(0o1770)));
        let text = "type=bind,source=/a,destination=/b,bind-propagation=rshared,ro,\
                    bind-recursive=readonly";
        let bind = mount(text).expect("valid");
        assert_eq!(bind.propagation(), MountPropagation::Rshared);
        assert_eq!(bind.recursive(), BindRecursive::Readonly);
    }

    #[test]
    fn what_is_wrong_with_a_mount_is_said() {
        for (text, words) in [
            ("type=volume,src=x", "target is required"),
            ("type=nfs,dst=/x", "`nfs`"),
            ("type=tmpfs,dst=/x,volume-nocopy", "cannot mix 'volume-*'"),
            ("dst=/x,bind-propagation=shared", "cannot mix 'bind-*'"),
            ("dst=/x,tmpfs-size=1m", "cannot mix 'tmpfs-*'"),
            ("dst=/x,bogus=1", "unexpected key 'bogus'"),
            ("dst=/x,src", "key=value"),
            ("type=bind,dst=/x", "needs a source"),
            ("dst=/x,readonly=maybe", "invalid value for readonly"),
            ("type=bind,src=/x,dst=/x,bind-propagation=up", "invalid value for bind-propagation"),
            ("dst=/x,,", "empty"),
            ("dst=/x,\"src=y", "not closed"),
        ] {
            let why = mount(text).expect_err(text);
            assert!(why.contains(words), "{text}: {why}");
        }
    }
}
