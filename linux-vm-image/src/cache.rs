//! The cache: what takes a network or long work to make, kept outside the checkout.
//!
//! `<cache>/kernels/<name>-<version>-<hash12>/` holds a finished kernel; the hash covers what it was
//! made from apart from the version (configuration, list of modules). `<cache>/packages/` holds
//! packages as apt delivered them. A folder appears whole (a rename) or not at all.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// `built.json` of a cached kernel.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Built {
    /// Format of this file.
    pub(crate) format: u32,
    /// `uname -r`.
    pub(crate) release: String,
    /// Of the package.
    pub(crate) package_version: String,
    /// Of `vmlinux`, lower-case hexadecimal.
    pub(crate) sha256: String,
    /// How it was made, for the manifest.
    pub(crate) origin: String,
    /// Names in `modules/`, in load order.
    pub(crate) modules: Vec<String>,
}

/// A kernel in the cache.
#[derive(Debug, Clone)]
pub(crate) struct CachedKernel {
    pub(crate) folder: PathBuf,
    pub(crate) built: Built,
}

impl CachedKernel {
    pub(crate) fn vmlinux(&self) -> PathBuf {
        self.folder.join("vmlinux")
    }

    pub(crate) fn config(&self) -> PathBuf {
        self.folder.join("config")
    }

    pub(crate) fn module(&self, name: &str) -> PathBuf {
        self.folder.join("modules").join(name)
    }
}

/// The cache folder.
#[derive(Debug, Clone)]
pub(crate) struct Cache {
    root: PathBuf,
}

impl Cache {
    /// `LINKSPAN_CACHE`, else `linkspan` in the user's cache folder.
    pub(crate) fn open(chosen: Option<PathBuf>) -> Result<Self> {
        let variable = |name| std::env::var_os(name).filter(|value| !value.is_empty());
        let root = if let Some(root) = chosen.or_else(|| variable("LINKSPAN_CACHE").map(Into::into))
        {
            root
        } else if let Some(base) = variable("XDG_CACHE_HOME") {
            PathBuf::from(base).join("linkspan")
        } else if let Some(home) = variable("HOME") {
            PathBuf::from(home).join(".cache/linkspan")
        } else {
            bail!("there is no place for the cache: set LINKSPAN_CACHE or HOME");
        };
        Ok(Self { root: std::path::absolute(root)? })
    }

    /// A folder in the cache, made if missing.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let folder = self.root.join(name);
        fs::create_dir_all(&folder)
            .with_context(|| format!("cannot make the cache folder `{}`", folder.display()))?;
        Ok(folder)
    }

    /// The newest finished kernel of this name made from these inputs.
    pub(crate) fn newest(&self, name: &str, hash12: &str) -> Result<Option<CachedKernel>> {
        let folder = self.root.join("kernels");
        let entries = match fs::read_dir(&folder) {
            Ok(entries) => entries,
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
            Err(error) => {
                return Err(error).with_context(|| format!("cannot list `{}`", folder.display()));
            }
        };
        let (prefix, suffix) = (format!("{name}-"), format!("-{hash12}"));
        let mut found: Option<CachedKernel> = None;
        for entry in entries {
            let entry = entry.with_context(|| format!("cannot list `{}`", folder.display()))?;
            let file_name = entry.file_name().to_string_lossy().into_owned();
            if !file_name.starts_with(&prefix) || !file_name.ends_with(&suffix) {
                continue;
            }
            let kernel = read(entry.path())?;
            let newer = |old: &CachedKernel| {
                version_key(&kernel.built.package_version) > version_key(&old.built.package_version)
            };
            if found.as_ref().is_none_or(newer) {
                found = Some(kernel);
            }
        }
        Ok(found)
    }

    /// The finished kernel of exactly this version, if it is there.
    pub(crate) fn exact(
        &self,
        name: &str,
        version: &str,
        hash12: &str,
    ) -> Result<Option<CachedKernel>> {
        let folder = self.root.join("kernels").join(key(name, version, hash12));
        if folder.join("built.json").exists() { read(folder).map(Some) } else { Ok(None) }
    }

    /// Puts a kernel into the cache that was put together in `work` (made by [`Cache::work`]).
    pub(crate) fn keep(
        &self,
        work: tempfile::TempDir,
        name: &str,
        hash12: &str,
        built: &Built,
    ) -> Result<CachedKernel> {
        let json = serde_json::to_vec_pretty(built)?;
        let path = work.path().join("built.json");
        fs::write(&path, json).with_context(|| format!("cannot write `{}`", path.display()))?;
        let folder = self.root.join("kernels").join(key(name, &built.package_version, hash12));
        let work = work.keep();
        match fs::rename(&work, &folder) {
            // Someone else finished the same kernel meanwhile: theirs is as good.
            Err(_) if folder.join("built.json").exists() => fs::remove_dir_all(&work)
                .with_context(|| format!("cannot remove `{}`", work.display()))?,
            Err(error) => {
                return Err(error).with_context(|| {
                    format!("cannot move `{}` to `{}`", work.display(), folder.display())
                });
            }
            Ok(()) => {}
        }
        read(folder)
    }

    /// A folder to put a kernel together in, on the same file system; removed when dropped.
    pub(crate) fn work(&self) -> Result<tempfile::TempDir> {
        let folder = self.folder("kernels")?;
        tempfile::Builder::new()
            .prefix(".work-")
            .permissions(std::os::unix::fs::PermissionsExt::from_mode(0o755))
            .tempdir_in(&folder)
            .with_context(|| format!("cannot make a folder in `{}`", folder.display()))
    }
}

