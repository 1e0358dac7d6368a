//! The one table that says what an error is on each face: a gRPC status, a Docker HTTP status,
//! a command-line exit code.
//!
//! Errors travel as an [`ErrorInfo`] in the details of a gRPC status. [`Failure`] is the same
//! thing on the Rust side of either end.

use prost::Message as _;
use tonic::{Code, Status};

pub use crate::v1::{ErrorCode, ErrorInfo};

/// How one [`ErrorCode`] appears on every face.
struct Row {
    code: ErrorCode,
    grpc: Code,
    /// Docker Engine API: the status that `dockerd` answers for this kind of error.
    http: u16,
    /// Exit codes of `docker run`: 125 the engine failed, 126 not executable, 127 not found.
    exit: u8,
}

const TABLE: &[Row] = &[
    row(ErrorCode::Unspecified, Code::Unknown, 500, 125),
    row(ErrorCode::InvalidArgument, Code::InvalidArgument, 400, 125),
    row(ErrorCode::NotFound, Code::NotFound, 404, 125),
    row(ErrorCode::NameConflict, Code::AlreadyExists, 409, 125),
    row(ErrorCode::WrongState, Code::FailedPrecondition, 409, 125),
    row(ErrorCode::InUse, Code::FailedPrecondition, 409, 125),
    row(ErrorCode::Unsupported, Code::Unimplemented, 501, 125),
    row(ErrorCode::Unavailable, Code::Unavailable, 503, 125),
    row(ErrorCode::TimedOut, Code::DeadlineExceeded, 504, 125),
    row(ErrorCode::NoSpace, Code::ResourceExhausted, 500, 125),
    row(ErrorCode::PermissionDenied, Code::PermissionDenied, 403, 125),
    row(ErrorCode::CommandNotFound, Code::InvalidArgument, 400, 127),
    row(ErrorCode::CommandNotExecutable, Code::InvalidArgument, 400, 126),
    row(ErrorCode::DataCorrupt, Code::DataLoss, 400, 125),
    row(ErrorCode::Internal, Code::Internal, 500, 125),
    row(ErrorCode::VersionMismatch, Code::FailedPrecondition, 400, 125),
    row(ErrorCode::Cancelled, Code::Cancelled, 499, 125),
];

const fn row(code: ErrorCode, grpc: Code, http: u16, exit: u8) -> Row {
    Row { code, grpc, http, exit }
}

fn lookup(code: ErrorCode) -> &'static Row {
    TABLE.iter().find(|row| row.code == code).unwrap_or(&TABLE[0])
}

impl ErrorCode {
    /// The gRPC status code that carries this error.
    #[must_use]
    pub fn grpc(self) -> Code {
        lookup(self).grpc
    }

    /// The HTTP status that the Docker Engine API answers with.
    #[must_use]
    pub fn http(self) -> u16 {
        lookup(self).http
    }

    /// The exit code of `linkspan run` and `exec` when they fail with this error. Other verbs
    /// exit with 1, as Docker's do.
    #[must_use]
    pub fn run_exit_code(self) -> u8 {
        lookup(self).exit
    }
}

/// An error as it crosses a boundary: a kind, one line of what and why, one line of what to do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// The kind.
    pub code: ErrorCode,
    /// What happened, to what, why. Lower case, no full stop.
    pub message: String,
    /// What to do next, where something helps.
    pub hint: Option<String>,
    /// The end of a log, where it explains the failure.
    pub evidence: Vec<String>,
}

impl Failure {
    /// A failure without a hint.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Self {
        Self { code, message: message.into(), hint: None, evidence: Vec::new() }
    }

    /// Adds what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }

    /// Adds the end of a log.
    #[must_use]
    pub fn evidence(mut self, lines: Vec<String>) -> Self {
        self.evidence = lines;
        self
    }
}

impl From<Failure> for ErrorInfo {
    fn from(failure: Failure) -> Self {
        Self {
            code: failure.code.into(),
            message: failure.message,
            hint: failure.hint.unwrap_or_default(),
            evidence: failure.evidence,
        }
    }
}

impl From<ErrorInfo> for Failure {
    fn from(info: ErrorInfo) -> Self {
        Self {
            code: info.code(),
            message: info.message,
            hint: Some(info.hint).filter(|hint| !hint.is_empty()),
            evidence: info.evidence,
        }
    }
}

impl From<Failure> for Status {
    fn from(failure: Failure) -> Self {
        let code = failure.code.grpc();
        let message = failure.message.clone();
        let details = ErrorInfo::from(failure).encode_to_vec();
        Self::with_details(code, message, details.into())
    }
}

impl From<Status> for Failure {
    /// Also understands a status that did not come from us (a broken connection, say).
    fn from(status: Status) -> Self {
        if let Ok(info) = ErrorInfo::decode(status.details())
            && info.code() != ErrorCode::Unspecified
        {
            return info.into();
        }
        let code = TABLE
            .iter()
            .find(|row| row.grpc == status.code())
            .map_or(ErrorCode::Internal, |row| row.code);
        Self::new(code, status.message())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_code_has_its_own_row() {
        for number in 0..=16 {
            let code = ErrorCode::try_from(number).expect("codes are numbered without a gap");
            assert_eq!(TABLE.iter().filter(|row| row.code == code).count(), 1, "{code:?}");
        }
        assert!(ErrorCode::try_from(17).is_err(), "a new code needs a row and a higher bound here");
    }

    #[test]
    fn a_failure_survives_a_status() {
        let failure = Failure::new(ErrorCode::NotFound, "no such container: `x`")
            .hint("list them with `linkspan ps -a`")
            .evidence(vec!["last line".into()]);
        assert_eq!(Failure::from(Status::from(failure.clone())), failure);
    }

    #[test]
    fn a_foreign_status_keeps_its_kind_and_text() {
        let failure = Failure::from(Status::unavailable("connection reset"));
        assert_eq!(failure.code, ErrorCode::Unavailable);
        assert_eq!(failure.message, "connection reset");
    }

    #[test]
    fn run_exits_as_docker_does() {
        assert_eq!(ErrorCode::CommandNotFound.run_exit_code(), 127);
        assert_eq!(ErrorCode::CommandNotExecutable.run_exit_code(), 126);
        assert_eq!(ErrorCode::NotFound.run_exit_code(), 125);
    }
}
