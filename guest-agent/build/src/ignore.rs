//! .dockerignore, by the rules of moby/patternmatcher, and which files of a context a build can use.

mod filter;

use regex::Regex;
use serde::{Serialize, Serializer};

use crate::error::{Error, Problem, Result};

pub use filter::{ContextFilter, MOST_LINKS};

/// Where the patterns of a Dockerfile at this path are, relative to the context: the first file that
/// exists counts, alone.
#[must_use]
pub fn ignore_files(dockerfile: &str) -> [String; 2] {
    [format!("{dockerfile}.dockerignore"), ".dockerignore".to_owned()]
}

/// The patterns. Without any, nothing is left out.
///
/// The Dockerfile and the .dockerignore themselves are no special case: a pattern that matches them
/// keeps them out of COPY, and the builder has read them before.
#[derive(Debug, Clone, Default)]
pub struct Ignore {
    patterns: Vec<Pattern>,
}

#[derive(Debug, Clone)]
struct Pattern {
    text: String,
    /// `!`: what matches is not left out after all.
    is_exception: bool,
    matcher: Matcher,
}

/// The kinds of moby/patternmatcher. They are more than a shortcut: `**x` is any path that ends
/// in `x`, where the general rule would be any path with the last part `x`.
#[derive(Debug, Clone)]
enum Matcher {
    Exact(String),
    Prefix(String),
    Suffix(String),
    Regex(Regex),
}

/// Which patterns a folder matches: its contents match them too.
#[derive(Debug, Clone, Default)]
pub struct Matched(Vec<bool>);

impl Ignore {
    /// Reads the text of a .dockerignore.
    ///
    /// # Errors
    /// A pattern is malformed. `file` is for the message.
    pub fn parse(text: &str, file: &str) -> Result<Self> {
        let text = text.trim_start_matches('\u{feff}');
        let mut patterns = Vec::new();
        // A `#` is a comment only as the first character.
        for line in text.lines().filter(|line| !line.starts_with('#')) {
            let pattern = line.trim();
            if pattern.is_empty() {
                continue;
            }
            patterns.extend(Self::pattern(pattern).map_err(|why| {
                let (file, pattern) = (file.to_owned(), pattern.to_owned());
                Error::whole(Problem::Ignore { file, pattern, why })
            })?);
        }
        Ok(Self { patterns })
    }

    /// Patterns of `--exclude`, relative to the source.
    ///
    /// # Errors
    /// A pattern is malformed.
    pub fn of(patterns: &[String]) -> Result<Self> {
        Self::parse(&patterns.join("\n"), "--exclude")
    }

    fn pattern(text: &str) -> Result<Option<Pattern>, String> {
        let (is_exception, rest) =
            text.strip_prefix('!').map_or((false, text), |rest| (true, rest.trim()));
        if rest.is_empty() {
            return Err("an exception needs a pattern".to_owned());
        }
        let mut clean = clean(rest);
        if clean.len() > 1 && clean.starts_with('/') {
            clean.remove(0);
        }
        let matcher = compile(&clean)?;
        Ok(Some(Pattern { text: clean, is_exception, matcher }))
    }

    /// Whether there is a pattern with `!`.
    #[must_use]
    pub fn has_exceptions(&self) -> bool {
        self.patterns.iter().any(|pattern| pattern.is_exception)
    }

    /// Whether a path relative to the context is left out. The context itself never is.
    #[must_use]
    pub fn ignores(&self, path: &str) -> bool {
        if self.patterns.is_empty() {
            return false;
        }
        let path = clean(path.trim_start_matches('/'));
        if path == "." {
            return false;
        }
        let ends = path.match_indices('/').map(|(at, _)| at).chain([path.len()]);
        let (mut ignored, mut matched) = (false, Matched::default());
        for end in ends {
            (ignored, matched) = self.check(&path[..end], &matched);
        }
        ignored
    }

    /// The same for a walk from the top: `parent` is what this returned for the folder above, and
    /// the default at the top. `path` is clean and relative.
    #[must_use]
    pub fn check(&self, path: &str, parent: &Matched) -> (bool, Matched) {
        let mut ignored = false;
        let mut results = vec![false; self.patterns.len()];
        for (index, pattern) in self.patterns.iter().enumerate() {
            let inherited = parent.0.get(index).copied().unwrap_or(false);
            // A pattern that could not change anything is not tried, and so is not inherited:
            // that is how the original has it.
            if !inherited && pattern.is_exception != ignored {
                continue;
            }
            results[index] = inherited || pattern.matcher.matches(path);
            if results[index] {
                ignored = !pattern.is_exception;
            }
        }
        (ignored, Matched(results))
    }

