//! COPY and ADD.

use std::str::FromStr as _;

use linkspan_images::absolute_path;

use super::key::{Hole, Key, Parent, json};
use super::stage::{Scope, State};
use super::types::{Action, CopyStep, FileSource, Source};
use super::warnings::Warnings;
use crate::error::Problem;
use crate::expand::Lexer;
use crate::git;
use crate::mode::ModeChange;
use crate::source::Span;
use crate::syntax::{self, Copy, Heredoc};

pub(super) fn plan(
    scope: &Scope<'_>,
    number: usize,
    copy: &Copy,
    state: &mut State,
    span: Span,
    warnings: &mut Warnings,
) -> Result<(Action, Option<Key>), Problem> {
    let expand = |text: &str| scope.expand(text, state);
    let optional = |text: &Option<String>| text.as_deref().map(expand).transpose();
    let destination = expand(&copy.destination)?;
    let owner = optional(&copy.chown)?.filter(|owner| !owner.is_empty());
    if let Some(owner) = &owner {
        check_owner(owner, copy.link)?;
    }
    let mode = match optional(&copy.chmod)?.filter(|mode| !mode.is_empty()) {
        None => None,
        Some(mode) => Some(ModeChange::parse(&mode).ok_or(Problem::Chmod { mode })?),
    };
    let checksum = optional(&copy.checksum)?.filter(|checksum| !checksum.is_empty());
    let excludes =
        copy.excludes.iter().map(|text| expand(text)).collect::<Result<Vec<_>, Problem>>()?;
    let from = match &copy.from {
        Some(from) => scope.source(from, number)?,
        None => FileSource::Context,
    };
    let mut sources = Vec::new();
    let mut line = String::from(if copy.is_add { "ADD" } else { "COPY" });
    if copy.parents {
        line += " --parents";
    }
    line.extend(owner.iter().map(|owner| format!(" --chown={owner}")));
    line.extend(mode.iter().map(|mode| format!(" --chmod={}", mode.text())));
    if checksum.is_some() && copy.sources.len() != 1 {
        return Err(Problem::ChecksumSources);
    }
    for source in &copy.sources {
        match source {
            syntax::SourceText::Path(text) => {
                let text = expand(text)?;
                line += &format!(" {text}");
                let source = path_source(copy, &text, &from, checksum.as_deref())?;
                if let (Source::Files { path, .. }, FileSource::Context) = (&source, &from) {
                    warnings.about_ignored(scope.options, copy.is_add, path, span);
                }
                sources.push(source);
            }
            syntax::SourceText::Heredoc(heredoc) => {
                if checksum.is_some() {
                    return Err(Problem::ChecksumSource);
                }
                line += &format!(" <<{}", heredoc.name);
                sources.push(inline(heredoc, state)?);
            }
        }
    }
    line += &format!(" {destination} # buildkit");
    let working_dir = &state.image.config.working_dir;
    let step = CopyStep {
        into_folder: is_folder(&destination) || sources.len() > 1,
        destination: absolute_path(working_dir, &destination),
        sources,
        owner,
        mode,
        link: copy.link,
        excludes,
    };
    let key = key(scope, &step, state);
    scope.remember(state, line, true);
    Ok((Action::Copy(Box::new(step)), Some(key)))
}

fn path_source(
    copy: &Copy,
    text: &str,
    from: &FileSource,
    checksum: Option<&str>,
) -> Result<Source, Problem> {
    if let Some(repository) = git::parse(text) {
        if !copy.is_add {
            return Err(Problem::CopyGit);
        }
        let wrap = |why: String| Problem::Git { source_text: text.to_owned(), why };
        let repository = repository.map_err(wrap)?;
        if let (Some(one), Some(other)) = (copy.keep_git_dir, repository.keep_git_dir)
            && one != other
        {
            return Err(wrap("inconsistent keep-git-dir configuration".to_owned()));
        }
        return git_source(copy, repository, checksum);
    }
    if text.starts_with("http://") || text.starts_with("https://") {
        if !copy.is_add {
            return Err(Problem::CopyUrl);
        }
        if let Some(checksum) = checksum {
            let wrap = |why: String| Problem::Checksum { checksum: checksum.to_owned(), why };
            linkspan_images::Digest::from_str(checksum).map_err(|e| wrap(e.to_string()))?;
        }
        return Ok(Source::Url {
            url: text.to_owned(),
            name: name_of_url(text),
            checksum: checksum.map(str::to_owned),
            unpack: copy.unpack.unwrap_or(false),
        });
    }
    if checksum.is_some() {
        return Err(Problem::ChecksumSource);
    }
    let (base, pattern) = match (copy.parents, text.split_once("/./")) {
        (false, _) => (text, None),
        (true, Some((base, pattern))) => (base, Some(pattern)),
        (true, None) => ("/", Some(text)),
    };
    let parents =
        pattern.map(|pattern| absolute_path("/", pattern).trim_start_matches('/').to_owned());
    Ok(Source::Files {
        from: from.clone(),
        path: absolute_path("/", base),
        required: !has_wildcards(text),
        parents,
        unpack: copy.unpack.unwrap_or(copy.is_add),
    })
}

