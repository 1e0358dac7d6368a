//! `docker env`.

use clap::Args;

use super::{buildkit, host};
use crate::context::Context;
use crate::error::Outcome;
use crate::render;

/// Print the environment variables by which Docker's tools find Linkspan and build with it
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
        let line = if self.powershell { powershell } else { posix };
        let mut lines = line("DOCKER_HOST", &host);
        lines.extend(buildkit().map(|value| line("DOCKER_BUILDKIT", value)));
        render::print(&lines)?;
        Ok(0)
    }
}

fn posix(name: &str, value: &str) -> String {
    format!("export {name}='{}'\n", value.replace('\'', r"'\''"))
}

fn powershell(name: &str, value: &str) -> String {
    format!("$Env:{name} = '{}'\n", value.replace('\'', "''"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quote_in_the_path_stays_one() {
        assert_eq!(posix("DOCKER_HOST", "unix:///a'b"), "export DOCKER_HOST='unix:///a'\\''b'\n");
        assert_eq!(powershell("DOCKER_HOST", "unix:///a'b"), "$Env:DOCKER_HOST = 'unix:///a''b'\n");
    }
}
