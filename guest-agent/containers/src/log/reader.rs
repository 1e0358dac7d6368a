//! Reads a log from some point on, from file to file.

use std::{
    fs::File,
    io::{self, BufRead, BufReader, Read as _, Seek as _, SeekFrom},
    sync::Arc,
};

use flate2::bufread::GzDecoder;
use jiff::Timestamp;

use super::{Batch, LogFiles, Position, Select, files::Found};
use crate::io::read_full;

/// How much is read at a time.
const BLOCK: usize = 64 << 10;

/// How many bytes of lines travel together at most (the last may pass it).
const BATCH_BYTES: usize = 256 << 10;

/// A line of ours is shorter: what is longer is not ours, and must not fill the memory.
const LONGEST_LINE: u64 = 1 << 20;

/// Reads a log from some point on.
pub(crate) struct Reader {
    files: Arc<LogFiles>,
    select: Select,
    /// What comes next: always at the beginning of a line.
    position: Position,
    /// The file at that position, when it is open.
    source: Option<Box<dyn BufRead + Send + Sync>>,
    over: bool,
}

impl Reader {
    /// Begins where `select` does. `end`: how far the log goes.
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(crate) fn open(files: Arc<LogFiles>, select: Select, end: Position) -> io::Result<Self> {
        let position = match select.tail {
            Some(lines) => tail_start(&files, lines, end)?,
            None => first(&files, end),
        };
        let mut reader = Self { files, select, position, source: None, over: false };
        reader.hold()?;
        Ok(reader)
    }

    /// The next records before `end`, at most `count`. Empty: none there (yet).
    ///
    /// # Errors
    /// When a file cannot be read.
    pub(crate) fn next(&mut self, end: Position, count: usize) -> io::Result<Batch> {
        let mut batch = Batch::default();
        let (mut line, mut bytes) = (Vec::new(), 0);
        while batch.records.len() < count
            && bytes < BATCH_BYTES
            && self.position < end
            && !self.over
        {
            line.clear();
            let is_last = self.position.file == end.file;
            match self.read_line(end, &mut line)? {
                Some(true) => {}
                Some(false) if is_last => break,
                // A file that was rotated away is complete: the next one goes on where it ends.
                Some(false) => {
                    self.go_on();
                    continue;
                }
                // The gap is told before what follows it.
                None if is_last || !batch.records.is_empty() => break,
                None => {
                    self.go_on();
                    batch.lost_files += 1;
                    continue;
                }
            }
            let Some(record) = self.files.format.decode(&line) else { continue };
            if self.select.until.is_some_and(|until| record.time > until) {
                self.over = true;
            } else if self.select.takes(&record) {
                bytes += record.line.len();
                batch.records.push(record);
            }
        }
        // Held open, it can be read to its end even when it is rotated away before the next call.
        self.hold()?;
        Ok(batch)
    }

    fn hold(&mut self) -> io::Result<()> {
        if self.source.is_none() {
            self.source = open_at(&self.files, self.position)?;
        }
        Ok(())
    }

    fn go_on(&mut self) {
        self.source = None;
        self.position = Position { file: self.position.file + 1, offset: 0 };
    }

    /// Reads a line. None: the file is gone. False: there is no whole line (yet).
    fn read_line(&mut self, end: Position, line: &mut Vec<u8>) -> io::Result<Option<bool>> {
        self.hold()?;
        let Some(source) = &mut self.source else { return Ok(None) };
        let left = match self.position.file == end.file {
            true => end.offset - self.position.offset,
            false => u64::MAX,
        };
        let read = source.take(left.min(LONGEST_LINE)).read_until(b'\n', line)?;
        let whole = line.ends_with(b"\n") || read as u64 == LONGEST_LINE;
        if whole {
            self.position.offset += read as u64;
        } else {
            // What was taken of it is read again, when it is whole.
            self.source = None;
        }
        Ok(Some(whole))
    }

    /// Whether nothing can follow: `until` has been passed.
    pub(crate) fn is_over(&self) -> bool {
        self.over || self.select.until.is_some_and(|until| Timestamp::now() > until)
    }

    /// How far the log has been read.
    pub(crate) fn position(&self) -> Position {
        self.position
    }
}

