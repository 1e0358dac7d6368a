//! Here-documents: `<<NAME`, `<<-NAME`, `3<<"NAME"`.

use super::words;
use crate::env::Env;
use crate::expand::Lexer;

/// One of an instruction.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Heredoc {
    pub(crate) name: String,
    /// Variables are put in: the name is not quoted.
    pub(crate) expand: bool,
    /// `<<-`: tabs at the beginning of lines are dropped.
    pub(crate) chomp: bool,
    pub(crate) content: String,
}

/// ADD, COPY and RUN have heredocs, also as triggers, and never in the JSON form.
pub(crate) fn allowed(keyword: &str, rest: &str) -> bool {
    if keyword.eq_ignore_ascii_case("ONBUILD") {
        let (keyword, _, rest) = words::command(rest);
        return !keyword.eq_ignore_ascii_case("ONBUILD") && allowed(&keyword, &rest);
    }
    let has = ["ADD", "COPY", "RUN"].iter().any(|name| keyword.eq_ignore_ascii_case(name));
    has && !words::is_json(rest)
}

/// All that a line begins. A line with an open quote begins none.
pub(crate) fn all_in(line: &str) -> Vec<Heredoc> {
    let env = Env::default();
    let lexer =
        Lexer { raw_quotes: true, raw_escapes: true, keep_unset: true, ..Lexer::new('\\', &env) };
    let words = lexer.words(line).unwrap_or_default();
    words.iter().filter_map(|word| parse(word)).collect()
}

/// A word that is `[N]<<[-]NAME`, without its content.
pub(crate) fn parse(word: &str) -> Option<Heredoc> {
    let rest = word.trim_start_matches(|c: char| c.is_ascii_digit()).strip_prefix("<<")?;
    let (chomp, rest) = rest.strip_prefix('-').map_or((false, rest), |rest| (true, rest));
    if rest.is_empty() || rest.contains('<') {
        return None;
    }
    let env = Env::default();
    let lexer = Lexer { keep_unset: true, ..Lexer::new('\\', &env) };
    let one = |lexer: Lexer<'_>| lexer.words(rest).ok().filter(|words| words.len() == 1)?.pop();
    let name = one(lexer)?;
    let raw = one(Lexer { raw_quotes: true, ..lexer })?;
    let quotes = |text: &str| text.chars().filter(|c| matches!(c, '\'' | '"')).count();
    Some(Heredoc { expand: quotes(&name) == quotes(&raw), name, chomp, content: String::new() })
}

/// Whether the text is nothing but the beginning of one.
pub(crate) fn is_heredoc(text: &str) -> bool {
    parse(text).is_some()
}

/// The content of `<<-`.
pub(crate) fn without_tabs(content: &str) -> String {
    content.split_inclusive('\n').map(|line| line.trim_start_matches('\t')).collect()
}
