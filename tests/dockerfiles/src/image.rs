//! An image as its files and its configuration, read from an OCI archive (image-spec, image-layout.md and
//! layer.md).

use std::collections::BTreeMap;
use std::io::Read as _;

use serde_json::{Map, Value};

/// Of a longer content only the length is shown.
const LONGEST: usize = 200;

/// What an image comes to.
#[derive(Debug, Default)]
pub struct Image {
    /// By path, what is there: words of a case.
    files: BTreeMap<String, String>,
    config: Map<String, Value>,
}

impl Image {
    /// Reads the only image of an archive.
    ///
    /// # Panics
    /// When it is not an OCI archive of one image with plain layers.
    #[must_use]
    pub fn read(archive: &[u8]) -> Self {
        let members = members(archive);
        let blob = |descriptor: &Value| {
            let digest = descriptor["digest"].as_str().expect("a digest");
            &members[&format!("blobs/{}", digest.replace(':', "/"))]
        };
        let json = |bytes: &[u8]| serde_json::from_slice::<Value>(bytes).expect("JSON");
        let index = json(&members["index.json"]);
        let manifest = json(blob(&index["manifests"][0]));
        let config = json(blob(&manifest["config"]));
        let mut image = Self {
            files: BTreeMap::new(),
            config: config["config"].as_object().cloned().unwrap_or_default(),
        };
        for layer in manifest["layers"].as_array().expect("layers") {
            assert_eq!(layer["mediaType"], "application/vnd.oci.image.layer.v1.tar");
            image.apply(blob(layer));
        }
        image
    }

    fn apply(&mut self, layer: &[u8]) {
        let mut archive = tar::Archive::new(layer);
        // What a layer hides is below it, wherever in the layer that stands.
        let mut new = BTreeMap::new();
        for entry in archive.entries().expect("a tar") {
            let mut entry = entry.expect("an entry");
            let path = entry.path().expect("a path").display().to_string();
            let path = format!("/{}", path.trim_matches('/'));
            let (folder, name) = path.rsplit_once('/').expect("it begins with one");
            if name == ".wh..wh..opq" {
                self.remove_below(folder);
            } else if let Some(name) = name.strip_prefix(".wh.") {
                let hidden = format!("{folder}/{name}");
                self.files.remove(&hidden);
                self.remove_below(&hidden);
            } else if path != "/" {
                let shown = match entry.header().entry_type() {
                    tar::EntryType::Link => {
                        let target = entry.link_name().expect("a link").expect("a target");
                        let target = format!("/{}", target.display().to_string().trim_matches('/'));
                        let known = new.get(&target).or_else(|| self.files.get(&target));
                        known.cloned().expect("a hard link leads to a file")
                    }
                    _ => shown(&mut entry),
                };
                new.insert(path, shown);
            }
        }
        for (path, shown) in new {
            if !shown.starts_with("folder ") {
                self.remove_below(&path);
            }
            self.files.insert(path, shown);
        }
    }

    fn remove_below(&mut self, folder: &str) {
        let prefix = format!("{folder}/");
        self.files.retain(|path, _| !path.starts_with(&prefix));
    }

    /// What differs from the files of another, in the words of a case.
    pub(crate) fn tree_since(&self, base: &Self) -> Vec<String> {
        let new = self.files.iter().filter(|(path, shown)| base.files.get(*path) != Some(shown));
        let gone = base.files.keys().filter(|path| !self.files.contains_key(*path));
        let new = new.map(|(path, shown)| format!("{path} {shown}"));
        new.chain(gone.map(|path| format!("- {path}"))).collect()
    }

    /// What differs from the configuration of another.
    pub(crate) fn config_since(&self, base: &Self) -> Value {
        let new = self.config.iter().filter(|(key, value)| base.config.get(*key) != Some(value));
        let gone = base.config.keys().filter(|key| !self.config.contains_key(*key));
        let new = new.map(|(key, value)| (key.clone(), value.clone()));
        Value::Object(new.chain(gone.map(|key| (key.clone(), Value::Null))).collect())
    }
}

fn members(archive: &[u8]) -> BTreeMap<String, Vec<u8>> {
    let mut members = BTreeMap::new();
    for entry in tar::Archive::new(archive).entries().expect("a tar") {
        let mut entry = entry.expect("an entry");
        let mut content = Vec::new();
        entry.read_to_end(&mut content).expect("its content");
        members.insert(entry.path().expect("a path").display().to_string(), content);
    }
    members
}

fn shown(entry: &mut tar::Entry<'_, impl std::io::Read>) -> String {
    let header = entry.header();
    let mode = header.mode().expect("a mode") & 0o7777;
    let (uid, gid) = (header.uid().expect("a user"), header.gid().expect("a group"));
    let owner = if (uid, gid) == (0, 0) { String::new() } else { format!(" {uid}:{gid}") };
    match header.entry_type() {
        tar::EntryType::Directory => format!("folder {mode:o}{owner}"),
        tar::EntryType::Symlink => {
            let target = entry.link_name().expect("a link").expect("a target");
            format!("link{owner} {}", target.display())
        }
        tar::EntryType::Regular => {
            let mut content = Vec::new();
            entry.read_to_end(&mut content).expect("its content");
            let content = match std::str::from_utf8(&content) {
                Ok(text) if text.len() <= LONGEST => format!("{text:?}"),
                _ => format!("{} bytes", content.len()),
            };
            format!("file {mode:o}{owner} {content}")
        }
        other => format!("{other:?} {mode:o}{owner}"),
    }
}
