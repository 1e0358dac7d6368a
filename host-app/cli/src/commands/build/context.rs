//! The context of a build: what the agent may ask for, and how it is answered.
//!
//! Only what was listed is sent, and only what is asked for is listed. A link is told of and never
//! followed.

use std::collections::HashMap;
use std::io::{IsTerminal as _, Read as _, Write};
use std::path::{Path, PathBuf};
use std::time::UNIX_EPOCH;

use linkspan_proto::v1::{
    BuildContext, ContextEntry, ContextEntryKind, ContextFolder, build_context,
};

use crate::error::Error;

/// A Dockerfile is read into memory.
const LONGEST: u64 = 64 << 20;

/// The context and the Dockerfile.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) dockerfile: String,
    pub(crate) name: String,
    pub(crate) ignore: String,
    pub(crate) ignore_name: String,
    pub(crate) files: Files,
}

/// Where the files are.
#[derive(Debug)]
pub(crate) enum Files {
    /// There are none.
    None,
    /// A folder here.
    Folder(LocalFolder),
    /// A tar: what was read of standard input already, and the rest of it.
    Tar(Vec<u8>),
    /// A tar or a Dockerfile at this URL.
    Url(String),
}

/// A folder whose files are told of.
#[derive(Debug)]
pub(crate) struct LocalFolder {
    root: PathBuf,
    /// What was told of: nothing else is read.
    told: HashMap<String, ContextEntryKind>,
}

fn cannot_read(path: &Path, error: &std::io::Error) -> Error {
    Error::invalid(format!("cannot read `{}`: {error}", path.display()))
}

fn read_text(path: &Path) -> Result<String, Error> {
    std::fs::read_to_string(path).map_err(|error| cannot_read(path, &error))
}

fn from_stdin(what: &str) -> Result<(), Error> {
    if std::io::stdin().is_terminal() {
        return Err(Error::invalid(format!(
            "{what} is wanted from standard input, which is a terminal"
        )));
    }
    Ok(())
}

fn read_stdin() -> Result<String, Error> {
    from_stdin("a Dockerfile")?;
    let mut text = String::new();
    let read = std::io::stdin().take(LONGEST).read_to_string(&mut text);
    read.map_err(|error| cannot_read(Path::new("-"), &error))?;
    Ok(text)
}

/// What stands at the beginning of a tar, plain or compressed. Of bzip2 three letters would be a text as well:
/// the first block follows.
fn is_archive(head: &[u8]) -> bool {
    head.starts_with(&[0x1f, 0x8b])
        || head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
        || head.starts_with(b"\xfd7zXZ\0")
        || (head.starts_with(b"BZh") && head.get(4..10) == Some(b"1AY&SY"))
        || head.get(257..262) == Some(b"ustar")
}

impl Source {
    /// Finds the context and reads the Dockerfile.
    ///
    /// # Errors
    /// What is not there, or cannot be read.
    pub(crate) fn open(context: &str, file: Option<&Path>) -> Result<Self, Error> {
        let stdin_file = file == Some(Path::new("-"));
        if context == "-" {
            if stdin_file {
                return Err(Error::invalid(
                    "the context and the Dockerfile cannot both come from standard input",
                ));
            }
            return Self::from_stdin(file);
        }
        if context.starts_with("http://") || context.starts_with("https://") {
            if context.ends_with(".git") || context.contains(".git#") {
                return Err(no_git(context));
            }
            return Ok(Self::remote(Files::Url(context.to_owned()), file));
        }
        if context.starts_with("git@") || context.contains("://") {
            return Err(no_git(context));
        }
        let folder = LocalFolder::open(Path::new(context))?;
        let root = folder.root.clone();
        let (dockerfile, name, beside) = if stdin_file {
            (read_stdin()?, "Dockerfile".to_owned(), None)
        } else {
            let path = file.map_or_else(|| root.join("Dockerfile"), Path::to_owned);
            let name = path.strip_prefix(&root).unwrap_or(&path).display().to_string();
            let mut beside = path.as_os_str().to_owned();
            beside.push(".dockerignore");
            (read_text(&path)?, name, Some(PathBuf::from(beside)))
        };
        let places = beside.into_iter().chain([root.join(".dockerignore")]);
        let found = places.into_iter().find(|path| path.is_file());
        let ignore = found.as_deref().map(read_text).transpose()?.unwrap_or_default();
        let ignore_name = found.map_or_else(String::new, |path| {
            path.file_name().unwrap_or_default().to_string_lossy().into_owned()
        });
        Ok(Self { dockerfile, name, ignore, ignore_name, files: Files::Folder(folder) })
    }

