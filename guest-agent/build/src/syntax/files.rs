//! COPY and ADD.

use super::flags::Flags;
use super::heredoc::{self, Heredoc};
use super::lines::Line;
use super::words;
use crate::error::Problem;

/// COPY or ADD, not expanded.
#[derive(Debug, Clone)]
pub(crate) struct Copy {
    pub(crate) is_add: bool,
    /// In the order of the instruction.
    pub(crate) sources: Vec<SourceText>,
    pub(crate) destination: String,
    pub(crate) from: Option<String>,
    pub(crate) chown: Option<String>,
    pub(crate) chmod: Option<String>,
    pub(crate) link: bool,
    pub(crate) parents: bool,
    pub(crate) excludes: Vec<String>,
    pub(crate) keep_git_dir: Option<bool>,
    pub(crate) checksum: Option<String>,
    pub(crate) unpack: Option<bool>,
}

/// A source as it is written.
#[derive(Debug, Clone)]
pub(crate) enum SourceText {
    /// A path, URL or git repository.
    Path(String),
    Heredoc(Heredoc),
}

pub(crate) fn copy(name: &'static str, line: &Line, flags: &Flags) -> Result<Copy, Problem> {
    let (mut arguments, is_json) = match words::json(&line.rest)? {
        Some(list) => (list, true),
        None => (words::plain(&line.rest), false),
    };
    let destination = arguments.pop().filter(|_| !arguments.is_empty());
    let Some(destination) = destination else { return Err(Problem::NoDestination { name }) };
    if !is_json && heredoc::parse(&destination).is_some() {
        return Err(Problem::HeredocDestination { name });
    }
    let source = |text: String| {
        let begun = if is_json { None } else { heredoc::parse(&text) };
        match begun.and_then(|begun| line.heredocs.iter().find(|other| other.name == begun.name)) {
            Some(heredoc) => SourceText::Heredoc(heredoc.clone()),
            None => SourceText::Path(text),
        }
    };
    Ok(Copy {
        is_add: name == "ADD",
        sources: arguments.into_iter().map(source).collect(),
        destination,
        from: flags.text("from"),
        chown: flags.text("chown"),
        chmod: flags.text("chmod"),
        link: flags.bool("link").unwrap_or(false),
        parents: flags.bool("parents").unwrap_or(false),
        excludes: flags.all("exclude"),
        keep_git_dir: flags.bool("keep-git-dir"),
        checksum: flags.text("checksum"),
        unpack: flags.bool("unpack"),
    })
}
