//! `commit`.

use clap::Args;
use linkspan_proto::v1::CommitContainerRequest;

use crate::context::Context;
use crate::error::Outcome;
use crate::render;

/// Make an image of a container's changes
#[derive(Debug, Args)]
pub(crate) struct Commit {
    /// Who made it
    #[arg(short, long, value_name = "TEXT")]
    author: Option<String>,
    /// Apply an instruction: CMD, ENTRYPOINT, ENV, EXPOSE, LABEL, STOPSIGNAL, USER, VOLUME, WORKDIR
    #[arg(short, long, value_name = "INSTRUCTION")]
    change: Vec<String>,
    /// What the image's history says
    #[arg(short, long, value_name = "TEXT")]
    message: Option<String>,
    /// Pause the container meanwhile
    #[arg(short, long, value_name = "BOOL", num_args = 0..=1, require_equals = true,
        default_value_t = true, default_missing_value = "true", action = clap::ArgAction::Set)]
    pause: bool,
    /// Do not pause the container meanwhile
    #[arg(long, conflicts_with = "pause")]
    no_pause: bool,
    /// Name or id
    #[arg(value_name = "CONTAINER")]
    container: String,
    /// The image's name
    #[arg(value_name = "REPOSITORY[:TAG]")]
    reference: Option<String>,
}

impl Commit {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let client = context.running().await?;
        let request = CommitContainerRequest {
            container: self.container,
            reference: self.reference.unwrap_or_default(),
            author: self.author.unwrap_or_default(),
            message: self.message.unwrap_or_default(),
            changes: self.change,
            no_pause: self.no_pause || !self.pause,
            ..Default::default()
        };
        let answer = client.files(context.machine()).commit(request).await?.into_inner();
        render::line(&answer.id)?;
        Ok(0)
    }
}
