//! What can be wrong with a Dockerfile. The words are BuildKit's where people know them.

use std::fmt;

use crate::source::Span;

/// A result of this crate.
pub type Result<T, E = Error> = std::result::Result<T, E>;

/// Why a Dockerfile cannot be built: what, and where.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Error {
    /// What is wrong.
    pub problem: Box<Problem>,
    /// The instruction it is about; None when it is about no line.
    pub span: Option<Span>,
    /// Found while reading, before anything was evaluated.
    pub(crate) reading: bool,
}

impl Error {
    /// Found while reading the text.
    pub(crate) fn reading(problem: Problem, span: Span) -> Self {
        Self { problem: Box::new(problem), span: Some(span), reading: true }
    }

    /// Found while the instruction was evaluated.
    pub(crate) fn at(problem: Problem, span: Span) -> Self {
        Self { problem: Box::new(problem), span: Some(span), reading: false }
    }

    /// About the whole.
    pub(crate) fn whole(problem: Problem) -> Self {
        Self { problem: Box::new(problem), span: None, reading: false }
    }

    /// The error as a terminal shows it: the file and line, the lines around, the message, a hint.
    #[must_use]
    pub fn report(&self, file: &str, text: &str) -> String {
        let mut out = self.span.map(|span| excerpt(file, text, span)).unwrap_or_default();
        out += &format!("error: {self}\n");
        if let Some(hint) = self.problem.hint() {
            out += &format!("hint: {hint}\n");
        }
        out
    }
}

/// A part of a Dockerfile with the lines around it, as a terminal shows it.
#[must_use]
pub fn excerpt(file: &str, text: &str, span: Span) -> String {
    const AROUND: usize = 2;
    let rule = "-".repeat(20);
    let mut out = format!("{file}:{}\n{rule}\n", span.first_line);
    let shown = span.first_line.saturating_sub(AROUND)..=span.last_line + AROUND;
    for (index, line) in text.lines().enumerate() {
        let number = index + 1;
        if shown.contains(&number) {
            let inside = (span.first_line..=span.last_line).contains(&number);
            let mark = if inside { ">>>" } else { "   " };
            out += format!("{number:4} | {mark} {line}").trim_end();
            out.push('\n');
        }
    }
    out + &format!("{rule}\n")
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let (true, Some(span)) = (self.reading, self.span) {
            write!(f, "dockerfile parse error on line {}: ", span.first_line)?;
        }
        self.problem.fmt(f)
    }
}

impl std::error::Error for Error {}

/// ` (did you mean X?)`, or nothing.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Suggestion(Option<String>);

impl Suggestion {
    /// The nearest of the options, if one is at most two edits away.
    pub(crate) fn nearest<'a>(text: &str, options: impl IntoIterator<Item = &'a str>) -> Self {
        const TOO_FAR: usize = 3;
        let distance = |option: &str| {
            strsim::levenshtein(&text.to_ascii_lowercase(), &option.to_ascii_lowercase())
        };
        let near = options.into_iter().map(|option| (distance(option), option));
        let best = near.filter(|(far, _)| *far < TOO_FAR).min_by_key(|(far, _)| *far);
        Self(best.filter(|(far, _)| *far > 0).map(|(_, option)| option.to_owned()))
    }
}

impl fmt::Display for Suggestion {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.as_ref().map_or(Ok(()), |option| write!(f, " (did you mean {option}?)"))
    }
}

