//! Reading tar, front to back, from a stream.
//!
//! Own code and not the `tar` crate's reader, because that one splits PAX records at line feeds (which
//! breaks binary values, such as file capabilities), knows no PAX sparse files, and copies each
//! name several times. Understood: v7, ustar, GNU (long names, sparse), PAX (POSIX.1-2008 `pax`, and GNU's and
//! Schilling's keywords). Knows nothing of layers; `unpack` gives entries their meaning.

mod header;
mod pax;
mod sparse;

use std::io::{self, BufRead};

use crate::compression::{DICTIONARY, LimitReached, NeedsMemory, SourceFailed};
use crate::error::Error;

use header::Block;
use pax::Records;
pub(crate) use sparse::Map;

/// tar's unit.
pub(crate) const BLOCK: usize = 512;
/// A name or a set of PAX records beyond this is an attack on the memory: paths end at 4 KiB and
/// extended attributes at 64 KiB each.
const MAX_EXTENSION: u64 = 1 << 20;

/// Why an archive cannot be read on.
#[derive(Debug)]
pub(crate) enum Fault {
    /// The stream failed.
    Read(io::Error),
    /// It is not a valid archive.
    Bad(String),
}

impl Fault {
    /// As the caller's error. `what` names the archive.
    pub(crate) fn about(self, what: &str) -> Error {
        match self {
            Self::Bad(why) => Error::corrupt(what, why),
            Self::Read(error) => read_error(error, what),
        }
    }
}

/// A stream that fails is the caller's affair; a decoder that fails has met corrupt data.
pub(crate) fn read_error(error: io::Error, what: &str) -> Error {
    let error = match error.downcast::<SourceFailed>() {
        Ok(SourceFailed(source)) => return Error::Read(source),
        Err(error) => error,
    };
    let too_large = |limit, unit| Error::TooLarge { what: what.to_owned(), limit, unit };
    let error = match error.downcast::<LimitReached>() {
        Ok(LimitReached(limit)) => return too_large(limit, "bytes"),
        Err(error) => error,
    };
    match error.downcast::<NeedsMemory>() {
        Ok(NeedsMemory) => too_large(DICTIONARY, "bytes of memory to be unpacked"),
        Err(error) => Error::corrupt(what, error.to_string()),
    }
}

/// What an entry makes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    File,
    /// To `link`, a path in the archive.
    HardLink,
    /// With `link` as its content.
    Symlink,
    Char {
        major: u32,
        minor: u32,
    },
    Block {
        major: u32,
        minor: u32,
    },
    Folder,
    Fifo,
}

/// A point in time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Time {
    /// Since 1970.
    pub(crate) seconds: i64,
    /// 0 to 999,999,999, forward.
    pub(crate) nanos: u32,
}

/// One entry, without its contents.
#[derive(Debug, Clone)]
pub(crate) struct Entry {
    /// As written, not checked in any way.
    pub(crate) path: Vec<u8>,
    /// The target of a link, not checked in any way.
    pub(crate) link: Vec<u8>,
    pub(crate) kind: Kind,
    /// Permission bits, 12 of them.
    pub(crate) mode: u32,
    pub(crate) uid: u32,
    pub(crate) gid: u32,
    pub(crate) mtime: Time,
    /// Extended attributes: name, value.
    pub(crate) xattrs: Vec<(Vec<u8>, Vec<u8>)>,
    /// Where the contents belong, when the file has holes.
    pub(crate) sparse: Option<Map>,
    /// Bytes of contents that follow in the archive.
    pub(crate) stored: u64,
}

/// A stream of entries. The contents of an entry are read through the reader, which is a `BufRead` that
/// ends where they end.
pub(crate) struct Reader<R> {
    input: R,
    /// Of the current entry's contents.
    remaining: u64,
    /// After them, up to the next block.
    padding: u64,
    global: Records,
    ended: bool,
}

impl<R: BufRead> Reader<R> {
    pub(crate) fn new(input: R) -> Self {
        Self { input, remaining: 0, padding: 0, global: Records::default(), ended: false }
    }

