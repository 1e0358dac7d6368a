//! Docker's API for containers: a program in a machine that connects to its socket becomes one more
//! client of the face that serves the host's.

use async_trait::async_trait;
use futures::{StreamExt as _, stream};
use linkspan_agent_client::AgentChannel;
use linkspan_proto::{
    preface::{Kind, Preface},
    v1::ServeDockerApiRequest,
};
use linkspan_transport::BoxStream;
use parking_lot::Mutex;
use tokio::{io::AsyncWriteExt as _, sync::mpsc, task::JoinSet};
use tokio_stream::wrappers::ReceiverStream;
use tonic::Status;

use crate::companion::Companion;

/// Clients that came and that the face has not yet taken.
const WAITING: usize = 16;

/// A program in a container that connected to Docker's API.
pub struct DockerClient {
    /// What it may speak of, as a caller of the engine names it: the machine that it is in.
    pub machine: String,
    /// What it says and hears.
    pub stream: BoxStream,
}

/// Brings the clients of all machines to the face.
pub(crate) struct DockerApi {
    clients: mpsc::Sender<DockerClient>,
    waiting: Mutex<Option<mpsc::Receiver<DockerClient>>>,
}

impl Default for DockerApi {
    fn default() -> Self {
        let (clients, waiting) = mpsc::channel(WAITING);
        Self { clients, waiting: Mutex::new(Some(waiting)) }
    }
}

impl DockerApi {
    /// See [`crate::Engine::docker_clients`].
    pub(crate) fn clients(&self) -> stream::BoxStream<'static, DockerClient> {
        match self.waiting.lock().take() {
            Some(waiting) => ReceiverStream::new(waiting).boxed(),
            None => stream::pending().boxed(),
        }
    }

    /// One more of them.
    #[cfg(any(test, feature = "fake"))]
    pub(crate) async fn welcome(&self, client: DockerClient) {
        // No face, no clients.
        let _ = self.clients.send(client).await;
    }

    /// Fetches those of a machine.
    pub(crate) fn beside(&self, machine: String) -> Usher {
        Usher { machine, clients: self.clients.clone() }
    }
}

/// Comes for each program of one machine that its agent tells of.
pub(crate) struct Usher {
    machine: String,
    clients: mpsc::Sender<DockerClient>,
}

#[async_trait]
impl Companion for Usher {
    fn name(&self) -> &'static str {
        "docker API"
    }

    async fn accompany(&mut self, agent: &AgentChannel) -> Result<(), Status> {
        let mut calls = agent.docker_api();
        let mut connections = calls.serve(ServeDockerApiRequest {}).await?.into_inner();
        let mut fetching = JoinSet::new();
        while let Some(connection) = connections.message().await? {
            while fetching.try_join_next().is_some() {}
            let (agent, machine) = (agent.clone(), self.machine.clone());
            let clients = self.clients.clone();
            fetching.spawn(async move {
                match fetch(&agent, &connection.stream_id).await {
                    // A face that has ended serves nobody any more.
                    Ok(stream) => drop(clients.send(DockerClient { machine, stream }).await),
                    Err(error) => tracing::debug!(
                        machine,
                        error,
                        "a container's connection to Docker's API was lost"
                    ),
                }
            });
        }
        Ok(())
    }

    async fn part(&mut self) {}
}

async fn fetch(agent: &AgentChannel, id: &str) -> Result<BoxStream, String> {
    let id = uuid::Uuid::parse_str(id).map_err(|error| error.to_string())?.into_bytes();
    let mut stream = agent.open_stream().await.map_err(|error| error.to_string())?;
    let preface = Preface { kind: Kind::Duplex, id };
    stream.write_all(&preface.encode()).await.map_err(|error| error.to_string())?;
    Ok(stream)
}