    fn from_stdin(file: Option<&Path>) -> Result<Self, Error> {
        from_stdin("a Dockerfile or a tar archive")?;
        let mut head = Vec::new();
        let read = std::io::stdin().take(512).read_to_end(&mut head);
        read.map_err(|error| cannot_read(Path::new("-"), &error))?;
        if is_archive(&head) {
            return Ok(Self::remote(Files::Tar(head), file));
        }
        if let Some(file) = file {
            return Err(Error::invalid(format!(
                "cannot use -f `{}`: standard input is no tar archive that could have it",
                file.display()
            )));
        }
        let read = std::io::stdin().take(LONGEST).read_to_end(&mut head);
        read.map_err(|error| cannot_read(Path::new("-"), &error))?;
        let text = String::from_utf8(head)
            .map_err(|_| Error::invalid("standard input is neither a tar nor a Dockerfile"))?;
        Ok(Self { dockerfile: text, ..Self::remote(Files::None, None) })
    }

    /// The Dockerfile is among the files.
    fn remote(files: Files, file: Option<&Path>) -> Self {
        let name = file.unwrap_or(Path::new("Dockerfile"));
        Self {
            dockerfile: String::new(),
            name: name.to_string_lossy().replace('\\', "/"),
            ignore: String::new(),
            ignore_name: ".dockerignore".to_owned(),
            files,
        }
    }
}

fn no_git(context: &str) -> Error {
    Error::Failure(
        linkspan_proto::error::Failure::new(
            linkspan_proto::error::ErrorCode::Unsupported,
            format!("cannot use `{context}` as a context: there is no git in the machine"),
        )
        .hint("clone the repository and build its folder"),
    )
}

impl Files {
    /// What the agent is told of it.
    pub(crate) fn kind(&self, stream_id: &str) -> Option<BuildContext> {
        let kind = match self {
            Self::None => return None,
            Self::Folder(folder) => {
                build_context::Kind::Folder(folder.root.to_string_lossy().into_owned())
            }
            Self::Tar(_) => build_context::Kind::TarStreamId(stream_id.to_owned()),
            Self::Url(url) => build_context::Kind::Url(url.clone()),
        };
        Some(BuildContext { kind: Some(kind) })
    }
}

/// `--build-context`, by name.
///
/// # Errors
/// What cannot be one.
pub(crate) fn named(flags: &[String]) -> Result<HashMap<String, BuildContext>, Error> {
    let mut contexts = HashMap::new();
    for flag in flags {
        let bad = |why: &str| Error::invalid(format!("cannot use --build-context `{flag}`: {why}"));
        let (name, source) = flag.split_once('=').ok_or_else(|| bad("it is NAME=SOURCE"))?;
        let Some(image) = source.strip_prefix("docker-image://") else {
            return Err(bad("only docker-image://IMAGE is supported"));
        };
        let kind = build_context::Kind::Image(image.to_owned());
        contexts.insert(name.to_lowercase(), BuildContext { kind: Some(kind) });
    }
    Ok(contexts)
}

