//! Tells when the OOM killer may have been in a cgroup: the kernel announces every change of
//! `memory.events` as a modification of the file (cgroup-v2.rst), which inotify(7) hears. One
//! thread listens for all containers.

use std::{collections::HashMap, io, path::Path, sync::Arc, thread};

use linkspan_containers::launch::OomWatch;
use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};
use parking_lot::Mutex;
use tokio::sync::watch;

/// The files that are watched.
#[derive(Debug, Clone)]
pub(crate) struct MemoryEvents {
    inotify: Arc<Inotify>,
    watched: Arc<Mutex<Watched>>,
}

type Watched = HashMap<WatchDescriptor, watch::Sender<()>>;

impl MemoryEvents {
    /// Begins to listen.
    ///
    /// # Errors
    /// When the kernel has no inotify, or there can be no thread.
    pub(crate) fn start() -> io::Result<Self> {
        let this = Self {
            inotify: Arc::new(Inotify::init(InitFlags::IN_CLOEXEC)?),
            watched: Arc::default(),
        };
        let listener = this.clone();
        thread::Builder::new().name("memory events".into()).spawn(move || listener.listen())?;
        Ok(this)
    }

    fn listen(&self) {
        loop {
            match self.inotify.read_events() {
                Ok(events) => {
                    let watched = self.watched.lock();
                    for event in events {
                        // A watch that has just ended has nobody to tell.
                        if let Some(news) = watched.get(&event.wd) {
                            news.send_replace(());
                        }
                    }
                }
                Err(nix::errno::Errno::EINTR) => {}
                Err(errno) => {
                    tracing::error!(%errno, "out of memory is told at the end of containers only");
                    return;
                }
            }
        }
    }

    /// Watches a cgroup's `memory.events`.
    ///
    /// # Errors
    /// When there is no such file.
    pub(crate) fn watch(&self, file: &Path) -> io::Result<OomWatch> {
        let (sender, news) = watch::channel(());
        // Held from before the watch exists, so that its first event finds it.
        let mut watched = self.watched.lock();
        let descriptor = self.inotify.add_watch(file, AddWatchFlags::IN_MODIFY)?;
        watched.insert(descriptor, sender);
        drop(watched);
        Ok(OomWatch { news, guard: Box::new(Guard { events: self.clone(), descriptor }) })
    }
}

struct Guard {
    events: MemoryEvents,
    descriptor: WatchDescriptor,
}

impl Drop for Guard {
    fn drop(&mut self) {
        self.events.watched.lock().remove(&self.descriptor);
        // EINVAL: the kernel has removed it with the cgroup.
        let _ = self.events.inotify.rm_watch(self.descriptor);
    }
}

#[cfg(test)]
mod tests {
    use std::{fs, time::Duration};

    use super::*;

    #[tokio::test]
    async fn a_change_of_one_file_is_told_to_its_watch_alone_until_that_ends() {
        let folder = tempfile::tempdir().unwrap();
        let (one, other) = (folder.path().join("one"), folder.path().join("other"));
        fs::write(&one, "oom_kill 0").unwrap();
        fs::write(&other, "oom_kill 0").unwrap();
        let events = MemoryEvents::start().unwrap();
        assert!(events.watch(&folder.path().join("none")).is_err());
        let (mut first, second) = (events.watch(&one).unwrap(), events.watch(&other).unwrap());
        fs::write(&one, "oom_kill 1").unwrap();
        let told = tokio::time::timeout(Duration::from_secs(60), first.news.changed()).await;
        told.expect("it is told").expect("it is watched");
        assert!(!second.news.has_changed().unwrap());
        drop(first);
        drop(second);
        assert!(events.watched.lock().is_empty());
    }
}
