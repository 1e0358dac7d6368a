//! The members of an archive as files in the store's temporary area.

use std::collections::HashMap;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write as _};
use std::path::{Path, PathBuf};

use crate::compression::LimitReached;
use crate::digest::Digest;
use crate::error::{Context as _, Error, Result};
use crate::store::{Phase, Progress};
use crate::tarball::{Kind, Reader};
use crate::unpack::Limits;

const BUFFER: usize = 256 << 10;
const REPORT_EVERY: u64 = 1 << 20;
/// Links to links: old docker-archives have one step.
const MAX_LINKS: usize = 8;
/// Member names beyond this are an attack on the memory.
const MAX_NAME: usize = 4096;

/// A spooled file.
#[derive(Debug, Clone, Copy)]
pub(super) struct Member {
    /// Its file is named by this, not by anything in the archive.
    number: u64,
    pub(super) size: u64,
    /// As it is called by its name. Whether it is so shows when it is read.
    pub(super) named: Option<Digest>,
}

enum Item {
    File(Member),
    /// To another member, its name being normal.
    Link(String),
}

/// All members, by name.
pub(super) struct Spool {
    folder: PathBuf,
    items: HashMap<String, Item>,
    document_bytes: u64,
}

impl Spool {
    /// Reads an archive to its end.
    pub(super) fn receive(
        input: impl Read,
        folder: &Path,
        limits: &Limits,
        what: &str,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<Self> {
        let counted = Counted { inner: input, read: 0, limit: limits.archive_bytes };
        let mut reader = Reader::new(BufReader::with_capacity(BUFFER, counted));
        let mut spool = Self {
            folder: folder.to_owned(),
            items: HashMap::new(),
            document_bytes: limits.document_bytes,
        };
        let mut report = Report { bytes: 0, reported: 0, progress };
        let mut number = 0;
        while let Some(entry) = reader.next().map_err(|fault| fault.about(what))? {
            number += 1;
            if number > limits.archive_members {
                let limit = limits.archive_members;
                return Err(Error::TooLarge { what: what.to_owned(), limit, unit: "members" });
            }
            if matches!(entry.kind, Kind::Folder) {
                continue;
            }
            let name = normal(&entry.path, b"")
                .ok_or_else(|| Error::corrupt(what, bad_name(&entry.path)))?;
            let item = match entry.kind {
                Kind::File if entry.sparse.is_none() => {
                    let named = digest_in(&name)?;
                    spool.write(number, &mut reader, what, &mut report)?;
                    Item::File(Member { number, size: entry.stored, named })
                }
                Kind::Symlink => {
                    let parent = name.rsplit_once('/').map_or("", |(parent, _)| parent);
                    let target = normal(&entry.link, parent.as_bytes());
                    Item::Link(target.ok_or_else(|| Error::corrupt(what, bad_name(&entry.link)))?)
                }
                Kind::HardLink => {
                    let target = normal(&entry.link, b"");
                    Item::Link(target.ok_or_else(|| Error::corrupt(what, bad_name(&entry.link)))?)
                }
                _ => {
                    let why = format!("`{name}` is neither file, link nor folder");
                    return Err(Error::corrupt(what, why));
                }
            };
            // The last of a name counts, as with tar.
            if let Some(Item::File(old)) = spool.items.insert(name, item) {
                let path = spool.path(&old);
                fs::remove_file(&path).context("remove", &path)?;
            }
        }
        reader.drain().map_err(|fault| fault.about(what))?;
        Ok(spool)
    }

    /// The file of a member.
    pub(super) fn path(&self, member: &Member) -> PathBuf {
        self.folder.join(member.number.to_string())
    }

    /// A member by name, through links.
    pub(super) fn member(&self, name: &str) -> Option<&Member> {
        let mut name = normal(name.as_bytes(), b"")?;
        for _ in 0..MAX_LINKS {
            match self.items.get(&name)? {
                Item::File(member) => return Some(member),
                Item::Link(target) => name.clone_from(target),
            }
        }
        None
    }

    /// A blob of an OCI layout.
    pub(super) fn blob(&self, digest: &Digest) -> Option<&Member> {
        self.member(&format!("blobs/sha256/{}", digest.hex()))
    }

    /// The content of a small member. None: there is no such member.
    pub(super) fn document(&self, name: &str) -> Option<Result<Vec<u8>>> {
        self.member(name).map(|member| self.read(member, name))
    }

    /// The content of a small member that has to be there.
    pub(super) fn required(&self, member: Option<&Member>, what: &str) -> Result<Vec<u8>> {
        let member = member.ok_or_else(|| Error::corrupt(what, "it is not in the archive"))?;
        self.read(member, what)
    }

    /// For an archive with neither index nor manifest.
    pub(super) fn unknown_format(&self) -> Error {
        let has = |name: &str| self.items.contains_key(name);
        let why = if has("repositories") {
            "it was saved by a Docker older than 1.10: it has no manifest.json"
        } else if self.items.keys().any(|name| matches!(name.as_str(), "etc/passwd" | "bin/sh")) {
            "it is a root file system, which can be imported but not loaded"
        } else {
            "it has neither index.json (OCI layout) nor manifest.json (docker-archive)"
        };
        Error::Unsupported { what: "the archive".to_owned(), why: why.to_owned() }
    }

    fn read(&self, member: &Member, what: &str) -> Result<Vec<u8>> {
        if member.size > self.document_bytes {
            let limit = self.document_bytes;
            return Err(Error::TooLarge { what: what.to_owned(), limit, unit: "bytes" });
        }
        let path = self.path(member);
        let bytes = fs::read(&path).context("read", &path)?;
        if let Some(named) = member.named {
            check_blob(named, Digest::of(&bytes))?;
        }
        Ok(bytes)
    }

    fn write<R: BufRead>(
        &self,
        number: u64,
        reader: &mut Reader<R>,
        what: &str,
        report: &mut Report<'_>,
    ) -> Result<()> {
        let path = self.folder.join(number.to_string());
        let mut file = File::create_new(&path).context("create", &path)?;
        loop {
            let bytes = reader.contents().map_err(|fault| fault.about(what))?;
            if bytes.is_empty() {
                return Ok(());
            }
            file.write_all(bytes).context("write", &path)?;
            let n = bytes.len();
            reader.consume(n);
            report.add(n as u64);
        }
    }
}

struct Report<'a> {
    bytes: u64,
    reported: u64,
    progress: &'a mut dyn FnMut(Progress),
}

