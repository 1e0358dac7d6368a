//! What a plan is made of, and what it is made from.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use linkspan_images::Platform;
use serde::Serialize;

use super::key::Key;
use crate::config::ImageConfig;
use crate::ignore::{ContextFilter, Ignore};
use crate::mode::ModeChange;
use crate::source::Span;

/// What the user said beside the Dockerfile.
#[derive(Debug, Clone, Default)]
pub struct Options {
    /// `--build-arg`.
    pub build_args: BTreeMap<String, String>,
    /// `--target`: the name or number of a stage; otherwise the last.
    pub target: Option<String>,
    /// `--platform`: what is built for; None: what `build_platform` is.
    pub platform: Option<Platform>,
    /// The machine that builds.
    pub build_platform: Platform,
    /// `--label`.
    pub labels: BTreeMap<String, String>,
    /// `--allow`.
    pub allow: BTreeSet<Entitlement>,
    /// `--network`: of each RUN that does not say.
    pub network: Network,
    /// `--no-cache`.
    pub no_cache: bool,
    /// `--no-cache-filter`: names of stages.
    pub no_cache_stages: BTreeSet<String>,
    /// The .dockerignore.
    pub ignore: Ignore,
    /// `--build-context NAME=docker-image://IMAGE`: names in small letters that mean an image
    /// wherever FROM, --from or a mount has them.
    pub named_images: BTreeMap<String, String>,
}

/// What a build may do only if the user allows it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Entitlement {
    /// `network.host`.
    NetworkHost,
    /// `security.insecure`.
    SecurityInsecure,
}

/// An image that a plan needs.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
pub struct ImageRequest {
    /// With domain and tag or digest: `docker.io/library/alpine:latest`.
    pub reference: String,
    /// Which of its images.
    pub platform: Platform,
}

/// What is known of an image.
#[derive(Debug, Clone, Default)]
pub struct ImageInfo {
    /// `sha256:...`, of the manifest.
    pub digest: String,
    /// Its configuration.
    pub config: ImageConfig,
}

/// The images that the caller has.
pub type Images = HashMap<ImageRequest, ImageInfo>;

/// What [`plan`](super::plan) comes to.
#[derive(Debug)]
pub enum Outcome {
    /// These images are needed first; each is there once, in the order of the Dockerfile.
    Missing(Vec<ImageRequest>),
    /// What to do.
    Plan(Box<Plan>),
}

/// A checked build. Only stages that the target needs are in it.
#[derive(Debug, Serialize)]
pub struct Plan {
    /// A stage comes after all that it needs. Two that do not need each other may run together.
    pub stages: Vec<PlannedStage>,
    /// The index in `stages` of what is built.
    pub target: usize,
    /// The configuration of the result; `rootfs` is the executor's.
    pub config: ImageConfig,
    /// Which files of the context the build can use.
    pub context: ContextFilter,
    /// `SOURCE_DATE_EPOCH`: all times of the result.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub epoch: Option<i64>,
    /// What is odd about the Dockerfile.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub warnings: Vec<Warning>,
}

/// One stage.
#[derive(Debug, Serialize)]
pub struct PlannedStage {
    /// Its number in the Dockerfile, from 0.
    pub number: usize,
    /// In small letters, `stage-1` if it has none.
    pub name: String,
    /// What it is built for.
    #[serde(serialize_with = "as_text")]
    pub platform: Platform,
    /// What it begins with.
    pub base: Base,
    /// For people: `[build 1/5] FROM docker.io/library/alpine:latest`; empty unless it begins with
    /// an image.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// The FROM as it is written.
    #[serde(skip)]
    pub text: String,
    /// Where it stands.
    pub span: Span,
    /// The indices in [`Plan::stages`] of what must be done before: base, COPY --from, mounts.
    pub needs: Vec<usize>,
    /// In order, triggers of the base first.
    pub steps: Vec<Step>,
}

fn as_text<S: serde::Serializer>(platform: &Platform, to: S) -> Result<S::Ok, S::Error> {
    to.collect_str(platform)
}

/// What a stage begins with.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Base {
    /// Nothing.
    Scratch,
    /// An image.
    Image {
        /// With domain and tag or digest.
        reference: String,
        /// Of the manifest.
        digest: String,
    },
    /// The index in [`Plan::stages`].
    Stage(usize),
}

/// One instruction.
#[derive(Debug, Serialize)]
pub struct Step {
    /// The instruction as it is written, continuations joined.
    pub text: String,
    /// For people: `[build 2/5] RUN make`; empty where no files change.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub title: String,
    /// Where it stands; a trigger stands at its FROM.
    pub span: Span,
    /// It is an ONBUILD trigger of the base.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub is_trigger: bool,
    /// What to do.
    pub action: Action,
    /// By what a result of it is found again; None where no files change.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub key: Option<Key>,
    /// A result of an earlier build is not used.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub ignore_cache: bool,
}

/// What a step does.
#[derive(Debug, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Action {
    /// Only the configuration changes, and that is done already.
    Configure,
    /// A command.
    Run(Box<RunStep>),
    /// COPY or ADD.
    Copy(Box<CopyStep>),
    /// WORKDIR.
    Folder(FolderStep),
}

