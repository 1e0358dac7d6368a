//! `--log-driver` and `--log-opt`. What a driver takes is the guest's to say.

use clap::Args;
use linkspan_proto::v1::LogConfig;

use crate::error::Error;

const LOG: &str = "Log";

#[derive(Debug, Args)]
pub(crate) struct LogFlags {
    /// What keeps its output: json-file, local or none
    #[arg(long, value_name = "DRIVER", help_heading = LOG)]
    log_driver: Option<String>,
    /// An option of the driver, such as `max-size=10m` or `max-file=3`
    #[arg(long, value_name = "NAME=VALUE", help_heading = LOG)]
    log_opt: Vec<String>,
}

impl LogFlags {
    /// None: nothing was asked for.
    ///
    /// # Errors
    /// Options for the driver that has none.
    pub(crate) fn config(&self) -> Result<Option<LogConfig>, Error> {
        if self.log_driver.is_none() && self.log_opt.is_empty() {
            return Ok(None);
        }
        let driver = self.log_driver.clone().unwrap_or_default();
        if driver == "none" && !self.log_opt.is_empty() {
            return Err(Error::invalid("invalid logging opts for driver none"));
        }
        let pair = |option: &String| {
            let (name, value) = option.split_once('=').unwrap_or((option, ""));
            (name.to_owned(), value.to_owned())
        };
        Ok(Some(LogConfig { driver, options: self.log_opt.iter().map(pair).collect() }))
    }
}
