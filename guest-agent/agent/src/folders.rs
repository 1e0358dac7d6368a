//! Folders of the host that containers have: which ones are to be watched on the host, and what is
//! done with the changes that it tells of.

mod repeat;
#[cfg(test)]
mod tests;

use std::{
    collections::{BTreeMap, BTreeSet},
    path::Path,
    sync::Arc,
};

use futures::{Stream, StreamExt as _};
use linkspan_containers::{
    Containers,
    events::{EventFilters, Heard},
    filter::Filters,
    mounts::{MountPoint, SHARES, SharedPath, Source},
};
use linkspan_proto::v1::{
    FolderChanges, FolderOrder, FolderReport, RepeatedChanges, WatchFolders, folder_order,
    folder_report,
};
use parking_lot::Mutex;
use tokio::{sync::mpsc, task::AbortHandle};

use crate::boot::shares::REPEATED;

/// The call of the host that is open. Cheap to clone.
#[derive(Clone, Default)]
pub struct Folders(Arc<Mutex<Option<AbortHandle>>>);

/// By share.
type Wanted = BTreeMap<String, BTreeSet<String>>;

impl Folders {
    /// Serves a host; the one before loses its call. Inside a runtime.
    pub fn serve<E: Send + 'static>(
        &self,
        containers: Containers,
        reports: impl Stream<Item = Result<FolderReport, E>> + Send + Unpin + 'static,
    ) -> mpsc::UnboundedReceiver<FolderOrder> {
        let (orders, receiver) = mpsc::unbounded_channel();
        let host = Host { containers, orders, wanted: Wanted::new() };
        let task = tokio::spawn(host.serve(reports));
        if let Some(before) = self.0.lock().replace(task.abort_handle()) {
            before.abort();
        }
        receiver
    }
}

struct Host {
    containers: Containers,
    orders: mpsc::UnboundedSender<FolderOrder>,
    /// What it was told to watch.
    wanted: Wanted,
}

impl Host {
    async fn serve<E>(mut self, mut reports: impl Stream<Item = Result<FolderReport, E>> + Unpin) {
        // Before the first look: what starts meanwhile is heard of.
        let mut events = self.containers.events().listen(EventFilters::default(), None, None);
        self.order_watches();
        loop {
            tokio::select! {
                heard = events.next() => match heard {
                    Some(Heard::Event(event)) if !concerns(event.kind, &event.action) => {}
                    Some(_) => self.order_watches(),
                    None => return,
                },
                report = reports.next() => match report {
                    Some(Ok(report)) => self.take(report).await,
                    _ => return,
                },
            }
        }
    }

    fn order_watches(&mut self) {
        let wanted = wanted(&self.containers);
        let before = std::mem::replace(&mut self.wanted, wanted);
        for (tag, watch) in changed(&before, &self.wanted) {
            self.order(tag, folder_order::Kind::Watch(watch));
        }
    }

    fn order(&self, tag: String, kind: folder_order::Kind) {
        // A host that has gone is noticed by its reports' end.
        let _ = self.orders.send(FolderOrder { tag, kind: Some(kind) });
    }

    async fn take(&self, report: FolderReport) {
        match report.kind {
            Some(folder_report::Kind::Changes(changes)) => {
                let batch = changes.batch;
                self.repeat(report.tag.clone(), changes).await;
                let repeated = RepeatedChanges { batch };
                self.order(report.tag, folder_order::Kind::RepeatedChanges(repeated));
            }
            Some(folder_report::Kind::Limit(limit)) => tracing::warn!(
                share = report.tag,
                watched = limit.folders,
                why = limit.why,
                "containers hear of the host's changes only in some folders: too many are mounted"
            ),
            None => tracing::debug!("the host reports something that this agent does not know"),
        }
    }

    async fn repeat(&self, tag: String, changes: FolderChanges) {
        if !self.wanted.contains_key(&tag) {
            return;
        }
        let work = move || {
            let mounted = Path::new(SHARES).join(&tag);
            let again = Path::new(SHARES).with_file_name(REPEATED).join(&tag);
            repeat::all(if again.is_dir() { &again } else { &mounted }, &changes)
        };
        match tokio::task::spawn_blocking(work).await {
            Ok(Ok(())) => {}
            Ok(Err(errno)) => tracing::warn!(
                reason = errno.to_string(),
                "containers do not hear of a change of the host: the share cannot be opened"
            ),
            Err(error) => tracing::error!(%error, "repeating a change of the host failed"),
        }
    }
}

/// Whether after this another folder may be mounted, or one no more.
fn concerns(kind: &str, action: &str) -> bool {
    kind == "container" && matches!(action, "start" | "die" | "destroy")
}

fn wanted(containers: &Containers) -> Wanted {
    // Those that run or will again; without a filter nothing can be wrong with one.
    let live = containers.list(false, None, &Filters::default()).unwrap_or_default();
    shared(live.iter().flat_map(|container| &container.record.resolved.mounts))
}

/// What of the host is mounted.
fn shared<'a>(mounts: impl IntoIterator<Item = &'a MountPoint>) -> Wanted {
    let mut wanted = Wanted::new();
    for mount in mounts {
        if let Source::Bind { shared: Some(SharedPath { tag, path }), .. } = &mount.source
            && let Some(path) = path.to_str()
        {
            wanted.entry(tag.clone()).or_default().insert(path.to_owned());
        }
    }
    wanted
}

/// What is to be watched of each share for which that has changed; of one that is wanted no more,
/// nothing.
fn changed(before: &Wanted, now: &Wanted) -> Vec<(String, WatchFolders)> {
    let nothing = BTreeSet::new();
    let gone = before.keys().filter(|tag| !now.contains_key(*tag)).map(|tag| (tag, &nothing));
    gone.chain(now)
        .filter(|(tag, paths)| before.get(*tag) != Some(*paths))
        .map(|(tag, paths)| (tag.clone(), WatchFolders { paths: paths.iter().cloned().collect() }))
        .collect()
}
