//! The thread that watches the share for one daemon at a time: orders come and batches go over a unix
//! socket, as messages of `linkspan.v1`, each after its length as 32 bits in network order.
//!
//! At most one batch is on its way. While it is, events wait in inotify's own queue; where that
//! overflows, everything is compared. So what is to be told is bounded, and what changes faster than
//! the guest can be told is told by its last state.

use std::{
    collections::{BTreeMap, HashMap, HashSet, VecDeque},
    ffi::{OsStr, OsString},
    io::{self, Read as _},
    mem::MaybeUninit,
    os::{
        fd::{AsFd, AsRawFd as _, OwnedFd},
        unix::{
            ffi::OsStrExt as _,
            net::{UnixListener, UnixStream},
        },
    },
    path::{Path, PathBuf},
    sync::Arc,
    thread,
    time::Duration,
};

use linkspan_proto::v1::{FolderChanges, WatchLimit, folder_order, folder_report};
use rustix::{
    event::{PollFd, PollFlags, poll},
    fs::{
        AtFlags, Dir, Mode, OFlags, ResolveFlags, fstat,
        inotify::{self, CreateFlags, ReadFlags, WatchFlags},
        openat2, statat,
    },
    io::Errno,
};

use super::{
    Change, Changes, Place, What,
    events::{Event, Names, moves},
    messages::{message, send, take_order},
    tree::{Content, Facts, Location, split},
};

/// Folders that are watched of one share, those nearest to what containers have first. inotify's own
/// limit (fs.inotify.max_user_watches) is for all of a user's programs.
const MOST_FOLDERS: usize = 16_384;
/// Names in them, which take memory.
const MOST_NAMES: usize = 524_288;
/// What follows the first event within this time goes with it: a program that saves a file makes
/// several.
const COALESCE: Duration = Duration::from_millis(10);
/// Changes in one batch.
const BATCH: usize = 256;
/// What inotify is asked for.
const EVENTS: WatchFlags = WatchFlags::CREATE
    .union(WatchFlags::DELETE)
    .union(WatchFlags::MOVED_FROM)
    .union(WatchFlags::MOVED_TO)
    .union(WatchFlags::MODIFY)
    .union(WatchFlags::ATTRIB)
    .union(WatchFlags::CLOSE_WRITE)
    .union(WatchFlags::ONLYDIR);

/// Folders to begin with, each once: of some only the files that are named.
type Tops = BTreeMap<PathBuf, Option<Vec<OsString>>>;

pub(crate) struct Watcher {
    changes: Arc<Changes>,
    share: OwnedFd,
    inotify: OwnedFd,
    /// Inode numbers by watch.
    watches: HashMap<i32, u64>,
    tops: Tops,
    top_inodes: HashMap<PathBuf, u64>,
    queue: VecDeque<Change>,
    /// Folders to begin with.
    new: VecDeque<(PathBuf, Location, Option<Vec<OsString>>)>,
    batches: u64,
    /// Why not all is watched, and whether that was told.
    limit: Option<(String, bool)>,
}

