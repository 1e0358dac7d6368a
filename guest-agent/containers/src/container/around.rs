//! What a run means to what is around it: its networks and volumes are told of, and its memory is
//! watched.

use std::sync::Arc;

use linkspan_net::Endpoint;

use super::{Container, Task, blocking};
use crate::{Shared, launch::OomWatch, mounts::Source, volumes::DRIVER};

/// A run begins: volumes are mounted, networks connected.
pub(super) fn tell_begin(container: &Container, shared: &Shared) {
    for mount in &container.record().resolved.mounts {
        let Source::Volume { name, .. } = &mount.source else { continue };
        let details = [
            ("container", container.id.to_string()),
            ("destination", mount.destination.display().to_string()),
            ("driver", DRIVER.into()),
            // Docker's field, empty for a volume.
            ("propagation", String::new()),
            ("read/write", (!mount.read_only).to_string()),
        ];
        publish(shared, "volume", "mount", name, details);
    }
    for endpoint in shared.networks.endpoints(container.id.as_str()) {
        tell_network(shared, "connect", &endpoint);
    }
}

/// The run has ended: the same, the other way round.
pub(super) fn tell_end(container: &Container, shared: &Shared, left: &[Endpoint]) {
    for endpoint in left {
        tell_network(shared, "disconnect", endpoint);
    }
    for mount in &container.record().resolved.mounts {
        let Source::Volume { name, .. } = &mount.source else { continue };
        let details = [("container", container.id.to_string()), ("driver", DRIVER.into())];
        publish(shared, "volume", "unmount", name, details);
    }
}

/// A container has come into a network, or has left it.
pub(crate) fn tell_network(shared: &Shared, action: &str, endpoint: &Endpoint) {
    let found = shared.networks.find(&endpoint.network);
    let details = [
        ("container", endpoint.container.clone()),
        ("name", endpoint.network.clone()),
        // Of a network that was removed at this very moment, nobody knows.
        ("type", found.map(|(_, driver)| driver.name().to_owned()).unwrap_or_default()),
    ];
    publish(shared, "network", action, &endpoint.network_id, details);
}

fn publish<const N: usize>(
    shared: &Shared,
    kind: &'static str,
    action: &str,
    id: &str,
    details: [(&str, String); N],
) {
    let details = details.map(|(key, value)| (key.to_owned(), value));
    shared.events.publish(kind, action, id, details.into());
}

/// None: the kernel does not tell; the end of the run shows what has happened.
pub(super) fn watch_oom(container: &Container, shared: &Shared) -> Option<OomWatch> {
    match shared.launcher.watch_oom(&container.cgroup()) {
        Ok(mut watch) => {
            // The process runs already: what happened before the watch is looked for once.
            watch.news.mark_changed();
            Some(watch)
        }
        Err(error) => {
            tracing::warn!(%error, "out of memory will be told when the container ends");
            None
        }
    }
}

impl Task {
    /// Tells of what the OOM killer has done since the last time; says whether it did anything in
    /// this run.
    pub(super) async fn tell_oom(&mut self) -> bool {
        let (launcher, cgroup) = (Arc::clone(&self.shared.launcher), self.container.cgroup());
        let kills = blocking(move || launcher.oom_kills(&cgroup).unwrap_or(0)).await;
        let Some(run) = &mut self.run else { return false };
        if kills > run.oom_told {
            run.oom_told = kills;
            self.status.change(|status| status.oom_killed = true);
            self.shared.tell(&self.container, "oom", []);
        }
        run.oom_told > 0
    }
}
