//! `events`.

use clap::Args;
use jiff::Timestamp;
use linkspan_proto::v1::{EventsRequest, events_response};

use crate::args::time::moment;
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::render::event::EventFormat;
use crate::render::{self, human};

/// Print what happens in the machine
#[derive(Debug, Args)]
pub(crate) struct Events {
    /// Only those that match, such as `event=die`, `container=web` or `label=x=y`
    #[arg(short, long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// `json` or a Go template such as '{{.Action}}'
    #[arg(long, value_name = "FORMAT")]
    format: Option<String>,
    /// Begin with what is remembered since a time or a span ago
    #[arg(long, value_name = "TIME", value_parser = moment_from_now)]
    since: Option<i64>,
    /// End at a time
    #[arg(long, value_name = "TIME", value_parser = moment_from_now)]
    until: Option<i64>,
}

fn moment_from_now(text: &str) -> Result<i64, String> {
    moment(text, Timestamp::now())
}

impl Events {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let format = EventFormat::parse(self.format.as_deref())?;
        let client = context.running().await?;
        let request = EventsRequest {
            // 0 is none: the epoch itself is the moment after it.
            since_unix_nanos: self.since.map_or(0, |since| since.max(1)),
            until_unix_nanos: self.until.map_or(0, |until| until.max(1)),
            filters: self.filter,
        };
        let mut answers = client.events(context.machine()).events(request).await?.into_inner();
        while let Some(answer) = answers.message().await.map_err(Error::from)? {
            match answer.kind {
                Some(events_response::Kind::Event(event)) => {
                    render::print(&format.line(&event)?)?;
                }
                Some(events_response::Kind::Missed(count)) => {
                    let missing = human::count(count, "event");
                    say!("warning: {missing} missing here: we read too slowly");
                }
                None => {}
            }
        }
        Ok(0)
    }
}
