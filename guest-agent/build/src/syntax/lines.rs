//! Logical lines: parser directives, comments, continuations and heredocs.

use super::{heredoc, heredoc::Heredoc, words};
use crate::error::{Error, Problem, Result};
use crate::source::Span;

/// The limit of BuildKit's scanner, for a physical line.
const MAX_LINE: usize = 65_535;

/// The parser directives of the first lines.
#[derive(Debug, Clone, Default)]
pub(crate) struct Directives {
    pub(crate) syntax: Option<String>,
    pub(crate) check: Option<String>,
    pub(crate) escape: Option<char>,
    /// The lines that they are on.
    pub(crate) span: Option<Span>,
}

/// One instruction, not taken apart any further.
#[derive(Debug, Clone)]
pub(crate) struct Line {
    /// As it is written.
    pub(crate) keyword: String,
    /// `--name` or `--name=value`, without the dashes; quotes are gone.
    pub(crate) flags: Vec<String>,
    /// What follows the flags.
    pub(crate) rest: String,
    /// The whole, continuations joined, without heredocs.
    pub(crate) original: String,
    pub(crate) heredocs: Vec<Heredoc>,
    pub(crate) span: Span,
    /// It goes on after an empty line, which BuildKit warns of.
    pub(crate) has_empty_continuation: bool,
}

/// A Dockerfile as logical lines.
#[derive(Debug, Clone)]
pub(crate) struct Lines {
    pub(crate) lines: Vec<Line>,
    pub(crate) escape: char,
    pub(crate) directives: Directives,
}

/// Reads a text. An empty one has no lines, and that is no error here.
pub(crate) fn read(text: &str) -> Result<Lines> {
    let mut reader = Reader { text, at: 0, number: 0, escape: '\\' };
    let mut directives = Directives::default();
    let mut at_top = true;
    let mut lines = Vec::new();
    while let Some((start, raw)) = reader.next()? {
        // A byte order mark is no part of the text.
        let raw = if start == 0 { raw.trim_start_matches('\u{feff}') } else { raw };
        let line = raw.trim_end_matches(['\r', '\n']).trim_start();
        at_top = at_top && reader.directive(line, start, &mut directives)?;
        if line.is_empty() || line.starts_with('#') {
            continue;
        }
        lines.extend(reader.instruction(line, start)?);
    }
    Ok(Lines { lines, escape: reader.escape, directives })
}

struct Reader<'t> {
    text: &'t str,
    at: usize,
    /// Of the line that was read last, from 1.
    number: usize,
    escape: char,
}

impl<'t> Reader<'t> {
    /// The next physical line with its end, and where it begins.
    fn next(&mut self) -> Result<Option<(usize, &'t str)>> {
        let (start, rest) = (self.at, &self.text[self.at..]);
        if rest.is_empty() {
            return Ok(None);
        }
        let length = rest.find('\n').map_or(rest.len(), |end| end + 1);
        self.at += length;
        self.number += 1;
        if length > MAX_LINE {
            let problem = Problem::LineTooLong { limit: MAX_LINE };
            return Err(Error::reading(problem, self.span(start, self.number)));
        }
        Ok(Some((start, &rest[..length])))
    }

    /// From there to the end of the line that was read last.
    fn span(&self, start: usize, first_line: usize) -> Span {
        // Only the end of the last line: an instruction may end with empty ones.
        let read = &self.text[start..self.at];
        let read = read.strip_suffix('\n').unwrap_or(read).trim_end_matches('\r');
        Span { start, end: start + read.len(), first_line, last_line: self.number }
    }

    /// Whether the line is a parser directive: the first that is none ends them.
    fn directive(&mut self, line: &str, start: usize, found: &mut Directives) -> Result<bool> {
        let Some((key, value)) = line.strip_prefix('#').and_then(|line| line.split_once('='))
        else {
            return Ok(false);
        };
        let (key, value) = (key.trim().to_ascii_lowercase(), value.trim());
        if value.is_empty() || !matches!(key.as_str(), "syntax" | "escape" | "check") {
            return Ok(false);
        }
        let span = self.span(start, self.number);
        let twice = match key.as_str() {
            "syntax" => found.syntax.replace(value.to_owned()).is_some(),
            "check" => found.check.replace(value.to_owned()).is_some(),
            _ => {
                self.escape = match value {
                    "`" => '`',
                    "\\" => '\\',
                    other => {
                        let problem = Problem::EscapeToken { token: other.to_owned() };
                        return Err(Error::reading(problem, span));
                    }
                };
                found.escape.replace(self.escape).is_some()
            }
        };
        if twice {
            return Err(Error::reading(Problem::DirectiveTwice { name: key }, span));
        }
        found.span = Some(found.span.map_or(span, |first| Span {
            end: span.end,
            last_line: span.last_line,
            ..first
        }));
        Ok(true)
    }

    /// One instruction from its first line on, with continuations and heredocs.
    fn instruction(&mut self, first: &str, start: usize) -> Result<Option<Line>> {
        let first_line = self.number;
        let (mut original, mut goes_on) = self.without_continuation(first);
        let mut has_empty_continuation = false;
        while goes_on {
            let Some((_, raw)) = self.next()? else { break };
            let line = raw.trim_end_matches(['\r', '\n']);
            let trimmed = line.trim_start();
            if trimmed.starts_with('#') {
                continue;
            }
            if trimmed.is_empty() {
                has_empty_continuation = true;
                continue;
            }
            let (part, more) = self.without_continuation(line);
            original += &part;
            goes_on = more;
        }
        if original.trim().is_empty() {
            return Ok(None);
        }
        let (keyword, flags, rest) = words::command(&original);
        let mut heredocs = Vec::new();
        if heredoc::allowed(&keyword, &rest) {
            for mut heredoc in heredoc::all_in(&original) {
                self.heredoc(&mut heredoc, start, first_line)?;
                heredocs.push(heredoc);
            }
        }
        let span = self.span(start, first_line);
        let line = Line { keyword, flags, rest, original, heredocs, span, has_empty_continuation };
        Ok(Some(line))
    }

    fn heredoc(&mut self, heredoc: &mut Heredoc, start: usize, first_line: usize) -> Result<()> {
        while let Some((_, raw)) = self.next()? {
            let line = raw.trim_end_matches(['\r', '\n']);
            let line = if heredoc.chomp { line.trim_start_matches('\t') } else { line };
            if line == heredoc.name {
                return Ok(());
            }
            heredoc.content += raw;
        }
        let problem = Problem::Heredoc { name: heredoc.name.clone() };
        Err(Error::reading(problem, self.span(start, first_line)))
    }

    /// The line without the escape at its end, and whether it goes on. An escaped escape ends it.
    fn without_continuation(&self, line: &str) -> (String, bool) {
        let trimmed = line.trim_end_matches([' ', '\t']);
        match trimmed.strip_suffix(self.escape) {
            Some(before) if !before.ends_with(self.escape) => (before.to_owned(), true),
            _ => (line.to_owned(), false),
        }
    }
}
