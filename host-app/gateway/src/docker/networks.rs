//! `/networks`.

use http::StatusCode;
use linkspan_docker_types::network::{
    ConnectBody, CreateBody, Created, DisconnectBody, Network, Pruned,
};
use linkspan_proto::v1::{
    DisconnectNetworkRequest, InspectNetworkRequest, ListNetworksRequest, PruneNetworksRequest,
    RemoveNetworkRequest,
};

use super::{
    answer::{Absent as _, Outcome, Refusal, created, done, ok},
    call::Call,
};

/// Docker's words.
fn no_such(name: &str) -> String {
    format!("network {name} not found")
}

pub(super) async fn list(call: Call) -> Outcome {
    let request = ListNetworksRequest { filters: call.filters()?.list() };
    let found = call.agent().await?.networks().list(request).await?.into_inner();
    let show = |network| Network::from(network).listed(call.version);
    ok(&found.networks.iter().map(show).collect::<Vec<_>>())
}

pub(super) async fn inspect(call: Call) -> Outcome {
    let name = call.name("id");
    if !matches!(call.text("scope"), "" | "local") {
        return Err(Refusal::new(StatusCode::NOT_FOUND, no_such(&name)));
    }
    let request = InspectNetworkRequest { network: name.clone() };
    let found = call.agent().await?.networks().inspect(request).await.absent(|| no_such(&name))?;
    ok(&Network::from(&found.network.unwrap_or_default()))
}

pub(super) async fn create(mut call: Call) -> Outcome {
    let request = call.json::<CreateBody>().await?.request()?;
    let made = call.agent().await?.networks().create(request).await?.into_inner();
    created(&Created::from(made))
}

pub(super) async fn remove(call: Call) -> Outcome {
    let name = call.name("id");
    let request = RemoveNetworkRequest { network: name.clone() };
    call.agent().await?.networks().remove(request).await.absent(|| no_such(&name))?;
    done(StatusCode::NO_CONTENT)
}

pub(super) async fn connect(mut call: Call) -> Outcome {
    let request = call.json::<ConnectBody>().await?.request(&call.name("id"))?;
    call.agent().await?.networks().connect_container(request).await?;
    done(StatusCode::OK)
}

pub(super) async fn disconnect(mut call: Call) -> Outcome {
    let body: DisconnectBody = call.json().await?;
    let request = DisconnectNetworkRequest { container: body.container, network: call.name("id") };
    call.agent().await?.networks().disconnect_container(request).await?;
    done(StatusCode::OK)
}

pub(super) async fn prune(call: Call) -> Outcome {
    let request = PruneNetworksRequest { filters: call.filters()?.list() };
    let pruned = call.agent().await?.networks().prune(request).await?.into_inner();
    ok(&Pruned::from(pruned))
}
