//! The program of the built-in image `linkspan/hello`: says what just happened, from what it sees.
//!
//! Nothing is taken on trust: every figure is read from this process's own /proc and /sys.
//! `--json` prints the facts alone.

use std::{fmt::Write as _, fs, process::ExitCode};

use nix::{sys::utsname::uname, unistd::getpid};

/// What a process sees of the container that it is in.
struct Facts {
    pid: i32,
    processes: usize,
    kernel: String,
    hostname: String,
    namespaces: Vec<(String, String)>,
    mounts: usize,
    root: String,
    memory_max: String,
    cpu_max: String,
    capabilities: u32,
    seccomp: bool,
    interfaces: Vec<String>,
}

fn read(path: &str) -> String {
    fs::read_to_string(path).map(|text| text.trim().to_owned()).unwrap_or_default()
}

fn names(folder: &str) -> Vec<String> {
    let mut names: Vec<_> = fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .collect();
    names.sort();
    names
}

/// The value behind `key` in /proc/self/status.
fn status(key: &str) -> String {
    read("/proc/self/status")
        .lines()
        .find_map(|line| line.strip_prefix(key)?.strip_prefix(':'))
        .map(|value| value.trim().to_owned())
        .unwrap_or_default()
}

impl Facts {
    fn look() -> Self {
        let uts = uname().ok();
        let text = |value: Option<&std::ffi::OsStr>| {
            value.map(|value| value.to_string_lossy().into_owned()).unwrap_or_default()
        };
        let mounts = read("/proc/self/mountinfo");
        let limit = |file: &str| match read(&format!("/sys/fs/cgroup/{file}")) {
            unknown if unknown.is_empty() => "unknown".to_owned(),
            value => value,
        };
        Self {
            pid: getpid().as_raw(),
            processes: names("/proc")
                .iter()
                .filter(|name| name.bytes().all(|byte| byte.is_ascii_digit()))
                .count(),
            kernel: text(uts.as_ref().map(|uts| uts.release())),
            hostname: text(uts.as_ref().map(|uts| uts.nodename())),
            namespaces: ["pid", "mnt", "net", "uts", "ipc", "cgroup"]
                .into_iter()
                .filter_map(|kind| {
                    let link = fs::read_link(format!("/proc/self/ns/{kind}")).ok()?;
                    Some((kind.to_owned(), link.display().to_string()))
                })
                .collect(),
            mounts: mounts.lines().count(),
            // proc_pid_mountinfo(5): the mount point is field 5, the type follows the lone `-`.
            root: mounts
                .lines()
                .find(|line| line.split(' ').nth(4) == Some("/"))
                .and_then(|line| line.split_once(" - ")?.1.split(' ').next())
                .unwrap_or("unknown")
                .to_owned(),
            memory_max: limit("memory.max"),
            cpu_max: limit("cpu.max"),
            capabilities: u64::from_str_radix(&status("CapEff"), 16).map_or(0, u64::count_ones),
            seccomp: status("Seccomp") == "2",
            interfaces: names("/sys/class/net"),
        }
    }

    fn json(&self) -> String {
        let mut namespaces = String::new();
        for (kind, id) in &self.namespaces {
            let comma = if namespaces.is_empty() { "" } else { "," };
            // Writing to a string cannot fail.
            let _ = write!(namespaces, "{comma}{}:{}", quoted(kind), quoted(id));
        }
        let interfaces: Vec<_> = self.interfaces.iter().map(|name| quoted(name)).collect();
        format!(
            "{{\"pid\":{},\"processes\":{},\"kernel\":{},\"hostname\":{},\"namespaces\":{{{namespaces}}},\
             \"mounts\":{},\"root\":{},\"memory_max\":{},\"cpu_max\":{},\"capabilities\":{},\
             \"seccomp\":{},\"interfaces\":[{}]}}",
            self.pid,
            self.processes,
            quoted(&self.kernel),
            quoted(&self.hostname),
            self.mounts,
            quoted(&self.root),
            quoted(&self.memory_max),
            quoted(&self.cpu_max),
            self.capabilities,
            self.seccomp,
            interfaces.join(",")
        )
    }

    fn explain(&self) -> String {
        let limited = |value: &str| match value.split(' ').next() {
            Some("max") => "none, the whole machine's".to_owned(),
            _ => value.to_owned(),
        };
        let namespaces: Vec<_> = self.namespaces.iter().map(|(_, id)| id.as_str()).collect();
        format!(
            "Hello from a container.\n\
             \n\
             This is an ordinary Linux process. What makes it a container is what the kernel\n\
             shows it, and what the kernel lets it do:\n\
             \n\
             \x20 its own processes   I am number {} of {} that I can see\n\
             \x20 its own files       my / is an {}, with {} mounts below it\n\
             \x20 its own name        {}\n\
             \x20 its own network     interfaces: {}\n\
             \x20 its own limits      memory: {}; processor time: {}\n\
             \x20 fewer rights        {} of 41 capabilities{}\n\
             \n\
             The kernel keeps each of these apart in a namespace, and counts and limits in a\n\
             cgroup. Mine are:\n\
             \n\
             \x20 {}\n\
             \x20 {}\n\
             \n\
             Both are parts of one kernel, and that kernel is Linux {}.\n\
             Windows and macOS have no such kernel, so Linkspan brought one: it booted a light\n\
             virtual machine, and its first process made this one. No other system was\n\
             started for this container: had you run ten, they would share that kernel.",
            self.pid,
            self.processes,
            self.root,
            self.mounts,
            self.hostname,
            self.interfaces.join(", "),
            limited(&self.memory_max),
            limited(&self.cpu_max),
            self.capabilities,
            if self.seccomp { ", and a filter on system calls" } else { "" },
            namespaces.get(..3).unwrap_or_default().join("  "),
            namespaces.get(3..).unwrap_or_default().join("  "),
            self.kernel,
        )
    }
}

/// A JSON string. What the kernel gives here are words; anything else is escaped all the same.
fn quoted(text: &str) -> String {
    let mut out = String::from("\"");
    for character in text.chars() {
        match character {
            '"' | '\\' => {
                out.push('\\');
                out.push(character);
            }
            control if control < ' ' => {
                let _ = write!(out, "\\u{:04x}", u32::from(control));
            }
            other => out.push(other),
        }
    }
    out.push('"');
    out
}

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    match args.iter().map(String::as_str).collect::<Vec<_>>().as_slice() {
        [] => println!("{}", Facts::look().explain()),
        ["--json"] => println!("{}", Facts::look().json()),
        [other, ..] => {
            eprintln!("hello: `{other}` is not known; there is only --json");
            return ExitCode::from(2);
        }
    }
    ExitCode::SUCCESS
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn strings_are_escaped_for_json() {
        assert_eq!(quoted("a\"b\\c\n"), "\"a\\\"b\\\\c\\u000a\"");
    }

    #[test]
    fn the_facts_of_this_process_are_found() {
        let facts = Facts::look();
        assert!(facts.pid > 0 && facts.processes > 0 && facts.mounts > 0);
        assert_eq!(facts.namespaces.len(), 6);
        assert!(facts.explain().contains(&facts.kernel));
    }
}
