//! `container prune`: removes what does not run.

use std::collections::BTreeMap;

use jiff::Timestamp;
use linkspan_images::moment;

use crate::{Containers, Error, container::blocking, filter::label_matches, id::ContainerId, size};

/// `--filter` of `container prune` and `network prune`: all must match.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PruneFilters(Vec<Filter>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Filter {
    /// Created before.
    Until(Timestamp),
    Label(String),
    NotLabel(String),
}

/// What was removed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Pruned {
    /// The containers.
    pub ids: Vec<ContainerId>,
    /// Bytes that they had written.
    pub bytes: u64,
}

impl PruneFilters {
    /// Reads `until=TIME` (a span before now, an RFC 3339 time, or seconds since 1970),
    /// `label=KEY[=VALUE]` and `label!=KEY[=VALUE]`.
    ///
    /// # Errors
    /// A key that is not known is refused by name.
    pub fn parse(filters: &[String]) -> Result<Self, Error> {
        let one = |text: &String| {
            let invalid = |why: &str| Error::invalid("--filter", format!("`{text}` {why}"));
            if let Some(label) = text.strip_prefix("label!=") {
                return Ok(Filter::NotLabel(label.into()));
            }
            match text.split_once('=').ok_or_else(|| invalid("is not KEY=VALUE"))? {
                ("label", label) => Ok(Filter::Label(label.into())),
                ("until", when) => {
                    moment(when).map(Filter::Until).ok_or_else(|| invalid("is not a time"))
                }
                (key, _) => Err(Error::Unsupported {
                    option: format!("--filter {key}"),
                    why: "known are until, label and label!".into(),
                }),
            }
        };
        filters.iter().map(one).collect::<Result<_, _>>().map(Self)
    }

    /// Whether something that was made then and has these labels is meant.
    #[must_use]
    pub fn matches(&self, created_at: Timestamp, labels: &BTreeMap<String, String>) -> bool {
        self.0.iter().all(|filter| match filter {
            Filter::Until(when) => created_at < *when,
            Filter::Label(label) => label_matches(labels, label),
            Filter::NotLabel(label) => !label_matches(labels, label),
        })
    }
}

impl Containers {
    /// Removes every container that does not run and that the filters choose. One that cannot be
    /// removed is left; the log says why.
    pub async fn prune(&self, filters: &PruneFilters) -> Pruned {
        let mut pruned = Pruned::default();
        for container in self.snapshots() {
            let record = &container.record;
            let meant = filters.matches(record.created_at, &record.resolved.labels);
            if container.status.state.kind().is_live() || !meant {
                continue;
            }
            let layer = container.folder.join("upper");
            let bytes = blocking(move || size::of_files(&layer)).await;
            match self.remove(container.record.id.as_str(), false, true).await {
                Ok(id) => {
                    pruned.ids.push(id);
                    pruned.bytes += bytes;
                }
                // It may have been started or removed meanwhile, too.
                Err(error) => tracing::info!(%error, "a container was not pruned"),
            }
        }
        let attributes = [("reclaimed".to_owned(), pruned.bytes.to_string())].into();
        self.events().publish("container", "prune", "", attributes);
        pruned
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_that_is_not_known_is_refused_by_name() {
        let error = PruneFilters::parse(&["name=x".into()]).unwrap_err();
        assert!(error.to_string().starts_with("--filter name is not supported"), "{error}");
    }
}
