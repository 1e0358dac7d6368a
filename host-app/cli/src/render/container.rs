//! `ps`.

use jiff::Timestamp;
use linkspan_docker_types::container::{state, summary};
use linkspan_proto::v1::{ContainerSummary, MountPoint};
use serde_json::{Value, json};

use super::format::{Format, Listing};
use super::{human, ports};
use crate::error::Error;

/// Docker's columns.
const COLUMNS: &str =
    "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.RunningFor}}\t{{.Status}}\t{{.Ports}}\t{{.Names}}";
const SIZE_COLUMN: &str = "\t{{.Size}}";

/// How much is shown of containers.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Show {
    /// Whole ids, commands and mounts.
    pub(crate) whole: bool,
    /// The table's column of sizes.
    pub(crate) size: bool,
}

/// The heading of each field.
pub(crate) const HEADINGS: &[(&str, &str)] = &[
    ("ID", "CONTAINER ID"),
    ("Image", "IMAGE"),
    ("ImageID", "IMAGE ID"),
    ("Command", "COMMAND"),
    ("CreatedAt", "CREATED AT"),
    ("RunningFor", "CREATED"),
    ("Ports", "PORTS"),
    ("State", "STATE"),
    ("Status", "STATUS"),
    ("Names", "NAMES"),
    ("Labels", "LABELS"),
    ("Mounts", "MOUNTS"),
    ("Networks", "NETWORKS"),
    ("LocalVolumes", "LOCAL VOLUMES"),
    ("Size", "SIZE"),
];

/// Lays containers out.
///
/// # Errors
/// A template that asks for what is not there.
pub(crate) fn list(
    format: &Format,
    containers: &[ContainerSummary],
    show: Show,
    now: Timestamp,
) -> Result<String, Error> {
    let rows: Vec<Value> = containers.iter().map(|one| row(one, show.whole, now)).collect();
    let label = |row: &Value, name: &str, arguments: &[Value]| {
        let wanted = arguments.first()?.as_str()?;
        let id = row.get("ID")?.as_str()?;
        let one = containers.iter().find(|one| one.id.starts_with(id))?;
        (name == "Label").then(|| one.labels.get(wanted).cloned().unwrap_or_default().into())
    };
    let size_column = if show.size { SIZE_COLUMN } else { "" };
    let columns = format!("{COLUMNS}{size_column}");
    Listing { columns: &columns, headings: HEADINGS, methods: &label }.render(format, &rows)
}

/// One container's fields.
pub(crate) fn row(container: &ContainerSummary, whole: bool, now: Timestamp) -> Value {
    let command = summary::command(&container.command);
    let command = if whole { command } else { human::ellipsis(&command, 20) };
    json!({
        "ID": human::short_id(&container.id, whole),
        "Image": container.image,
        "ImageID": human::short_id(&container.image_id, whole),
        "Command": format!("{command:?}"),
        "CreatedAt": human::local_time(container.created_unix_nanos),
        "RunningFor": human::ago(container.created_unix_nanos, now),
        "Ports": ports::column(container),
        "State": state::word(container.state()),
        "Status": state::status(container, now),
        "Names": container.name,
        "Labels": labels(&container.labels),
        "Mounts": mounts(container, whole),
        "Networks": container.networks.join(","),
        "LocalVolumes": container.mounts.iter().filter(|m| m.driver == LOCAL).count().to_string(),
        "Size": size(container),
    })
}

/// The one driver of volumes.
const LOCAL: &str = "local";

/// Volumes by name, other mounts by source.
fn mounts(container: &ContainerSummary, whole: bool) -> String {
    let name = |point: &MountPoint| {
        let name = if point.name.is_empty() { &point.source } else { &point.name };
        if whole { name.clone() } else { human::ellipsis(name, 15) }
    };
    container.mounts.iter().map(name).collect::<Vec<_>>().join(",")
}

/// What it has written, and that with its image. 0 where nobody has measured.
fn size(container: &ContainerSummary) -> String {
    let size = container.size.unwrap_or_default();
    match size.root_fs_bytes {
        0 => human::size(size.rw_bytes),
        all => format!("{} (virtual {})", human::size(size.rw_bytes), human::size(all)),
    }
}

