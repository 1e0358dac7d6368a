//! `--filter` of `images` and of `image prune`: which images are meant.
//!
//! Docker's rules (`daemon/images/images.go`): values of `reference` are alternatives, everything
//! else must hold. `before`, `since` and `until` compare the time at which an image was made.

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::error::{Error, Result};
use crate::store::ImageSummary;

const OF_LISTS: &[&str] = &["before", "dangling", "label", "label!", "reference", "since", "until"];
const OF_PRUNE: &[&str] = &["dangling", "label", "label!", "until"];

/// The filters of one call.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ImageFilters {
    /// Only images without any name, or only others.
    pub dangling: Option<bool>,
    /// Patterns for names, one of which must match.
    pub references: Vec<String>,
    /// Images that must be younger than it.
    pub(crate) before: Vec<String>,
    /// Images that must be older than it.
    pub(crate) since: Vec<String>,
    until: Option<Timestamp>,
    labels: Vec<String>,
    not_labels: Vec<String>,
}

impl ImageFilters {
    /// Reads `KEY=VALUE`s of a list.
    ///
    /// # Errors
    /// [`Error::InvalidFilter`] for a key that is not known and a value that its key cannot have.
    pub fn of_list(filters: &[String]) -> Result<Self> {
        Self::parse(filters, OF_LISTS)
    }

    /// Reads `KEY=VALUE`s of a prune.
    ///
    /// # Errors
    /// As [`Self::of_list`].
    pub fn of_prune(filters: &[String]) -> Result<Self> {
        Self::parse(filters, OF_PRUNE)
    }

    fn parse(filters: &[String], known: &[&str]) -> Result<Self> {
        let mut parsed = Self::default();
        for text in filters {
            let fail = |why: String| Error::InvalidFilter { filter: text.clone(), why };
            let (key, value) =
                text.split_once('=').ok_or_else(|| fail("it is not KEY=VALUE".to_owned()))?;
            // `label!=x` is the key `label!`.
            if !known.contains(&key) {
                return Err(fail(format!("known keys are {}", known.join(", "))));
            }
            match key {
                "dangling" => parsed.set_dangling(value).map_err(fail)?,
                "reference" => parsed.references.push(value.to_owned()),
                "before" => parsed.before.push(value.to_owned()),
                "since" => parsed.since.push(value.to_owned()),
                "label" => parsed.labels.push(value.to_owned()),
                "label!" => parsed.not_labels.push(value.to_owned()),
                _ => {
                    let until = moment(value).ok_or_else(|| fail("it is not a time".to_owned()))?;
                    // Of several the earliest holds for all.
                    parsed.until = Some(parsed.until.map_or(until, |known| known.min(until)));
                }
            }
        }
        Ok(parsed)
    }

    fn set_dangling(&mut self, value: &str) -> Result<(), String> {
        // What Docker's `GetBoolOrDefault` takes.
        let wanted = match value {
            "1" | "true" | "True" => true,
            "0" | "false" | "False" => false,
            _ => return Err("it is true or false".to_owned()),
        };
        match self.dangling.replace(wanted) {
            Some(other) if other != wanted => Err("it is asked for both ways".to_owned()),
            _ => Ok(()),
        }
    }

    /// Whether an image is meant as far as it shows by itself: all but `reference`, `before` and
    /// `since`.
    #[must_use]
    pub fn matches(&self, image: &ImageSummary) -> bool {
        let made = Timestamp::from_nanosecond(image.created_unix_nanos.into()).ok();
        let known = made.filter(|_| image.created_unix_nanos != 0);
        self.dangling.is_none_or(|wanted| wanted == image.is_dangling())
            // Of an image that does not say when it was made, nobody knows.
            && self.until.is_none_or(|until| known.is_some_and(|made| made < until))
            && self.labels.iter().all(|label| label_matches(&image.labels, label))
            && !self.not_labels.iter().any(|label| label_matches(&image.labels, label))
    }
}

