//! `rm`.

use clap::Args;
use linkspan_proto::error::ErrorCode;
use linkspan_proto::v1::RemoveContainerRequest;

use super::for_each;
use crate::context::Context;
use crate::error::{Error, Outcome};

/// Remove containers, with their layer and their log
#[derive(Debug, Args)]
pub(crate) struct Rm {
    /// Kill it first when it runs; no error when there is none
    #[arg(short, long)]
    force: bool,
    /// Remove its anonymous volumes too
    #[arg(short, long)]
    volumes: bool,
    /// Names or ids
    #[arg(required = true, value_name = "CONTAINER")]
    containers: Vec<String>,
}

impl Rm {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let client = context.running().await?;
        let calls = client.containers(context.machine());
        let force = self.force;
        for_each(&self.containers, |name| {
            let mut calls = calls.clone();
            let request =
                RemoveContainerRequest { container: name.clone(), force, volumes: self.volumes };
            async move {
                match calls.remove(request).await.map_err(Error::from) {
                    Ok(_) => Ok(Some(name)),
                    // As Docker's `rm -f`: it is said, and is no failure.
                    Err(Error::Failure(failure))
                        if force && failure.code == ErrorCode::NotFound =>
                    {
                        crate::error::print_failure(&mut std::io::stderr(), &failure);
                        Ok(None)
                    }
                    Err(error) => Err(error),
                }
            }
        })
        .await
    }
}
