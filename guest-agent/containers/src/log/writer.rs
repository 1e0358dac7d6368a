//! Writes a log, and begins its next file when one is full.

use std::{fs::File, io, sync::Arc};

use bytes::BytesMut;
use jiff::Timestamp;

use super::{Attributes, LogFiles, Position};
use crate::io::{Channel, append, read_full};

/// A line that grows longer than this is written in parts, the same as Docker's.
pub(super) const LONGEST: usize = 16 << 10;

/// Writes a log. One for each run of a container; appends.
#[derive(Debug)]
pub(crate) struct Writer {
    files: Arc<LogFiles>,
    /// Put beside each record.
    attributes: Option<Attributes>,
    file: File,
    end: Position,
    /// What has come without a line end yet: standard output's and standard error's.
    partial: [BytesMut; 2],
}

impl Writer {
    pub(crate) fn open(files: Arc<LogFiles>, attributes: Attributes) -> io::Result<Self> {
        let file = files.append()?;
        end_last_line(&file, &files)?;
        let end = Position { file: files.current(), offset: file.metadata()?.len() };
        let attributes = (!attributes.is_empty()).then_some(attributes);
        Ok(Self { files, attributes, file, end, partial: Default::default() })
    }

    /// Where the next record goes.
    pub(crate) fn end(&self) -> Position {
        self.end
    }

    /// What has been given but is not in the file, because its line has not ended.
    pub(crate) fn partial(&self, channel: Channel) -> &[u8] {
        &self.partial[channel as usize]
    }

    /// Writes the lines that `bytes` completes.
    ///
    /// # Errors
    /// The first that was met. What could not be written is missing; the next may be written again.
    pub(crate) fn write(&mut self, channel: Channel, mut bytes: &[u8]) -> io::Result<()> {
        let time = Timestamp::now().to_string();
        let mut batch = Batch::new(channel, &time, bytes.len());
        let mut partial = std::mem::take(&mut self.partial[channel as usize]);
        while let Some(end) = bytes.iter().position(|byte| *byte == b'\n') {
            let (line, rest) = bytes.split_at(end + 1);
            bytes = rest;
            if partial.is_empty() && line.len() <= LONGEST {
                self.put(&mut batch, line);
            } else {
                partial.extend_from_slice(line);
                self.put_long(&mut batch, &mut partial, false);
            }
        }
        partial.extend_from_slice(bytes);
        if partial.len() >= LONGEST {
            self.put_long(&mut batch, &mut partial, true);
        }
        self.partial[channel as usize] = partial;
        self.flush(&mut batch);
        batch.result
    }

    /// Writes what has no line end: nothing more comes on this channel.
    ///
    /// # Errors
    /// When it cannot be written.
    pub(crate) fn finish(&mut self, channel: Channel) -> io::Result<()> {
        let mut partial = std::mem::take(&mut self.partial[channel as usize]);
        let time = Timestamp::now().to_string();
        let mut batch = Batch::new(channel, &time, partial.len());
        self.put_long(&mut batch, &mut partial, false);
        self.flush(&mut batch);
        batch.result
    }

    /// Encodes and empties `partial` in parts of [`LONGEST`]; with `keep_rest`, a last part that is
    /// shorter stays.
    fn put_long(&mut self, batch: &mut Batch<'_>, partial: &mut BytesMut, keep_rest: bool) {
        while !partial.is_empty() && (!keep_rest || partial.len() >= LONGEST) {
            let part = partial.split_to(partial.len().min(LONGEST));
            self.put(batch, &part);
        }
    }

    fn put(&mut self, batch: &mut Batch<'_>, line: &[u8]) {
        let full = |max| self.end.offset + batch.lines.len() as u64 >= max;
        if self.files.rotation.max_size.is_some_and(full) {
            self.flush(batch);
            batch.note(self.rotate());
        }
        let attributes = self.attributes.as_ref();
        self.files.format.encode(&mut batch.lines, batch.channel, batch.time, line, attributes);
    }

    /// When it fails, the file goes on beyond its size.
    fn rotate(&mut self) -> io::Result<()> {
        self.file = self.files.rotate()?;
        self.end = Position { file: self.files.current(), offset: 0 };
        Ok(())
    }

    fn flush(&mut self, batch: &mut Batch<'_>) {
        let written = append(&self.file, &batch.lines);
        match written {
            Ok(()) => self.end.offset += batch.lines.len() as u64,
            // A reader must not find half a line where the next one begins.
            Err(_) => batch.note(self.file.set_len(self.end.offset)),
        }
        batch.note(written);
        batch.lines.clear();
    }
}

/// Encoded lines that are on their way into a file, and the first failure.
struct Batch<'a> {
    channel: Channel,
    time: &'a str,
    lines: Vec<u8>,
    result: io::Result<()>,
}

impl<'a> Batch<'a> {
    fn new(channel: Channel, time: &'a str, size: usize) -> Self {
        Self { channel, time, lines: Vec::with_capacity(size + 128), result: Ok(()) }
    }

    fn note(&mut self, result: io::Result<()>) {
        if self.result.is_ok() {
            self.result = result;
        }
    }
}

/// A crash may have cut the last line off: the next one must not continue it.
fn end_last_line(file: &File, files: &LogFiles) -> io::Result<()> {
    use std::io::{Seek as _, SeekFrom};
    if file.metadata()?.len() == 0 {
        return Ok(());
    }
    let mut reader = File::open(files.path())?;
    reader.seek(SeekFrom::End(-1))?;
    let mut last = [0];
    read_full(&reader, &mut last)?;
    if last == *b"\n" { Ok(()) } else { append(file, b"\n") }
}
