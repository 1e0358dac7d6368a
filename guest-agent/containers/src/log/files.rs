//! The files of one log, and their names: `PATH` is written, `PATH.1` was rotated away last,
//! `PATH.2` before it, and so on; `.gz` follows on those that are compressed.
//!
//! A rotation renames every file. Whoever wants one asks by its number, which stays; opening and
//! renaming take turns, so that a number never leads to another file. An open file is read to its
//! end whatever becomes of its name.
//!
//! What was rotated away is compressed by a thread of its own: neither the container nor a
//! rotation waits for it.

use std::{
    fs::{self, File},
    io::{self, Read as _, Write as _},
    path::{Path, PathBuf},
    sync::Arc,
};

use flate2::{Compression, write::GzEncoder};
use parking_lot::{Condvar, Mutex};

use super::{
    Position,
    config::{Rotation, Settings},
    format::Format,
};

/// How much is compressed between two looks at whether that is still wanted.
const BLOCK: usize = 64 << 10;

/// The files of a log.
#[derive(Debug)]
pub(crate) struct LogFiles {
    path: PathBuf,
    pub(super) format: Format,
    pub(super) rotation: Rotation,
    turn: Mutex<Turn>,
    idle: Condvar,
}

#[derive(Debug)]
struct Turn {
    /// The number of the file that is written.
    current: u64,
    /// The thread that compresses is there.
    compressing: bool,
    /// The log goes: nothing more is to be made.
    closed: bool,
}

/// A file of a log, open at its beginning.
#[derive(Debug)]
pub(super) enum Found {
    Plain(File),
    Packed(File),
}

impl LogFiles {
    /// Finds what is there. Nothing is made.
    pub(crate) fn new(path: PathBuf, settings: Settings) -> Self {
        let Settings { format, rotation } = settings;
        let turn = Turn { current: 0, compressing: false, closed: false };
        let files = Self { path, format, rotation, turn: Mutex::new(turn), idle: Condvar::new() };
        files.turn.lock().current = files.rotated();
        files
    }

    /// How many files there are that were rotated away.
    fn rotated(&self) -> u64 {
        (1..self.rotation.max_files)
            .take_while(|back| self.plain(*back).exists() || self.packed(*back).exists())
            .count() as u64
    }

    /// The file that is written.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The number of the file that is written.
    pub(crate) fn current(&self) -> u64 {
        self.turn.lock().current
    }

    /// How far the log goes while nobody writes it.
    pub(crate) fn end(&self) -> Position {
        // No file yet: nothing was logged.
        let offset = self.path.metadata().map_or(0, |metadata| metadata.len());
        Position { file: self.current(), offset }
    }

    /// The number of the first file that may be there.
    pub(super) fn oldest(&self) -> u64 {
        self.current().saturating_sub(self.rotation.max_files - 1)
    }

    /// Rotated away `back` files ago; 0: the one that is written.
    fn plain(&self, back: u64) -> PathBuf {
        self.with_ending(&if back == 0 { String::new() } else { format!(".{back}") })
    }

    fn packed(&self, back: u64) -> PathBuf {
        self.with_ending(&format!(".{back}.gz"))
    }

    fn with_ending(&self, ending: &str) -> PathBuf {
        let mut path = self.path.clone().into_os_string();
        path.push(ending);
        path.into()
    }

    /// Opens the file that is written, at its end.
    pub(super) fn append(&self) -> io::Result<File> {
        File::options().create(true).append(true).open(&self.path)
    }

    /// Opens a file by its number. None: it is not there, or no longer.
    pub(super) fn open(&self, number: u64) -> io::Result<Option<Found>> {
        let turn = self.turn.lock();
        let Some(back) = turn.current.checked_sub(number) else { return Ok(None) };
        if let Some(file) = there(File::open(self.plain(back)))? {
            return Ok(Some(Found::Plain(file)));
        }
        Ok(there(File::open(self.packed(back)))?.map(Found::Packed))
    }

    /// Begins the next file; the oldest goes when there are too many. When there is no room for
    /// another file, nothing is touched.
    pub(super) fn rotate(self: &Arc<Self>) -> io::Result<File> {
        let mut turn = self.turn.lock();
        let next = self.with_ending(".next");
        let file = File::options().create(true).append(true).open(&next)?;
        let last = self.rotation.max_files - 1;
        let rotated = self.rotated();
        if last > 0 && rotated == last {
            there(fs::remove_file(self.plain(last)))?;
            there(fs::remove_file(self.packed(last)))?;
        }
        for back in (1..=rotated.min(last.saturating_sub(1))).rev() {
            there(fs::rename(self.plain(back), self.plain(back + 1)))?;
            there(fs::rename(self.packed(back), self.packed(back + 1)))?;
        }
        if last > 0 {
            there(fs::rename(self.plain(0), self.plain(1)))?;
        }
        fs::rename(&next, self.plain(0))?;
        turn.current += 1;
        let starts = self.rotation.compress && !turn.compressing && !turn.closed;
        if starts {
            let files = Arc::clone(self);
            let thread = std::thread::Builder::new().name("log-compress".into());
            turn.compressing = thread.spawn(move || files.compress()).is_ok();
        }
        Ok(file)
    }

    /// Ends what is being compressed and starts nothing more: the log is about to be deleted.
    pub(crate) fn close(&self) {
        let mut turn = self.turn.lock();
        turn.closed = true;
        while turn.compressing {
            self.idle.wait(&mut turn);
        }
    }

    /// Compresses what is not yet, the newest first, until nothing is left to do.
    fn compress(&self) {
        while let Some((number, file)) = self.next_to_compress() {
            let temporary = self.with_ending(".gz.tmp");
            let packed = self.pack(file, &temporary);
            let turn = self.turn.lock();
            let back = turn.current - number;
            let kept = match packed {
                // It may have been rotated away altogether meanwhile.
                Ok(true) if back < self.rotation.max_files => {
                    fs::rename(&temporary, self.packed(back))
                        .and_then(|()| fs::remove_file(self.plain(back)))
                }
                Ok(_) => there(fs::remove_file(&temporary)).map(drop),
                Err(error) => Err(error),
            };
            drop(turn);
            if let Err(error) = kept {
                tracing::warn!(%error, path = %self.path.display(), "a log is not compressed");
                let _ = fs::remove_file(&temporary);
                self.turn.lock().compressing = false;
                break;
            }
        }
        self.idle.notify_all();
    }

    fn next_to_compress(&self) -> Option<(u64, File)> {
        let mut turn = self.turn.lock();
        let found = (1..self.rotation.max_files).find_map(|back| {
            let file = File::open(self.plain(back)).ok()?;
            Some((turn.current - back, file))
        });
        let next = found.filter(|_| !turn.closed);
        // Under the same lock: a rotation after this starts another thread.
        turn.compressing = next.is_some();
        next
    }

    /// False: given up, because the log goes.
    fn pack(&self, mut file: File, to: &Path) -> io::Result<bool> {
        let mut packer = GzEncoder::new(File::create(to)?, Compression::fast());
        let mut block = vec![0; BLOCK];
        loop {
            let count = file.read(&mut block)?;
            if count == 0 {
                packer.finish()?;
                return Ok(true);
            }
            if self.turn.lock().closed {
                return Ok(false);
            }
            packer.write_all(&block[..count])?;
        }
    }
}

/// None: there is no such file.
fn there<T>(result: io::Result<T>) -> io::Result<Option<T>> {
    match result {
        Ok(value) => Ok(Some(value)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}
