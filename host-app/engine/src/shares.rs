//! Bind mounts of a request, from the host's paths to what the guest has of them.
//!
//! The daemon decides what a path of the host means, because only it sees the host's files: it
//! cleans the path, follows its links, and finds the share that it is in. The guest resolves the
//! rest within that share and never out of it, so that a link which a container makes afterwards
//! leads nowhere else.

use std::{
    io,
    path::{Component, Path, PathBuf},
};

use linkspan_machine::Share;
use linkspan_proto::{
    error::{ErrorCode, Failure},
    v1::{Mount, MountType, SharedPath},
};

/// What is the machine's own, whatever the host has there: its kernel's interfaces and its volumes.
const MACHINES: &[&str] = &["/dev", "/proc", "/sys", "/var/lib/linkspan/volumes"];

/// Where Docker's clients look for its API. Mounted, they give the API of the machine, whatever the
/// host has there, as with every Docker whose engine is in a VM.
const DOCKER_SOCKETS: &[&str] = &["/var/run/docker.sock", "/run/docker.sock"];

/// Gives every bind mount its place in a share, and makes the folders that `-v` makes. Answers
/// with what the user should be told. `docker` is where this host serves Docker's API. Blocking.
///
/// # Errors
/// Names the path that cannot be mounted, before anything was made of that mount.
pub(crate) fn resolve(
    mounts: &mut [Mount],
    shares: &[Share],
    machine: &str,
    docker: &Path,
) -> Result<Vec<String>, Failure> {
    let mut warnings = Vec::new();
    for mount in mounts {
        // Whatever a client says: this is ours to know.
        mount.shared = None;
        let path = clean(&mount.source);
        mount.docker_api = mount.r#type() == MountType::Bind
            && (path == docker || DOCKER_SOCKETS.iter().any(|socket| path == Path::new(socket)));
        if mount.docker_api {
            continue;
        }
        let own = MACHINES.iter().any(|base| path.starts_with(base));
        // The guest refuses a relative path in Docker's words.
        if mount.r#type() != MountType::Bind || own || !path.is_absolute() {
            continue;
        }
        let (share, within) = find(&path, mount.create_source, shares, machine)?;
        if share.read_only && !mount.read_only {
            mount.read_only = true;
            warnings.push(format!(
                "`{}` is mounted read-only: the share `{share}` is read-only",
                path.display()
            ));
        }
        mount.shared = Some(SharedPath { tag: share.tag(), path: within });
        mount.source = path.display().to_string();
    }
    Ok(warnings)
}

/// The share that a path is in, and its place there as the guest writes it.
fn find<'a>(
    path: &Path,
    create: bool,
    shares: &'a [Share],
    machine: &str,
) -> Result<(&'a Share, String), Failure> {
    let real = match path.canonicalize() {
        Ok(real) => real,
        Err(error) if error.kind() == io::ErrorKind::NotFound && create => {
            make(path, shares, machine)?
        }
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            return Err(Failure::new(
                ErrorCode::InvalidArgument,
                format!(
                    "invalid mount config for type \"bind\": bind source path does not exist: {}",
                    path.display()
                ),
            )
            .hint("make it first, or use `-v`, which makes a folder"));
        }
        Err(error) => return Err(unusable(path, &error)),
    };
    let share = share_of(&real, shares).ok_or_else(|| outside(path, &real, shares, machine))?;
    let within = real.strip_prefix(&share.path).unwrap_or(Path::new(""));
    let names: Option<Vec<_>> = within.iter().map(|name| name.to_str()).collect();
    let within = names.ok_or_else(|| {
        Failure::new(
            ErrorCode::Unsupported,
            format!("cannot mount `{}`: its path is not UTF-8", path.display()),
        )
    })?;
    Ok((share, within.join("/")))
}

