//! `machine`: the Linux VMs. One file a verb.

mod init;
mod list;
mod logs;
mod rm;
mod set;
mod shell;
mod start;
mod status;
mod stop;

use std::path::PathBuf;

use clap::{Args, Subcommand};
use linkspan_proto::host::v1::MachineSettingsPatch;

use crate::args::size;
use crate::context::Context;
use crate::error::{Error, Outcome};

/// Manage the Linux VMs that containers run in
#[derive(Debug, Args)]
pub(crate) struct MachineCommand {
    #[command(subcommand)]
    verb: Verb,
}

#[derive(Debug, Subcommand)]
enum Verb {
    Init(init::Init),
    Start(start::Start),
    Stop(stop::Stop),
    #[command(visible_alias = "inspect")]
    Status(status::Status),
    #[command(visible_alias = "ls")]
    List(list::List),
    Set(set::Set),
    #[command(visible_alias = "remove")]
    Rm(rm::Rm),
    Logs(logs::Logs),
    #[command(visible_alias = "ssh")]
    Shell(shell::Shell),
}

impl MachineCommand {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        match self.verb {
            Verb::Init(verb) => verb.run(context).await,
            Verb::Start(verb) => verb.run(context).await,
            Verb::Stop(verb) => verb.run(context).await,
            Verb::Status(verb) => verb.run(context).await,
            Verb::List(verb) => verb.run(context).await,
            Verb::Set(verb) => verb.run(context).await,
            Verb::Rm(verb) => verb.run(context).await,
            Verb::Logs(verb) => verb.run(context).await,
            Verb::Shell(verb) => verb.run(context).await,
        }
    }
}

/// Which machine: its name, else `--machine`, else the default one.
#[derive(Debug, Args)]
struct Which {
    /// The machine. `--machine`, or the default one, when not given
    #[arg(value_name = "NAME")]
    name: Option<String>,
}

impl Which {
    fn name<'a>(&'a self, context: &'a Context) -> Option<&'a str> {
        self.name.as_deref().or(context.machine())
    }

    /// As requests carry it: empty is the default machine.
    fn of(&self, context: &Context) -> String {
        self.name(context).unwrap_or_default().to_owned()
    }
}

/// The flags of `init` and `set`.
#[derive(Debug, Args)]
struct SettingsFlags {
    /// How many CPUs
    #[arg(long, value_name = "NUMBER")]
    cpus: Option<u32>,
    /// How much memory: MiB, or with a unit (`2g`)
    #[arg(short, long, value_name = "SIZE", value_parser = size::mebibytes)]
    memory: Option<u64>,
    /// How large the data disk may get: GiB, or with a unit (`64g`). It can only grow
    #[arg(long, value_name = "SIZE", value_parser = size::gibibytes)]
    disk: Option<u64>,
    /// The kernel: auto, debian, lean, or a kernel's path
    #[arg(long, value_name = "KERNEL")]
    kernel: Option<String>,
    /// How the VM runs: auto, kvm, hvf, whpx or tcg
    #[arg(long, value_name = "ACCELERATOR")]
    accelerator: Option<String>,
    /// Share a folder of this host, `:ro` for read-only (several times for several)
    #[arg(long, value_name = "FOLDER[:ro]")]
    share: Vec<PathBuf>,
    /// Do not share a folder any more (several times for several)
    #[arg(long, value_name = "FOLDER")]
    unshare: Vec<PathBuf>,
    /// Map the ids of containers into a range of their own, so that their root is nobody in the
    /// VM: default, or off
    #[arg(long, value_name = "SETTING")]
    userns: Option<String>,
}

impl SettingsFlags {
    fn patch(self) -> Result<MachineSettingsPatch, Error> {
        Ok(MachineSettingsPatch {
            cpus: self.cpus,
            memory_mib: self.memory,
            disk_gib: self.disk,
            kernel: self.kernel,
            accelerator: self.accelerator,
            share: absolute(self.share)?,
            unshare: absolute(self.unshare)?,
            userns: self.userns,
        })
    }
}

/// Paths as the daemon takes them, which has another working directory.
pub(crate) fn absolute(paths: Vec<PathBuf>) -> Result<Vec<String>, Error> {
    let one = |path: PathBuf| {
        let absolute = std::path::absolute(&path)
            .map_err(|error| Error::invalid(format!("`{}`: {error}", path.display())))?;
        let text = absolute.into_os_string().into_string();
        text.map_err(|_| Error::invalid(format!("`{}` is not UTF-8", path.display())))
    };
    paths.into_iter().map(one).collect()
}
