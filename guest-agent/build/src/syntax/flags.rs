//! The flags of one instruction, by the table.

use super::table::{InstructionSpec, Support, Takes};
use crate::error::{Problem, Suggestion};

/// What was given, checked against the table.
#[derive(Debug, Default)]
pub(crate) struct Flags(Vec<(&'static str, String)>);

impl Flags {
    pub(crate) fn parse(spec: &'static InstructionSpec, given: &[String]) -> Result<Self, Problem> {
        let mut flags = Self::default();
        for text in given {
            let (name, value) = match text.split_once('=') {
                Some((name, value)) => (name, Some(value)),
                None => (text.as_str(), None),
            };
            let Some(flag) = spec.flags.iter().find(|flag| flag.name == name) else {
                let names = spec.flags.iter().map(|flag| flag.name);
                let suggestion = Suggestion::nearest(name, names);
                return Err(Problem::UnknownFlag { flag: name.to_owned(), suggestion });
            };
            if let Support::Refused(why) = flag.support {
                return Err(Problem::Refused { name: spec.name, flag: flag.name, why });
            }
            if flag.takes != Takes::List && flags.0.iter().any(|(other, _)| *other == name) {
                return Err(Problem::FlagTwice { flag: name.to_owned() });
            }
            let missing = || Problem::FlagWithoutValue { flag: name.to_owned() };
            let value = match (flag.takes, value) {
                (Takes::Bool, None) => "true".to_owned(),
                (Takes::Bool, Some("")) | (_, None) => return Err(missing()),
                (Takes::Bool, Some(value)) => match value.to_ascii_lowercase() {
                    lower if matches!(lower.as_str(), "true" | "false") => lower,
                    _ => {
                        let (flag, value) = (name.to_owned(), value.to_owned());
                        return Err(Problem::FlagNotBool { flag, value });
                    }
                },
                (_, Some(value)) => value.to_owned(),
            };
            flags.0.push((flag.name, value));
        }
        Ok(flags)
    }

    /// The value; an empty one is none.
    pub(crate) fn text(&self, name: &str) -> Option<String> {
        self.all(name).into_iter().next().filter(|value| !value.is_empty())
    }

    pub(crate) fn all(&self, name: &str) -> Vec<String> {
        self.0.iter().filter(|(other, _)| *other == name).map(|(_, value)| value.clone()).collect()
    }

    pub(crate) fn bool(&self, name: &str) -> Option<bool> {
        self.text(name).map(|value| value == "true")
    }
}
