//! Connects the user's terminal or pipes with a process in the VM, until one of them ends.
//!
//! Three tasks: input, signals, and the output loop here. Output that nobody takes must not keep
//! input and signals from going through.

use std::time::{Duration, Instant};

use linkspan_client::ContainerCalls;
use linkspan_proto::error::{ErrorCode, Failure};
use linkspan_proto::v1::{
    CloseStdin, KillContainerRequest, ProcessExited, StdioInput, StdioOutput, TerminalSize,
    stdio_input, stdio_output,
};
use tokio::sync::mpsc;
use tonic::Streaming;

use super::detach::DetachKeys;
use super::raw::RawMode;
use super::stdout::{Output, Target};
use super::{events, stdin};
use crate::error::Error;

/// How a session is to be connected.
pub(crate) struct Plan {
    /// Read standard input.
    pub(crate) stdin: bool,
    /// The process has a terminal: raw mode, resizes, detach keys.
    pub(crate) tty: bool,
    pub(crate) detach: DetachKeys,
    pub(crate) signals: Signals,
}

/// What becomes of the signals that we get.
pub(crate) enum Signals {
    /// They end us, and the process goes on.
    Own,
    /// To the process, in its own stream.
    ToProcess,
    /// To the container, in calls of their own: input that the container does not read cannot
    /// hold them up.
    ToContainer { calls: Box<ContainerCalls>, id: String },
}

/// How a session ended.
#[derive(Debug, PartialEq)]
pub(crate) enum Ended {
    Exited(ProcessExited),
    /// With the detach keys. The process goes on.
    Detached,
}

/// What the tasks tell the output loop.
enum Control {
    Detach,
    /// A signal that is for us.
    Signal(u32),
    GiveUp,
}

/// Three of these within this time end us, whatever the container does with them.
const IMPATIENT: usize = 3;
const IMPATIENT_WITHIN: Duration = Duration::from_secs(3);

/// Runs a session. `inputs` feeds the call whose answers are `outputs`; `wrap` makes a message of
/// that call of an input.
///
/// # Errors
/// What the other side refuses; a lost connection; a closed standard output.
pub(crate) async fn bridge<T: Send + 'static>(
    plan: Plan,
    inputs: mpsc::Sender<T>,
    wrap: fn(StdioInput) -> T,
    mut outputs: Streaming<StdioOutput>,
) -> Result<Ended, Error> {
    let output = Output::standard()?;
    let raw = if plan.tty && plan.stdin {
        RawMode::enter()
            .map_err(|error| Error::invalid(format!("cannot use the terminal: {error}")))?
    } else {
        None
    };
    let (control, mut controls) = mpsc::channel(4);
    if plan.tty {
        tokio::spawn(send_resizes(inputs.clone(), wrap));
    }
    if raw.is_some() || !matches!(plan.signals, Signals::Own) {
        // Heard from here on, before the first output is shown.
        let heard = events::signals();
        tokio::spawn(send_signals(heard, plan.signals, inputs.clone(), wrap, control.clone()));
    }
    if plan.stdin {
        let detach = raw.is_some().then_some(plan.detach);
        tokio::spawn(send_stdin(inputs.clone(), wrap, detach, control.clone()));
    }
    // `inputs` and `control` stay open until the end: closing them would say that we leave.
    let ended = output_loop(&mut outputs, &output, &mut controls).await;
    drop((inputs, control));
    let written = match &ended {
        // Whoever is to read the rest may be the reason why somebody gave up.
        Err(Error::Exit(_)) => Ok(()),
        _ => output.finish().await,
    };
    drop(raw);
    let ended = match ended {
        // Only the writer knows why: nobody reads any more, or there is no room.
        Err(Error::OutputClosed) => return Err(written.err().unwrap_or(Error::OutputClosed)),
        ended => ended?,
    };
    written?;
    if ended == Ended::Detached {
        say!("read escape sequence");
    }
    Ok(ended)
}

async fn output_loop(
    outputs: &mut Streaming<StdioOutput>,
    output: &Output,
    controls: &mut mpsc::Receiver<Control>,
) -> Result<Ended, Error> {
    loop {
        let message = tokio::select! {
            biased;
            Some(control) = controls.recv() => return obey(&control),
            () = output.failed() => return Err(Error::OutputClosed),
            message = outputs.message() => message?,
        };
        let (target, chunk) = match message.map(|message| message.kind) {
            Some(Some(stdio_output::Kind::Stdout(chunk))) => (Target::Stdout, chunk),
            Some(Some(stdio_output::Kind::Stderr(chunk))) => (Target::Stderr, chunk),
            Some(Some(stdio_output::Kind::Exited(exited))) => return Ok(Ended::Exited(exited)),
            Some(Some(stdio_output::Kind::Started(_)) | None) => continue,
            None => {
                return Err(Failure::new(
                    ErrorCode::Unavailable,
                    "the connection to the process was lost before it ended",
                )
                .hint("see what the machine does: `linkspan machine status`")
                .into());
            }
        };
        tokio::select! {
            biased;
            Some(control) = controls.recv() => return obey(&control),
            written = output.write(target, chunk) => if !written {
                return Err(Error::OutputClosed);
            },
        }
    }
}

