//! Docker's own descriptions of its API, one for each version (Swagger 2.0), as JSON Schema.
//!
//! What a description does not name is found too: an object whose fields it names may have no others.
//! `.ci/clients` puts the descriptions into the cache.

use std::{collections::BTreeSet, ops::RangeInclusive, sync::OnceLock};

use http::StatusCode;
use jsonschema::{Registry, ValidationError, error::ValidationErrorKind};
use serde_json::{Map, Value, json};

use super::check::place;
use crate::common::Got;

/// The versions whose descriptions `.ci/clients` fetches.
pub(super) const DESCRIBED: RangeInclusive<u16> = 25..=51;

/// The address of the description among those that its schemas refer to.
const HERE: &str = "urn:docker";

/// Keywords that mean the same in both.
const SAME: &[&str] =
    &["type", "enum", "required", "pattern", "minimum", "maximum", "minItems", "maxItems"];

pub(super) struct Description {
    /// By path and method in lower case: its answers' schemas by status.
    paths: Map<String, Value>,
    schemas: Registry<'static>,
}

impl Description {
    /// Of version 1.`minor`; none is described after the last of [`DESCRIBED`], or the descriptions
    /// are not in the cache.
    pub(super) fn of(minor: u16) -> Option<&'static Self> {
        static READ: [OnceLock<Description>; 27] = [const { OnceLock::new() }; 27];
        let index = minor.checked_sub(*DESCRIBED.start()).filter(|_| DESCRIBED.contains(&minor))?;
        static FOLDER: OnceLock<Option<std::path::PathBuf>> = OnceLock::new();
        let folder = FOLDER.get_or_init(|| linkspan_test_registry::client("api")).as_ref()?;
        let read = || Self::read(&folder.join(format!("v1.{minor}.yaml")));
        Some(READ[usize::from(index)].get_or_init(read))
    }

    fn read(file: &std::path::Path) -> Self {
        let text =
            std::fs::read_to_string(file).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        let mut whole: Value =
            serde_yaml_ng::from_str(&text).unwrap_or_else(|error| panic!("{file:?}: {error}"));
        let Value::Object(paths) = whole["paths"].take() else { panic!("{file:?}: no paths") };
        let definitions = whole["definitions"].as_object().expect("definitions");
        let read = Reader { definitions };
        let named = definitions.iter().map(|(name, one)| (name.clone(), read.schema(one)));
        let answers = paths.iter().map(|(path, methods)| (path.clone(), read.answers(methods)));
        let document = json!({
            "$schema": "https://json-schema.org/draft/2020-12/schema",
            "definitions": named.collect::<Map<_, _>>(),
            "answers": answers.collect::<Map<_, _>>(),
        });
        let schemas = Registry::new().add(HERE, document).expect("an address");
        Self { paths, schemas: schemas.prepare().expect("all that it refers to is in it") }
    }

    /// What is in an answer and not in the description (`Config.OnBuild: unnamed`, `*` in a place is
    /// each of a list), is null and must not be (`: null`), or breaks another rule (`: type`, by the
    /// name of JSON Schema's keyword).
    pub(super) fn differences(&self, method: &str, path: &str, got: &Got) -> BTreeSet<String> {
        let found = |what: &str| [what.to_owned()].into();
        let Some(template) = self.template(path) else { return found("the path is unnamed") };
        let answers = &self.paths[template][method.to_lowercase()]["responses"];
        if answers.is_null() {
            return found("the method is unnamed");
        }
        let status = got.status.as_str();
        let status = if answers[status].is_null() { "default" } else { status };
        if answers[status].is_null() {
            return found("the status is unnamed");
        }
        // That it is so is all that a 304 can say (RFC 9110, 15.4.5).
        if answers[status]["schema"].is_null() || got.status == StatusCode::NOT_MODIFIED {
            return BTreeSet::new();
        }
        let pointer = [template, &method.to_lowercase(), status].map(escaped).join("/");
        let schema = json!({ "$ref": format!("{HERE}#/answers/{pointer}") });
        let validator = jsonschema::options()
            .with_registry(&self.schemas)
            .should_validate_formats(true)
            .build(&schema)
            .unwrap_or_else(|error| panic!("{schema}: {error}"));
        let values = if got.header("content-type").starts_with("application/json") {
            got.lines()
        } else {
            vec![String::from_utf8_lossy(&got.body).into()]
        };
        if values.is_empty() {
            return found("nothing");
        }
        values.iter().flat_map(|value| validator.iter_errors(value)).flat_map(said).collect()
    }

    /// The path with names in braces that a request's path is one of.
    fn template(&self, path: &str) -> Option<&str> {
        let path = path.split('?').next().unwrap_or(path);
        let parts: Vec<&str> = path.split('/').collect();
        let fits = |template: &str| {
            let of_template: Vec<&str> = template.split('/').collect();
            of_template.len() == parts.len()
                && of_template.iter().zip(&parts).all(|(a, b)| a.starts_with('{') || a == b)
        };
        let all = self.paths.keys().map(String::as_str).filter(|template| fits(template));
        all.min_by_key(|template| template.matches('{').count())
    }
}

