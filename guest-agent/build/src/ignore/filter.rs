//! Which files of a context the steps of a plan can read.

use serde::Serialize;

use super::{Ignore, Matcher, compile};
use crate::plan::{Action, FileSource, Mount, PlannedStage, Source};

/// What a client needs to send: what a COPY, an ADD or a mount names, without what is left out.
#[derive(Debug, Clone, Serialize)]
pub struct ContextFilter {
    /// Paths relative to the context with Go's wildcards: those of the steps, sorted, then those that links
    /// lead to. A folder means all below.
    pub paths: Vec<String>,
    /// What is left out.
    pub ignore: Ignore,
    /// The paths, taken apart: contexts have many files.
    #[serde(skip)]
    wanted: Vec<Wanted>,
}

/// As many as the kernel follows in one path (path_resolution(7)).
pub const MOST_LINKS: usize = 40;

/// A path, taken apart.
#[derive(Debug, Clone)]
struct Wanted {
    parts: Vec<Part>,
    /// How many links led here.
    links: usize,
}

impl Wanted {
    fn new(path: &str, links: usize) -> Self {
        let parts = match path {
            // All of it.
            "" => Vec::new(),
            path => path.split('/').map(Part::of).collect(),
        };
        Self { parts, links }
    }
}

/// A part of a path.
#[derive(Debug, Clone)]
enum Part {
    /// `**`: from here on, anything.
    Any,
    One(Matcher),
    /// A malformed pattern matches nothing: the step that has it fails.
    None,
}

impl Part {
    fn of(pattern: &str) -> Self {
        match pattern {
            "**" => Self::Any,
            pattern => compile(pattern).map_or(Self::None, Self::One),
        }
    }
}

impl ContextFilter {
    pub(crate) fn of(stages: &[PlannedStage], ignore: Ignore) -> Self {
        let mut paths: Vec<String> = Vec::new();
        let mut add = |path: &str| paths.push(path.trim_start_matches('/').to_owned());
        for step in stages.iter().flat_map(|stage| &stage.steps) {
            match &step.action {
                Action::Copy(copy) => {
                    for source in &copy.sources {
                        if let Source::Files { from: FileSource::Context, path, parents, .. } =
                            source
                        {
                            let below = parents.as_deref().unwrap_or_default();
                            add(&format!("{}/{below}", path.trim_end_matches('/')));
                        }
                    }
                }
                Action::Run(run) => {
                    for mount in &run.mounts {
                        if let Mount::Bind { from: FileSource::Context, source, .. } = mount {
                            add(source);
                        }
                    }
                }
                Action::Configure | Action::Folder(_) => {}
            }
        }
        for path in &mut paths {
            path.truncate(path.trim_end_matches('/').len());
        }
        paths.sort();
        paths.dedup();
        if paths.iter().any(String::is_empty) {
            paths = vec![String::new()];
        }
        Self { wanted: paths.iter().map(|path| Wanted::new(path, 0)).collect(), paths, ignore }
    }

    /// Whether the build reads no file of the context.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.paths.is_empty()
    }

    /// A symbolic link is at this path. Where a step names it, or something behind it, the build can also
    /// use what it points to; of links within a folder that a step names, it copies the links. Whether
    /// this lets in more than before: then every link is to be told of again.
    pub fn follow(&mut self, link: &str, target: &str) -> bool {
        let depth = link.split('/').count();
        let mut new = Vec::new();
        for (path, wanted) in self.paths.iter().zip(&self.wanted) {
            let above = wanted.parts.get(..depth).unwrap_or_default();
            let named = !above.is_empty() && !above.iter().any(|part| matches!(part, Part::Any));
            if named && wanted.links < MOST_LINKS && meets(above, link) {
                let behind: Vec<&str> = path.split('/').skip(depth).collect();
                let path = lead(link, target, &behind);
                if !self.paths.contains(&path) {
                    new.push((path, wanted.links + 1));
                }
            }
        }
        let more = !new.is_empty();
        for (path, links) in new {
            self.wanted.push(Wanted::new(&path, links));
            self.paths.push(path);
        }
        more
    }

    /// Whether a build can use what is at this path, or something below it.
    #[must_use]
    pub fn uses(&self, path: &str) -> bool {
        let path = path.trim_matches('/');
        let ignored = self.ignore.ignores(path) && !self.ignore.may_keep_below(path);
        !ignored && self.wanted.iter().any(|wanted| meets(&wanted.parts, path))
    }
}

/// Where a link leads, and what is behind it. Nothing leads out of the context.
fn lead(link: &str, target: &str, behind: &[&str]) -> String {
    let folder = link.rsplit_once('/').map_or("", |(folder, _)| folder);
    let from = if target.starts_with('/') { "" } else { folder };
    let mut path: Vec<String> = Vec::new();
    for part in from.split('/').chain(target.split('/')) {
        match part {
            "" | "." => {}
            ".." => drop(path.pop()),
            // A name, and no pattern.
            part => path.push(literal(part)),
        }
    }
    path.extend(behind.iter().map(ToString::to_string));
    path.join("/")
}

/// A pattern that only this name matches.
fn literal(name: &str) -> String {
    let mut pattern = String::with_capacity(name.len());
    for c in name.chars() {
        if matches!(c, '*' | '?' | '[' | '\\') {
            pattern.push('\\');
        }
        pattern.push(c);
    }
    pattern
}

/// Whether the path is what the pattern names, below it, or above it.
fn meets(pattern: &[Part], path: &str) -> bool {
    if path.is_empty() {
        return true;
    }
    for (pattern, part) in pattern.iter().zip(path.split('/')) {
        match pattern {
            Part::Any => return true,
            Part::One(matcher) if matcher.matches(part) => {}
            Part::One(_) | Part::None => return false,
        }
    }
    true
}
