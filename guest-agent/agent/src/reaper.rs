//! The one place that waits for children.
//!
//! PID 1 inherits every orphan of the VM, so `waitpid(-1)` is the only way to reap them all; two
//! waiters would steal each other's children. A process that somebody wants to know about is
//! spawned and registered under one lock, so its end cannot be missed. An end that nobody
//! registered for is kept for a while: a process that `linkspan-init` forked as our child may end
//! before its number has reached us.
//!
//! A panic of this thread ends the agent, and so the machine, which the host starts again: without
//! it no container would ever end. (Panics of tasks unwind, and the other tasks go on.)

use std::{
    collections::{HashMap, VecDeque},
    io,
    panic::{AssertUnwindSafe, catch_unwind},
    process::abort,
    sync::Arc,
    thread,
    time::Duration,
};

use linkspan_containers::launch::ExitCode;
use linkspan_sys::{Errno, process};
use nix::unistd::Pid;
use parking_lot::{Condvar, Mutex};
use tokio::sync::oneshot;

/// Ends that nobody has asked for yet. More than can be on their way at once.
const KEPT: usize = 1024;

/// Waits for all children of this process. Cheap to clone.
#[derive(Debug, Clone)]
pub struct Reaper(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    table: Mutex<Table>,
    /// Rung when there may be children again.
    children: Condvar,
}

#[derive(Debug, Default)]
struct Table {
    waiting: HashMap<i32, oneshot::Sender<ExitCode>>,
    unclaimed: VecDeque<(i32, i32)>,
    /// There may be children that the reaper has not looked for yet.
    rung: bool,
}

impl Table {
    fn ended(&mut self, pid: i32, code: i32) {
        match self.waiting.remove(&pid) {
            // Whoever waited may have lost interest.
            Some(waiter) => drop(waiter.send(ExitCode(code))),
            None => {
                if self.unclaimed.len() == KEPT {
                    self.unclaimed.pop_front();
                }
                self.unclaimed.push_back((pid, code));
            }
        }
    }

    fn register(&mut self, pid: i32) -> oneshot::Receiver<ExitCode> {
        let (sender, receiver) = oneshot::channel();
        self.waiting.insert(pid, sender);
        receiver
    }
}

impl Reaper {
    /// Starts the reaping thread. Once per process.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start() -> io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let reaper = Self(Arc::clone(&shared));
        thread::Builder::new().name("reaper".into()).spawn(move || or_abort(|| shared.reap()))?;
        Ok(reaper)
    }

    /// Spawns a process and registers for its end, so that the end cannot come in between.
    ///
    /// # Errors
    /// What `spawn` answers.
    pub fn spawn<T, E>(
        &self,
        spawn: impl FnOnce() -> Result<(Pid, T), E>,
    ) -> Result<(Pid, T, oneshot::Receiver<ExitCode>), E> {
        let mut table = self.0.table.lock();
        let (pid, value) = spawn()?;
        // An older process's end under the same number is not this one's.
        table.unclaimed.retain(|(ended, _)| *ended != pid.as_raw());
        let exit = table.register(pid.as_raw());
        self.0.ring(&mut table);
        Ok((pid, value, exit))
    }

    /// Registers for the end of a child that somebody else made (`linkspan-init`, for exec). It
    /// may have ended already.
    #[must_use]
    pub fn adopt(&self, pid: Pid) -> oneshot::Receiver<ExitCode> {
        let mut table = self.0.table.lock();
        let pid = pid.as_raw();
        let ended = table.unclaimed.iter().rposition(|(ended, _)| *ended == pid);
        let receiver = table.register(pid);
        if let Some((_, code)) = ended.and_then(|index| table.unclaimed.remove(index)) {
            table.ended(pid, code);
        }
        self.0.ring(&mut table);
        receiver
    }
}

impl Reaper {
    /// Tells the reaper that there is a child which nobody registered for.
    pub fn expect_orphan(&self) {
        self.0.ring(&mut self.0.table.lock());
    }
}

/// Runs `work`; a panic of it ends the process. The kernel keeps abort(3)'s signal from the first
/// process, but not the fault that follows; the end of the first process is the kernel's panic.
fn or_abort(work: impl FnOnce()) {
    // What a panic left half done is not looked at again.
    if catch_unwind(AssertUnwindSafe(work)).is_err() {
        tracing::error!("nobody waits for processes any more: the machine ends");
        abort();
    }
}

impl Shared {
    /// Wakes the reaper, or keeps it from sleeping.
    fn ring(&self, table: &mut Table) {
        table.rung = true;
        self.children.notify_one();
    }

