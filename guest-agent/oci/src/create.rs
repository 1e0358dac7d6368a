//! `create`: everything but the program.

use std::fs::File;
use std::os::fd::{AsFd as _, OwnedFd};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};

use linkspan_runtime::bundle::HookStates;
use linkspan_runtime::cgroup::Hierarchy;
use linkspan_runtime::launch::{
    Creation, DirectSpawner, InitProgram, Joined, Launcher, Started, Stdio,
};
use linkspan_sys::fdpass;
use linkspan_sys::process::{close_on_exec_from, pidfd_send_signal, take_inherited};
use nix::fcntl::{FcntlArg, fcntl};
use oci_spec::runtime::ContainerState as Status;

use crate::args::Create;
use crate::config::{self, Config, JoinedPaths};
use crate::destroy::{destroy, run_poststop};
use crate::error::Error;
use crate::log::Log;
use crate::state::{Folder, Record, Store, began, check_id, replace};

/// The first number that is out of the way of those that have a meaning.
const PRESERVED_FROM: i32 = 64;
/// So that they all lie below [`PRESERVED_FROM`].
const MOST_PRESERVED: u32 = 60;

/// The mount of cgroup2.
pub(crate) fn cgroup_mount() -> Result<PathBuf, Error> {
    use nix::sys::statfs::{CGROUP2_SUPER_MAGIC, statfs};
    let usual = Path::new("/sys/fs/cgroup");
    if statfs(usual).is_ok_and(|status| status.filesystem_type() == CGROUP2_SUPER_MAGIC) {
        return Ok(usual.to_owned());
    }
    // Beside the hierarchies of version 1, say.
    let mounts = std::fs::read_to_string("/proc/self/mounts")
        .map_err(Error::file("read", "/proc/self/mounts"))?;
    let mount = mounts.lines().find_map(|line| {
        let mut fields = line.split(' ');
        let place = fields.nth(1)?;
        (fields.next()? == "cgroup2").then(|| PathBuf::from(place))
    });
    mount.ok_or(Error::NoCgroup)
}

/// Creates a container; its process waits for `start`.
pub(crate) fn create(store: &Store, args: &Create, log: &Log) -> Result<Started, Error> {
    // First of all: what the caller has left open is not ours to pass on, and its numbers have a
    // meaning for init; and whatever is opened here takes the lowest free number.
    close_on_exec_from(3).map_err(Error::kernel("mark descriptors"))?;
    let preserved = preserve(args.preserve_fds)?;
    // It is in paths from here on.
    check_id(&args.id)?;
    let folder = args.bundle.canonicalize().map_err(Error::file("open", &args.bundle))?;
    let cgroups = cgroup_mount()?;
    let mut config = config::load(&folder, &args.id, &cgroups)?;
    config.bundle.preserved = preserved;
    for warning in &config.warnings {
        log.warning(warning);
    }
    match (config.plan.process.terminal, &args.console_socket) {
        (Some(_), None) => {
            let reason = "`process.terminal` needs it".to_owned();
            return Err(Error::Option { option: "--console-socket", reason });
        }
        (None, Some(_)) => {
            let reason = "`process.terminal` is not set".to_owned();
            return Err(Error::Option { option: "--console-socket", reason });
        }
        _ => {}
    }
    let hierarchy = Hierarchy::new(&cgroups);
    let mut record = Record::new(args.id.clone(), folder);
    record.made_cgroups = missing(&cgroups, &config.plan.cgroup);
    let cgroup = hierarchy.open(&config.plan.cgroup);
    if cgroup.path().exists() && cgroup.populated()? {
        return Err(Error::CgroupInUse(cgroup.path().to_owned()));
    }
    record.cgroup.clone_from(&config.plan.cgroup);
    record.oci_version = std::mem::take(&mut config.oci_version);
    record.annotations = std::mem::take(&mut config.annotations);
    record.poststart = std::mem::take(&mut config.hooks.poststart);
    record.poststop = std::mem::take(&mut config.hooks.poststop);
    let place = store.reserve(&args.id)?;
    let mut hooked = false;
    match carry_out(args, &config, hierarchy, &place, &mut record, &mut hooked) {
        Ok(started) => Ok(started),
        Err(error) => {
            // As if it had never been tried; but hooks that have run may have left something.
            if let Err(error) = destroy(&record, &place) {
                log.warning(&error.to_string());
            }
            if hooked {
                run_poststop(&record, log);
            }
            Err(error)
        }
    }
}

