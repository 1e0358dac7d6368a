//! Watches folders and files as a program in a container would, with inotify itself, and prints a line
//! for each event.

use std::{
    collections::HashMap,
    fs,
    io::Write as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

use nix::sys::inotify::{AddWatchFlags, InitFlags, Inotify, WatchDescriptor};

/// What programs that watch files ask for.
const EVENTS: AddWatchFlags = AddWatchFlags::IN_CREATE
    .union(AddWatchFlags::IN_MODIFY)
    .union(AddWatchFlags::IN_ATTRIB)
    .union(AddWatchFlags::IN_CLOSE_WRITE)
    .union(AddWatchFlags::IN_DELETE)
    .union(AddWatchFlags::IN_DELETE_SELF)
    .union(AddWatchFlags::IN_MOVED_FROM)
    .union(AddWatchFlags::IN_MOVED_TO);

/// Prints `watching PATH` for each path, also for each folder that is made later, and then for each
/// event `FLAGS COOKIE PATH`, with the file's content behind it where somebody has just closed it or
/// moved it there. Never ends.
pub(crate) fn watch(paths: &[&str]) -> Result<ExitCode, String> {
    let inotify = Inotify::init(InitFlags::IN_CLOEXEC).map_err(|error| error.to_string())?;
    let mut watched = HashMap::new();
    for path in paths {
        add(&inotify, &mut watched, Path::new(path))?;
    }
    loop {
        for event in inotify.read_events().map_err(|error| error.to_string())? {
            let Some(path) = watched.get(&event.wd).cloned() else { continue };
            let path: PathBuf = event.name.map_or(path.clone(), |name| path.join(name));
            let flags: Vec<_> = event.mask.iter_names().map(|(name, _)| name).collect();
            let written = AddWatchFlags::IN_CLOSE_WRITE | AddWatchFlags::IN_MOVED_TO;
            let content = if event.mask.intersects(written) {
                fs::read_to_string(&path).unwrap_or_default()
            } else {
                String::new()
            };
            say(&format!("{} {} {} {content}", flags.join("|"), event.cookie, path.display()))?;
            if event.mask.contains(AddWatchFlags::IN_CREATE | AddWatchFlags::IN_ISDIR) {
                add(&inotify, &mut watched, &path)?;
            }
        }
    }
}

fn add(
    inotify: &Inotify,
    watched: &mut HashMap<WatchDescriptor, PathBuf>,
    path: &Path,
) -> Result<(), String> {
    let added = inotify.add_watch(path, EVENTS);
    let watch = added.map_err(|error| format!("cannot watch `{}`: {error}", path.display()))?;
    watched.insert(watch, path.to_owned());
    say(&format!("watching {}", path.display()))
}

fn say(line: &str) -> Result<(), String> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", line.trim_end())
        .and_then(|()| out.flush())
        .map_err(|error| format!("standard output: {error}"))
}
