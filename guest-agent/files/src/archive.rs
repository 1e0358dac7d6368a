//! Trees as tar archives (POSIX.1-2008 `pax`, "ustar Interchange Format" with extended headers).
//!
//! Times are whole seconds, as Docker writes them. Extended attributes are written as
//! `SCHILY.xattr.*`, which GNU tar, Go and our own reader know. Sockets are left out.

mod entry;

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs::File;
use std::io::{self, Read as _, Write};
use std::os::fd::AsFd;
use std::os::unix::ffi::OsStrExt as _;
use std::path::{Path, PathBuf};

use rustix::fs::{FileType, Stat};
use tar::{Builder, EntryType, Header};

use crate::changes::raw_names;
use crate::copy::attributes;
use crate::error::{Error, Result};
use crate::merged::{Folder, Leaf, Node, is_opaque, is_whiteout};

pub use entry::{Attributes, Entry};

/// The longest name in a header; longer ones go into an extended header.
const NAME: usize = 100;
/// AUFS' signs, which OCI layers use (image-spec, layer.md, "Whiteouts").
const WHITEOUT: &str = ".wh.";
const OPAQUE: &str = ".wh..wh..opq";

/// An archive being written.
pub struct Archive<W: Write> {
    builder: Builder<W>,
    /// Files with several names: the first of them.
    links: HashMap<(u64, u64), PathBuf>,
    /// Whose a file is in the archive; None: as it is on the disk.
    owners: Option<Owners>,
    /// No time is later, in seconds since 1970.
    latest: Option<i64>,
}

/// From the owner and group of a file to those in the archive.
pub type Owners = Box<dyn Fn(u32, u32) -> (u32, u32)>;

impl<W: Write> Archive<W> {
    /// Writes to `out`.
    pub fn new(out: W) -> Self {
        Self { builder: Builder::new(out), links: HashMap::new(), owners: None, latest: None }
    }

    /// Writes other owners than the files have.
    #[must_use]
    pub fn with_owners(mut self, owners: Option<Owners>) -> Self {
        self.owners = owners;
        self
    }

    /// Writes no time that is later than this one, in seconds since 1970.
    #[must_use]
    pub fn with_latest(mut self, latest: Option<i64>) -> Self {
        self.latest = latest;
        self
    }

    /// Adds something under a name, a folder with all that is in it. An empty name: what is in
    /// the folder, without the folder.
    ///
    /// # Errors
    /// When it cannot be read, or nobody takes the archive any more.
    pub fn add(&mut self, name: &Path, node: &Node) -> Result<()> {
        match node {
            Node::Leaf(leaf) => self.leaf(name, leaf),
            Node::Folder(folder) => {
                self.folder_entry(name, folder)?;
                for child in folder.names()? {
                    // None: it has gone since the names were read.
                    if let Some(node) = folder.child(&child)? {
                        self.add(&name.join(&child), &node)?;
                    }
                }
                Ok(())
            }
        }
    }

    /// Adds a layer of an overlay as the layer of an image. `skip` names what is left out.
    ///
    /// # Errors
    /// As [`Archive::add`].
    pub fn add_layer(&mut self, layer: &Path, skip: &dyn Fn(&Path) -> bool) -> Result<()> {
        self.layer_folder(Path::new(""), &Folder::of_layers(&[layer])?, skip)
    }

    fn layer_folder(
        &mut self,
        name: &Path,
        folder: &Folder,
        skip: &dyn Fn(&Path) -> bool,
    ) -> Result<()> {
        self.folder_entry(name, folder)?;
        if !name.as_os_str().is_empty() && is_opaque(folder.top()?) {
            self.empty_file(&name.join(OPAQUE))?;
        }
        for child in raw_names(folder)? {
            let path = folder.path().join(&child);
            if skip(&path) {
                continue;
            }
            let flags = rustix::fs::AtFlags::SYMLINK_NOFOLLOW;
            let stat = rustix::fs::statat(folder.top()?, &*child, flags)
                .map_err(Error::io("look at", &path))?;
            if is_whiteout(&stat) {
                let mut hidden = std::ffi::OsString::from(WHITEOUT);
                hidden.push(&child);
                self.empty_file(&name.join(hidden))?;
                continue;
            }
            match folder.child(&child)? {
                Some(Node::Folder(below)) => self.layer_folder(&name.join(&child), &below, skip)?,
                Some(Node::Leaf(leaf)) => self.leaf(&name.join(&child), &leaf)?,
                None => {}
            }
        }
        Ok(())
    }

    /// Writes the end mark and answers what was written to.
    ///
    /// # Errors
    /// When nobody takes the archive any more.
    pub fn finish(self) -> Result<W> {
        self.builder.into_inner().map_err(Error::Write)
    }

