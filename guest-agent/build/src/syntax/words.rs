//! Splitting a line into keyword, flags and words. Quotes of words stay: the lexer takes them away.

use crate::error::Problem;

const BLANKS: [char; 5] = ['\t', '\u{b}', '\u{c}', '\r', ' '];

/// Keyword, flags without dashes, and the rest.
pub(crate) fn command(line: &str) -> (String, Vec<String>, String) {
    let line = line.trim();
    let (keyword, rest) = line.split_once(BLANKS).unwrap_or((line, ""));
    let (flags, rest) = flags(rest);
    (keyword.to_owned(), flags, rest.trim().to_owned())
}

/// The words in front that begin with `--`; `--` alone ends them.
fn flags(text: &str) -> (Vec<String>, &str) {
    let mut flags = Vec::new();
    let mut rest = text.trim_start();
    while rest.starts_with("--") {
        let (mut word, mut quote, mut end) = (String::new(), None, rest.len());
        let mut chars = rest.char_indices();
        while let Some((at, c)) = chars.next() {
            match (quote, c) {
                (None, c) if c.is_whitespace() => {
                    end = at;
                    break;
                }
                (None, '\'' | '"') => quote = Some(c),
                (Some(open), c) if c == open => quote = None,
                (_, '\\') => word.extend(chars.next().map(|(_, c)| c)),
                (_, c) => word.push(c),
            }
        }
        rest = rest[end..].trim_start();
        match word.strip_prefix("--") {
            Some("") | None => break,
            Some(flag) => flags.push(flag.to_owned()),
        }
    }
    (flags, rest)
}

/// Words separated by blanks, whatever quotes there are.
pub(crate) fn plain(text: &str) -> Vec<String> {
    text.split(BLANKS).filter(|word| !word.is_empty()).map(str::to_owned).collect()
}

/// Words separated by blanks that are not in quotes; quotes and escapes stay.
pub(crate) fn quoted(text: &str, escape: char) -> Vec<String> {
    let mut words = Vec::new();
    let (mut word, mut quote) = (String::new(), None);
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        if quote.is_none() && c.is_whitespace() {
            if !word.is_empty() {
                words.push(std::mem::take(&mut word));
            }
            continue;
        }
        if c == escape && quote != Some('\'') {
            // At the end it escapes nothing and is dropped.
            if let Some(next) = chars.next() {
                word.extend([c, next]);
            }
            continue;
        }
        match quote {
            None if matches!(c, '\'' | '"') => quote = Some(c),
            Some(open) if open == c => quote = None,
            _ => {}
        }
        word.push(c);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// Whether the text is a JSON list of strings.
pub(crate) fn is_json(text: &str) -> bool {
    matches!(json(text), Ok(Some(_)))
}

/// A JSON list of strings; None for what is no JSON list, which is then read as words.
pub(crate) fn json(text: &str) -> Result<Option<Vec<String>>, Problem> {
    let text = text.trim_start();
    if !text.starts_with('[') {
        return Ok(None);
    }
    let Ok(values) = serde_json::from_str::<Vec<serde_json::Value>>(text) else {
        return Ok(None);
    };
    let string = |value| match value {
        serde_json::Value::String(text) => Ok(text),
        _ => Err(Problem::NotStrings),
    };
    values.into_iter().map(string).collect::<Result<_, _>>().map(Some)
}