impl Report<'_> {
    fn add(&mut self, bytes: u64) {
        self.bytes += bytes;
        if self.bytes - self.reported >= REPORT_EVERY {
            self.reported = self.bytes;
            (self.progress)(Progress { phase: Phase::Receiving, layer: None, bytes: self.bytes });
        }
    }
}

/// Limits what comes out of the outer compression.
struct Counted<R> {
    inner: R,
    read: u64,
    limit: u64,
}

impl<R: Read> Read for Counted<R> {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let n = self.inner.read(buffer)?;
        self.read += n as u64;
        if self.read > self.limit {
            return Err(std::io::Error::other(LimitReached(self.limit)));
        }
        Ok(n)
    }
}

/// A blob carries its digest in its name.
fn digest_in(name: &str) -> Result<Option<Digest>> {
    let hex = name.strip_prefix("blobs/sha256/");
    let digest = hex.map(|hex| {
        Digest::from_hex(hex)
            .map_err(|error| Error::corrupt(format!("blob sha256:{hex}"), error.to_string()))
    });
    digest.transpose()
}

/// The content of a blob has the digest that its name says.
pub(crate) fn check_blob(named: Digest, computed: Digest) -> Result<()> {
    if named == computed {
        return Ok(());
    }
    let why = format!("its content has the digest {computed}");
    Err(Error::corrupt(format!("blob {named}"), why))
}

/// A name without `.`, `..` and needless slashes, relative to `base`. None: it leads out, or is no
/// text.
fn normal(path: &[u8], base: &[u8]) -> Option<String> {
    if path.len() > MAX_NAME {
        return None;
    }
    let path = std::str::from_utf8(path).ok()?;
    let base = std::str::from_utf8(base).ok()?;
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in base.split('/').filter(|_| !absolute).chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            part => parts.push(part),
        }
    }
    (!parts.is_empty()).then(|| parts.join("/"))
}

fn bad_name(path: &[u8]) -> String {
    format!("it has a member or link named `{}`", path.escape_ascii())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn member_names_are_normal_and_stay_inside() {
        assert_eq!(normal(b"./a//b/", b"").as_deref(), Some("a/b"));
        assert_eq!(normal(b"/a", b"x").as_deref(), Some("a"));
        assert_eq!(normal(b"../b/layer.tar", b"a").as_deref(), Some("b/layer.tar"));
        for bad in [&b"../a"[..], b"a/../..", b"", b"/", b"\xff"] {
            assert_eq!(normal(bad, b""), None, "{}", bad.escape_ascii());
        }
        assert_eq!(normal(b"../../a", b"x"), None);
    }
}