/// What is wrong.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
#[allow(missing_docs, reason = "the message of a variant says what its fields are")]
pub enum Problem {
    #[error("file with no instructions")]
    NoInstructions,
    #[error("dockerfile contains no stages to build")]
    NoStages,
    #[error("no build stage in current context: {name} comes before the first FROM")]
    BeforeFrom { name: String },
    #[error("dockerfile line greater than max allowed size of {limit} bytes")]
    LineTooLong { limit: usize },
    #[error("only one {name} parser directive can be used")]
    DirectiveTwice { name: String },
    #[error("invalid escape token '{token}' does not match ` or \\")]
    EscapeToken { token: String },
    #[error("syntax `{name}` is another frontend")]
    Syntax { name: String },
    #[error("invalid check directive `{value}`: {why}")]
    Check { value: String, why: &'static str },
    #[error("the check directive says `error=true`, and there are warnings ({count}): {first}")]
    Warnings { count: usize, first: String },
    #[error("unterminated heredoc: no line with only `{name}` follows")]
    Heredoc { name: String },
    #[error("unknown instruction: {name}{suggestion}")]
    UnknownInstruction { name: String, suggestion: Suggestion },
    #[error("unknown flag: --{flag}{suggestion}")]
    UnknownFlag { flag: String, suggestion: Suggestion },
    #[error("{name} --{flag} is not supported: {why}")]
    Refused { name: &'static str, flag: &'static str, why: &'static str },
    #[error("duplicate flag specified: --{flag}")]
    FlagTwice { flag: String },
    #[error("missing a value on flag: --{flag}")]
    FlagWithoutValue { flag: String },
    #[error("expecting boolean value for flag --{flag}, not: {value}")]
    FlagNotBool { flag: String, value: String },
    #[error("{name} requires at least one argument")]
    AtLeastOne { name: &'static str },
    #[error("{name} requires exactly one argument")]
    ExactlyOne { name: &'static str },
    #[error(
        "{name} requires at least two arguments, but only one was provided. \
         Destination could not be determined"
    )]
    NoDestination { name: &'static str },
    #[error("{name} cannot accept a heredoc as a destination")]
    HeredocDestination { name: &'static str },
    #[error("FROM requires either one or three arguments")]
    FromArguments,
    #[error(
        "invalid name for build stage: {name:?}, name can't start with a number or contain symbols"
    )]
    StageName { name: String },
    #[error("when using JSON array syntax, arrays must be comprised of strings only")]
    NotStrings,
    #[error("{name} requires the arguments to be in JSON form")]
    NotJson { name: &'static str },
    #[error("{name} names can not be blank")]
    BlankName { name: &'static str },
    #[error("{name} must have two arguments")]
    TwoArguments { name: &'static str },
    #[error("can't find = in {word:?}: must be of the form name=value")]
    NoEqualSign { word: String },
    #[error("Chaining ONBUILD via `ONBUILD ONBUILD` isn't allowed")]
    OnbuildChain,
    #[error("{name} isn't allowed as an ONBUILD trigger")]
    OnbuildForbidden { name: String },
    #[error("onbuild trigger should be a single expression: {trigger:?}")]
    OnbuildNotSingle { trigger: String },
    #[error("ONBUILD trigger {trigger:?} of the base: {problem}")]
    Trigger { trigger: String, problem: Box<Problem> },
    #[error("HEALTHCHECK NONE takes no arguments")]
    HealthNone,
    #[error("missing command after HEALTHCHECK CMD")]
    HealthNoCommand,
    #[error("unknown type {kind:?} in HEALTHCHECK (try CMD)")]
    HealthType { kind: String },
    #[error("invalid value {value:?} for --{flag}: {why}")]
    FlagValue { flag: &'static str, value: String, why: String },
    #[error("VOLUME specified can not be an empty string")]
    EmptyVolume,
    #[error("failed to process {text:?}: {why}")]
    Expansion { text: String, why: String },
    #[error("variable {name} is longer than the {limit} bytes that a program can get")]
    VariableTooLong { name: String, limit: usize },
    #[error("with the triggers of its bases the Dockerfile has more than {limit} instructions")]
    TooManyInstructions { limit: usize },
    #[error("base name ({name}) should not be blank")]
    BlankBase { name: String },
    #[error("empty platform value from expression {text}")]
    EmptyPlatform { text: String },
    #[error("failed to parse platform {text:?}: {why}")]
    Platform { text: String, why: String },
    #[error("failed to parse stage name {name:?}: {why}")]
    Reference { name: String, why: String },
    #[error("image {reference} has no platform {platform}: it is for {found}")]
    WrongPlatform { reference: String, platform: String, found: String },
    #[error("target stage {name:?} could not be found{suggestion}")]
    Target { name: String, suggestion: Suggestion },
    #[error("invalid stage index {index}")]
    StageIndex { index: String },
    #[error("circular dependency detected on stage: {stage}")]
    Circular { stage: String },
    #[error(
        "cannot copy from stage {from:?}, it needs to be defined before current stage {stage:?}"
    )]
    NotBefore { from: String, stage: String },
    #[error(
        "variable expansion is not supported for --from, define a new stage with FROM using ARG \
         from global scope as a workaround"
    )]
    FromVariable,
    #[error("'from' doesn't support variable expansion, define alias stage instead")]
    MountFromVariable,
    #[error("invalid --mount {text:?}: {why}")]
    Mount { text: String, why: String },
    #[error("invalid mount target {target:?}")]
    MountTarget { target: String },
    #[error("invalid network mode {mode:?}{suggestion}")]
    Network { mode: String, suggestion: Suggestion },
    #[error("security {mode:?} is not valid{suggestion}")]
    Security { mode: String, suggestion: Suggestion },
    #[error("granting entitlement {entitlement} is not allowed by this build")]
    Entitlement { entitlement: &'static str },
    #[error(
        "invalid chmod parameter: '{mode}'. it should be octal string and between 0 and 07777, \
         or symbolic as in u=rwX,go=rX"
    )]
    Chmod { mode: String },
    #[error("invalid chown parameter: '{owner}': {why}")]
    Chown { owner: String, why: &'static str },
    #[error("checksum can't be specified for multiple sources")]
    ChecksumSources,
    #[error("checksum requires HTTP(S) or Git sources")]
    ChecksumSource,
    #[error("invalid checksum {checksum:?}: {why}")]
    Checksum { checksum: String, why: String },
    #[error("source can't be a URL for COPY")]
    CopyUrl,
    #[error("source can't be a git ref for COPY")]
    CopyGit,
    #[error("invalid git source {source_text:?}: {why}")]
    Git { source_text: String, why: String },
    #[error("invalid containerPort: {text}")]
    Port { text: String },
    #[error("invalid proto: {text}")]
    Protocol { text: String },
    #[error("invalid signal: {signal}")]
    Signal { signal: String },
    #[error("invalid SOURCE_DATE_EPOCH: {value:?} is not a number of seconds")]
    Epoch { value: String },
    #[error("invalid pattern {pattern:?} in {file}: {why}")]
    Ignore { file: String, pattern: String, why: String },
}

impl Problem {
    /// What to do about it, where that is not plain from the message.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::NoInstructions | Self::NoStages => "a Dockerfile begins with `FROM IMAGE`",
            Self::BeforeFrom { .. } => "only ARG may stand before the first FROM",
            Self::Syntax { .. } => "`docker/dockerfile` is built in; no other frontend is run",
            Self::Heredoc { .. } => {
                "the end of a heredoc has no blanks around it (`<<-` allows tabs before)"
            }
            Self::NotJson { .. } => r#"for example SHELL ["/bin/bash", "-c"]"#,
            Self::BlankBase { .. } => {
                "give the ARG a default before the first FROM, or set it with --build-arg"
            }
            Self::NotBefore { .. } => "move the stage up",
            Self::Entitlement { .. } => "allow it with --allow ENTITLEMENT",
            Self::CopyUrl | Self::CopyGit => "ADD fetches URLs and git repositories",
            Self::Reference { .. } => "image names are lower case: [REGISTRY/]NAME[:TAG][@DIGEST]",
            Self::FromArguments => "FROM IMAGE, or FROM IMAGE AS NAME",
            Self::StageIndex { .. } => "stages are counted from 0",
            Self::Port { .. } => "PORT, or FIRST-LAST, with /tcp, /udp or /sctp after it",
            Self::Circular { .. } => "one of these stages must come without the other",
            Self::HealthType { .. } => "HEALTHCHECK CMD COMMAND, or HEALTHCHECK NONE",
            Self::MountTarget { .. } => "a mount needs a target below `/`",
            _ => return None,
        })
    }
}