/// Makes schemas of Swagger to such of JSON Schema.
struct Reader<'a> {
    definitions: &'a Map<String, Value>,
}

impl Reader<'_> {
    /// The schemas of a path's answers, by method and status.
    fn answers(&self, methods: &Value) -> Value {
        let of_one = |operation: &Value| -> Option<Value> {
            let all = operation.get("responses")?.as_object()?.iter();
            Some(all.map(|(status, one)| (status.clone(), self.schema(&one["schema"]))).collect())
        };
        let methods = methods.as_object().into_iter().flatten();
        methods.filter_map(|(method, one)| Some((method.clone(), of_one(one)?))).collect()
    }

    fn schema(&self, swagger: &Value) -> Value {
        let Some(from) = swagger.as_object() else { return json!({}) };
        if let Some(name) = defined(from) {
            return json!({ "$ref": format!("{HERE}#/definitions/{name}") });
        }
        let mut from = from.clone();
        self.together(&mut from);
        let mut to = Map::new();
        for keyword in SAME {
            to.extend(from.get(*keyword).map(|value| ((*keyword).to_owned(), value.clone())));
        }
        to.extend(from.get("format").and_then(Value::as_str).map(format).unwrap_or_default());
        to.extend(from.get("items").map(|items| ("items".to_owned(), self.schema(items))));
        let fields = from.get("properties").and_then(Value::as_object);
        let others = match from.get("additionalProperties") {
            Some(Value::Bool(may)) => (*may).into(),
            Some(one) => self.schema(one),
            None => fields.is_none().into(),
        };
        to.insert("additionalProperties".into(), others);
        let fields = fields.into_iter().flatten();
        let fields = fields.map(|(name, one)| (name.clone(), self.schema(one)));
        to.insert("properties".into(), fields.collect());
        if from.get("x-nullable") == Some(&true.into()) {
            return json!({ "if": { "type": "null" }, "else": to });
        }
        to.into()
    }

    /// Puts the parts of a whole (`allOf`) into it: what fields it has, only all of them together say.
    fn together(&self, whole: &mut Map<String, Value>) {
        let Some(Value::Array(parts)) = whole.remove("allOf") else { return };
        for part in parts {
            let Value::Object(mut part) = part else { continue };
            if let Some(name) = defined(&part) {
                let Value::Object(named) = &self.definitions[name] else { continue };
                part = named.clone();
            }
            self.together(&mut part);
            for (keyword, value) in part {
                match (whole.get_mut(&keyword), value) {
                    (Some(Value::Object(all)), Value::Object(more)) => all.extend(more),
                    (Some(Value::Array(all)), Value::Array(more)) => all.extend(more),
                    (Some(_), _) => {}
                    (None, value) => drop(whole.insert(keyword, value)),
                }
            }
        }
    }
}

/// The name of the definition that is referred to.
fn defined(schema: &Map<String, Value>) -> Option<&str> {
    schema.get("$ref")?.as_str()?.strip_prefix("#/definitions/")
}

/// What a format says beyond the type.
fn format(name: &str) -> Map<String, Value> {
    let said = match name {
        "dateTime" | "date-time" => json!({ "format": "date-time" }),
        "uint8" => json!({ "minimum": 0, "maximum": u8::MAX }),
        "uint16" => json!({ "minimum": 0, "maximum": u16::MAX }),
        "uint32" => json!({ "minimum": 0, "maximum": u32::MAX }),
        "uint64" => json!({ "minimum": 0 }),
        _ => json!({}),
    };
    let Value::Object(said) = said else { unreachable!("an object") };
    said
}

fn said(error: ValidationError) -> Vec<String> {
    let at = place(&error.instance_path().as_str().replace('/', ".").replace("~1", "/"));
    let within = |found: &str| format!("{at}.{found}").trim_start_matches('.').to_owned();
    match error.kind() {
        ValidationErrorKind::AdditionalProperties { unexpected } => {
            unexpected.iter().map(|name| within(&format!("{name}: unnamed"))).collect()
        }
        ValidationErrorKind::Required { property } => {
            vec![within(&format!("{}: required", property.as_str().unwrap_or_default()))]
        }
        _ if error.instance().is_null() => vec![format!("{at}: null")],
        kind => vec![format!("{at}: {}", kind.keyword())],
    }
}

/// A part of a JSON pointer in an address.
fn escaped(part: &str) -> String {
    let part = part.replace('~', "~0").replace('/', "~1");
    part.replace('{', "%7B").replace('}', "%7D")
}
