//! What is wrong with mounts whatever the machine, the image and other containers are.

use std::{
    collections::BTreeSet,
    path::{Component, Path, PathBuf},
};

use super::{Kind, MountConfig, Recursive, tmpfs::Tmpfs};
use crate::{Error, config::Config, volumes};

/// The option that mounts are named by in errors.
pub(super) const OPTION: &str = "--mount";

/// Checks all mounts of a request.
///
/// # Errors
/// Names the mount and says what is wrong with it, in Docker's words where it has some.
pub fn check(config: &Config) -> Result<(), Error> {
    let mut seen = BTreeSet::new();
    for mount in &config.mounts {
        let target = destination(&mount.target)?;
        if !seen.insert(target.clone()) {
            let why = format!("duplicate mount point: {}", target.display());
            return Err(Error::invalid(OPTION, why));
        }
        one(mount)?;
    }
    for from in &config.volumes_from {
        volumes_from(from)?;
    }
    if !config.volume_driver.is_empty() && config.volume_driver != volumes::DRIVER {
        return Err(unknown_driver("--volume-driver", &config.volume_driver));
    }
    Ok(())
}

fn one(mount: &MountConfig) -> Result<(), Error> {
    let invalid = |why: String| Err(Error::invalid(OPTION, why));
    if mount.source.contains('\0') || mount.subpath.contains('\0') {
        return invalid("a source contains a NUL byte".into());
    }
    match mount.kind {
        Kind::Bind => {
            if !Path::new(&mount.source).is_absolute() {
                return invalid(format!(
                    "invalid mount path: '{}' mount path must be absolute",
                    mount.source
                ));
            }
            if let Some(shared) = &mount.shared {
                let plain = |part| matches!(part, Component::Normal(_));
                let one = Path::new(&shared.tag).components().map(plain).eq([true]);
                if !one || !shared.path.components().all(plain) {
                    return invalid(format!("`{}` is no path within a share", mount.source));
                }
            }
            if mount.recursive == Recursive::Readonly && !mount.read_only {
                return invalid("bind-recursive=readonly needs a read-only mount".into());
            }
        }
        Kind::Volume => {
            if !mount.source.is_empty() {
                volumes::check_name(&mount.source)?;
            }
            if mount.source.is_empty() && !mount.subpath.is_empty() {
                return invalid("must not set Subpath when using anonymous volumes".into());
            }
            let inside = |part| matches!(part, Component::Normal(_) | Component::CurDir);
            if !Path::new(&mount.subpath).components().all(inside) {
                return invalid(format!(
                    "subpath `{}` must be a relative path within the volume",
                    mount.subpath
                ));
            }
            if !mount.driver.is_empty() && mount.driver != volumes::DRIVER {
                return Err(unknown_driver("--mount volume-driver", &mount.driver));
            }
        }
        Kind::Tmpfs => {
            if !mount.source.is_empty() {
                return invalid("field Source must not be specified for a tmpfs".into());
            }
            tmpfs(mount)?;
        }
    }
    Ok(())
}

/// What a request's tmpfs comes to.
pub(super) fn tmpfs(mount: &MountConfig) -> Result<Tmpfs, Error> {
    let mut options = mount.tmpfs_options.clone();
    if mount.tmpfs_size != 0 {
        options.push_str(&format!(",size={}", mount.tmpfs_size));
    }
    if let Some(mode) = mount.tmpfs_mode {
        options.push_str(&format!(",mode={mode:o}"));
    }
    let mut tmpfs = Tmpfs::parse(&options).map_err(|why| Error::invalid("--tmpfs", why))?;
    tmpfs.read_only |= mount.read_only;
    Ok(tmpfs)
}

/// A target without `.`, `..` and doubled slashes. Symbolic links of the container are none of
/// its concern.
pub(super) fn destination(target: &str) -> Result<PathBuf, Error> {
    let invalid =
        |why: &str| Err(Error::invalid(OPTION, format!("invalid mount target, {why}: `{target}`")));
    if target.contains('\0') {
        return invalid("it contains a NUL byte");
    }
    if !Path::new(target).is_absolute() {
        return invalid("must be an absolute path in the container");
    }
    let mut clean = PathBuf::from("/");
    for part in Path::new(target).components() {
        match part {
            Component::Normal(name) => clean.push(name),
            Component::ParentDir => drop(clean.pop()),
            _ => {}
        }
    }
    if clean == Path::new("/") {
        return Err(Error::invalid(
            OPTION,
            "invalid specification: destination can't be '/'".to_owned(),
        ));
    }
    // What is there is the container's view of the kernel, and what keeps it in.
    if clean.starts_with("/proc") {
        return Err(Error::Unsupported {
            option: format!("a mount at {}", clean.display()),
            why: "/proc is the container's own view of its processes".into(),
        });
    }
    if clean == Path::new("/dev") {
        return Err(Error::Unsupported {
            option: "a mount at /dev".into(),
            why: "the container's device nodes are made there; mount something below it".into(),
        });
    }
    Ok(clean)
}

