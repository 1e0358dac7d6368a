//! `build`.

mod context;
mod dialogue;
mod display;
mod layout;
mod output;
mod ssh;

use std::collections::HashMap;
use std::io::Write as _;
use std::path::PathBuf;

use clap::{Args, ValueEnum};
use linkspan_proto::v1::{BuildOpen, BuildUlimit, BuiltImage, Ulimit};

use super::push;
use crate::args::{env, size};
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::render;
use crate::transfer::Where;

use context::Source;
use display::Display;
use output::Output;
use ssh::Agents;

const EPOCH: &str = "SOURCE_DATE_EPOCH";
const RESULT: &str = "Result";
const RUN: &str = "Of the commands that run";

/// How progress is shown
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum ProgressStyle {
    /// `tty` on a terminal, else `plain`
    Auto,
    /// Lines, with all that commands write
    Plain,
    /// Lines that change
    Tty,
    /// Nothing but the image's id at the end
    Quiet,
}

/// Build an image from a Dockerfile
#[derive(Debug, Args)]
pub(crate) struct Build {
    /// The Dockerfile; `-` for standard input. PATH/Dockerfile when not given
    #[arg(short, long, value_name = "FILE")]
    file: Option<PathBuf>,
    /// Set a build argument; a name alone takes its value from the environment
    #[arg(long, value_name = "NAME[=VALUE]")]
    build_arg: Vec<String>,
    /// Build this stage
    #[arg(long, value_name = "STAGE", default_value = "", hide_default_value = true)]
    target: String,
    /// The platform that is built for, such as linux/arm64
    #[arg(long, value_name = "PLATFORM", default_value = "", hide_default_value = true)]
    platform: String,
    /// A further context: NAME=PATH or NAME=docker-image://IMAGE
    #[arg(long, value_name = "NAME=SOURCE")]
    build_context: Vec<String>,
    /// Do every step again
    #[arg(long)]
    no_cache: bool,
    /// Do the steps of these stages again
    #[arg(long, value_name = "STAGE", value_delimiter = ',')]
    no_cache_filter: Vec<String>,
    /// Ask the registries for newer images
    #[arg(long)]
    pull: bool,
    /// Only check the Dockerfile
    #[arg(long)]
    check: bool,

    /// A name of the image: NAME[:TAG]
    #[arg(short, long, value_name = "NAME", help_heading = RESULT)]
    tag: Vec<String>,
    /// A label of the image, KEY or KEY=VALUE
    #[arg(long, value_name = "KEY[=VALUE]", help_heading = RESULT)]
    label: Vec<String>,
    /// Where the result goes: a folder, `-` for a tar on standard output, or
    /// type=local|tar|image|registry|oci|docker[,dest=PATH|-][,name=NAME][,tar=false]
    #[arg(short, long, value_name = "OUTPUT", help_heading = RESULT)]
    output: Vec<String>,
    /// Leave the image in the machine: that is what is done anyway
    #[arg(long, help_heading = RESULT)]
    load: bool,
    /// Push every name of the image to its registry
    #[arg(long, help_heading = RESULT)]
    push: bool,
    /// Write the id of the image to this file
    #[arg(long, value_name = "FILE", help_heading = RESULT)]
    iidfile: Option<PathBuf>,
    /// Write the id and the names of the image to this file, as JSON
    #[arg(long, value_name = "FILE", help_heading = RESULT)]
    metadata_file: Option<PathBuf>,
    /// Show nothing but the id of the image
    #[arg(short, long, help_heading = RESULT)]
    quiet: bool,
    /// How progress is shown
    #[arg(long, value_enum, default_value = "auto", help_heading = RESULT)]
    progress: ProgressStyle,

    /// The network: default, none or host
    #[arg(long, value_name = "MODE", default_value = "", hide_default_value = true,
        help_heading = RUN)]
    network: String,
    /// Allow what needs it: network.host, security.insecure
    #[arg(long, value_name = "ENTITLEMENT", value_delimiter = ',', help_heading = RUN)]
    allow: Vec<String>,
    /// A secret: id=ID[,src=FILE|,env=VARIABLE]
    #[arg(long, value_name = "KEY=VALUE,...", help_heading = RUN)]
    secret: Vec<String>,
    /// An SSH agent of this host: `default` is SSH_AUTH_SOCK's
    #[arg(long, value_name = "default|ID[=SOCKET]", help_heading = RUN)]
    ssh: Vec<String>,
    /// An entry of /etc/hosts, NAME:ADDRESS
    #[arg(long, value_name = "NAME:ADDRESS", help_heading = RUN)]
    add_host: Vec<String>,
    /// The size of /dev/shm
    #[arg(long, value_name = "BYTES", value_parser = size::bytes, help_heading = RUN)]
    shm_size: Option<u64>,
    /// A resource limit
    #[arg(long, value_name = "NAME=SOFT[:HARD]", value_parser = size::ulimit,
        help_heading = RUN)]
    ulimit: Vec<Ulimit>,

    /// A folder, the URL of a tar archive or a Dockerfile, or `-` for one on standard input
    #[arg(value_name = "PATH|URL|-")]
    context: String,
}