fn git_source(
    copy: &Copy,
    repository: git::GitSource,
    checksum: Option<&str>,
) -> Result<Source, Problem> {
    let checksum = match (checksum, repository.checksum) {
        (Some(one), Some(other)) if one != other => {
            let why = format!("mismatch with {other:?} of the URL");
            return Err(Problem::Checksum { checksum: one.to_owned(), why });
        }
        (one, other) => one.map(str::to_owned).or(other),
    };
    if let Some(commit) = &checksum
        && !commit.chars().all(|c| c.is_ascii_hexdigit())
    {
        let why = "a commit has hexadecimal digits".to_owned();
        return Err(Problem::Checksum { checksum: commit.clone(), why });
    }
    Ok(Source::Git {
        remote: repository.remote,
        reference: repository.reference,
        folder: repository.folder,
        checksum,
        keep_git_dir: copy.keep_git_dir.or(repository.keep_git_dir).unwrap_or(false),
        submodules: repository.submodules.unwrap_or(true),
    })
}

fn inline(heredoc: &Heredoc, state: &State) -> Result<Source, Problem> {
    let mut content = heredoc.content.clone();
    if heredoc.chomp {
        content = syntax::without_tabs(&content);
    }
    if heredoc.expand {
        // Quotes are the file's own. The escape is `\` whatever the directive says, as in BuildKit.
        let lexer = Lexer { ignore_quotes: true, ..Lexer::new('\\', &state.env) };
        content = lexer
            .word(&content)
            .map_err(|why| Problem::Expansion { text: heredoc.name.clone(), why })?;
    }
    Ok(Source::Inline { name: heredoc.name.clone(), content })
}

fn key(scope: &Scope<'_>, step: &CopyStep, state: &State) -> Key {
    let parent = if step.link { Parent::Nothing } else { state.parent.clone() };
    // The indices of stages are no part of a key: what is in their files is.
    let definition = |source: &Source| match source {
        Source::Files { from: FileSource::Image { digest, .. }, path, .. } => {
            format!("{digest}{path}")
        }
        Source::Files { .. } => String::new(),
        source => json(source),
    };
    let sources: Vec<String> = step.sources.iter().map(definition).collect();
    let shapes: Vec<String> = step.sources.iter().map(shape).collect();
    let mut known = vec![
        ("copy", json(&(sources, shapes))),
        ("destination", json(&(&step.destination, step.into_folder))),
        ("owner", step.owner.clone().unwrap_or_default()),
        ("mode", step.mode.as_ref().map(|mode| mode.text().to_owned()).unwrap_or_default()),
        ("link", step.link.to_string()),
        ("excludes", json(&step.excludes)),
    ];
    known.extend(scope.globals.epoch.map(|epoch| ("epoch", epoch.to_string())));
    Key { parent, known, holes: step.sources.iter().filter_map(|s| hole(s, step)).collect() }
}

/// How a source is copied, whatever is in it.
fn shape(source: &Source) -> String {
    match source {
        Source::Files { path, parents, unpack, .. } => json(&(path, parents, unpack)),
        _ => String::new(),
    }
}

fn hole(source: &Source, step: &CopyStep) -> Option<Hole> {
    let excludes = || step.excludes.clone();
    match source {
        Source::Files { from, path, parents, .. } => {
            let whole = |parents: &String| absolute_path("/", &format!("{path}/{parents}"));
            let paths = vec![parents.as_ref().map_or_else(|| path.clone(), whole)];
            match from {
                FileSource::Context => Some(Hole::ContextFiles { paths, excludes: excludes() }),
                FileSource::Stage(stage) => {
                    Some(Hole::StageFiles { stage: *stage, paths, excludes: excludes() })
                }
                FileSource::Image { .. } | FileSource::Scratch => None,
            }
        }
        Source::Url { url, checksum: None, .. } => Some(Hole::Url(url.clone())),
        Source::Git { remote, reference, checksum: None, .. } => {
            Some(Hole::Commit { remote: remote.clone(), reference: reference.clone() })
        }
        Source::Url { .. } | Source::Git { .. } | Source::Inline { .. } => None,
    }
}

/// USER[:GROUP]; an empty layer has no names to look up.
fn check_owner(owner: &str, link: bool) -> Result<(), Problem> {
    let fail = |why| Err(Problem::Chown { owner: owner.to_owned(), why });
    let parts: Vec<&str> = owner.split(':').collect();
    if parts.len() > 2 || parts.iter().any(|part| part.is_empty()) {
        return fail("it must be USER or USER:GROUP");
    }
    let number = |part: &&str| part.chars().all(|c| c.is_ascii_digit());
    if link && !parts.iter().all(number) {
        return fail("with --link it must be numbers: there is no /etc/passwd below");
    }
    Ok(())
}

/// The last part of the URL's path.
fn name_of_url(url: &str) -> String {
    let path = url.split(['?', '#']).next().unwrap_or_default();
    let path = path.split_once("://").map_or(path, |(_, rest)| rest);
    let path = path.split_once('/').map_or("", |(_, path)| path);
    let name = path.trim_end_matches('/').rsplit('/').next().unwrap_or_default();
    if name.is_empty() { "__unnamed__".to_owned() } else { name.to_owned() }
}

fn is_folder(path: &str) -> bool {
    matches!(path.rsplit('/').next(), None | Some("" | "." | ".."))
}

fn has_wildcards(path: &str) -> bool {
    let mut chars = path.chars();
    while let Some(c) = chars.next() {
        match c {
            '*' | '?' | '[' => return true,
            '\\' => {
                chars.next();
            }
            _ => {}
        }
    }
    false
}
