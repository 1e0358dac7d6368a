//! A machine's changes as updates: of a start until it is over, of a watch for ever.

use futures::{Stream, StreamExt as _, stream};
use linkspan_machine::{Machine, Snapshot, State};
use linkspan_proto::{
    error::{ErrorCode, Failure},
    host::v1::StartMachineResponse,
};
use tokio_stream::wrappers::WatchStream;

use crate::{Updates, failure, view};

/// Every change of a machine, the present state first. Ends after the one that says that it was
/// removed, or with the daemon.
pub(crate) fn changes(machine: &Machine) -> impl Stream<Item = Snapshot> + Send + use<> {
    let changes = WatchStream::new(machine.subscribe());
    stream::unfold(Some(changes), |changes| async {
        let mut changes = changes?;
        let snapshot = changes.next().await?;
        let rest = (!snapshot.removed).then_some(changes);
        Some((snapshot, rest))
    })
}

/// Orders the start, which goes on when nobody listens any more, and tells about it.
pub(crate) fn updates(machine: Machine) -> Updates<StartMachineResponse> {
    let (tell, updates) = tokio::sync::mpsc::channel(64);
    tokio::spawn(async move {
        let mut changes = std::pin::pin!(changes(&machine));
        let mut start = std::pin::pin!(machine.start());
        // The notices of a boot are told to those who wait for it, not to everyone who comes later.
        let mut told = match &machine.snapshot().state {
            State::Running(running) => running.notices.len(),
            _ => 0,
        };
        // What it was before the start says nothing about the start: `starting` is the first
        // news, and for a machine that runs the result is the only one.
        let result = loop {
            tokio::select! {
                biased;
                Some(snapshot) = changes.next() => {
                    if matches!(snapshot.state, State::Starting(_)) {
                        // Whether somebody listens does not matter to the start.
                        let _ = tell.send(Ok(update(&snapshot, &mut told))).await;
                    }
                }
                result = &mut start => break result,
            }
        };
        let last = match result {
            Ok(_) => running(&machine, &mut told),
            Err(error) => Err(failure::machine(error)),
        };
        let _ = tell.send(last).await;
    });
    tokio_stream::wrappers::ReceiverStream::new(updates)
        // A notice each, so that none is lost.
        .flat_map(|answers: Result<Vec<_>, Failure>| match answers {
            Ok(answers) => stream::iter(answers.into_iter().map(Ok).collect::<Vec<_>>()),
            Err(failure) => stream::iter(vec![Err(failure)]),
        })
        .boxed()
}

fn running(machine: &Machine, told: &mut usize) -> Result<Vec<StartMachineResponse>, Failure> {
    let snapshot = machine.snapshot();
    if snapshot.state.running().is_some() {
        return Ok(update(&snapshot, told));
    }
    // It ran, and already does not any more.
    Err(match &snapshot.state {
        State::Failed(failed) => failure::of_machine(&failed.failure),
        other => Failure::new(
            ErrorCode::WrongState,
            format!("machine `{}` started, but is {} by now", snapshot.name, other.name()),
        ),
    })
}

/// The machine as it is, once for each notice that has not been told yet (and at least once).
fn update(snapshot: &Snapshot, told: &mut usize) -> Vec<StartMachineResponse> {
    let machine = view::machine(snapshot);
    let notices = view::notices(&snapshot.state);
    let fresh = notices.get(*told..).unwrap_or_default();
    *told = (*told).max(notices.len());
    let answer = |notice: &str| StartMachineResponse {
        machine: Some(machine.clone()),
        notice: notice.into(),
    };
    if fresh.is_empty() {
        return vec![answer("")];
    }
    fresh.iter().map(|notice| answer(notice)).collect()
}
