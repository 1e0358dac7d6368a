//! Files that hold the agent's state: JSON with the version of its format inside, replaced whole.
//!
//! Whenever the machine ends, a reader finds the old content or the new one, and a program that
//! does not know a format says so and leaves the file alone.

use std::{
    fs::{self, File},
    io::{self, Write as _},
    path::{Path, PathBuf},
};

use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// Why a record cannot be read or written.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The disk's answer.
    #[error("cannot {action} `{}`", path.display())]
    Io {
        /// A verb: `read`, `write`.
        action: &'static str,
        /// The record.
        path: PathBuf,
        /// The cause.
        source: io::Error,
    },
    /// Its content is of a version or shape that this program does not know.
    #[error("`{}` cannot be read: {why}", path.display())]
    Content {
        /// The record.
        path: PathBuf,
        /// What is wrong with it.
        why: String,
    },
}

/// What a record outlives.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Durability {
    /// The agent: after the machine's end the content may be the old one, but never a part.
    Process,
    /// The machine: what is written is on the disk.
    Machine,
}

#[derive(Serialize)]
struct Versioned<'a, T> {
    format: u32,
    #[serde(flatten)]
    value: &'a T,
}

#[derive(Deserialize)]
struct Header {
    format: u32,
}

/// Reads the record at `path`, which must have this `format`. None: there is none.
///
/// # Errors
/// [`Error`].
pub fn read<T: DeserializeOwned>(path: &Path, format: u32) -> Result<Option<T>, Error> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(source) => return Err(Error::Io { action: "read", path: path.to_owned(), source }),
    };
    let bad = |why: String| Error::Content { path: path.to_owned(), why };
    // Before the rest, which may have any shape in another format. As `write` puts it, it is the
    // first word, and a large record need not be read twice.
    if !bytes.starts_with(format!("{{\"format\":{format},").as_bytes()) {
        let header: Header =
            serde_json::from_slice(&bytes).map_err(|error| bad(error.to_string()))?;
        if header.format != format {
            let why = format!("its format is {}, and this program knows {format}", header.format);
            return Err(bad(why));
        }
    }
    serde_json::from_slice(&bytes).map(Some).map_err(|error| bad(error.to_string()))
}

/// Replaces the record at `path`, or makes it. `value` must be a map or a structure without a
/// field `format`.
///
/// # Errors
/// [`Error`]; the record is the old one then.
pub fn write<T: Serialize>(
    path: &Path,
    format: u32,
    value: &T,
    durability: Durability,
) -> Result<(), Error> {
    let bytes = serde_json::to_vec(&Versioned { format, value })
        .map_err(|error| Error::Content { path: path.to_owned(), why: error.to_string() })?;
    let temporary = path.with_extension("tmp");
    let write = || {
        let mut file = File::create(&temporary)?;
        file.write_all(&bytes)?;
        if durability == Durability::Machine {
            // Without it the name may come to the disk before the content does.
            file.sync_all()?;
        }
        fs::rename(&temporary, path)?;
        match path.parent() {
            Some(folder) if durability == Durability::Machine => sync_folder(folder),
            _ => Ok(()),
        }
    };
    write().map_err(|source| Error::Io { action: "write", path: path.to_owned(), source })
}

/// Makes what was made, renamed and deleted in a folder durable (rename(2) only orders it): with
/// ext4, all that was changed before it, too.
///
/// # Errors
/// The disk's.
pub fn sync_folder(folder: &Path) -> io::Result<()> {
    File::open(folder)?.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, PartialEq, Eq, Serialize, Deserialize)]
    struct Sheep {
        count: u32,
    }

    #[test]
    fn what_is_written_is_read_and_the_format_stands_beside_it() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sheep.json");
        assert_eq!(read::<Sheep>(&path, 3).expect("none is no error"), None);
        for (count, durability) in [(1, Durability::Machine), (2, Durability::Process)] {
            write(&path, 3, &Sheep { count }, durability).expect("written");
            assert_eq!(read(&path, 3).expect("read"), Some(Sheep { count }));
        }
        assert_eq!(fs::read_to_string(&path).expect("text"), r#"{"format":3,"count":2}"#);
        assert_eq!(fs::read_dir(folder.path()).expect("a folder").count(), 1, "nothing beside it");
    }

    #[test]
    fn another_format_or_shape_is_named_and_left_alone() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sheep.json");
        for (content, why) in [
            (r#"{"format":4,"goats":1}"#, "its format is 4, and this program knows 3"),
            (r#"{"goats":1, "format": 4}"#, "its format is 4, and this program knows 3"),
            (r#"{"format":3,"goats":1}"#, "missing field `count`"),
            (r#"{"count":1}"#, "missing field `format`"),
            (r#"{"format":3,"cou"#, "EOF"),
            ("", "EOF"),
        ] {
            fs::write(&path, content).expect("written");
            let error = read::<Sheep>(&path, 3).expect_err(content).to_string();
            assert!(error.contains(why) && error.contains("sheep.json"), "{content}: {error}");
            assert_eq!(fs::read_to_string(&path).expect("text"), content);
        }
    }

    #[test]
    fn what_cannot_be_written_leaves_the_old_one() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("sheep.json");
        write(&path, 3, &Sheep { count: 1 }, Durability::Machine).expect("written");
        fs::create_dir(folder.path().join("sheep.tmp")).expect("in the way");
        let error = write(&path, 3, &Sheep { count: 2 }, Durability::Machine).expect_err("no file");
        assert!(matches!(error, Error::Io { action: "write", .. }), "{error}");
        assert_eq!(read(&path, 3).expect("read"), Some(Sheep { count: 1 }));
    }
}
