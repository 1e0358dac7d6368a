//! Folders of the host that a machine has: which, and how users write them.
//!
//! What a container then sees of them is decided by whoever creates it; here is only what the VM is
//! given at its start.

use std::{
    fmt, io,
    path::{Path, PathBuf},
    str::FromStr,
};

use linkspan_state::SettingsPatch;
use serde::{Deserialize, Serialize};
use sha2::{Digest as _, Sha256};

/// Each is a device of the VM and a process on the host.
pub const MAX_SHARES: usize = 16;
/// What makes a share read-only, behind its path.
const READ_ONLY: &str = ":ro";
const READ_WRITE: &str = ":rw";

/// A folder of the host, and whether the machine may only read it. As text `PATH` or `PATH:ro`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(into = "String", try_from = "String")]
pub struct Share {
    /// Absolute, without symbolic links.
    pub path: PathBuf,
    /// Nothing can be changed through it, whatever a container asks for.
    pub read_only: bool,
}

/// A share as a driver gives it to a VM.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SharedFolder {
    /// The name by which the guest finds it: at most 36 bytes (virtio 1.2, section 5.11.4).
    pub tag: String,
    /// Absolute; a folder.
    pub path: PathBuf,
    /// The guest can change nothing.
    pub read_only: bool,
}

/// Where a shared folder of a VM tells of changes that programs of the host make in it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct FolderChanges {
    /// The share.
    pub tag: String,
    /// A local socket for one daemon. It takes `linkspan.v1.FolderOrder`s and gives `FolderReport`s,
    /// each after its length as 32 bits in network order.
    pub socket: PathBuf,
}

impl Share {
    /// What every machine has, unless it is told otherwise: the user's home folder and the system's
    /// temporary folder. Those that are not there are left out.
    #[must_use]
    pub fn defaults() -> Vec<Self> {
        let mut shares: Vec<Self> = Vec::new();
        for path in std::env::home_dir().into_iter().chain([std::env::temp_dir()]) {
            if let Ok(path) = folder(&path)
                && !shares.iter().any(|share| share.path == path)
            {
                shares.push(Self { path, read_only: false });
            }
        }
        shares
    }

    /// The share's name for the guest. Depends on the path alone, so that a container finds its
    /// folders again after other shares were added.
    #[must_use]
    pub fn tag(&self) -> String {
        let digest = Sha256::digest(self.path.as_os_str().as_encoded_bytes());
        format!("share-{}", hex::encode(&digest[..12]))
    }

    /// As a driver gives it to the VM.
    #[must_use]
    pub fn folder(&self) -> SharedFolder {
        SharedFolder { tag: self.tag(), path: self.path.clone(), read_only: self.read_only }
    }

    /// Whether it can be shared now.
    ///
    /// # Errors
    /// The system's reason; [`io::ErrorKind::NotADirectory`] for a file.
    pub fn is_there(&self) -> io::Result<()> {
        folder(&self.path).map(drop)
    }
}

/// A folder's path without symbolic links.
fn folder(path: &Path) -> io::Result<PathBuf> {
    let path = path.canonicalize()?;
    if path.is_dir() { Ok(path) } else { Err(io::ErrorKind::NotADirectory.into()) }
}

/// The shares that `patch` makes of these. What cannot be is added to `problems`.
pub(crate) fn patched(
    shares: &[Share],
    patch: &SettingsPatch,
    problems: &mut Vec<String>,
) -> Vec<Share> {
    let mut shares = shares.to_vec();
    for text in &patch.unshare {
        let path = Path::new(text.strip_suffix(READ_ONLY).unwrap_or(text));
        // One that is gone from the host is still found by its name.
        let path = path.canonicalize().unwrap_or_else(|_| path.to_owned());
        let before = shares.len();
        shares.retain(|share| share.path != path);
        if shares.len() == before {
            problems.push(format!("unshare: `{}` is not shared", path.display()));
        }
    }
    for text in &patch.share {
        let asked = match text.parse::<Share>() {
            Ok(share) => share,
            Err(why) => {
                problems.push(format!("share: {why}"));
                continue;
            }
        };
        match folder(&asked.path) {
            Ok(path) => {
                shares.retain(|share| share.path != path);
                shares.push(Share { path, ..asked });
            }
            Err(error) => {
                problems.push(format!("share: cannot share `{}`: {error}", asked.path.display()));
            }
        }
    }
    if shares.len() > MAX_SHARES {
        problems.push(format!(
            "share: {} folders are more than the {MAX_SHARES} that a machine can have",
            shares.len()
        ));
    }
    shares
}

