//! The serial console's log: one file for the present boot, one for the boot before. The VMM
//! appends to it; here it is turned over, kept short, read and followed.

use std::{
    fs::{File, Metadata},
    io::{self, Read as _, Seek as _, SeekFrom, Write as _},
    path::{Path, PathBuf},
    time::Duration,
};

use futures::{Stream, stream};

/// How much of a log's end is read to find its last lines.
const TAIL_WINDOW: u64 = 64 * 1024;
/// A line of evidence is cut here: a kernel can write without a line break for long.
const LINE_LIMIT: usize = 240;
/// At most this much of a log is handed out at once, and all that a plain read returns in total
/// is this many times [`CHUNKS`].
const CHUNK: usize = 64 * 1024;
/// A guest that floods its console must not fill the reader's memory: the last 16 MiB are read.
const CHUNKS: u64 = 256;
/// A log that is longer than this is shortened, to its first [`HEAD`] and last [`TAIL`] bytes.
const LONGEST: u64 = 16 * 1024 * 1024;
/// The boot, and what came right after it.
const HEAD: u64 = 1024 * 1024;
/// What came last.
const TAIL: u64 = 4 * 1024 * 1024;
const LEFT_OUT: &[u8] = b"\n[linkspan: much was written, and what stood here is left out]\n";
/// How often a follower looks for growth. The writer is the VMM, a foreign process that cannot
/// tell us, and file notification differs on each host (and misses other mounts); one `stat` of a
/// local file ten times a second, only while someone looks, costs nothing.
const LOOK_EVERY: Duration = Duration::from_millis(100);

/// What Linux says of a processor that stands still (kernel/rcu/tree_stall.h, kernel/watchdog.c).
const STALLS: [&str; 3] = ["detected stalls on CPUs", "self-detected stall on CPU", "soft lockup"];

/// The log of one machine.
#[derive(Debug, Clone)]
pub struct SerialLog {
    path: PathBuf,
    previous: PathBuf,
}

impl SerialLog {
    pub(crate) fn new(path: PathBuf, previous: PathBuf) -> Self {
        Self { path, previous }
    }

    /// Turns the log over for a new boot: it becomes the previous one, an empty one takes its
    /// place.
    pub(crate) fn rotate(&self) -> io::Result<()> {
        match std::fs::rename(&self.path, &self.previous) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let mut options = std::fs::OpenOptions::new();
        options.write(true).create(true).truncate(true);
        #[cfg(unix)]
        std::os::unix::fs::OpenOptionsExt::mode(&mut options, 0o600);
        options.open(&self.path).map(drop)
    }

    /// Leaves the middle out when it has become too long. The VMM goes on meanwhile and waits for
    /// nothing; the few bytes that it writes while the end is put in its new place may be lost.
    ///
    /// Not on Windows, where QEMU lets nobody else write its file.
    pub(crate) fn shorten(&self) -> io::Result<()> {
        let mut options = std::fs::OpenOptions::new();
        let mut file = match options.read(true).append(true).open(&self.path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        let length = file.metadata()?.len();
        if length <= LONGEST {
            return Ok(());
        }
        let mut end = LEFT_OUT.to_vec();
        file.seek(SeekFrom::Start(length - TAIL))?;
        file.read_to_end(&mut end)?;
        file.set_len(HEAD)?;
        file.write_all(&end)
    }

    /// Whether the guest (or its firmware) has written anything: a sign of life.
    pub(crate) fn is_silent(&self) -> bool {
        std::fs::metadata(&self.path).map_or(true, |metadata| metadata.len() == 0)
    }

    /// Whether the guest's kernel says that a processor stands still. Blocking.
    pub(crate) fn shows_stall(&self) -> bool {
        let lines = self.evidence(usize::MAX);
        lines.iter().any(|line| STALLS.iter().any(|stall| line.contains(stall)))
    }

    /// The last `count` lines without control characters, as evidence in a message. What cannot
    /// be read is no evidence: this never fails. Blocking.
    #[must_use]
    pub fn evidence(&self, count: usize) -> Vec<String> {
        let Ok(mut file) = File::open(&self.path) else { return Vec::new() };
        let length = file.metadata().map_or(0, |metadata| metadata.len());
        let mut text = Vec::new();
        let read = file
            .seek(SeekFrom::Start(length.saturating_sub(TAIL_WINDOW)))
            .and_then(|_| file.take(TAIL_WINDOW).read_to_end(&mut text));
        if read.is_err() {
            return Vec::new();
        }
        let mut lines: Vec<String> =
            text.split(|byte| *byte == b'\n').map(clean).filter(|line| !line.is_empty()).collect();
        lines.split_off(lines.len().saturating_sub(count))
    }

    /// The log's bytes as the guest wrote them: the last `tail` lines (`None`: all, at most the
    /// last 16 MiB), and with `follow` all that comes after, also of later boots. A stream that
    /// follows never ends by itself.
    pub fn read(
        &self,
        tail: Option<u64>,
        follow: bool,
    ) -> impl Stream<Item = io::Result<Vec<u8>>> + Send + 'static + use<> {
        let reader = Reader { path: self.path.clone(), at: At::Beginning { tail }, follow };
        stream::try_unfold(reader, Reader::next)
    }
}

