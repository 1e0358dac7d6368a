//! The VM image: kernels, initramfs and built-in container images, and the manifest that lists
//! them. Finds it and checks that its files are there and whole. Does not build it.

use std::{
    collections::BTreeMap,
    fmt,
    io::Read as _,
    path::{Path, PathBuf},
    str::FromStr,
};

use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

use crate::{Config, Document, StateError};

/// The variable that says where the VM image is.
pub const IMAGE_VARIABLE: &str = "LINKSPAN_VM_IMAGE";

/// `manifest.json` of a VM image.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// By name: `debian`, `lean`.
    pub kernels: BTreeMap<String, KernelEntry>,
    /// What `auto` means when there is neither `lean` nor `debian`.
    pub default_kernel: String,
    /// The container images that come with the VM image.
    #[serde(default)]
    pub images: Vec<ImageEntry>,
    /// What every kernel is told.
    #[serde(default)]
    pub cmdline: String,
    /// What it was built with.
    #[serde(default)]
    pub tool_versions: BTreeMap<String, String>,
}

impl Document for Manifest {
    const FORMAT: u64 = 1;
    const WHAT: &'static str = "the manifest of the VM image";
}

/// One kernel with its initramfs. File names are relative to the image's folder.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct KernelEntry {
    /// The kernel as the drivers boot it.
    pub file: String,
    /// The initramfs.
    pub initramfs: String,
    /// `uname -r`.
    pub version: String,
    /// Bytes of `file`.
    pub size: u64,
    /// Of `file`, lower-case hexadecimal.
    pub sha256: String,
    /// Bytes of `initramfs`.
    pub initramfs_size: u64,
    /// Of `initramfs`.
    pub initramfs_sha256: String,
    /// How it was made.
    #[serde(default)]
    pub origin: String,
}

/// A built-in container image: an OCI archive.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ImageEntry {
    /// `busybox:latest`.
    pub reference: String,
    /// Relative to the image's folder.
    pub file: String,
    /// Of `file`, lower-case hexadecimal.
    pub sha256: String,
    /// Bytes of `file`.
    pub size: u64,
}

/// Why the VM image cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ImageError {
    /// There is none in the usual places.
    #[error("there is no VM image: looked in {}", list(searched))]
    NotFound {
        /// The folders without a `manifest.json`.
        searched: Vec<PathBuf>,
    },
    /// The manifest cannot be read.
    #[error(transparent)]
    Manifest(#[from] StateError),
    /// The kernel is not part of the image.
    #[error("the VM image `{}` has no kernel `{name}`, it has: {}", folder.display(), have.join(", "))]
    NoKernel {
        /// What was asked for.
        name: String,
        /// The image.
        folder: PathBuf,
        /// What there is.
        have: Vec<String>,
    },
    /// A file of the image is missing.
    #[error("the VM image lacks its {what} `{}`", path.display())]
    Missing {
        /// `kernel`, `initramfs`, `built-in image`.
        what: &'static str,
        /// Where it should be.
        path: PathBuf,
    },
    /// A file is not what the manifest says.
    #[error("the {what} `{}` is damaged: {why}", path.display())]
    Damaged {
        /// `kernel`, `initramfs`, `built-in image`.
        what: &'static str,
        /// The file.
        path: PathBuf,
        /// The difference.
        why: String,
    },
}

impl ImageError {
    /// What the user can do about it.
    #[must_use]
    pub fn hint(&self) -> String {
        match self {
            Self::NotFound { .. } => {
                format!("build it with `make image`, or set {IMAGE_VARIABLE} to its folder")
            }
            Self::NoKernel { name, .. } if name == "lean" => {
                "build it with `make kernel` and `make image`, or set the kernel to `auto`".into()
            }
            Self::NoKernel { .. } => "set the kernel to `auto`, or to one that is there".into(),
            Self::Missing { what: "chosen kernel", .. } => "set the kernel to a file".into(),
            _ => "build it again with `make image`".into(),
        }
    }
}

fn list(folders: &[PathBuf]) -> String {
    folders.iter().map(|path| format!("`{}`", path.display())).collect::<Vec<_>>().join(", ")
}

