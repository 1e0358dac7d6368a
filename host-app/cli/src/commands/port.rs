//! `port`.

use clap::Args;
use linkspan_proto::{
    error::{ErrorCode, Failure},
    v1::InspectContainerRequest,
};

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::render::{self, ports};

/// List the ports of a container that are published on this host
#[derive(Debug, Args)]
pub(crate) struct Port {
    /// Its name or id
    container: String,
    /// Only this port of the container
    #[arg(value_name = "PORT[/PROTOCOL]")]
    private_port: Option<String>,
}

impl Port {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let client = context.running().await?;
        let request = InspectContainerRequest { container: self.container.clone(), size: false };
        let detail = client.containers(context.machine()).inspect(request).await?.into_inner();
        let summary = detail.container.unwrap_or_default().summary.unwrap_or_default();
        let mut text = String::new();
        match &self.private_port {
            None => {
                for port in &summary.ports {
                    text += &format!("{} -> {}\n", ports::inner(port), ports::outer(port));
                }
            }
            Some(wanted) => {
                let wanted =
                    if wanted.contains('/') { wanted.clone() } else { format!("{wanted}/tcp") };
                for port in summary.ports.iter().filter(|port| ports::inner(port) == wanted) {
                    text += &format!("{}\n", ports::outer(port));
                }
                if text.is_empty() {
                    let name = &self.container;
                    let what = format!("no public port `{wanted}` published for `{name}`");
                    return Err(Error::from(Failure::new(ErrorCode::NotFound, what)));
                }
            }
        }
        render::print(&text)?;
        Ok(0)
    }
}
