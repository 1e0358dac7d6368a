//! `GET /containers/{name}/stats`.

use futures::stream;
use http::StatusCode;
use linkspan_docker_types::container::stats::Stats;
use linkspan_proto::v1::{ContainerStats, ContainerStatsRequest, ContainerStatsResponse};
use tonic::Streaming;

use super::no_such;
use crate::docker::{
    answer::{Absent as _, Outcome, Refusal, broken, lines, ok},
    call::Call,
};

pub(crate) async fn stats(call: Call) -> Outcome {
    let name = call.name("name");
    let request = ContainerStatsRequest { containers: vec![name.clone()], all: true };
    let agent = call.agent().await?;
    let mut samples = agent.containers().stats(request).await.absent(|| no_such(&name))?;
    if !call.flag_or("stream", true) {
        let first = sample(&mut samples, &name).await?;
        if call.flag("one-shot") {
            return ok(&Stats::new(&first, None));
        }
        // Two, so that what a processor has done in between can be told.
        let second = sample(&mut samples, &name).await?;
        return ok(&Stats::new(&second, Some(&first)));
    }
    let values = stream::unfold(Some((samples, None)), |state| async move {
        let (mut samples, before) = state?;
        match samples.message().await {
            Ok(moment) => {
                // One that was removed is in no sample any more.
                let now = moment?.containers.into_iter().next()?;
                let shown = Stats::new(&now, before.as_ref());
                Some((Ok(shown), Some((samples, Some(now)))))
            }
            Err(status) => Some((Err(broken(&status)), None)),
        }
    });
    Ok(lines(values).into())
}

/// The next one. A container that was removed is in no sample any more.
async fn sample(
    samples: &mut Streaming<ContainerStatsResponse>,
    name: &str,
) -> Result<ContainerStats, Refusal> {
    let moment = samples.message().await?;
    let found = moment.and_then(|moment| moment.containers.into_iter().next());
    found.ok_or_else(|| Refusal::new(StatusCode::NOT_FOUND, no_such(name)))
}