fn key(name: &str, version: &str, hash12: &str) -> String {
    // Debian versions may hold `:` and `~`; neither belongs in a folder name that make sees.
    let version: String = version
        .chars()
        .map(|c| if c.is_ascii_alphanumeric() || c == '.' || c == '-' { c } else { '_' })
        .collect();
    format!("{name}-{version}-{hash12}")
}

fn read(folder: PathBuf) -> Result<CachedKernel> {
    let path = folder.join("built.json");
    let again = || format!("`{}` is damaged: remove `{}`", path.display(), folder.display());
    let text = fs::read(&path).with_context(again)?;
    let built: Built = serde_json::from_slice(&text).with_context(again)?;
    Ok(CachedKernel { folder, built })
}

/// Orders versions as people do: runs of digits by value.
fn version_key(version: &str) -> Vec<(u64, String)> {
    let mut parts = Vec::new();
    let mut rest = version;
    while !rest.is_empty() {
        let text = rest.find(|c: char| c.is_ascii_digit()).unwrap_or(rest.len());
        let (word, after) = rest.split_at(text);
        let digits = after.find(|c: char| !c.is_ascii_digit()).unwrap_or(after.len());
        let (number, after) = after.split_at(digits);
        parts.push((number.parse().unwrap_or(0), word.to_owned()));
        rest = after;
    }
    parts
}

/// SHA-256 of bytes, lower-case hexadecimal.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    hex::encode(Sha256::digest(bytes))
}

/// Reads a file whole.
pub(crate) fn load(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read `{}`", path.display()))
}

/// Writes a file whole. For folders that are renamed into place when they are complete.
pub(crate) fn store(path: &Path, bytes: &[u8]) -> Result<()> {
    fs::write(path, bytes).with_context(|| format!("cannot write `{}`", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn built(version: &str) -> Built {
        Built {
            format: 1,
            release: version.into(),
            package_version: version.into(),
            sha256: sha256(b""),
            origin: "a test".into(),
            modules: vec!["a.ko".into()],
        }
    }

    #[test]
    fn the_newest_kernel_of_the_same_inputs_is_chosen() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(folder.path().into())).unwrap();
        assert!(cache.newest("debian", "0011").unwrap().is_none());
        for (version, hash) in [("6.1.9-1", "0011"), ("6.1.10-1", "0011"), ("7.0-1", "ffff")] {
            let work = cache.work().unwrap();
            cache.keep(work, "debian", hash, &built(version)).unwrap();
        }
        let newest = cache.newest("debian", "0011").unwrap().unwrap();
        assert_eq!(newest.built, built("6.1.10-1"));
        assert!(cache.exact("debian", "7.0-1", "0011").unwrap().is_none());
        assert!(cache.exact("debian", "7.0-1", "ffff").unwrap().is_some());
    }

    #[test]
    fn a_kernel_kept_twice_is_there_once_and_leaves_no_work_behind() {
        let folder = tempfile::tempdir().unwrap();
        let cache = Cache::open(Some(folder.path().into())).unwrap();
        for _ in 0..2 {
            cache.keep(cache.work().unwrap(), "lean", "0011", &built("1")).unwrap();
        }
        assert_eq!(fs::read_dir(folder.path().join("kernels")).unwrap().count(), 1);
    }
}