fn carry_out(
    args: &Create,
    config: &Config,
    hierarchy: Hierarchy,
    place: &Folder,
    record: &mut Record,
    hooked: &mut bool,
) -> Result<Started, Error> {
    let init = InitProgram::in_place(Path::new("/proc/self/exe"))
        .map_err(Error::kernel("open the own program"))?;
    let launcher = Launcher::new(init, hierarchy, DirectSpawner::default())
        .map_err(Error::file("open", "/dev/null"))?;
    let listener = place.listen()?;
    let terminal = config.plan.process.terminal.is_some();
    let creation = Creation {
        plan: &config.plan,
        bundle: &config.bundle,
        cgroup_files: &config.cgroup_files,
        device_verdicts: &config.device_verdicts,
        joined: open_all(&config.joined)?,
        stdio: if terminal { Stdio::default() } else { own_streams()? },
        start: listener.as_fd(),
    };
    let mut run_hooks = |pid: nix::unistd::Pid| {
        *hooked = true;
        record.pid = pid.as_raw();
        let state = |status| record.state_json(status).map_err(|error| error.to_string());
        let creating = state(Status::Creating)?;
        for hook in &config.hooks.creating {
            hook.run(&creating).map_err(|error| error.to_string())?;
        }
        Ok(HookStates { creating, created: state(Status::Created)? })
    };
    let started = launcher.create(creation, &mut run_hooks)?;
    record.pid = started.pid.as_raw();
    let finished = finish(args, &started, place, record);
    if finished.is_err() {
        // ESRCH: it has ended by itself.
        let _ = pidfd_send_signal(&started.pidfd, nix::libc::SIGKILL);
    }
    finished.map(|()| started)
}

fn finish(
    args: &Create,
    started: &Started,
    place: &Folder,
    record: &mut Record,
) -> Result<(), Error> {
    if let (Some(socket), Some(master)) = (&args.console_socket, &started.pty_master) {
        let stream = UnixStream::connect(socket).map_err(Error::file("connect to", socket))?;
        fdpass::send(&stream, b"/dev/ptmx", Some(master.as_fd()))
            .map_err(Error::kernel("send the terminal"))?;
    }
    // It has ended already: then no process has the number and this time.
    record.began = began(record.pid).unwrap_or(0);
    if let Some(file) = &args.pid_file {
        replace(file, record.pid.to_string().as_bytes())?;
    }
    place.write(record)
}

/// Copies of descriptors 3 and up that init passes on to the program.
fn preserve(count: u32) -> Result<Vec<i32>, Error> {
    let refuse = |reason: String| Error::Option { option: "--preserve-fds", reason };
    if count > MOST_PRESERVED {
        return Err(refuse(format!("{count} is more than {MOST_PRESERVED}")));
    }
    (3..)
        .take(count as usize)
        .map(|number| {
            let fd = take_inherited(number)
                .ok_or_else(|| refuse(format!("descriptor {number} is not open")))?;
            fcntl(&fd, FcntlArg::F_DUPFD(PRESERVED_FROM))
                .map_err(Error::kernel("keep a descriptor"))
        })
        .collect()
}

fn own_streams() -> Result<Stdio, Error> {
    let copy = |fd: std::os::fd::BorrowedFd<'_>| {
        fd.try_clone_to_owned().map(Some).map_err(Error::file("copy", "a standard stream"))
    };
    Ok(Stdio {
        stdin: copy(std::io::stdin().as_fd())?,
        stdout: copy(std::io::stdout().as_fd())?,
        stderr: copy(std::io::stderr().as_fd())?,
    })
}

fn open_all(paths: &JoinedPaths) -> Result<Joined, Error> {
    let open = |path: &Option<PathBuf>| -> Result<Option<OwnedFd>, Error> {
        path.as_ref()
            .map(|path| File::open(path).map(OwnedFd::from).map_err(Error::file("open", path)))
            .transpose()
    };
    Ok(Joined {
        network: open(&paths.network)?,
        pid: open(&paths.pid)?,
        ipc: open(&paths.ipc)?,
        uts: open(&paths.uts)?,
        cgroup: open(&paths.cgroup)?,
        user: open(&paths.user)?,
        time: open(&paths.time)?,
    })
}

/// The cgroups that have yet to be made, the topmost first.
fn missing(mount: &Path, cgroup: &Path) -> Vec<PathBuf> {
    let mut missing: Vec<PathBuf> = cgroup
        .ancestors()
        .take_while(|part| !part.as_os_str().is_empty() && !mount.join(part).exists())
        .map(Path::to_owned)
        .collect();
    missing.reverse();
    missing
}
