//! Reading case files, and showing a plan as a case expects it.
//!
//! ```text
//! #### the property
//! options: {"target": "a"}            optional, as are more lines like it
//! ----
//! FROM scratch
//! ----
//! {"config": {"Cmd": ["x"]}}
//! ```

#![allow(dead_code, reason = "each test uses its part")]

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use linkspan_build::Error;
use linkspan_build::{
    Action, Base, Entitlement, Ignore, ImageConfig, ImageInfo, Images, Network, Options, Outcome,
    Plan, PlannedStage, plan,
};
use serde_json::{Map, Value, json};

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) options: Value,
    /// From a reference to a configuration; all others are empty images.
    pub(crate) images: Value,
    pub(crate) dockerfile: String,
    pub(crate) expected: String,
}

/// The cases of a file.
pub(crate) fn read(file: &Path) -> Vec<Case> {
    let text = std::fs::read_to_string(file).expect("a case file");
    let mut cases = Vec::new();
    for part in text.split("#### ").skip(1) {
        let mut parts = part.split("----\n");
        let mut head = parts.next().expect("a head").lines();
        let mut case = Case {
            name: head.next().expect("a name").to_owned(),
            options: json!({}),
            images: json!({}),
            dockerfile: parts.next().unwrap_or_else(|| panic!("{part}: no Dockerfile")).to_owned(),
            expected: parts.next().unwrap_or_default().trim_end().to_owned(),
        };
        for line in head.filter(|line| !line.is_empty()) {
            let (key, value) = line.split_once(": ").expect("key: value");
            let value =
                serde_json::from_str(value).unwrap_or_else(|e| panic!("{}: {e}", case.name));
            match key {
                "options" => case.options = value,
                "images" => case.images = value,
                other => panic!("{}: {other}?", case.name),
            }
        }
        cases.push(case);
    }
    cases
}

pub(crate) fn case_files() -> Vec<PathBuf> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/cases");
    let mut files: Vec<PathBuf> = std::fs::read_dir(folder)
        .expect("cases")
        .map(|file| file.expect("a file").path())
        .collect();
    files.sort();
    files
}

impl Case {
    pub(crate) fn options(&self) -> Options {
        let texts = |key: &str| -> Vec<String> {
            serde_json::from_value(self.options[key].clone()).unwrap_or_default()
        };
        let text = |key: &str| self.options[key].as_str();
        let platform = |text: &str| {
            let mut parts = text.split('/').map(str::to_owned);
            let mut next = || parts.next().unwrap_or_default();
            linkspan_images::Platform { os: next(), architecture: next(), variant: next() }
        };
        Options {
            build_args: serde_json::from_value(self.options["args"].clone()).unwrap_or_default(),
            target: text("target").map(str::to_owned),
            platform: text("platform").map(platform),
            build_platform: platform("linux/amd64"),
            labels: serde_json::from_value(self.options["labels"].clone()).unwrap_or_default(),
            allow: texts("allow")
                .iter()
                .map(|name| match name.as_str() {
                    "network.host" => Entitlement::NetworkHost,
                    _ => Entitlement::SecurityInsecure,
                })
                .collect(),
            network: if text("network") == Some("none") { Network::None } else { Network::Default },
            no_cache: self.options["no_cache"].as_bool().unwrap_or(false),
            no_cache_stages: texts("no_cache_stages").into_iter().collect(),
            ignore: Ignore::parse(text("ignore").unwrap_or_default(), ".dockerignore")
                .expect("patterns"),
            named_images: BTreeMap::new(),
        }
    }

    /// Plans, and brings each image that is asked for.
    pub(crate) fn plan(&self) -> Result<Plan, Error> {
        let (options, mut images) = (self.options(), Images::new());
        loop {
            match plan(&self.dockerfile, &options, &images)? {
                Outcome::Plan(plan) => return Ok(*plan),
                Outcome::Missing(missing) => {
                    assert!(!missing.is_empty());
                    for request in missing {
                        let config = match &self.images[&request.reference] {
                            Value::Null => ImageConfig::default(),
                            config => ImageConfig::parse(config.to_string().as_bytes())
                                .expect("a configuration"),
                        };
                        let digest = format!("digest of {}", request.reference);
                        let known = images.insert(request.clone(), ImageInfo { digest, config });
                        assert!(known.is_none(), "{request:?} was there");
                    }
                }
            }
        }
    }
}

