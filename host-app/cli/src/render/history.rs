//! `history`.

use jiff::Timestamp;
use linkspan_proto::v1::{ImageDetail, ImageHistory};
use serde_json::{Value, json};

use super::format::{Format, Listing};
use super::human;
use crate::error::Error;

const COLUMNS: &str = "{{.ID}}\t{{.CreatedSince}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";
const COLUMNS_FOR_PROGRAMS: &str =
    "{{.ID}}\t{{.CreatedAt}}\t{{.CreatedBy}}\t{{.Size}}\t{{.Comment}}";

const HEADINGS: &[(&str, &str)] = &[
    ("ID", "IMAGE"),
    ("CreatedSince", "CREATED"),
    ("CreatedAt", "CREATED AT"),
    ("CreatedBy", "CREATED BY"),
    ("Size", "SIZE"),
    ("Comment", "COMMENT"),
];

/// Of the images that the steps below the last one once were, nothing is known.
const MISSING: &str = "<missing>";
const CREATED_BY_LENGTH: usize = 45;

/// How it is shown.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Look {
    /// Whole ids and instructions.
    pub(crate) whole: bool,
    /// Sizes and times for people.
    pub(crate) human: bool,
}

/// The steps, newest first, each with its image and the bytes of its layer.
fn steps(image: &ImageDetail) -> Vec<(&str, &ImageHistory, u64)> {
    let summary = image.summary.as_ref();
    let id = summary.map_or("", |summary| summary.id.as_str());
    let mut layers = summary.map(|s| s.layer_bytes.as_slice()).unwrap_or_default().iter();
    let bytes = |step: &ImageHistory| match step.empty_layer {
        true => 0,
        false => layers.next().copied().unwrap_or(0),
    };
    let bytes: Vec<u64> = image.history.iter().map(bytes).collect();
    let ids = std::iter::once(id).chain(std::iter::repeat(MISSING));
    let newest_first = image.history.iter().zip(bytes).rev();
    ids.zip(newest_first).map(|(id, (step, bytes))| (id, step, bytes)).collect()
}

fn shown(id: &str, look: Look) -> &str {
    if id == MISSING { id } else { human::short_id(id, look.whole) }
}

/// The images of the steps, one a line.
pub(crate) fn ids(image: &ImageDetail, look: Look) -> String {
    steps(image).iter().map(|(id, _, _)| shown(id, look).to_owned() + "\n").collect()
}

/// Lays the steps out.
///
/// # Errors
/// A template that asks for what is not there.
pub(crate) fn list(
    format: &Format,
    image: &ImageDetail,
    look: Look,
    now: Timestamp,
) -> Result<String, Error> {
    let row = |(id, step, bytes): &(&str, &ImageHistory, u64)| -> Value {
        let by = step.created_by.replace('\t', " ");
        let at = human::rfc3339(step.created_unix_nanos);
        json!({
            "ID": shown(id, look),
            "CreatedSince": match look.human {
                true => human::ago(step.created_unix_nanos, now),
                false => at.clone(),
            },
            "CreatedAt": at,
            "CreatedBy": match look.whole {
                true => by,
                false => human::ellipsis(&by, CREATED_BY_LENGTH),
            },
            "Size": if look.human { human::size(*bytes) } else { bytes.to_string() },
            "Comment": step.comment,
        })
    };
    let rows: Vec<Value> = steps(image).iter().map(row).collect();
    let columns = if look.human { COLUMNS } else { COLUMNS_FOR_PROGRAMS };
    Listing { columns, headings: HEADINGS, methods: &|_, _, _| None }.render(format, &rows)
}

#[cfg(test)]
mod tests {
    use linkspan_proto::v1::ImageSummary;

    use super::*;

    const NOW: i64 = 1_767_225_600;

    fn image() -> ImageDetail {
        let step = |by: &str, empty_layer| ImageHistory {
            created_unix_nanos: (NOW - 3 * 86400) * 1_000_000_000,
            created_by: by.into(),
            comment: String::new(),
            empty_layer,
        };
        ImageDetail {
            summary: Some(ImageSummary {
                id: "sha256:0123456789abcdef".into(),
                layer_bytes: vec![4_260_000, 70],
                ..ImageSummary::default()
            }),
            history: vec![
                ImageHistory {
                    created_unix_nanos: 0,
                    ..step("ADD rootfs.tar / # buildkit", false)
                },
                step("ENV A=b", true),
                ImageHistory {
                    comment: "buildkit".into(),
                    ..step("RUN /bin/sh -c echo a long line that does not fit # buildkit", false)
                },
            ],
            ..ImageDetail::default()
        }
    }

    fn text(format: &str, look: Look) -> String {
        let now = Timestamp::from_second(NOW).expect("in range");
        let format = Format::parse(Some(format)).expect("valid");
        list(&format, &image(), look, now).expect("rendered")
    }

    const SHORT: Look = Look { whole: false, human: true };

    #[test]
    fn history_looks_as_dockers_and_layers_go_to_the_steps_that_made_them() {
        assert_eq!(
            text("table", SHORT),
            "IMAGE          CREATED      CREATED BY                                      SIZE      COMMENT\n\
             0123456789ab   3 days ago   RUN /bin/sh -c echo a long line that does no…   70B       buildkit\n\
             <missing>      3 days ago   ENV A=b                                         0B        \n\
             <missing>      N/A          ADD rootfs.tar / # buildkit                     4.26MB    \n"
        );
        assert_eq!(ids(&image(), SHORT), "0123456789ab\n<missing>\n<missing>\n");
    }

    #[test]
    fn programs_get_bytes_times_and_whole_instructions() {
        let look = Look { whole: true, human: false };
        let all = text("table", look);
        let first = all.lines().nth(1).expect("a step");
        for part in ["sha256:0123456789abcdef", "2025-12-29T00:00:00Z", "# buildkit", "70 "] {
            assert!(first.contains(part), "{part}: {first}");
        }
        assert!(all.starts_with("IMAGE") && all.contains("CREATED AT"), "{all}");
        let json = text("json", SHORT);
        let last: Value = serde_json::from_str(json.lines().last().expect("a step")).expect("JSON");
        assert_eq!(last["Size"], "4.26MB");
        assert_eq!(last["ID"], MISSING);
        assert_eq!(text("{{.CreatedSince}}", look).lines().next(), Some("2025-12-29T00:00:00Z"));
    }
}
