//! From text to instructions: lines, flags, words. Nothing is evaluated here.

mod command;
mod files;
mod flags;
mod heredoc;
mod instruction;
mod lines;
mod mount;
pub(crate) mod table;
mod words;

pub(crate) use files::SourceText;
pub(crate) use heredoc::{Heredoc, is_heredoc, without_tabs};
pub(crate) use instruction::{
    ArgDefinition, CommandLine, Copy, Health, Instruction, Pair, Run, Stage, Statement, parse,
    parse_trigger,
};
pub(crate) use lines::{Directives, read};
pub(crate) use mount::{MountKind, MountSpec};