fn obey(control: &Control) -> Result<Ended, Error> {
    match control {
        Control::Detach => Ok(Ended::Detached),
        Control::Signal(signal) => Err(Error::Exit(exit_code_of(*signal))),
        Control::GiveUp => {
            say!("linkspan: got {IMPATIENT} signals to end: leaving; the container goes on");
            Err(Error::Exit(1))
        }
    }
}

/// As a shell reports it.
fn exit_code_of(signal: u32) -> u8 {
    u8::try_from(128 + signal).unwrap_or(255)
}

async fn send_resizes<T: Send>(inputs: mpsc::Sender<T>, wrap: fn(StdioInput) -> T) {
    let mut resizes = events::resizes();
    while let Some(size) = resizes.recv().await {
        if inputs.send(wrap(resize(size))).await.is_err() {
            break;
        }
    }
}

async fn send_stdin<T: Send>(
    inputs: mpsc::Sender<T>,
    wrap: fn(StdioInput) -> T,
    mut detach: Option<DetachKeys>,
    control: mpsc::Sender<Control>,
) {
    let mut chunks = stdin::read();
    while let Some(chunk) = chunks.recv().await {
        let (bytes, detached) = match &mut detach {
            Some(keys) => {
                let filtered = keys.filter(&chunk);
                (filtered.pass, filtered.detached)
            }
            None => (chunk, false),
        };
        if !bytes.is_empty() && inputs.send(wrap(typed(bytes))).await.is_err() {
            return;
        }
        if detached {
            let _ = control.send(Control::Detach).await;
            return;
        }
    }
    let held = detach.as_mut().map(DetachKeys::finish).unwrap_or_default();
    if !held.is_empty() && inputs.send(wrap(typed(held))).await.is_err() {
        return;
    }
    let close = StdioInput { kind: Some(stdio_input::Kind::CloseStdin(CloseStdin {})) };
    // When the other side has ended there is nobody to be told.
    let _ = inputs.send(wrap(close)).await;
}

async fn send_signals<T: Send>(
    mut signals: mpsc::Receiver<u32>,
    route: Signals,
    inputs: mpsc::Sender<T>,
    wrap: fn(StdioInput) -> T,
    control: mpsc::Sender<Control>,
) {
    let mut urgent: Vec<Instant> = Vec::new();
    while let Some(signal) = signals.recv().await {
        let goes_on = match &route {
            Signals::Own => {
                let ends = events::ends_the_process(signal);
                !ends || control.send(Control::Signal(signal)).await.is_ok()
            }
            Signals::ToProcess => {
                let input = StdioInput { kind: Some(stdio_input::Kind::Signal(signal)) };
                // Not waiting for room: input that is not read must not stop the next signal.
                !matches!(inputs.try_send(wrap(input)), Err(mpsc::error::TrySendError::Closed(_)))
            }
            Signals::ToContainer { calls, id } => {
                let mut calls = calls.clone();
                let request =
                    KillContainerRequest { container: id.clone(), signal: signal.to_string() };
                tokio::spawn(async move {
                    if let Err(status) = calls.kill(request).await {
                        tracing::debug!(%status, signal, "the signal was not passed on");
                    }
                });
                true
            }
        };
        if !goes_on {
            return;
        }
        if signal == events::linux::SIGINT || signal == events::linux::SIGTERM {
            urgent.push(Instant::now());
            urgent.retain(|at| at.elapsed() < IMPATIENT_WITHIN);
            if urgent.len() >= IMPATIENT {
                let _ = control.send(Control::GiveUp).await;
                return;
            }
        }
    }
}

fn typed(bytes: Vec<u8>) -> StdioInput {
    StdioInput { kind: Some(stdio_input::Kind::Stdin(bytes.into())) }
}

fn resize(size: TerminalSize) -> StdioInput {
    StdioInput { kind: Some(stdio_input::Kind::Resize(size)) }
}

/// What an ended process makes of our own exit code, and what is said about it.
///
/// # Errors
/// When the process never ran.
pub(crate) fn exit_code(exited: &ProcessExited) -> Result<u8, Error> {
    if exited.oom_killed {
        say!("linkspan: the container ran into its memory limit and a process was killed");
    }
    let code = u8::try_from(exited.exit_code & 0xff).unwrap_or(255);
    if !exited.error.is_empty() {
        say!("linkspan: {}", exited.error);
        return Err(Error::Exit(if code == 0 { 125 } else { code }));
    }
    Ok(code)
}

/// Docker's check: a terminal for the process needs one here, when input comes from here.
///
/// # Errors
/// When it does not.
pub(crate) fn check_tty(stdin: bool, tty: bool) -> Result<(), Error> {
    use std::io::IsTerminal as _;
    if !(stdin && tty) || std::io::stdin().is_terminal() {
        return Ok(());
    }
    Err(Failure::new(ErrorCode::InvalidArgument, "the input device is not a TTY")
        .hint("leave out -t when input comes from a pipe or a file")
        .into())
}
