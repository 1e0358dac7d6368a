//! `/build`: the classic builder's API over the machine's `BuildService`.
//!
//! ```text
//! options    the query, as the machine is asked
//! dialogue   answers the machine: pulls what it lacks, sends the body, ends with the client
//! words      what the classic builder says of each instruction
//! ```

mod dialogue;
mod options;
mod words;

use std::{collections::HashMap, sync::Arc};

use http::StatusCode;
use linkspan_docker_types::{
    header,
    system::build_cache::{self, Pruned},
};
use linkspan_proto::{
    error::Failure,
    v1::{BuildUsageRequest, PruneBuildsRequest, PruneBuildsResponse},
};
use parking_lot::Mutex;
use tokio_util::sync::CancellationToken;

use super::{
    answer::{Outcome, Refusal, done, ok, telling},
    call::Call,
};

/// The builds that a client has given an id (`buildid`), to be cancelled by it.
#[derive(Clone, Default)]
pub(super) struct Named(Arc<Mutex<HashMap<String, CancellationToken>>>);

/// Takes the name back.
struct Naming {
    all: Named,
    id: String,
}

impl Drop for Naming {
    fn drop(&mut self) {
        self.all.0.lock().remove(&self.id);
    }
}

impl Named {
    fn begin(&self, id: &str) -> (CancellationToken, Option<Naming>) {
        let token = CancellationToken::new();
        if id.is_empty() {
            return (token, None);
        }
        self.0.lock().insert(id.to_owned(), token.clone());
        (token, Some(Naming { all: self.clone(), id: id.to_owned() }))
    }
}

/// A context in, lines out. What fails before the first line has a status of its own.
pub(super) async fn build(call: Call) -> Outcome {
    let asked = options::read(&call)?;
    let credentials = header::registry_config(call.header(header::REGISTRY_CONFIG))?;
    let agent = call.api.engine.registry_agent(&call.api.machine).await?;
    let (cancelled, naming) = call.api.builds.begin(call.text("buildid"));
    let (engine, machine) = (call.api.engine.clone(), call.api.machine.clone());
    telling(async move |lines| {
        let _naming = naming;
        let build = dialogue::Build { engine, machine, agent, credentials, lines };
        tokio::select! {
            () = cancelled.cancelled() => {
                Err(Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, "build cancelled"))
            }
            ended = build.run(asked, call.reader()) => ended,
        }
    })
    .await
}

/// `POST /build/prune`
pub(super) async fn prune(call: Call) -> Outcome {
    let mut filters = call.filters()?;
    // `docker system prune` sends its filters here too; what builds leave has no labels.
    if !filters.take("label").is_empty() {
        return ok(&Pruned::from(&PruneBuildsResponse::default()));
    }
    filters.take("label!");
    // BuildKit's name for it in older clients.
    for span in filters.take("unused-for") {
        filters.insert("until", &span);
    }
    let bytes = |name: &str| -> Result<Option<u64>, Refusal> {
        match call.text(name) {
            "" => Ok(None),
            text => text.parse().map(Some).map_err(|_| {
                Refusal::bad(format!("{name} is in bytes and expects an integer, got {text}"))
            }),
        }
    };
    if bytes("min-free-space")?.is_some_and(|bytes| bytes > 0) {
        return Err(Refusal::new(
            StatusCode::NOT_IMPLEMENTED,
            "min-free-space is not supported: the machine's disk is not the build cache's alone",
        ));
    }
    // The first name is that of versions before 1.48; of the two others the larger amount stays.
    let kept = [bytes("keep-storage")?, bytes("reserved-space")?, bytes("max-used-space")?];
    let request = PruneBuildsRequest {
        all: call.flag("all"),
        filters: filters.list(),
        keep_bytes: kept.into_iter().flatten().max().unwrap_or(0),
    };
    let pruned = call.agent().await?.builds().prune(request).await?.into_inner();
    ok(&Pruned::from(&pruned))
}

/// `POST /build/cancel`: as Docker has it, a build that is not under way is none to complain of.
pub(super) async fn cancel(call: Call) -> Outcome {
    let id = call.text("id");
    if id.is_empty() {
        return Err(Refusal::bad("build ID not provided"));
    }
    if let Some(build) = call.api.builds.0.lock().get(id) {
        build.cancel();
    }
    done(StatusCode::OK)
}

/// What `/system/df` shows of builds.
pub(super) async fn usage(call: &Call) -> Result<Vec<build_cache::Record>, Refusal> {
    let usage = call.agent().await?.builds().usage(BuildUsageRequest {}).await;
    let usage = usage.map_err(Failure::from)?.into_inner();
    Ok(usage.records.iter().map(build_cache::Record::from).collect())
}
