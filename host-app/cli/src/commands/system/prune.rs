//! `system prune`.

use clap::Args;

use crate::commands::{
    confirm::confirm, image_prune::images, network::prune::networks, prune::Pruned,
    prune::containers, volume::prune::volumes,
};
use crate::context::Context;
use crate::error::{Error, Outcome};

/// Remove what nothing uses: stopped containers, networks, images without a name
#[derive(Debug, Args)]
pub(crate) struct Prune {
    /// Also images that have a name
    #[arg(short, long)]
    all: bool,
    /// Also anonymous volumes
    #[arg(long)]
    volumes: bool,
    /// Only what matches: `until=24h`, `label=x=y`, `label!=x`
    #[arg(long, value_name = "KEY=VALUE")]
    filter: Vec<String>,
    /// Do not ask
    #[arg(short, long)]
    force: bool,
}

impl Prune {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        if self.volumes && self.filter.iter().any(|filter| filter.starts_with("until=")) {
            let why = "the filter `until` is not supported with --volumes: nobody knows when a \
                       volume was last used";
            return Err(Error::invalid(why));
        }
        if !self.force && !confirm(&self.warning()) {
            return Ok(0);
        }
        let client = context.running().await?;
        // What was removed first lets go of what comes after it.
        let mut all = Pruned::default();
        let mut add = |pruned: Pruned| {
            all.text.push_str(&pruned.text);
            all.bytes += pruned.bytes;
        };
        add(containers(&client, &context, self.filter.clone()).await?);
        add(networks(&client, &context, self.filter.clone()).await?);
        if self.volumes {
            add(volumes(&client, &context, false, self.filter.clone()).await?);
        }
        add(images(&client, &context, self.all, self.filter).await?);
        all.print()?;
        Ok(0)
    }

    fn warning(&self) -> String {
        let mut text =
            "WARNING! This will remove:\n  - all stopped containers\n  - all networks not \
                        used by at least one container\n"
                .to_owned();
        if self.volumes {
            text += "  - all anonymous volumes not used by at least one container\n";
        }
        text += match self.all {
            true => "  - all images without at least one container associated to them\n",
            false => "  - all dangling images\n",
        };
        if !self.filter.is_empty() {
            text += "\n  Items to be pruned will be filtered with:\n";
            for filter in &self.filter {
                text += &format!("  - {filter}\n");
            }
        }
        text
    }
}
