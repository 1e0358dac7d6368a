//! Where the context and the Dockerfile of a build come from.

use std::collections::HashMap;
use std::io::{IsTerminal as _, Read as _};
use std::path::Path;

use linkspan_local_files::{Context as LocalFolder, Recipe};
use linkspan_proto::v1::{BuildContext, build_context};

use crate::error::Error;

/// A Dockerfile is read into memory.
const LONGEST: u64 = 64 << 20;

/// The context and the Dockerfile.
#[derive(Debug)]
pub(crate) struct Source {
    pub(crate) recipe: Recipe,
    pub(crate) files: Files,
}

/// Where the files are.
#[derive(Debug)]
pub(crate) enum Files {
    /// There are none.
    None,
    /// A folder here.
    Folder(LocalFolder),
    /// A tar: what was read of standard input already, and the rest of it.
    Tar(Vec<u8>),
    /// A tar or a Dockerfile at this URL.
    Url(String),
}

fn cannot_read(path: &Path, error: &std::io::Error) -> Error {
    Error::invalid(format!("cannot read `{}`: {error}", path.display()))
}

fn from_stdin(what: &str) -> Result<(), Error> {
    if std::io::stdin().is_terminal() {
        return Err(Error::invalid(format!(
            "{what} is wanted from standard input, which is a terminal"
        )));
    }
    Ok(())
}

fn read_stdin() -> Result<String, Error> {
    from_stdin("a Dockerfile")?;
    let mut text = String::new();
    let read = std::io::stdin().take(LONGEST).read_to_string(&mut text);
    read.map_err(|error| cannot_read(Path::new("-"), &error))?;
    Ok(text)
}

/// What stands at the beginning of a tar, plain or compressed. Of bzip2 three letters would be a text as well:
/// the first block follows.
fn is_archive(head: &[u8]) -> bool {
    head.starts_with(&[0x1f, 0x8b])
        || head.starts_with(&[0x28, 0xb5, 0x2f, 0xfd])
        || head.starts_with(b"\xfd7zXZ\0")
        || (head.starts_with(b"BZh") && head.get(4..10) == Some(b"1AY&SY"))
        || head.get(257..262) == Some(b"ustar")
}

impl Source {
    /// Finds the context and reads the Dockerfile.
    ///
    /// # Errors
    /// What is not there, or cannot be read.
    pub(crate) fn open(context: &str, file: Option<&Path>) -> Result<Self, Error> {
        let stdin_file = file == Some(Path::new("-"));
        if context == "-" {
            if stdin_file {
                return Err(Error::invalid(
                    "the context and the Dockerfile cannot both come from standard input",
                ));
            }
            return Self::from_stdin(file);
        }
        if context.starts_with("http://") || context.starts_with("https://") {
            if context.ends_with(".git") || context.contains(".git#") {
                return Err(no_git(context));
            }
            return Ok(Self::remote(Files::Url(context.to_owned()), file));
        }
        if context.starts_with("git@") || context.contains("://") {
            return Err(no_git(context));
        }
        let folder = LocalFolder::open(Path::new(context))?;
        let recipe = if stdin_file {
            let (dockerfile, name) = (read_stdin()?, "Dockerfile".to_owned());
            Recipe { dockerfile, name, ..folder.ignored(None)? }
        } else {
            folder.recipe(file)?
        };
        Ok(Self { recipe, files: Files::Folder(folder) })
    }

    fn from_stdin(file: Option<&Path>) -> Result<Self, Error> {
        from_stdin("a Dockerfile or a tar archive")?;
        let mut head = Vec::new();
        let read = std::io::stdin().take(512).read_to_end(&mut head);
        read.map_err(|error| cannot_read(Path::new("-"), &error))?;
        if is_archive(&head) {
            return Ok(Self::remote(Files::Tar(head), file));
        }
        if let Some(file) = file {
            return Err(Error::invalid(format!(
                "cannot use -f `{}`: standard input is no tar archive that could have it",
                file.display()
            )));
        }
        let read = std::io::stdin().take(LONGEST).read_to_end(&mut head);
        read.map_err(|error| cannot_read(Path::new("-"), &error))?;
        let text = String::from_utf8(head)
            .map_err(|_| Error::invalid("standard input is neither a tar nor a Dockerfile"))?;
        let mut source = Self::remote(Files::None, None);
        source.recipe.dockerfile = text;
        Ok(source)
    }

    /// The Dockerfile is among the files.
    fn remote(files: Files, file: Option<&Path>) -> Self {
        let name = file.unwrap_or(Path::new("Dockerfile"));
        let recipe = Recipe {
            name: name.to_string_lossy().replace('\\', "/"),
            ignore_name: ".dockerignore".to_owned(),
            ..Recipe::default()
        };
        Self { recipe, files }
    }
}

fn no_git(context: &str) -> Error {
    Error::Failure(
        linkspan_proto::error::Failure::new(
            linkspan_proto::error::ErrorCode::Unsupported,
            format!("cannot use `{context}` as a context: there is no git in the machine"),
        )
        .hint("clone the repository and build its folder"),
    )
}

impl Files {
    /// What the agent is told of it.
    pub(crate) fn kind(&self, stream_id: &str) -> Option<BuildContext> {
        let kind = match self {
            Self::None => return None,
            Self::Folder(folder) => {
                build_context::Kind::Folder(folder.root().to_string_lossy().into_owned())
            }
            Self::Tar(_) => build_context::Kind::TarStreamId(stream_id.to_owned()),
            Self::Url(url) => build_context::Kind::Url(url.clone()),
        };
        Some(BuildContext { kind: Some(kind) })
    }
}

/// `--build-context`, by name.
///
/// # Errors
/// What cannot be one.
pub(crate) fn named(flags: &[String]) -> Result<HashMap<String, BuildContext>, Error> {
    let mut contexts = HashMap::new();
    for flag in flags {
        let bad = |why: &str| Error::invalid(format!("cannot use --build-context `{flag}`: {why}"));
        let (name, source) = flag.split_once('=').ok_or_else(|| bad("it is NAME=SOURCE"))?;
        let Some(image) = source.strip_prefix("docker-image://") else {
            return Err(bad("only docker-image://IMAGE is supported"));
        };
        let kind = build_context::Kind::Image(image.to_owned());
        contexts.insert(name.to_lowercase(), BuildContext { kind: Some(kind) });
    }
    Ok(contexts)
}
