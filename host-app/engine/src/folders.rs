//! Changes in shared folders: orders of the agent go to the device of the share that they name, its
//! reports go back. What they say is between those two.

use std::{collections::HashMap, io, path::Path};

use async_trait::async_trait;
use bytes::Bytes;
use futures::{SinkExt as _, StreamExt as _};
use linkspan_agent_client::AgentChannel;
use linkspan_machine::{Machine, state::Snapshot};
use linkspan_proto::v1::{FolderOrder, FolderReport};
use linkspan_state::MachineName;
use linkspan_transport::local;
use prost::Message as _;
use tokio::{
    io::WriteHalf,
    sync::{mpsc, watch},
    task::AbortHandle,
};
use tokio_stream::wrappers::ReceiverStream;
use tokio_util::codec::{FramedRead, FramedWrite, LengthDelimitedCodec};
use tonic::Status;

use crate::companion::Companion;

/// Passes on between one machine's agent and its shares' devices.
pub(crate) struct FolderWatch {
    /// Not the machine itself: it ends with its last owner, and this is none.
    states: watch::Receiver<Snapshot>,
    name: MachineName,
}

impl FolderWatch {
    pub(crate) fn of(machine: &Machine) -> Self {
        Self { states: machine.subscribe(), name: machine.name().clone() }
    }
}

/// The connection to a share's device. Closed when it is dropped: the device watches nothing then.
struct Device {
    orders: FramedWrite<WriteHalf<local::Stream>, LengthDelimitedCodec>,
    reports: AbortHandle,
}

impl Drop for Device {
    fn drop(&mut self) {
        self.reports.abort();
    }
}

#[async_trait]
impl Companion for FolderWatch {
    fn name(&self) -> &'static str {
        "folders"
    }

    async fn accompany(&mut self, agent: &AgentChannel) -> Result<(), Status> {
        let (reports, receiver) = mpsc::channel(16);
        let mut orders = agent.folders().serve(ReceiverStream::new(receiver)).await?.into_inner();
        let mut devices = HashMap::new();
        while let Some(order) = orders.message().await? {
            let tag = order.tag.clone();
            if let Err(error) = self.pass_on(order, &mut devices, &reports).await {
                devices.remove(&tag);
                tracing::warn!(
                    machine = %self.name, tag, %error,
                    "containers do not hear of the host's changes in a shared folder"
                );
            }
        }
        Ok(())
    }

    async fn part(&mut self) {}
}

impl FolderWatch {
    async fn pass_on(
        &self,
        order: FolderOrder,
        devices: &mut HashMap<String, Device>,
        reports: &mpsc::Sender<FolderReport>,
    ) -> io::Result<()> {
        let bytes = Bytes::from(order.encode_to_vec());
        let device = match devices.entry(order.tag) {
            std::collections::hash_map::Entry::Occupied(there) => there.into_mut(),
            std::collections::hash_map::Entry::Vacant(room) => {
                let running = self.states.borrow().state.running().cloned();
                let known = running.map(|running| running.folder_changes).unwrap_or_default();
                let Some(share) = known.iter().find(|share| share.tag == *room.key()) else {
                    return Err(io::Error::new(
                        io::ErrorKind::Unsupported,
                        "this machine's driver cannot tell of them",
                    ));
                };
                let device = connect(&share.socket, room.key(), reports.clone()).await?;
                room.insert(device)
            }
        };
        device.orders.send(bytes).await
    }
}

async fn connect(
    socket: &Path,
    tag: &str,
    reports: mpsc::Sender<FolderReport>,
) -> io::Result<Device> {
    let (read, write) = tokio::io::split(local::connect(socket).await?);
    let mut received = FramedRead::new(read, LengthDelimitedCodec::new());
    let tag = tag.to_owned();
    let task = tokio::spawn(async move {
        while let Some(Ok(bytes)) = received.next().await {
            // Nonsense is as bad as silence.
            let Ok(report) = FolderReport::decode(bytes) else { return };
            if reports.send(FolderReport { tag: tag.clone(), ..report }).await.is_err() {
                return;
            }
        }
    });
    let orders = FramedWrite::new(write, LengthDelimitedCodec::new());
    Ok(Device { orders, reports: task.abort_handle() })
}
