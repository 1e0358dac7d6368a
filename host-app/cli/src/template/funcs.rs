//! The functions: Go's own and those that the Docker CLI adds (`templates.basicFunctions`).

use std::cmp::Ordering;

use serde_json::Value;

use super::TemplateError;
use super::printf::printf;

const NAMES: &[&str] = &[
    "and", "eq", "ge", "gt", "index", "join", "json", "le", "len", "lower", "lt", "ne", "not",
    "or", "pad", "print", "printf", "println", "slice", "split", "title", "truncate", "upper",
];

pub(super) fn exists(name: &str) -> bool {
    NAMES.contains(&name)
}

/// As Go prints it.
pub(super) fn display(value: &Value) -> String {
    match value {
        Value::Null => "<no value>".into(),
        Value::Bool(flag) => flag.to_string(),
        Value::Number(number) => number.to_string(),
        Value::String(text) => text.clone(),
        Value::Array(items) => {
            format!("[{}]", items.iter().map(display).collect::<Vec<_>>().join(" "))
        }
        Value::Object(map) => {
            let pairs: Vec<String> =
                map.iter().map(|(key, value)| format!("{key}:{}", display(value))).collect();
            format!("map[{}]", pairs.join(" "))
        }
    }
}

/// As Go's `if` sees it.
pub(super) fn truth(value: &Value) -> bool {
    match value {
        Value::Null => false,
        Value::Bool(flag) => *flag,
        Value::Number(number) => number.as_f64() != Some(0.0),
        Value::String(text) => !text.is_empty(),
        Value::Array(items) => !items.is_empty(),
        Value::Object(map) => !map.is_empty(),
    }
}

pub(super) fn call(name: &str, arguments: &[Value]) -> Result<Value, TemplateError> {
    let refuse = |why: &str| Err(TemplateError::new(format!("`{name}` {why}")));
    Ok(match (name, arguments) {
        ("json", [value]) => {
            serde_json::to_string(value).map_err(|e| TemplateError::new(e.to_string()))?.into()
        }
        ("lower", [value]) => display(value).to_lowercase().into(),
        ("upper", [value]) => display(value).to_uppercase().into(),
        ("title", [value]) => title(&display(value)).into(),
        ("join", [Value::Array(items), separator]) => {
            let items: Vec<String> = items.iter().map(display).collect();
            items.join(&display(separator)).into()
        }
        ("join", [Value::Null, _]) => "".into(),
        ("join", _) => return refuse("takes a list and a separator"),
        ("split", [text, separator]) => {
            let (text, separator) = (display(text), display(separator));
            text.split(separator.as_str()).map(str::to_owned).collect::<Vec<_>>().into()
        }
        ("pad", [text, before, after]) => {
            let (Some(before), Some(after)) = (size(before), size(after)) else {
                return refuse("takes a text and two numbers of spaces");
            };
            format!("{}{}{}", " ".repeat(before), display(text), " ".repeat(after)).into()
        }
        ("truncate", [text, length]) => {
            let Some(length) = size(length) else {
                return refuse("takes a text and a length");
            };
            display(text).chars().take(length).collect::<String>().into()
        }
        ("len", [Value::String(text)]) => text.len().into(),
        ("len", [Value::Array(items)]) => items.len().into(),
        ("len", [Value::Object(map)]) => map.len().into(),
        ("len", [Value::Null]) => 0.into(),
        ("index", [collection, keys @ ..]) => {
            let mut value = collection.clone();
            for key in keys {
                value = index(&value, key)?;
            }
            value
        }
        ("slice", [collection, bounds @ ..]) => slice(collection, bounds)?,
        ("not", [value]) => (!truth(value)).into(),
        ("eq", [first, others @ ..]) if !others.is_empty() => {
            others.iter().any(|other| equal(first, other)).into()
        }
        ("ne", [a, b]) => (!equal(a, b)).into(),
        ("lt", [a, b]) => (compare(a, b)? == Ordering::Less).into(),
        ("le", [a, b]) => (compare(a, b)? != Ordering::Greater).into(),
        ("gt", [a, b]) => (compare(a, b)? == Ordering::Greater).into(),
        ("ge", [a, b]) => (compare(a, b)? != Ordering::Less).into(),
        ("print", values) => print(values).into(),
        ("println", values) => {
            let texts: Vec<String> = values.iter().map(display).collect();
            format!("{}\n", texts.join(" ")).into()
        }
        ("printf", [format, values @ ..]) => printf(&display(format), values)?.into(),
        _ => return refuse(&format!("does not take these {} arguments", arguments.len())),
    })
}

