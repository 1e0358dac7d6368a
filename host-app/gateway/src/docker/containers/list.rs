//! `GET /containers/json`: what is asked most.
//!
//! The guest gives each list a revision. Asked again with it, it says in a word that nothing has
//! changed: the list is neither made nor sent again, and written again only when it says another
//! thing of time ("Up 3 seconds"). The guest is asked each time, so an answer is as new as its
//! question.

use std::sync::Arc;

use bytes::Bytes;
use futures::FutureExt as _;
use http::StatusCode;
use jiff::Timestamp;
use linkspan_docker_types::{
    compat,
    container::{Summary, state},
    version::ApiVersion,
};
use linkspan_proto::v1::{
    ContainerSummary, ListContainersRequest, ListContainersResponse, NetworkEndpoint,
};
use parking_lot::Mutex;

use crate::docker::{
    Api,
    answer::{Outcome, Refusal, line, ok, whole},
    call::Call,
    together::Together,
};

/// How many questions' lists are kept: clients ask few, again and again.
const KEPT: usize = 8;

/// The lists of one machine.
#[derive(Default)]
pub(crate) struct Lists {
    together: Together,
    /// The one that was asked for last is at the end.
    kept: Mutex<Vec<(String, Arc<List>)>>,
}

/// What the guest answered to one question.
struct List {
    revision: u64,
    containers: Vec<ContainerSummary>,
    endpoints: Vec<NetworkEndpoint>,
    /// What it said of time, and the whole.
    written: Mutex<Option<(Vec<String>, Bytes)>>,
}

impl Lists {
    fn known(&self, question: &str) -> Option<Arc<List>> {
        let mut kept = self.kept.lock();
        let found = kept.iter().position(|(asked, _)| asked == question)?;
        let last = kept.remove(found);
        let list = last.1.clone();
        kept.push(last);
        Some(list)
    }

    fn keep(&self, question: String, list: Arc<List>) {
        let mut kept = self.kept.lock();
        kept.retain(|(asked, _)| *asked != question);
        // A list without a revision is asked for anew each time.
        if list.revision == 0 {
            return;
        }
        if kept.len() == KEPT {
            kept.remove(0);
        }
        kept.push((question, list));
    }
}

impl From<ListContainersResponse> for List {
    fn from(answer: ListContainersResponse) -> Self {
        let ListContainersResponse { containers, revision, endpoints, unchanged: _ } = answer;
        Self { revision, containers, endpoints, written: Mutex::default() }
    }
}

impl List {
    fn json(&self, version: ApiVersion, now: Timestamp) -> Result<Bytes, Refusal> {
        let times: Vec<_> = self.containers.iter().map(|one| state::status(one, now)).collect();
        let mut written = self.written.lock();
        if let Some((said, body)) = &*written
            && *said == times
        {
            return Ok(body.clone());
        }
        let shown = self.containers.iter().map(|one| Summary::new(one, &self.endpoints, now));
        let shown: Vec<_> =
            shown.map(|summary| compat::container_summary(&summary, version)).collect();
        let body = line(&shown).map_err(|error| {
            let why = format!("cannot write the list: {error}");
            Refusal::new(StatusCode::INTERNAL_SERVER_ERROR, why)
        })?;
        *written = Some((times, body.clone()));
        Ok(body)
    }
}

/// Docker's names have a slash before them, which a pattern may have or not.
fn bare(pattern: &str) -> String {
    match pattern.strip_prefix("^/") {
        Some(rest) => format!("^{rest}"),
        None => pattern.strip_prefix('/').unwrap_or(pattern).to_owned(),
    }
}

/// What Docker filters containers by (moby's `daemon/list.go`). `isolation` is of Windows.
const FILTERS: [&str; 15] = [
    "ancestor",
    "before",
    "exited",
    "expose",
    "health",
    "id",
    "is-task",
    "isolation",
    "label",
    "name",
    "network",
    "publish",
    "since",
    "status",
    "volume",
];
const STATES: [&str; 7] =
    ["created", "dead", "exited", "paused", "removing", "restarting", "running"];

pub(crate) async fn list(call: Call) -> Outcome {
    let limit: Option<i64> = call.number("limit")?;
    let mut filters = call.filters()?;
    filters.only(&FILTERS)?;
    filters.only_values("status", &STATES)?;
    // Tasks are a swarm's.
    if filters.take_bool("is-task")? == Some(true) {
        return ok(&[(); 0]);
    }
    for name in filters.take("name") {
        filters.insert("name", &bare(&name));
    }
    let request = ListContainersRequest {
        all: call.flag("all"),
        last: limit.and_then(|limit| u32::try_from(limit).ok()).unwrap_or(0),
        filters: filters.list(),
        size: call.flag("size"),
        endpoints: true,
        known_revision: 0,
    };
    let (api, version) = (call.api.clone(), call.version);
    let question = format!("{version} {request:?}");
    let asked = question.clone();
    let look = move || shown(api, asked, request, version).boxed();
    let body = call.api.lists.together.ask(question, look).await?;
    Ok(whole(StatusCode::OK, "application/json", body).into())
}

/// The containers as they are now, as JSON.
async fn shown(
    api: Arc<Api>,
    question: String,
    mut request: ListContainersRequest,
    version: ApiVersion,
) -> Result<Bytes, Refusal> {
    let known = api.lists.known(&question);
    request.known_revision = known.as_ref().map_or(0, |list| list.revision);
    let agent = api.engine.agent(&api.machine).await?;
    let answer = agent.containers().list(request).await?.into_inner();
    let list = match known.filter(|_| answer.unchanged) {
        Some(list) => list,
        None => {
            let list = Arc::new(List::from(answer));
            api.lists.keep(question, list.clone());
            list
        }
    };
    list.json(version, Timestamp::now())
}
