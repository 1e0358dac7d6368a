//! Why an agent cannot be talked to.

use std::{io, sync::Arc, time::Duration};

use linkspan_proto::error::{ErrorCode, Failure};

/// Cloneable, because every caller that waited for the same connection gets it.
#[derive(Debug, Clone, thiserror::Error)]
pub enum AgentError {
    /// Nothing listens in the guest, or the way there is broken.
    #[error("cannot connect to the agent of machine `{machine}`: {source}")]
    Dial {
        /// Whose agent.
        machine: String,
        /// The cause.
        source: Arc<io::Error>,
    },
    /// It accepted the connection but Hello was not done in time.
    #[error("the agent of machine `{machine}` did not say hello within {} s", after.as_secs_f32())]
    Silent {
        /// Whose agent.
        machine: String,
        /// The limit.
        after: Duration,
    },
    /// The connection broke.
    #[error("the connection to the agent of machine `{machine}` was lost: {source}")]
    Lost {
        /// Whose agent.
        machine: String,
        /// The cause.
        source: Arc<hyper::Error>,
    },
    /// The agent or this daemon is of another time.
    #[error(
        "the agent of machine `{machine}` is version {their_version} (protocol {theirs}), this \
         daemon is version {our_version} (protocol {ours})"
    )]
    VersionMismatch {
        /// Whose agent.
        machine: String,
        /// Its protocol version.
        theirs: u32,
        /// Its program version.
        their_version: String,
        /// Ours.
        ours: u32,
        /// Ours.
        our_version: &'static str,
    },
    /// The agent cannot do what the daemon relies on.
    #[error(
        "the agent of machine `{machine}` (version {their_version}) lacks the feature `{feature}`"
    )]
    MissingFeature {
        /// Whose agent.
        machine: String,
        /// Its program version.
        their_version: String,
        /// What it lacks.
        feature: String,
    },
    /// The agent answered Hello with an error of its own.
    #[error("the agent of machine `{machine}` refused: {failure}")]
    Refused {
        /// Whose agent.
        machine: String,
        /// Its words.
        failure: Failure,
    },
}

impl AgentError {
    /// The guest may just not be up yet: another attempt makes sense.
    #[must_use]
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Dial { .. } | Self::Lost { .. })
    }
}

impl From<AgentError> for Failure {
    fn from(error: AgentError) -> Self {
        let message = error.to_string();
        let restart = |machine: &str| {
            format!(
                "restart it with the present VM image: `linkspan machine stop {machine}`, then \
                 `linkspan machine start {machine}`"
            )
        };
        match error {
            AgentError::Dial { machine, .. } => Self::new(ErrorCode::Unavailable, message)
                .hint(format!("see `linkspan machine logs {machine}`")),
            AgentError::Silent { machine, .. } => Self::new(ErrorCode::TimedOut, message)
                .hint(format!("see `linkspan machine logs {machine}`")),
            AgentError::Lost { .. } => Self::new(ErrorCode::Unavailable, message),
            AgentError::VersionMismatch { machine, .. }
            | AgentError::MissingFeature { machine, .. } => {
                Self::new(ErrorCode::VersionMismatch, message).hint(restart(&machine))
            }
            AgentError::Refused { failure, .. } => {
                Self { code: failure.code, message, hint: failure.hint, evidence: failure.evidence }
            }
        }
    }
}

impl From<AgentError> for tonic::Status {
    fn from(error: AgentError) -> Self {
        Failure::from(error).into()
    }
}
