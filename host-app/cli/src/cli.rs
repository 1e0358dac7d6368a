//! The command line as a whole: its verbs, its help, and which verb runs.

use clap::{
    ArgMatches, Command as ClapCommand, CommandFactory, FromArgMatches, Parser, Subcommand,
};

use crate::args::refused;
use crate::commands::{
    attach::Attach, build::Build, builder::BuilderCommand, commit::Commit, completion::Completion,
    cp::Cp, create::Create, diff::Diff, docker::Docker, events::Events, exec::Exec, export::Export,
    history::History, image_prune::ImagePrune, images::Images, import::Import, info::Info, inspect,
    inspect::Inspect, kill::Kill, load::Load, login::Login, logout::Logout, logs::Logs,
    machine::MachineCommand, man::Man, network::NetworkCommand, pause::Pause, port::Port,
    prune::Prune, ps::Ps, pull::Pull, push::Push, registry::RegistryCommand, rename::Rename,
    restart::Restart, rm::Rm, rmi::Rmi, run::Run, save::Save, search::Search, start::Start,
    stats::Stats, stop::Stop, system::System, tag::Tag, top::Top, tour::Tour, unpause::Unpause,
    update::Update, version::Version, volume::VolumeCommand, wait::Wait,
};
use crate::context::Context;
use crate::error::{Error, Outcome};

/// Linux containers on a computer that may not run Linux, in a light Linux VM
#[derive(Debug, Parser)]
#[command(name = "linkspan", version, propagate_version = false)]
pub(crate) struct Cli {
    /// The machine that the command is about
    #[arg(
        long,
        global = true,
        env = "LINKSPAN_MACHINE",
        value_name = "NAME",
        help_heading = "Global options"
    )]
    machine: Option<String>,
    #[command(subcommand)]
    command: Verb,
}

#[derive(Debug, Subcommand)]
pub(crate) enum Verb {
    Run(Box<Run>),
    Create(Box<Create>),
    Start(Start),
    Stop(Stop),
    Kill(Kill),
    Rm(Rm),
    Ps(Ps),
    Exec(Exec),
    Logs(Logs),
    Attach(Attach),
    Wait(Wait),
    Inspect(Inspect),
    Pause(Pause),
    Port(Port),
    Unpause(Unpause),
    Restart(Restart),
    Rename(Rename),
    Update(Update),
    Top(Top),
    Stats(Stats),
    Events(Events),
    Cp(Cp),
    Diff(Diff),
    Export(Export),
    Commit(Commit),
    Build(Box<Build>),
    Images(Images),
    Rmi(Rmi),
    Tag(Tag),
    History(History),
    Pull(Pull),
    Push(Push),
    Save(Save),
    Load(Load),
    Import(Import),
    Search(Search),
    Login(Login),
    Logout(Logout),
    Registry(RegistryCommand),
    /// Manage containers
    Container {
        #[command(subcommand)]
        verb: ContainerVerb,
    },
    /// Manage images
    Image {
        #[command(subcommand)]
        verb: ImageVerb,
    },
    Builder(BuilderCommand),
    Network(NetworkCommand),
    Volume(VolumeCommand),
    Docker(Docker),
    Machine(MachineCommand),
    System(System),
    Tour(Tour),
    Version(Version),
    Info(Info),
    Completion(Completion),
    #[command(hide = true)]
    Man(Man),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ContainerVerb {
    Run(Box<Run>),
    Create(Box<Create>),
    Start(Start),
    Stop(Stop),
    Kill(Kill),
    #[command(visible_alias = "remove")]
    Rm(Rm),
    #[command(visible_aliases = ["list", "ps"])]
    Ls(Ps),
    Exec(Exec),
    Logs(Logs),
    Attach(Attach),
    Wait(Wait),
    Inspect(Inspect),
    Pause(Pause),
    Port(Port),
    Unpause(Unpause),
    Restart(Restart),
    Rename(Rename),
    Update(Update),
    Top(Top),
    Stats(Stats),
    Prune(Prune),
    Cp(Cp),
    Diff(Diff),
    Export(Export),
    Commit(Commit),
}

#[derive(Debug, Subcommand)]
pub(crate) enum ImageVerb {
    Build(Box<Build>),
    #[command(visible_alias = "list")]
    Ls(Images),
    #[command(visible_alias = "remove")]
    Rm(Rmi),
    Tag(Tag),
    History(History),
    Pull(Pull),
    Push(Push),
    Save(Save),
    Load(Load),
    Import(Import),
    Inspect(Inspect),
    Prune(ImagePrune),
}

/// The groups of the top-level help.
const GROUPS: &[(&str, &[&str])] = &[
    (
        "Containers",
        &[
            "run", "create", "start", "stop", "kill", "rm", "ps", "exec", "logs", "attach", "wait",
            "inspect", "pause", "unpause", "restart", "rename", "update", "top", "stats", "events",
            "cp", "diff", "export", "commit", "port",
        ],
    ),
    (
        "Images",
        &["build", "images", "pull", "push", "rmi", "tag", "history", "save", "load", "import"],
    ),
    ("Registries", &["login", "logout", "search", "registry"]),
    ("Volumes and networks", &["volume", "network"]),
    ("Machines and the daemon", &["machine", "system", "info", "version"]),
    ("As nouns", &["container", "image", "builder"]),
    ("More", &["docker", "tour", "completion"]),
];

/// The parser, with Docker's other flags added so that they are refused by name.
pub(crate) fn command() -> ClapCommand {
    let command = refused::augment(Cli::command());
    let mut groups = String::new();
    for (title, verbs) in GROUPS {
        groups += &format!("\n{title}:\n");
        for verb in *verbs {
            let about = command
                .find_subcommand(verb)
                .and_then(ClapCommand::get_about)
                .map(ToString::to_string)
                .unwrap_or_default();
            groups += &format!("  {verb:<12}{about}\n");
        }
    }
    command.help_template("{about}\n\nUsage: {usage}{after-help}\nOptions:\n{options}").after_help(
        groups.trim_start().to_owned() + "\nSee `linkspan COMMAND --help` for one command.\n",
    )
}

impl Cli {
    /// What was parsed, after the flags that are refused.
    ///
    /// # Errors
    /// The first refused flag.
    pub(crate) fn from_matches(matches: &ArgMatches) -> Result<Self, Error> {
        if let Some(failure) = refused::find(matches) {
            return Err(failure.into());
        }
        Self::from_arg_matches(matches).map_err(|error| Error::invalid(error.to_string()))
    }

