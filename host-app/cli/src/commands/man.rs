//! `man`: hidden, for packagers.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum as _};
use clap_complete::Shell;

use crate::cli;
use crate::error::{Error, Outcome};

/// Write the manual pages to a folder
#[derive(Debug, Args)]
pub(crate) struct Man {
    /// The folder, which is created when it is not there
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Also write the completion scripts, to this folder
    #[arg(long, value_name = "DIR")]
    completions: Option<PathBuf>,
}

impl Man {
    pub(crate) fn run(&self) -> Outcome {
        write_to(&self.out, |folder| clap_mangen::generate_to(cli::command(), folder))?;
        if let Some(folder) = &self.completions {
            write_to(folder, |folder| {
                Shell::value_variants().iter().try_for_each(|shell| {
                    clap_complete::generate_to(*shell, &mut cli::command(), "linkspan", folder)
                        .map(drop)
                })
            })?;
        }
        Ok(0)
    }
}

fn write_to(folder: &Path, write: impl FnOnce(&Path) -> std::io::Result<()>) -> Result<(), Error> {
    std::fs::create_dir_all(folder)
        .and_then(|()| write(folder))
        .map_err(|error| Error::invalid(format!("cannot write to `{}`: {error}", folder.display())))
}
