//! Mounts of a container as `linkspan-init` is told them.

use std::path::PathBuf;

use linkspan_runtime::plan::{self, Bind, Mount, MountKind, PropagationKind};

use super::{MountPoint, Propagation, Recursive, Source};
use crate::{Error, launch::Launcher, volumes::Volumes};

/// Puts the container's mounts among those that every container has, a mount of the request in
/// the place of one at the same destination, parents before what is in them.
#[must_use]
pub fn merge(standard: Vec<Mount>, own: Vec<Mount>) -> Vec<Mount> {
    let replaced = |mount: &Mount| own.iter().any(|other| other.destination == mount.destination);
    let mut all: Vec<Mount> = standard.into_iter().filter(|mount| !replaced(mount)).collect();
    all.extend(own);
    // Stable, so that the standard ones keep their order.
    all.sort_by_key(|mount| mount.destination.components().count());
    all
}

/// The mounts, with the places that volumes and Docker's API have in the VM.
///
/// # Errors
/// When a volume is not there any more, or the API's socket cannot be made.
pub fn mounts(
    points: &[MountPoint],
    volumes: &Volumes,
    launcher: &dyn Launcher,
) -> Result<Vec<Mount>, Error> {
    points.iter().map(|point| mount(point, volumes, launcher)).collect()
}

fn mount(point: &MountPoint, volumes: &Volumes, launcher: &dyn Launcher) -> Result<Mount, Error> {
    let mut mount = Mount {
        destination: point.destination.clone(),
        kind: MountKind::Tmpfs { data: String::new() },
        readonly: point.read_only,
        nosuid: false,
        nodev: false,
        noexec: false,
    };
    mount.kind = match &point.source {
        Source::Tmpfs(tmpfs) => {
            mount.readonly |= tmpfs.read_only;
            (mount.nosuid, mount.nodev, mount.noexec) = (!tmpfs.suid, !tmpfs.dev, !tmpfs.exec);
            MountKind::Tmpfs { data: tmpfs.data.clone() }
        }
        Source::Volume { name, subpath, .. } => {
            let (source, within) = volumes.content(name)?;
            let within = within.join(subpath);
            bind(source, within, Propagation::default(), Recursive::default())
        }
        Source::DockerApi { path } => {
            let socket = launcher.docker_api().map_err(Error::file("make", path))?;
            bind(socket, PathBuf::new(), Propagation::default(), Recursive::Disabled)
        }
        Source::Bind { path, shared, propagation, recursive } => {
            let (source, within) = volumes.split_bind(path, shared.as_ref())?;
            bind(source, within, *propagation, *recursive)
        }
    };
    Ok(mount)
}

fn bind(
    source: PathBuf,
    within: PathBuf,
    propagation: Propagation,
    recursive: Recursive,
) -> MountKind {
    let (kind, below) = match propagation {
        Propagation::Rprivate => (PropagationKind::Private, true),
        Propagation::Private => (PropagationKind::Private, false),
        Propagation::Rshared => (PropagationKind::Shared, true),
        Propagation::Shared => (PropagationKind::Shared, false),
        Propagation::Rslave => (PropagationKind::Slave, true),
        Propagation::Slave => (PropagationKind::Slave, false),
    };
    MountKind::Bind(Bind {
        source,
        within,
        recursive: recursive != Recursive::Disabled,
        readonly_below: matches!(recursive, Recursive::Enabled | Recursive::Readonly),
        propagation: Some(plan::Propagation { kind, recursive: below }),
    })
}
