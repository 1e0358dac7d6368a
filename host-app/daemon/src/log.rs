//! The daemon's own log: a file in the home, capped in size. When it is full it becomes
//! `linkspand.1.log`, so two times the cap is the most that it takes.

use std::{
    fs::{File, OpenOptions},
    io::{self, Write},
    path::{Path, PathBuf},
    sync::Mutex,
};

use anyhow::Context as _;
use tracing_subscriber::{EnvFilter, fmt, layer::SubscriberExt as _, util::SubscriberInitExt as _};

/// Months of normal use at the level `info`.
const CAP_BYTES: u64 = 8 * 1024 * 1024;

/// Starts to log to `path`, and in the foreground to standard error too. `filter` is what
/// `tracing_subscriber` calls directives: `info`, `debug`, `linkspan_machine=trace,info`.
pub(crate) fn start(path: &Path, filter: &str, foreground: bool) -> anyhow::Result<()> {
    let filter = EnvFilter::try_new(filter)
        .with_context(|| format!("cannot read the log filter `{filter}`"))?;
    let file = CappedFile::open(path, CAP_BYTES)
        .with_context(|| format!("cannot write the log `{}`", path.display()))?;
    let to_file = fmt::layer().with_ansi(false).with_writer(Mutex::new(file));
    let to_terminal = foreground.then(|| fmt::layer().with_writer(io::stderr));
    tracing_subscriber::registry().with(filter).with(to_file).with(to_terminal).init();
    // A panic goes to the log like everything else, and to standard error as ever.
    let default = std::panic::take_hook();
    std::panic::set_hook(Box::new(move |panic| {
        tracing::error!("{panic}");
        default(panic);
    }));
    Ok(())
}

/// Starts a device's log: to standard error, which the driver keeps beside the machine's other logs.
pub(crate) fn of_device(filter: &str) -> anyhow::Result<()> {
    // The guest decides how often its mistakes are told, so a crate that tells each is silent.
    let filter = EnvFilter::try_new(format!("{filter},virtio_queue=off"))?;
    fmt().with_env_filter(filter).with_ansi(false).with_writer(io::stderr).init();
    Ok(())
}

struct CappedFile {
    path: PathBuf,
    file: File,
    size: u64,
    cap: u64,
}

impl CappedFile {
    fn open(path: &Path, cap: u64) -> io::Result<Self> {
        let mut options = OpenOptions::new();
        options.append(true).create(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        let file = options.open(path)?;
        let size = file.metadata()?.len();
        Ok(Self { path: path.to_owned(), file, size, cap })
    }

    fn turn_over(&mut self) -> io::Result<()> {
        std::fs::rename(&self.path, self.path.with_extension("1.log"))?;
        *self = Self::open(&self.path, self.cap)?;
        Ok(())
    }
}

impl Write for CappedFile {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        // Where the old file cannot be moved away the log goes on in it: better large than mute.
        if self.size > 0 && self.size + bytes.len() as u64 > self.cap && self.turn_over().is_err() {
            self.size = 0;
        }
        let written = self.file.write(bytes)?;
        self.size += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_full_log_is_turned_over_and_the_one_before_it_goes() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("linkspand.log");
        let mut log = CappedFile::open(&path, 10).unwrap();
        for line in ["one...\n", "two...\n", "three.\n"] {
            log.write_all(line.as_bytes()).unwrap();
        }
        let read = |path: &Path| std::fs::read_to_string(path).unwrap();
        assert_eq!(read(&path), "three.\n");
        assert_eq!(read(&path.with_extension("1.log")), "two...\n");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
        // The next daemon goes on where this one stopped.
        drop(log);
        CappedFile::open(&path, 100).unwrap().write_all(b"four\n").unwrap();
        assert_eq!(read(&path), "three.\nfour\n");
    }
}
