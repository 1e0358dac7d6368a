//! Where sockets lie. A unix socket's address holds about a hundred bytes, so a deep home folder
//! cannot hold them; then a short folder elsewhere does.
//!
//! The choice must be the same in every process of a home, also where one has XDG_RUNTIME_DIR
//! and another has not. So the first to choose writes it down in the home (`socket-folder`).

use std::path::{Path, PathBuf};

use sha2::{Digest as _, Sha256};

use crate::{StateError, create_private_folder, folder::create_in_public_place};

/// The longest path that fits into `sockaddr_un.sun_path` with its final zero byte.
pub const SOCKET_PATH_LIMIT: usize = if cfg!(target_os = "linux") { 107 } else { 103 };

/// `machines/` + the longest machine name + `/run/` + the longest file that a driver puts there
/// (`vsock.sock_4294967295`).
const LONGEST_BELOW_HOME: usize = 1 + 9 + 31 + 5 + 21;

/// The file in the home folder that has the choice.
const RECORD: &str = "socket-folder";

/// First hexadecimal digits of the hash of the home's path: tells homes of one user apart.
pub(crate) fn home_hash(home: &Path) -> String {
    hex::encode(&Sha256::digest(home.as_os_str().as_encoded_bytes())[..6])
}

/// `None`: sockets lie in the home folder.
pub(crate) fn choose(home: &Path) -> Result<Option<PathBuf>, StateError> {
    if cfg!(windows) || home.as_os_str().len() + LONGEST_BELOW_HOME <= SOCKET_PATH_LIMIT {
        return Ok(None);
    }
    let folder = match recorded(home) {
        Some(folder) => folder,
        None => {
            let folder = candidate(home);
            create_in_public_place(&folder)?;
            record(home, &folder)?;
            // Another process may have been first; what is written down counts.
            recorded(home).unwrap_or(folder)
        }
    };
    let length = folder.as_os_str().len();
    if length + LONGEST_BELOW_HOME > SOCKET_PATH_LIMIT {
        let limit = SOCKET_PATH_LIMIT - LONGEST_BELOW_HOME;
        return Err(StateError::SocketPathTooLong { path: folder, length, limit });
    }
    Ok(Some(folder))
}

/// The folder that was chosen before, when it can still be used (`/run/user` and `/tmp` are
/// emptied at boot).
fn recorded(home: &Path) -> Option<PathBuf> {
    let text = std::fs::read_to_string(home.join(RECORD)).ok()?;
    let folder = PathBuf::from(text.trim_end_matches('\n'));
    let ours = folder.file_name()?.to_string_lossy().ends_with(&home_hash(home));
    (ours && folder.is_absolute() && folder.is_dir() && create_in_public_place(&folder).is_ok())
        .then_some(folder)
}

/// Whole or not at all, as every file of ours; but plain text, since it is one path.
fn record(home: &Path, folder: &Path) -> Result<(), StateError> {
    use std::io::Write as _;

    create_private_folder(home)?;
    let path = home.join(RECORD);
    let mut file = tempfile::NamedTempFile::new_in(home).map_err(StateError::io("write", &path))?;
    writeln!(file, "{}", folder.display())
        .and_then(|()| file.as_file().sync_all())
        .map_err(StateError::io("write", &path))?;
    file.persist(&path).map_err(|error| StateError::io("write", &path)(error.error))?;
    Ok(())
}

#[cfg(unix)]
fn candidate(home: &Path) -> PathBuf {
    let hash = home_hash(home);
    let longest = SOCKET_PATH_LIMIT - LONGEST_BELOW_HOME;
    let runtime = std::env::var_os("XDG_RUNTIME_DIR")
        .map(PathBuf::from)
        .filter(|folder| folder.is_absolute() && folder.is_dir())
        .map(|folder| folder.join(format!("linkspan-{hash}")))
        .filter(|folder| folder.as_os_str().len() <= longest);
    let user = rustix::process::geteuid().as_raw();
    runtime.unwrap_or_else(|| PathBuf::from(format!("/tmp/linkspan-{user}-{hash}")))
}

#[cfg(not(unix))]
fn candidate(home: &Path) -> PathBuf {
    home.to_owned()
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_short_home_holds_its_own_sockets() {
        let home = tempfile::Builder::new().prefix("ls").tempdir_in("/tmp").unwrap();
        assert_eq!(choose(home.path()).unwrap(), None);
    }

    #[test]
    fn a_deep_home_gets_one_short_private_folder() {
        let base = tempfile::tempdir().unwrap();
        let home = base.path().join("deep".repeat(30));
        create_private_folder(&home).unwrap();
        let folder = choose(&home).unwrap().expect("the home is too deep");
        assert!(folder.as_os_str().len() + LONGEST_BELOW_HOME <= SOCKET_PATH_LIMIT);
        assert_eq!(choose(&home).unwrap().as_ref(), Some(&folder), "the choice stays");
        let other = base.path().join("peed".repeat(30));
        create_private_folder(&other).unwrap();
        let elsewhere = choose(&other).unwrap().unwrap();
        assert_ne!(elsewhere, folder, "two homes never share");
        for made in [folder, elsewhere] {
            std::fs::remove_dir(made).unwrap();
        }
    }

    #[test]
    fn a_recorded_folder_that_is_gone_is_chosen_anew() {
        let base = tempfile::tempdir().unwrap();
        let home = base.path().join("gone".repeat(30));
        create_private_folder(&home).unwrap();
        let lost = base.path().join(format!("linkspan-{}", home_hash(&home)));
        record(&home, &lost).unwrap();
        let folder = choose(&home).unwrap().unwrap();
        assert_ne!(folder, lost);
        std::fs::remove_dir(folder).unwrap();
    }
}
