//! `--format`: a table, JSON, or a template, for lists and for single things.

use serde::Serialize;
use serde_json::Value;

use super::table;
use crate::error::Error;
use crate::template::{Methods, Template};

/// The flag of every verb that prints a list.
#[derive(Debug, clap::Args)]
pub(crate) struct FormatFlag {
    /// `table`, `json`, a Go template such as '{{.ID}}', or `table` and a template
    #[arg(long, value_name = "FORMAT")]
    pub(crate) format: Option<String>,
}

/// What `--format` asks for.
#[derive(Debug)]
pub(crate) enum Format {
    /// The verb's own columns.
    Table,
    /// Columns of the user's.
    Columns(Template),
    /// One object a line.
    Json,
    /// One result a line.
    Template(Template),
}

impl Format {
    /// Reads the flag.
    ///
    /// # Errors
    /// A template that is not one.
    pub(crate) fn parse(flag: Option<&str>) -> Result<Self, Error> {
        // A shell passes `\t` on as two characters.
        let template =
            |text: &str| Template::parse(&text.replace("\\t", "\t").replace("\\n", "\n"));
        Ok(match flag {
            None | Some("table" | "") => Self::Table,
            Some("json") => Self::Json,
            Some(text) => match text.strip_prefix("table ") {
                Some(columns) => Self::Columns(template(columns.trim_start())?),
                None => Self::Template(template(text)?),
            },
        })
    }

    /// Whether this is the verb's own table.
    pub(crate) fn is_table(&self) -> bool {
        matches!(self, Self::Table)
    }
}

/// A kind of list.
pub(crate) struct Listing<'a> {
    /// The columns of the plain table, as a template.
    pub(crate) columns: &'a str,
    /// The heading of each field.
    pub(crate) headings: &'a [(&'a str, &'a str)],
    pub(crate) methods: Methods<'a>,
}

impl Listing<'_> {
    /// Lays the rows out.
    ///
    /// # Errors
    /// A template that asks for what is not there.
    pub(crate) fn render(&self, format: &Format, rows: &[Value]) -> Result<String, Error> {
        let own;
        let template = match format {
            Format::Json => return rows.iter().map(json_line).collect(),
            Format::Template(template) => {
                return rows
                    .iter()
                    .map(|row| Ok(template.render_with(row, self.methods)? + "\n"))
                    .collect();
            }
            Format::Columns(template) => template,
            Format::Table => {
                own = Template::parse(self.columns)?;
                &own
            }
        };
        let headings: Value = self
            .headings
            .iter()
            .map(|(field, heading)| ((*field).to_owned(), Value::from(*heading)))
            .collect::<serde_json::Map<_, _>>()
            .into();
        // A column of `{{.Label "x"}}` is headed by the label's name.
        let heading_methods = |_: &Value, _: &str, arguments: &[Value]| arguments.first().cloned();
        let mut text = template.render_with(&headings, &heading_methods)? + "\n";
        for row in rows {
            // A tab or a line end inside a value would move the columns.
            text.push_str(&template.render_with(row, self.methods)?.replace(['\n', '\r'], " "));
            text.push('\n');
        }
        Ok(table::align(&text))
    }
}

/// An object on one line.
///
/// # Errors
/// When it cannot be written as JSON.
pub(crate) fn json_line(value: &impl Serialize) -> Result<String, Error> {
    serde_json::to_string(value)
        .map(|text| text + "\n")
        .map_err(|error| Error::invalid(format!("cannot write as JSON: {error}")))
}

/// An object over several lines, indented as Docker does.
///
/// # Errors
/// When it cannot be written as JSON.
pub(crate) fn json_pretty(value: &impl Serialize) -> Result<String, Error> {
    let mut out = Vec::new();
    let formatter = serde_json::ser::PrettyFormatter::with_indent(b"    ");
    let mut writer = serde_json::Serializer::with_formatter(&mut out, formatter);
    value
        .serialize(&mut writer)
        .map_err(|error| Error::invalid(format!("cannot write as JSON: {error}")))?;
    out.push(b'\n');
    Ok(String::from_utf8_lossy(&out).into_owned())
}

/// As a value for templates.
///
/// # Errors
/// When it cannot be written as JSON.
pub(crate) fn to_value(value: &impl Serialize) -> Result<Value, Error> {
    serde_json::to_value(value)
        .map_err(|error| Error::invalid(format!("cannot write as JSON: {error}")))
}

/// One thing by `--format`, or else by `plain`.
///
/// # Errors
/// A template that is not one, or asks for what is not there.
pub(crate) fn single(
    flag: Option<&str>,
    value: &impl Serialize,
    plain: impl FnOnce() -> String,
) -> Result<String, Error> {
    match Format::parse(flag)? {
        Format::Table => Ok(plain()),
        Format::Json => json_line(value),
        Format::Columns(template) | Format::Template(template) => {
            Ok(template.render(&to_value(value)?)? + "\n")
        }
    }
}
