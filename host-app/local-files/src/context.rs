//! The context of a build: what the agent may ask for, and how it is answered.
//!
//! Only what was listed is sent, and only what is asked for is listed. A link is told of and never
//! followed.

use std::{
    collections::HashMap,
    fs::{self, File, Metadata},
    io::{self, Read as _, Write},
    path::{Path, PathBuf},
    time::UNIX_EPOCH,
};

use linkspan_proto::v1::{ContextEntry, ContextEntryKind, ContextFolder};

use crate::FilesError;

/// A folder whose files are told of.
#[derive(Debug)]
pub struct Context {
    root: PathBuf,
    /// What was told of: nothing else is read.
    told: HashMap<String, ContextEntryKind>,
}

/// What a build is told of besides the files of its context.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Recipe {
    /// The Dockerfile's text.
    pub dockerfile: String,
    /// Its name, for messages.
    pub name: String,
    /// The ignore file's text; empty: there is none.
    pub ignore: String,
    /// Its name, for messages.
    pub ignore_name: String,
}

impl Context {
    /// # Errors
    /// It is not there, or not a folder.
    pub fn open(path: &Path) -> Result<Self, FilesError> {
        let root = path.canonicalize().map_err(FilesError::read(path))?;
        if !root.is_dir() {
            return Err(FilesError::NotAFolder(path.to_owned()));
        }
        let told = HashMap::from([(String::new(), ContextEntryKind::Folder)]);
        Ok(Self { root, told })
    }

    /// The folder, links resolved.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// The Dockerfile (`None`: the one in the folder) with what is to be ignored.
    ///
    /// # Errors
    /// The Dockerfile is not there or is no text.
    pub fn recipe(&self, file: Option<&Path>) -> Result<Recipe, FilesError> {
        let path = file.map_or_else(|| self.root.join("Dockerfile"), Path::to_owned);
        let mut beside = path.as_os_str().to_owned();
        beside.push(".dockerignore");
        Ok(Recipe {
            dockerfile: read_text(&path)?,
            name: path.strip_prefix(&self.root).unwrap_or(&path).display().to_string(),
            ..self.ignored(Some(Path::new(&beside)))?
        })
    }

    /// What is to be ignored, for a Dockerfile that comes from elsewhere: the ignore file of the
    /// folder, unless there is one of the Dockerfile's own.
    ///
    /// # Errors
    /// The ignore file cannot be read.
    pub fn ignored(&self, own: Option<&Path>) -> Result<Recipe, FilesError> {
        let places = own.map(Path::to_owned).into_iter().chain([self.root.join(".dockerignore")]);
        let Some(found) = places.into_iter().find(|path| path.is_file()) else {
            return Ok(Recipe::default());
        };
        let name = found.file_name().unwrap_or_default().to_string_lossy().into_owned();
        Ok(Recipe { ignore: read_text(&found)?, ignore_name: name, ..Recipe::default() })
    }

    /// What is in a folder that was told of.
    ///
    /// # Errors
    /// It cannot be read, or was not told of.
    pub fn list(&mut self, folder: &str) -> Result<ContextFolder, FilesError> {
        self.must_be(folder, ContextEntryKind::Folder)?;
        let path = self.root.join(folder);
        let mut entries = Vec::new();
        for entry in fs::read_dir(&path).map_err(FilesError::read(&path))? {
            let entry = entry.map_err(FilesError::read(&path))?;
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

    /// Writes the contents of files that were told of: the length of each in 8 bytes, the lowest
    /// first, and its bytes.
    ///
    /// # Errors
    /// One cannot be read, or nobody takes them any more.
    pub fn send(&self, paths: &[String], mut to: impl Write) -> Result<(), FilesError> {
        for name in paths {
            self.must_be(name, ContextEntryKind::File)?;
            let path = self.root.join(name);
            let file = File::open(&path).map_err(FilesError::read(&path))?;
            let size = file.metadata().map_err(FilesError::read(&path))?.len();
            let mut content = file.take(size);
            to.write_all(&size.to_le_bytes()).map_err(FilesError::Output)?;
            io::copy(&mut content, &mut to).map_err(FilesError::Output)?;
            if content.limit() > 0 {
                return Err(FilesError::Shorter(name.clone()));
            }
        }
        to.flush().map_err(FilesError::Output)
    }

    fn must_be(&self, path: &str, kind: ContextEntryKind) -> Result<(), FilesError> {
        if self.told.get(path) == Some(&kind) {
            return Ok(());
        }
        Err(FilesError::NotTold(path.to_owned()))
    }
}

fn read_text(path: &Path) -> Result<String, FilesError> {
    fs::read_to_string(path).map_err(FilesError::read(path))
}

/// None for what is neither file nor folder nor link.
fn tell(path: &Path, metadata: &Metadata, name: String) -> Option<ContextEntry> {
    let mut entry = ContextEntry { name, ..ContextEntry::default() };
    if metadata.is_symlink() {
        entry.set_kind(ContextEntryKind::Link);
        entry.link_target = fs::read_link(path).ok()?.to_string_lossy().replace('\\', "/");
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
fn mode(metadata: &Metadata) -> u32 {
    use std::os::unix::fs::PermissionsExt as _;
    metadata.permissions().mode() & 0o7777
}

/// As Docker has it for a host without permission bits.
#[cfg(not(unix))]
fn mode(_: &Metadata) -> u32 {
    0o755
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_was_told_of_is_sent() {
        let folder = tempfile::tempdir().unwrap();
        fs::create_dir(folder.path().join("src")).unwrap();
        fs::write(folder.path().join("src/main.c"), "int main;").unwrap();
        let mut context = Context::open(folder.path()).unwrap();
        let wanted = ["src/main.c".to_owned()];
        let refused = context.send(&wanted, Vec::new()).unwrap_err();
        assert!(refused.to_string().contains("was not told of"), "{refused}");
        assert!(context.list("src").is_err(), "the folder above has not been listed");

        assert_eq!(context.list("").unwrap().entries[0].name, "src");
        assert_eq!(context.list("src").unwrap().entries[0].size, 9);
        let mut sent = Vec::new();
        context.send(&wanted, &mut sent).unwrap();
        assert_eq!(sent, [&9_u64.to_le_bytes()[..], b"int main;"].concat());
        assert!(context.list("..").is_err());
    }

    #[test]
    fn the_dockerfiles_own_ignore_file_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let write = |name: &str, text: &str| fs::write(folder.path().join(name), text).unwrap();
        let context = Context::open(folder.path()).unwrap();
        assert!(context.recipe(None).is_err(), "there is no Dockerfile");
        write("Dockerfile", "FROM scratch");
        assert_eq!(context.recipe(None).unwrap().ignore_name, "");
        write(".dockerignore", "a");
        assert_eq!(context.recipe(None).unwrap().ignore, "a");
        write("Dockerfile.dockerignore", "b");
        let recipe = context.recipe(None).unwrap();
        assert_eq!((recipe.ignore.as_str(), recipe.name.as_str()), ("b", "Dockerfile"));
        assert_eq!(recipe.ignore_name, "Dockerfile.dockerignore");
        assert_eq!(context.ignored(None).unwrap().ignore, "a");
    }
}