/// `KEY=VALUE` pairs, ordered and separated by commas.
pub(crate) fn labels(labels: &std::collections::HashMap<String, String>) -> String {
    let mut pairs: Vec<String> =
        labels.iter().map(|(key, value)| format!("{key}={value}")).collect();
    pairs.sort_unstable();
    pairs.join(",")
}

#[cfg(test)]
mod tests {
    use linkspan_proto::v1::ContainerState;

    use super::*;

    const NOW: i64 = 1_767_225_600_000_000_000;
    const SECOND: i64 = 1_000_000_000;

    fn now() -> Timestamp {
        Timestamp::from_nanosecond(NOW.into()).expect("in range")
    }

    fn two() -> Vec<ContainerSummary> {
        let running = ContainerSummary {
            id: "0123456789abcdef0123".into(),
            name: "web".into(),
            image: "busybox".into(),
            image_id: "sha256:aa11bb22cc33dd44".into(),
            command: vec!["echo".into(), "to be or not to be".into()],
            created_unix_nanos: NOW - 120 * SECOND,
            state: ContainerState::Running.into(),
            started_unix_nanos: NOW - 3 * SECOND,
            labels: [("b".to_owned(), "2".to_owned()), ("a".into(), "1".into())].into(),
            ..ContainerSummary::default()
        };
        let exited = ContainerSummary {
            id: "fedcba9876543210fedc".into(),
            name: "job".into(),
            image: "linkspan/hello".into(),
            command: vec!["/hello".into()],
            created_unix_nanos: NOW - 3 * 3600 * SECOND,
            state: ContainerState::Exited.into(),
            exit_code: 137,
            finished_unix_nanos: NOW - 2 * 3600 * SECOND,
            ..ContainerSummary::default()
        };
        vec![running, exited]
    }

    fn render(format: &str) -> String {
        list(&Format::parse(Some(format)).expect("valid"), &two(), Show::default(), now())
            .expect("rendered")
    }

    #[test]
    fn ps_looks_as_dockers() {
        assert_eq!(
            render("table"),
            "CONTAINER ID   IMAGE            COMMAND                  CREATED         STATUS                     PORTS     NAMES\n\
             0123456789ab   busybox          \"echo 'to be or not …\"   2 minutes ago   Up 3 seconds                         web\n\
             fedcba987654   linkspan/hello   \"/hello\"                 3 hours ago     Exited (137) 2 hours ago             job\n"
        );
    }

    #[test]
    fn sizes_mounts_and_networks_are_dockers() {
        use linkspan_proto::v1::{ContainerSize, MountType};
        let volume = MountPoint {
            r#type: MountType::Volume.into(),
            name: "0123456789abcdef0123".into(),
            driver: "local".into(),
            ..MountPoint::default()
        };
        let bind = MountPoint { source: "/data".into(), ..MountPoint::default() };
        let one = ContainerSummary {
            mounts: vec![volume, bind],
            networks: vec!["back".into(), "front".into()],
            size: Some(ContainerSize { rw_bytes: 5, root_fs_bytes: 4_260_005 }),
            ..two().remove(0)
        };
        let format = "{{.Mounts}}|{{.Networks}}|{{.LocalVolumes}}|{{.Size}}";
        let format = Format::parse(Some(format)).expect("valid");
        assert_eq!(
            list(&format, std::slice::from_ref(&one), Show::default(), now()).expect("rendered"),
            "0123456789abcd…,/data|back,front|1|5B (virtual 4.26MB)\n"
        );
        let show = Show { size: true, ..Show::default() };
        let table = list(&Format::Table, &[one], show, now()).expect("rendered");
        assert!(
            table.lines().all(|line| line.contains("SIZE") || line.ends_with("4.26MB)")),
            "{table}"
        );
    }

    #[test]
    fn ps_takes_dockers_formats() {
        assert_eq!(render("{{.ID}} {{.State}}"), "0123456789ab running\nfedcba987654 exited\n");
        assert_eq!(render("{{.Labels}}|{{.Label \"a\"}}"), "a=1,b=2|1\n|\n");
        assert_eq!(
            render("table {{.Names}}\\t{{.Status}}"),
            "NAMES     STATUS\nweb       Up 3 seconds\njob       Exited (137) 2 hours ago\n"
        );
        let json = render("json");
        let first: Value =
            serde_json::from_str(json.lines().next().expect("a line")).expect("JSON");
        assert_eq!(first["Names"], "web");
        assert_eq!(json.lines().count(), 2);
    }
}
