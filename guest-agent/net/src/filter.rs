//! `network ls --filter` and `network prune --filter`: which networks are meant.

use crate::{Error, View};

/// Filters by key: values of one key are alternatives, different keys must all match; labels must
/// all match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Filters(Vec<(Key, String)>);

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Key {
    Id,
    Name,
    Label,
    NotLabel,
    Driver,
    Type,
    Scope,
    Dangling,
}

impl Filters {
    /// Of `network ls`.
    ///
    /// # Errors
    /// A key that is not known is refused by name, as is a value that its key cannot have.
    pub fn of_list(filters: &[String]) -> Result<Self, Error> {
        let known = [
            ("id", Key::Id),
            ("name", Key::Name),
            ("label", Key::Label),
            ("driver", Key::Driver),
            ("type", Key::Type),
            ("scope", Key::Scope),
            ("dangling", Key::Dangling),
        ];
        parse(filters, &known)
    }

    /// Of `network prune`.
    ///
    /// # Errors
    /// A key that is not known is refused by name.
    pub fn of_prune(filters: &[String]) -> Result<Self, Error> {
        parse(filters, &[("label", Key::Label), ("label!", Key::NotLabel)])
    }

    /// Whether a network is meant.
    #[must_use]
    pub fn matches(&self, view: &View) -> bool {
        self.0.iter().all(|(key, value)| match key {
            Key::Label | Key::NotLabel => matches(*key, value, view),
            _ => self.0.iter().any(|(other, value)| other == key && matches(*key, value, view)),
        })
    }
}

fn parse(filters: &[String], known: &[(&str, Key)]) -> Result<Filters, Error> {
    let one = |text: &String| {
        let (name, value) = text
            .split_once('=')
            .ok_or_else(|| Error::invalid("--filter", format!("`{text}` is not KEY=VALUE")))?;
        let found = known.iter().find(|(known, _)| *known == name);
        let (_, key) = found.ok_or_else(|| {
            let names: Vec<_> = known.iter().map(|(name, _)| *name).collect();
            Error::unsupported(
                format!("--filter {name}"),
                format!("known are {}", names.join(", ")),
            )
        })?;
        let choices: &[&str] = match key {
            Key::Type => &["custom", "builtin"],
            Key::Dangling => &["true", "false", "1", "0"],
            _ => return Ok((*key, value.to_owned())),
        };
        if choices.contains(&value) {
            return Ok((*key, value.to_owned()));
        }
        let why = format!("`{text}`: known are {}", choices.join(", "));
        Err(Error::invalid("--filter", why))
    };
    filters.iter().map(one).collect::<Result<_, _>>().map(Filters)
}

fn matches(key: Key, value: &str, view: &View) -> bool {
    let network = &view.network;
    match key {
        Key::Id => network.id.starts_with(value),
        Key::Name => network.name.contains(value),
        Key::Label => has_label(view, value),
        Key::NotLabel => !has_label(view, value),
        Key::Driver => network.driver.name() == value,
        Key::Type => network.is_predefined() == (value == "builtin"),
        // There is no cluster: every network is of this machine.
        Key::Scope => value == "local",
        Key::Dangling => {
            let dangling = !network.is_predefined() && view.endpoints.is_empty();
            dangling == ["true", "1"].contains(&value)
        }
    }
}

fn has_label(view: &View, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => view.network.labels.get(key).is_some_and(|known| known == value),
        None => view.network.labels.contains_key(wanted),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{NetworkSpec, Networks};

    #[test]
    fn networks_are_found_by_what_they_are() {
        let folder = tempfile::tempdir().unwrap();
        let networks = Networks::open(folder.path(), Vec::new()).unwrap();
        let labels = [("tier".to_owned(), "back".to_owned())].into();
        let spec = NetworkSpec { name: "backend".into(), labels, ..NetworkSpec::default() };
        networks.create(&spec).unwrap();
        let names = |filters: &[&str]| {
            let filters: Vec<_> = filters.iter().map(ToString::to_string).collect();
            let filters = Filters::of_list(&filters).unwrap();
            let all = networks.list().into_iter().filter(|view| filters.matches(view));
            all.map(|view| view.network.name).collect::<Vec<_>>()
        };
        assert_eq!(names(&[]), ["bridge", "host", "none", "backend"]);
        assert_eq!(names(&["name=back"]), ["backend"]);
        assert_eq!(names(&["driver=host", "driver=null"]), ["host", "none"]);
        assert_eq!(names(&["type=custom", "label=tier=back"]), ["backend"]);
        assert_eq!(names(&["label=tier=front"]), [""; 0]);
        assert_eq!(names(&["dangling=true"]), ["backend"]);
        for bad in ["color=red", "type=odd", "name"] {
            assert!(Filters::of_list(&[bad.into()]).is_err(), "{bad}");
        }
        assert!(Filters::of_prune(&["until=1h".into()]).unwrap_err().to_string().contains("until"));
    }
}
