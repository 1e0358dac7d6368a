//! Standard streams over gRPC: what attach, exec and the machine's shell have in common.

use futures::{Stream, stream};
use linkspan_containers::{
    io::Channel,
    session::{Event, Session},
    signal::Signal,
};
use linkspan_proto::v1::{
    ProcessExited, ProcessStarted, StdioInput, StdioOutput, TerminalSize, stdio_input, stdio_output,
};
use tonic::{Status, Streaming};

/// A stream of answers.
pub(super) type Output = std::pin::Pin<Box<dyn Stream<Item = Result<StdioOutput, Status>> + Send>>;

/// An event as it travels.
pub(super) fn encode(event: Event) -> StdioOutput {
    let kind = match event {
        Event::Started { pid } => stdio_output::Kind::Started(ProcessStarted { pid }),
        Event::Output(Channel::Stdout, bytes) => stdio_output::Kind::Stdout(bytes),
        Event::Output(Channel::Stderr, bytes) => stdio_output::Kind::Stderr(bytes),
        Event::Exited { code, oom_killed, error } => {
            stdio_output::Kind::Exited(ProcessExited { exit_code: code, oom_killed, error })
        }
    };
    StdioOutput { kind: Some(kind) }
}

/// Rows and columns; None where a client said nothing or nonsense.
pub(super) fn size(size: Option<TerminalSize>) -> Option<(u16, u16)> {
    let size = size?;
    let rows = u16::try_from(size.rows).ok()?;
    let columns = u16::try_from(size.columns).ok()?;
    (rows > 0 && columns > 0).then_some((rows, columns))
}

/// A session's output as a stream, its input fed from the client's.
pub(super) fn serve<R: Send + 'static>(
    session: Session,
    mut requests: Streaming<R>,
    input: impl Fn(R) -> Option<StdioInput> + Send + 'static,
) -> Output {
    let Session { events, mut control } = session;
    let feeder = tokio::spawn(async move {
        // The end of the client's stream, and its loss, are the end of the input.
        while let Ok(Some(request)) = requests.message().await {
            let Some(kind) = input(request).and_then(|input| input.kind) else { continue };
            let result = match kind {
                stdio_input::Kind::Stdin(bytes) => {
                    control.write(bytes).await;
                    Ok(())
                }
                stdio_input::Kind::CloseStdin(_) => {
                    control.close_stdin();
                    Ok(())
                }
                stdio_input::Kind::Resize(wanted) => match size(Some(wanted)) {
                    Some((rows, columns)) => control.resize(rows, columns),
                    None => Ok(()),
                },
                stdio_input::Kind::Signal(number) => match Signal::from_number(number) {
                    Some(signal) => control.signal(signal),
                    None => Ok(()),
                },
            };
            if let Err(error) = result {
                tracing::debug!(%error, "a request of a client had no effect");
            }
        }
        control.close_stdin();
        // The input half is kept until the session is over: a terminal hangs up with it.
        std::future::pending::<()>().await;
    });
    let feeder = Abort(feeder);
    Box::pin(stream::unfold((events, feeder), |(mut events, feeder)| async {
        let event = events.recv().await?;
        Some((Ok(encode(event)), (events, feeder)))
    }))
}

/// Ends a task when the stream that it serves is dropped.
pub(super) struct Abort(pub(super) tokio::task::JoinHandle<()>);

impl Drop for Abort {
    fn drop(&mut self) {
        self.0.abort();
    }
}
