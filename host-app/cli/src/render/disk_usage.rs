//! `system df`: Docker's tables. Its build cache has a line in them, with nothing in it: nothing is
//! built here that would need one.

use jiff::Timestamp;
use linkspan_proto::v1::{ContainerState, ContainerSummary, DiskUsageResponse, ImageUsage};
use serde_json::{Value, json};

use super::format::{Format, Listing, json_line};
use super::{container, human, image, volume};
use crate::error::Error;

const COLUMNS: &str = "{{.Type}}\t{{.TotalCount}}\t{{.Active}}\t{{.Size}}\t{{.Reclaimable}}";

const HEADINGS: &[(&str, &str)] = &[
    ("Type", "TYPE"),
    ("TotalCount", "TOTAL"),
    ("Active", "ACTIVE"),
    ("Size", "SIZE"),
    ("Reclaimable", "RECLAIMABLE"),
];

/// One line of the summary.
struct Line {
    kind: &'static str,
    total: usize,
    active: usize,
    bytes: u64,
    reclaimable: u64,
}

impl Line {
    fn row(&self) -> Value {
        let reclaimable = human::size(self.reclaimable);
        let percent = (u128::from(self.reclaimable) * 100).checked_div(self.bytes.into());
        json!({
            "Type": self.kind,
            "TotalCount": self.total.to_string(),
            "Active": self.active.to_string(),
            "Size": human::size(self.bytes),
            "Reclaimable": match percent {
                Some(percent) => format!("{reclaimable} ({percent}%)"),
                None => reclaimable,
            },
        })
    }
}

fn is_active(container: &ContainerSummary) -> bool {
    use ContainerState as S;
    matches!(container.state(), S::Running | S::Paused | S::Restarting)
}

fn lines(usage: &DiskUsageResponse) -> [Line; 4] {
    let has_containers = |one: &&ImageUsage| one.image.as_ref().is_some_and(|i| i.containers > 0);
    let written = |one: &ContainerSummary| one.size.unwrap_or_default().rw_bytes;
    let volume_bytes = |used: bool| {
        let of_use = usage.volumes.iter().filter(|one| (one.references > 0) == used);
        of_use.map(|one| one.size_bytes.unwrap_or(0)).sum::<u64>()
    };
    [
        Line {
            kind: "Images",
            total: usage.images.len(),
            active: usage.images.iter().filter(has_containers).count(),
            bytes: usage.layers_bytes,
            reclaimable: usage.layers_reclaimable_bytes,
        },
        Line {
            kind: "Containers",
            total: usage.containers.len(),
            active: usage.containers.iter().filter(|one| is_active(one)).count(),
            bytes: usage.containers.iter().map(written).sum(),
            reclaimable: usage.containers.iter().filter(|one| !is_active(one)).map(written).sum(),
        },
        Line {
            kind: "Local Volumes",
            total: usage.volumes.len(),
            active: usage.volumes.iter().filter(|one| one.references > 0).count(),
            bytes: volume_bytes(true) + volume_bytes(false),
            reclaimable: volume_bytes(false),
        },
        Line { kind: "Build Cache", total: 0, active: 0, bytes: 0, reclaimable: 0 },
    ]
}

/// A line for each kind of thing.
///
/// # Errors
/// A template that asks for what is not there.
pub(crate) fn summary(format: &Format, usage: &DiskUsageResponse) -> Result<String, Error> {
    let rows: Vec<Value> = lines(usage).iter().map(Line::row).collect();
    let listing = Listing { columns: COLUMNS, headings: HEADINGS, methods: &|_, _, _| None };
    listing.render(format, &rows)
}

const IMAGE_COLUMNS: &str = "{{.Repository}}\t{{.Tag}}\t{{.ID}}\t{{.CreatedSince}}\t{{.Size}}\t\
                             {{.SharedSize}}\t{{.UniqueSize}}\t{{.Containers}}";
const CONTAINER_COLUMNS: &str = "{{.ID}}\t{{.Image}}\t{{.Command}}\t{{.LocalVolumes}}\t{{.Size}}\t\
                                 {{.RunningFor}}\t{{.Status}}\t{{.Names}}";
const VOLUME_COLUMNS: &str = "{{.Name}}\t{{.Links}}\t{{.Size}}";
const CACHE_HEADINGS: &str =
    "CACHE ID   CACHE TYPE   SIZE      CREATED   LAST USED   USAGE     SHARED\n";

/// A line for each thing: four tables, or one object.
///
/// # Errors
/// A template that asks for what is not there.
pub(crate) fn everything(
    format: &Format,
    usage: &DiskUsageResponse,
    now: Timestamp,
) -> Result<String, Error> {
    let images: Vec<Value> = usage.images.iter().flat_map(|one| image_rows(one, now)).collect();
    let containers: Vec<Value> =
        usage.containers.iter().map(|one| container_row(one, now)).collect();
    let volumes: Vec<Value> = usage.volumes.iter().map(volume_row).collect();
    let table = |columns, headings, rows: &[Value]| {
        Listing { columns, headings, methods: &|_, _, _| None }.render(&Format::Table, rows)
    };
    let all = || {
        json!({
            "Images": images, "Containers": containers, "Volumes": volumes, "BuildCache": [],
        })
    };
    match format {
        Format::Json => json_line(&all()),
        Format::Template(template) | Format::Columns(template) => {
            Ok(template.render(&all())? + "\n")
        }
        Format::Table => Ok(format!(
            "Images space usage:\n\n{}\nContainers space usage:\n\n{}\n\
             Local Volumes space usage:\n\n{}\nBuild cache usage: 0B\n\n{CACHE_HEADINGS}",
            table(IMAGE_COLUMNS, image::HEADINGS, &images)?,
            table(CONTAINER_COLUMNS, container::HEADINGS, &containers)?,
            table(VOLUME_COLUMNS, volume::HEADINGS, &volumes)?,
        )),
    }
}

