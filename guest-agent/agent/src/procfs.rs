//! What `top` and `stats` read from /proc (proc_pid_stat(5), proc_stat(5)).

use std::{fs, io, path::Path};

use jiff::{SignedDuration, Timestamp};
use linkspan_containers::{
    stats::{InterfaceUsage, Traffic},
    top::ProcessInfo,
};

/// Clock ticks of /proc a second: USER_HZ, part of the kernel's interface on every processor that
/// we run on.
const TICKS: u64 = 100;
const MS_A_TICK: u64 = 1000 / TICKS;
const NS_A_TICK: u64 = 1_000_000_000 / TICKS;

/// The machine as a whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct System {
    /// CPU time that has passed, all processors together, idle or not.
    pub(crate) cpu_ns: u64,
    /// Processors.
    pub(crate) cpus: u32,
    /// Bytes.
    pub(crate) memory: u64,
}

pub(crate) fn system() -> io::Result<System> {
    let stat = fs::read_to_string("/proc/stat")?;
    let memory = fs::read_to_string("/proc/meminfo")?;
    let (cpu_ns, cpus) = cpu_time(&stat);
    let kib = memory.lines().find_map(|line| line.strip_prefix("MemTotal:"));
    let kib = kib.and_then(|rest| rest.trim().strip_suffix(" kB")?.parse::<u64>().ok());
    Ok(System { cpu_ns, cpus, memory: kib.unwrap_or(0) * 1024 })
}

fn cpu_time(stat: &str) -> (u64, u32) {
    let all = stat.lines().find_map(|line| line.strip_prefix("cpu ")).unwrap_or_default();
    // user nice system idle iowait irq softirq steal; guest time is in user time already.
    let ticks = all.split_whitespace().take(8).filter_map(|ticks| ticks.parse::<u64>().ok());
    let one = |line: &&str| line.starts_with("cpu") && !line.starts_with("cpu ");
    let cpus = stat.lines().filter(one).count();
    (ticks.sum::<u64>() * NS_A_TICK, u32::try_from(cpus).unwrap_or(u32::MAX))
}

/// Processes by pid; those that have ended meanwhile are left out.
pub(crate) fn processes(pids: &[u32]) -> io::Result<Vec<ProcessInfo>> {
    let stat = fs::read_to_string("/proc/stat")?;
    let booted = stat.lines().find_map(|line| line.strip_prefix("btime ")?.parse::<i64>().ok());
    let booted = Timestamp::from_second(booted.unwrap_or(0)).unwrap_or_default();
    let process = |pid: &u32| {
        let folder = Path::new("/proc").join(pid.to_string());
        let stat = fs::read_to_string(folder.join("stat")).ok()?;
        let status = fs::read_to_string(folder.join("status")).ok()?;
        let arguments = fs::read(folder.join("cmdline")).ok()?;
        parse(*pid, &stat, &status, &arguments, booted)
    };
    Ok(pids.iter().filter_map(process).collect())
}

fn parse(
    pid: u32,
    stat: &str,
    status: &str,
    arguments: &[u8],
    booted: Timestamp,
) -> Option<ProcessInfo> {
    // The name may contain anything, parentheses too.
    let (name, fields) = (stat.find('(')?, stat.rfind(')')?);
    let name = stat.get(name + 1..fields)?;
    // From the state on, which is the third field of the manual page.
    let fields: Vec<&str> = stat.get(fields + 1..)?.split_whitespace().collect();
    let number = |index: usize| fields.get(index - 3)?.parse::<i64>().ok();
    let positive = |index: usize| u64::try_from(number(index)?).ok();
    let after_boot = i64::try_from(positive(22)? * MS_A_TICK).ok()?;
    let words: Vec<_> = arguments
        .split(|byte| *byte == 0)
        .map(|word| String::from_utf8_lossy(word).into_owned())
        .collect();
    let command = words.join(" ").trim_end().to_owned();
    let uid = status.lines().find_map(|line| line.strip_prefix("Uid:"));
    Some(ProcessInfo {
        pid,
        parent: u32::try_from(number(4)?).ok()?,
        uid: uid?.split_whitespace().next()?.parse().ok()?,
        started_at: booted.checked_add(SignedDuration::from_millis(after_boot)).ok()?,
        cpu_ms: (positive(14)? + positive(15)?) * MS_A_TICK,
        terminal: terminal(number(7)?),
        command: if command.is_empty() { format!("[{name}]") } else { command },
    })
}