    /// Runs the verb.
    ///
    /// # Errors
    /// Whatever ends it.
    pub(crate) async fn run(self) -> Outcome {
        let context = Context { machine: self.machine };
        match self.command {
            Verb::Run(verb) => verb.run(context).await,
            Verb::Create(verb) => verb.run(context).await,
            Verb::Start(verb) => verb.run(context).await,
            Verb::Stop(verb) => verb.run(context).await,
            Verb::Kill(verb) => verb.run(context).await,
            Verb::Rm(verb) => verb.run(context).await,
            Verb::Ps(verb) => verb.run(context).await,
            Verb::Exec(verb) => verb.run(context).await,
            Verb::Logs(verb) => verb.run(context).await,
            Verb::Attach(verb) => verb.run(context).await,
            Verb::Wait(verb) => verb.run(context).await,
            Verb::Inspect(verb) => verb.run(context).await,
            Verb::Pause(verb) => verb.run(context).await,
            Verb::Port(verb) => verb.run(context).await,
            Verb::Unpause(verb) => verb.run(context).await,
            Verb::Restart(verb) => verb.run(context).await,
            Verb::Rename(verb) => verb.run(context).await,
            Verb::Update(verb) => verb.run(context).await,
            Verb::Top(verb) => verb.run(context).await,
            Verb::Stats(verb) => verb.run(context).await,
            Verb::Events(verb) => verb.run(context).await,
            Verb::Cp(verb) => verb.run(context).await,
            Verb::Diff(verb) => verb.run(context).await,
            Verb::Export(verb) => verb.run(context).await,
            Verb::Commit(verb) => verb.run(context).await,
            Verb::Build(verb) => verb.run(context).await,
            Verb::Images(verb) => verb.run(context).await,
            Verb::Rmi(verb) => verb.run(context).await,
            Verb::Tag(verb) => verb.run(context).await,
            Verb::History(verb) => verb.run(context).await,
            Verb::Pull(verb) => verb.run(context).await,
            Verb::Push(verb) => verb.run(context).await,
            Verb::Search(verb) => verb.run(context).await,
            Verb::Login(verb) => verb.run(context).await,
            Verb::Logout(verb) => verb.run().await,
            Verb::Registry(verb) => verb.run(context).await,
            Verb::Save(verb) => verb.run(context).await,
            Verb::Load(verb) => verb.run(context).await,
            Verb::Import(verb) => verb.run(context).await,
            Verb::Container { verb } => verb.run(context).await,
            Verb::Image { verb } => verb.run(context).await,
            Verb::Builder(verb) => verb.run(context).await,
            Verb::Network(verb) => verb.run(context).await,
            Verb::Volume(verb) => verb.run(context).await,
            Verb::Docker(verb) => verb.run(context).await,
            Verb::Machine(verb) => verb.run(context).await,
            Verb::System(verb) => verb.run(context).await,
            Verb::Tour(verb) => verb.run(context).await,
            Verb::Version(verb) => verb.run(context).await,
            Verb::Info(verb) => verb.run(context).await,
            Verb::Completion(verb) => verb.run(),
            Verb::Man(verb) => verb.run(),
        }
    }
}

impl ContainerVerb {
    async fn run(self, context: Context) -> Outcome {
        match self {
            Self::Run(verb) => verb.run(context).await,
            Self::Create(verb) => verb.run(context).await,
            Self::Start(verb) => verb.run(context).await,
            Self::Stop(verb) => verb.run(context).await,
            Self::Kill(verb) => verb.run(context).await,
            Self::Rm(verb) => verb.run(context).await,
            Self::Ls(verb) => verb.run(context).await,
            Self::Exec(verb) => verb.run(context).await,
            Self::Logs(verb) => verb.run(context).await,
            Self::Attach(verb) => verb.run(context).await,
            Self::Wait(verb) => verb.run(context).await,
            Self::Inspect(verb) => verb.only(inspect::Kind::Container).run(context).await,
            Self::Pause(verb) => verb.run(context).await,
            Self::Port(verb) => verb.run(context).await,
            Self::Unpause(verb) => verb.run(context).await,
            Self::Restart(verb) => verb.run(context).await,
            Self::Rename(verb) => verb.run(context).await,
            Self::Update(verb) => verb.run(context).await,
            Self::Top(verb) => verb.run(context).await,
            Self::Stats(verb) => verb.run(context).await,
            Self::Prune(verb) => verb.run(context).await,
            Self::Cp(verb) => verb.run(context).await,
            Self::Diff(verb) => verb.run(context).await,
            Self::Export(verb) => verb.run(context).await,
            Self::Commit(verb) => verb.run(context).await,
        }
    }
}

impl ImageVerb {
    async fn run(self, context: Context) -> Outcome {
        match self {
            Self::Build(verb) => verb.run(context).await,
            Self::Ls(verb) => verb.run(context).await,
            Self::Rm(verb) => verb.run(context).await,
            Self::Tag(verb) => verb.run(context).await,
            Self::History(verb) => verb.run(context).await,
            Self::Pull(verb) => verb.run(context).await,
            Self::Push(verb) => verb.run(context).await,
            Self::Save(verb) => verb.run(context).await,
            Self::Load(verb) => verb.run(context).await,
            Self::Import(verb) => verb.run(context).await,
            Self::Inspect(verb) => verb.only(inspect::Kind::Image).run(context).await,
            Self::Prune(verb) => verb.run(context).await,
        }
    }
}

/// Whether the verb runs a program of the user's, whose exit code passes through: our own
/// failures then have codes of their own (125, 126, 127).
pub(crate) fn runs_a_program(matches: &ArgMatches) -> bool {
    match matches.subcommand() {
        Some(("container", inner)) => runs_a_program(inner),
        Some((verb, _)) => matches!(verb, "run" | "exec"),
        None => false,
    }
}

#[cfg(test)]
mod docker_flags;
#[cfg(test)]
mod flags_page;
#[cfg(test)]
mod tests;
