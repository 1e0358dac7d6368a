//! How a command ends badly, and the one place where that is printed.

use std::io::{self, Write};

use linkspan_local_files::FilesError;
use linkspan_proto::error::{ErrorCode, Failure};

use crate::template::TemplateError;

/// What ends a command before its end.
#[derive(Debug, PartialEq)]
pub(crate) enum Error {
    /// Something failed: printed as one line of what and why, and one of what to do.
    Failure(Failure),
    /// Whoever read our output has gone: nothing is printed, as for any program in a pipe.
    OutputClosed,
    /// Everything has been said already; only the exit code is left.
    Exit(u8),
}

/// The exit code of a successful command, or why it failed.
pub(crate) type Outcome = Result<u8, Error>;

/// As a shell reports a program that SIGPIPE ended.
const OUTPUT_CLOSED_EXIT: u8 = 128 + 13;

impl Error {
    pub(crate) fn invalid(message: impl Into<String>) -> Self {
        Self::Failure(Failure::new(ErrorCode::InvalidArgument, message))
    }

    /// Writing to standard output failed.
    pub(crate) fn output(error: &io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe {
            return Self::OutputClosed;
        }
        Self::Failure(Failure::new(
            ErrorCode::Internal,
            format!("cannot write to standard output: {error}"),
        ))
    }

    /// Prints it and answers the exit code. `by_kind`: the verb runs a program of the user's
    /// (`run`, `exec`), so its own exit codes and ours must not be confused.
    pub(crate) fn report(&self, err: &mut dyn Write, by_kind: bool) -> u8 {
        match self {
            Self::OutputClosed => OUTPUT_CLOSED_EXIT,
            Self::Exit(code) => *code,
            Self::Failure(failure) => {
                print_failure(err, failure);
                if by_kind { failure.code.run_exit_code() } else { 1 }
            }
        }
    }
}

/// One line of what and why, the end of a log where that explains it, one line of what to do.
/// Standard error may be closed: there is nobody left to tell.
pub(crate) fn print_failure(err: &mut dyn Write, failure: &Failure) {
    let _ = writeln!(err, "linkspan: {}", failure.message.trim_end());
    for line in &failure.evidence {
        let _ = writeln!(err, "    {line}");
    }
    if let Some(hint) = &failure.hint {
        let _ = writeln!(err, "hint: {hint}");
    }
}

impl From<Failure> for Error {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<FilesError> for Error {
    fn from(error: FilesError) -> Self {
        Self::Failure(error.into())
    }
}

impl From<tonic::Status> for Error {
    fn from(status: tonic::Status) -> Self {
        Self::Failure(linkspan_client::failure(status))
    }
}

impl From<TemplateError> for Error {
    fn from(error: TemplateError) -> Self {
        Self::Failure(
            Failure::new(ErrorCode::InvalidArgument, format!("cannot use this --format: {error}"))
                .hint("`--format json` shows every field; templates are Go's: '{{.Field}}'"),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn reported(error: &Error, by_kind: bool) -> (String, u8) {
        let mut out = Vec::new();
        let code = error.report(&mut out, by_kind);
        (String::from_utf8(out).expect("UTF-8"), code)
    }

    #[test]
    fn a_failure_is_what_then_evidence_then_what_to_do() {
        let failure = Failure::new(ErrorCode::TimedOut, "kernel: nothing for 5 s")
            .hint("look at `linkspan machine logs`")
            .evidence(vec!["Linux version".into(), "panic".into()]);
        let (text, code) = reported(&failure.into(), false);
        assert_eq!(
            text,
            "linkspan: kernel: nothing for 5 s\n    Linux version\n    panic\n\
             hint: look at `linkspan machine logs`\n"
        );
        assert_eq!(code, 1);
    }

    #[test]
    fn only_verbs_that_run_a_program_use_its_exit_codes() {
        for (code, of_run) in [
            (ErrorCode::NotFound, 125),
            (ErrorCode::CommandNotExecutable, 126),
            (ErrorCode::CommandNotFound, 127),
            (ErrorCode::Unavailable, 125),
        ] {
            let error = Error::from(Failure::new(code, "x"));
            assert_eq!(reported(&error, true).1, of_run, "{code:?}");
            assert_eq!(reported(&error, false).1, 1, "{code:?}");
        }
    }

    #[test]
    fn a_closed_output_is_silent() {
        let error = Error::output(&io::ErrorKind::BrokenPipe.into());
        assert_eq!(reported(&error, false), (String::new(), 141));
    }
}