    fn reap(&self) {
        loop {
            match process::wait_any() {
                Ok((pid, code)) => self.table.lock().ended(pid.as_raw(), code),
                Err(Errno::ECHILD) => {
                    // Without a child there is no orphan that could become one.
                    let mut table = self.table.lock();
                    self.children.wait_while(&mut table, |table| !table.rung);
                    table.rung = false;
                }
                Err(errno) => {
                    tracing::error!(%errno, "waiting for children failed");
                    thread::sleep(Duration::from_secs(1));
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        os::unix::process::ExitStatusExt as _,
        process::{Command, Stdio},
        time::Instant,
    };

    use super::*;

    /// Set in the process that is to end.
    const PANICS: &str = "LINKSPAN_TEST_REAPER_PANICS";

    #[test]
    fn a_panic_of_the_thread_ends_the_process() {
        if std::env::var_os(PANICS).is_some() {
            let thread = thread::spawn(|| or_abort(|| panic!("as the test wants it")));
            // An unwinding thread would end alone, and this process well.
            let _ = thread.join();
            return;
        }
        let mut again = Command::new(std::env::current_exe().expect("this program"));
        again.args(["--exact", "reaper::tests::a_panic_of_the_thread_ends_the_process"]);
        again.env(PANICS, "1").stdout(Stdio::null()).stderr(Stdio::null());
        let status = again.status().expect("it starts");
        assert_eq!(status.signal(), Some(nix::libc::SIGABRT), "{status}");
    }

    /// Set in the process that is to have children of its own only.
    const WAITS: &str = "LINKSPAN_TEST_REAPER_WAITS";

    fn spawn(reaper: &Reaper, script: &str) -> oneshot::Receiver<ExitCode> {
        let spawn = || {
            let child = Command::new("sh").args(["-c", script]).spawn()?;
            Ok::<_, io::Error>((Pid::from_raw(child.id().cast_signed()), ()))
        };
        reaper.spawn(spawn).expect("it starts").2
    }

    /// Runs `work` in a process that has no other children: this one, started again for `test`.
    fn alone(test: &str, work: impl FnOnce(&Reaper)) {
        if std::env::var_os(WAITS).is_some() {
            return work(&Reaper::start().expect("a thread"));
        }
        let mut again = Command::new(std::env::current_exe().expect("this program"));
        again.args(["--exact", &format!("reaper::tests::{test}")]);
        again.env(WAITS, "1").stdout(Stdio::null());
        let mut running = again.spawn().expect("it starts");
        let deadline = Instant::now() + Duration::from_secs(60);
        while running.try_wait().expect("a child").is_none() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(20));
        }
        // It has ended, or never will.
        let _ = running.kill();
        assert!(running.wait().expect("a child").success());
    }

    #[test]
    fn an_end_by_a_real_time_signal_is_told() {
        alone("an_end_by_a_real_time_signal_is_told", |reaper| {
            let exit = spawn(reaper, "kill -37 $$");
            assert_eq!(exit.blocking_recv(), Ok(ExitCode(128 + 37)));
        });
    }

    #[test]
    fn one_that_had_no_children_hears_of_each_that_comes() {
        alone("one_that_had_no_children_hears_of_each_that_comes", |reaper| {
            for round in 0..100 {
                let exit = spawn(reaper, &format!("exit {round}"));
                assert_eq!(exit.blocking_recv(), Ok(ExitCode(round)));
            }
        });
    }

    /// How often the reaper's thread has slept.
    fn sleeps() -> Option<String> {
        let tasks = std::fs::read_dir("/proc/self/task").expect("proc is mounted");
        let paths = tasks.map(|task| task.expect("a thread").path());
        let read = |path: std::path::PathBuf| std::fs::read_to_string(path).unwrap_or_default();
        let reaper = paths.into_iter().find(|path| read(path.join("comm")).trim() == "reaper")?;
        let status = read(reaper.join("status"));
        status.lines().find(|line| line.starts_with("voluntary_ctxt_switches")).map(str::to_owned)
    }

    #[test]
    fn one_without_children_sleeps_until_it_has_one() {
        alone("one_without_children_sleeps_until_it_has_one", |reaper| {
            // It may have to look once more.
            for _ in 0..10 {
                let before = sleeps();
                thread::sleep(Duration::from_millis(500));
                if before.is_some() && sleeps() == before {
                    let exit = spawn(reaper, "exit 7");
                    return assert_eq!(exit.blocking_recv(), Ok(ExitCode(7)));
                }
            }
            panic!("it does not come to rest");
        });
    }

    #[test]
    fn an_end_before_the_registration_is_not_lost() {
        let mut table = Table::default();
        table.ended(7, 3);
        let reaper =
            Reaper(Arc::new(Shared { table: Mutex::new(table), children: Condvar::new() }));
        assert_eq!(reaper.adopt(Pid::from_raw(7)).try_recv(), Ok(ExitCode(3)));
        assert!(reaper.adopt(Pid::from_raw(7)).try_recv().is_err(), "an end is given once");
    }

    #[test]
    fn an_older_end_of_the_same_number_is_not_taken_for_the_new_one() {
        let mut table = Table::default();
        table.ended(7, 3);
        let reaper =
            Reaper(Arc::new(Shared { table: Mutex::new(table), children: Condvar::new() }));
        let (_, (), mut exit) =
            reaper.spawn(|| Ok::<_, ()>((Pid::from_raw(7), ()))).expect("it succeeds");
        assert!(exit.try_recv().is_err());
        reaper.0.table.lock().ended(7, 0);
        assert_eq!(exit.try_recv(), Ok(ExitCode(0)));
    }

    #[test]
    fn unclaimed_ends_do_not_grow_without_bound() {
        let mut table = Table::default();
        for pid in 0..3 * i32::try_from(KEPT).expect("small") {
            table.ended(pid, 0);
        }
        assert_eq!(table.unclaimed.len(), KEPT);
    }
}
