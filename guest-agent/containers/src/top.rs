//! `top`: the processes of a container, as `ps -ef` shows them.

use jiff::{Timestamp, tz::TimeZone};

use crate::{Containers, Error, container::blocking, state::Action};

/// One process, from /proc (proc_pid_stat(5)).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ProcessInfo {
    /// In the VM's PID namespace, as the next.
    pub pid: u32,
    /// Its parent's.
    pub parent: u32,
    /// Its real user.
    pub uid: u32,
    /// When it began.
    pub started_at: Timestamp,
    /// User and system time, milliseconds.
    pub cpu_ms: u64,
    /// Its terminal as `ps` names it (`pts/0`); empty: none.
    pub terminal: String,
    /// Its arguments joined by spaces; of a kernel thread or a zombie the name in brackets.
    pub command: String,
}

/// What `top` answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Processes {
    /// The columns' names.
    pub titles: Vec<String>,
    /// One a process.
    pub rows: Vec<Vec<String>>,
}

const TITLES: [&str; 8] = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"];

impl Containers {
    /// The processes of a container. `options`: of `ps`; only `-ef`, which is also the default.
    ///
    /// # Errors
    /// When it does not run, or the options are others.
    pub async fn top(&self, who: &str, options: &[String]) -> Result<Processes, Error> {
        if !options.is_empty() && options != ["-ef"] {
            return Err(Error::Unsupported {
                option: format!("top {}", options.join(" ")),
                why: "there is no ps in the machine to pass options to, only its `-ef`".into(),
            });
        }
        let container = self.find(who)?;
        container.permit(Action::Top)?;
        self.shared.tell(&container, "top", []);
        let (launcher, cgroup) = (self.shared.launcher.clone(), container.cgroup());
        let found = blocking(move || launcher.processes(&cgroup)).await;
        let found = found.map_err(|source| Error::Process {
            action: Action::Top.verb(),
            name: container.name(),
            source,
        })?;
        let zone = TimeZone::system();
        let now = Timestamp::now();
        let rows = found.iter().map(|process| row(process, now, &zone)).collect();
        Ok(Processes { titles: TITLES.map(Into::into).into(), rows })
    }
}

fn row(process: &ProcessInfo, now: Timestamp, zone: &TimeZone) -> Vec<String> {
    let lived = process.started_at.duration_until(now).as_millis().max(1);
    let percent = u128::from(process.cpu_ms) * 100 / lived.unsigned_abs();
    let started = process.started_at.to_zoned(zone.clone());
    let today = started.date() == now.to_zoned(zone.clone()).date();
    let seconds = process.cpu_ms / 1000;
    vec![
        // The machine's only user with a name.
        if process.uid == 0 { "root".into() } else { process.uid.to_string() },
        process.pid.to_string(),
        process.parent.to_string(),
        percent.min(99).to_string(),
        started.strftime(if today { "%H:%M" } else { "%b%d" }).to_string(),
        if process.terminal.is_empty() { "?".into() } else { process.terminal.clone() },
        format!("{:02}:{:02}:{:02}", seconds / 3600, seconds / 60 % 60, seconds % 60),
        process.command.clone(),
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_looks_as_ps_prints_it() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        let process = ProcessInfo {
            pid: 42,
            parent: 1,
            uid: 1000,
            started_at: at("2026-01-31T10:00:00Z"),
            cpu_ms: 3_725_000,
            terminal: String::new(),
            command: "sleep 100".into(),
        };
        let show = |now| row(&process, at(now), &TimeZone::UTC).join(" ");
        assert_eq!(show("2026-01-31T12:04:10Z"), "1000 42 1 50 10:00 ? 01:02:05 sleep 100");
        assert!(show("2026-02-01T12:04:10Z").contains(" Jan31 "));
    }
}