/// The interfaces that a process's network has, but loopback.
pub(crate) fn interfaces(pid: u32) -> io::Result<Vec<InterfaceUsage>> {
    Ok(parse_interfaces(&fs::read_to_string(format!("/proc/{pid}/net/dev"))?))
}

/// Two lines of headings, then a name and eight columns for each direction.
fn parse_interfaces(text: &str) -> Vec<InterfaceUsage> {
    let line = |line: &str| {
        let (name, columns) = line.split_once(':')?;
        let columns: Vec<u64> = columns.split_whitespace().map_while(|n| n.parse().ok()).collect();
        let traffic = |from: usize| {
            let [bytes, packets, errors, dropped] = *columns.get(from..from + 4)? else {
                return None;
            };
            Some(Traffic { bytes, packets, errors, dropped })
        };
        let (received, sent) = (traffic(0)?, traffic(8)?);
        Some(InterfaceUsage { name: name.trim().to_owned(), received, sent })
    };
    let all = text.lines().skip(2).filter_map(line);
    all.filter(|interface| interface.name != "lo").collect()
}

/// tty_nr by its name: devices.txt of the kernel; pts have the majors from 136 on.
fn terminal(device: i64) -> String {
    let (major, minor) = ((device >> 8) & 0xfff, (device & 0xff) | ((device >> 12) & 0xfff00));
    match major {
        136..=143 => format!("pts/{}", minor + (major - 136) * 256),
        4 if minor < 64 => format!("tty{minor}"),
        4 => format!("ttyS{}", minor - 64),
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn interfaces_are_those_that_lead_out_of_the_container() {
        let text = "Inter-|   Receive                   |  Transmit\n \
            face |bytes packets errs drop fifo frame compressed multicast|bytes packets errs drop fifo colls carrier compressed\n    \
            lo:     840      10    0    0    0     0          0         0      840      10    0    0    0     0       0          0\n  \
            eth0:  1500      12    1    2    0     0          0         0      300       4    5    6    0     0       0          0\n";
        let found = parse_interfaces(text);
        let received = Traffic { bytes: 1500, packets: 12, errors: 1, dropped: 2 };
        let sent = Traffic { bytes: 300, packets: 4, errors: 5, dropped: 6 };
        assert_eq!(found, [InterfaceUsage { name: "eth0".into(), received, sent }]);
    }

    #[test]
    fn a_process_is_read_whatever_its_name() {
        let stat = "42 (a) b (c) S 7 42 42 34816 42 4194304 1 2 3 4 250 50 0 0 20 0 1 0 1234 0 0";
        let status = "Name:\tx\nUid:\t1000\t0\t0\t0\n";
        let booted = Timestamp::from_second(100).unwrap();
        let process = parse(42, stat, status, b"sleep\x00100\x00", booted).unwrap();
        let expected = ProcessInfo {
            pid: 42,
            parent: 7,
            uid: 1000,
            started_at: Timestamp::from_millisecond(112_340).unwrap(),
            cpu_ms: 3000,
            terminal: "pts/0".into(),
            command: "sleep 100".into(),
        };
        assert_eq!(process, expected);
        assert_eq!(parse(42, stat, status, b"", booted).unwrap().command, "[a) b (c]");
        for broken in ["", "42 (x", "42 (x) S 1", ")("] {
            assert_eq!(parse(42, broken, status, b"", booted), None, "{broken}");
        }
    }

    #[test]
    fn this_process_and_this_machine_are_read() {
        let own = processes(&[std::process::id(), u32::MAX]).unwrap();
        assert_eq!(own.len(), 1, "one of the two exists");
        let age = own[0].started_at.duration_until(Timestamp::now());
        assert!(age < SignedDuration::from_hours(1), "{age}");
        let system = system().unwrap();
        assert!(system.cpus > 0 && system.memory > 0 && system.cpu_ns > 0);
    }

    #[test]
    fn time_is_the_sum_of_what_passed_on_all_processors() {
        let stat = "cpu  1 2 3 4 5 6 7 8 100 100\ncpu0 1 1\ncpu1 1 1\nbtime 5\n";
        assert_eq!(cpu_time(stat), (36 * NS_A_TICK, 2));
    }
}
