//! `rename`.

use clap::Args;
use linkspan_proto::v1::RenameContainerRequest;

use crate::context::Context;
use crate::error::Outcome;

/// Give a container another name
#[derive(Debug, Args)]
pub(crate) struct Rename {
    /// Its name or id
    container: String,
    /// The name it gets
    new_name: String,
}

impl Rename {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let client = context.running().await?;
        let request = RenameContainerRequest { container: self.container, name: self.new_name };
        client.containers(context.machine()).rename(request).await?;
        Ok(0)
    }
}