fn image_rows(usage: &ImageUsage, now: Timestamp) -> Vec<Value> {
    let Some(summary) = &usage.image else { return Vec::new() };
    let row = |named: &image::Named<'_>| {
        let mut row = image::row(named, false, now);
        row["SharedSize"] = human::size(usage.shared_bytes).into();
        row["UniqueSize"] =
            human::size(summary.size_bytes.saturating_sub(usage.shared_bytes)).into();
        row
    };
    image::named(summary, false).iter().map(row).collect()
}

fn container_row(summary: &ContainerSummary, now: Timestamp) -> Value {
    let mut row = container::row(summary, false, now);
    row["Size"] = human::size(summary.size.unwrap_or_default().rw_bytes).into();
    row
}

fn volume_row(usage: &linkspan_proto::v1::VolumeUsage) -> Value {
    let mut row = volume::row(&usage.volume.clone().unwrap_or_default());
    row["Links"] = usage.references.to_string().into();
    row["Size"] = usage.size_bytes.map_or_else(|| volume::UNKNOWN.into(), human::size).into();
    row
}

#[cfg(test)]
mod tests {
    use linkspan_proto::v1::{ContainerSize, ImageSummary, Volume, VolumeUsage};

    use super::*;

    const NOW: i64 = 1_767_225_600_000_000_000;

    fn usage() -> DiskUsageResponse {
        let image = |tag: &str, containers| ImageUsage {
            image: Some(ImageSummary {
                id: "sha256:0123456789abcdef".into(),
                tags: vec![tag.into()],
                created_unix_nanos: NOW - 60_000_000_000,
                size_bytes: 3_000_000,
                containers,
                ..ImageSummary::default()
            }),
            shared_bytes: 2_000_000,
        };
        let container = |state: ContainerState, rw_bytes| ContainerSummary {
            id: "fedcba9876543210".into(),
            name: "web".into(),
            image: "a:1".into(),
            command: vec!["sh".into()],
            created_unix_nanos: NOW - 60_000_000_000,
            state: state.into(),
            size: Some(ContainerSize { rw_bytes, root_fs_bytes: 3_000_000 + rw_bytes }),
            ..ContainerSummary::default()
        };
        let volume = |name: &str, size_bytes, references| VolumeUsage {
            volume: Some(Volume { name: name.into(), ..Volume::default() }),
            size_bytes,
            references,
        };
        DiskUsageResponse {
            images: vec![image("a:1", 2), image("b:1", 0)],
            layers_bytes: 4_000_000,
            layers_reclaimable_bytes: 1_000_000,
            containers: vec![
                container(ContainerState::Paused, 10),
                container(ContainerState::Created, 30),
            ],
            volumes: vec![volume("data", Some(700), 1), volume("memory", None, 0)],
        }
    }

    #[test]
    fn the_summary_looks_as_dockers() {
        assert_eq!(
            summary(&Format::Table, &usage()).expect("rendered"),
            "TYPE            TOTAL     ACTIVE    SIZE      RECLAIMABLE\n\
             Images          2         1         4MB       1MB (25%)\n\
             Containers      2         1         40B       30B (75%)\n\
             Local Volumes   2         1         700B      0B (0%)\n\
             Build Cache     0         0         0B        0B\n"
        );
        let json = summary(&Format::Json, &usage()).expect("rendered");
        let first: Value =
            serde_json::from_str(json.lines().next().expect("a line")).expect("JSON");
        assert_eq!(
            first,
            json!({"Type": "Images", "TotalCount": "2", "Active": "1", "Size": "4MB",
                   "Reclaimable": "1MB (25%)"})
        );
    }

    #[test]
    fn everything_is_listed_with_its_share() {
        let now = Timestamp::from_nanosecond(NOW.into()).expect("in range");
        let text = everything(&Format::Table, &usage(), now).expect("rendered");
        for expected in [
            "REPOSITORY   TAG       IMAGE ID       CREATED              SIZE      SHARED SIZE   \
             UNIQUE SIZE   CONTAINERS\na            1         0123456789ab   About a minute ago   \
             3MB       2MB           1MB           2\n",
            "LOCAL VOLUMES   SIZE      CREATED              STATUS",
            "VOLUME NAME   LINKS     SIZE\ndata          1         700B\nmemory        0         N/A\n",
            "Build cache usage: 0B\n",
        ] {
            assert!(text.contains(expected), "{expected}\n---\n{text}");
        }
        let json = everything(&Format::Json, &usage(), now).expect("rendered");
        let all: Value = serde_json::from_str(&json).expect("JSON");
        assert_eq!(all["Volumes"][0]["Size"], "700B");
    }
}
