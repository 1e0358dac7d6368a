//! Mounts between the wire and `containers`.

use linkspan_containers::{
    Snapshot,
    mounts::{Kind, MountConfig, Propagation, Recursive, SharedPath, Source},
};
use linkspan_proto::v1 as wire;

pub(super) fn from_wire(mount: wire::Mount) -> MountConfig {
    use wire::{BindRecursive as R, MountPropagation as P, MountType as T};
    MountConfig {
        kind: match mount.r#type() {
            T::Bind => Kind::Bind,
            T::Tmpfs => Kind::Tmpfs,
            // Docker's default too.
            T::Volume | T::Unspecified => Kind::Volume,
        },
        propagation: match mount.propagation() {
            P::Unspecified | P::Rprivate => Propagation::Rprivate,
            P::Private => Propagation::Private,
            P::Rshared => Propagation::Rshared,
            P::Shared => Propagation::Shared,
            P::Rslave => Propagation::Rslave,
            P::Slave => Propagation::Slave,
        },
        recursive: match mount.recursive() {
            R::Unspecified | R::Enabled => Recursive::Enabled,
            R::Disabled => Recursive::Disabled,
            R::Writable => Recursive::Writable,
            R::Readonly => Recursive::Readonly,
        },
        source: mount.source,
        target: mount.target,
        read_only: mount.read_only,
        no_copy: mount.no_copy,
        subpath: mount.subpath,
        driver: mount.driver,
        driver_options: mount.driver_options.into_iter().collect(),
        labels: mount.labels.into_iter().collect(),
        tmpfs_size: mount.tmpfs_size_bytes,
        tmpfs_mode: mount.tmpfs_mode,
        tmpfs_options: mount.tmpfs_options,
        mode: mount.mode,
        docker_api: mount.docker_api,
        shared: mount.shared.map(|shared| SharedPath { tag: shared.tag, path: shared.path.into() }),
    }
}

pub(super) fn to_wire(mount: &MountConfig) -> wire::Mount {
    wire::Mount {
        r#type: kind(mount.kind).into(),
        source: mount.source.clone(),
        target: mount.target.clone(),
        read_only: mount.read_only,
        propagation: propagation(mount.propagation).into(),
        recursive: match mount.recursive {
            Recursive::Enabled => wire::BindRecursive::Enabled,
            Recursive::Disabled => wire::BindRecursive::Disabled,
            Recursive::Writable => wire::BindRecursive::Writable,
            Recursive::Readonly => wire::BindRecursive::Readonly,
        }
        .into(),
        no_copy: mount.no_copy,
        subpath: mount.subpath.clone(),
        driver: mount.driver.clone(),
        driver_options: mount.driver_options.clone().into_iter().collect(),
        labels: mount.labels.clone().into_iter().collect(),
        tmpfs_size_bytes: mount.tmpfs_size,
        tmpfs_mode: mount.tmpfs_mode,
        tmpfs_options: mount.tmpfs_options.clone(),
        mode: mount.mode.clone(),
        shared: mount.shared.as_ref().map(|shared| wire::SharedPath {
            tag: shared.tag.clone(),
            path: shared.path.display().to_string(),
        }),
        docker_api: mount.docker_api,
        // Done with when the container was made.
        create_source: false,
    }
}

fn kind(kind: Kind) -> wire::MountType {
    match kind {
        Kind::Bind => wire::MountType::Bind,
        Kind::Volume => wire::MountType::Volume,
        Kind::Tmpfs => wire::MountType::Tmpfs,
    }
}

fn propagation(propagation: Propagation) -> wire::MountPropagation {
    use wire::MountPropagation as P;
    match propagation {
        Propagation::Rprivate => P::Rprivate,
        Propagation::Private => P::Private,
        Propagation::Rshared => P::Rshared,
        Propagation::Shared => P::Shared,
        Propagation::Rslave => P::Rslave,
        Propagation::Slave => P::Slave,
    }
}

/// What inspect shows of a container's mounts.
pub(super) fn points(container: &Snapshot) -> Vec<wire::MountPoint> {
    let points = container.record.resolved.mounts.iter().zip(&container.mount_sources);
    points
        .map(|(point, source)| {
            let mut shown = wire::MountPoint {
                source: source.display().to_string(),
                target: point.destination.display().to_string(),
                mode: point.mode.clone(),
                read_write: !point.read_only,
                ..wire::MountPoint::default()
            };
            match &point.source {
                Source::Volume { name, .. } => {
                    shown.set_type(wire::MountType::Volume);
                    shown.name.clone_from(name);
                    linkspan_containers::volumes::DRIVER.clone_into(&mut shown.driver);
                }
                Source::Bind { propagation: spread, .. } => {
                    shown.set_type(wire::MountType::Bind);
                    shown.set_propagation(propagation(*spread));
                }
                Source::DockerApi { .. } => shown.set_type(wire::MountType::Bind),
                Source::Tmpfs(tmpfs) => {
                    shown.set_type(wire::MountType::Tmpfs);
                    shown.read_write &= !tmpfs.read_only;
                }
            }
            shown
        })
        .collect()
}
