//! `inspect`.

use clap::{Args, ValueEnum};
use linkspan_client::Client;
use linkspan_proto::error::{ErrorCode, Failure};
use linkspan_proto::v1::{InspectContainerRequest, InspectImageRequest};
use serde::Serialize;

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::render::format::{Format, json_line, json_pretty, to_value};
use crate::render::{self, inspect};

/// Show all that is known of containers and images, as JSON
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// `json` (one line each) or a Go template such as '{{.State.Status}}'
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Only things of this kind
    #[arg(long = "type", value_name = "KIND")]
    kind: Option<Kind>,
    /// Names or ids
    #[arg(required = true, value_name = "NAME")]
    names: Vec<String>,
}

/// What can be inspected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Kind {
    /// A container
    Container,
    /// An image
    Image,
}

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Thing {
    Container(Box<inspect::Container>),
    Image(Box<inspect::Image>),
}

impl Inspect {
    /// As the verb of `container` and `image`.
    pub(crate) fn only(self, kind: Kind) -> Self {
        Self { kind: Some(kind), ..self }
    }

    pub(crate) async fn run(self, context: Context) -> Outcome {
        let format = Format::parse(self.format.as_deref())?;
        let client = context.running().await?;
        let mut found = Vec::new();
        let mut failures = Vec::new();
        for name in &self.names {
            match find(&client, &context, self.kind, name).await {
                Ok(thing) => found.push(thing),
                Err(error) => failures.push(error),
            }
        }
        let text = match &format {
            // Docker prints `[]` even when nothing was found.
            Format::Table => json_pretty(&found)?,
            Format::Json => found.iter().map(json_line).collect::<Result<String, Error>>()?,
            Format::Columns(template) | Format::Template(template) => found
                .iter()
                .map(|thing| Ok(template.render(&to_value(thing)?)? + "\n"))
                .collect::<Result<String, Error>>()?,
        };
        render::print(&text)?;
        let mut code = 0;
        for failure in failures {
            code = failure.report(&mut std::io::stderr(), false);
        }
        Ok(code)
    }
}

/// A container of that name, else an image.
async fn find(
    client: &Client,
    context: &Context,
    kind: Option<Kind>,
    name: &str,
) -> Result<Thing, Error> {
    let absent =
        |error: &Error| matches!(error, Error::Failure(f) if f.code == ErrorCode::NotFound);
    if kind != Some(Kind::Image) {
        match container(client, context, name).await {
            Err(error) if kind.is_none() && absent(&error) => {}
            result => return result,
        }
    }
    match image(client, context, name).await {
        Err(error) if kind.is_none() && absent(&error) => {
            Err(Failure::new(ErrorCode::NotFound, format!("no such container or image: `{name}`"))
                .hint("list them with `linkspan ps -a` and `linkspan images`")
                .into())
        }
        result => result,
    }
}

async fn container(client: &Client, context: &Context, name: &str) -> Result<Thing, Error> {
    let request = InspectContainerRequest { container: name.to_owned() };
    let answer = client.containers(context.machine()).inspect(request).await?.into_inner();
    Ok(Thing::Container(Box::new((&answer.container.unwrap_or_default()).into())))
}

async fn image(client: &Client, context: &Context, name: &str) -> Result<Thing, Error> {
    let request = InspectImageRequest { image: name.to_owned() };
    let answer = client.images(context.machine()).inspect(request).await?.into_inner();
    Ok(Thing::Image(Box::new((&answer.image.unwrap_or_default()).into())))
}
