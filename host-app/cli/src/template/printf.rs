//! `printf`: the verbs v, s, d, q, t, x, X, f, g, c and %% with `-`, `0`, width and precision.

use serde_json::Value;

use super::TemplateError;
use super::funcs::display;

pub(super) fn printf(format: &str, values: &[Value]) -> Result<String, TemplateError> {
    let mut out = String::new();
    let mut values = values.iter();
    let mut chars = format.chars().peekable();
    while let Some(c) = chars.next() {
        if c != '%' {
            out.push(c);
            continue;
        }
        let mut spec = String::new();
        while let Some(next) = chars.next_if(|c| "-+# 0123456789.".contains(*c)) {
            spec.push(next);
        }
        let verb = chars.next().ok_or_else(|| TemplateError::new("`printf` ends in `%`"))?;
        if verb == '%' {
            out.push('%');
            continue;
        }
        let value = values.next().ok_or_else(|| {
            TemplateError::new(format!("`printf` has no value for `%{spec}{verb}`"))
        })?;
        out.push_str(&one(&spec, verb, value)?);
    }
    match values.next() {
        Some(_) => Err(TemplateError::new("`printf` has more values than verbs")),
        None => Ok(out),
    }
}

fn one(spec: &str, verb: char, value: &Value) -> Result<String, TemplateError> {
    let flags = spec.len() - spec.trim_start_matches(['-', '+', '#', ' ', '0']).len();
    let (flags, numbers) = spec.split_at(flags);
    let (width, precision) = match numbers.split_once('.') {
        Some((width, precision)) => (width, Some(precision)),
        None => (numbers, None),
    };
    let bad = || TemplateError::new(format!("`printf` cannot print {value} as `%{spec}{verb}`"));
    let limit = |text: &str| -> Result<usize, TemplateError> {
        if text.is_empty() {
            return Ok(0);
        }
        text.parse().ok().filter(|width| *width <= 4096).ok_or_else(bad)
    };
    let width = limit(width)?;
    let precision = precision.map(limit).transpose()?;
    let mut text = match verb {
        'v' | 's' => {
            let text = display(value);
            match precision {
                Some(length) => text.chars().take(length).collect(),
                None => text,
            }
        }
        'q' => format!("{:?}", display(value)),
        't' => value.as_bool().ok_or_else(bad)?.to_string(),
        'd' => value.as_i64().map(|n| n.to_string()).ok_or_else(bad)?,
        'c' => value
            .as_u64()
            .and_then(|n| char::from_u32(u32::try_from(n).ok()?))
            .ok_or_else(bad)?
            .to_string(),
        'x' | 'X' => {
            let text = match value {
                Value::String(text) => text.bytes().map(|byte| format!("{byte:02x}")).collect(),
                other => format!("{:x}", other.as_i64().ok_or_else(bad)?),
            };
            if verb == 'X' { text.to_uppercase() } else { text }
        }
        'f' => format!("{:.*}", precision.unwrap_or(6), value.as_f64().ok_or_else(bad)?),
        'g' => value.as_f64().ok_or_else(bad)?.to_string(),
        other => {
            return Err(TemplateError::new(format!("`printf` does not know `%{other}`")));
        }
    };
    if flags.contains('+') && "dfg".contains(verb) && !text.starts_with('-') {
        text.insert(0, '+');
    }
    let missing = width.saturating_sub(text.chars().count());
    Ok(if flags.contains('-') {
        text + &" ".repeat(missing)
    } else if flags.contains('0') && "dfgxX".contains(verb) {
        let (sign, digits) = text.split_at(usize::from(text.starts_with(['-', '+'])));
        format!("{sign}{}{digits}", "0".repeat(missing))
    } else {
        " ".repeat(missing) + &text
    })
}