    /// Whether a folder that is left out may still contain something that is not.
    #[must_use]
    pub fn may_keep_below(&self, folder: &str) -> bool {
        let below = format!("{folder}/");
        self.patterns.iter().filter(|pattern| pattern.is_exception).any(|pattern| {
            pattern.text.contains(['*', '?', '[', '\\']) || pattern.text.starts_with(&below)
        })
    }
}

impl Serialize for Ignore {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        let text = |pattern: &Pattern| {
            let mark = if pattern.is_exception { "!" } else { "" };
            format!("{mark}{}", pattern.text)
        };
        serializer.collect_seq(self.patterns.iter().map(text))
    }
}

/// Go's `filepath.Clean`: no doubled slashes, no `.`, `..` taken back where that is possible.
fn clean(path: &str) -> String {
    let absolute = path.starts_with('/');
    let mut parts: Vec<&str> = Vec::new();
    for part in path.split('/') {
        match part {
            "" | "." => {}
            ".." if parts.last().is_some_and(|last| *last != "..") => {
                parts.pop();
            }
            ".." if absolute => {}
            part => parts.push(part),
        }
    }
    let joined = parts.join("/");
    match (absolute, joined.is_empty()) {
        (true, _) => format!("/{joined}"),
        (false, true) => ".".to_owned(),
        (false, false) => joined,
    }
}

impl Matcher {
    fn matches(&self, path: &str) -> bool {
        match self {
            Self::Exact(text) => path == text,
            Self::Prefix(text) => path.starts_with(text.as_str()),
            // `**/foo` is also `foo`.
            Self::Suffix(text) => {
                path.ends_with(text.as_str()) || text.strip_prefix('/') == Some(path)
            }
            Self::Regex(regex) => regex.is_match(path),
        }
    }
}

fn compile(pattern: &str) -> Result<Matcher, String> {
    #[derive(PartialEq)]
    enum Kind {
        Exact,
        Prefix,
        Suffix,
        Regex,
    }
    let (mut kind, mut out) = (Kind::Exact, String::from("^"));
    let mut chars = pattern.chars().peekable();
    let mut at_start = true;
    while let Some(c) = chars.next() {
        match c {
            '*' if chars.next_if_eq(&'*').is_some() => {
                chars.next_if_eq(&'/');
                if chars.peek().is_none() {
                    if kind == Kind::Exact {
                        kind = Kind::Prefix;
                    } else {
                        out += ".*";
                        kind = Kind::Regex;
                    }
                } else {
                    out += "(.*/)?";
                    kind = Kind::Regex;
                }
                if at_start {
                    kind = Kind::Suffix;
                }
            }
            '*' => {
                out += "[^/]*";
                kind = Kind::Regex;
            }
            '?' => {
                out += "[^/]";
                kind = Kind::Regex;
            }
            '\\' => {
                let next = chars.next().ok_or("it ends with an escape")?;
                out += &regex::escape(next.encode_utf8(&mut [0; 4]));
                kind = Kind::Regex;
            }
            '[' => {
                out += &class(&mut chars)?;
                kind = Kind::Regex;
            }
            c => out += &regex::escape(c.encode_utf8(&mut [0; 4])),
        }
        at_start = false;
    }
    Ok(match kind {
        Kind::Exact => Matcher::Exact(pattern.to_owned()),
        Kind::Prefix => Matcher::Prefix(pattern.trim_end_matches("**").to_owned()),
        Kind::Suffix => Matcher::Suffix(pattern[2..].to_owned()),
        Kind::Regex => {
            // A name may have a line break in it.
            let regex = Regex::new(&format!("(?s){out}$"));
            Matcher::Regex(regex.map_err(|error| error.to_string())?)
        }
    })
}

/// What follows a `[`: `a-z]` or `^a-z]`, as Go's `filepath.Match` reads it.
fn class(chars: &mut impl Iterator<Item = char>) -> Result<String, String> {
    let malformed = || "a bracket has no end".to_owned();
    let mut chars = chars.peekable();
    let mut out = String::from("[");
    if chars.next_if_eq(&'^').is_some() {
        out.push('^');
    }
    let one = |c: Option<char>, chars: &mut dyn Iterator<Item = char>| match c {
        None => Err(malformed()),
        Some('\\') => chars.next().ok_or_else(malformed),
        Some('-' | ']') => Err("a range in brackets has no begin or end".to_owned()),
        Some(c) => Ok(c),
    };
    let mut ranges = 0;
    loop {
        let next = chars.next();
        if next == Some(']') && ranges > 0 {
            break;
        }
        let first = one(next, &mut chars)?;
        let last = if chars.next_if_eq(&'-').is_some() {
            let next = chars.next();
            one(next, &mut chars)?
        } else {
            first
        };
        if first > last {
            return Err(format!("the range {first}-{last} is empty"));
        }
        out += &format!(r"\x{{{:x}}}-\x{{{:x}}}", u32::from(first), u32::from(last));
        ranges += 1;
    }
    out.push(']');
    Ok(out)
}
