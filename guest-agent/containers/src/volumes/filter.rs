//! Filters of `volume ls` and `volume prune`.

use super::{DRIVER, Result, Volume, VolumeError};

/// What a list is reduced to. Several of one kind: any of them; except labels: all.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters {
    dangling: Option<bool>,
    drivers: Vec<String>,
    names: Vec<String>,
    labels: Vec<Label>,
    all: bool,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Label {
    key: String,
    value: Option<String>,
    wanted: bool,
}

impl Filters {
    /// Reads `KEY=VALUE`s of `volume ls`.
    ///
    /// # Errors
    /// A filter that is not known, by name.
    pub fn of_list(filters: &[String]) -> Result<Self> {
        let mut all = Self::default();
        for filter in filters {
            let unknown = || VolumeError::Filter(filter.clone());
            let (key, value) = filter.split_once('=').ok_or_else(unknown)?;
            match key {
                "dangling" => all.dangling = Some(boolean(value).ok_or_else(unknown)?),
                "driver" => all.drivers.push(value.into()),
                "name" => all.names.push(value.into()),
                "label" => all.labels.push(label(value, true)),
                _ => return Err(unknown()),
            }
        }
        Ok(all)
    }

    /// Reads `KEY=VALUE`s of `volume prune`.
    ///
    /// # Errors
    /// A filter that is not known, by name.
    pub fn of_prune(filters: &[String]) -> Result<Self> {
        let mut all = Self::default();
        for filter in filters {
            let unknown = || VolumeError::Filter(filter.clone());
            let (key, value) = filter.split_once('=').ok_or_else(unknown)?;
            match key {
                "label" => all.labels.push(label(value, true)),
                "label!" => all.labels.push(label(value, false)),
                "all" => all.all = boolean(value).ok_or_else(unknown)?,
                _ => return Err(unknown()),
            }
        }
        Ok(all)
    }

    /// Whether `all=true` was among them.
    #[must_use]
    pub fn all(&self) -> bool {
        self.all
    }

    pub(super) fn matches(&self, volume: &Volume, dangling: bool) -> bool {
        let label = |wanted: &Label| {
            let found = volume.labels.get(&wanted.key);
            let has =
                found.is_some_and(|value| wanted.value.as_ref().is_none_or(|own| own == value));
            has == wanted.wanted
        };
        self.dangling.is_none_or(|wanted| wanted == dangling)
            && (self.drivers.is_empty() || self.drivers.iter().any(|driver| driver == DRIVER))
            && (self.names.is_empty() || self.names.iter().any(|part| volume.name.contains(part)))
            && self.labels.iter().all(label)
    }
}

fn label(text: &str, wanted: bool) -> Label {
    let (key, value) = match text.split_once('=') {
        Some((key, value)) => (key, Some(value.into())),
        None => (text, None),
    };
    Label { key: key.into(), value, wanted }
}

/// As Go's strconv.ParseBool, which Docker uses.
fn boolean(text: &str) -> Option<bool> {
    match text {
        "1" | "t" | "T" | "true" | "TRUE" | "True" => Some(true),
        "0" | "f" | "F" | "false" | "FALSE" | "False" => Some(false),
        _ => None,
    }
}
