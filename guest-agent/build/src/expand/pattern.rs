//! The patterns of `${name#pattern}` and its like: `*`, `?` and `\` (POSIX, 2.13, without brackets).

use std::fmt::Write as _;

use regex::{NoExpand, Regex};

/// The value without the shortest or longest beginning that matches.
pub(super) fn without_prefix(value: &str, pattern: &str, longest: bool) -> Result<String, String> {
    let regex = regex(pattern.chars(), longest, true).map_err(|why| invalid(pattern, &why))?;
    Ok(regex.find(value).map_or(value, |found| &value[found.end()..]).to_owned())
}

/// The value without the shortest or longest end that matches.
pub(super) fn without_suffix(value: &str, pattern: &str, longest: bool) -> Result<String, String> {
    // A lazy regular expression finds the shortest beginning, not the shortest end: so both are
    // turned around, an escape together with what it escapes.
    let mut units: Vec<String> = Vec::new();
    let mut chars = pattern.chars();
    while let Some(c) = chars.next() {
        let escaped = if c == '\\' { chars.next() } else { None };
        units.push([c].into_iter().chain(escaped).collect());
    }
    let backwards: String = units.into_iter().rev().collect();
    let regex = regex(backwards.chars(), longest, true).map_err(|why| invalid(pattern, &why))?;
    let value: String = value.chars().rev().collect();
    let rest = regex.find(&value).map_or(value.as_str(), |found| &value[found.end()..]);
    Ok(rest.chars().rev().collect())
}

/// The value with the first or all matches replaced.
pub(super) fn replaced(
    value: &str,
    pattern: &str,
    replacement: &str,
    all: bool,
) -> Result<String, String> {
    let regex = regex(pattern.chars(), true, false).map_err(|why| invalid(pattern, &why))?;
    Ok(regex.replacen(value, usize::from(!all), NoExpand(replacement)).into_owned())
}

fn invalid(pattern: &str, why: &str) -> String {
    format!("invalid pattern ({pattern}) in substitution: {why}")
}

fn regex(
    mut pattern: impl Iterator<Item = char>,
    greedy: bool,
    anchored: bool,
) -> Result<Regex, String> {
    let mut out = String::from(if anchored { "^" } else { "" });
    while let Some(c) = pattern.next() {
        match c {
            '*' => out += if greedy { ".*" } else { ".*?" },
            '?' => out.push('.'),
            '\\' => match pattern.next() {
                // `}` and `/` are escaped for the `${}` around.
                Some(c @ ('*' | '?' | '\\' | '}' | '/')) => push_literal(&mut out, c),
                Some(c) => return Err(format!("invalid escape '\\{c}'")),
                None => return Err("it ends with an escape".to_owned()),
            },
            c => push_literal(&mut out, c),
        }
    }
    Regex::new(&out).map_err(|error| error.to_string())
}

fn push_literal(out: &mut String, c: char) {
    // Writing to a string cannot fail.
    let _ = write!(out, "{}", regex::escape(c.encode_utf8(&mut [0; 4])));
}