/// `KEY` or `KEY=VALUE`.
fn label_matches(labels: &BTreeMap<String, String>, wanted: &str) -> bool {
    match wanted.split_once('=') {
        Some((key, value)) => labels.get(key).is_some_and(|v| v == value),
        None => labels.contains_key(wanted),
    }
}

/// A point in time as filters have it: a span before now, an RFC 3339 time, or seconds since 1970.
#[must_use]
pub fn moment(text: &str) -> Option<Timestamp> {
    if let Ok(seconds) = text.parse::<f64>() {
        let since_epoch = SignedDuration::try_from_secs_f64(seconds).ok()?;
        return Timestamp::UNIX_EPOCH.checked_add(since_epoch).ok();
    }
    if let Ok(span) = text.parse::<SignedDuration>() {
        return Timestamp::now().checked_sub(span).ok();
    }
    text.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::digest::{Digest, ImageId};

    fn parse(filters: &[&str]) -> Result<ImageFilters> {
        let filters: Vec<String> = filters.iter().map(|&text| text.to_owned()).collect();
        ImageFilters::of_list(&filters)
    }

    #[test]
    fn a_moment_is_a_span_a_time_or_seconds() {
        let hour_ago = Timestamp::now() - SignedDuration::from_hours(1);
        for text in ["1h", "60m", "1h0m"] {
            let off = moment(text).unwrap().duration_since(hour_ago);
            assert!(off.abs() < SignedDuration::from_mins(1), "{text}: {off}");
        }
        assert_eq!(moment("5"), Timestamp::from_second(5).ok());
        assert_eq!(moment("1970-01-01T00:00:05Z"), Timestamp::from_second(5).ok());
        for text in ["", "yesterday", "1e300", "nan"] {
            assert_eq!(moment(text), None, "{text}");
        }
    }

    #[test]
    fn what_cannot_be_asked_is_refused_by_name() {
        for (text, why) in [
            ("color=red", "cannot filter by `color=red`: known keys are before, dangling"),
            ("dangling", "not KEY=VALUE"),
            ("dangling=maybe", "true or false"),
            ("until=tomorrow-ish", "not a time"),
        ] {
            let error = parse(&[text]).unwrap_err().to_string();
            assert!(error.contains(why), "{text}: {error}");
        }
        let error = parse(&["dangling=1", "dangling=false"]).unwrap_err().to_string();
        assert!(error.contains("both ways"), "{error}");
        let error = ImageFilters::of_prune(&["reference=a".to_owned()]).unwrap_err().to_string();
        assert!(error.contains("known keys are dangling, label, label!, until"), "{error}");
    }

    #[test]
    fn labels_and_times_must_all_hold() {
        let image = ImageSummary {
            id: ImageId(Digest::of(b"")),
            created_unix_nanos: 5_000_000_000,
            tags: vec!["a:1".to_owned()],
            digests: Vec::new(),
            size_bytes: 0,
            layer_bytes: Vec::new(),
            labels: [("tier", "web"), ("team", "")]
                .map(|(key, value)| (key.to_owned(), value.to_owned()))
                .into(),
        };
        for (filters, expected) in [
            (&["label=tier"][..], true),
            (&["label=tier=web", "label=team"], true),
            (&["label=tier=web", "label=none"], false),
            (&["label=tier=db"], false),
            (&["label!=tier=db", "label!=none"], true),
            (&["label!=tier"], false),
            (&["until=6"], true),
            (&["until=5"], false),
            (&["until=9", "until=2"], false),
            (&["dangling=false"], true),
            (&["dangling=true"], false),
        ] {
            assert_eq!(parse(filters).unwrap().matches(&image), expected, "{filters:?}");
        }
        let unknown = ImageSummary { created_unix_nanos: 0, ..image };
        assert!(!parse(&["until=6"]).unwrap().matches(&unknown));
    }
}