/// The setting that chooses a kernel.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum KernelChoice {
    /// `lean` where the image has it, else `debian`.
    #[default]
    Auto,
    /// One of the image's, by name.
    Named(String),
    /// A file on the host with everything built in; it boots with the image's initramfs.
    Path(PathBuf),
}

impl FromStr for KernelChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "auto" => Ok(Self::Auto),
            "debian" | "lean" => Ok(Self::Named(text.into())),
            path if Path::new(path).is_absolute() => Ok(Self::Path(path.into())),
            _ => Err(format!(
                "`{text}` is not a kernel: say `auto`, `debian`, `lean` or an absolute path"
            )),
        }
    }
}

impl TryFrom<String> for KernelChoice {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<KernelChoice> for String {
    fn from(choice: KernelChoice) -> Self {
        choice.to_string()
    }
}

impl fmt::Display for KernelChoice {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Auto => formatter.write_str("auto"),
            Self::Named(name) => formatter.write_str(name),
            Self::Path(path) => write!(formatter, "{}", path.display()),
        }
    }
}

/// Where to look for the VM image: first folder with a manifest wins.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ImageSearch {
    folders: Vec<PathBuf>,
}

impl ImageSearch {
    /// The usual places: `LINKSPAN_VM_IMAGE` (and then nowhere else), else the configuration's
    /// (and then nowhere else), else beside the program: `../vm-image`, `../share/linkspan/vm-image`,
    /// and on Windows, where all of an installed program is in one folder, `vm-image`.
    #[must_use]
    pub fn usual(config: &Config) -> Self {
        if let Some(folder) = std::env::var_os(IMAGE_VARIABLE).filter(|value| !value.is_empty()) {
            return Self::only(folder);
        }
        if let Some(folder) = &config.vm_image_dir {
            return Self::only(folder);
        }
        let program = std::env::current_exe().and_then(|program| program.canonicalize());
        let folder = program.as_deref().ok().and_then(Path::parent);
        let mut folders = match folder.and_then(Path::parent) {
            Some(above) => vec![above.join("vm-image"), above.join("share/linkspan/vm-image")],
            None => Vec::new(),
        };
        if cfg!(windows) {
            folders.extend(folder.map(|folder| folder.join("vm-image")));
        }
        Self { folders }
    }

    /// One place only.
    pub fn only(folder: impl Into<PathBuf>) -> Self {
        Self { folders: vec![folder.into()] }
    }

    /// The folders, in order.
    #[must_use]
    pub fn folders(&self) -> &[PathBuf] {
        &self.folders
    }

    /// Opens the first image there is.
    ///
    /// # Errors
    /// When there is none, or its manifest cannot be read.
    pub fn find(&self) -> Result<VmImage, ImageError> {
        for folder in &self.folders {
            if let Some(manifest) = crate::read(&folder.join("manifest.json"))? {
                let folder = std::path::absolute(folder).map_err(StateError::io("find", folder))?;
                return Ok(VmImage { folder, manifest });
            }
        }
        Err(ImageError::NotFound { searched: self.folders.clone() })
    }
}

/// A VM image on the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct VmImage {
    folder: PathBuf,
    manifest: Manifest,
}

/// A kernel that is there, with what it boots with. Paths are absolute.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Kernel {
    /// `debian`, `lean`, or the path that was chosen.
    pub name: String,
    /// The kernel.
    pub kernel: PathBuf,
    /// The initramfs.
    pub initramfs: PathBuf,
    /// The image's kernel command line.
    pub cmdline: String,
    /// `uname -r` as the manifest has it; empty for a path.
    pub version: String,
}

