//! An OCI layout as a folder (image-spec, image-layout.md): several builds may go into one.

use std::fs;
use std::io::{self, Read};
use std::path::{Component, Path};

use serde_json::Value;

const INDEX: &str = "index.json";
/// What its images are called: containerd's whole name, and the tag (image-spec, annotations.md).
const NAMES: [&str; 2] = ["io.containerd.image.name", "org.opencontainers.image.ref.name"];

/// Unpacks an archive of a layout. Images that the folder has already stay, but for those whose names
/// the new ones have.
///
/// # Errors
/// Files that cannot be written; an `index.json` that is none.
pub(super) fn unpack(archive: impl Read, folder: &Path) -> io::Result<()> {
    let path = folder.join(INDEX);
    let known = match fs::read(&path) {
        Ok(bytes) => Some(parse(&bytes)?),
        Err(error) if error.kind() == io::ErrorKind::NotFound => None,
        Err(error) => return Err(error),
    };
    let mut new = None;
    let mut archive = tar::Archive::new(archive);
    for entry in archive.entries()? {
        let mut entry = entry?;
        let name = entry.path()?.into_owned();
        if name == Path::new(INDEX) {
            let mut bytes = Vec::new();
            entry.read_to_end(&mut bytes)?;
            new = Some(parse(&bytes)?);
        } else if name.components().all(|part| matches!(part, Component::Normal(_))) {
            entry.unpack_in(folder)?;
        }
    }
    // Blobs come before what names them, also when this is cut short.
    let new = new.ok_or_else(|| io::Error::other("the archive has no index.json"))?;
    let part = folder.join("index.json.part");
    fs::write(&part, merged(known, new).to_string())?;
    fs::rename(&part, &path)
}

fn parse(bytes: &[u8]) -> io::Result<Value> {
    let value: Value = serde_json::from_slice(bytes)
        .map_err(|error| io::Error::other(format!("its index.json is no index: {error}")))?;
    match value["manifests"].is_array() {
        true => Ok(value),
        false => Err(io::Error::other("its index.json is no index: it has no manifests")),
    }
}

/// The new index, and behind what it has what only the known one has.
fn merged(known: Option<Value>, mut new: Value) -> Value {
    let manifests = |mut index: Value| match index["manifests"].take() {
        Value::Array(manifests) => manifests,
        _ => Vec::new(),
    };
    let mut all = manifests(new.clone());
    for old in known.map(manifests).unwrap_or_default() {
        if !all.iter().any(|new| replaces(new, &old)) {
            all.push(old);
        }
    }
    new["manifests"] = all.into();
    new
}

fn replaces(new: &Value, old: &Value) -> bool {
    let name = |of: &Value| {
        let names = NAMES.map(|key| of["annotations"][key].as_str().map(str::to_owned));
        names.into_iter().flatten().next()
    };
    match (name(new), name(old)) {
        (None, None) => new["digest"] == old["digest"],
        (new, old) => new == old,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn archive(members: &[(&str, String)]) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        for (name, text) in members {
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            tar.append_data(&mut header, name, text.as_bytes()).unwrap();
        }
        tar.into_inner().unwrap()
    }

    fn index(images: &[(&str, Option<&str>)]) -> String {
        let manifest = |(digest, name): &(&str, Option<&str>)| match name {
            Some(name) => json!({"digest": digest, "annotations": {NAMES[0]: name, NAMES[1]: "1"}}),
            None => json!({"digest": digest}),
        };
        let manifests: Vec<Value> = images.iter().map(manifest).collect();
        json!({"schemaVersion": 2, "manifests": manifests}).to_string()
    }

    fn digests(folder: &Path) -> Vec<String> {
        let index: Value = serde_json::from_slice(&fs::read(folder.join(INDEX)).unwrap()).unwrap();
        let of = |manifest: &Value| manifest["digest"].as_str().unwrap().to_owned();
        index["manifests"].as_array().unwrap().iter().map(of).collect()
    }

    #[test]
    fn images_of_earlier_builds_stay_unless_a_name_is_given_again() {
        let folder = tempfile::tempdir().unwrap();
        let bring = |images: &[(&str, Option<&str>)], blob: &str| {
            let members = [(INDEX, index(images)), (blob, "x".to_owned())];
            unpack(&archive(&members)[..], folder.path()).unwrap();
        };
        bring(&[("a", Some("app:1"))], "blobs/a");
        bring(&[("b", Some("other:1")), ("c", None)], "blobs/b");
        bring(&[("d", Some("app:1"))], "blobs/d");
        bring(&[("c", None)], "blobs/c");
        assert_eq!(digests(folder.path()), ["c", "d", "b"]);
        for blob in ["a", "b", "c", "d"] {
            assert!(folder.path().join("blobs").join(blob).exists());
        }
    }

    #[test]
    fn an_archive_that_breaks_off_leaves_the_index_as_it_was() {
        let folder = tempfile::tempdir().unwrap();
        let whole =
            |name| archive(&[("blobs/a", "x".repeat(2000)), (INDEX, index(&[(name, None)]))]);
        unpack(&whole("a")[..], folder.path()).unwrap();
        assert!(unpack(&whole("b")[..1500], folder.path()).is_err());
        assert!(unpack(&archive(&[("blobs/b", String::new())])[..], folder.path()).is_err());
        assert_eq!(digests(folder.path()), ["a"]);
        fs::write(folder.path().join(INDEX), "{}").unwrap();
        assert!(unpack(&whole("b")[..], folder.path()).is_err(), "what is no index is kept");
    }
}
