//! `inspect`: Docker's objects, as the Docker API has them, and what only Linkspan knows at the end.

use linkspan_docker_types::{container, image, time};
use linkspan_proto::v1::{ContainerDetail, ImageDetail, TraceStep};
use serde::Serialize;
use serde_json::{Value, json};

use super::format::{Format, json_line, json_pretty, to_value};
use crate::error::{Error, Outcome};

/// Prints what was found, then reports what was not. The exit code is the last failure's.
pub(crate) fn show(format: &Format, found: &[impl Serialize], failures: Vec<Error>) -> Outcome {
    let text = match format {
        // Docker prints `[]` even when nothing was found.
        Format::Table => json_pretty(&found)?,
        Format::Json => found.iter().map(json_line).collect::<Result<String, Error>>()?,
        Format::Columns(template) | Format::Template(template) => found
            .iter()
            .map(|thing| Ok(template.render(&whole(to_value(thing)?))? + "\n"))
            .collect::<Result<String, Error>>()?,
    };
    super::print(&text)?;
    let mut code = 0;
    for failure in failures {
        code = failure.report(&mut std::io::stderr(), false);
    }
    Ok(code)
}

/// A container as `docker inspect` shows it, and more.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Container {
    #[serde(flatten)]
    docker: container::Container,
    /// The effective capability set.
    capabilities: Vec<String>,
    cgroup_path: String,
    /// The steps of the last start, in microseconds since its beginning.
    start_trace: Vec<Step>,
}

/// One step of a start.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Step {
    name: String,
    started_us: u64,
    duration_us: u64,
}

impl From<&TraceStep> for Step {
    fn from(step: &TraceStep) -> Self {
        Self { name: step.name.clone(), started_us: step.started_us, duration_us: step.duration_us }
    }
}

impl From<&ContainerDetail> for Container {
    fn from(detail: &ContainerDetail) -> Self {
        Self {
            docker: detail.into(),
            capabilities: detail.capabilities.clone(),
            cgroup_path: detail.cgroup_path.clone(),
            start_trace: detail.start_trace.iter().map(Step::from).collect(),
        }
    }
}

/// An image as `docker image inspect` shows it, and more.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Image {
    #[serde(flatten)]
    docker: image::inspect::Image,
    history: Vec<History>,
}

#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct History {
    created: String,
    created_by: String,
    comment: String,
    empty_layer: bool,
}

impl From<&ImageDetail> for Image {
    fn from(detail: &ImageDetail) -> Self {
        let history = detail.history.iter().map(|step| History {
            created: time::rfc3339(step.created_unix_nanos),
            created_by: step.created_by.clone(),
            comment: step.comment.clone(),
            empty_layer: step.empty_layer,
        });
        Self { docker: detail.into(), history: history.collect() }
    }
}

/// What a template may name although it is left out where it is empty: to Docker's templates every
/// field is there.
fn whole(mut shown: Value) -> Value {
    let container = json!({
        "HostConfig": {
            "Annotations": {}, "Mounts": [], "StorageOpt": {}, "Sysctls": {}, "Tmpfs": {},
        },
        "Config": { "ExposedPorts": {}, "StopTimeout": null },
    });
    let image = json!({
        "Comment": "", "Created": time::ZERO, "Author": "", "Variant": "",
        "Config": {
            "Cmd": null, "Entrypoint": null, "Env": null, "ExposedPorts": {}, "Labels": {},
            "StopSignal": "", "User": "", "Volumes": {}, "WorkingDir": "",
        },
    });
    if shown.get("HostConfig").is_some() {
        fill(&mut shown, container);
    } else if shown.get("RootFS").is_some() {
        fill(&mut shown, image);
    }
    shown
}

