//! `top`.

use clap::Args;
use linkspan_proto::v1::TopContainerRequest;

use crate::context::Context;
use crate::error::Outcome;
use crate::render::{self, table};

/// List the processes of a container
#[derive(Debug, Args)]
pub(crate) struct Top {
    /// Its name or id
    container: String,
    /// Options of ps; only `-ef`, which is also the default
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "PS OPTIONS")]
    options: Vec<String>,
}

impl Top {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let client = context.running().await?;
        let request = TopContainerRequest { container: self.container, ps_args: self.options };
        let top = client.containers(context.machine()).top(request).await?.into_inner();
        let mut text = top.titles.join("\t") + "\n";
        for row in &top.processes {
            // A tab or a line end inside an argument would move the columns.
            let values: Vec<_> =
                row.values.iter().map(|value| value.replace(['\t', '\n', '\r'], " ")).collect();
            text += &(values.join("\t") + "\n");
        }
        render::print(&table::align(&text))?;
        Ok(0)
    }
}