    /// The next entry; skips what was not read of the current one. None: the archive's end.
    pub(crate) fn next(&mut self) -> Result<Option<Entry>, Fault> {
        let mut records = self.global.clone();
        let mut long_path = None;
        let mut long_link = None;
        let mut extended = false;
        loop {
            self.skip_contents()?;
            let Some(block) = self.next_block()? else {
                if extended {
                    return Err(bad("it ends after an extended header"));
                }
                return Ok(None);
            };
            let size = block.size()?;
            match block.flag() {
                b'x' | b'X' => records.add(&self.extension(size)?)?,
                b'g' => {
                    let bytes = self.extension(size)?;
                    self.global.add(&bytes)?;
                    records.add(&bytes)?;
                }
                b'L' => long_path = Some(text(self.extension(size)?)),
                b'K' => long_link = Some(text(self.extension(size)?)),
                // A volume's label: nothing to unpack.
                b'V' => self.begin_contents(size)?,
                _ => return self.entry(&block, &records, long_path, long_link).map(Some),
            }
            extended = !matches!(block.flag(), b'V' | b'g');
        }
    }

    /// Reads on to the end of the stream, so that what wraps the input sees all of it.
    pub(crate) fn drain(mut self) -> Result<(), Fault> {
        loop {
            match self.input.fill_buf() {
                Ok([]) => return Ok(()),
                Ok(buffer) => {
                    let n = buffer.len();
                    self.input.consume(n);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(Fault::Read(error)),
            }
        }
    }

    /// Some of the contents' next bytes; empty at their end. Never more than remain.
    pub(crate) fn contents(&mut self) -> Result<&[u8], Fault> {
        if self.remaining == 0 {
            return Ok(&[]);
        }
        // Twice, because a buffer that is returned cannot be borrowed in a loop.
        if fill(&mut self.input)? == 0 {
            return Err(bad("it ends in the middle of a file"));
        }
        let buffer = self.input.fill_buf().map_err(Fault::Read)?;
        let n = buffer.len().min(usize::try_from(self.remaining).unwrap_or(usize::MAX));
        Ok(&buffer[..n])
    }

    /// Marks bytes of [`Self::contents`] as used.
    pub(crate) fn consume(&mut self, n: usize) {
        self.input.consume(n);
        self.remaining -= n as u64;
    }

    fn entry(
        &mut self,
        block: &Block,
        records: &Records,
        long_path: Option<Vec<u8>>,
        long_link: Option<Vec<u8>>,
    ) -> Result<Entry, Fault> {
        let path = match records.path() {
            Some(path) => path.to_vec(),
            None => long_path.unwrap_or_else(|| block.path()),
        };
        let link = match records.get(b"linkpath") {
            Some(link) => link.to_vec(),
            None => long_link.unwrap_or_else(|| block.link()),
        };
        let kind = block.kind(&path)?;
        let stored = match kind {
            Kind::File => records.number("size")?.map_or_else(|| block.size(), Ok)?,
            // pax allows contents for hard links; nothing that makes layers writes them. Others have
            // none, whatever their size field says (POSIX: "ignored").
            Kind::HardLink => records.number("size")?.map_or_else(|| block.size(), Ok)?,
            _ => 0,
        };
        self.begin_contents(stored)?;
        let sparse = match kind {
            Kind::File => self.sparse(block, records)?,
            _ => None,
        };
        let id = |key, own: Result<u64, Fault>| {
            let id = records.number(key)?.map_or(own, Ok)?;
            // The highest number means "do not change" to chown(2).
            let valid = u32::try_from(id).ok().filter(|id| *id != u32::MAX);
            valid.ok_or_else(|| bad(format!("{key} {id} is out of range")))
        };
        Ok(Entry {
            link,
            kind,
            mode: block.mode()? & 0o7777,
            uid: id("uid", block.uid())?,
            gid: id("gid", block.gid())?,
            mtime: records.mtime()?.map_or_else(|| block.mtime(), Ok)?,
            xattrs: records.xattrs(),
            stored: self.remaining,
            sparse,
            path,
        })
    }

    /// GNU tar's ways to say where the data of a file with holes belongs.
    fn sparse(&mut self, block: &Block, records: &Records) -> Result<Option<Map>, Fault> {
        let map = if block.flag() == b'S' {
            let (mut map, mut more) = block.sparse()?;
            // Continuation blocks stand between header and contents and do not count as contents.
            while more {
                let continued = self.raw_block()?.ok_or_else(|| bad("it ends in a sparse map"))?;
                more = header::sparse_continuation(&continued, &mut map)?;
            }
            map
        } else if records.is_sparse_in_contents() {
            let real_size = records
                .number("GNU.sparse.realsize")?
                .ok_or_else(|| bad("a sparse file without size"))?;
            Map::new(self.sparse_map_in_contents()?, real_size)
        } else if let Some(map) = records.sparse()? {
            map
        } else {
            return Ok(None);
        };
        map.check(self.remaining)?;
        Ok(Some(map))
    }

    /// PAX sparse format 1.0: the map is text at the beginning of the contents, padded to a block.
    fn sparse_map_in_contents(&mut self) -> Result<Vec<(u64, u64)>, Fault> {
        let mut used = 0;
        let count = self.sparse_number(&mut used)?;
        if count > sparse::MAX_SEGMENTS {
            return Err(bad("a sparse file has too many parts"));
        }
        let mut segments = Vec::new();
        for _ in 0..count {
            segments.push((self.sparse_number(&mut used)?, self.sparse_number(&mut used)?));
        }
        while !used.is_multiple_of(BLOCK as u64) {
            self.contents_byte(&mut used)?;
        }
        Ok(segments)
    }

    fn sparse_number(&mut self, used: &mut u64) -> Result<u64, Fault> {
        let mut number = 0_u64;
        let mut digits = 0;
        loop {
            match self.contents_byte(used)? {
                b'\n' if digits > 0 => return Ok(number),
                c @ b'0'..=b'9' if digits < 19 => number = number * 10 + u64::from(c - b'0'),
                _ => return Err(bad("a sparse map is malformed")),
            }
            digits += 1;
        }
    }

    fn contents_byte(&mut self, used: &mut u64) -> Result<u8, Fault> {
        let byte = *self.contents()?.first().ok_or_else(|| bad("a sparse map is cut off"))?;
        self.consume(1);
        *used += 1;
        Ok(byte)
    }

    fn begin_contents(&mut self, size: u64) -> Result<(), Fault> {
        let padded = size
            .checked_next_multiple_of(BLOCK as u64)
            .ok_or_else(|| bad("a file's size is out of range"))?;
        self.remaining = size;
        self.padding = padded - size;
        Ok(())
    }

    /// The contents of an extended header.
    fn extension(&mut self, size: u64) -> Result<Vec<u8>, Fault> {
        if size > MAX_EXTENSION {
            return Err(bad(format!("an extended header of {size} bytes")));
        }
        self.begin_contents(size)?;
        let mut bytes = Vec::new();
        loop {
            let part = self.contents()?;
            if part.is_empty() {
                return Ok(bytes);
            }
            bytes.extend_from_slice(part);
            let n = part.len();
            self.consume(n);
        }
    }

    fn skip_contents(&mut self) -> Result<(), Fault> {
        loop {
            let n = self.contents()?.len();
            if n == 0 {
                break;
            }
            self.consume(n);
        }
        self.remaining = std::mem::take(&mut self.padding);
        while self.remaining > 0 {
            let n = u64::try_from(fill(&mut self.input)?).unwrap_or(u64::MAX).min(self.remaining);
            if n == 0 {
                // Writers that leave the end of the archive out leave this out, too: the docker CLI
                // of a context to which it adds a Dockerfile (`build -f -`).
                self.remaining = 0;
                self.ended = true;
            }
            self.consume(usize::try_from(n).unwrap_or(0));
        }
        Ok(())
    }

    /// The next header. An empty block ends the archive; so does the stream's end, because many
    /// writers leave the empty blocks out.
    fn next_block(&mut self) -> Result<Option<Block>, Fault> {
        if self.ended {
            return Ok(None);
        }
        match self.raw_block()? {
            Some(block) if block.iter().any(|byte| *byte != 0) => Block::new(block).map(Some),
            _ => {
                self.ended = true;
                Ok(None)
            }
        }
    }

    fn raw_block(&mut self) -> Result<Option<[u8; BLOCK]>, Fault> {
        let mut block = [0; BLOCK];
        let mut filled = 0;
        while filled < BLOCK {
            if fill(&mut self.input)? == 0 {
                if filled == 0 {
                    return Ok(None);
                }
                return Err(bad("it ends in the middle of a header"));
            }
            let buffer = self.input.fill_buf().map_err(Fault::Read)?;
            let n = buffer.len().min(BLOCK - filled);
            block[filled..filled + n].copy_from_slice(&buffer[..n]);
            self.input.consume(n);
            filled += n;
        }
        Ok(Some(block))
    }
}

fn fill(input: &mut impl BufRead) -> Result<usize, Fault> {
    loop {
        match input.fill_buf() {
            Ok(buffer) => return Ok(buffer.len()),
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(Fault::Read(error)),
        }
    }
}

fn bad(why: impl Into<String>) -> Fault {
    Fault::Bad(why.into())
}

/// GNU long names end with a zero.
fn text(mut bytes: Vec<u8>) -> Vec<u8> {
    if let Some(end) = bytes.iter().position(|byte| *byte == 0) {
        bytes.truncate(end);
    }
    bytes
}
