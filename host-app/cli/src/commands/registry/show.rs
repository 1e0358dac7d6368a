//! `registry show`.

use clap::Args;
use linkspan_proto::host::v1::{RegistrySettings, RegistrySettingsRequest};
use serde_json::{Value, json};

use crate::context::Context;
use crate::error::Outcome;
use crate::render;
use crate::render::format::single;

/// Show how registries are reached, as it is set
#[derive(Debug, Args)]
pub(crate) struct Show {
    /// `json` or a Go template such as '{{.Mirrors}}'
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
}

impl Show {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let client = context.client().await?;
        let answer = client.host().registry_settings(RegistrySettingsRequest {}).await?;
        let settings = answer.into_inner().settings.unwrap_or_default();
        let text = single(self.format.as_deref(), &fields(&settings), || plain(&settings))?;
        render::print(&text)?;
        Ok(0)
    }
}

fn fields(settings: &RegistrySettings) -> Value {
    let mirrors: Vec<Value> = settings
        .mirrors
        .iter()
        .map(|mirror| json!({"URL": mirror.url, "Authoritative": mirror.authoritative}))
        .collect();
    json!({
        "Mirrors": mirrors,
        "Insecure": settings.insecure,
        "Authorities": settings.authority_files,
        "HTTPProxy": settings.http_proxy,
        "HTTPSProxy": settings.https_proxy,
        "NoProxy": settings.no_proxy,
        "ParallelDownloads": settings.parallel_downloads,
        "ParallelUploads": settings.parallel_uploads,
    })
}

fn plain(settings: &RegistrySettings) -> String {
    let or = |text: &str, otherwise: &str| {
        if text.is_empty() { otherwise.to_owned() } else { text.to_owned() }
    };
    let list = |all: &[String]| or(&all.join(", "), "none");
    let mirrors: Vec<String> = settings
        .mirrors
        .iter()
        .map(|mirror| {
            format!("{}{}", mirror.url, if mirror.authoritative { " (authoritative)" } else { "" })
        })
        .collect();
    let environment = "as the daemon's environment says";
    let number = |number: u32, usual: u32| if number == 0 { usual } else { number };
    let rows = [
        ("Mirrors", list(&mirrors)),
        ("Insecure", list(&settings.insecure)),
        ("Authorities", list(&settings.authority_files)),
        ("HTTP proxy", or(&settings.http_proxy, environment)),
        ("HTTPS proxy", or(&settings.https_proxy, environment)),
        ("No proxy", or(&settings.no_proxy, environment)),
        ("Downloads", number(settings.parallel_downloads, 3).to_string()),
        ("Uploads", number(settings.parallel_uploads, 5).to_string()),
    ];
    rows.iter().map(|(name, value)| format!("{name:<13}{value}\n")).collect()
}
