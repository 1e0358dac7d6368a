//! The option `tag`: a line with fields of the container in it, `{{.Name}}/{{.ID}}`.
//!
//! Docker takes any Go template. Its documented fields are served; anything else is refused.

use crate::store::Record;

const FIELDS: &str = "{{.ID}}, {{.FullID}}, {{.Name}}, {{.ImageID}}, {{.ImageFullID}}, {{.ImageName}}, {{.Command}} \
     and {{.DaemonName}}";

/// Says what of a template is not known.
pub(super) fn check(template: &str) -> Result<(), String> {
    render(template, |_| Some(String::new())).map(drop)
}

/// The tag of a container.
pub(super) fn expand(template: &str, record: &Record) -> Result<String, String> {
    render(template, |field| field_of(field, Some(record)))
}

fn render(template: &str, value: impl Fn(&str) -> Option<String>) -> Result<String, String> {
    let mut out = String::new();
    let mut rest = template;
    while let Some((text, after)) = rest.split_once("{{") {
        let (inside, next) = after.split_once("}}").ok_or_else(|| {
            format!("invalid value for tag: `{template}` has a {{{{ without }}}}")
        })?;
        let known = inside.trim().strip_prefix('.').filter(|field| field_of(field, None).is_some());
        let found = known
            .and_then(&value)
            .ok_or_else(|| format!("tag: {{{{{inside}}}}} is not supported; known are {FIELDS}"))?;
        out += text;
        out += &found;
        rest = next;
    }
    Ok(out + rest)
}

/// None: no such field. Without a record: whether there is one.
fn field_of(field: &str, record: Option<&Record>) -> Option<String> {
    let value: fn(&Record) -> String = match field {
        "ID" => |record| record.id.short().to_owned(),
        "FullID" => |record| record.id.to_string(),
        "Name" => |record| record.name.clone(),
        "ImageID" => |record| {
            let id = record.resolved.image_id.trim_start_matches("sha256:");
            id.get(..12).unwrap_or(id).to_owned()
        },
        "ImageFullID" => |record| record.resolved.image_id.clone(),
        "ImageName" => |record| record.config.image.clone(),
        "Command" => |record| record.resolved.args.join(" "),
        "DaemonName" => |_| "linkspan".to_owned(),
        _ => return None,
    };
    Some(record.map_or_else(String::new, value))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields_are_replaced_and_others_refused() {
        let show = |template| render(template, |field| Some(field.to_lowercase()));
        assert_eq!(show("plain"), Ok("plain".into()));
        assert_eq!(show("{{.Name}}/{{ .ID }}!"), Ok("name/id!".into()));
        assert!(show("{{.Other}}").unwrap_err().contains("{{.Other}} is not supported"));
        assert!(show("{{json .}}").is_err());
        assert!(show("{{.Name").unwrap_err().contains("without"));
    }
}
