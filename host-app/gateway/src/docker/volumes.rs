//! `/volumes`.

use http::StatusCode;
use linkspan_docker_types::volume::{CreateBody, List, Pruned, Volume};
use linkspan_proto::v1::{
    InspectVolumeRequest, ListVolumesRequest, PruneVolumesRequest, RemoveVolumeRequest,
};

use super::{
    answer::{Absent as _, Outcome, created, done, ok},
    call::Call,
};

/// Docker's words.
fn no_such(name: &str) -> String {
    format!("get {name}: no such volume")
}

pub(super) async fn list(call: Call) -> Outcome {
    let filters = call.filters()?;
    filters.only(&["dangling", "driver", "label", "name"])?;
    let request = ListVolumesRequest { filters: filters.list() };
    let found = call.agent().await?.volumes().list(request).await?.into_inner();
    ok(&List::from(&found))
}

pub(super) async fn inspect(call: Call) -> Outcome {
    let name = call.name("name");
    let request = InspectVolumeRequest { name: name.clone() };
    let found = call.agent().await?.volumes().inspect(request).await.absent(|| no_such(&name))?;
    ok(&Volume::from(&found.volume.unwrap_or_default()))
}

pub(super) async fn create(mut call: Call) -> Outcome {
    let request = call.json_or_default::<CreateBody>().await?.request()?;
    let made = call.agent().await?.volumes().create(request).await?.into_inner();
    created(&Volume::from(&made.volume.unwrap_or_default()))
}

pub(super) async fn remove(call: Call) -> Outcome {
    let name = call.name("name");
    let request = RemoveVolumeRequest { name: name.clone(), force: call.flag("force") };
    call.agent().await?.volumes().remove(request).await.absent(|| no_such(&name))?;
    done(StatusCode::NO_CONTENT)
}

/// Before 1.42 all volumes that nobody has were meant, from then on the anonymous ones.
pub(super) async fn prune(call: Call) -> Outcome {
    let mut filters = call.filters()?;
    let all = filters.take_bool("all")?.unwrap_or(call.version.before(42));
    let request = PruneVolumesRequest { all, filters: filters.list() };
    let pruned = call.agent().await?.volumes().prune(request).await?.into_inner();
    ok(&Pruned::from(pruned))
}
