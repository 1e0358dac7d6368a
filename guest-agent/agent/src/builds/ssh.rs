//! SSH agents of the caller's: a socket in the machine, and for each connection to it a byte stream of
//! its own, which the caller connects to its agent. What is said there is not looked into.

use std::path::Path;

use linkspan_proto::v1::{SshWanted, build_response::Kind};
use tokio::{
    io::copy_bidirectional,
    net::{UnixListener, UnixStream},
    runtime::Handle,
    task::JoinSet,
};
use tokio_util::task::AbortOnDropHandle;

use super::report::{Answers, message};
use crate::{accept::Retry, streams::Streams};

/// Connections to one socket at one time.
const MOST: usize = 64;

/// The way to the caller.
#[derive(Clone)]
pub(super) struct Agents {
    pub(super) streams: Streams,
    pub(super) answers: Answers,
    pub(super) runtime: Handle,
}

impl Agents {
    /// Listens until the answer is dropped; connections end with it.
    pub(super) fn listen(&self, id: &str, socket: &Path) -> Result<Box<dyn Send>, String> {
        let _runtime = self.runtime.enter();
        let listener = UnixListener::bind(socket)
            .map_err(|error| format!("cannot listen on `{}`: {error}", socket.display()))?;
        let task = self.runtime.spawn(self.clone().serve(id.to_owned(), listener));
        Ok(Box::new(AbortOnDropHandle::new(task)))
    }

    async fn serve(self, id: String, listener: UnixListener) {
        let mut connections = JoinSet::new();
        let mut retry = Retry::new("an SSH agent in a build");
        loop {
            let near = tokio::select! {
                accepted = listener.accept() => match retry.after(accepted).await {
                    Some((near, _)) => near,
                    None => continue,
                },
                Some(_) = connections.join_next() => continue,
            };
            // One too many is hung up on.
            if connections.len() < MOST {
                connections.spawn(self.clone().carry(id.clone(), near));
            }
        }
    }

    async fn carry(self, id: String, mut near: UnixStream) {
        let stream_id = uuid::Uuid::new_v4().to_string();
        let wanted = SshWanted { id, stream_id: stream_id.clone() };
        if self.answers.send(message(Kind::SshWanted(wanted))).await.is_err() {
            return;
        }
        let carried = match self.streams.take_duplex(&stream_id).await {
            Ok(mut far) => copy_bidirectional(&mut near, &mut far).await.map(drop),
            Err(failure) => Err(std::io::Error::other(failure.message)),
        };
        if let Err(error) = carried {
            tracing::debug!(%error, "a connection to an SSH agent broke off");
        }
    }
}
