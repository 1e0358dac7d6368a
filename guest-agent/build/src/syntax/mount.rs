//! The text of `RUN --mount`.

use crate::error::{Problem, Suggestion};
use crate::format;

/// What is mounted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum MountKind {
    Bind,
    Cache,
    Tmpfs,
    Secret,
    Ssh,
}

const KINDS: &[(&str, MountKind)] = &[
    ("bind", MountKind::Bind),
    ("cache", MountKind::Cache),
    ("tmpfs", MountKind::Tmpfs),
    ("secret", MountKind::Secret),
    ("ssh", MountKind::Ssh),
];
const KEYS: &[&str] = &[
    "type",
    "from",
    "source",
    "target",
    "readonly",
    "id",
    "sharing",
    "required",
    "mode",
    "uid",
    "gid",
    "src",
    "dst",
    "destination",
    "ro",
    "rw",
    "readwrite",
    "size",
    "env",
];
const SHARING: &[&str] = &["shared", "private", "locked"];

impl MountKind {
    pub(crate) fn name(self) -> &'static str {
        KINDS.iter().find(|(_, kind)| *kind == self).map_or("", |(name, _)| name)
    }
}

/// The options as they are given, expanded and checked one by one and against the type.
#[derive(Debug, Clone)]
pub(crate) struct MountSpec {
    pub(crate) kind: MountKind,
    pub(crate) from: Option<String>,
    pub(crate) source: Option<String>,
    pub(crate) target: Option<String>,
    pub(crate) read_only: bool,
    pub(crate) id: Option<String>,
    pub(crate) sharing: Option<String>,
    pub(crate) required: bool,
    pub(crate) mode: Option<u32>,
    pub(crate) uid: Option<u32>,
    pub(crate) gid: Option<u32>,
    pub(crate) size: Option<u64>,
    pub(crate) env: Option<String>,
}

/// What `from` says, before anything is expanded.
pub(crate) fn source(text: &str) -> Result<Option<String>, Problem> {
    let fields = fields(text).map_err(|why| Problem::Mount { text: text.to_owned(), why })?;
    let from = fields.iter().find_map(|field| {
        let (key, value) = field.split_once('=')?;
        key.eq_ignore_ascii_case("from").then(|| value.to_owned())
    });
    match from {
        Some(from) if from.contains('$') => Err(Problem::MountFromVariable),
        from => Ok(from.filter(|from| !from.is_empty())),
    }
}

impl MountSpec {
    /// Reads a text; `expand` puts variables into a value.
    pub(crate) fn parse(
        text: &str,
        expand: &dyn Fn(&str) -> Result<String, Problem>,
    ) -> Result<Self, Problem> {
        let wrap = |why: String| Problem::Mount { text: text.to_owned(), why };
        let mut given = Vec::new();
        for field in fields(text).map_err(wrap)? {
            let (key, value) = match field.split_once('=') {
                Some((key, value)) => (key.to_ascii_lowercase(), Some(expand(value)?)),
                None => (field.to_ascii_lowercase(), None),
            };
            given.push((key, value));
        }
        Self::read(given).map_err(wrap)
    }

    fn read(given: Vec<(String, Option<String>)>) -> Result<Self, String> {
        let mut spec = Self {
            kind: MountKind::Bind,
            from: None,
            source: None,
            target: None,
            read_only: false,
            id: None,
            sharing: None,
            required: false,
            mode: None,
            uid: None,
            gid: None,
            size: None,
            env: None,
        };
        // The type first: what else is allowed depends on it, wherever it stands.
        for (_, value) in given.iter().filter(|(key, _)| key == "type") {
            let value = value.as_deref().unwrap_or_default().to_ascii_lowercase();
            let kind = KINDS.iter().find(|(name, _)| *name == value).ok_or_else(|| {
                let near = Suggestion::nearest(&value, KINDS.iter().map(|(name, _)| *name));
                format!("unsupported mount type {value:?}{near}")
            })?;
            spec.kind = kind.1;
        }
        let mut read_only = None;
        for (key, value) in given {
            match (key.as_str(), value) {
                ("type", _) => {}
                ("readonly" | "ro", value) => read_only = Some(boolean(&key, value)?),
                ("readwrite" | "rw", value) => read_only = Some(!boolean(&key, value)?),
                ("required", value) => {
                    spec.only(&key, &[MountKind::Secret, MountKind::Ssh])?;
                    spec.required = boolean(&key, value)?;
                }
                (_, None) => return Err(format!("invalid field '{key}' must be a key=value pair")),
                (_, Some(value)) => spec.set(&key, value)?,
            }
        }
        let by_default = !matches!(spec.kind, MountKind::Cache | MountKind::Tmpfs);
        spec.read_only = read_only.unwrap_or(by_default);
        spec.check()?;
        Ok(spec)
    }

