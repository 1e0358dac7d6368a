//! Recipes: how a layer's tar is made again, byte for byte, from its unpacked files.
//!
//! While a layer is unpacked, everything of its tar that is not the content of a file (headers,
//! paddings, end marks, contents that were skipped) is written down as it is, and contents as a
//! pointer into the layer's folder. So a layer that came uncompressed needs no second copy.
//! (Docker's name for the same idea is tar-split.)
//!
//! ```text
//! zstd( "LSR1" record... )
//! record = 'R' length:u32 bytes                                  as it is
//!        | 'F' path_length:u32 path inode:u64 offset:u64 length:u64   a part of a file
//!        | 'E' length:u64                                        the end, and the whole tar's length
//! ```
//! Numbers are little endian. The inode is of use only until the layer is complete: it tells
//! whether a path still leads to what was written (see [`settle`]).

mod read;
mod settle;

use std::cell::RefCell;
use std::fs::File;
use std::io::{self, BufRead, BufWriter, Read, Write as _};
use std::path::{Path, PathBuf};

use crate::error::{Context as _, Error, Result};

pub(crate) use read::Replay;
pub(crate) use settle::settle;

const MAGIC: &[u8; 4] = b"LSR1";
const RAW: u8 = b'R';
const PART: u8 = b'F';
const END: u8 = b'E';
/// Raw bytes in one record.
const MAX_RAW: usize = 64 << 10;
/// PATH_MAX of Linux, less its final zero: what is longer cannot be opened in one call.
pub(crate) const MAX_PATH: usize = 4095;
/// zstd's own default: headers shrink to a few percent with any level.
const LEVEL: i32 = 3;

/// A part of a file.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Part {
    /// Within the layer's folder.
    path: Vec<u8>,
    inode: u64,
    offset: u64,
    length: u64,
}

/// Writes a recipe.
pub(crate) struct Writer {
    path: PathBuf,
    out: zstd::Encoder<'static, BufWriter<File>>,
    raw: Vec<u8>,
    part: Option<Part>,
    total: u64,
    /// Something that was unpacked has been replaced.
    displaced: bool,
    /// The first; whoever consumes bytes cannot be told.
    failure: Option<io::Error>,
}

impl Writer {
    pub(crate) fn create(path: &Path) -> Result<Self> {
        let file = BufWriter::new(File::create_new(path).context("create", path)?);
        let mut out = zstd::Encoder::new(file, LEVEL).context("write", path)?;
        out.write_all(MAGIC).context("write", path)?;
        let (raw, path) = (Vec::with_capacity(MAX_RAW), path.to_owned());
        Ok(Self { path, out, raw, part: None, total: 0, displaced: false, failure: None })
    }

    /// From here on bytes are the content of a file, from this offset on.
    pub(crate) fn begin(&mut self, path: &[u8], inode: u64, offset: u64) {
        self.end();
        if path.len() <= MAX_PATH {
            self.flush();
            self.part = Some(Part { path: path.to_vec(), inode, offset, length: 0 });
        }
    }

    /// From here on bytes are nobody's.
    pub(crate) fn end(&mut self) {
        if let Some(part) = self.part.take().filter(|part| part.length > 0) {
            self.put_part(&part);
        }
    }

    /// What was unpacked before may not be there any more.
    pub(crate) fn displace(&mut self) {
        self.displaced = true;
    }

    /// Bytes that have passed.
    fn take(&mut self, bytes: &[u8]) {
        self.total += bytes.len() as u64;
        match &mut self.part {
            Some(part) => part.length += bytes.len() as u64,
            None => self.put_raw(bytes),
        }
    }

    fn put_raw(&mut self, mut bytes: &[u8]) {
        while !bytes.is_empty() {
            let (now, rest) = bytes.split_at(bytes.len().min(MAX_RAW - self.raw.len()));
            self.raw.extend_from_slice(now);
            bytes = rest;
            if self.raw.len() == MAX_RAW {
                self.flush();
            }
        }
    }

    fn flush(&mut self) {
        let raw = std::mem::take(&mut self.raw);
        if !raw.is_empty() {
            self.put(&[&[RAW], &length(&raw), &raw]);
        }
        self.raw = raw;
        self.raw.clear();
    }

    fn put_part(&mut self, part: &Part) {
        let Part { path, inode, offset, length: size } = part;
        let numbers = [*inode, *offset, *size].map(u64::to_le_bytes).concat();
        self.put(&[&[PART], &length(path), path, &numbers]);
    }

    fn put(&mut self, pieces: &[&[u8]]) {
        for piece in pieces {
            if let Err(error) = self.out.write_all(piece) {
                self.failure.get_or_insert(error);
            }
        }
    }

    /// Completes the file. Gives the length of the tar, and whether [`settle`] is needed.
    pub(crate) fn finish(mut self) -> Result<(u64, bool)> {
        self.end();
        self.flush();
        let total = self.total;
        self.put(&[&[END], &total.to_le_bytes()]);
        if let Some(error) = self.failure {
            return Err(Error::io("write", &self.path, error));
        }
        let done = self.out.finish().and_then(|file| file.into_inner().map_err(Into::into));
        done.context("write", &self.path)?;
        Ok((total, self.displaced))
    }
}

/// Of what has been limited before.
fn length(bytes: &[u8]) -> [u8; 4] {
    u32::try_from(bytes.len()).unwrap_or(u32::MAX).to_le_bytes()
}

/// An input whose bytes are written down as they are consumed.
pub(crate) struct Tape<'a, R> {
    input: R,
    recipe: Option<&'a RefCell<Writer>>,
}

impl<'a, R: BufRead> Tape<'a, R> {
    pub(crate) fn new(input: R, recipe: Option<&'a RefCell<Writer>>) -> Self {
        Self { input, recipe }
    }
}

impl<R: BufRead> BufRead for Tape<'_, R> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        self.input.fill_buf()
    }

    fn consume(&mut self, n: usize) {
        if let (Some(recipe), 1..) = (self.recipe, n)
            // What is consumed was there, so this reads nothing.
            && let Ok(bytes) = self.input.fill_buf()
        {
            recipe.borrow_mut().take(&bytes[..n]);
        }
        self.input.consume(n);
    }
}

impl<R: BufRead> Read for Tape<'_, R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let available = self.fill_buf()?;
        let n = available.len().min(buffer.len());
        buffer[..n].copy_from_slice(&available[..n]);
        self.consume(n);
        Ok(n)
    }
}