impl LocalFolder {
    fn open(path: &Path) -> Result<Self, Error> {
        let root = path.canonicalize().map_err(|error| cannot_read(path, &error))?;
        if !root.is_dir() {
            return Err(Error::invalid(format!(
                "cannot use `{}` as a context: it is not a folder",
                path.display()
            )));
        }
        let told = HashMap::from([(String::new(), ContextEntryKind::Folder)]);
        Ok(Self { root, told })
    }

    /// What is in a folder that was told of.
    ///
    /// # Errors
    /// It cannot be read, or was not told of.
    pub(crate) fn list(&mut self, folder: &str) -> Result<ContextFolder, Error> {
        self.must_be(folder, ContextEntryKind::Folder)?;
        let path = self.root.join(folder);
        let mut entries = Vec::new();
        for entry in std::fs::read_dir(&path).map_err(|error| cannot_read(&path, &error))? {
            let entry = entry.map_err(|error| cannot_read(&path, &error))?;
            // It has gone since its name was read, or no Dockerfile could name it.
            let (Ok(metadata), Ok(name)) = (entry.metadata(), entry.file_name().into_string())
            else {
                continue;
            };
            let Some(told) = tell(&entry.path(), &metadata, name) else { continue };
            let place = if folder.is_empty() {
                told.name.clone()
            } else {
                format!("{folder}/{}", told.name)
            };
            self.told.insert(place, told.kind());
            entries.push(told);
        }
        Ok(ContextFolder { path: folder.to_owned(), entries })
    }

    fn must_be(&self, path: &str, kind: ContextEntryKind) -> Result<(), Error> {
        if self.told.get(path) == Some(&kind) {
            return Ok(());
        }
        Err(Error::invalid(format!("the machine asked for `{path}`, which it was not told of")))
    }

    /// Writes the contents of files that were told of: the length of each in 8 bytes, the lowest
    /// first, and its bytes.
    ///
    /// # Errors
    /// One cannot be read, or nobody takes them any more.
    pub(crate) fn send(&self, paths: &[String], mut to: impl Write) -> Result<(), Error> {
        for name in paths {
            self.must_be(name, ContextEntryKind::File)?;
            let path = self.root.join(name);
            let unreadable = |error: std::io::Error| cannot_read(&path, &error);
            let file = std::fs::File::open(&path).map_err(unreadable)?;
            let size = file.metadata().map_err(unreadable)?.len();
            let mut content = file.take(size);
            to.write_all(&size.to_le_bytes()).map_err(|error| Error::output(&error))?;
            std::io::copy(&mut content, &mut to).map_err(|error| Error::output(&error))?;
            if content.limit() > 0 {
                return Err(Error::invalid(format!("`{name}` became shorter while it was read")));
            }
        }
        to.flush().map_err(|error| Error::output(&error))
    }
}

/// None for what is neither file nor folder nor link.
fn tell(path: &Path, metadata: &std::fs::Metadata, name: String) -> Option<ContextEntry> {
    let mut entry = ContextEntry { name, ..ContextEntry::default() };
    if metadata.is_symlink() {
        entry.set_kind(ContextEntryKind::Link);
        entry.link_target = std::fs::read_link(path).ok()?.to_string_lossy().replace('\\', "/");
    } else if metadata.is_dir() {
        entry.set_kind(ContextEntryKind::Folder);
    } else if metadata.is_file() {
        entry.set_kind(ContextEntryKind::File);
        entry.size = metadata.len();
    } else {
        return None;
    }
    entry.mode = mode(metadata);
    entry.modified_unix_nanos =
        metadata.modified().map_or(0, |time| match time.duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_nanos()).unwrap_or(i64::MAX),
            Err(before) => -i64::try_from(before.duration().as_nanos()).unwrap_or(i64::MAX),
        });
    Some(entry)
}

#[cfg(unix)]
fn mode(metadata: &std::fs::Metadata) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o7777
}

/// As Docker has it for a host without permission bits.
#[cfg(not(unix))]
fn mode(_: &std::fs::Metadata) -> u32 {
    0o755
}
