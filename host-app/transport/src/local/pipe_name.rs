//! Which named pipe belongs to which socket path.

use std::path::Path;

use sha2::{Digest as _, Sha256};

/// `\\.\pipe\linkspan-<first 16 bytes of the path's SHA-256, in hex>`. Pipe names are flat and
/// at most 256 characters, so the path itself does not fit. Windows paths do not distinguish case.
/// What is a pipe's name already stays as it is.
pub(super) fn pipe_name(path: &Path) -> String {
    if let Some(name) = path.to_str().filter(|path| path.starts_with(r"\\.\pipe\")) {
        return name.to_owned();
    }
    let path = path.to_string_lossy().to_lowercase().replace('/', "\\");
    let digest = Sha256::digest(path.as_bytes());
    let hex: String = digest.iter().take(16).map(|byte| format!("{byte:02x}")).collect();
    format!(r"\\.\pipe\linkspan-{hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_has_one_pipe_whatever_its_case_and_slashes() {
        let name = pipe_name(Path::new(r"C:\Users\Ann\linkspan\api.sock"));
        assert_eq!(name, pipe_name(Path::new("c:/users/ann/Linkspan/api.sock")));
        assert_ne!(name, pipe_name(Path::new(r"C:\Users\Bob\linkspan\api.sock")));
        assert_eq!(pipe_name(Path::new(&name)), name, "a pipe's name is its own");
        assert!(name.starts_with(r"\\.\pipe\linkspan-") && name.len() < 256, "{name}");
    }
}
