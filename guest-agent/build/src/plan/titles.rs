//! The titles of steps, as BuildKit writes them.

use super::graph::{Graph, NodeBase};
use super::types::Base;
use crate::env::Env;
use crate::expand::Lexer;
use crate::syntax::{Instruction, Statement};

/// The titles of a stage's steps: `[build 2/5] RUN make`.
pub(super) struct Titles {
    prefix: String,
    done: usize,
    total: usize,
}

impl Titles {
    pub(super) fn new(graph: &Graph, number: usize) -> Self {
        let node = &graph.nodes[number];
        let from_image = usize::from(matches!(node.base, NodeBase::Image(_)));
        let counts = |statement: &&Statement| {
            use Instruction::{Copy, Run, Workdir};
            matches!(statement.instruction, Run(_) | Copy(_) | Workdir(_))
        };
        let total = from_image + node.statements.iter().filter(counts).count();
        let several = graph.nodes.len() > 1;
        let prefix = if several { format!("{} ", node.label(number)) } else { String::new() };
        Self { prefix, done: from_image, total }
    }

    /// Of the FROM: an image is a step too.
    pub(super) fn first(&self, base: &Base) -> String {
        let Base::Image { reference, .. } = base else { return String::new() };
        let (prefix, total) = (&self.prefix, self.total);
        let width = total.to_string().len();
        format!("[{prefix}{:width$}/{total}] FROM {reference}", 1)
    }

    pub(super) fn next(
        &mut self,
        statement: &Statement,
        env: &Env,
        escape: char,
        changes_files: bool,
    ) -> String {
        if !changes_files {
            return String::new();
        }
        self.done += 1;
        let lexer = Lexer { raw_quotes: true, keep_unset: true, ..Lexer::new(escape, env) };
        let text = lexer.word(&statement.original).unwrap_or_else(|_| statement.original.clone());
        let rest = text.split_once(char::is_whitespace).map_or("", |(_, rest)| rest.trim_start());
        let trigger = if statement.is_trigger { "ONBUILD " } else { "" };
        let width = self.total.to_string().len();
        let (prefix, done, total, name) = (&self.prefix, self.done, self.total, statement.name);
        format!("[{prefix}{done:width$}/{total}] {trigger}{name} {rest}")
    }
}