/// Makes a folder and those above it that are missing, in a share that may be written to.
fn make(path: &Path, shares: &[Share], machine: &str) -> Result<PathBuf, Failure> {
    // The first folder above that is there says where the new ones will be.
    let mut missing = Vec::new();
    let mut above = path;
    let base = loop {
        match above.canonicalize() {
            Ok(base) => break base,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(unusable(path, &error)),
        }
        match (above.file_name(), above.parent()) {
            (Some(name), Some(parent)) => {
                missing.push(name);
                above = parent;
            }
            _ => return Err(unusable(path, &io::ErrorKind::NotFound.into())),
        }
    };
    let real = missing.iter().rev().fold(base, |folder, name| folder.join(name));
    let share = share_of(&real, shares).ok_or_else(|| outside(path, &real, shares, machine))?;
    if share.read_only {
        return Err(Failure::new(
            ErrorCode::InvalidArgument,
            format!(
                "cannot mount `{}`: it does not exist, and the share `{share}` is read-only",
                path.display()
            ),
        ));
    }
    std::fs::create_dir_all(&real).map_err(|error| {
        Failure::new(code_of(&error), format!("cannot make `{}`: {error}", real.display()))
    })?;
    // Again: a container may have put a link on the way meanwhile.
    real.canonicalize().map_err(|error| unusable(path, &error))
}

/// The innermost share.
fn share_of<'a>(real: &Path, shares: &'a [Share]) -> Option<&'a Share> {
    shares
        .iter()
        .filter(|share| real.starts_with(&share.path))
        .max_by_key(|share| share.path.components().count())
}

fn outside(path: &Path, real: &Path, shares: &[Share], machine: &str) -> Failure {
    let leads = match real == path {
        true => String::new(),
        false => format!(", which is `{}`,", real.display()),
    };
    let list: Vec<_> = shares.iter().map(ToString::to_string).collect();
    let list = if list.is_empty() { "none".to_owned() } else { list.join(", ") };
    // What the user would want to share: the folder itself, or that of a file.
    let folder = if real.is_file() { real.parent().unwrap_or(real) } else { real };
    Failure::new(
        ErrorCode::PermissionDenied,
        format!(
            "cannot mount `{}`{leads}: it is in none of the folders that this host shares with \
             machine `{machine}` ({list})",
            path.display()
        ),
    )
    .hint(format!(
        "share it: `linkspan machine set {machine} --share {}`, then restart the machine \
         (`linkspan machine stop {machine}`)",
        folder.display()
    ))
}

fn unusable(path: &Path, error: &io::Error) -> Failure {
    Failure::new(code_of(error), format!("cannot mount `{}`: {error}", path.display()))
}

fn code_of(error: &io::Error) -> ErrorCode {
    match error.kind() {
        io::ErrorKind::PermissionDenied => ErrorCode::PermissionDenied,
        io::ErrorKind::StorageFull => ErrorCode::NoSpace,
        _ => ErrorCode::InvalidArgument,
    }
}