/// What cases look at.
pub(crate) fn view(plan: &Plan) -> Value {
    let target = &plan.stages[plan.target];
    let history: Vec<String> = plan
        .config
        .history
        .iter()
        .map(|line| match line.empty_layer {
            true => line.created_by.clone(),
            false => format!("layer: {}", line.created_by),
        })
        .collect();
    let mut config = serde_json::to_value(&plan.config.config).expect("a configuration");
    // The PATH of nearly every case says nothing.
    if let Some(env) = config["Env"].as_array_mut() {
        env.retain(|entry| entry != PATH);
    }
    json!({
        "config": config,
        "author": plan.config.author,
        "created": plan.config.created,
        "platform": format!("{}/{}", plan.config.os, plan.config.architecture),
        "variant": plan.config.variant,
        "history": history,
        "stages": plan.stages.iter().map(stage).collect::<Vec<_>>(),
        "steps": steps(target),
        "titles": target.steps.iter().map(|step| &step.title).filter(|t| !t.is_empty()).collect::<Vec<_>>(),
        "context": plan.context.paths,
        "warnings": plan.warnings.iter().map(|warning| warning.rule).collect::<Vec<_>>(),
        "epoch": plan.epoch,
    })
}

fn stage(stage: &PlannedStage) -> Value {
    let base = match &stage.base {
        Base::Scratch => "scratch".to_owned(),
        Base::Image { reference, .. } => reference.clone(),
        Base::Stage(index) => format!("stage {index}"),
    };
    json!({
        "name": stage.name,
        "base": base,
        "platform": stage.platform.to_string(),
        "needs": stage.needs,
        "steps": steps(stage),
    })
}

fn steps(stage: &PlannedStage) -> Vec<Value> {
    let mut shown = Vec::new();
    for step in &stage.steps {
        let mut value = match &step.action {
            Action::Configure => continue,
            action => serde_json::to_value(action).expect("a step"),
        };
        // The variant's name and its fields side by side.
        let (kind, fields) = value
            .as_object_mut()
            .and_then(|object| std::mem::take(object).into_iter().next())
            .expect("one variant");
        let mut fields = match fields {
            Value::Object(fields) => fields,
            other => Map::from_iter([("value".to_owned(), other)]),
        };
        if let Some(env) = fields.get_mut("env").and_then(Value::as_array_mut) {
            env.retain(|entry| entry != PATH);
        }
        fields.insert("do".to_owned(), json!(kind));
        fields.insert("lines".to_owned(), json!([step.span.first_line, step.span.last_line]));
        fields.insert("trigger".to_owned(), json!(step.is_trigger));
        fields.insert("ignore_cache".to_owned(), json!(step.ignore_cache));
        fields.insert("key".to_owned(), json!(step.key));
        shown.push(Value::Object(fields));
    }
    shown
}

/// Where `actual` is not what is expected; members that are not named do not matter.
pub(crate) fn difference(expected: &Value, actual: &Value, at: &str) -> Option<String> {
    match (expected, actual) {
        (Value::Object(expected), Value::Object(actual)) => {
            expected.iter().find_map(|(key, value)| {
                let found = actual.get(key).unwrap_or(&Value::Null);
                difference(value, found, &format!("{at}.{key}"))
            })
        }
        (Value::Array(expected), Value::Array(actual)) if expected.len() == actual.len() => {
            expected.iter().zip(actual).enumerate().find_map(|(index, (expected, actual))| {
                difference(expected, actual, &format!("{at}[{index}]"))
            })
        }
        _ if expected == actual => None,
        _ => Some(format!("{at}: expected {expected}\n{at}:      got {actual}")),
    }
}