    fn set(&mut self, key: &str, value: String) -> Result<(), String> {
        const FILES: &[MountKind] = &[MountKind::Cache, MountKind::Secret, MountKind::Ssh];
        let number = |radix| {
            u32::from_str_radix(&value, radix)
                .map_err(|_| format!("invalid value {value} for {key}"))
        };
        match key {
            "from" => self.from = Some(value).filter(|value| !value.is_empty()),
            "source" | "src" => self.source = Some(value),
            "target" | "dst" | "destination" => self.target = Some(value),
            "id" => self.id = Some(value).filter(|value| !value.is_empty()),
            "sharing" => {
                self.only(key, &[MountKind::Cache])?;
                let lower = value.to_ascii_lowercase();
                if !SHARING.contains(&lower.as_str()) {
                    let near = Suggestion::nearest(&lower, SHARING.iter().copied());
                    return Err(format!("unsupported sharing value {value:?}{near}"));
                }
                self.sharing = Some(lower);
            }
            "size" => {
                self.only(key, &[MountKind::Tmpfs])?;
                let size = format::parse_size(&value);
                self.size = Some(size.ok_or_else(|| format!("invalid value for {key}: {value}"))?);
            }
            "env" => {
                self.only(key, &[MountKind::Secret])?;
                self.env = Some(value);
            }
            "mode" => {
                self.only(key, FILES)?;
                self.mode = Some(number(8)?);
            }
            "uid" => {
                self.only(key, FILES)?;
                self.uid = Some(number(10)?);
            }
            "gid" => {
                self.only(key, FILES)?;
                self.gid = Some(number(10)?);
            }
            _ => {
                let near = Suggestion::nearest(key, KEYS.iter().copied());
                return Err(format!("unexpected key '{key}'{near}"));
            }
        }
        Ok(())
    }

    fn only(&self, key: &str, kinds: &[MountKind]) -> Result<(), String> {
        if kinds.contains(&self.kind) {
            return Ok(());
        }
        Err(format!("unexpected key '{key}' for mount type '{}'", self.kind.name()))
    }

    fn check(&self) -> Result<(), String> {
        if self.from.is_some() {
            self.only("from", &[MountKind::Bind, MountKind::Cache])?;
        }
        if self.kind == MountKind::Secret {
            if self.source.is_none() && self.target.is_none() && self.id.is_none() {
                return Err("invalid secret mount. one of source, target required".to_owned());
            }
            if self.source.is_some() && self.id.is_some() {
                return Err("both source and id can't be set".to_owned());
            }
        }
        Ok(())
    }
}

fn boolean(key: &str, value: Option<String>) -> Result<bool, String> {
    // What Go's ParseBool takes.
    match value.as_deref() {
        None | Some("1" | "t" | "T" | "true" | "TRUE" | "True") => Ok(true),
        Some("0" | "f" | "F" | "false" | "FALSE" | "False") => Ok(false),
        Some(other) => Err(format!("invalid value for {key}: {other}")),
    }
}

/// One record of comma-separated values (RFC 4180).
fn fields(text: &str) -> Result<Vec<String>, String> {
    let (mut fields, mut field) = (Vec::new(), String::new());
    let mut chars = text.chars().peekable();
    loop {
        if field.is_empty() && chars.next_if_eq(&'"').is_some() {
            loop {
                match chars.next() {
                    Some('"') if chars.next_if_eq(&'"').is_some() => field.push('"'),
                    Some('"') => break,
                    Some(c) => field.push(c),
                    None => return Err("a quoted field has no end".to_owned()),
                }
            }
            if !matches!(chars.peek(), None | Some(',')) {
                return Err("a quoted field goes on after its end".to_owned());
            }
        }
        match chars.next() {
            None => break,
            Some(',') => fields.push(std::mem::take(&mut field)),
            Some('"') => return Err("a quote within a field that is not quoted".to_owned()),
            Some(c) => field.push(c),
        }
    }
    fields.push(field);
    Ok(fields)
}
