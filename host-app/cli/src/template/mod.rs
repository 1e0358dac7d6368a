//! Go's `text/template`, as far as `--format` of a Docker-shaped command line needs it.
//!
//! Values are [`serde_json::Value`]; a template that names a field that is not there is refused
//! with the fields that are. Not supported, and refused by name: `define`, `template`, `block`.
//!
//! Own code and not the `gtmpl` crate because that prints lists in Rust's debug form, ranges
//! over maps in random order and runs the `else` of every `range`, whether empty or not
//! (checked with 0.7.1).

mod exec;
mod funcs;
mod parse;
mod printf;
mod scan;

use serde_json::Value;

/// A template that was understood.
#[derive(Debug)]
pub(crate) struct Template {
    nodes: Vec<parse::Node>,
}

/// Why a template is refused, or failed on a value.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub(crate) struct TemplateError(String);

impl TemplateError {
    fn new(message: impl Into<String>) -> Self {
        Self(message.into())
    }
}

/// What `{{.Name arg}}` calls: the receiver, the name and the arguments. `None`: no such method.
pub(crate) type Methods<'a> = &'a dyn Fn(&Value, &str, &[Value]) -> Option<Value>;

impl Template {
    /// Reads a template.
    ///
    /// # Errors
    /// What is wrong with its syntax, or the name of a function that there is not.
    pub(crate) fn parse(source: &str) -> Result<Self, TemplateError> {
        Ok(Self { nodes: parse::parse(source)? })
    }

    /// Fills it in.
    ///
    /// # Errors
    /// A field that is not there, or a function that refuses its arguments.
    pub(crate) fn render(&self, value: &Value) -> Result<String, TemplateError> {
        self.render_with(value, &|_, _, _| None)
    }

    /// Fills it in, with methods.
    ///
    /// # Errors
    /// As [`Template::render`].
    pub(crate) fn render_with(
        &self,
        value: &Value,
        methods: Methods<'_>,
    ) -> Result<String, TemplateError> {
        exec::run(&self.nodes, value, methods)
    }
}

#[cfg(test)]
mod tests;