/// The beginning of the first file that is there.
fn first(files: &LogFiles, end: Position) -> Position {
    let there = |number: &u64| files.open(*number).is_ok_and(|found| found.is_some());
    let file = (files.oldest()..end.file).find(there).unwrap_or(end.file);
    Position { file, offset: 0 }
}

/// Opens a file at a place in it. None: it is not there, or no longer.
fn open_at(
    files: &LogFiles,
    position: Position,
) -> io::Result<Option<Box<dyn BufRead + Send + Sync>>> {
    Ok(match files.open(position.file)? {
        None => None,
        Some(Found::Plain(mut file)) => {
            file.seek(SeekFrom::Start(position.offset))?;
            Some(Box::new(BufReader::with_capacity(BLOCK, file)))
        }
        Some(Found::Packed(file)) => {
            let mut unpacked = unpack(file);
            io::copy(&mut (&mut unpacked).take(position.offset), &mut io::sink())?;
            Some(Box::new(unpacked))
        }
    })
}

fn unpack(file: File) -> BufReader<GzDecoder<BufReader<File>>> {
    BufReader::with_capacity(BLOCK, GzDecoder::new(BufReader::with_capacity(BLOCK, file)))
}

/// Where the last `lines` lines before `end` begin. Goes from the newest file to the oldest, and
/// reads no more of them than it must.
fn tail_start(files: &LogFiles, lines: u64, end: Position) -> io::Result<Position> {
    let (mut left, mut start) = (lines, end);
    let oldest = files.oldest();
    let mut number = end.file;
    while left > 0 {
        let found = match files.open(number)? {
            Some(Found::Plain(file)) => {
                let length = file.metadata()?.len();
                let length = if number == end.file { length.min(end.offset) } else { length };
                last_lines(&file, length, left)?
            }
            Some(Found::Packed(file)) => last_lines_packed(files, number, file, left)?,
            // Of a container that never ran, or rotated away just now.
            None => break,
        };
        start = Position { file: number, offset: found.offset };
        left -= found.lines;
        if number <= oldest {
            break;
        }
        number -= 1;
    }
    Ok(start)
}

/// The place where the last lines of a file begin, and how many there are from there on.
struct LastLines {
    offset: u64,
    lines: u64,
}

/// Reads `length` bytes of a file from their end.
fn last_lines(mut file: &File, length: u64, wanted: u64) -> io::Result<LastLines> {
    // The line end of the last line does not begin another one: it is counted first.
    let mut found = 0;
    let mut end = length;
    let mut block = vec![0; BLOCK];
    while end > 0 {
        let start = end.saturating_sub(BLOCK as u64);
        let block = &mut block[..(end - start) as usize];
        file.seek(SeekFrom::Start(start))?;
        let read = read_full(file, block)?;
        for index in (0..read).rev().filter(|index| block[*index] == b'\n') {
            if found == wanted {
                return Ok(LastLines { offset: start + index as u64 + 1, lines: found });
            }
            found += 1;
        }
        end = start;
    }
    Ok(LastLines { offset: 0, lines: found })
}

/// A compressed file is read from its beginning: once to count, once to find the place.
fn last_lines_packed(
    files: &LogFiles,
    number: u64,
    file: File,
    wanted: u64,
) -> io::Result<LastLines> {
    let mut lines = 0;
    skip_lines(&mut unpack(file), u64::MAX, &mut lines)?;
    let found = lines.min(wanted);
    let mut offset = 0;
    if found < lines
        && let Some(mut again) = open_at(files, Position { file: number, offset: 0 })?
    {
        offset = skip_lines(&mut again, lines - found, &mut 0)?;
    }
    Ok(LastLines { offset, lines: found })
}

/// Reads over at most `count` lines; returns their bytes, and adds how many there were to `seen`.
fn skip_lines(from: &mut impl BufRead, count: u64, seen: &mut u64) -> io::Result<u64> {
    let mut bytes = 0;
    let mut skipped = 0;
    while skipped < count {
        let read = from.skip_until(b'\n')?;
        if read == 0 {
            break;
        }
        bytes += read as u64;
        skipped += 1;
    }
    *seen += skipped;
    Ok(bytes)
}
