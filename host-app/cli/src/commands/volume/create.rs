//! `volume create`.

use clap::Args;
use linkspan_proto::v1::CreateVolumeRequest;

use super::calls;
use crate::args::env;
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::render;

/// Create a volume, or find the one of this name
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// The driver. There is one, `local`
    #[arg(short, long, value_name = "DRIVER", default_value = "local")]
    driver: String,
    /// A label, KEY or KEY=VALUE
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// An option of the driver: type=tmpfs|none, device=..., o=...
    #[arg(short, long, value_name = "KEY=VALUE")]
    opt: Vec<String>,
    /// Its name. Generated when not given
    #[arg(value_name = "VOLUME")]
    name: Option<String>,
}

impl Create {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let option = |text: &String| match text.split_once('=') {
            Some((key, value)) => Ok((key.to_owned(), value.to_owned())),
            None => Err(Error::invalid(format!("an option is KEY=VALUE: `{text}`"))),
        };
        let request = CreateVolumeRequest {
            name: self.name.unwrap_or_default(),
            driver: self.driver,
            options: self.opt.iter().map(option).collect::<Result<_, _>>()?,
            labels: env::labels(&[] as &[&str], &self.label)?,
        };
        let answer = calls(&context).await?.create(request).await?.into_inner();
        render::line(&answer.volume.unwrap_or_default().name)?;
        Ok(0)
    }
}
