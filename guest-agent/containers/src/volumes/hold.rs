//! Volumes of memory: mounted in the VM while containers run with them, so that these share it.

use std::sync::Arc;

use nix::mount::{MntFlags, MsFlags, mount, umount2};

use super::{Result, VolumeError, Volumes, local::Local, store};

/// While it lives, volumes of memory keep what is in them. Dropping it blocks for a moment.
pub struct Held {
    volumes: Arc<Volumes>,
    names: Vec<String>,
}

impl Volumes {
    /// Mounts those of these volumes that are memory and are not mounted yet.
    ///
    /// # Errors
    /// When one is gone or cannot be mounted.
    pub(crate) fn hold<'a>(
        self: &Arc<Self>,
        names: impl IntoIterator<Item = &'a str>,
    ) -> Result<Held> {
        let mut held = Held { volumes: Arc::clone(self), names: Vec::new() };
        for name in names {
            let Local::Tmpfs { data } = Local::parse(&self.inspect(name)?.options)? else {
                continue;
            };
            let mut table = self.table.lock();
            let users = table.mounted.entry(name.into()).or_default();
            if *users == 0 {
                let path = store::content(&self.root, name);
                let flags = MsFlags::empty();
                mount(Some("tmpfs"), &path, Some("tmpfs"), flags, Some(data.as_str()))
                    .map_err(|errno| VolumeError::file("mount", path)(errno.into()))?;
            }
            *users += 1;
            held.names.push(name.into());
        }
        Ok(held)
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        let mut table = self.volumes.table.lock();
        for name in &self.names {
            let Some(users) = table.mounted.get_mut(name) else { continue };
            *users -= 1;
            if *users > 0 {
                continue;
            }
            table.mounted.remove(name);
            let path = store::content(&self.volumes.root, name);
            // Detached, so that a process that still looks at it is not in the way.
            if let Err(errno) = umount2(&path, MntFlags::MNT_DETACH) {
                tracing::warn!(path = %path.display(), %errno, "a volume was not unmounted");
            }
        }
    }
}