    fn folder_entry(&mut self, name: &Path, folder: &Folder) -> Result<()> {
        if name.as_os_str().is_empty() {
            return Ok(());
        }
        let mut header = self.header(&folder.stat()?, EntryType::Directory);
        let mut records = xattrs(folder.top()?, folder.path())?;
        let mut text = name.as_os_str().as_bytes().to_vec();
        text.push(b'/');
        set_name(&mut header, &text, &mut records);
        self.write(header, &records, io::empty())
    }

    fn leaf(&mut self, name: &Path, leaf: &Leaf) -> Result<()> {
        let stat = leaf.stat();
        let mut records = Vec::new();
        let text = name.as_os_str().as_bytes();
        if stat.st_nlink > 1 && leaf.kind() != FileType::Symlink {
            let key = (stat.st_dev, stat.st_ino);
            if let Some(first) = self.links.get(&key) {
                let mut header = self.header(stat, EntryType::Link);
                set_link(&mut header, first.as_os_str(), &mut records);
                set_name(&mut header, text, &mut records);
                return self.write(header, &records, io::empty());
            }
            self.links.insert(key, name.to_owned());
        }
        let kind = match leaf.kind() {
            FileType::RegularFile => return self.file(text, leaf),
            FileType::Symlink => EntryType::Symlink,
            FileType::Fifo => EntryType::Fifo,
            FileType::CharacterDevice => EntryType::Char,
            FileType::BlockDevice => EntryType::Block,
            // A socket is its listener's.
            _ => return Ok(()),
        };
        let mut header = self.header(stat, kind);
        if kind == EntryType::Symlink {
            set_link(&mut header, &leaf.target()?, &mut records);
        } else {
            let (major, minor) = (rustix::fs::major(stat.st_rdev), rustix::fs::minor(stat.st_rdev));
            header
                .set_device_major(major)
                .and(header.set_device_minor(minor))
                .map_err(Error::Write)?;
        }
        set_name(&mut header, text, &mut records);
        self.write(header, &records, io::empty())
    }

    fn file(&mut self, name: &[u8], leaf: &Leaf) -> Result<()> {
        let file = File::from(leaf.open()?);
        // Of what was opened: the name may stand for another file by now.
        let stat = rustix::fs::fstat(&file).map_err(Error::io("look at", leaf.path()))?;
        let size = u64::try_from(stat.st_size).unwrap_or(0);
        let mut header = self.header(&stat, EntryType::Regular);
        header.set_size(size);
        let mut records = xattrs(&file, leaf.path())?;
        set_name(&mut header, name, &mut records);
        // A file that shrinks meanwhile is filled up with zeros, as GNU tar does it.
        self.write(header, &records, file.chain(io::repeat(0)).take(size))
    }

    fn header(&self, stat: &Stat, kind: EntryType) -> Header {
        let own = (stat.st_uid, stat.st_gid);
        let (uid, gid) = self.owners.as_ref().map_or(own, |owners| owners(own.0, own.1));
        let mut header = Header::new_ustar();
        header.set_entry_type(kind);
        header.set_mode(stat.st_mode & 0o7777);
        header.set_uid(uid.into());
        header.set_gid(gid.into());
        header.set_size(0);
        // The format has no time before 1970.
        let time = self.latest.map_or(stat.st_mtime, |latest| stat.st_mtime.min(latest));
        header.set_mtime(u64::try_from(time).unwrap_or(0));
        header
    }

    fn empty_file(&mut self, name: &Path) -> Result<()> {
        let (mut header, mut records) = (Header::new_ustar(), Vec::new());
        header.set_size(0);
        header.set_mode(0o600);
        set_name(&mut header, name.as_os_str().as_bytes(), &mut records);
        self.write(header, &records, io::empty())
    }

    fn write(
        &mut self,
        mut header: Header,
        records: &[(String, Vec<u8>)],
        content: impl io::Read,
    ) -> Result<()> {
        let extended = records.iter().map(|(key, value)| (key.as_str(), value.as_slice()));
        self.builder.append_pax_extensions(extended).map_err(Error::Write)?;
        header.set_cksum();
        self.builder.append(&header, content).map_err(Error::Write)
    }
}

fn set_name(header: &mut Header, name: &[u8], records: &mut Vec<(String, Vec<u8>)>) {
    let field = &mut header.as_old_mut().name;
    put(field, name, "path", records);
}

fn set_link(header: &mut Header, target: &OsStr, records: &mut Vec<(String, Vec<u8>)>) {
    let field = &mut header.as_old_mut().linkname;
    put(field, target.as_bytes(), "linkpath", records);
}

fn put(field: &mut [u8; NAME], value: &[u8], key: &str, records: &mut Vec<(String, Vec<u8>)>) {
    let length = value.len().min(NAME);
    field[..length].copy_from_slice(&value[..length]);
    if value.len() > NAME {
        records.push((key.to_owned(), value.to_vec()));
    }
}

