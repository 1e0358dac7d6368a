//! The streams socket: a client says in one line which machine it means (`MACHINE <name>\n`,
//! without a name the default one), and all that follows goes to that guest's byte stream port
//! and back.

use std::{io, sync::Arc};

use linkspan_engine::Engine;
use linkspan_proto::error::Failure;
use linkspan_transport::{Stream, local, splice};
use tokio::io::{AsyncBufReadExt as _, AsyncReadExt as _, BufReader};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

/// `MACHINE `, the longest name of a machine, and the line's end, with room to spare.
const MAX_LINE: u64 = 128;

/// Serves clients until `ended`, then cuts them.
pub async fn serve(
    mut listener: local::Listener,
    engine: Arc<dyn Engine>,
    ended: CancellationToken,
) {
    let connections = TaskTracker::new();
    while let Some(accepted) = ended.run_until_cancelled(listener.accept()).await {
        match accepted {
            Ok(stream) => {
                let (engine, ended) = (engine.clone(), ended.clone());
                connections.spawn(async move {
                    ended.run_until_cancelled(serve_connection(stream, engine)).await
                });
            }
            Err(error) => {
                tracing::error!(%error, "cannot accept byte streams any more");
                break;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// Why a byte stream was not, or no longer, passed on.
#[derive(Debug, thiserror::Error)]
enum StreamError {
    #[error("a byte stream must begin with a line `MACHINE <name>`")]
    Head,
    #[error(transparent)]
    Machine(#[from] Failure),
    #[error("a byte stream broke off: {0}")]
    Io(#[from] io::Error),
}

/// Serves one client. What goes wrong is logged, for there is nothing that the client could be
/// told on this connection: the call that the stream belongs to fails too, and says why.
#[tracing::instrument(level = "debug", skip_all)]
pub async fn serve_connection(stream: impl Stream, engine: Arc<dyn Engine>) {
    match pass(stream, &*engine).await {
        Ok((up, down)) => tracing::debug!(up, down, "byte stream done"),
        Err(error) => tracing::warn!(%error, "byte stream failed"),
    }
}

async fn pass(stream: impl Stream, engine: &dyn Engine) -> Result<(u64, u64), StreamError> {
    let mut client = BufReader::new(stream);
    let mut line = Vec::new();
    (&mut client).take(MAX_LINE).read_until(b'\n', &mut line).await?;
    let machine = machine(&line).ok_or(StreamError::Head)?;
    let agent = engine.agent(machine).await?;
    let mut guest = agent.open_stream().await.map_err(Failure::from)?;
    Ok(splice(&mut client, &mut guest).await?)
}

fn machine(line: &[u8]) -> Option<&str> {
    let name = line.strip_prefix(b"MACHINE")?.strip_suffix(b"\n")?;
    let name = std::str::from_utf8(name).ok()?;
    if name.is_empty() { Some("") } else { name.strip_prefix(' ') }
}

#[cfg(test)]
mod tests {
    use super::machine;

    #[test]
    fn the_first_line_names_the_machine_or_the_default_one() {
        assert_eq!(machine(b"MACHINE box-1\n"), Some("box-1"));
        assert_eq!(machine(b"MACHINE \n"), Some(""));
        assert_eq!(machine(b"MACHINE\n"), Some(""));
        for wrong in [&b"MACHINE box"[..], b"MACHINES\n", b"machine box\n", b"", b"LSPN\x01\x01"] {
            assert_eq!(machine(wrong), None, "{wrong:?}");
        }
    }
}
