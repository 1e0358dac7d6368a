//! `machine set`.

use clap::Args;
use linkspan_proto::host::v1::{MachineSettingsPatch, UpdateMachineRequest};

use super::{SettingsFlags, Which};
use crate::context::Context;
use crate::error::{Error, Outcome};

/// Change a machine's settings
#[derive(Debug, Args)]
pub(crate) struct Set {
    #[command(flatten)]
    which: Which,
    #[command(flatten)]
    settings: SettingsFlags,
}

impl Set {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let name = self.which.of(&context);
        let settings = self.settings.patch()?;
        if settings == MachineSettingsPatch::default() {
            return Err(Error::invalid(
                "nothing to change: give --cpus, --memory, --disk, --kernel, --accelerator, --share, \
                 --unshare or --userns",
            ));
        }
        let client = context.client().await?;
        let request = UpdateMachineRequest { name, settings: Some(settings) };
        let updated = client.machines().update(request).await?.into_inner();
        if let Some(machine) = updated.machine.filter(|machine| machine.restart_needed) {
            say!(
                "note: the machine `{0}` runs: this holds from its next start (`linkspan machine \
                 stop {0}`)",
                machine.name
            );
        }
        Ok(0)
    }
}
