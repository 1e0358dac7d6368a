//! The guest as the `machine` crate wants it: the boot beacon, the Hello that ends a boot, the
//! order to power off. Translates between its plain types and the agent's protocol.

use std::{sync::Arc, time::Duration};

use async_trait::async_trait;
use futures::{StreamExt as _, TryStreamExt as _, stream};
use linkspan_agent_client::{AgentChannel, AgentError, AgentOptions, boot_phases};
use linkspan_machine::guest::{BootEvent, BootEvents, Guest, GuestError, GuestInfo};
use linkspan_proto::{
    error::{ErrorCode, Failure},
    v1::{
        BootPhase, ContainerConfig, HelloResponse, InspectContainerRequest, ListContainersRequest,
        PowerOffRequest,
    },
};
use linkspan_transport::{Dial, GuestSocket, dialer, listen};
use tokio::time::Instant;

/// How long one attempt at Hello may take. A guest that is still booting may accept a connection
/// and lose it; the next attempt then succeeds.
const ATTEMPT: Duration = Duration::from_secs(5);

/// Seconds that a container is given that does not say how many (`ContainerConfig`).
const STOP_TIMEOUT: u32 = 10;

/// Speaks to the guest of one machine.
pub(crate) struct AgentGuest {
    machine: String,
}

impl AgentGuest {
    pub(crate) fn new(machine: impl Into<String>) -> Self {
        Self { machine: machine.into() }
    }

    fn dialer(&self, socket: &GuestSocket) -> Result<Arc<dyn Dial>, GuestError> {
        dialer(socket).map_err(|error| GuestError::Unreachable { why: error.to_string() })
    }

    fn channel(
        &self,
        socket: &GuestSocket,
        connect_timeout: Duration,
    ) -> Result<AgentChannel, GuestError> {
        let options = AgentOptions { connect_timeout, ..AgentOptions::new(&self.machine) };
        Ok(AgentChannel::new(self.dialer(socket)?, options))
    }
}

#[async_trait]
impl Guest for AgentGuest {
    async fn boot_events(&self, socket: &GuestSocket, port: u32) -> Result<BootEvents, GuestError> {
        let mut listener = listen(socket, port)
            .map_err(|error| GuestError::Listen { port, why: error.to_string() })?;
        // The listener lives in the stream: whoever drops the events ends the listening.
        let accepted = stream::once(async move {
            let stream = listener
                .accept()
                .await
                .map_err(|error| GuestError::Listen { port, why: error.to_string() })?;
            let phases = boot_phases(stream);
            let events = phases.map(|phase| match phase {
                Ok(phase) => Ok(event(phase)),
                Err(error) => Err(GuestError::Refused { why: error.to_string() }),
            });
            Ok::<_, GuestError>(stream::unfold(
                (events, listener),
                |(mut events, listener)| async { Some((events.next().await?, (events, listener))) },
            ))
        });
        Ok(accepted.try_flatten().boxed())
    }

    async fn hello(
        &self,
        socket: &GuestSocket,
        deadline: Duration,
    ) -> Result<GuestInfo, GuestError> {
        let until = Instant::now() + deadline;
        let channel = self.channel(socket, ATTEMPT.min(deadline))?;
        let mut last = String::from("nothing listens");
        loop {
            let attempt = tokio::time::timeout_at(until, channel.connect_by(until)).await;
            match attempt {
                Ok(Ok(hello)) => return Ok(info(&hello)),
                Ok(Err(
                    error @ (AgentError::Silent { .. }
                    | AgentError::Dial { .. }
                    | AgentError::Lost { .. }),
                )) => {
                    last = error.to_string();
                }
                Ok(Err(error)) => return Err(guest_error(error)),
                Err(_) => {}
            }
            if Instant::now() + Duration::from_millis(20) >= until {
                return Err(GuestError::TimedOut { seconds: deadline.as_secs(), why: last });
            }
        }
    }

    async fn stop_time(&self, socket: &GuestSocket) -> Result<Option<Duration>, GuestError> {
        let channel = self.channel(socket, ATTEMPT)?;
        channel.connect().await.map_err(guest_error)?;
        let refused = |status| GuestError::Refused { why: Failure::from(status).message };
        let mut calls = channel.containers();
        let listed = calls.list(ListContainersRequest::default()).await.map_err(refused)?;
        let times = listed.into_inner().containers.into_iter().map(|container| {
            let mut calls = calls.clone();
            let request = InspectContainerRequest { container: container.id, size: false };
            // One that is gone by now needs no time.
            async move { calls.inspect(request).await.ok()?.into_inner().container?.config }
        });
        let configs = futures::future::join_all(times).await;
        let own = |config: ContainerConfig| config.stop_timeout_seconds.unwrap_or(STOP_TIMEOUT);
        let longest = configs.into_iter().flatten().map(own).max();
        Ok(longest.map(|seconds| Duration::from_secs(seconds.into())))
    }

    async fn power_off(
        &self,
        socket: &GuestSocket,
        stop_timeout: Option<Duration>,
    ) -> Result<(), GuestError> {
        let channel = self.channel(socket, ATTEMPT)?;
        channel.connect().await.map_err(guest_error)?;
        let stop_timeout_seconds =
            stop_timeout.map(|time| u32::try_from(time.as_secs()).unwrap_or(u32::MAX));
        let request = PowerOffRequest { stop_timeout_seconds, reboot: false };
        match channel.agent().power_off(request).await {
            Ok(_) => Ok(()),
            Err(status) => Err(GuestError::Refused { why: Failure::from(status).message }),
        }
    }
}

fn event(phase: BootPhase) -> BootEvent {
    let BootPhase { name, started_us, duration_us, error, hint } = phase;
    BootEvent { name, started_us, duration_us, error, hint }
}

fn info(hello: &HelloResponse) -> GuestInfo {
    GuestInfo {
        agent_version: hello.version.clone(),
        protocol_version: hello.protocol_version,
        features: hello.features.clone(),
        kernel_release: hello.kernel_release.clone(),
        boot_id: hello.boot_id.clone(),
    }
}

fn guest_error(error: AgentError) -> GuestError {
    let transient = error.is_transient();
    let failure = Failure::from(error);
    let why = failure.message;
    match failure.code {
        ErrorCode::VersionMismatch => {
            GuestError::Incompatible { why, hint: failure.hint.unwrap_or_default() }
        }
        _ if transient => GuestError::Unreachable { why },
        ErrorCode::TimedOut => GuestError::TimedOut { seconds: ATTEMPT.as_secs(), why },
        _ => GuestError::Refused { why },
    }
}
