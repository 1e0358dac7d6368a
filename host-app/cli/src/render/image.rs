//! `images`.

use jiff::Timestamp;
use linkspan_proto::v1::ImageSummary;
use serde_json::{Value, json};

use super::format::{Format, Listing};
use super::{container, human};
use crate::error::Error;

const COLUMNS: &str = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";
const COLUMNS_WITH_DIGESTS: &str =
    "{{.Repository}}\t{{.Tag}}\t{{.Digest}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}";

/// The heading of each field.
pub(crate) const HEADINGS: &[(&str, &str)] = &[
    ("Repository", "REPOSITORY"),
    ("Tag", "TAG"),
    ("Digest", "DIGEST"),
    ("ID", "IMAGE ID"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("Size", "SIZE"),
    ("SharedSize", "SHARED SIZE"),
    ("UniqueSize", "UNIQUE SIZE"),
    ("Containers", "CONTAINERS"),
    ("Labels", "LABELS"),
];

const NONE: &str = "<none>";
const UNKNOWN: &str = "N/A";

/// One line of the list: an image under one of its names.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Named<'a> {
    pub(crate) image: &'a ImageSummary,
    pub(crate) repository: String,
    pub(crate) tag: String,
    pub(crate) digest: String,
}

/// An image for each of its tags; without a tag, for each of its digests; without either, once.
/// With `digests`, a tag has a line for each digest of its repository, and the digests of others
/// have lines of their own.
pub(crate) fn named(image: &ImageSummary, digests: bool) -> Vec<Named<'_>> {
    let line = |repository: &str, tag: &str, digest: &str| Named {
        image,
        repository: repository.into(),
        tag: tag.into(),
        digest: digest.into(),
    };
    let known: Vec<(&str, &str)> =
        image.digests.iter().filter_map(|digest| digest.split_once('@')).collect();
    let mut lines = Vec::new();
    for reference in &image.tags {
        let (repository, tag) = split_tag(reference);
        let mut own = known.iter().filter(|(name, _)| *name == repository).peekable();
        match (digests, own.peek()) {
            (true, Some(_)) => lines.extend(own.map(|(_, digest)| line(repository, tag, digest))),
            (_, first) => lines.push(line(repository, tag, first.map_or(NONE, |(_, d)| *d))),
        }
    }
    let tagged: Vec<&str> = image.tags.iter().map(|reference| split_tag(reference).0).collect();
    if digests || tagged.is_empty() {
        let others = known.iter().filter(|(repository, _)| !tagged.contains(repository));
        lines.extend(others.map(|(repository, digest)| line(repository, NONE, digest)));
    }
    if lines.is_empty() {
        lines.push(line(NONE, NONE, NONE));
    }
    lines
}

/// `host:5000/name:tag` to its name and tag: a colon before the last slash is a port's.
pub(crate) fn split_tag(reference: &str) -> (&str, &str) {
    match reference.rsplit_once(':') {
        Some((name, tag)) if !tag.contains('/') => (name, tag),
        _ => (reference, "latest"),
    }
}

/// Lays images out.
///
/// # Errors
/// A template that asks for what is not there.
pub(crate) fn list(
    format: &Format,
    images: &[Named<'_>],
    whole: bool,
    digests: bool,
    now: Timestamp,
) -> Result<String, Error> {
    let rows: Vec<Value> = images.iter().map(|named| row(named, whole, now)).collect();
    let columns = if digests { COLUMNS_WITH_DIGESTS } else { COLUMNS };
    let listing = Listing { columns, headings: HEADINGS, methods: &|_, _, _| None };
    listing.render(format, &rows)
}

/// One line's fields. What an image shares with others is only measured by `system df`.
pub(crate) fn row(named: &Named<'_>, whole: bool, now: Timestamp) -> Value {
    let image = named.image;
    json!({
        "Repository": named.repository,
        "Tag": named.tag,
        "Digest": named.digest,
        "ID": human::short_id(&image.id, whole),
        "CreatedSince": human::ago(image.created_unix_nanos, now),
        "CreatedAt": human::local_time(image.created_unix_nanos),
        "Size": human::size(image.size_bytes),
        "SharedSize": UNKNOWN,
        "UniqueSize": UNKNOWN,
        "Containers": image.containers.to_string(),
        "Labels": container::labels(&image.labels),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn images_looks_as_dockers() {
        let now = Timestamp::from_second(1_767_225_600).expect("in range");
        let tagged = ImageSummary {
            id: "sha256:0123456789abcdef".into(),
            tags: vec!["busybox:latest".into(), "host:5000/box:1".into()],
            digests: vec!["busybox@sha256:ff".into()],
            created_unix_nanos: (1_767_225_600 - 14 * 86400) * 1_000_000_000,
            size_bytes: 4_260_000,
            ..ImageSummary::default()
        };
        let untagged = ImageSummary { id: "sha256:fedcba9876543210".into(), ..tagged.clone() };
        let untagged = ImageSummary { tags: vec![], digests: vec![], ..untagged };
        let rows: Vec<Named<'_>> =
            [&tagged, &untagged].into_iter().flat_map(|image| named(image, false)).collect();
        let table = Format::parse(None).expect("valid");
        assert_eq!(
            list(&table, &rows, false, false, now).expect("rendered"),
            "REPOSITORY      TAG       IMAGE ID       CREATED       SIZE\n\
             busybox         latest    0123456789ab   2 weeks ago   4.26MB\n\
             host:5000/box   1         0123456789ab   2 weeks ago   4.26MB\n\
             <none>          <none>    fedcba987654   2 weeks ago   4.26MB\n"
        );
        let text = list(&table, &rows, false, true, now).expect("rendered");
        assert!(text.contains("busybox         latest    sha256:ff   0123456789ab"), "{text}");
    }

    #[test]
    fn digests_have_lines_of_their_own_when_asked_for_or_without_a_tag() {
        let image = ImageSummary {
            tags: vec!["a:1".into(), "b:1".into()],
            digests: vec!["a@sha256:1".into(), "a@sha256:2".into(), "c@sha256:3".into()],
            ..ImageSummary::default()
        };
        let lines = |image: &ImageSummary, digests| -> Vec<String> {
            let line = |n: Named<'_>| format!("{} {} {}", n.repository, n.tag, n.digest);
            named(image, digests).into_iter().map(line).collect()
        };
        assert_eq!(lines(&image, false), ["a 1 sha256:1", "b 1 <none>"]);
        assert_eq!(
            lines(&image, true),
            ["a 1 sha256:1", "a 1 sha256:2", "b 1 <none>", "c <none> sha256:3"]
        );
        let untagged = ImageSummary { tags: Vec::new(), ..image };
        assert_eq!(
            lines(&untagged, false),
            ["a <none> sha256:1", "a <none> sha256:2", "c <none> sha256:3"]
        );
    }

    #[test]
    fn a_port_is_not_a_tag() {
        assert_eq!(split_tag("host:5000/a/b"), ("host:5000/a/b", "latest"));
        assert_eq!(split_tag("host:5000/a/b:1.2"), ("host:5000/a/b", "1.2"));
    }
}