impl VmImage {
    /// Its folder, absolute.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// What it lists.
    #[must_use]
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The kernel for a setting, its files checked by size: a start must not hash 20 MB each
    /// time. [`verify`](Self::verify) hashes.
    ///
    /// # Errors
    /// When it is not part of the image, or a file is missing or of another size.
    pub fn kernel(&self, choice: &KernelChoice) -> Result<Kernel, ImageError> {
        let name = match choice {
            KernelChoice::Named(name) => name,
            KernelChoice::Auto | KernelChoice::Path(_) => self.automatic(),
        };
        let entry = self.manifest.kernels.get(name).ok_or_else(|| ImageError::NoKernel {
            name: name.into(),
            folder: self.folder.clone(),
            have: self.manifest.kernels.keys().cloned().collect(),
        })?;
        let initramfs = self.checked("initramfs", &entry.initramfs, entry.initramfs_size)?;
        let cmdline = self.manifest.cmdline.clone();
        if let KernelChoice::Path(path) = choice {
            if !path.is_file() {
                return Err(ImageError::Missing { what: "chosen kernel", path: path.clone() });
            }
            let name = path.display().to_string();
            let kernel = path.clone();
            return Ok(Kernel { name, kernel, initramfs, cmdline, version: String::new() });
        }
        let kernel = self.checked("kernel", &entry.file, entry.size)?;
        let version = entry.version.clone();
        Ok(Kernel { name: name.into(), kernel, initramfs, cmdline, version })
    }

    fn automatic(&self) -> &str {
        ["lean", "debian"]
            .into_iter()
            .find(|name| self.manifest.kernels.contains_key(*name))
            .unwrap_or(&self.manifest.default_kernel)
    }

    /// The archive of a built-in container image, checked by size; `None` when `reference` is
    /// not built in.
    ///
    /// # Errors
    /// When its file is missing or of another size.
    pub fn builtin(&self, reference: &str) -> Result<Option<PathBuf>, ImageError> {
        let Some(entry) = self.manifest.images.iter().find(|entry| entry.matches(reference)) else {
            return Ok(None);
        };
        self.checked("built-in image", &entry.file, entry.size).map(Some)
    }

    /// Hashes every file of the image and compares with the manifest.
    ///
    /// # Errors
    /// The first file that is missing or different.
    pub fn verify(&self) -> Result<(), ImageError> {
        for entry in self.manifest.kernels.values() {
            self.hashed("kernel", &entry.file, entry.size, &entry.sha256)?;
            let (size, sha256) = (entry.initramfs_size, &entry.initramfs_sha256);
            self.hashed("initramfs", &entry.initramfs, size, sha256)?;
        }
        for entry in &self.manifest.images {
            self.hashed("built-in image", &entry.file, entry.size, &entry.sha256)?;
        }
        Ok(())
    }

    fn checked(&self, what: &'static str, file: &str, size: u64) -> Result<PathBuf, ImageError> {
        let path = self.folder.join(file);
        match std::fs::metadata(&path) {
            Ok(metadata) if metadata.is_file() && metadata.len() == size => Ok(path),
            Ok(metadata) if metadata.is_file() => {
                let why = format!("it has {} bytes, the manifest says {size}", metadata.len());
                Err(ImageError::Damaged { what, path, why })
            }
            Ok(_) => Err(ImageError::Damaged { what, path, why: "it is not a file".into() }),
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
                Err(ImageError::Missing { what, path })
            }
            Err(error) => Err(StateError::io("examine", &path)(error).into()),
        }
    }

    fn hashed(
        &self,
        what: &'static str,
        file: &str,
        size: u64,
        sha256: &str,
    ) -> Result<(), ImageError> {
        let path = self.checked(what, file, size)?;
        let mut content = std::fs::File::open(&path).map_err(StateError::io("open", &path))?;
        let mut hash = Sha256::new();
        let mut buffer = vec![0; 1 << 16];
        loop {
            match content.read(&mut buffer).map_err(StateError::io("read", &path))? {
                0 => break,
                count => hash.update(&buffer[..count]),
            }
        }
        let found = hex::encode(hash.finalize());
        if found == sha256 {
            return Ok(());
        }
        let why = format!("its SHA-256 is {found}, the manifest says {sha256}");
        Err(ImageError::Damaged { what, path, why })
    }
}

impl ImageEntry {
    /// `busybox` is `busybox:latest`, and so is `docker.io/library/busybox`: builds ask by the
    /// full name.
    fn matches(&self, reference: &str) -> bool {
        let reference = reference.strip_prefix("docker.io/").unwrap_or(reference);
        let reference = reference.strip_prefix("library/").unwrap_or(reference);
        let tag = |text: &str| text.rsplit('/').next().is_some_and(|last| last.contains(':'));
        if tag(reference) {
            self.reference == reference
        } else {
            self.reference == format!("{reference}:latest")
        }
    }
}

#[cfg(test)]
mod tests;
