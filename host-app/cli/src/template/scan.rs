//! Cuts a template into text and actions, and an action into tokens.

use serde_json::Value;

use super::TemplateError;

/// Text as it is, or what stood between `{{` and `}}`.
#[derive(Debug, PartialEq)]
pub(super) enum Segment<'a> {
    Text(String),
    Action(&'a str),
}

#[derive(Debug, Clone, PartialEq)]
pub(super) enum Token {
    /// `.` alone.
    Dot,
    /// `.Name`; `glued` when no space stands before it, so that it continues what does.
    Field {
        name: String,
        glued: bool,
    },
    /// `$` or `$name`.
    Variable(String),
    Identifier(String),
    Literal(Value),
    Pipe,
    Comma,
    Declare,
    Assign,
    Open,
    Close,
}

pub(super) fn segments(source: &str) -> Result<Vec<Segment<'_>>, TemplateError> {
    let mut out = Vec::new();
    let mut rest = source;
    let mut trim_start = false;
    loop {
        let (text, after) = match rest.find("{{") {
            Some(at) => (&rest[..at], Some(&rest[at + 2..])),
            None => (rest, None),
        };
        let text = if trim_start { text.trim_start() } else { text };
        let Some(after) = after else {
            push_text(&mut out, text);
            return Ok(out);
        };
        // `{{- ` trims what stands before, ` -}}` what comes after.
        let (text, after) = match after.strip_prefix('-') {
            Some(inner) if inner.starts_with(char::is_whitespace) => (text.trim_end(), inner),
            _ => (text, after),
        };
        push_text(&mut out, text);
        let end = action_end(after).ok_or_else(|| TemplateError::new("`{{` without its `}}`"))?;
        let inner = &after[..end];
        rest = &after[end + 2..];
        let inner = match inner.strip_suffix('-') {
            Some(cut) if cut.ends_with(char::is_whitespace) => {
                trim_start = true;
                cut
            }
            _ => {
                trim_start = false;
                inner
            }
        };
        let inner = inner.trim();
        let comment = inner.starts_with("/*") && inner.ends_with("*/");
        if !comment {
            out.push(Segment::Action(inner));
        }
    }
}

fn push_text(out: &mut Vec<Segment<'_>>, text: &str) {
    if !text.is_empty() {
        out.push(Segment::Text(text.to_owned()));
    }
}

/// Where `}}` stands, not counting those inside a string.
fn action_end(text: &str) -> Option<usize> {
    let bytes = text.as_bytes();
    let mut at = 0;
    let mut quote: Option<u8> = None;
    while at < bytes.len() {
        match (quote, bytes[at]) {
            (Some(b'"' | b'\''), b'\\') => at += 1,
            (Some(open), byte) if byte == open => quote = None,
            (Some(_), _) => {}
            (None, byte @ (b'"' | b'`' | b'\'')) => quote = Some(byte),
            (None, b'}') if bytes.get(at + 1) == Some(&b'}') => return Some(at),
            _ => {}
        }
        at += 1;
    }
    None
}

pub(super) fn tokens(action: &str) -> Result<Vec<Token>, TemplateError> {
    let mut out = Vec::new();
    let mut chars = action.char_indices().peekable();
    let mut end_of_last = usize::MAX;
    while let Some(&(at, c)) = chars.peek() {
        if c.is_whitespace() {
            chars.next();
            continue;
        }
        let glued = at == end_of_last;
        let (token, length) = token(&action[at..], c, glued)?;
        out.push(token);
        end_of_last = at + length;
        while chars.peek().is_some_and(|&(next, _)| next < end_of_last) {
            chars.next();
        }
    }
    Ok(out)
}

fn token(rest: &str, first: char, glued: bool) -> Result<(Token, usize), TemplateError> {
    let name_after = |skip: usize| {
        let name: String =
            rest[skip..].chars().take_while(|c| c.is_alphanumeric() || *c == '_').collect();
        let length = skip + name.len();
        (name, length)
    };
    Ok(match first {
        '|' => (Token::Pipe, 1),
        ',' => (Token::Comma, 1),
        '(' => (Token::Open, 1),
        ')' => (Token::Close, 1),
        ':' if rest.starts_with(":=") => (Token::Declare, 2),
        '=' => (Token::Assign, 1),
        '.' => match name_after(1) {
            (name, _) if name.is_empty() => (Token::Dot, 1),
            (name, length) if !name.starts_with(|c: char| c.is_ascii_digit()) => {
                (Token::Field { name, glued }, length)
            }
            (name, _) => return Err(TemplateError::new(format!("`.{name}` is not a field"))),
        },
        '$' => {
            let (name, length) = name_after(1);
            (Token::Variable(name), length)
        }
        '"' | '\'' => quoted(rest, first)?,
        '`' => {
            let end =
                rest[1..].find('`').ok_or_else(|| TemplateError::new("a string is not closed"))?;
            (Token::Literal(rest[1..=end].into()), end + 2)
        }
        c if c.is_ascii_digit() || c == '-' || c == '+' => number(rest)?,
        c if c.is_alphabetic() || c == '_' => {
            let (name, length) = name_after(0);
            let token = match name.as_str() {
                "true" => Token::Literal(true.into()),
                "false" => Token::Literal(false.into()),
                "nil" => Token::Literal(Value::Null),
                _ => Token::Identifier(name),
            };
            (token, length)
        }
        other => return Err(TemplateError::new(format!("`{other}` is not expected here"))),
    })
}

fn number(rest: &str) -> Result<(Token, usize), TemplateError> {
    let length = rest
        .char_indices()
        .skip(1)
        .find(|(_, c)| !(c.is_ascii_alphanumeric() || *c == '.' || *c == '_'))
        .map_or(rest.len(), |(at, _)| at);
    let text = &rest[..length];
    let value = if let Ok(integer) = text.parse::<i64>() {
        integer.into()
    } else if let Some(hex) = text.strip_prefix("0x")
        && let Ok(integer) = i64::from_str_radix(hex, 16)
    {
        integer.into()
    } else if let Ok(float) = text.parse::<f64>() {
        float.into()
    } else {
        return Err(TemplateError::new(format!("`{text}` is not a number")));
    };
    Ok((Token::Literal(value), length))
}

/// A Go string literal; a character literal is its number, as in Go.
fn quoted(rest: &str, quote: char) -> Result<(Token, usize), TemplateError> {
    let mut text = String::new();
    let mut chars = rest.char_indices().skip(1);
    while let Some((at, c)) = chars.next() {
        match c {
            c if c == quote => {
                let token = if quote == '"' {
                    text.into()
                } else {
                    let mut inner = text.chars();
                    match (inner.next(), inner.next()) {
                        (Some(one), None) => u32::from(one).into(),
                        _ => {
                            return Err(TemplateError::new(format!(
                                "'{text}' is not one character: strings stand in \"\""
                            )));
                        }
                    }
                };
                return Ok((Token::Literal(token), at + 1));
            }
            '\\' => match chars.next().map(|(_, c)| c) {
                Some('n') => text.push('\n'),
                Some('t') => text.push('\t'),
                Some('r') => text.push('\r'),
                Some(c @ ('\\' | '"' | '\'')) => text.push(c),
                Some(c) => {
                    return Err(TemplateError::new(format!("`\\{c}` is not a known escape")));
                }
                None => break,
            },
            c => text.push(c),
        }
    }
    Err(TemplateError::new("a string is not closed"))
}
