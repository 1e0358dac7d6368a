//! Which instructions, flags and mount options there are. The parser reads this table, and
//! `docs/dockerfile.md` is made from it.

/// Whether something works here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Support {
    /// It does what the reference says.
    Yes,
    /// It is refused by name, for this reason.
    Refused(&'static str),
}

/// What a flag takes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Takes {
    /// `--flag`, `--flag=true`, `--flag=false`.
    Bool,
    /// `--flag=value`.
    Text,
    /// `--flag=value`, several times.
    List,
}

/// A flag of an instruction.
#[derive(Debug, Clone, Copy)]
pub struct Flag {
    /// Without dashes.
    pub name: &'static str,
    /// What it takes.
    pub takes: Takes,
    /// Whether it works.
    pub support: Support,
    /// What it does.
    pub what: &'static str,
}

/// An instruction of a Dockerfile.
#[derive(Debug, Clone, Copy)]
pub struct InstructionSpec {
    /// In capitals.
    pub name: &'static str,
    /// What it does.
    pub what: &'static str,
    /// All flags, also the refused ones.
    pub flags: &'static [Flag],
}

/// Something else that has a name: a directive, a mount option, a build argument.
#[derive(Debug, Clone, Copy)]
pub struct Named {
    /// As it is written.
    pub name: &'static str,
    /// Whether it works.
    pub support: Support,
    /// What it does.
    pub what: &'static str,
}

const fn text(name: &'static str, what: &'static str) -> Flag {
    Flag { name, takes: Takes::Text, support: Support::Yes, what }
}

const fn boolean(name: &'static str, what: &'static str) -> Flag {
    Flag { name, takes: Takes::Bool, support: Support::Yes, what }
}

const fn list(name: &'static str, what: &'static str) -> Flag {
    Flag { name, takes: Takes::List, support: Support::Yes, what }
}

const CHOWN: Flag =
    text("chown", "USER[:GROUP] of what is copied, names or numbers; 0:0 otherwise");
const CHMOD: Flag = text("chmod", "Mode of what is copied: octal, or symbolic as in `u=rwX,go=rX`");
const LINK: Flag = boolean("link", "A layer of its own that does not depend on what is below");
const EXCLUDE: Flag = list("exclude", "Leaves out what matches, by the rules of .dockerignore");

/// All instructions.
pub const INSTRUCTIONS: &[InstructionSpec] = &[
    InstructionSpec {
        name: "ADD",
        what: "Copies files, URLs, git repositories and heredocs; unpacks local archives",
        flags: &[
            CHOWN,
            CHMOD,
            LINK,
            EXCLUDE,
            boolean("keep-git-dir", "Keeps the `.git` of a git repository"),
            text("checksum", "Digest (`sha256:...`) of a URL, or commit of a git repository"),
            boolean("unpack", "Whether archives are unpacked: by default local ones, not URLs"),
        ],
    },
    InstructionSpec { name: "ARG", what: "Declares build arguments", flags: &[] },
    InstructionSpec { name: "CMD", what: "The default command", flags: &[] },
    InstructionSpec {
        name: "COPY",
        what: "Copies files of the context, a stage or an image, and heredocs",
        flags: &[
            text("from", "A stage by name or number, or an image, instead of the context"),
            CHOWN,
            CHMOD,
            LINK,
            boolean("parents", "Keeps the folders above what is copied; `/./` says from where on"),
            EXCLUDE,
        ],
    },
    InstructionSpec { name: "ENTRYPOINT", what: "The program that gets the command", flags: &[] },
    InstructionSpec { name: "ENV", what: "Sets variables, of the build and the image", flags: &[] },
    InstructionSpec { name: "EXPOSE", what: "Names ports", flags: &[] },
    InstructionSpec {
        name: "FROM",
        what: "Begins a stage: from an image, an earlier stage, or `scratch`",
        flags: &[text("platform", "OS/ARCHITECTURE[/VARIANT] instead of the build's target")],
    },
    InstructionSpec {
        name: "HEALTHCHECK",
        what: "How to probe a container, or NONE",
        flags: &[
            text("interval", "From the end of a probe to the next"),
            text("timeout", "After which a probe has failed"),
            text("start-period", "In which failures do not count"),
            text("start-interval", "The interval in that period"),
            text("retries", "Failures in a row that count"),
        ],
    },
    InstructionSpec { name: "LABEL", what: "Sets labels", flags: &[] },
    InstructionSpec { name: "MAINTAINER", what: "Names the author; deprecated: LABEL", flags: &[] },
    InstructionSpec {
        name: "ONBUILD",
        what: "An instruction for builds on top of this image",
        flags: &[],
    },
    InstructionSpec {
        name: "RUN",
        what: "Runs a command, in a shell or directly, also a heredoc",
        flags: &[
            list("mount", "A mount for this command: see below"),
            text("network", "default, none, or host (with --allow network.host)"),
            text("security", "sandbox, or insecure (with --allow security.insecure)"),
            Flag {
                name: "device",
                takes: Takes::List,
                support: Support::Refused("the machine has no CDI devices"),
                what: "",
            },
        ],
    },
    InstructionSpec { name: "SHELL", what: "The shell of what is not in JSON form", flags: &[] },
    InstructionSpec { name: "STOPSIGNAL", what: "The signal of stop", flags: &[] },
    InstructionSpec { name: "USER", what: "The user of RUN, CMD and ENTRYPOINT", flags: &[] },
    InstructionSpec { name: "VOLUME", what: "Paths that get an anonymous volume", flags: &[] },
    InstructionSpec { name: "WORKDIR", what: "The working folder; makes it", flags: &[] },
];

