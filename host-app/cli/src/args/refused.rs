//! Flags that Docker has and this program does not support yet. The parser takes them, so that
//! they are refused by name and with the reason instead of being misread or ignored.

use clap::{Arg, ArgAction, ArgMatches, Command, builder::OsStringValueParser};
use linkspan_docker_types::container::refused::{
    CGROUP, DEVICE_REQUESTS, LINK_LOCAL, LINKS, ONE_RUNTIME, OOM_KILL_DISABLE, REAL_TIME, STORAGE,
    SWAPPINESS, WINDOWS,
};
use linkspan_proto::error::{ErrorCode, Failure};

/// One refused flag.
#[derive(Debug)]
pub(crate) struct Refused {
    pub(crate) verbs: &'static [&'static str],
    pub(crate) long: &'static str,
    pub(crate) short: Option<char>,
    pub(crate) takes_value: bool,
    /// What is missing.
    pub(crate) why: &'static str,
}

const NEW: &[&str] = &["run", "create"];
const UPDATE: &[&str] = &["update"];

const PLATFORMS: &str = "an image is one platform's here: `pull` chooses which";
const DISKS: &str = "limits of single disks can be given to `run` and `create` only";
const CLASSIC: &str = "it is of Docker's old builder only";
const BUILD: &[&str] = &["build"];
const ATTESTATIONS: &str = "attestations are not made";
const CHECKPOINTS: &str = "checkpoints are not supported";

/// Every refused flag.
pub(crate) const FLAGS: &[Refused] = &[
    value(NEW, "link", None, LINKS),
    value(NEW, "link-local-ip", None, LINK_LOCAL),
    value(NEW, "storage-opt", None, STORAGE),
    value(NEW, "gpus", None, DEVICE_REQUESTS),
    value(NEW, "cpu-rt-period", None, REAL_TIME),
    value(NEW, "cpu-rt-runtime", None, REAL_TIME),
    value(NEW, "kernel-memory", None, "cgroup v2 has no limit for kernel memory alone"),
    value(NEW, "memory-swappiness", None, SWAPPINESS),
    switch(NEW, "oom-kill-disable", None, OOM_KILL_DISABLE),
    value(&["run", "create", "build"], "cgroup-parent", None, CGROUP),
    value(NEW, "runtime", None, ONE_RUNTIME),
    value(NEW, "cpu-count", None, WINDOWS),
    value(NEW, "cpu-percent", None, WINDOWS),
    value(NEW, "io-maxbandwidth", None, WINDOWS),
    value(NEW, "io-maxiops", None, WINDOWS),
    switch(
        NEW,
        "use-api-socket",
        None,
        "it would also copy your registry credentials into the container; `-v /var/run/docker.sock:/var/run/docker.sock` mounts the socket alone",
    ),
    value(UPDATE, "cpu-rt-period", None, REAL_TIME),
    value(UPDATE, "cpu-rt-runtime", None, REAL_TIME),
    value(UPDATE, "kernel-memory", None, "cgroup v2 has no limit for kernel memory alone"),
    value(UPDATE, "blkio-weight-device", None, DISKS),
    value(UPDATE, "device-read-bps", None, DISKS),
    value(UPDATE, "device-read-iops", None, DISKS),
    value(UPDATE, "device-write-bps", None, DISKS),
    value(UPDATE, "device-write-iops", None, DISKS),
    switch(&["rm"], "link", Some('l'), LINKS),
    value(&["start"], "checkpoint", None, CHECKPOINTS),
    value(&["start"], "checkpoint-dir", None, CHECKPOINTS),
    switch(&["images"], "tree", None, "images of several platforms are not supported yet"),
    value(BUILD, "builder", None, "there is one builder, our own: choose a machine with --machine"),
    value(BUILD, "call", None, "only --check is supported"),
    value(BUILD, "annotation", None, "a label says the same: use --label"),
    value(
        BUILD,
        "cache-from",
        None,
        "caches of registries and folders are not read; what earlier builds left in the machine is always found",
    ),
    value(
        BUILD,
        "cache-to",
        None,
        "caches are not written to registries or folders; what a build leaves stays in the machine",
    ),
    value(BUILD, "attest", None, ATTESTATIONS),
    switch(BUILD, "provenance", None, ATTESTATIONS),
    switch(BUILD, "sbom", None, ATTESTATIONS),
    switch(BUILD, "squash", None, CLASSIC),
    switch(BUILD, "compress", None, CLASSIC),
    switch(BUILD, "rm", None, CLASSIC),
    switch(BUILD, "force-rm", None, CLASSIC),
    value(BUILD, "isolation", None, WINDOWS),
    value(BUILD, "security-opt", None, CLASSIC),
    value(BUILD, "memory", Some('m'), CLASSIC),
    value(BUILD, "memory-swap", None, CLASSIC),
    value(BUILD, "cpu-shares", Some('c'), CLASSIC),
    value(BUILD, "cpu-period", None, CLASSIC),
    value(BUILD, "cpu-quota", None, CLASSIC),
    value(BUILD, "cpuset-cpus", None, CLASSIC),
    value(BUILD, "cpuset-mems", None, CLASSIC),
    value(&["rmi", "import"], "platform", None, PLATFORMS),
];

