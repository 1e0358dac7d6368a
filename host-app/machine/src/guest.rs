//! What a machine needs of the guest, as traits that the engine implements: this crate knows
//! neither the agent's protocol nor its wire types.

use std::time::Duration;

use async_trait::async_trait;
use futures::stream::BoxStream;
use linkspan_transport::GuestSocket;
use serde::{Deserialize, Serialize};

/// The boot beacon: what the guest tells about its boot, as it happens. It ends when the guest
/// closes the connection.
pub type BootEvents = BoxStream<'static, Result<BootEvent, GuestError>>;

/// What a machine and its guest say to each other.
#[async_trait]
pub trait Guest: Send + Sync + 'static {
    /// Listens for the boot beacon on the host's vsock port `port`, before the VM is started.
    /// MUST listen by the time it returns; the guest's one connection is accepted as the stream
    /// is polled. Dropping the stream ends the listening.
    ///
    /// # Errors
    /// When the port is taken or this host cannot listen there.
    async fn boot_events(&self, socket: &GuestSocket, port: u32) -> Result<BootEvents, GuestError>;

    /// Connects to the agent and says Hello. MUST go on trying while nothing listens there yet,
    /// and MUST return within `deadline`.
    ///
    /// # Errors
    /// When no agent answered in time, or one that we cannot work with.
    async fn hello(
        &self,
        socket: &GuestSocket,
        deadline: Duration,
    ) -> Result<GuestInfo, GuestError>;

    /// The longest that one of the containers that run may take to stop, as they are set. `None`:
    /// none runs. The caller bounds the time.
    ///
    /// # Errors
    /// When the agent cannot be asked.
    async fn stop_time(&self, socket: &GuestSocket) -> Result<Option<Duration>, GuestError>;

    /// Asks the agent to stop the containers and to power off. `stop_timeout` is what each
    /// container is given after its stop signal; `None`: its own. Returns when the agent has
    /// agreed; the power goes later. The caller bounds the time.
    ///
    /// # Errors
    /// When the agent cannot be reached or refuses.
    async fn power_off(
        &self,
        socket: &GuestSocket,
        stop_timeout: Option<Duration>,
    ) -> Result<(), GuestError>;
}

/// One change in the guest's boot: a phase began, ended or failed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct BootEvent {
    /// The guest's name of the phase: kernel, agent, modules, disk, network, shares, serve, ready.
    pub name: String,
    /// When it began, microseconds since the guest's kernel started.
    pub started_us: u64,
    /// 0 while it runs.
    pub duration_us: u64,
    /// Why it failed; empty when it did not.
    pub error: String,
    /// What to do about that; may be empty.
    pub hint: String,
}

/// Who answered the Hello.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct GuestInfo {
    /// The agent's version (semver).
    pub agent_version: String,
    /// Of the protocol between us.
    pub protocol_version: u32,
    /// What the agent can do.
    pub features: Vec<String>,
    /// `uname -srm` of the VM.
    pub kernel_release: String,
    /// Identifies this boot of the VM.
    pub boot_id: String,
}

/// Why the guest did not do what was asked.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum GuestError {
    /// The host cannot listen for the guest.
    #[error("cannot listen for the guest on vsock port {port}: {why}")]
    Listen {
        /// The port.
        port: u32,
        /// The cause.
        why: String,
    },
    /// Nothing answers.
    #[error("the agent cannot be reached: {why}")]
    Unreachable {
        /// The cause.
        why: String,
    },
    /// No answer in time.
    #[error("the agent did not answer within {seconds} s: {why}")]
    TimedOut {
        /// The limit.
        seconds: u64,
        /// The last cause, or what was waited for.
        why: String,
    },
    /// An agent that we cannot work with.
    #[error("the agent does not fit this daemon: {why}")]
    Incompatible {
        /// The versions or features.
        why: String,
        /// What to do.
        hint: String,
    },
    /// The agent said no, or something that makes no sense.
    #[error("the agent refused: {why}")]
    Refused {
        /// Its words.
        why: String,
    },
}
