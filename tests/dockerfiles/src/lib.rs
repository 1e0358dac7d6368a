//! Dockerfiles and what they come to: the files of the image and its configuration, each as what differs
//! from the base.
//!
//! The tables are data, in `cases`: all but `machine` need nothing that runs and are built on a store of a
//! test's own; `machine` is built in a real VM. A case is
//!
//! ```text
//! #### the property
//! flags: --build-arg A=1         optional: of `linkspan build`
//! whole                          optional: as what differs from nothing, for FROM scratch
//! a.txt: text\n                  a file of the context, with its content
//! run 755: text                  and its mode; otherwise 644
//! folder/ 700                    a folder of it, with its mode
//! link -> a.txt                  a link of it
//! a.tar < in/f=text              a tar of it, with what is in there
//! ----
//! FROM base
//! COPY a.txt /
//! ----
//! /a.txt file 644 "text\n"
//! /d folder 755 5:6
//! /l link /a.txt
//! - /removed
//! {"Cmd": ["x"]}                 optional: what differs in `config`; null: it is not there any more
//! ```
//!
//! Knows nothing of Linkspan: an image is read from an OCI archive with plain layers.

#![forbid(unsafe_code)]

mod context;
mod image;

use std::path::Path;

use serde_json::{Map, Value};

pub use image::Image;

/// A Dockerfile, its context, and what is expected of it.
#[derive(Debug)]
pub struct Case {
    /// Its property.
    pub name: String,
    /// Of `linkspan build`.
    pub flags: Vec<String>,
    /// The text.
    pub dockerfile: String,
    whole: bool,
    context: Vec<String>,
    tree: Vec<String>,
    config: Value,
}

/// What is copied where, and what becomes of its owner and mode.
pub const COPY: &str = include_str!("../cases/copy.txt");
/// Which files are copied: wildcards, exclusions, .dockerignore.
pub const SELECT: &str = include_str!("../cases/select.txt");
/// Several stages.
pub const STAGES: &str = include_str!("../cases/stages.txt");
/// The configuration.
pub const SETTINGS: &str = include_str!("../cases/settings.txt");
/// Commands: these need a machine.
pub const MACHINE: &str = include_str!("../cases/machine.txt");

/// The cases of one of the tables.
///
/// # Panics
/// When it is malformed.
#[must_use]
pub fn cases(table: &str) -> Vec<Case> {
    table.split("#### ").skip(1).map(Case::parse).collect()
}

impl Case {
    fn parse(text: &str) -> Self {
        let mut parts = text.split("----\n");
        let mut part = || parts.next().unwrap_or_else(|| panic!("{text}: a part is missing"));
        let (head, dockerfile, expected) = (part(), part(), part());
        let mut head = head.lines().filter(|line| !line.is_empty());
        let mut case = Self {
            name: head.next().expect("a name").to_owned(),
            flags: Vec::new(),
            dockerfile: dockerfile.to_owned(),
            whole: false,
            context: Vec::new(),
            tree: Vec::new(),
            config: Value::Object(Map::new()),
        };
        for line in head {
            match line.strip_prefix("flags: ") {
                Some(flags) => case.flags = flags.split(' ').map(str::to_owned).collect(),
                None if line == "whole" => case.whole = true,
                None => case.context.push(line.to_owned()),
            }
        }
        for line in expected.lines().filter(|line| !line.is_empty()) {
            match line.starts_with('{') {
                true => {
                    case.config = serde_json::from_str(line)
                        .unwrap_or_else(|error| panic!("{}: {error}", case.name));
                }
                false => case.tree.push(line.to_owned()),
            }
        }
        case
    }

    /// Makes the files of the context.
    ///
    /// # Panics
    /// When they cannot be made, or the case does not say how.
    pub fn write(&self, folder: &Path) {
        for line in &self.context {
            context::write(folder, line);
        }
    }

    /// What is not as expected of the image that was made on `base`.
    #[must_use]
    pub fn difference(&self, base: &Image, made: &Image) -> Option<String> {
        let nothing = Image::default();
        let base = if self.whole { &nothing } else { base };
        let (tree, config) = (made.tree_since(base), made.config_since(base));
        if tree == self.tree && config == self.config {
            return None;
        }
        let shown = |tree: &[String], config: &Value| format!("{}\n{config}", tree.join("\n"));
        let (expected, got) = (shown(&self.tree, &self.config), shown(&tree, &config));
        Some(format!("#### {}\nexpected:\n{expected}\ngot:\n{got}\n", self.name))
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn there_are_many_cases_and_each_has_a_name_of_its_own() {
        let all = [COPY, SELECT, STAGES, SETTINGS, MACHINE].map(cases);
        let names: Vec<String> = all.into_iter().flatten().map(|case| case.name).collect();
        let different: BTreeSet<&String> = names.iter().collect();
        assert_eq!(different.len(), names.len());
        assert!(names.len() >= 150, "{}", names.len());
    }
}
