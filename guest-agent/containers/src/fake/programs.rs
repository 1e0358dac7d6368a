//! The scripted programs: `true`, `false`, `echo ARGS`, `err ARGS` (to standard error), `cat`,
//! `sleep SECONDS`, `sh -c "exit N"`, `bytes N` (a fixed pattern), `env`, `pwd`, `hostname`,
//! `size` (the terminal's, after each line of input), `sigwait` (prints `ready`, exits with the
//! number of the signal that comes), `stubborn` (prints `ready`, only SIGKILL ends it), `oom`,
//! `linger` (ends and leaves its output open in the background for a minute), `chatter` (ends and
//! leaves a process in the background that writes all the time).

use std::{
    fs::File,
    io::{self, Read as _, Write as _},
    os::fd::AsFd as _,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use nix::{
    fcntl::{FcntlArg, OFlag, fcntl},
    poll::{PollFd, PollFlags, PollTimeout, poll},
};

use crate::error::{LaunchError, LaunchKind};

/// What `bytes` writes, over and over: a length that divides no buffer size.
pub(super) const PATTERN: &[u8] = b"the quick brown fox jumps over 13 lazy dogs.\n";

#[derive(Default)]
pub(super) struct Streams {
    pub(super) stdin: Option<File>,
    pub(super) stdout: Option<File>,
    pub(super) stderr: Option<File>,
}

/// All that a program has.
pub(super) struct Stage {
    pub(super) args: Vec<String>,
    pub(super) env: Vec<String>,
    pub(super) cwd: PathBuf,
    pub(super) hostname: String,
    pub(super) stdio: Streams,
    /// One byte a signal.
    pub(super) signals: File,
    pub(super) out_of_memory: Box<dyn Fn() + Send>,
    /// Makes a process that writes there until it is killed.
    pub(super) leave_behind: Box<dyn Fn(File) + Send>,
}

/// A signal ended the program.
pub(super) struct Killed(u8);

pub(super) type Program = fn(&mut Stage) -> Result<i32, Killed>;

pub(super) fn find(args: &[String]) -> Result<Program, LaunchError> {
    let name = args.first().map_or("", String::as_str);
    let base = name.rsplit('/').next().unwrap_or_default();
    let program: Program = match base {
        "true" => |_| Ok(0),
        "false" => |_| Ok(1),
        "echo" => |stage| stage.print(&format!("{}\n", stage.args[1..].join(" "))),
        "err" => |stage| {
            let text = format!("{}\n", stage.args[1..].join(" "));
            let stream = stage.stdio.stderr.take();
            stage.write(stream.as_ref(), text.as_bytes()).map(|()| 0)
        },
        "cat" => cat,
        "sleep" => sleep,
        "sh" => shell,
        "bytes" => bytes,
        "env" => |stage| stage.print(&format!("{}\n", stage.env.join("\n"))),
        "pwd" => |stage| stage.print(&format!("{}\n", stage.cwd.display())),
        "hostname" => |stage| stage.print(&format!("{}\n", stage.hostname)),
        "size" => size,
        "sigwait" => |stage| {
            stage.print("ready\n")?;
            match stage.wait(None, PollFlags::empty(), None) {
                Err(Killed(9)) => Err(Killed(9)),
                Err(Killed(signal)) => Ok(i32::from(signal)),
                Ok(_) => Ok(0),
            }
        },
        "stubborn" => |stage| {
            stage.print("ready\n")?;
            loop {
                if let Err(Killed(9)) = stage.wait(None, PollFlags::empty(), None) {
                    return Err(Killed(9));
                }
            }
        },
        "oom-below" => |stage| {
            (stage.out_of_memory)();
            stage.print("ready\n")?;
            stage.wait(None, PollFlags::empty(), None).map(|_| 0)
        },
        "oom" => |stage| {
            (stage.out_of_memory)();
            Err(Killed(9))
        },
        "linger" => |stage| {
            let held = stage.stdio.stdout.as_ref().and_then(|file| file.try_clone().ok());
            thread::spawn(move || {
                thread::sleep(Duration::from_secs(60));
                drop(held);
            });
            Ok(0)
        },
        "chatter" => |stage| {
            if let Some(output) = stage.stdio.stdout.take() {
                (stage.leave_behind)(output);
            }
            Ok(0)
        },
        "noexec" => {
            let message = format!("cannot execute `{name}`: permission denied");
            return Err(LaunchError { kind: LaunchKind::NotExecutable, message });
        }
        _ => {
            let message = format!("`{name}` was not found in the container's PATH");
            return Err(LaunchError { kind: LaunchKind::NotFound, message });
        }
    };
    Ok(program)
}

/// Writes a line every few milliseconds, until a signal comes or nobody reads.
pub(super) fn chat(mut output: &File, signals: &File) {
    let mut fds = [PollFd::new(signals.as_fd(), PollFlags::POLLIN)];
    while poll(&mut fds, 10_u16) == Ok(0) {
        match output.write(b"more\n") {
            Err(error) if error.kind() != io::ErrorKind::WouldBlock => return,
            _ => {}
        }
    }
}

/// Plays it to its end; everything it has open is closed before this returns.
pub(super) fn play(program: Program, mut stage: Stage) -> i32 {
    for file in [&stage.stdio.stdin, &stage.stdio.stdout, &stage.stdio.stderr].into_iter().flatten()
    {
        // So that a signal can end a program that would block in a read or write.
        let _ = fcntl(file, FcntlArg::F_SETFL(OFlag::O_NONBLOCK));
    }
    match program(&mut stage) {
        Ok(code) => code,
        Err(Killed(signal)) => 128 + i32::from(signal),
    }
}

impl Stage {
    fn argument(&self, index: usize) -> &str {
        self.args.get(index).map_or("", String::as_str)
    }

    fn print(&mut self, text: &str) -> Result<i32, Killed> {
        let stream = self.stdio.stdout.take();
        let result = self.write(stream.as_ref(), text.as_bytes());
        self.stdio.stdout = stream;
        result.map(|()| 0)
    }

    /// Waits until `file` is ready (true), the time is over (false) or a signal came.
    fn wait(
        &self,
        file: Option<&File>,
        events: PollFlags,
        until: Option<Instant>,
    ) -> Result<bool, Killed> {
        let mut fds = vec![PollFd::new(self.signals.as_fd(), PollFlags::POLLIN)];
        fds.extend(file.map(|file| PollFd::new(file.as_fd(), events)));
        loop {
            let timeout = match until {
                None => PollTimeout::NONE,
                Some(until) => {
                    let left = until.saturating_duration_since(Instant::now());
                    PollTimeout::try_from(left).unwrap_or(PollTimeout::MAX)
                }
            };
            // EINTR: a signal of the test process.
            let _ = poll(&mut fds, timeout);
            let ready = |fd: &PollFd| fd.any() == Some(true);
            if ready(&fds[0]) {
                let mut signal = [9];
                // End of file: the table has let go of this process.
                let _ = (&self.signals).read(&mut signal);
                return Err(Killed(signal[0]));
            }
            if fds.get(1).is_some_and(ready) {
                return Ok(true);
            }
            if until.is_some_and(|until| Instant::now() >= until) {
                return Ok(false);
            }
        }
    }

    fn write(&self, file: Option<&File>, mut bytes: &[u8]) -> Result<(), Killed> {
        // /dev/null
        let Some(mut file) = file else { return Ok(()) };
        while !bytes.is_empty() {
            self.wait(Some(file), PollFlags::POLLOUT, None)?;
            match file.write(bytes) {
                Ok(count) => bytes = &bytes[count..],
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                // SIGPIPE
                Err(_) => return Err(Killed(13)),
            }
        }
        Ok(())
    }

    fn read(&self, buffer: &mut [u8]) -> Result<usize, Killed> {
        let Some(mut file) = self.stdio.stdin.as_ref() else { return Ok(0) };
        loop {
            self.wait(Some(file), PollFlags::POLLIN, None)?;
            match file.read(buffer) {
                Ok(count) => return Ok(count),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(_) => return Ok(0),
            }
        }
    }
}

fn cat(stage: &mut Stage) -> Result<i32, Killed> {
    let mut buffer = vec![0; 64 << 10];
    loop {
        let count = stage.read(&mut buffer)?;
        if count == 0 {
            return Ok(0);
        }
        stage.write(stage.stdio.stdout.as_ref(), &buffer[..count])?;
    }
}

fn sleep(stage: &mut Stage) -> Result<i32, Killed> {
    let seconds = stage.argument(1).parse().unwrap_or(0.0);
    let until = Instant::now() + Duration::from_secs_f64(seconds);
    stage.wait(None, PollFlags::empty(), Some(until)).map(|_| 0)
}

fn shell(stage: &mut Stage) -> Result<i32, Killed> {
    if stage.argument(1) != "-c" {
        // Interactive enough: it reads until the end of its input.
        return cat(stage);
    }
    let code = stage.argument(2).strip_prefix("exit ").and_then(|code| code.parse().ok());
    Ok(code.unwrap_or(2))
}

fn bytes(stage: &mut Stage) -> Result<i32, Killed> {
    let mut left: usize = stage.argument(1).parse().unwrap_or(0);
    let block: Vec<u8> = PATTERN.iter().copied().cycle().take(PATTERN.len() * 1024).collect();
    while left > 0 {
        let part = &block[..left.min(block.len())];
        stage.write(stage.stdio.stdout.as_ref(), part)?;
        left -= part.len();
    }
    Ok(0)
}

fn size(stage: &mut Stage) -> Result<i32, Killed> {
    let mut buffer = [0; 256];
    while stage.read(&mut buffer)? > 0 {
        let terminal = stage.stdio.stdin.as_ref();
        let size = terminal.and_then(|file| linkspan_sys::tty::window_size(file).ok());
        let text = size.map_or("no terminal\n".into(), |(r, c)| format!("{r} {c}\n"));
        stage.print(&text)?;
    }
    Ok(0)
}
