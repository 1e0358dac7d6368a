//! `docker ARGS...`: the user's docker CLI in our place.

use std::ffi::{OsStr, OsString};
use std::io::ErrorKind;
use std::process::Command;

use linkspan_proto::error::{ErrorCode, Failure};

use super::{buildkit, host};
use crate::context::Context;
use crate::error::{Error, Outcome};

/// What would make docker go elsewhere, beside its own flags.
const ELSEWHERE: [&str; 4] =
    ["DOCKER_CONTEXT", "DOCKER_TLS", "DOCKER_TLS_VERIFY", "DOCKER_CERT_PATH"];

pub(super) async fn run(context: &Context, args: &[OsString]) -> Outcome {
    let mut docker = Command::new("docker");
    docker.args(args).env("DOCKER_HOST", host(context).await?);
    docker.envs(buildkit().map(|value| ("DOCKER_BUILDKIT", value)));
    for name in ELSEWHERE {
        docker.env_remove(name);
    }
    become_it(docker)
}

fn not_started(error: &std::io::Error, program: &OsStr) -> Error {
    let program = program.to_string_lossy();
    let failure = match error.kind() {
        ErrorKind::NotFound => Failure::new(
            ErrorCode::CommandNotFound,
            format!("there is no `{program}` on the PATH"),
        )
        .hint("install Docker's command line, or use `linkspan` itself: its verbs are the same"),
        _ => Failure::new(
            ErrorCode::CommandNotExecutable,
            format!("cannot run `{program}`: {error}"),
        ),
    };
    failure.into()
}

/// The process is docker from here on: its signals, its terminal and its exit code are its own.
#[cfg(unix)]
fn become_it(mut docker: Command) -> Outcome {
    use std::os::unix::process::CommandExt as _;
    let error = docker.exec();
    Err(not_started(&error, docker.get_program()))
}

#[cfg(not(unix))]
fn become_it(mut docker: Command) -> Outcome {
    match docker.status() {
        Ok(status) => Ok(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)),
        Err(error) => Err(not_started(&error, docker.get_program())),
    }
}
