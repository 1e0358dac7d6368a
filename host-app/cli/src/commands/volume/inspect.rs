//! `volume inspect`.

use clap::Args;
use linkspan_docker_types::volume::Volume;
use linkspan_proto::v1::InspectVolumeRequest;

use super::calls;
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::render::{format::Format, inspect};

/// Show all that is known of volumes, as JSON
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// `json` (one line each) or a Go template such as '{{.Mountpoint}}'
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Names
    #[arg(required = true, value_name = "VOLUME")]
    names: Vec<String>,
}

impl Inspect {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let format = Format::parse(self.format.as_deref())?;
        let calls = calls(&context).await?;
        let (mut found, mut failures) = (Vec::new(), Vec::new());
        for name in self.names {
            match calls.clone().inspect(InspectVolumeRequest { name }).await {
                Ok(answer) => {
                    let volume = answer.into_inner().volume.unwrap_or_default();
                    found.push(Volume::from(&volume));
                }
                Err(status) => failures.push(Error::from(status)),
            }
        }
        inspect::show(&format, &found, failures)
    }
}
