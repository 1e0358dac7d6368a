//! The way back: a recipe and a layer's folder become the tar again.

use std::fs::File;
use std::io::{self, BufReader, Read};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use rustix::fs::{Mode, OFlags, ResolveFlags};

use crate::digest::{Digest, Hasher};
use crate::error::{Context as _, Error, Result};

use super::{END, MAGIC, MAX_PATH, MAX_RAW, PART, Part, RAW};

/// One record.
pub(super) enum Record {
    Raw(Vec<u8>),
    Part(Part),
    End(u64),
}

/// The records of a recipe, in order.
pub(super) struct Records {
    path: PathBuf,
    input: zstd::Decoder<'static, BufReader<File>>,
}

impl Records {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let file = File::open(path).context("open", path)?;
        let input = zstd::Decoder::new(file).context("read", path)?;
        let mut records = Self { path: path.to_owned(), input };
        if records.bytes(MAGIC.len())? == MAGIC {
            return Ok(records);
        }
        Err(records.corrupt("it does not begin as one"))
    }

    pub(super) fn next(&mut self) -> Result<Record> {
        match self.bytes(1)?[0] {
            RAW => {
                let length = self.length(MAX_RAW)?;
                self.bytes(length).map(Record::Raw)
            }
            PART => {
                let length = self.length(MAX_PATH)?;
                let path = self.bytes(length)?;
                let (inode, offset, length) = (self.number()?, self.number()?, self.number()?);
                Ok(Record::Part(Part { path, inode, offset, length }))
            }
            END => self.number().map(Record::End),
            _ => Err(self.corrupt("it has an unknown record")),
        }
    }

    fn length(&mut self, limit: usize) -> Result<usize> {
        let mut bytes = [0; 4];
        self.fill(&mut bytes)?;
        let length = usize::try_from(u32::from_le_bytes(bytes)).unwrap_or(usize::MAX);
        if length > limit {
            return Err(self.corrupt("it has a record that is too long"));
        }
        Ok(length)
    }

    fn number(&mut self) -> Result<u64> {
        let mut bytes = [0; 8];
        self.fill(&mut bytes)?;
        Ok(u64::from_le_bytes(bytes))
    }

    fn bytes(&mut self, length: usize) -> Result<Vec<u8>> {
        let mut bytes = vec![0; length];
        self.fill(&mut bytes)?;
        Ok(bytes)
    }

    fn fill(&mut self, bytes: &mut [u8]) -> Result<()> {
        self.input.read_exact(bytes).map_err(|error| self.corrupt(error.to_string()))
    }

    pub(super) fn corrupt(&self, why: impl Into<String>) -> Error {
        Error::corrupt(format!("recipe `{}`", self.path.display()), why)
    }
}

/// A layer's folder, in which no path leads out.
pub(super) struct Folder {
    path: PathBuf,
    fd: OwnedFd,
}

impl Folder {
    pub(super) fn open(path: &Path) -> Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        let fd = rustix::fs::open(path, flags, Mode::empty()).context("open", path)?;
        Ok(Self { path: path.to_owned(), fd })
    }

    /// Opens a file. What is no regular file opens too, and has another length.
    pub(super) fn file(&self, path: &[u8]) -> Result<File> {
        let flags = OFlags::RDONLY | OFlags::NOFOLLOW | OFlags::NONBLOCK | OFlags::CLOEXEC;
        let inside = ResolveFlags::IN_ROOT | ResolveFlags::NO_MAGICLINKS | ResolveFlags::NO_XDEV;
        rustix::fs::openat2(&self.fd, path, flags, Mode::empty(), inside)
            .map(File::from)
            .map_err(|errno| Error::io("open", &self.shown(path), errno))
    }

    fn shown(&self, path: &[u8]) -> PathBuf {
        self.path.join(&*String::from_utf8_lossy(path))
    }
}

/// The tar of a layer, made again. It ends with an error when it does not have the right digest.
pub(crate) struct Replay {
    what: String,
    diff_id: Digest,
    records: Records,
    folder: Folder,
    now: Now,
    hasher: Hasher,
    total: u64,
}

enum Now {
    Raw(io::Cursor<Vec<u8>>),
    File(io::Take<File>),
    Done,
}

impl Replay {
    pub(crate) fn open(recipe: &Path, folder: &Path, diff_id: Digest) -> Result<Self> {
        Ok(Self {
            what: format!("layer {diff_id}"),
            diff_id,
            records: Records::open(recipe)?,
            folder: Folder::open(folder)?,
            now: Now::Raw(io::Cursor::default()),
            hasher: Hasher::default(),
            total: 0,
        })
    }

    fn fill(&mut self, buffer: &mut [u8]) -> Result<usize> {
        loop {
            let n = match &mut self.now {
                Now::Done => return Ok(0),
                Now::Raw(bytes) => bytes.read(buffer).unwrap_or(0),
                Now::File(file) => {
                    let left = file.limit();
                    let n = file.read(buffer).map_err(|error| Error::Io {
                        action: "read",
                        path: self.what.clone().into(),
                        source: error,
                    })?;
                    if n == 0 && left > 0 && !buffer.is_empty() {
                        return Err(Error::corrupt(
                            &self.what,
                            "a file of it is shorter than it was",
                        ));
                    }
                    n
                }
            };
            if n > 0 || buffer.is_empty() {
                self.total += n as u64;
                self.hasher.update(&buffer[..n]);
                return Ok(n);
            }
            self.advance()?;
        }
    }

    fn advance(&mut self) -> Result<()> {
        use std::io::Seek as _;
        self.now = match self.records.next()? {
            Record::Raw(bytes) => Now::Raw(io::Cursor::new(bytes)),
            Record::Part(part) => {
                let mut file = self.folder.file(&part.path)?;
                let shown = self.folder.shown(&part.path);
                file.seek(io::SeekFrom::Start(part.offset)).context("read", &shown)?;
                Now::File(file.take(part.length))
            }
            Record::End(total) => {
                if total != self.total {
                    let why = format!("it has {} bytes and not {total}", self.total);
                    return Err(Error::corrupt(&self.what, why));
                }
                let is = std::mem::take(&mut self.hasher).finish();
                if is != self.diff_id {
                    return Err(Error::corrupt(
                        &self.what,
                        format!("its content has the digest {is}"),
                    ));
                }
                Now::Done
            }
        };
        Ok(())
    }
}

impl Read for Replay {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.fill(buffer).map_err(io::Error::other)
    }
}
