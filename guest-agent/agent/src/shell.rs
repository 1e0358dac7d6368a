//! A process in the VM itself: the machine's root shell.

use std::{
    ffi::CString,
    fs::File,
    os::fd::{AsFd as _, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

use linkspan_containers::launch::{Launched, Stdio, Target};
use linkspan_proto::error::{ErrorCode, Failure};
use linkspan_sys::{
    Errno,
    spawn::{CloneFlags, Program, SpawnRequest, spawn_exec},
    tty,
};
use nix::{fcntl::OFlag, pty, unistd::pipe2};

use crate::{
    boot::CGROUP_ROOT,
    reaper::Reaper,
    rpc::{Shell, ShellSpec},
};

/// Where the shell's processes are accounted: not the agent's own cgroup, so that a heavy command
/// does not count as the agent's.
const CGROUP: &str = "linkspan/shell";
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The machine's only program for people.
const BUSYBOX: &str = "/bin/busybox";
/// Its applet that makes a session with a controlling terminal and executes the rest.
const SETSID: &[&str] = &[BUSYBOX, "setsid", "-c"];

/// Starts shells; the reaper sees them end.
pub struct MachineShell {
    /// Waits for them.
    pub reaper: Reaper,
}

fn failed(what: &str) -> impl Fn(Errno) -> Failure {
    let what = what.to_owned();
    move |errno| Failure::new(ErrorCode::Internal, format!("cannot {what}: {}", errno.desc()))
}

impl Shell for MachineShell {
    fn spawn(&self, spec: &ShellSpec) -> Result<Launched, Failure> {
        let mut args: Vec<String> = spec.args.clone();
        let program = match find(&spec.args[0]) {
            Some(program) => program,
            // An applet has no file of its own here. Busybox answers 127 to one that it lacks.
            None => {
                args.insert(0, BUSYBOX.into());
                BUSYBOX.into()
            }
        };
        args[0] = program.display().to_string();
        let (path, args) = match spec.terminal {
            Some(_) => {
                let prefix = SETSID.iter().map(|&word| word.to_owned());
                (PathBuf::from(SETSID[0]), prefix.chain(args).collect())
            }
            None => (program, args),
        };
        let ends = Ends::open(spec.terminal)?;
        let cgroup = Path::new(CGROUP_ROOT).join(CGROUP);
        std::fs::create_dir_all(&cgroup).map_err(|error| {
            Failure::new(
                ErrorCode::Internal,
                format!("cannot create `{}`: {error}", cgroup.display()),
            )
        })?;
        let folder = File::open(&cgroup).map_err(|error| {
            Failure::new(
                ErrorCode::Internal,
                format!("cannot open `{}`: {error}", cgroup.display()),
            )
        })?;
        let env = ["HOME=/".into(), "TERM=xterm".into(), format!("PATH={PATH}")]
            .into_iter()
            .chain(spec.env.iter().cloned());
        let path_text = path.display().to_string();
        let c_path = c_string(path_text)?;
        let request = SpawnRequest {
            program: Program::Path(&c_path),
            arguments: args.into_iter().map(c_string).collect::<Result<_, _>>()?,
            environment: env.map(c_string).collect::<Result<_, _>>()?,
            fds: ends.theirs.iter().zip(0..).map(|(fd, number)| (fd.as_fd(), number)).collect(),
            namespaces: CloneFlags::empty(),
            cgroup: Some(folder.as_fd()),
        };
        let (pid, spawned, exit) = self
            .reaper
            .spawn(|| spawn_exec(request).map(|spawned| (spawned.pid, spawned)))
            .map_err(|error| {
                Failure::new(
                    ErrorCode::CommandNotExecutable,
                    format!("cannot start `{}`: {error}", path.display()),
                )
            })?;
        Ok(Launched {
            target: Target {
                pid: pid.as_raw().unsigned_abs(),
                pidfd: Some(Arc::new(spawned.pidfd)),
                cgroup: CGROUP.into(),
            },
            stdio: ends.ours,
            exit,
            trace: Vec::new(),
        })
    }
}

/// Both ends of a new process's streams.
struct Ends {
    ours: Stdio,
    theirs: [OwnedFd; 3],
}

impl Ends {
    fn open(terminal: Option<(u16, u16)>) -> Result<Self, Failure> {
        let failed = failed("connect the shell");
        if let Some((rows, columns)) = terminal {
            let pair = pty::openpty(None, None).map_err(&failed)?;
            tty::set_window_size(&pair.master, rows, columns).map_err(&failed)?;
            let copy = || pair.slave.try_clone().map_err(|_| failed(Errno::EMFILE));
            let theirs = [copy()?, copy()?, copy()?];
            // openpty(3) knows no CLOEXEC, and the master must not reach other children.
            nix::fcntl::fcntl(
                &pair.master,
                nix::fcntl::FcntlArg::F_SETFD(nix::fcntl::FdFlag::FD_CLOEXEC),
            )
            .map_err(&failed)?;
            return Ok(Self { ours: Stdio::Terminal { master: pair.master }, theirs });
        }
        let pipe = || pipe2(OFlag::O_CLOEXEC).map_err(&failed);
        let ((in_read, in_write), (out_read, out_write), (err_read, err_write)) =
            (pipe()?, pipe()?, pipe()?);
        Ok(Self {
            ours: Stdio::Pipes {
                stdin: Some(in_write),
                stdout: Some(out_read),
                stderr: Some(err_read),
            },
            theirs: [in_read, out_write, err_write],
        })
    }
}

fn c_string(text: String) -> Result<CString, Failure> {
    CString::new(text).map_err(|error| {
        Failure::new(ErrorCode::InvalidArgument, format!("an argument holds a zero byte: {error}"))
    })
}

/// Looks a program up as a shell would.
fn find(name: &str) -> Option<PathBuf> {
    if name.contains('/') {
        return Some(name.into());
    }
    PATH.split(':').map(|folder| Path::new(folder).join(name)).find(|path| path.exists())
}
