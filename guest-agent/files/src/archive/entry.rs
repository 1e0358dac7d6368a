//! Entries whose attributes the caller decides.

use std::ffi::OsStr;
use std::io::{self, Read, Write};
use std::os::unix::ffi::OsStrExt as _;
use std::path::Path;

use tar::{EntryType, Header};

use super::{Archive, set_link, set_name, xattrs};
use crate::error::{Error, Result};
use crate::merged::{Folder, Leaf};

/// Mode, owner and time of an entry.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Attributes {
    /// Permission bits.
    pub mode: u32,
    /// User.
    pub uid: u32,
    /// Group.
    pub gid: u32,
    /// Seconds since 1970.
    pub modified: i64,
}

/// What an entry is.
pub enum Entry<'a> {
    /// A folder; of one that is copied, its extended attributes too.
    Folder(Option<&'a Folder>),
    /// A file of so many bytes.
    File(u64, &'a mut dyn Read),
    /// A symbolic link.
    Link(&'a OsStr),
    /// A file, device or other of a tree, with its extended attributes.
    Leaf(&'a Leaf),
}

impl<W: Write> Archive<W> {
    /// Adds an entry, without what would be in it.
    ///
    /// # Errors
    /// When its content cannot be read, or nobody takes the archive any more.
    pub fn entry(&mut self, name: &Path, how: &Attributes, what: Entry<'_>) -> Result<()> {
        let text = name.as_os_str().as_bytes();
        let mut records = Vec::new();
        match what {
            Entry::Folder(folder) => {
                let mut header = self.header_of(how, EntryType::Directory);
                if let Some(folder) = folder {
                    records = xattrs(folder.top()?, folder.path())?;
                }
                let mut text = text.to_vec();
                text.push(b'/');
                set_name(&mut header, &text, &mut records);
                self.write(header, &records, io::empty())
            }
            Entry::File(size, content) => {
                let mut header = self.header_of(how, EntryType::Regular);
                header.set_size(size);
                set_name(&mut header, text, &mut records);
                self.exactly(header, &records, size, content, name)
            }
            Entry::Link(target) => {
                let mut header = self.header_of(how, EntryType::Symlink);
                set_link(&mut header, target, &mut records);
                set_name(&mut header, text, &mut records);
                self.write(header, &records, io::empty())
            }
            Entry::Leaf(leaf) => self.leaf_as(text, how, leaf),
        }
    }

    fn leaf_as(&mut self, name: &[u8], how: &Attributes, leaf: &Leaf) -> Result<()> {
        use rustix::fs::FileType;
        let mut records = Vec::new();
        let kind = match leaf.kind() {
            FileType::RegularFile => {
                let mut file = std::fs::File::from(leaf.open()?);
                let stat = rustix::fs::fstat(&file).map_err(Error::io("look at", leaf.path()))?;
                let size = u64::try_from(stat.st_size).unwrap_or(0);
                let mut header = self.header_of(how, EntryType::Regular);
                header.set_size(size);
                records = xattrs(&file, leaf.path())?;
                set_name(&mut header, name, &mut records);
                return self.exactly(header, &records, size, &mut file, leaf.path());
            }
            FileType::Symlink => EntryType::Symlink,
            FileType::Fifo => EntryType::Fifo,
            FileType::CharacterDevice => EntryType::Char,
            FileType::BlockDevice => EntryType::Block,
            // A socket is its listener's.
            _ => return Ok(()),
        };
        let mut header = self.header_of(how, kind);
        if kind == EntryType::Symlink {
            set_link(&mut header, &leaf.target()?, &mut records);
        } else {
            let device = leaf.stat().st_rdev;
            header
                .set_device_major(rustix::fs::major(device))
                .and(header.set_device_minor(rustix::fs::minor(device)))
                .map_err(Error::Write)?;
        }
        set_name(&mut header, name, &mut records);
        self.write(header, &records, io::empty())
    }

    /// An entry has the length that its header says, or there is no archive.
    fn exactly(
        &mut self,
        header: Header,
        records: &[(String, Vec<u8>)],
        size: u64,
        content: &mut dyn Read,
        path: &Path,
    ) -> Result<()> {
        let mut content = content.take(size);
        self.write(header, records, &mut content)?;
        if content.limit() == 0 {
            return Ok(());
        }
        let source = io::ErrorKind::UnexpectedEof.into();
        Err(Error::Io { action: "read", path: path.to_owned(), source })
    }

    fn header_of(&self, how: &Attributes, kind: EntryType) -> Header {
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(how.mode & 0o7777);
        header.set_uid(how.uid.into());
        header.set_gid(how.gid.into());
        header.set_size(0);
        let time = self.latest.map_or(how.modified, |latest| how.modified.min(latest));
        // The format has no time before 1970.
        header.set_mtime(u64::try_from(time).unwrap_or(0));
        header
    }
}
