//! Words, quotes and variables of an instruction.

/// Splits at blanks outside quotes; quotes and escapes stay.
pub(super) fn split(text: &str) -> Vec<String> {
    let mut words = Vec::new();
    let mut word = String::new();
    let mut quote = None;
    let mut chars = text.chars();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (None, c) if c.is_whitespace() => {
                if !word.is_empty() {
                    words.push(std::mem::take(&mut word));
                }
                continue;
            }
            (None, '"' | '\'') => quote = Some(c),
            (Some(open), c) if c == open => quote = None,
            // In single quotes a backslash is a character like others.
            (None | Some('"'), '\\') => {
                word.push(c);
                if let Some(next) = chars.next() {
                    word.push(next);
                }
                continue;
            }
            _ => {}
        }
        word.push(c);
    }
    if !word.is_empty() {
        words.push(word);
    }
    words
}

/// `K=V K="v w"`, or `K the rest of the line`.
pub(super) fn pairs(text: &str, env: &[String]) -> Result<Vec<(String, String)>, String> {
    let words = split(text);
    let first = words.first().ok_or("it needs KEY=VALUE")?;
    if !first.contains('=') {
        let (key, value) = text.split_once(char::is_whitespace).unwrap_or((text, ""));
        if value.trim().is_empty() {
            return Err(format!("`{key}` needs a value: KEY=VALUE"));
        }
        return Ok(vec![(expand(key, env)?, expand(value.trim(), env)?)]);
    }
    let pair = |word: &String| match word.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((expand(key, env)?, expand(value, env)?)),
        _ => Err(format!("`{word}` needs the form KEY=VALUE")),
    };
    words.iter().map(pair).collect()
}

/// Takes quotes and escapes away and puts variables in.
pub(super) fn expand(text: &str, env: &[String]) -> Result<String, String> {
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    let mut double = false;
    while let Some(c) = chars.next() {
        match c {
            '\'' if !double => loop {
                match chars.next() {
                    Some('\'') => break,
                    Some(c) => out.push(c),
                    None => return Err("a quote has no closing one".to_owned()),
                }
            },
            '"' => double = !double,
            '\\' => match chars.next() {
                // In double quotes only these lose their backslash.
                Some(next) if !double || matches!(next, '"' | '\\' | '$') => out.push(next),
                Some(next) => out.extend(['\\', next]),
                None => out.push('\\'),
            },
            '$' if chars.next_if_eq(&'{').is_some() => {
                let mut inside = String::new();
                loop {
                    match chars.next() {
                        Some('}') => break,
                        Some(c) => inside.push(c),
                        None => return Err("`${` has no closing brace".to_owned()),
                    }
                }
                out.push_str(&braced(&inside, env)?);
            }
            '$' => {
                let mut name = String::new();
                while let Some(c) = chars.next_if(|c| c.is_ascii_alphanumeric() || *c == '_') {
                    name.push(c);
                }
                match name.as_str() {
                    "" => out.push('$'),
                    name => out.push_str(lookup(name, env).unwrap_or_default()),
                }
            }
            c => out.push(c),
        }
    }
    if double {
        return Err("a quote has no closing one".to_owned());
    }
    Ok(out)
}

/// `NAME`, `NAME:-default`, `NAME:+instead`.
fn braced(inside: &str, env: &[String]) -> Result<String, String> {
    let end = inside.find(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    let (name, rest) = inside.split_at(end.unwrap_or(inside.len()));
    let value = lookup(name, env).filter(|value| !value.is_empty());
    if name.is_empty() {
        return Err(format!("`${{{inside}}}` names no variable"));
    }
    if let Some(default) = rest.strip_prefix(":-") {
        return value.map_or_else(|| expand(default, env), |value| Ok(value.to_owned()));
    }
    if let Some(instead) = rest.strip_prefix(":+") {
        return value.map_or_else(|| Ok(String::new()), |_| expand(instead, env));
    }
    if rest.is_empty() {
        return Ok(value.unwrap_or_default().to_owned());
    }
    Err(format!("`${{{inside}}}` is not supported: use `:-` or `:+`"))
}

fn lookup<'a>(name: &str, env: &'a [String]) -> Option<&'a str> {
    let value = |entry: &'a String| entry.split_once('=').filter(|(key, _)| *key == name);
    env.iter().find_map(value).map(|(_, value)| value)
}
