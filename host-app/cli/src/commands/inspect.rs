//! `inspect`.

use clap::{Args, ValueEnum};
use linkspan_client::Client;
use linkspan_docker_types::{network::Network, volume::Volume};
use linkspan_proto::error::{ErrorCode, Failure};
use linkspan_proto::v1::{
    InspectContainerRequest, InspectImageRequest, InspectNetworkRequest, InspectVolumeRequest,
};
use serde::Serialize;

use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::render::{format::Format, inspect};

/// Show all that is known of containers, images, networks and volumes, as JSON
#[derive(Debug, Args)]
pub(crate) struct Inspect {
    /// `json` (one line each) or a Go template such as '{{.State.Status}}'
    #[arg(short, long, value_name = "FORMAT")]
    format: Option<String>,
    /// Also what a container has written, and that with its image
    #[arg(short, long)]
    size: bool,
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
    /// A network
    Network,
    /// A volume
    Volume,
}

/// Docker's order: the first that has the name is meant.
const KINDS: [Kind; 4] = [Kind::Container, Kind::Image, Kind::Network, Kind::Volume];

#[derive(Debug, Serialize)]
#[serde(untagged)]
enum Thing {
    Container(Box<inspect::Container>),
    Image(Box<inspect::Image>),
    Network(Box<Network>),
    Volume(Box<Volume>),
}

impl Inspect {
    /// As the verb of `container` and `image`.
    pub(crate) fn only(self, kind: Kind) -> Self {
        Self { kind: Some(kind), ..self }
    }

    pub(crate) async fn run(self, context: Context) -> Outcome {
        let format = Format::parse(self.format.as_deref())?;
        let look = Look { client: context.running().await?, context, size: self.size };
        let mut found = Vec::new();
        let mut failures = Vec::new();
        for name in &self.names {
            let thing = match self.kind {
                Some(kind) => look.one(kind, name).await,
                None => look.any(name).await,
            };
            match thing {
                Ok(thing) => found.push(thing),
                Err(error) => failures.push(error),
            }
        }
        inspect::show(&format, &found, failures)
    }
}

struct Look {
    client: Client,
    context: Context,
    size: bool,
}

impl Look {
    /// The first thing of that name.
    async fn any(&self, name: &str) -> Result<Thing, Error> {
        for kind in KINDS {
            match self.one(kind, name).await {
                Err(Error::Failure(failure)) if is_absent(kind, failure.code) => {}
                result => return result,
            }
        }
        let what = format!("no such container, image, network or volume: `{name}`");
        Err(Failure::new(ErrorCode::NotFound, what)
            .hint("list them with `ps -a`, `images`, `network ls` and `volume ls`")
            .into())
    }

    async fn one(&self, kind: Kind, name: &str) -> Result<Thing, Error> {
        let (client, machine, name) = (&self.client, self.context.machine(), name.to_owned());
        Ok(match kind {
            Kind::Container => {
                let request = InspectContainerRequest { container: name, size: self.size };
                let answer = client.containers(machine).inspect(request).await?.into_inner();
                Thing::Container(Box::new((&answer.container.unwrap_or_default()).into()))
            }
            Kind::Image => {
                let request = InspectImageRequest { image: name };
                let answer = client.images(machine).inspect(request).await?.into_inner();
                Thing::Image(Box::new((&answer.image.unwrap_or_default()).into()))
            }
            Kind::Network => {
                let request = InspectNetworkRequest { network: name };
                let answer = client.networks(machine).inspect(request).await?.into_inner();
                Thing::Network(Box::new((&answer.network.unwrap_or_default()).into()))
            }
            Kind::Volume => {
                let request = InspectVolumeRequest { name };
                let answer = client.volumes(machine).inspect(request).await?.into_inner();
                Thing::Volume(Box::new((&answer.volume.unwrap_or_default()).into()))
            }
        })
    }
}

/// What is no valid name of an image may be one of a network.
fn is_absent(kind: Kind, code: ErrorCode) -> bool {
    code == ErrorCode::NotFound || (kind == Kind::Image && code == ErrorCode::InvalidArgument)
}
