//! Bulk data between a request's or answer's body and the guest: each has a byte stream of its
//! own, which the call names.

use std::{io, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::{
    StreamExt as _,
    stream::{self, BoxStream},
};
use linkspan_agent_client::AgentChannel;
use linkspan_proto::{
    error::{ErrorCode, Failure},
    preface::{Kind, Preface},
};
use linkspan_transport::BoxStream as Connection;
use tokio::io::{AsyncBufRead, AsyncReadExt as _, AsyncWriteExt as _};
use tonic::Status;
use uuid::Uuid;

use super::answer::{Broken, Refusal, broken};

const CHUNK: usize = 128 * 1024;
/// How long a call may take to say why its byte stream was cut.
const REASON: Duration = Duration::from_secs(5);

async fn open(agent: &AgentChannel, kind: Kind, id: Uuid) -> Result<Connection, Refusal> {
    let mut stream = agent.open_stream().await.map_err(Failure::from)?;
    let preface = Preface { kind, id: *id.as_bytes() };
    stream.write_all(&preface.encode()).await.map_err(lost)?;
    Ok(stream)
}

fn lost(error: io::Error) -> Refusal {
    Failure::new(
        ErrorCode::Unavailable,
        format!("the byte stream to the machine broke off: {error}"),
    )
    .into()
}

/// What the guest sends while `call` runs. Answers with the first bytes, so that a call that fails
/// at once has a status of its own; one that fails later breaks the body off.
pub(super) async fn download<F, T>(
    agent: &AgentChannel,
    call: impl FnOnce(String) -> F,
) -> Result<BoxStream<'static, Result<Bytes, Broken>>, Refusal>
where
    F: Future<Output = Result<T, Status>> + Send + 'static,
    T: Send + 'static,
{
    let id = Uuid::new_v4();
    let mut stream = open(agent, Kind::Download, id).await?;
    let mut call = Box::pin(call(id.to_string()));
    let mut first = BytesMut::with_capacity(CHUNK);
    let mut over = None;
    tokio::select! {
        read = stream.read_buf(&mut first) => { read.map_err(lost)?; }
        ended = &mut call => {
            ended?;
            over = Some(());
        }
    }
    if first.is_empty() && over.is_none() {
        // It hung up without a byte: the call has the reason.
        call.as_mut().await?;
        over = Some(());
    }
    let state = Some((stream, call, over.is_some(), first.freeze()));
    Ok(stream::unfold(state, |state| async {
        let (mut stream, mut call, mut over, first) = state?;
        if !first.is_empty() {
            return Some((Ok(first), Some((stream, call, over, Bytes::new()))));
        }
        let mut next = BytesMut::with_capacity(CHUNK);
        loop {
            tokio::select! {
                read = stream.read_buf(&mut next) => return match read {
                    Ok(0) => {
                        let ended = if over { None } else { call.await.err() };
                        ended.map(|status| (Err(broken(&status)), None))
                    }
                    Ok(_) => Some((Ok(next.freeze()), Some((stream, call, over, first)))),
                    Err(error) => Some((Err(error.into()), None)),
                },
                ended = &mut call, if !over => {
                    over = true;
                    if let Err(status) = ended {
                        return Some((Err(broken(&status)), None));
                    }
                }
            }
        }
    })
    .boxed())
}

/// Sends the guest all that `body` has while `call` runs.
pub(super) async fn upload<F, T>(
    agent: &AgentChannel,
    mut body: impl AsyncBufRead + Unpin,
    call: impl FnOnce(String) -> F,
) -> Result<T, Refusal>
where
    F: Future<Output = Result<T, Status>>,
{
    let id = Uuid::new_v4();
    let mut call = std::pin::pin!(call(id.to_string()));
    let send = async {
        let mut stream = open(agent, Kind::Upload, id).await?;
        tokio::io::copy_buf(&mut body, &mut stream).await.map_err(lost)?;
        stream.shutdown().await.map_err(lost)?;
        Ok::<_, Refusal>(stream)
    };
    tokio::select! {
        ended = &mut call => Ok(ended?),
        sent = send => match sent {
            // Kept open until the call has ended.
            Ok(_stream) => Ok(call.await?),
            // The call knows better why the guest took no more.
            Err(cut) => match tokio::time::timeout(REASON, call).await {
                Ok(Err(reason)) => Err(reason.into()),
                _ => Err(cut),
            },
        }
    }
}