/// `CONTAINER[:ro|rw]`: whose mounts, and whether nothing can be written through them. None: as
/// they are there.
pub(super) fn volumes_from(text: &str) -> Result<(&str, Option<bool>), Error> {
    let invalid = |why: String| Err(Error::invalid("--volumes-from", why));
    let (who, mode) = text.split_once(':').map_or((text, ""), |(who, mode)| (who, mode));
    if who.is_empty() {
        return invalid(format!("`{text}` names no container"));
    }
    match mode {
        "" => Ok((who, None)),
        "ro" => Ok((who, Some(true))),
        // z and Z are about SELinux labels, which this kernel has not.
        "rw" | "z" | "Z" => Ok((who, None)),
        other => invalid(format!("invalid mode `{other}`: it is ro or rw")),
    }
}

fn unknown_driver(option: &str, driver: &str) -> Error {
    Error::Unsupported {
        option: format!("{option} {driver}"),
        why: "there are no volume plugins, only the driver `local`".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::mounts::SharedPath;

    fn mount(kind: Kind, source: &str, target: &str) -> MountConfig {
        MountConfig { kind, source: source.into(), target: target.into(), ..Default::default() }
    }

    fn refusal(mounts: Vec<MountConfig>) -> String {
        check(&Config { mounts, ..Config::default() }).expect_err("it is not valid").to_string()
    }

    #[test]
    fn what_is_wrong_with_a_mount_is_said_in_dockers_words() {
        use Kind::{Bind, Tmpfs, Volume};
        for (mounts, words) in [
            (vec![mount(Volume, "data", "relative")], "must be an absolute path"),
            (vec![mount(Volume, "data", "/")], "destination can't be '/'"),
            (vec![mount(Volume, "data", "/a/..")], "destination can't be '/'"),
            (
                vec![mount(Volume, "data", "/a"), mount(Tmpfs, "", "/b/../a/")],
                "duplicate mount point: /a",
            ),
            (vec![mount(Volume, "d", "/a")], "too short"),
            (vec![mount(Volume, "a/b", "/a")], "use absolute path"),
            (vec![mount(Bind, "rel", "/a")], "mount path must be absolute"),
            (vec![mount(Tmpfs, "x", "/a")], "must not be specified"),
            (vec![mount(Volume, "data", "/proc/sys")], "not supported"),
            (vec![mount(Volume, "data", "/dev")], "not supported"),
            (
                vec![MountConfig { subpath: "../x".into(), ..mount(Volume, "data", "/a") }],
                "within the volume",
            ),
            (
                vec![MountConfig { driver: "nfs".into(), ..mount(Volume, "data", "/a") }],
                "only the driver `local`",
            ),
        ] {
            let text = refusal(mounts.clone());
            assert!(text.contains(words), "{mounts:?}: {text}");
        }
    }

    #[test]
    fn a_path_of_the_host_names_something_within_a_share() {
        let shared = |tag: &str, path: &str| {
            let shared = SharedPath { tag: tag.into(), path: path.into() };
            vec![MountConfig { shared: Some(shared), ..mount(Kind::Bind, "/home/me", "/a") }]
        };
        for (tag, path) in [("", "a"), ("..", "a"), ("a/b", "c"), ("a", "../b"), ("a", "/etc")] {
            assert!(refusal(shared(tag, path)).contains("no path within a share"), "{tag} {path}");
        }
        for path in ["", "a/b"] {
            check(&Config { mounts: shared("share-1", path), ..Config::default() }).unwrap();
        }
    }

    #[test]
    fn below_dev_there_may_be_mounts() {
        let mounts = vec![mount(Kind::Tmpfs, "", "/dev/shm"), mount(Kind::Volume, "", "/dev/x")];
        check(&Config { mounts, ..Config::default() }).unwrap();
    }

    #[test]
    fn another_containers_mounts_may_be_made_read_only() {
        assert_eq!(volumes_from("web:ro").unwrap(), ("web", Some(true)));
        assert_eq!(volumes_from("web").unwrap(), ("web", None));
        assert!(volumes_from("web:x").is_err() && volumes_from(":ro").is_err());
    }
}