const fn value(
    verbs: &'static [&'static str],
    long: &'static str,
    short: Option<char>,
    why: &'static str,
) -> Refused {
    Refused { verbs, long, short, takes_value: true, why }
}

const fn switch(
    verbs: &'static [&'static str],
    long: &'static str,
    short: Option<char>,
    why: &'static str,
) -> Refused {
    Refused { verbs, long, short, takes_value: false, why }
}

impl Refused {
    fn id(&self) -> String {
        format!("refused-{}", self.long)
    }

    fn arg(&self) -> Arg {
        let arg = Arg::new(self.id())
            .long(self.long)
            .action(ArgAction::Append)
            .value_parser(OsStringValueParser::new())
            .hide(true);
        let arg = match self.short {
            Some(short) => arg.short(short),
            None => arg,
        };
        if self.takes_value {
            return arg.allow_hyphen_values(true);
        }
        arg.num_args(0..=1).require_equals(true).default_missing_value("true")
    }

    fn failure(&self) -> Failure {
        let short = self.short.map(|short| format!("-{short}/")).unwrap_or_default();
        Failure::new(
            ErrorCode::Unsupported,
            format!("cannot use {short}--{}: {}", self.long, self.why),
        )
    }
}

/// Adds the refused flags to every verb that has some, and their names to its help.
pub(crate) fn augment(command: Command) -> Command {
    let noun = command.get_name().to_owned();
    let names: Vec<String> =
        command.get_subcommands().map(|verb| verb.get_name().to_owned()).collect();
    names.into_iter().fold(command, |command, name| {
        // The verbs of nouns that only say in two words what the table says in one.
        let known_as = match (noun.as_str(), name.as_str()) {
            ("container", "ls") => "ps",
            ("image", "ls") => "images",
            ("image", "rm") => "rmi",
            (_, name) => name,
        }
        .to_owned();
        command.mut_subcommand(name, |verb| match verb.get_name() {
            // The verbs of machines and the daemon are not Docker's; those of networks and volumes
            // refuse nothing.
            "machine" | "system" | "network" | "volume" | "registry" => verb,
            "container" | "image" | "builder" => augment(verb),
            _ => add(verb, &known_as),
        })
    })
}

fn add(verb: Command, known_as: &str) -> Command {
    let flags: Vec<&Refused> = FLAGS.iter().filter(|flag| flag.verbs.contains(&known_as)).collect();
    if flags.is_empty() {
        return verb;
    }
    let names: Vec<String> = flags.iter().map(|flag| format!("--{}", flag.long)).collect();
    flags
        .iter()
        .fold(verb, |verb, flag| verb.arg(flag.arg()))
        .after_long_help(format!("Not supported yet, and refused: {}", names.join(", ")))
}

/// The first refused flag that was given, as the error to show.
pub(crate) fn find(matches: &ArgMatches) -> Option<Failure> {
    let mut here = Some(matches);
    while let Some(matches) = here {
        for flag in FLAGS {
            let given = matches.try_get_many::<std::ffi::OsString>(&flag.id()).ok().flatten();
            if let Some(mut given) = given
                && given.any(|value| flag.takes_value || value != "false")
            {
                return Some(flag.failure());
            }
        }
        here = matches.subcommand().map(|(_, matches)| matches);
    }
    None
}
