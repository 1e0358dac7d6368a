//! Files that hold state: JSON with a `format` number, replaced as a whole or not at all.
//!
//! A write goes to a temporary file in the same folder, is synced, renamed over the old file, and
//! the folder is synced: a reader (and a crash at any moment) sees the old or the new content.

use std::{
    io::{self, Write as _},
    path::Path,
};

use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;

use crate::StateError;

/// Temporary files are hidden and end like this; [`remove_leftovers`] knows them by it.
const TEMPORARY_SUFFIX: &str = ".linkspan-tmp";

/// A kind of state file.
pub trait Document: Serialize + DeserializeOwned {
    /// The newest format: what [`write()`] writes.
    const FORMAT: u64;
    /// For messages: `the settings of a machine`.
    const WHAT: &'static str;

    /// Turns the JSON of format `from` (less than [`FORMAT`](Self::FORMAT)) into that of format
    /// `from + 1`. Called once for each step.
    ///
    /// # Errors
    /// Why it cannot be done: a format that was never published.
    fn migrate(from: u64, value: Value) -> Result<Value, String> {
        let _ = value;
        Err(format!("there was never a format {from}"))
    }
}

/// Reads a state file and brings it to the newest format in memory. `None`: there is no file.
///
/// # Errors
/// When it cannot be read, is malformed or is of a newer format.
pub fn read<T: Document>(path: &Path) -> Result<Option<T>, StateError> {
    let text = match std::fs::read(path) {
        Ok(text) => text,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(StateError::io("read", path)(error)),
    };
    let malformed =
        |why: String| StateError::Malformed { what: T::WHAT, path: path.to_owned(), why };
    let mut value: Value =
        serde_json::from_slice(&text).map_err(|error| malformed(error.to_string()))?;
    let found = value
        .as_object_mut()
        .ok_or_else(|| malformed("it is not a JSON object".into()))?
        .remove("format")
        .and_then(|format| format.as_u64())
        .ok_or_else(|| malformed("it has no `format` number".into()))?;
    if found > T::FORMAT {
        return Err(StateError::NewerFormat {
            what: T::WHAT,
            path: path.to_owned(),
            found,
            known: T::FORMAT,
        });
    }
    for format in found..T::FORMAT {
        value = T::migrate(format, value).map_err(&malformed)?;
    }
    serde_json::from_value(value).map(Some).map_err(|error| malformed(error.to_string()))
}

/// Replaces a state file, mode 0600.
///
/// # Errors
/// When it cannot be written; the old content is then still there.
pub fn write<T: Document>(path: &Path, document: &T) -> Result<(), StateError> {
    let malformed =
        |why: String| StateError::Malformed { what: T::WHAT, path: path.to_owned(), why };
    let mut object = serde_json::Map::new();
    object.insert("format".into(), T::FORMAT.into());
    match serde_json::to_value(document).map_err(|error| malformed(error.to_string()))? {
        Value::Object(fields) => object.extend(fields),
        _ => return Err(malformed("it is not a JSON object".into())),
    }
    let mut text = serde_json::to_vec_pretty(&Value::Object(object))
        .map_err(|error| malformed(error.to_string()))?;
    text.push(b'\n');
    replace(path, &text)
}

fn replace(path: &Path, content: &[u8]) -> Result<(), StateError> {
    let folder = path.parent().unwrap_or(Path::new("."));
    // Mode 0600 is tempfile's default; the rename keeps it.
    let mut file = tempfile::Builder::new()
        .prefix(".")
        .suffix(TEMPORARY_SUFFIX)
        .tempfile_in(folder)
        .map_err(StateError::io("write", path))?;
    file.write_all(content).map_err(StateError::io("write", path))?;
    file.as_file().sync_all().map_err(StateError::io("write", path))?;
    file.persist(path).map_err(|error| StateError::io("write", path)(error.error))?;
    sync_folder(folder).map_err(StateError::io("sync", folder))
}

/// Makes a rename last: on unix the folder is a file with its own write-back.
#[cfg(unix)]
fn sync_folder(folder: &Path) -> io::Result<()> {
    std::fs::File::open(folder)?.sync_all()
}

/// Windows opens no folders as files; NTFS journals the rename itself.
#[cfg(not(unix))]
fn sync_folder(_folder: &Path) -> io::Result<()> {
    Ok(())
}