fn xattrs(of: impl AsFd, path: &Path) -> Result<Vec<(String, Vec<u8>)>> {
    let found = attributes(of).map_err(Error::io("read an attribute of", path))?;
    let record = |(name, value): (Vec<u8>, Vec<u8>)| {
        // A name that is no text cannot be a record's key.
        Some((format!("SCHILY.xattr.{}", String::from_utf8(name).ok()?), value))
    };
    Ok(found.into_iter().filter_map(record).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs;
    use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _, symlink};

    fn names(bytes: &[u8]) -> Vec<String> {
        let mut archive = tar::Archive::new(bytes);
        let entries = archive.entries().unwrap();
        entries.map(|e| e.unwrap().path().unwrap().display().to_string()).collect()
    }

    #[test]
    fn an_archive_gives_back_what_it_was_made_of() {
        let work = tempfile::tempdir().unwrap();
        let (from, to) = (work.path().join("from"), work.path().join("to"));
        let long = "x".repeat(150);
        fs::create_dir_all(from.join(&long)).unwrap();
        fs::write(from.join(&long).join("file"), "content").unwrap();
        fs::hard_link(from.join(&long).join("file"), from.join("again")).unwrap();
        symlink(format!("/far/{long}"), from.join("link")).unwrap();
        let mode = fs::Permissions::from_mode(0o750);
        fs::set_permissions(from.join(&long).join("file"), mode).unwrap();
        let tree = Node::Folder(Folder::of_layers(&[&from]).unwrap());
        let mut archive = Archive::new(Vec::new());
        archive.add(Path::new("top"), &tree).unwrap();
        let bytes = archive.finish().unwrap();
        assert_eq!(names(&bytes)[0], "top/");
        tar::Archive::new(&bytes[..]).unpack(&to).unwrap();
        let file = to.join("top").join(&long).join("file");
        assert_eq!(fs::read_to_string(&file).unwrap(), "content");
        assert_eq!(fs::metadata(&file).unwrap().permissions().mode() & 0o7777, 0o750);
        assert_eq!(fs::read_to_string(to.join("top/again")).unwrap(), "content");
        let target = fs::read_link(to.join("top/link")).unwrap();
        assert_eq!(target.as_os_str().len(), 155);
        let mut archive = Archive::new(Vec::new());
        archive.add(Path::new(""), &tree).unwrap();
        let listed = names(&archive.finish().unwrap());
        assert_eq!(listed.iter().filter(|name| !name.starts_with('x')).count(), 2, "{listed:?}");
    }

    #[test]
    fn owners_are_written_as_they_are_mapped() {
        let work = tempfile::tempdir().unwrap();
        fs::write(work.path().join("file"), "x").unwrap();
        let own = fs::metadata(work.path()).unwrap();
        let tree = Node::Folder(Folder::of_layers(&[work.path()]).unwrap());
        let owners: Owners = Box::new(|uid, gid| (uid + 7, gid + 8));
        let mut archive = Archive::new(Vec::new()).with_owners(Some(owners));
        archive.add(Path::new("top"), &tree).unwrap();
        let bytes = archive.finish().unwrap();
        for entry in tar::Archive::new(&bytes[..]).entries().unwrap() {
            let header = entry.unwrap().header().clone();
            let expected = (u64::from(own.uid()) + 7, u64::from(own.gid()) + 8);
            assert_eq!((header.uid().unwrap(), header.gid().unwrap()), expected);
        }
    }

    #[test]
    fn a_layer_keeps_its_whiteouts() {
        let work = tempfile::tempdir().unwrap();
        let layer = work.path().join("layer");
        fs::create_dir_all(layer.join("cleared")).unwrap();
        fs::create_dir_all(layer.join("proc")).unwrap();
        fs::write(layer.join("file"), "x").unwrap();
        let flags = rustix::fs::XattrFlags::empty();
        let opaque =
            rustix::fs::setxattr(layer.join("cleared"), "trusted.overlay.opaque", b"y", flags);
        let hidden = rustix::fs::mknodat(
            rustix::fs::CWD,
            layer.join("gone"),
            FileType::CharacterDevice,
            rustix::fs::Mode::empty(),
            0,
        );
        if opaque.is_err() || hidden.is_err() {
            println!("skipped: whiteouts need root");
            return;
        }
        let mut archive = Archive::new(Vec::new());
        archive.add_layer(&layer, &|path| path == Path::new("/proc")).unwrap();
        let listed = names(&archive.finish().unwrap());
        assert_eq!(listed, ["cleared/", "cleared/.wh..wh..opq", "file", ".wh.gone"]);
    }
}
