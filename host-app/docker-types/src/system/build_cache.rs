//! What builds keep for later ones, in BuildKit's words (`api/types/build`).

use linkspan_proto::v1 as wire;
use serde::Serialize;

use crate::time;

/// One thing that is kept.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Record {
    #[serde(rename = "ID")]
    pub id: String,
    pub r#type: String,
    pub description: String,
    pub in_use: bool,
    pub shared: bool,
    pub size: u64,
    pub created_at: String,
    pub last_used_at: Option<String>,
    pub usage_count: u64,
}

impl From<&wire::BuildRecord> for Record {
    fn from(record: &wire::BuildRecord) -> Self {
        let used = record.last_used_unix_nanos;
        Self {
            id: record.id.clone(),
            r#type: record.kind.clone(),
            description: record.description.clone(),
            in_use: record.in_use,
            shared: record.shared,
            size: record.size_bytes,
            created_at: time::rfc3339(record.created_unix_nanos),
            last_used_at: (used != 0).then(|| time::rfc3339(used)),
            usage_count: record.uses,
        }
    }
}

/// `POST /build/prune`
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
#[serde(rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Pruned {
    pub caches_deleted: Option<Vec<String>>,
    pub space_reclaimed: u64,
}

impl From<&wire::PruneBuildsResponse> for Pruned {
    fn from(pruned: &wire::PruneBuildsResponse) -> Self {
        Self {
            caches_deleted: crate::some(&pruned.removed),
            space_reclaimed: pruned.reclaimed_bytes,
        }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{json, to_value};

    use super::*;

    #[test]
    fn a_record_and_a_prune_have_dockers_shape() {
        let record = wire::BuildRecord {
            id: "1a".into(),
            kind: "regular".into(),
            description: "[2/2] RUN make".into(),
            size_bytes: 7,
            uses: 2,
            ..wire::BuildRecord::default()
        };
        assert_eq!(
            to_value(Record::from(&record)).unwrap(),
            json!({
                "ID": "1a", "Type": "regular", "Description": "[2/2] RUN make", "InUse": false,
                "Shared": false, "Size": 7, "CreatedAt": "0001-01-01T00:00:00Z", "LastUsedAt": null,
                "UsageCount": 2,
            })
        );
        let pruned = wire::PruneBuildsResponse { removed: vec!["1a".into()], reclaimed_bytes: 7 };
        assert_eq!(
            to_value(Pruned::from(&pruned)).unwrap(),
            json!({"CachesDeleted": ["1a"], "SpaceReclaimed": 7})
        );
    }
}