/// Strips escape sequences and control characters, and cuts what is too long.
fn clean(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let mut cleaned = String::new();
    let mut chars = text.chars().peekable();
    while let Some(char) = chars.next() {
        match char {
            // ECMA-48: ESC [ parameters final, ESC ] text BEL, or ESC and one character.
            '\u{1b}' => match chars.next() {
                Some('[') => while chars.next().is_some_and(|char| !('@'..='~').contains(&char)) {},
                Some(']') => while chars.next().is_some_and(|char| char != '\u{7}') {},
                _ => {}
            },
            '\t' => cleaned.push(' '),
            char if char.is_control() => {}
            char => cleaned.push(char),
        }
    }
    let cut = cleaned.char_indices().nth(LINE_LIMIT).map_or(cleaned.len(), |(index, _)| index);
    cleaned.truncate(cut);
    cleaned.trim_end().to_owned()
}

struct Reader {
    path: PathBuf,
    at: At,
    follow: bool,
}

enum At {
    Beginning { tail: Option<u64> },
    Open { file: File, offset: u64 },
}

impl Reader {
    async fn next(mut self) -> io::Result<Option<(Vec<u8>, Self)>> {
        loop {
            // A read of a local file, yet a disk may be slow.
            let step = move || self.step().map(|bytes| (bytes, self));
            let (bytes, reader) = tokio::task::spawn_blocking(step)
                .await
                .map_err(|_| io::Error::other("the reader of the serial log died"))??;
            self = reader;
            if !bytes.is_empty() {
                return Ok(Some((bytes, self)));
            }
            if !self.follow {
                return Ok(None);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    /// The bytes that are there now.
    fn step(&mut self) -> io::Result<Vec<u8>> {
        if let At::Beginning { tail } = self.at {
            let Some(mut file) = open(&self.path)? else { return Ok(Vec::new()) };
            let offset = start_of_tail(&mut file, tail)?;
            self.at = At::Open { file, offset };
        }
        let At::Open { file, offset } = &mut self.at else { return Ok(Vec::new()) };
        let mut bytes = vec![0; CHUNK];
        file.seek(SeekFrom::Start(*offset))?;
        let count = file.read(&mut bytes)?;
        bytes.truncate(count);
        *offset += count as u64;
        if count == 0 && self.follow {
            match what_became(file, &self.path, *offset) {
                Became::Longer => {}
                Became::Another => self.at = At::Beginning { tail: None },
                Became::Shorter(end) => *offset = end,
            }
        }
        Ok(bytes)
    }
}

fn open(path: &Path) -> io::Result<Option<File>> {
    match File::open(path) {
        Ok(file) => Ok(Some(file)),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error),
    }
}

/// Where the last `tail` lines begin, within the last 16 MiB.
fn start_of_tail(file: &mut File, tail: Option<u64>) -> io::Result<u64> {
    let length = file.metadata()?.len();
    let earliest = length.saturating_sub(CHUNK as u64 * CHUNKS);
    let Some(lines) = tail else { return Ok(earliest) };
    if lines == 0 {
        return Ok(length);
    }
    let mut found = 0;
    let mut end = length;
    while end > earliest {
        let start = end.saturating_sub(CHUNK as u64).max(earliest);
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(end - start).read_to_end(&mut bytes)?;
        for (index, _) in bytes.iter().enumerate().rev().filter(|(_, byte)| **byte == b'\n') {
            let after = start + index as u64 + 1;
            // The last line's own end starts no line.
            if after < length {
                found += 1;
                if found == lines {
                    return Ok(after);
                }
            }
        }
        end = start;
    }
    Ok(earliest)
}

/// What became of a log that was read to its end.
enum Became {
    /// It goes on where it ended.
    Longer,
    /// A new boot has one of its own.
    Another,
    /// It was shortened, and ends here now.
    Shorter(u64),
}

fn what_became(file: &File, path: &Path, offset: u64) -> Became {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(ours), Ok(now)) if !same(&ours, &now) => Became::Another,
        (Ok(_), Ok(now)) if now.len() >= offset => Became::Longer,
        // Windows gives a new file the times of one that had its name just before.
        (Ok(_), Ok(_)) if cfg!(windows) => Became::Another,
        (Ok(_), Ok(now)) => Became::Shorter(now.len()),
        _ => Became::Longer,
    }
}