/// Removes a file; it is fine when there is none.
///
/// # Errors
/// When it is there and cannot be removed.
pub fn remove_file(path: &Path) -> Result<(), StateError> {
    match std::fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(StateError::io("remove", path)(error))
        }
        _ => Ok(()),
    }
}

/// Removes temporary files that a crash left in `folder`. The caller holds the lock that makes
/// it the only writer.
///
/// # Errors
/// When the folder cannot be listed or a leftover not removed.
pub fn remove_leftovers(folder: &Path) -> Result<(), StateError> {
    for entry in std::fs::read_dir(folder).map_err(StateError::io("list", folder))? {
        let entry = entry.map_err(StateError::io("list", folder))?;
        let name = entry.file_name();
        let name = name.to_string_lossy();
        if name.starts_with('.') && name.ends_with(TEMPORARY_SUFFIX) {
            remove_file(&entry.path())?;
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde::Deserialize;

    use super::*;

    #[derive(Debug, PartialEq, Serialize, Deserialize)]
    struct Sample {
        colour: String,
    }

    impl Document for Sample {
        const FORMAT: u64 = 3;
        const WHAT: &'static str = "the sample";

        fn migrate(from: u64, mut value: Value) -> Result<Value, String> {
            match from {
                1 => value["paint"] = value["color"].take(),
                2 => value["colour"] = value["paint"].take(),
                _ => return Err(format!("there was never a format {from}")),
            }
            Ok(value)
        }
    }

    fn sample(colour: &str) -> Sample {
        Sample { colour: colour.into() }
    }

    #[test]
    fn what_is_written_is_read_with_its_format() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sample.json");
        assert!(read::<Sample>(&path).unwrap().is_none());
        write(&path, &sample("red")).unwrap();
        assert_eq!(read::<Sample>(&path).unwrap(), Some(sample("red")));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(text.contains("\"format\": 3"), "{text}");
    }

    #[test]
    fn an_old_format_is_migrated_step_by_step() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sample.json");
        std::fs::write(&path, r#"{"format":1,"color":"blue"}"#).unwrap();
        assert_eq!(read::<Sample>(&path).unwrap(), Some(sample("blue")));
    }

    #[test]
    fn a_newer_format_is_refused_by_number() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sample.json");
        std::fs::write(&path, r#"{"format":4,"colour":"blue"}"#).unwrap();
        let error = read::<Sample>(&path).unwrap_err();
        assert!(matches!(error, StateError::NewerFormat { found: 4, known: 3, .. }), "{error}");
        assert!(error.hint().unwrap().contains("update"));
    }

    #[test]
    fn half_a_file_is_malformed_and_named() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sample.json");
        for text in ["", "{\"format\":3,\"col", "[]", "{\"colour\":\"x\"}"] {
            std::fs::write(&path, text).unwrap();
            let error = read::<Sample>(&path).unwrap_err().to_string();
            assert!(error.contains("sample.json"), "{error}");
        }
    }

    #[test]
    fn readers_never_see_half_a_file() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sample.json");
        let long = "x".repeat(200_000);
        write(&path, &sample(&long)).unwrap();
        std::thread::scope(|scope| {
            let writer = scope.spawn(|| {
                for round in 0..40 {
                    let colour = if round % 2 == 0 { "short" } else { &long };
                    write(&path, &sample(colour)).unwrap();
                }
            });
            while !writer.is_finished() {
                let seen = read::<Sample>(&path).unwrap().expect("the file never goes away");
                assert!(seen.colour == "short" || seen.colour == long);
            }
        });
        let names: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
        assert_eq!(names.len(), 1, "no temporary file stays: {names:?}");
    }

    #[test]
    fn only_leftovers_are_removed() {
        let folder = tempfile::tempdir().unwrap();
        let left = folder.path().join(format!(".abc{TEMPORARY_SUFFIX}"));
        let kept = folder.path().join("sample.json");
        std::fs::write(&left, "half").unwrap();
        std::fs::write(&kept, "{}").unwrap();
        remove_leftovers(folder.path()).unwrap();
        assert!(!left.exists());
        assert!(kept.exists());
    }

    #[cfg(unix)]
    #[test]
    fn state_files_are_the_users_alone() {
        use std::os::unix::fs::PermissionsExt as _;
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("sample.json");
        write(&path, &sample("red")).unwrap();
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }
}
