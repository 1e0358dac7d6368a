//! Brings together what a request mounts, what it takes over from other containers, and the
//! volumes that its image declares.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    path::PathBuf,
};

use linkspan_files::Folder;

use super::{
    Kind, MountConfig, MountPoint, Source,
    check::{self, OPTION},
};
use crate::{
    Error,
    config::Config,
    id::ContainerId,
    launch::ImageView,
    volumes::{NewVolume, Volume, VolumeError, Volumes},
};

/// Works out the mounts of a new container: makes the volumes that do not exist yet, and gives
/// those that are empty what the image has in their place. From then on the container has them,
/// also when this fails: the caller takes them back. The anonymous ones are added to `made`.
///
/// `others` tells the mounts of a container.
///
/// # Errors
/// Names the mount that cannot be.
pub(crate) fn resolve(
    id: &ContainerId,
    config: &Config,
    image: &ImageView,
    volumes: &Volumes,
    others: impl Fn(&str) -> Result<Vec<MountPoint>, Error>,
    made: &mut Vec<String>,
) -> Result<Vec<MountPoint>, Error> {
    let mut attach = |new: NewVolume| {
        let anonymous = new.name.is_empty();
        let volume = volumes.attach(new, id, config.auto_remove)?;
        made.extend(anonymous.then(|| volume.name.clone()));
        Ok(volume)
    };
    let mut points: BTreeMap<PathBuf, MountPoint> = BTreeMap::new();
    let mut add = |point: MountPoint| drop(points.insert(point.destination.clone(), point));
    for from in &config.volumes_from {
        let (who, read_only) = check::volumes_from(from)?;
        for mut point in others(who)? {
            point.read_only = read_only.unwrap_or(point.read_only);
            if let Some(name) = point.volume() {
                attach(NewVolume { name: name.into(), ..NewVolume::default() })?;
            }
            add(point);
        }
    }
    let mut fill = Vec::new();
    for mount in &config.mounts {
        let point = one(config, mount, volumes, &mut attach)?;
        if mount.kind == Kind::Volume && !mount.no_copy && mount.subpath.is_empty() {
            fill.push(point.destination.clone());
        }
        add(point);
    }
    for declared in &image.volumes {
        let destination = check::destination(declared)?;
        if let Entry::Vacant(free) = points.entry(destination) {
            let mount = MountConfig { target: declared.clone(), ..MountConfig::default() };
            fill.push(free.key().clone());
            free.insert(one(config, &mount, volumes, &mut attach)?);
        }
    }
    if !fill.is_empty() {
        let image = Folder::of_layers(&image.layers).map_err(VolumeError::from)?;
        for destination in fill {
            if let Some(name) = points.get(&destination).and_then(MountPoint::volume) {
                volumes.populate(name, &image, &destination)?;
            }
        }
    }
    Ok(points.into_values().collect())
}

fn one(
    config: &Config,
    mount: &MountConfig,
    volumes: &Volumes,
    attach: &mut impl FnMut(NewVolume) -> Result<Volume, VolumeError>,
) -> Result<MountPoint, Error> {
    let source = match mount.kind {
        Kind::Tmpfs => Source::Tmpfs(check::tmpfs(mount)?),
        Kind::Bind if mount.docker_api => Source::DockerApi { path: PathBuf::from(&mount.source) },
        Kind::Bind => {
            let path = PathBuf::from(&mount.source);
            let shared = mount.shared.clone();
            let (base, within) = volumes.split_bind(&path, shared.as_ref())?;
            if volumes.exists(&base, &within) {
                let (propagation, recursive) = (mount.propagation, mount.recursive);
                Source::Bind { path, shared, propagation, recursive }
            } else {
                let why = format!("bind source path does not exist: {}", path.display());
                return Err(Error::invalid(OPTION, why));
            }
        }
        Kind::Volume => {
            let own = Some(&mount.driver).filter(|driver| !driver.is_empty());
            let volume = attach(NewVolume {
                name: mount.source.clone(),
                driver: own.unwrap_or(&config.volume_driver).clone(),
                options: mount.driver_options.clone(),
                labels: mount.labels.clone(),
            })?;
            let subpath = PathBuf::from(&mount.subpath);
            Source::Volume { name: volume.name, anonymous: mount.source.is_empty(), subpath }
        }
    };
    Ok(MountPoint {
        destination: check::destination(&mount.target)?,
        source,
        read_only: mount.read_only,
        mode: mount.mode.clone(),
    })
}
