//! `search`, as Docker shows it.

use linkspan_proto::v1::FoundImage;
use serde_json::{Value, json};

use super::format::{Format, Listing};
use super::human;
use crate::error::Error;

const COLUMNS: &str = "{{.Name}}\t{{.Description}}\t{{.StarCount}}\t{{.IsOfficial}}";
const HEADINGS: &[(&str, &str)] = &[
    ("Name", "NAME"),
    ("Description", "DESCRIPTION"),
    ("StarCount", "STARS"),
    ("IsOfficial", "OFFICIAL"),
    ("IsAutomated", "AUTOMATED"),
];
const DESCRIPTION: usize = 45;

/// Lays out what was found, the most liked first.
///
/// # Errors
/// A template that asks for what is not there.
pub(crate) fn list(
    format: &Format,
    mut images: Vec<FoundImage>,
    whole: bool,
) -> Result<String, Error> {
    images.sort_by_key(|image| std::cmp::Reverse(image.stars));
    let json = matches!(format, Format::Json);
    let rows: Vec<Value> = images.iter().map(|image| row(image, whole, json)).collect();
    Listing { columns: COLUMNS, headings: HEADINGS, methods: &|_, _, _| None }.render(format, &rows)
}

fn row(image: &FoundImage, whole: bool, json: bool) -> Value {
    let yes_or_no = |yes| match (json, yes) {
        (true, true) => "true",
        (true, false) => "false",
        (false, true) => "[OK]",
        (false, false) => "",
    };
    let description = image.description.replace(['\n', '\r'], " ");
    json!({
        "Name": image.name,
        "Description": if whole { description } else { human::ellipsis(&description, DESCRIPTION) },
        "StarCount": image.stars.to_string(),
        "IsOfficial": yes_or_no(image.official),
        "IsAutomated": yes_or_no(image.automated),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn search_looks_as_dockers() {
        let one = FoundImage {
            name: "someone/box".into(),
            description: "One\nbox".into(),
            stars: 3,
            ..Default::default()
        };
        let two = FoundImage {
            name: "busybox".into(),
            description: "Busybox base image, which is described at some length.".into(),
            stars: 3000,
            official: true,
            automated: false,
        };
        let table = Format::parse(None).expect("valid");
        assert_eq!(
            list(&table, vec![one.clone(), two], false).expect("rendered"),
            "NAME          DESCRIPTION                                     STARS     OFFICIAL\n\
             busybox       Busybox base image, which is described at so…   3000      [OK]\n\
             someone/box   One box                                         3         \n"
        );
        let json = Format::parse(Some("json")).expect("valid");
        let text = list(&json, vec![one], true).expect("rendered");
        assert!(text.contains(r#""IsOfficial":"false""#) && text.contains(r#""StarCount":"3""#));
    }
}
