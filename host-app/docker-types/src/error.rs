//! Errors of requests, and the body that says them.

use linkspan_proto::error::{ErrorCode, Failure};
use serde::{Deserialize, Serialize};

/// The body of every answer that is an error (`api/types/common.ErrorResponse`).
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ErrorBody {
    /// One line.
    pub message: String,
}

/// The status and the body of a failure.
///
/// Clients match on the message of what they did wrong, so it stays alone. Of what is wrong with
/// the machine they print whatever comes, so what helps is put behind it.
#[must_use]
pub fn response(failure: &Failure) -> (u16, ErrorBody) {
    let status = failure.code.http();
    let message = match &failure.hint {
        Some(hint) if status >= 500 => format!("{}: {hint}", failure.message),
        _ => failure.message.clone(),
    };
    (status, ErrorBody { message })
}

/// A request that cannot be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// The body.
    #[error("invalid JSON: {0}")]
    Json(String),
    /// The query's `filters`.
    #[error("invalid filter: {0}")]
    Filter(String),
    /// A filter that is none, or has a value that is none: `KEY` or `KEY=VALUE`.
    #[error("invalid filter '{0}'")]
    NoFilter(String),
    /// A header.
    #[error("invalid {name} header: {why}")]
    Header {
        /// Its name.
        name: &'static str,
        /// What is wrong with it.
        why: String,
    },
    /// A point in time.
    #[error("invalid time `{0}`: give seconds since 1970, a date and time or a span")]
    Time(String),
}

impl From<Malformed> for Failure {
    fn from(malformed: Malformed) -> Self {
        Self::new(ErrorCode::InvalidArgument, malformed.to_string())
    }
}

/// A field of a request that is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Docker has it and we have not.
    #[error("{field} is not supported: {why}")]
    Unsupported {
        /// `HostConfig.DeviceRequests`
        field: &'static str,
        /// Why not.
        why: &'static str,
    },
    /// Its value is none.
    #[error("{0}")]
    Invalid(String),
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        let code = match refused {
            Refused::Unsupported { .. } => ErrorCode::Unsupported,
            Refused::Invalid(_) => ErrorCode::InvalidArgument,
        };
        Self::new(code, refused.to_string())
    }
}

impl From<Malformed> for Refused {
    fn from(malformed: Malformed) -> Self {
        Self::Invalid(malformed.to_string())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_failure_is_a_status_and_one_line() {
        let absent = Failure::new(ErrorCode::NotFound, "No such container: x").hint("look");
        assert_eq!(response(&absent), (404, ErrorBody { message: "No such container: x".into() }));
        let broken = Failure::new(ErrorCode::Unavailable, "the machine does not boot").hint("why");
        let (status, body) = response(&broken);
        assert_eq!((status, body.message.as_str()), (503, "the machine does not boot: why"));
        let refused = Refused::Unsupported { field: "HostConfig.Links", why: "names replace them" };
        assert_eq!(response(&refused.into()).0, 501);
    }
}