impl fmt::Display for Share {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let mode = if self.read_only { READ_ONLY } else { "" };
        write!(formatter, "{}{mode}", self.path.display())
    }
}

impl FromStr for Share {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (path, read_only) = match text.strip_suffix(READ_ONLY) {
            Some(path) => (path, true),
            None => (text.strip_suffix(READ_WRITE).unwrap_or(text), false),
        };
        let path = PathBuf::from(path);
        if !path.is_absolute() {
            return Err(format!("`{text}` is not an absolute path"));
        }
        Ok(Self { path, read_only })
    }
}

impl From<Share> for String {
    fn from(share: Share) -> Self {
        share.to_string()
    }
}

impl TryFrom<String> for Share {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    fn patch(share: &[&str], unshare: &[&str]) -> SettingsPatch {
        let owned = |texts: &[&str]| texts.iter().map(|text| (*text).to_owned()).collect();
        SettingsPatch { share: owned(share), unshare: owned(unshare), ..Default::default() }
    }

    #[test]
    fn a_share_is_written_as_users_write_it() {
        for (text, read_only) in [("/data", false), ("/data:ro", true), ("/a:b", false)] {
            let share: Share = text.parse().unwrap();
            assert_eq!((share.to_string().as_str(), share.read_only), (text, read_only));
        }
        assert_eq!("/data:rw".parse::<Share>().unwrap().to_string(), "/data");
        assert!("data".parse::<Share>().is_err());
    }

    #[test]
    fn a_tag_fits_and_belongs_to_the_path_alone() {
        let tag = |text: &str| text.parse::<Share>().unwrap().tag();
        assert!(tag(&format!("/{}", "x".repeat(300))).len() <= 36);
        assert_eq!(tag("/data"), tag("/data:ro"));
        assert_ne!(tag("/data"), tag("/date"));
    }

    #[test]
    fn a_folder_behind_a_link_is_shared_once_and_found_by_either_name() {
        let place = tempfile::tempdir().unwrap();
        let real = place.path().canonicalize().unwrap().join("real");
        let link = place.path().join("link");
        std::fs::create_dir(&real).unwrap();
        std::os::unix::fs::symlink(&real, &link).unwrap();
        let (real_text, link_text) = (real.display().to_string(), link.display().to_string());
        let mut problems = Vec::new();
        let both = patch(&[&real_text, &format!("{link_text}:ro")], &[]);
        let shares = patched(&[], &both, &mut problems);
        assert_eq!(shares, [Share { path: real, read_only: true }], "the later word counts");
        assert!(patched(&shares, &patch(&[], &[&link_text]), &mut problems).is_empty());
        assert!(problems.is_empty(), "{problems:?}");
    }

    #[test]
    fn everything_that_is_wrong_with_shares_is_told_at_once() {
        let mut problems = Vec::new();
        let wrong = patch(&["relative", "/no/such/folder", "/dev/null"], &["/not/shared"]);
        patched(&[], &wrong, &mut problems);
        assert_eq!(problems.len(), 4, "{problems:?}");
        for word in ["relative", "/no/such/folder", "/dev/null", "/not/shared"] {
            assert!(problems.iter().any(|line| line.contains(word)), "{word}: {problems:?}");
        }
    }

    #[test]
    fn a_share_whose_folder_is_gone_can_still_be_taken_away() {
        let gone = Share { path: "/no/such/folder".into(), read_only: false };
        let mut problems = Vec::new();
        assert!(patched(&[gone], &patch(&[], &["/no/such/folder"]), &mut problems).is_empty());
        assert!(problems.is_empty(), "{problems:?}");
    }
}
