//! Follows the default machine for the tray and the notifications, as long as the app runs.
//!
//! Never starts a daemon, and listens to a machine's events only while it runs: a call to a machine
//! boots it, which the user decides.

use std::time::Duration;

use linkspan_client::{Client, Failure};
use linkspan_proto::{
    error::ErrorCode,
    host::v1::{Machine, MachineState, WatchMachineRequest},
    v1::{EventsRequest, events_response::Kind},
};
use tauri::{AppHandle, Manager as _};
use tokio_util::task::AbortOnDropHandle;

use crate::{daemon::Daemon, glance::Glance, notices, tray};

/// How often a daemon is looked for that somebody else may have started.
const PAUSE: Duration = Duration::from_secs(3);

pub(crate) async fn run(app: AppHandle) {
    let daemon = app.state::<Daemon>();
    let mut known = None;
    loop {
        let end = follow(&app, &daemon, &mut known).await;
        tracing::debug!(?end, "the machine is not followed");
        let absent = end.is_err_and(|failure| failure.code == ErrorCode::NotFound);
        if absent {
            // It is made by its first start, which may fail.
            known = Some(Machine::default());
        }
        tray::show(&app, if absent { Glance::Stopped } else { Glance::Away });
        tokio::select! {
            () = daemon.reached() => {}
            () = tokio::time::sleep(PAUSE) => {}
        }
    }
}

/// Until the daemon goes away.
async fn follow(
    app: &AppHandle,
    daemon: &Daemon,
    known: &mut Option<Machine>,
) -> Result<(), Failure> {
    let client = daemon.client(false).await?;
    let request = WatchMachineRequest::default();
    let mut updates = client.machines().watch(request).await?.into_inner();
    let mut listener = None;
    while let Some(update) = updates.message().await? {
        let Some(machine) = update.machine else { continue };
        if let Some(notice) = notices::of_machine(known.as_ref(), &machine) {
            notices::show(app, notice);
        }
        if machine.state() != MachineState::Running {
            listener = None;
        } else if listener.as_ref().is_none_or(AbortOnDropHandle::is_finished) {
            let events = listen(app.clone(), client.clone());
            listener = Some(AbortOnDropHandle::new(tokio::spawn(events)));
        }
        tray::show(app, Glance::of(&machine));
        *known = Some(machine);
    }
    Ok(())
}

async fn listen(app: AppHandle, client: Client) {
    if let Err(failure) = hear(&app, &client).await {
        tracing::debug!(%failure.message, "the machine's events are not heard any more");
    }
}

async fn hear(app: &AppHandle, client: &Client) -> Result<(), Failure> {
    let filters = notices::FILTERS.map(str::to_owned).to_vec();
    let request = EventsRequest { filters, ..EventsRequest::default() };
    let mut events = client.events(None).events(request).await?.into_inner();
    while let Some(event) = events.message().await? {
        if let Some(Kind::Event(event)) = event.kind
            && let Some(notice) = notices::of_event(&event)
        {
            notices::show(app, notice);
        }
    }
    Ok(())
}
