//! What the errors of the crates below are to a user.

use linkspan_machine::{FailureKind, MachineError};
use linkspan_proto::error::{ErrorCode, Failure};
use linkspan_state::{NameError, StateError, image::ImageError};

/// A blocking task or a spawned one panicked.
pub(crate) fn lost_task(error: tokio::task::JoinError) -> Failure {
    Failure::new(ErrorCode::Internal, format!("a task of the daemon was lost: {error}"))
        .hint("this is a bug: please report it with the daemon's log")
}

pub(crate) fn name(error: NameError) -> Failure {
    Failure::new(ErrorCode::InvalidArgument, error.to_string())
}

pub(crate) fn state(error: StateError) -> Failure {
    Failure { hint: error.hint(), ..Failure::new(state_code(&error), error.to_string()) }
}

fn state_code(error: &StateError) -> ErrorCode {
    match error {
        _ if error.is_no_space() => ErrorCode::NoSpace,
        StateError::Locked { .. } => ErrorCode::InUse,
        StateError::Exists { .. } => ErrorCode::NameConflict,
        StateError::NewerFormat { .. } => ErrorCode::VersionMismatch,
        StateError::Malformed { .. } => ErrorCode::DataCorrupt,
        StateError::UnsafeFolder { .. } => ErrorCode::PermissionDenied,
        StateError::NoHome { .. } | StateError::SocketPathTooLong { .. } => {
            ErrorCode::InvalidArgument
        }
        StateError::Io { .. } => ErrorCode::Internal,
    }
}

pub(crate) fn image(error: ImageError) -> Failure {
    let code = match &error {
        ImageError::NotFound { .. } | ImageError::NoKernel { .. } | ImageError::Missing { .. } => {
            ErrorCode::NotFound
        }
        ImageError::Damaged { .. } => ErrorCode::DataCorrupt,
        ImageError::Manifest(_) => ErrorCode::Internal,
    };
    Failure::new(code, error.to_string()).hint(error.hint())
}

pub(crate) fn machine(error: MachineError) -> Failure {
    let code = match &error {
        MachineError::State(error) => state_code(error),
        MachineError::Settings(_) => ErrorCode::InvalidArgument,
        MachineError::Exists(_) => ErrorCode::NameConflict,
        MachineError::NotFound(_) => ErrorCode::NotFound,
        MachineError::Refused { .. } => ErrorCode::WrongState,
        MachineError::Failed(failure) => kind(failure.kind),
        MachineError::Interrupted(_) => ErrorCode::Cancelled,
        MachineError::Kill { .. } => ErrorCode::Internal,
        MachineError::Ending(_) => ErrorCode::Unavailable,
    };
    let hint = error.hint();
    let evidence = error.evidence().to_vec();
    Failure { hint, evidence, ..Failure::new(code, error.to_string()) }
}

/// What a machine in the state `failed` says of itself.
pub(crate) fn of_machine(failure: &linkspan_machine::Failure) -> Failure {
    Failure {
        hint: Some(failure.remedy.clone()).filter(|remedy| !remedy.is_empty()),
        evidence: failure.serial.clone(),
        ..Failure::new(kind(failure.kind), failure.to_string())
    }
}

fn kind(kind: FailureKind) -> ErrorCode {
    match kind {
        FailureKind::Image | FailureKind::Missing => ErrorCode::NotFound,
        FailureKind::Settings => ErrorCode::InvalidArgument,
        FailureKind::InUse => ErrorCode::InUse,
        FailureKind::NoSpace => ErrorCode::NoSpace,
        FailureKind::Unsupported => ErrorCode::Unsupported,
        FailureKind::TimedOut => ErrorCode::TimedOut,
        FailureKind::Ended => ErrorCode::Unavailable,
        FailureKind::Incompatible => ErrorCode::VersionMismatch,
        FailureKind::Guest | FailureKind::Internal => ErrorCode::Internal,
    }
}