impl Watcher {
    /// `share`: the folder, absolute.
    pub(crate) fn new(changes: Arc<Changes>, share: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self {
            changes,
            share: rustix::fs::open(share, flags, Mode::empty())?,
            inotify: inotify::init(CreateFlags::NONBLOCK | CreateFlags::CLOEXEC)?,
            watches: HashMap::new(),
            tops: Tops::new(),
            top_inodes: HashMap::new(),
            queue: VecDeque::new(),
            new: VecDeque::new(),
            batches: 0,
            limit: None,
        })
    }

    /// Serves one daemon after another, to the end of the process.
    pub(crate) fn run(mut self, listener: &UnixListener) {
        loop {
            let served = listener.accept().and_then(|(client, _)| self.serve(client));
            if let Err(error) = served {
                tracing::warn!(%error, "the daemon is told of no changes until it asks again");
                // An accept that fails (no descriptor is left) fails again at once.
                thread::sleep(Duration::from_secs(1));
            }
            self.watch(Tops::new());
            self.queue.clear();
            self.changes.lock().pretence.abandon();
        }
    }

    fn serve(&mut self, mut client: UnixStream) -> io::Result<()> {
        let mut received = Vec::new();
        loop {
            let busy = self.changes.lock().pretence.is_under_way();
            let (order, event) = wait(&client, (!busy).then_some(&self.inotify))?;
            if order && !self.receive(&mut client, &mut received)? {
                return Ok(());
            }
            if event && !busy && self.queue.is_empty() {
                thread::sleep(COALESCE);
                let events = self.read_events()?;
                self.look_at(&events);
            }
            self.begin_new();
            self.report_limit(&mut client)?;
            if !self.changes.lock().pretence.is_under_way() && !self.queue.is_empty() {
                self.send_batch(&mut client)?;
            }
        }
    }

    /// `false`: the daemon has gone.
    fn receive(&mut self, client: &mut UnixStream, received: &mut Vec<u8>) -> io::Result<bool> {
        let mut bytes = [0; 4096];
        match client.read(&mut bytes)? {
            0 => return Ok(false),
            count => received.extend_from_slice(&bytes[..count]),
        }
        while let Some(order) = take_order(received)? {
            match order.kind {
                Some(folder_order::Kind::Watch(watch)) => {
                    let paths = watch.paths.iter().map(PathBuf::from).collect();
                    let tops = self.tops_of(paths);
                    self.watch(tops);
                }
                Some(folder_order::Kind::RepeatedChanges(repeated)) => {
                    self.changes.lock().pretence.end(repeated.batch);
                }
                None => tracing::debug!("an order that this device does not know"),
            }
        }
        Ok(true)
    }

    /// What to begin with for these paths: no folder that is in another one of them.
    fn tops_of(&self, paths: Vec<PathBuf>) -> Tops {
        let (mut folders, mut files) = (Vec::new(), Vec::new());
        for path in paths {
            let found = self.open(&path, OFlags::PATH | OFlags::NOFOLLOW).and_then(fstat);
            match found {
                Ok(stat) if facts(&stat).is_folder() => folders.push(path),
                Ok(_) => files.push(path),
                Err(errno) => {
                    let (path, reason) = (path.display(), errno.to_string());
                    tracing::debug!(%path, reason, "what a container has cannot be watched");
                }
            }
        }
        let mut tops = Tops::new();
        for path in &folders {
            if !folders.iter().any(|other| other != path && path.starts_with(other)) {
                tops.insert(path.clone(), None);
            }
        }
        for path in &files {
            let Some((folder, name)) = split(path) else { continue };
            if !folders.iter().any(|other| folder.starts_with(other)) {
                let names = tops.entry(folder.to_owned()).or_insert_with(|| Some(Vec::new()));
                names.get_or_insert_default().push(name.to_owned());
            }
        }
        tops
    }

    /// Watches these from now on and lets go of the others.
    fn watch(&mut self, tops: Tops) {
        let old = std::mem::take(&mut self.tops);
        for (path, only) in &old {
            if tops.get(path) != Some(only)
                && let Some(inode) = self.top_inodes.remove(path)
            {
                self.let_go(inode);
            }
        }
        // While something is watched the guest's own changes are noted: before the first look.
        self.changes.set_active(!tops.is_empty());
        for (path, only) in &tops {
            if old.get(path) != Some(only) {
                self.new.push_back((path.clone(), Location::Top(path.clone()), only.clone()));
            }
        }
        self.tops = tops;
        self.limit = None;
    }

    fn let_go(&mut self, folder: u64) {
        let gone: HashSet<_> = self.changes.lock().tree.drop_below(folder).into_iter().collect();
        let inotify = &self.inotify;
        self.watches.retain(|watch, inode| {
            let keep = !gone.contains(inode);
            if !keep {
                // Of a folder that was removed the watch has gone by itself.
                let _ = inotify::remove_watch(inotify, *watch);
            }
            keep
        });
    }

    /// Takes up the folders that are new, and those in them.
    fn begin_new(&mut self) {
        while let Some((path, location, only)) = self.new.pop_front() {
            let is_top = matches!(location, Location::Top(_));
            match self.begin(&path, location, only) {
                Ok(inode) if is_top => {
                    self.top_inodes.insert(path, inode);
                }
                Ok(_) => {}
                Err(Errno::NOSPC) => {
                    let why = "the system's limit of inotify watches (fs.inotify.max_user_watches) \
                               is reached";
                    self.limit.get_or_insert((why.to_owned(), false));
                }
                // It has gone, or lies on another file system.
                Err(errno) => {
                    let (path, reason) = (path.display(), errno.to_string());
                    tracing::debug!(%path, reason, "a folder is not watched");
                }
            }
        }
    }

    fn begin(
        &mut self,
        path: &Path,
        location: Location,
        only: Option<Vec<OsString>>,
    ) -> Result<u64, Errno> {
        let folder = self.open(path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW)?;
        let inode = fstat(&folder)?.st_ino;
        // So that no change of the guest comes between reading and noting.
        let mut state = self.changes.lock();
        if state.tree.contains(inode) {
            return Ok(inode);
        }
        if state.tree.folder_count() >= MOST_FOLDERS || state.tree.name_count() >= MOST_NAMES {
            let why = format!(
                "at most {MOST_FOLDERS} folders and {MOST_NAMES} names of a share are watched"
            );
            self.limit.get_or_insert((why, false));
            return Ok(inode);
        }
        // Through the descriptor: the path may lead elsewhere by now.
        let opened = format!("/proc/self/fd/{}", folder.as_raw_fd());
        let watch = inotify::add_watch(&self.inotify, opened, EVENTS)?;
        self.watches.insert(watch, inode);
        let names = match &only {
            Some(only) => only.clone(),
            None => read(&folder)?,
        };
        let facts = names.into_iter().filter_map(|name| Some((look(&folder, &name)?, name)));
        let names: Vec<_> = facts.map(|(facts, name)| (name, facts)).collect();
        state.tree.add(inode, location, only, names);
        for (_, name) in state.tree.unwatched_in(inode) {
            let place = Place { folder: inode, name: name.clone() };
            self.new.push_back((path.join(name), Location::In(place), None));
        }
        Ok(inode)
    }

    /// Within the share, over no link and onto no other file system.
    fn open(&self, path: &Path, flags: OFlags) -> Result<OwnedFd, Errno> {
        let path = if path.as_os_str().is_empty() { Path::new(".") } else { path };
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_SYMLINKS | ResolveFlags::NO_XDEV;
        openat2(&self.share, path, flags | OFlags::CLOEXEC, Mode::empty(), resolve)
    }

    /// All that have come. An overflow is an event for each name.
    fn read_events(&mut self) -> io::Result<Vec<Event>> {
        let (mut events, mut lost, mut gone) = (Vec::new(), false, Vec::new());
        let mut buffer = [MaybeUninit::uninit(); 1 << 16];
        let mut reader = inotify::Reader::new(&self.inotify, &mut buffer);
        loop {
            let event = match reader.next() {
                Ok(event) => event,
                Err(Errno::WOULDBLOCK) => break,
                Err(errno) => return Err(errno.into()),
            };
            lost |= event.events().contains(ReadFlags::QUEUE_OVERFLOW);
            if event.events().contains(ReadFlags::IGNORED) {
                gone.push(event.wd());
            } else if let Some(folder) = self.watches.get(&event.wd()).copied()
                && let Some(name) = event.file_name()
            {
                let name = OsStr::from_bytes(name.to_bytes()).to_owned();
                let place = Place { folder, name };
                events.push(Event { place, flags: event.events(), cookie: event.cookie() });
            }
        }
        // The folder itself was removed; another one may have its inode number by now.
        for watch in gone {
            let Some(folder) = self.watches.remove(&watch) else { continue };
            if !self.watches.values().any(|inode| *inode == folder) {
                self.changes.lock().tree.drop_below(folder);
            }
        }
        if lost {
            tracing::info!("the host changed more than inotify could tell: looking at everything");
            events.extend(self.everything());
        }
        Ok(events)
    }

    fn everything(&self) -> Vec<Event> {
        let folders: Vec<_> = self.changes.lock().tree.folders().collect();
        let mut events = Vec::new();
        for folder in folders {
            let mut names: HashSet<_> =
                self.changes.lock().tree.names_of(folder).into_iter().collect();
            if let Some(opened) = self.open_folder(folder, OFlags::RDONLY) {
                names.extend(read(&opened).unwrap_or_default());
            }
            events.extend(names.into_iter().map(|name| Event {
                place: Place { folder, name },
                // Whoever wrote may have closed it.
                flags: ReadFlags::CLOSE_WRITE,
                cookie: 0,
            }));
        }
        events
    }

    /// A folder that is watched.
    fn open_folder(&self, folder: u64, flags: OFlags) -> Option<OwnedFd> {
        let path = self.changes.lock().tree.path(folder)?;
        let opened = self.open(&path, flags | OFlags::DIRECTORY | OFlags::NOFOLLOW).ok()?;
        (fstat(&opened).ok()?.st_ino == folder).then_some(opened)
    }

    /// Moves first: they say what comparing names alone cannot.
    fn look_at(&mut self, events: &[Event]) {
        let mut folders = HashMap::new();
        for event in events {
            let folder = event.place.folder;
            folders.entry(folder).or_insert_with(|| self.open_folder(folder, OFlags::PATH));
        }
        let look = |place: &Place| look(folders.get(&place.folder)?.as_ref()?, &place.name);
        let mut names = Names::of(events);
        for (from, to) in moves(events) {
            let mut state = self.changes.lock();
            let (from_now, to_now) = (look(from), look(to));
            if let Some(change) = state.tree.compare_move(from, to, from_now, to_now) {
                names.moved(from, to);
                self.queue.push_back(change);
            }
        }
        let mut gone = Vec::new();
        for (place, closed) in names.list {
            let mut state = self.changes.lock();
            let now = look(&place);
            let told = state.tree.compare(&place, now, closed);
            for change in &told {
                if let What::Removed { seen } = &change.what
                    && seen.facts.is_folder()
                {
                    gone.push(seen.facts.inode);
                }
            }
            self.queue.extend(told);
            if let Some(now) = now
                && now.is_folder()
                && state.tree.covers(place.folder, &place.name)
                && !state.tree.contains(now.inode)
                && let Some(path) = state.tree.path(place.folder)
            {
                self.new.push_back((path.join(&place.name), Location::In(place), None));
            }
        }
        for folder in gone {
            self.let_go(folder);
        }
    }

    fn send_batch(&mut self, client: &mut UnixStream) -> io::Result<()> {
        let changes: Vec<_> = self.queue.drain(..self.queue.len().min(BATCH)).collect();
        self.batches += 1;
        let batch = self.batches;
        let told = changes.iter().map(message).collect();
        let token = self.changes.lock().pretence.begin(batch, changes);
        let changes = FolderChanges { batch, token, changes: told };
        send(client, folder_report::Kind::Changes(changes))
    }

    /// Once for each set of folders.
    fn report_limit(&mut self, client: &mut UnixStream) -> io::Result<()> {
        let folders = self.changes.lock().tree.folder_count();
        match &mut self.limit {
            Some((why, told)) if !*told => {
                *told = true;
                let folders = u32::try_from(folders).unwrap_or(u32::MAX);
                let limit = WatchLimit { folders, why: why.clone() };
                send(client, folder_report::Kind::Limit(limit))
            }
            _ => Ok(()),
        }
    }
}