/// A command in a container on top of the stage.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct RunStep {
    /// The program and its arguments.
    pub arguments: Vec<String>,
    /// `NAME=VALUE`, of the image and of build arguments.
    pub env: Vec<String>,
    /// Proxies: variables too, which neither key nor history know.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub proxy_env: Vec<String>,
    /// As USER has it; empty: root.
    pub user: String,
    /// Absolute.
    pub working_dir: String,
    /// What it can reach.
    pub network: Network,
    /// With all capabilities and no seccomp filter.
    pub insecure: bool,
    /// In the order in which they are mounted.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub mounts: Vec<Mount>,
    /// A heredoc that begins with `#!`: a file to be there while it runs.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub script: Option<Script>,
}

/// A file of mode 0755, read-only, that is no part of the layer.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct Script {
    /// Absolute.
    pub path: String,
    /// What it contains.
    pub content: String,
}

/// The network of a command.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Network {
    /// A network of its own, with access to the outside.
    #[default]
    Default,
    /// Only loopback.
    None,
    /// That of the machine.
    Host,
}

/// Where files come from.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum FileSource {
    /// The build context, without what .dockerignore leaves out.
    Context,
    /// The index in [`Plan::stages`].
    Stage(usize),
    /// An image.
    Image {
        /// With domain and tag or digest.
        reference: String,
        /// Of the manifest.
        digest: String,
    },
    /// Nothing is in there.
    Scratch,
}

/// A mount of a RUN. Targets are absolute.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
#[allow(missing_docs, reason = "the fields are the options of --mount")]
pub enum Mount {
    /// Files of elsewhere. What is written to a writable one is thrown away.
    Bind { from: FileSource, source: String, target: String, writable: bool },
    /// A folder that outlives the build. `from` and `source` are what it has at first.
    Cache {
        id: String,
        target: String,
        sharing: Sharing,
        read_only: bool,
        from: FileSource,
        source: String,
        uid: u32,
        gid: u32,
        mode: u32,
    },
    /// Memory; `size` in bytes.
    Tmpfs { target: String, size: Option<u64> },
    /// A secret as a file, a variable or both.
    Secret {
        id: String,
        target: Option<String>,
        env: Option<String>,
        required: bool,
        uid: u32,
        gid: u32,
        mode: u32,
    },
    /// The socket of an SSH agent; `SSH_AUTH_SOCK` names the first.
    Ssh { id: String, target: String, required: bool, uid: u32, gid: u32, mode: u32 },
}

/// What two commands do that want a cache at one time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Sharing {
    /// Both use it.
    Shared,
    /// The second gets another.
    Private,
    /// The second waits.
    Locked,
}

/// COPY or ADD: each source in turn.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct CopyStep {
    /// What.
    pub sources: Vec<Source>,
    /// Absolute, without a slash at the end.
    pub destination: String,
    /// A file goes into the destination, and is not the destination.
    pub into_folder: bool,
    /// USER[:GROUP]; None: 0:0.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub owner: Option<String>,
    /// None: as the source has it.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub mode: Option<ModeChange>,
    /// A layer that does not look at what is below.
    pub link: bool,
    /// Patterns as in .dockerignore, of paths within the source.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub excludes: Vec<String>,
}

/// One source.
#[derive(Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// Files. A folder means its contents.
    Files {
        /// Of where.
        from: FileSource,
        /// Absolute within it, with Go's wildcards (`filepath.Match`).
        path: String,
        /// `--parents`: the pattern below `path` whose folders are kept.
        #[serde(skip_serializing_if = "Option::is_none")]
        parents: Option<String>,
        /// It is an error if there is none; with wildcards it is not.
        required: bool,
        /// An archive is unpacked.
        unpack: bool,
    },
    /// A download.
    Url {
        /// http or https.
        url: String,
        /// The name of the file in a folder.
        name: String,
        /// `sha256:...`.
        #[serde(skip_serializing_if = "Option::is_none")]
        checksum: Option<String>,
        /// An archive is unpacked.
        unpack: bool,
    },
    /// The files of a repository.
    Git {
        /// The URL.
        remote: String,
        /// A commit, tag or branch.
        #[serde(skip_serializing_if = "Option::is_none")]
        reference: Option<String>,
        /// Only what is in there.
        #[serde(skip_serializing_if = "Option::is_none")]
        folder: Option<String>,
        /// The commit, or its beginning.
        #[serde(skip_serializing_if = "Option::is_none")]
        checksum: Option<String>,
        /// With `.git`.
        keep_git_dir: bool,
        /// With submodules.
        submodules: bool,
    },
    /// A heredoc: a file of mode 0644.
    Inline {
        /// The name of the file in a folder.
        name: String,
        /// What it contains.
        content: String,
    },
}

/// WORKDIR: a folder that is made, with those above it, if it is not there.
#[derive(Debug, PartialEq, Eq, Serialize)]
pub struct FolderStep {
    /// Absolute.
    pub path: String,
    /// As USER has it; empty: root.
    pub owner: String,
}

/// What is odd, but no error.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Warning {
    /// The name of BuildKit's rule.
    pub rule: &'static str,
    /// What.
    pub message: String,
    /// Where.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub span: Option<Span>,
}
