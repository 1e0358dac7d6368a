//! `diff`.

use clap::Args;
use linkspan_proto::v1::{ChangeKind, ListChangesRequest};

use crate::context::Context;
use crate::error::Outcome;
use crate::render;

/// Show which files of a container differ from its image: A added, C changed, D deleted
#[derive(Debug, Args)]
pub(crate) struct Diff {
    /// Name or id
    #[arg(value_name = "CONTAINER")]
    container: String,
}

impl Diff {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let client = context.running().await?;
        let request = ListChangesRequest { container: self.container };
        let changes = client.files(context.machine()).changes(request).await?.into_inner().changes;
        let text: String = changes
            .iter()
            .map(|change| {
                let letter = match change.kind() {
                    ChangeKind::Added => 'A',
                    ChangeKind::Deleted => 'D',
                    ChangeKind::Modified | ChangeKind::Unspecified => 'C',
                };
                format!("{letter} {}\n", change.path)
            })
            .collect();
        render::print(&text)?;
        Ok(0)
    }
}
