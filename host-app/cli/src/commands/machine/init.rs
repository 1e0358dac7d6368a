//! `machine init`.

use clap::Args;
use linkspan_proto::host::v1::CreateMachineRequest;

use super::{SettingsFlags, Which};
use crate::context::{Context, start_machine};
use crate::error::Outcome;
use crate::render;

/// Create a machine
#[derive(Debug, Args)]
pub(crate) struct Init {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    settings: SettingsFlags,
    /// Start it too
    #[arg(long)]
    now: bool,
}

impl Init {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let client = context.client().await?;
        let name = self.which.of(&context);
        let request = CreateMachineRequest { name, settings: Some(self.settings.patch()?) };
        let created = client.machines().create(request).await?.into_inner();
        let name = created.machine.map(|machine| machine.name).unwrap_or_default();
        if self.now {
            start_machine(&client, Some(&name)).await?;
        }
        render::line(&name)?;
        Ok(0)
    }
}
