//! The flags of health checks.

use clap::Args;
use linkspan_proto::v1::Healthcheck;

use super::time::span;
use crate::error::Error;

const HEADING: &str = "Health";

/// What `run` and `create` take.
#[derive(Debug, Args)]
pub(crate) struct HealthFlags {
    /// A line for /bin/sh whose exit code 0 means healthy
    #[arg(long, value_name = "COMMAND", help_heading = HEADING)]
    health_cmd: Option<String>,
    /// From one probe to the next (30s)
    #[arg(long, value_name = "SPAN", value_parser = span, help_heading = HEADING)]
    health_interval: Option<u64>,
    /// After which a probe is killed and has failed (30s)
    #[arg(long, value_name = "SPAN", value_parser = span, help_heading = HEADING)]
    health_timeout: Option<u64>,
    /// Failures in a row that make it unhealthy (3)
    #[arg(long, value_name = "NUMBER", help_heading = HEADING)]
    health_retries: Option<u32>,
    /// After the start: failures do not count before the first success (0s)
    #[arg(long, value_name = "SPAN", value_parser = span, help_heading = HEADING)]
    health_start_period: Option<u64>,
    /// From one probe to the next in the start period (5s)
    #[arg(long, value_name = "SPAN", value_parser = span, help_heading = HEADING)]
    health_start_interval: Option<u64>,
    /// Do not probe, whatever the image says
    #[arg(long, help_heading = HEADING)]
    no_healthcheck: bool,
}

impl HealthFlags {
    /// None: as the image has it.
    ///
    /// # Errors
    /// Flags that exclude each other.
    pub(crate) fn check(&self) -> Result<Option<Healthcheck>, Error> {
        let asked = Healthcheck {
            test: self
                .health_cmd
                .iter()
                .flat_map(|line| ["CMD-SHELL".to_owned(), line.clone()])
                .collect(),
            interval_nanos: self.health_interval.unwrap_or(0),
            timeout_nanos: self.health_timeout.unwrap_or(0),
            start_period_nanos: self.health_start_period.unwrap_or(0),
            start_interval_nanos: self.health_start_interval.unwrap_or(0),
            retries: self.health_retries.unwrap_or(0),
        };
        let empty = asked == Healthcheck::default();
        match (self.no_healthcheck, empty) {
            (true, false) => {
                Err(Error::invalid("--no-healthcheck conflicts with --health-* options"))
            }
            (true, true) => {
                Ok(Some(Healthcheck { test: vec!["NONE".into()], ..Healthcheck::default() }))
            }
            (false, true) => Ok(None),
            (false, false) => Ok(Some(asked)),
        }
    }
}