impl Build {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let mut output = Output::parse(&self.output)?;
        if self.push {
            output = output.pushed()?;
        }
        if self.load {
            output = output.loaded()?;
        }
        let (pushes, takes_stdout) = (output.pushes(), output.takes_stdout());
        if pushes && self.tag.is_empty() && !output.has_names() {
            return Err(Error::invalid("cannot push an image without a name: give it --tag"));
        }
        let agents = Agents::parse(&self.ssh)?;
        let source = Source::open(&self.context, self.file.as_deref())?;
        let contexts = context::named(&self.build_context)?;
        let open = self.open()?;
        let style = if self.quiet { ProgressStyle::Quiet } else { self.progress };
        let mut display = Display::new(style);
        let client = context.running().await?;
        let asked = dialogue::Asked { open, source, contexts, output, agents };
        let built = dialogue::run(&client, &context, asked, &mut display).await;
        display.end(built.is_ok());
        let (built, warnings) = built?;
        if self.check {
            return checked(warnings);
        }
        for tag in built.tags.iter().filter(|_| pushes) {
            let place = if self.quiet { Where::Nowhere } else { Where::Stderr };
            push::push(&client, &context, push::one(tag).await?, place).await?;
        }
        self.finish(&built, takes_stdout)
    }

    /// What the agent is told, but for the context.
    fn open(&self) -> Result<BuildOpen, Error> {
        let own = |name: &str| std::env::var(name).ok();
        let mut arguments = env::environment(&[] as &[PathBuf], &self.build_arg, own)?;
        // As buildx does, so that builds in reproducible environments need no flag.
        let named = |argument: &String| argument.split('=').next() == Some(EPOCH);
        if !arguments.iter().any(named) {
            arguments.extend(own(EPOCH).map(|seconds| format!("{EPOCH}={seconds}")));
        }
        // A name alone that the environment lacks is no argument.
        let arguments = arguments.iter().filter_map(|argument| argument.split_once('='));
        let ulimit = |limit: &Ulimit| BuildUlimit {
            name: limit.name.clone(),
            soft: limit.soft,
            hard: limit.hard,
        };
        Ok(BuildOpen {
            tags: self.tag.clone(),
            build_args: arguments.map(|(name, value)| (name.into(), value.into())).collect(),
            target: self.target.clone(),
            no_cache: self.no_cache,
            no_cache_stages: self.no_cache_filter.clone(),
            pull: self.pull,
            labels: env::labels(&[] as &[PathBuf], &self.label)?,
            platform: self.platform.clone(),
            network: self.network.clone(),
            allow: self.allow.clone(),
            extra_hosts: self.add_host.clone(),
            shm_size: self.shm_size.unwrap_or_default(),
            ulimits: self.ulimit.iter().map(ulimit).collect(),
            secrets: self.secret.iter().map(|text| secret(text)).collect::<Result<_, _>>()?,
            check: self.check,
            ..BuildOpen::default()
        })
    }

    fn finish(&self, built: &BuiltImage, takes_stdout: bool) -> Outcome {
        let write = |path: &PathBuf, text: &str| {
            std::fs::File::create(path)
                .and_then(|mut file| file.write_all(text.as_bytes()))
                .map_err(|e| Error::invalid(format!("cannot write `{}`: {e}", path.display())))
        };
        if let Some(path) = &self.iidfile {
            write(path, &built.id)?;
        }
        if let Some(path) = &self.metadata_file {
            let names = built.tags.join(",");
            let metadata: HashMap<&str, &str> =
                [("containerimage.config.digest", built.id.as_str()), ("image.name", &names)]
                    .into_iter()
                    .filter(|(_, value)| !value.is_empty())
                    .collect();
            let text = serde_json::to_string_pretty(&metadata)
                .map_err(|error| Error::invalid(error.to_string()))?;
            write(path, &text)?;
        }
        if self.quiet && !built.id.is_empty() && !takes_stdout {
            render::line(&built.id)?;
        }
        Ok(0)
    }
}

/// What `--check` ends with: warnings are a failure, as BuildKit has it.
fn checked(warnings: usize) -> Outcome {
    match warnings {
        0 => render::line("Check complete, no warnings found.").map(|()| 0),
        1 => render::line("Check complete, 1 warning has been found!").map(|()| 1),
        many => {
            render::line(&format!("Check complete, {many} warnings have been found!")).map(|()| 1)
        }
    }
}

/// `--secret`: what Docker reads as one.
fn secret(text: &str) -> Result<(String, bytes::Bytes), Error> {
    let bad = |why: &str| Error::invalid(format!("cannot use --secret `{text}`: {why}"));
    let (mut id, mut file, mut variable, mut kind) = (None, None, None, None);
    for field in text.split(',') {
        let (key, value) = field.split_once('=').ok_or_else(|| bad("it is KEY=VALUE,..."))?;
        match key {
            "id" => id = Some(value.to_owned()),
            "src" | "source" => file = Some(value.to_owned()),
            "env" => variable = Some(value.to_owned()),
            "type" if matches!(value, "file" | "env") => kind = Some(value),
            other => return Err(bad(&format!("`{other}` is not one of id, src, env, type"))),
        }
    }
    let id = id.filter(|id| !id.is_empty()).ok_or_else(|| bad("it needs an id"))?;
    if kind == Some("env") && variable.is_none() {
        variable = file.take();
    }
    if let Some(path) = file {
        let content = std::fs::read(&path).map_err(|error| bad(&format!("`{path}`: {error}")))?;
        return Ok((id, content.into()));
    }
    let name = variable.unwrap_or_else(|| id.clone());
    if kind != Some("file")
        && let Some(value) = std::env::var_os(&name)
    {
        return Ok((id, value.into_encoded_bytes().into()));
    }
    Err(bad(&format!("there is neither a file nor a variable `{name}`")))
}
