//! `images`.

use clap::Args;
use jiff::Timestamp;
use linkspan_proto::error::{ErrorCode, Failure};
use linkspan_proto::v1::{ImageSummary, ListImagesRequest};

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::render::format::{Format, FormatFlag};
use crate::render::{self, human, image};

/// List images
#[derive(Debug, Args)]
pub(crate) struct Images {
    /// Also those without a name
    #[arg(short, long)]
    all: bool,
    /// Only the ids
    #[arg(short, long)]
    quiet: bool,
    /// Whole ids
    #[arg(long)]
    no_trunc: bool,
    /// Also the digests of the manifests
    #[arg(long)]
    digests: bool,
    /// Only those that match: `reference=PATTERN`, `label=KEY[=VALUE]`, `dangling=true|false`
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<Filter>,
    #[command(flatten)]
    format: FormatFlag,
    /// Only this repository or reference
    #[arg(value_name = "REPOSITORY[:TAG]")]
    reference: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
enum Filter {
    Reference(String),
    Label(String, Option<String>),
    Dangling(bool),
}

impl std::str::FromStr for Filter {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (key, value) = text.split_once('=').ok_or("a filter is KEY=VALUE")?;
        Ok(match key {
            "reference" => Self::Reference(value.into()),
            "dangling" => {
                Self::Dangling(value.parse().map_err(|_| "`dangling` is true or false".to_owned())?)
            }
            "label" => match value.split_once('=') {
                Some((label, value)) => Self::Label(label.into(), Some(value.into())),
                None => Self::Label(value.into(), None),
            },
            "before" | "since" | "until" => {
                return Err(format!("the filter `{key}` is not supported yet"));
            }
            other => {
                return Err(format!(
                    "there is no filter `{other}`: use reference, label or dangling"
                ));
            }
        })
    }
}

impl Filter {
    fn keeps(&self, image: &ImageSummary, repository: &str, tag: &str) -> bool {
        match self {
            Self::Reference(pattern) => {
                matches(pattern, repository) || matches(pattern, &format!("{repository}:{tag}"))
            }
            Self::Label(label, value) => image
                .labels
                .get(label)
                .is_some_and(|found| value.as_ref().is_none_or(|wanted| wanted == found)),
            Self::Dangling(wanted) => image.tags.is_empty() == *wanted,
        }
    }
}

/// Go's `path.Match` without classes: `*` and `?` stop at a slash.
fn matches(pattern: &str, text: &str) -> bool {
    let (pattern, text): (Vec<char>, Vec<char>) =
        (pattern.chars().collect(), text.chars().collect());
    // reached[t]: the pattern so far can have eaten t characters.
    let mut reached = vec![false; text.len() + 1];
    reached[0] = true;
    for p in pattern {
        let mut next = vec![false; text.len() + 1];
        for at in 0..=text.len() {
            if p == '*' {
                next[at] |= reached[at] || (at > 0 && next[at - 1] && text[at - 1] != '/');
            } else if at > 0 {
                let one = text[at - 1];
                next[at] = reached[at - 1] && (p == one || (p == '?' && one != '/'));
            }
        }
        reached = next;
    }
    reached[text.len()]
}

impl Images {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let format = Format::parse(self.format.format.as_deref())?;
        let client = context.running().await?;
        let wants_dangling = self.filter.contains(&Filter::Dangling(true));
        let request = ListImagesRequest {
            references: self.reference.into_iter().collect(),
            all: self.all || wants_dangling,
        };
        let images = client.images(context.machine()).list(request).await?.into_inner().images;
        let rows: Vec<image::Named<'_>> = images
            .iter()
            .flat_map(image::named)
            .filter(|row| {
                self.filter.iter().all(|filter| filter.keeps(row.image, &row.repository, &row.tag))
            })
            .collect();
        if self.quiet && format.is_table() {
            let ids: String = rows
                .iter()
                .map(|row| human::short_id(&row.image.id, self.no_trunc).to_owned() + "\n")
                .collect();
            render::print(&ids)?;
            return Ok(0);
        }
        let text = image::list(&format, &rows, self.no_trunc, self.digests, Timestamp::now())?;
        render::print(&text)?;
        Ok(0)
    }
}

/// A reference that must be given and not be empty.
///
/// # Errors
/// When it is empty.
pub(crate) fn not_empty(reference: &str, what: &str) -> Result<(), Error> {
    if reference.is_empty() {
        return Err(Failure::new(ErrorCode::InvalidArgument, format!("{what} is empty")).into());
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filters_are_dockers_and_others_are_named() {
        assert_eq!("dangling=true".parse(), Ok(Filter::Dangling(true)));
        assert_eq!("label=a=b".parse(), Ok(Filter::Label("a".into(), Some("b".into()))));
        let refused = "before=x".parse::<Filter>().expect_err("not supported");
        assert!(refused.contains("`before`"), "{refused}");
        assert!("nosuch=1".parse::<Filter>().is_err());
        assert!("dangling".parse::<Filter>().is_err());
    }

    #[test]
    fn a_pattern_stops_at_a_slash() {
        for (pattern, text, expected) in [
            ("busy*", "busybox", true),
            ("*", "linkspan/hello", false),
            ("*/*", "linkspan/hello", true),
            ("busybox:?", "busybox:1", true),
            ("busybox:?", "busybox:12", false),
            ("", "", true),
            ("*box*", "busybox:latest", true),
        ] {
            assert_eq!(matches(pattern, text), expected, "{pattern} {text}");
        }
    }
}
