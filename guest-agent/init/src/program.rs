//! Finds the program in the container's PATH and executes it, or says why not in the words that
//! people know from Docker (and dockerd from Go's `os/exec`).

use std::ffi::CString;
use std::path::{Path, PathBuf};

use linkspan_runtime::launch::describe;
use linkspan_runtime::plan::Process;
use linkspan_sys::Errno;
use linkspan_sys::process::{CStrArray, exec};
use nix::unistd::{AccessFlags, access};

use crate::report::Fault;

/// Where programs are when the environment has no PATH.
const DEFAULT_PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Executes; returns only when that fails.
///
/// Every candidate is simply tried, as execvp(3) does: asking first would cost a system call for
/// each, and could be answered differently a moment later. Only after a failure is it found out
/// what there was.
pub(crate) fn execute(process: &Process, arguments: &CStrArray, environment: &CStrArray) -> Fault {
    let Some(name) = process.args.first() else {
        return fault(Errno::EINVAL, "exec: no program was given".to_owned());
    };
    if name.contains('/') {
        return match try_one(Path::new(name), arguments, environment) {
            Ok(errno) => explain_path(name, errno),
            Err(fault) => fault,
        };
    }
    let path = process.env.iter().find_map(|entry| entry.strip_prefix("PATH="));
    let mut refused = Vec::new();
    // An empty entry would mean the working directory; Go refuses that as well.
    for folder in path.unwrap_or(DEFAULT_PATH).split(':').filter(|folder| !folder.is_empty()) {
        let candidate = Path::new(folder).join(name);
        match try_one(&candidate, arguments, environment) {
            Ok(errno @ (Errno::ENOENT | Errno::ENOTDIR | Errno::EACCES | Errno::EPERM)) => {
                refused.push((candidate, errno));
            }
            Ok(errno) => return found_but(&candidate, errno),
            Err(fault) => return fault,
        }
    }
    explain_search(name, &refused)
}

fn try_one(path: &Path, arguments: &CStrArray, environment: &CStrArray) -> Result<Errno, Fault> {
    let c_path = CString::new(path.as_os_str().as_encoded_bytes())
        .map_err(|_| fault(Errno::EINVAL, format!("exec: {path:?} has a zero byte in it")))?;
    Ok(exec(&c_path, arguments, environment))
}

/// Why a program named by its path was not executed.
fn explain_path(name: &str, errno: Errno) -> Fault {
    match std::fs::metadata(name) {
        Ok(metadata) if metadata.is_dir() => {
            fault(Errno::EISDIR, format!("exec: \"{name}\": is a directory"))
        }
        Ok(_) if access(name, AccessFlags::X_OK).is_err() => {
            fault(Errno::EACCES, format!("exec: \"{name}\": permission denied"))
        }
        Ok(_) => found_but(Path::new(name), errno),
        Err(error) => {
            let errno = error.raw_os_error().map_or(errno, Errno::from_raw);
            fault(errno, format!("exec: \"{name}\": stat {name}: {}", describe(errno as i32)))
        }
    }
}

/// Why a program was not found in PATH, or was found and not executed.
fn explain_search(name: &str, refused: &[(PathBuf, Errno)]) -> Fault {
    let executable = refused.iter().find(|(path, _)| {
        std::fs::metadata(path).is_ok_and(|metadata| metadata.is_file())
            && access(path, AccessFlags::X_OK).is_ok()
    });
    match executable {
        Some((path, errno)) => found_but(path, *errno),
        None => {
            fault(Errno::ENOENT, format!("exec: \"{name}\": executable file not found in $PATH"))
        }
    }
}

/// It exists and may be executed, and yet. ENOENT: what interprets it does not exist.
fn found_but(path: &Path, errno: Errno) -> Fault {
    fault(errno, format!("exec {}: {}", path.display(), describe(errno as i32)))
}

fn fault(errno: Errno, detail: String) -> Fault {
    Fault { errno: errno as i32, detail }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn file(folder: &Path, name: &str, content: &str, mode: u32) -> String {
        let path = folder.join(name);
        std::fs::write(&path, content).unwrap();
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        path.to_str().unwrap().to_owned()
    }

    /// Only ever called with what cannot be executed: it would replace the test otherwise.
    fn why(name: &str, path: &str) -> Fault {
        let process = Process {
            args: vec![name.to_owned()],
            env: vec![format!("PATH={path}")],
            cwd: "/".into(),
            user: linkspan_runtime::plan::UserSpec::default(),
            terminal: None,
            capabilities: linkspan_runtime::plan::CapabilitySets::default(),
            no_new_privileges: false,
            rlimits: Vec::new(),
            seccomp: Vec::new(),
            oom_score_adj: None,
            init: false,
            mapped_root: None,
        };
        let arguments = CStrArray::new(vec![CString::new(name).unwrap()]);
        execute(&process, &arguments, &CStrArray::new(Vec::new()))
    }

    #[test]
    fn what_cannot_be_executed_is_explained_as_docker_does() {
        let folder = tempfile::tempdir().unwrap();
        let here = folder.path().to_str().unwrap();
        let plain = file(folder.path(), "plain", "hello", 0o644);
        let orphan = file(folder.path(), "orphan", "#!/no/such/interpreter\n", 0o755);
        let rubbish = file(folder.path(), "rubbish", "\0\0\0\0", 0o755);
        for (name, errno, message) in [
            (
                "nothing",
                Errno::ENOENT,
                "exec: \"nothing\": executable file not found in $PATH".to_owned(),
            ),
            (
                "plain",
                Errno::ENOENT,
                "exec: \"plain\": executable file not found in $PATH".to_owned(),
            ),
            (&plain, Errno::EACCES, format!("exec: \"{plain}\": permission denied")),
            (here, Errno::EISDIR, format!("exec: \"{here}\": is a directory")),
            (
                "/no/such",
                Errno::ENOENT,
                "exec: \"/no/such\": stat /no/such: no such file or directory".to_owned(),
            ),
            ("orphan", Errno::ENOENT, format!("exec {orphan}: no such file or directory")),
            (&orphan, Errno::ENOENT, format!("exec {orphan}: no such file or directory")),
            ("rubbish", Errno::ENOEXEC, format!("exec {rubbish}: exec format error")),
        ] {
            let fault = why(name, &format!("/no/folder:{here}"));
            assert_eq!((fault.errno, fault.detail), (errno as i32, message), "{name}");
        }
    }
}