fn fill(shown: &mut Value, empty: Value) {
    let (Some(shown), Value::Object(empty)) = (shown.as_object_mut(), empty) else { return };
    for (name, value) in empty {
        match shown.get_mut(&name) {
            Some(inner) if value.is_object() => fill(inner, value),
            Some(_) => {}
            None => {
                shown.insert(name, value);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use linkspan_proto::v1::{
        ContainerConfig, ContainerState, ContainerSummary, Entrypoint, Resources, Ulimit,
    };

    use super::*;

    #[test]
    fn a_container_has_dockers_keys_and_the_trace() {
        let detail = ContainerDetail {
            summary: Some(ContainerSummary {
                id: "abc".into(),
                name: "web".into(),
                image: "busybox".into(),
                image_id: "sha256:1".into(),
                command: vec!["sh".into(), "-c".into(), "true".into()],
                state: ContainerState::Running.into(),
                started_unix_nanos: 1_500_000_000,
                ..ContainerSummary::default()
            }),
            config: Some(ContainerConfig {
                command: vec!["-c".into(), "true".into()],
                entrypoint: Some(Entrypoint { args: vec!["sh".into()] }),
                resources: Some(Resources { memory_bytes: 7, ..Resources::default() }),
                ulimits: vec![Ulimit { name: "core".into(), soft: 0, hard: u64::MAX }],
                ..ContainerConfig::default()
            }),
            pid: 42,
            command: vec!["-c".into(), "true".into()],
            entrypoint: vec!["sh".into()],
            start_trace: vec![TraceStep { name: "clone".into(), started_us: 1, duration_us: 2 }],
            ..ContainerDetail::default()
        };
        let value = serde_json::to_value(Container::from(&detail)).expect("JSON");
        for (pointer, expected) in [
            ("/Id", json!("abc")),
            ("/Name", json!("/web")),
            ("/Path", json!("sh")),
            ("/Args", json!(["-c", "true"])),
            ("/State/Status", json!("running")),
            ("/State/Running", json!(true)),
            ("/State/OOMKilled", json!(false)),
            ("/State/Pid", json!(42)),
            ("/State/StartedAt", json!("1970-01-01T00:00:01.5Z")),
            ("/State/FinishedAt", json!("0001-01-01T00:00:00Z")),
            ("/Config/Cmd", json!(["-c", "true"])),
            ("/Config/Entrypoint", json!(["sh"])),
            ("/Config/Image", json!("busybox")),
            ("/HostConfig/Memory", json!(7)),
            ("/HostConfig/PidsLimit", Value::Null),
            ("/HostConfig/LogConfig", json!({"Type": "json-file", "Config": {}})),
            ("/HostConfig/UsernsMode", json!("")),
            ("/HostConfig/Runtime", json!("linkspan-init")),
            ("/HostConfig/Ulimits/0", json!({"Name": "core", "Hard": -1, "Soft": 0})),
            ("/StartTrace/0", json!({"Name": "clone", "StartedUs": 1, "DurationUs": 2})),
        ] {
            assert_eq!(value.pointer(pointer), Some(&expected), "{pointer}");
        }
    }

    #[test]
    fn an_image_has_dockers_keys() {
        let detail = ImageDetail {
            exposed_ports: vec!["80/tcp".into()],
            diff_ids: vec!["sha256:2".into()],
            os: "linux".into(),
            ..ImageDetail::default()
        };
        let value = serde_json::to_value(Image::from(&detail)).expect("JSON");
        assert_eq!(value["Config"]["ExposedPorts"], json!({"80/tcp": {}}));
        assert_eq!(value["RootFS"], json!({"Type": "layers", "Layers": ["sha256:2"]}));
        assert_eq!(value["Os"], "linux");
        assert_eq!(whole(value)["Config"]["Cmd"], Value::Null);
    }

    #[test]
    fn a_template_may_name_what_is_left_out() {
        let value = serde_json::to_value(Container::from(&ContainerDetail::default()));
        let value = whole(value.expect("JSON"));
        for (pointer, expected) in [
            ("/HostConfig/Mounts", json!([])),
            ("/HostConfig/Sysctls", json!({})),
            ("/Config/StopTimeout", Value::Null),
            ("/HostConfig/NetworkMode", json!("bridge")),
        ] {
            assert_eq!(value.pointer(pointer), Some(&expected), "{pointer}");
        }
        assert_eq!(whole(json!({"Name": "x"})), json!({"Name": "x"}), "neither of the two");
    }
}
