//! `docker env`.

use clap::Args;

use super::host;
use crate::context::Context;
use crate::error::Outcome;
use crate::render;

/// Print the environment variable by which Docker's tools find Linkspan
#[derive(Debug, Args)]
#[command(after_help = "For a POSIX shell: eval \"$(linkspan docker env)\"")]
pub(crate) struct Env {
    /// For PowerShell
    #[arg(long)]
    powershell: bool,
}

impl Env {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let host = host(&context).await?;
        render::print(&if self.powershell { powershell(&host) } else { posix(&host) })?;
        Ok(0)
    }
}

fn posix(host: &str) -> String {
    format!("export DOCKER_HOST='{}'\n", host.replace('\'', r"'\''"))
}

fn powershell(host: &str) -> String {
    format!("$Env:DOCKER_HOST = '{}'\n", host.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_in_the_path_stays_one() {
        assert_eq!(posix("unix:///a'b"), "export DOCKER_HOST='unix:///a'\\''b'\n");
        assert_eq!(powershell("unix:///a'b"), "$Env:DOCKER_HOST = 'unix:///a''b'\n");
    }
}
