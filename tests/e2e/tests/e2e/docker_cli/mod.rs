//! Docker's own command line, line by line: each table holds commands of a shell and what Docker
//! documents that they print and exit with.
//!
//! ```text
//! $ docker run --rm busybox sh -c 'echo out; exit 7'
//! = 7
//! > out
//! ```
//!
//! `$` is a command (`$~`: tried again until it does as it should, for what takes time), `=` its
//! exit code when that is not 0, each `>` a line of its standard output, `>~` words in one, `!`
//! words in a line of its standard error. `[..]` stands for any text within a line. A command
//! without `>` may print what it likes; `>` alone is nothing. Lines in between are comments.

mod table;

use std::{
    path::Path,
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use linkspan_test_e2e::{Done, Host, finish};
use tempfile::TempDir;

use crate::{Own, SOON, api_socket::own_socket, docker::there_is_one};
use table::{Step, steps};

/// The host's side of a line: a shell in a folder of its own that finds the machine.
pub(crate) struct Shell {
    docker_host: String,
    folder: TempDir,
}

impl Shell {
    pub(crate) fn new(host: &Host) -> Self {
        let docker_host = format!("unix://{}", own_socket(host));
        Self { docker_host, folder: tempfile::tempdir().expect("a folder") }
    }

    /// Where its commands run.
    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    fn run(&self, line: &str) -> Done {
        let mut shell = Command::new("sh");
        shell.args(["-c", line]).current_dir(self.folder()).env("DOCKER_HOST", &self.docker_host);
        shell.env("DOCKER_CONFIG", self.folder().join(".docker")).env_remove("DOCKER_CONTEXT");
        shell.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
        finish(shell.spawn().expect("sh starts"), &[line])
    }

    /// What is wrong with what the step did, if anything.
    fn check(&self, step: &Step) -> Option<String> {
        let deadline = Instant::now() + SOON;
        loop {
            let done = self.run(step.command);
            let out = String::from_utf8_lossy(&done.out);
            let wrong = step.wrong(done.code, &out, &done.err)?;
            if !step.patient || Instant::now() > deadline {
                let (command, code, err) = (step.command, done.code, &done.err);
                return Some(format!("{wrong}\n$ {command}\n= {code}\n{out}{err}"));
            }
            std::thread::sleep(Duration::from_millis(100));
        }
    }

    /// Goes through tables, all of them: what is wrong is told as it is found.
    ///
    /// # Panics
    /// When a line did not do as it should.
    pub(crate) fn goes_through(&self, tables: &[(&str, &str)]) {
        let (mut failed, mut count) = (0, 0);
        for (name, table) in tables {
            for step in steps(table) {
                count += 1;
                if let Some(wrong) = self.check(&step) {
                    failed += 1;
                    println!("{name}.txt:{}: {wrong}", step.line);
                }
            }
        }
        assert_eq!(failed, 0, "lines of {count} that did not do as they should");
    }
}

/// On a machine that is theirs alone: they count and prune what is there.
fn machine_of(tables: &[(&str, &str)]) {
    if !there_is_one() {
        return;
    }
    let host = Host::new();
    let shell = Shell::new(&host);
    shell.goes_through(tables);
    drop(shell);
    host.leaves_nothing();
}

macro_rules! tables {
    ($($name:literal),*) => {
        || machine_of(&[$(($name, include_str!(concat!($name, ".txt")))),*])
    };
}

pub(crate) const OWN: &[Own] = &[
    ("what_is_absent_is_told_as_docker_tells_it", tables!["absent"]),
    ("containers_run_and_end_as_docker_documents", tables!["run", "life"]),
    ("containers_are_shown_and_entered_as_docker_documents", tables!["looks", "exec"]),
    ("files_and_images_come_and_go_as_docker_documents", tables!["files", "images"]),
    (
        "networks_volumes_and_the_engine_are_as_docker_documents",
        tables!["networks", "volumes", "system"],
    ),
];