const fn yes(name: &'static str, what: &'static str) -> Named {
    Named { name, support: Support::Yes, what }
}

const fn no(name: &'static str, why: &'static str) -> Named {
    Named { name, support: Support::Refused(why), what: "" }
}

/// The parser directives.
pub const DIRECTIVES: &[Named] = &[
    yes("escape", "`\\` or a backtick: escapes a character, and continues a line"),
    yes("syntax", "`docker/dockerfile`, any version: it is built in. Others are refused"),
    yes("check", "`skip=RULE,...` or `skip=all`, `error=true`, for the warnings below"),
];

/// The options of `RUN --mount`, with the types that they are for.
pub const MOUNT_OPTIONS: &[Named] = &[
    yes("type", "bind (the default), cache, tmpfs, secret, ssh"),
    yes("target, dst, destination", "all: where. bind and cache need it"),
    yes("source, src", "bind, cache: the path within `from`; secret: the same as id"),
    yes("from", "bind, cache: a stage or an image instead of the context or an empty folder"),
    yes("readonly, ro, readwrite, rw", "bind is read-only, cache and tmpfs are not, unless said"),
    yes("id", "cache: its name, otherwise the target; secret and ssh: which one"),
    yes("sharing", "cache: shared (the default), private, locked"),
    yes("size", "tmpfs: the most bytes, also as 64m"),
    yes("required", "secret, ssh: the build fails without it"),
    yes("env", "secret: the variable that gets it, instead of or beside a file"),
    yes("mode, uid, gid", "cache (0755), secret (0400), ssh (0600): of the folder or file"),
];

/// Build arguments that mean something without an ARG.
pub const ARGUMENTS: &[Named] = &[
    yes(
        "HTTP_PROXY, HTTPS_PROXY, FTP_PROXY, NO_PROXY, ALL_PROXY",
        "also in small letters: variables of RUN, in no cache key and no history",
    ),
    yes(
        "TARGETPLATFORM, TARGETOS, TARGETARCH, TARGETVARIANT",
        "what is built for; usable in FROM, and in a stage after ARG",
    ),
    yes("BUILDPLATFORM, BUILDOS, BUILDARCH, BUILDVARIANT", "the machine that builds; the same"),
    yes("TARGETSTAGE", "the name of the target or the last stage, or `default`; the same"),
    yes("SOURCE_DATE_EPOCH", "seconds since 1970: the time of files, history and image"),
    no("BUILDKIT_SYNTAX", "no other frontend is run"),
    no("BUILDKIT_INLINE_CACHE", "an image carries no cache"),
    no("BUILDKIT_CACHE_MOUNT_NS", "cache mounts have one namespace"),
    no("BUILDKIT_CONTEXT_KEEP_GIT_DIR", "the context is a folder"),
    no("BUILDKIT_MULTI_PLATFORM", "the output says it"),
    no("BUILDKIT_SANDBOX_HOSTNAME", "the name of the host in RUN is fixed"),
    no("BUILDKIT_DOCKERFILE_CHECK", "the check directive says it"),
    no("BUILDKIT_SBOM_SCAN_CONTEXT", "no bill of materials is made"),
    no("BUILDKIT_SBOM_SCAN_STAGE", "no bill of materials is made"),
];

/// The warnings, by the names of BuildKit's rules.
pub const WARNINGS: &[Named] = &[
    yes("CopyIgnoredFile", "COPY or ADD of what .dockerignore leaves out"),
    yes("DuplicateStageName", "two stages with one name"),
    yes("InvalidBaseImagePlatform", "a base of another platform than asked for"),
    yes("LegacyKeyValueFormat", "`ENV name value` instead of `ENV name=value`"),
    yes("MaintainerDeprecated", "MAINTAINER instead of LABEL"),
    yes("MultipleInstructionsDisallowed", "a second CMD, ENTRYPOINT or HEALTHCHECK in a stage"),
    yes("NoEmptyContinuation", "an empty line within an instruction"),
    yes("ReservedStageName", "a stage named `context` or `scratch`"),
    yes("WorkdirRelativePath", "a relative WORKDIR without an absolute one before"),
    yes("UnusedBuildArg", "a --build-arg that no ARG declares"),
];

/// The instruction of that name, in any case.
pub(crate) fn find(name: &str) -> Option<&'static InstructionSpec> {
    INSTRUCTIONS.iter().find(|spec| spec.name.eq_ignore_ascii_case(name))
}