fn size(value: &Value) -> Option<usize> {
    value.as_u64().and_then(|size| usize::try_from(size).ok()).filter(|size| *size <= 4096)
}

/// Go's `fmt.Sprint`: a space between operands when neither is a string.
fn print(values: &[Value]) -> String {
    let mut out = String::new();
    for (at, value) in values.iter().enumerate() {
        if at > 0 && !value.is_string() && !values[at - 1].is_string() {
            out.push(' ');
        }
        out.push_str(&display(value));
    }
    out
}

fn title(text: &str) -> String {
    let mut start = true;
    text.chars()
        .map(|c| {
            let out = if start { c.to_uppercase().next().unwrap_or(c) } else { c };
            start = !(c.is_alphanumeric() || c == '_' || c == '\'');
            out
        })
        .collect()
}

fn index(value: &Value, key: &Value) -> Result<Value, TemplateError> {
    match (value, key) {
        // A missing key of a map is the zero value in Go, and the maps here hold strings.
        (Value::Object(map), key) => {
            Ok(map.get(&display(key)).cloned().unwrap_or_else(|| "".into()))
        }
        (Value::Array(items), Value::Number(at)) => {
            at.as_u64().and_then(|at| items.get(usize::try_from(at).ok()?).cloned()).ok_or_else(
                || TemplateError::new(format!("there is no item {at}: there are {}", items.len())),
            )
        }
        (Value::Null, _) => Ok("".into()),
        (other, key) => {
            Err(TemplateError::new(format!("`{}` has no item `{}`", display(other), display(key))))
        }
    }
}

fn slice(value: &Value, bounds: &[Value]) -> Result<Value, TemplateError> {
    let length = match value {
        Value::String(text) => text.len(),
        Value::Array(items) => items.len(),
        other => {
            return Err(TemplateError::new(format!("`slice` cannot cut `{}`", display(other))));
        }
    };
    let bound = |at: usize, default: usize| match bounds.get(at) {
        None => Some(default),
        Some(value) => value.as_u64().and_then(|bound| usize::try_from(bound).ok()),
    };
    let out_of_range =
        || TemplateError::new(format!("`slice` is out of range: the length is {length}"));
    let (from, to) = bound(0, 0).zip(bound(1, length)).ok_or_else(out_of_range)?;
    match value {
        Value::String(text) => text.get(from..to).map(Into::into).ok_or_else(out_of_range),
        Value::Array(items) => {
            items.get(from..to).map(|cut| cut.to_vec().into()).ok_or_else(out_of_range)
        }
        _ => Err(out_of_range()),
    }
}

fn equal(a: &Value, b: &Value) -> bool {
    match (a, b) {
        (Value::Number(a), Value::Number(b)) => a.as_f64() == b.as_f64(),
        (a, b) => a == b,
    }
}

fn compare(a: &Value, b: &Value) -> Result<Ordering, TemplateError> {
    let order = match (a, b) {
        (Value::Number(a), Value::Number(b)) => {
            a.as_f64().zip(b.as_f64()).and_then(|(a, b)| a.partial_cmp(&b))
        }
        (Value::String(a), Value::String(b)) => Some(a.cmp(b)),
        _ => None,
    };
    order.ok_or_else(|| {
        TemplateError::new(format!("cannot compare `{}` with `{}`", display(a), display(b)))
    })
}
