//! `/networks`.

use http::StatusCode;
use linkspan_agent_client::AgentChannel;
use linkspan_docker_types::network::{
    self, ConnectBody, CreateBody, Created, DisconnectBody, Network, Pruned,
};
use linkspan_proto::{
    error::{ErrorCode, Failure},
    v1::{
        DisconnectNetworkRequest, InspectNetworkRequest, ListNetworksRequest, PruneNetworksRequest,
        RemoveNetworkRequest,
    },
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
    let filters = call.filters()?;
    filters.only(&["dangling", "driver", "id", "label", "name", "scope", "type"])?;
    let request = ListNetworksRequest { filters: filters.list() };
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
    let body: CreateBody = call.json().await?;
    if body.driver == "overlay" || body.scope == "swarm" {
        return Err(Refusal::new(StatusCode::SERVICE_UNAVAILABLE, super::swarm::NOT_A_MANAGER));
    }
    if ["bridge", "default", "host", "none"].contains(&body.name.as_str()) {
        let why = format!("operation is not permitted on predefined {} network", body.name);
        return Err(Refusal::new(StatusCode::FORBIDDEN, why));
    }
    let request = body.request()?;
    let made = call.agent().await?.networks().create(request).await?.into_inner();
    created(&Created::from(made))
}

pub(super) async fn remove(call: Call) -> Outcome {
    let name = call.name("id");
    let request = RemoveNetworkRequest { network: name.clone() };
    let agent = call.agent().await?;
    if let Err(status) = agent.networks().remove(request).await {
        return Err(not_removed(&agent, status, &name).await);
    }
    done(StatusCode::NO_CONTENT)
}

/// In Docker's words: clients look for the endpoints that are still there.
async fn not_removed(agent: &AgentChannel, status: tonic::Status, name: &str) -> Refusal {
    let code = Failure::from(status.clone()).code;
    let mut refusal = Refusal::from(status);
    let request = InspectNetworkRequest { network: name.into() };
    match code {
        ErrorCode::NotFound => refusal.message = no_such(name),
        ErrorCode::InUse => {
            refusal.status = StatusCode::FORBIDDEN;
            if let Ok(found) = agent.networks().inspect(request).await {
                let network = found.into_inner().network.unwrap_or_default();
                refusal.message = network::in_use(&network);
            }
        }
        _ => {}
    }
    refusal
}

/// A missing container is told in Docker's words too.
fn not_joined(container: &str) -> impl FnOnce(tonic::Status) -> Refusal {
    move |status| {
        let failure = Failure::from(status);
        match failure.code {
            ErrorCode::NotFound if failure.message.starts_with("no such container") => {
                Refusal::new(StatusCode::NOT_FOUND, super::containers::no_such(container))
            }
            _ if failure.message.contains("in network host from its creation") => Refusal::new(
                StatusCode::FORBIDDEN,
                "container cannot be disconnected from host network or connected to host network",
            ),
            _ => failure.into(),
        }
    }
}

pub(super) async fn connect(mut call: Call) -> Outcome {
    let network = call.name("id");
    let body: ConnectBody = call.json().await?;
    let container = body.container.clone();
    let refused = not_joined(&container);
    let request = body.request(&network)?;
    call.agent().await?.networks().connect_container(request).await.map_err(refused)?;
    done(StatusCode::OK)
}

pub(super) async fn disconnect(mut call: Call) -> Outcome {
    let body: DisconnectBody = call.json().await?;
    let container = body.container.clone();
    let refused = not_joined(&container);
    let request = DisconnectNetworkRequest { container: body.container, network: call.name("id") };
    call.agent().await?.networks().disconnect_container(request).await.map_err(refused)?;
    done(StatusCode::OK)
}

pub(super) async fn prune(call: Call) -> Outcome {
    let request = PruneNetworksRequest { filters: call.filters()?.list() };
    let pruned = call.agent().await?.networks().prune(request).await?.into_inner();
    ok(&Pruned::from(pruned))
}
