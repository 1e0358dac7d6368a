//! `completion`.

use clap::Args;
use clap_complete::Shell;

use crate::cli;
use crate::error::Outcome;
use crate::render;

/// Print a completion script for a shell
#[derive(Debug, Args)]
pub(crate) struct Completion {
    /// The shell
    shell: Shell,
}

impl Completion {
    pub(crate) fn run(&self) -> Outcome {
        let mut out = Vec::new();
        clap_complete::generate(self.shell, &mut cli::command(), "linkspan", &mut out);
        render::print(&String::from_utf8_lossy(&out))?;
        Ok(0)
    }
}