#[cfg(unix)]
fn same(one: &Metadata, other: &Metadata) -> bool {
    use std::os::unix::fs::MetadataExt as _;
    one.dev() == other.dev() && one.ino() == other.ino()
}

#[cfg(not(unix))]
fn same(one: &Metadata, other: &Metadata) -> bool {
    match (one.created(), other.created()) {
        (Ok(one), Ok(other)) => one == other,
        _ => true,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use futures::StreamExt as _;

    use super::*;

    fn log(folder: &Path) -> SerialLog {
        SerialLog::new(folder.join("serial.log"), folder.join("serial.1.log"))
    }

    async fn all(log: &SerialLog, tail: Option<u64>) -> String {
        let chunks: Vec<_> = log.read(tail, false).collect().await;
        let bytes: Vec<u8> = chunks.into_iter().flat_map(Result::unwrap).collect();
        String::from_utf8(bytes).unwrap()
    }

    #[test]
    fn evidence_has_the_last_lines_and_no_control_characters() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(folder.path());
        assert!(log.evidence(20).is_empty());
        let mut text: Vec<u8> =
            (0..100).flat_map(|n| format!("line {n}\r\n").into_bytes()).collect();
        text.extend(b"\x1b[31mKernel panic\x1b[0m - \x07not\tsyncing\xff\r\n\r\n");
        std::fs::write(folder.path().join("serial.log"), text).unwrap();
        let lines = log.evidence(3);
        assert_eq!(lines, ["line 98", "line 99", "Kernel panic - not syncing\u{fffd}"]);
    }

    #[test]
    fn a_flood_without_line_breaks_is_cut() {
        let folder = tempfile::tempdir().unwrap();
        std::fs::write(folder.path().join("serial.log"), vec![b'x'; 1 << 20]).unwrap();
        let lines = log(folder.path()).evidence(20);
        assert_eq!((lines.len(), lines[0].len()), (1, LINE_LIMIT));
    }

    #[test]
    fn the_boot_before_is_kept_and_no_more() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(folder.path());
        for boot in ["one", "two", "three"] {
            log.rotate().unwrap();
            assert!(log.is_silent());
            std::fs::write(&log.path, boot).unwrap();
            assert!(!log.is_silent());
        }
        assert_eq!(std::fs::read_to_string(&log.previous).unwrap(), "two");
        assert_eq!(std::fs::read_dir(folder.path()).unwrap().count(), 2);
    }

    #[test]
    fn a_flooded_log_keeps_its_begin_and_its_end() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(folder.path());
        log.shorten().unwrap();
        log.rotate().unwrap();
        let mut console = std::fs::OpenOptions::new().append(true).open(&log.path).unwrap();
        console.write_all(b"the boot\n").unwrap();
        log.shorten().unwrap();
        assert_eq!(std::fs::read(&log.path).unwrap(), b"the boot\n");
        for round in 0..3 {
            console.write_all(&vec![b'x'; LONGEST as usize]).unwrap();
            console.write_all(format!("\nround {round}\n").as_bytes()).unwrap();
            log.shorten().unwrap();
            let text = std::fs::read(&log.path).unwrap();
            assert_eq!(text.len() as u64, HEAD + TAIL + LEFT_OUT.len() as u64);
            assert!(text.starts_with(b"the boot\nxxx"));
            assert_eq!(log.evidence(1), [format!("round {round}")]);
        }
        console.write_all(b"more").unwrap();
        assert_eq!(log.evidence(1), ["more"], "the console goes on at the new end");
    }

    #[tokio::test]
    async fn a_follower_goes_on_with_what_is_new_when_the_log_is_shortened() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(folder.path());
        log.rotate().unwrap();
        let mut console = std::fs::OpenOptions::new().append(true).open(&log.path).unwrap();
        console.write_all(&vec![b'x'; LONGEST as usize + 1]).unwrap();
        let mut stream = Box::pin(log.read(None, true));
        let mut read = 0;
        while read < LONGEST {
            read += stream.next().await.unwrap().unwrap().len() as u64;
        }
        log.shorten().unwrap();
        let deadline = tokio::time::Instant::now() + Duration::from_secs(20);
        // What is written before it looks is not new to it.
        let next = loop {
            console.write_all(b"more ").unwrap();
            if let Ok(next) = tokio::time::timeout(LOOK_EVERY * 2, stream.next()).await {
                break next.unwrap().unwrap();
            }
            assert!(tokio::time::Instant::now() < deadline, "it sees nothing new");
        };
        assert_eq!(next, b"more ".repeat(next.len() / 5), "nothing comes twice");
    }

    #[tokio::test]
    async fn the_tail_is_exact() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(folder.path());
        assert_eq!(all(&log, None).await, "");
        let long = "y".repeat(100_000);
        std::fs::write(&log.path, format!("a\nb\n{long}\nd")).unwrap();
        assert_eq!(all(&log, Some(0)).await, "");
        assert_eq!(all(&log, Some(1)).await, "d");
        assert_eq!(all(&log, Some(2)).await, format!("{long}\nd"));
        assert_eq!(all(&log, Some(3)).await, format!("b\n{long}\nd"));
        assert_eq!(all(&log, Some(99)).await, format!("a\nb\n{long}\nd"));
        assert_eq!(all(&log, None).await, format!("a\nb\n{long}\nd"));
        std::fs::write(&log.path, "a\nb\n").unwrap();
        assert_eq!(all(&log, Some(1)).await, "b\n");
    }

    #[tokio::test]
    async fn a_follower_sees_growth_and_the_next_boot() {
        let folder = tempfile::tempdir().unwrap();
        let log = log(folder.path());
        let mut stream = Box::pin(log.read(None, true));
        let mut seen = Vec::new();
        let mut until = async |word: &str| {
            let deadline = tokio::time::Instant::now() + Duration::from_secs(10);
            while !String::from_utf8_lossy(&seen).ends_with(word) {
                let next = tokio::time::timeout_at(deadline, stream.next()).await;
                seen.extend(next.expect("the follower sees it").unwrap().unwrap());
            }
        };
        log.rotate().unwrap();
        std::fs::write(&log.path, "first").unwrap();
        until("first").await;
        let mut file = std::fs::OpenOptions::new().append(true).open(&log.path).unwrap();
        file.write_all(b" more").unwrap();
        until("first more").await;
        log.rotate().unwrap();
        std::fs::write(&log.path, "a new boot, and longer than the old one").unwrap();
        until("first morea new boot, and longer than the old one").await;
    }
}