fn wait(client: &UnixStream, inotify: Option<&OwnedFd>) -> io::Result<(bool, bool)> {
    let mut watched = vec![PollFd::new(client, PollFlags::IN)];
    watched.extend(inotify.map(|inotify| PollFd::new(inotify, PollFlags::IN)));
    loop {
        match poll(&mut watched, None) {
            Ok(_) => break,
            Err(Errno::INTR) => {}
            Err(errno) => return Err(errno.into()),
        }
    }
    let ready = |number: usize| watched.get(number).is_some_and(|fd| !fd.revents().is_empty());
    Ok((ready(0), ready(1)))
}

fn read(folder: &OwnedFd) -> Result<Vec<OsString>, Errno> {
    let mut names = Vec::new();
    for entry in Dir::read_from(folder)? {
        let entry = entry?;
        let name = entry.file_name().to_bytes();
        if name != b"." && name != b".." {
            names.push(OsStr::from_bytes(name).to_owned());
        }
    }
    Ok(names)
}

fn look(folder: impl AsFd, name: &OsStr) -> Option<Facts> {
    Some(facts(&statat(folder, name, AtFlags::SYMLINK_NOFOLLOW).ok()?))
}

fn facts(stat: &rustix::fs::Stat) -> Facts {
    Facts {
        inode: stat.st_ino,
        mode: stat.st_mode,
        owner: (stat.st_uid, stat.st_gid),
        content: Content {
            size: u64::try_from(stat.st_size).unwrap_or_default(),
            mtime: (stat.st_mtime, u32::try_from(stat.st_mtime_nsec).unwrap_or_default()),
        },
    }
}

#[cfg(test)]
#[path = "watcher_tests.rs"]
mod tests;
