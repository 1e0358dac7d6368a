//! Folders that are the user's alone. On Windows a profile's folders already are (their access
//! list is inherited), so there is nothing to set or check.

use std::path::Path;

use crate::StateError;

/// Makes a folder (and those above it) with mode 0700. One that exists is taken when it belongs
/// to this user and others may not write to it.
///
/// # Errors
/// When it cannot be made, is not a folder, or is not this user's.
pub fn create_private_folder(path: &Path) -> Result<(), StateError> {
    private_builder().recursive(true).create(path).map_err(StateError::io("create", path))?;
    let metadata = std::fs::metadata(path).map_err(StateError::io("examine", path))?;
    check_owner(path, &metadata, 0o022)
}

/// Like [`create_private_folder`], for a place where anyone can make names (`/tmp`): the folder
/// itself, not a link to one, and nobody else may even look.
pub(crate) fn create_in_public_place(path: &Path) -> Result<(), StateError> {
    match private_builder().create(path) {
        Err(error) if error.kind() != std::io::ErrorKind::AlreadyExists => {
            return Err(StateError::io("create", path)(error));
        }
        _ => {}
    }
    let metadata = std::fs::symlink_metadata(path).map_err(StateError::io("examine", path))?;
    check_owner(path, &metadata, 0o077)
}

#[cfg(unix)]
fn private_builder() -> std::fs::DirBuilder {
    let mut builder = std::fs::DirBuilder::new();
    std::os::unix::fs::DirBuilderExt::mode(&mut builder, 0o700);
    builder
}

#[cfg(not(unix))]
fn private_builder() -> std::fs::DirBuilder {
    std::fs::DirBuilder::new()
}

#[cfg(unix)]
fn check_owner(
    path: &Path,
    metadata: &std::fs::Metadata,
    forbidden_mode: u32,
) -> Result<(), StateError> {
    use std::os::unix::fs::MetadataExt as _;

    let refuse = |why: String| Err(StateError::UnsafeFolder { path: path.to_owned(), why });
    let us = rustix::process::geteuid().as_raw();
    if !metadata.is_dir() {
        refuse("it is not a folder".into())
    } else if metadata.uid() != us {
        refuse(format!("it belongs to user {}, not to user {us}", metadata.uid()))
    } else if metadata.mode() & forbidden_mode != 0 {
        refuse(format!("other users may get into it (mode {:o})", metadata.mode() & 0o7777))
    } else {
        Ok(())
    }
}

#[cfg(not(unix))]
fn check_owner(
    path: &Path,
    metadata: &std::fs::Metadata,
    _forbidden_mode: u32,
) -> Result<(), StateError> {
    if metadata.is_dir() {
        return Ok(());
    }
    Err(StateError::UnsafeFolder { path: path.to_owned(), why: "it is not a folder".into() })
}

#[cfg(all(test, unix))]
mod tests {
    use std::os::unix::fs::PermissionsExt as _;

    use super::*;

    #[test]
    fn new_folders_are_the_users_alone() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a/b");
        create_private_folder(&inner).unwrap();
        for made in [&inner, &folder.path().join("a")] {
            assert_eq!(std::fs::metadata(made).unwrap().permissions().mode() & 0o777, 0o700);
        }
        create_private_folder(&inner).unwrap();
    }

    #[test]
    fn a_folder_that_others_write_to_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        let inner = folder.path().join("a");
        std::fs::create_dir(&inner).unwrap();
        std::fs::set_permissions(&inner, std::fs::Permissions::from_mode(0o777)).unwrap();
        let error = create_private_folder(&inner).unwrap_err();
        assert!(matches!(error, StateError::UnsafeFolder { .. }), "{error}");
    }

    #[test]
    fn a_planted_link_is_refused_in_a_public_place() {
        let folder = tempfile::tempdir().unwrap();
        let target = folder.path().join("target");
        create_private_folder(&target).unwrap();
        let link = folder.path().join("link");
        std::os::unix::fs::symlink(&target, &link).unwrap();
        assert!(create_in_public_place(&link).is_err());
        assert!(create_in_public_place(&folder.path().join("own")).is_ok());
    }
}