/// Without `.`, `..` and doubled separators, as Docker cleans a path: before links are followed.
fn clean(path: &str) -> PathBuf {
    let mut clean = PathBuf::new();
    for part in Path::new(path).components() {
        match part {
            Component::ParentDir => drop(clean.pop()),
            Component::CurDir => {}
            other => clean.push(other),
        }
    }
    clean
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::symlink;

    use super::*;

    const DOCKER: &str = "/home/me/docker.sock";

    /// A folder that is shared, and one beside it that is not.
    struct Place {
        _folder: tempfile::TempDir,
        root: PathBuf,
        shares: Vec<Share>,
    }

    fn place() -> Place {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().canonicalize().unwrap();
        for name in ["in/a/b", "in/ro", "out"] {
            std::fs::create_dir_all(root.join(name)).unwrap();
        }
        let share = |name: &str, read_only| Share { path: root.join(name), read_only };
        let shares = vec![share("in", false), share("in/ro", true)];
        Place { _folder: folder, root, shares }
    }

    impl Place {
        fn bind(&self, name: &str, create_source: bool) -> Result<(Mount, Vec<String>), Failure> {
            let source = format!("{}/{name}", self.root.display());
            let mut mount = Mount { source, create_source, ..Mount::default() };
            mount.set_type(MountType::Bind);
            let mut mounts = [mount];
            let warnings = resolve(&mut mounts, &self.shares, "box", Path::new(DOCKER))?;
            let [mount] = mounts;
            Ok((mount, warnings))
        }

        fn within(&self, name: &str) -> (usize, String) {
            let shared = self.bind(name, false).unwrap().0.shared.unwrap();
            let share = self.shares.iter().position(|share| share.tag() == shared.tag);
            (share.unwrap(), shared.path)
        }
    }

    #[test]
    fn a_path_is_cleaned_and_its_links_are_followed_within_the_share() {
        let place = place();
        symlink("a", place.root.join("in/link")).unwrap();
        symlink(place.root.join("in/a"), place.root.join("out/back")).unwrap();
        for (name, within) in [
            ("in", ""),
            ("in/a/b", "a/b"),
            ("in//a/./b/../b/", "a/b"),
            ("in/link/b", "a/b"),
            ("out/back/b", "a/b"),
        ] {
            assert_eq!(place.within(name), (0, within.into()), "{name}");
        }
        let (mount, _) = place.bind("in/./a/../a", false).unwrap();
        assert_eq!(mount.source, place.root.join("in/a").display().to_string());
    }

    #[test]
    fn the_innermost_share_counts_and_makes_the_mount_read_only() {
        let place = place();
        assert_eq!(place.within("in/ro"), (1, String::new()));
        let (mount, warnings) = place.bind("in/ro", false).unwrap();
        assert!(mount.read_only && warnings.len() == 1, "{warnings:?}");
    }

    #[test]
    fn a_path_outside_is_refused_with_the_shares_and_the_command() {
        let place = place();
        symlink(place.root.join("out"), place.root.join("in/evil")).unwrap();
        for name in ["out", "in/../out", "in/evil", "inner"] {
            let failure = place.bind(name, true).unwrap_err();
            let text = format!("{failure} {}", failure.hint.clone().unwrap_or_default());
            for word in ["in (", "in/ro:ro", "machine set box --share", "machine stop box"] {
                let word = word.replace("in (", &format!("({}/in,", place.root.display()));
                assert!(text.contains(&word), "{name}: no `{word}` in {text}");
            }
        }
        assert!(!place.root.join("inner").exists(), "nothing is made outside");
    }

    #[test]
    fn a_missing_folder_is_made_for_v_alone() {
        let place = place();
        let failure = place.bind("in/new/deep", false).unwrap_err();
        assert!(failure.message.contains("bind source path does not exist"), "{failure}");
        assert!(!place.root.join("in/new").exists());
        place.bind("in/new/deep", true).unwrap();
        assert!(place.root.join("in/new/deep").is_dir());
        assert!(place.bind("in/ro/new", true).unwrap_err().message.contains("read-only"));
        // Through a link that leads out, and through one that leads nowhere.
        symlink(place.root.join("out"), place.root.join("in/evil")).unwrap();
        symlink("/no/such/place", place.root.join("in/dangling")).unwrap();
        place.bind("in/evil/new", true).unwrap_err();
        place.bind("in/dangling", true).unwrap_err();
        assert_eq!(std::fs::read_dir(place.root.join("out")).unwrap().count(), 0);
    }

    #[test]
    fn a_socket_of_dockers_api_is_the_machines_and_no_other_path_is() {
        let resolved = |r#type: MountType, source: &str| {
            let mut mount = Mount { source: source.into(), docker_api: true, ..Mount::default() };
            mount.set_type(r#type);
            let mut mounts = [mount];
            resolve(&mut mounts, &[], "box", Path::new(DOCKER)).map(|_| mounts[0].docker_api)
        };
        for source in
            [DOCKER, "/var/run/docker.sock", "//var/run/docker.sock", "/run/./docker.sock"]
        {
            assert!(resolved(MountType::Bind, source).unwrap(), "{source}");
            assert!(!resolved(MountType::Volume, source).unwrap(), "{source}");
        }
        assert!(!resolved(MountType::Bind, "/dev/null").unwrap(), "a client cannot say so");
        resolved(MountType::Bind, "/var/run/docker.sock/x").unwrap_err();
    }

    #[test]
    fn what_is_the_machines_own_is_left_to_it_and_a_client_cannot_say_where_a_share_is() {
        let forged = SharedPath { tag: "share-x".into(), path: "..".into() };
        for source in ["/dev/null", "/sys", "/var/lib/linkspan/volumes/a/_data", "relative"] {
            let mut mount =
                Mount { source: source.into(), shared: Some(forged.clone()), ..Mount::default() };
            mount.set_type(MountType::Bind);
            let mut mounts = [mount];
            resolve(&mut mounts, &[], "box", Path::new(DOCKER)).unwrap();
            assert_eq!((mounts[0].source.as_str(), &mounts[0].shared), (source, &None));
        }
    }
}
