//! `GET /containers/{name}/stats`.

use futures::stream;
use linkspan_docker_types::container::stats::Stats;
use linkspan_proto::v1::ContainerStatsRequest;

use super::no_such;
use crate::docker::{
    answer::{Absent as _, Broken, Outcome, lines, ok},
    call::Call,
};

pub(crate) async fn stats(call: Call) -> Outcome {
    let name = call.name("name");
    let request = ContainerStatsRequest { containers: vec![name.clone()], all: true };
    let agent = call.agent().await?;
    let mut samples = agent.containers().stats(request).await.absent(|| no_such(&name))?;
    if !call.flag_or("stream", true) {
        let first =
            samples.message().await?.and_then(|moment| moment.containers.into_iter().next());
        let first = first.unwrap_or_default();
        if call.flag("one-shot") {
            return ok(&Stats::new(&first, None));
        }
        // Two, so that what a processor has done in between can be told.
        let second =
            samples.message().await?.and_then(|moment| moment.containers.into_iter().next());
        let second = second.unwrap_or_default();
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
            Err(status) => Some((Err(Broken::from(status.message().to_owned())), None)),
        }
    });
    Ok(lines(values).into())
}
