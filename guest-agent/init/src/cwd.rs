//! The working directory of the process.

use std::path::Path;

use linkspan_sys::Errno;
use nix::unistd::{chdir, getcwd};

use crate::paths::Root;
use crate::report::{About as _, Fault};

/// Enters it, making it when it is missing: for the first process of a container, as Docker does.
/// To be called before the root becomes read-only.
pub(crate) fn enter_or_make(root: &Root, path: &Path) -> Result<(), Fault> {
    let result = match chdir(path) {
        Err(Errno::ENOENT) => root.folder(path).and_then(|_| chdir(path)),
        other => other,
    };
    result.about(|| format!("`{}`", path.display()))?;
    is_inside(path)
}

/// Enters it.
pub(crate) fn enter(path: &Path) -> Result<(), Fault> {
    chdir(path).about(|| format!("`{}`", path.display()))?;
    is_inside(path)
}

/// A magic link of procfs may lead to a folder that this process has open and that is not below
/// the root (CVE-2024-21626). Such a folder has no path: getcwd(3) answers ENOENT.
fn is_inside(path: &Path) -> Result<(), Fault> {
    getcwd().map(drop).about(|| format!("`{}` is outside the container", path.display()))
}
