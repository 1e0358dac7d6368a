//! UDP: one stream into the guest for each peer that sends, ended when it has been silent.

use std::{collections::HashMap, io, net::SocketAddr, sync::Arc, time::Duration};

use bytes::{Bytes, BytesMut};
use futures::{SinkExt as _, StreamExt as _};
use tokio::{
    net::UdpSocket,
    sync::{Notify, mpsc},
    time::timeout,
};
use tokio_util::{
    codec::{Framed, LengthDelimitedCodec},
    sync::CancellationToken,
    task::TaskTracker,
};

use crate::{Connect, Target};

/// What Docker's proxy allows (`UDPConnTrackTimeout`).
const SILENCE: Duration = Duration::from_secs(90);
/// Peers at one time, as much as a small machine can bear; the datagrams of others are dropped.
const MOST_PEERS: usize = 4096;
/// Datagrams of one peer that wait; more are dropped, as any network does.
const QUEUE: usize = 128;
/// After a failure to receive, lest one that lasts takes a whole processor.
const PAUSE: Duration = Duration::from_millis(5);
/// The most that a UDP datagram can carry.
const MOST_BYTES: usize = 65535;

/// Datagrams in a byte stream, each after its length: see [`Target::protocol`].
#[must_use]
pub(crate) fn codec() -> LengthDelimitedCodec {
    LengthDelimitedCodec::builder().length_field_type::<u16>().new_codec()
}

/// Receives until `end`; then ends the peers' streams too.
pub(crate) async fn serve(
    socket: UdpSocket,
    target: Target,
    connect: Arc<dyn Connect>,
    end: CancellationToken,
) {
    let (socket, target) = (Arc::new(socket), Arc::new(target));
    let tasks = TaskTracker::new();
    let mut peers: HashMap<SocketAddr, mpsc::Sender<Bytes>> = HashMap::new();
    let mut buffer = BytesMut::with_capacity(MOST_BYTES);
    loop {
        buffer.clear();
        buffer.reserve(MOST_BYTES);
        let received = tokio::select! {
            () = end.cancelled() => break,
            received = socket.recv_buf_from(&mut buffer) => received,
        };
        let peer = match received {
            Ok((_, peer)) => peer,
            Err(error) => {
                // An ICMP error about an earlier answer: its peer's own business.
                tracing::trace!(port = target.port, %error, "cannot receive a datagram");
                tokio::time::sleep(PAUSE).await;
                continue;
            }
        };
        let datagram = buffer.split().freeze();
        let datagram = match peers.get(&peer).map(|queue| queue.try_send(datagram.clone())) {
            Some(Ok(()) | Err(mpsc::error::TrySendError::Full(_))) => continue,
            Some(Err(mpsc::error::TrySendError::Closed(datagram))) => datagram,
            None => datagram,
        };
        if peers.len() >= MOST_PEERS {
            peers.retain(|_, queue| !queue.is_closed());
        }
        if peers.len() >= MOST_PEERS {
            continue;
        }
        let (queue, datagrams) = mpsc::channel(QUEUE);
        // It is new and empty: there is room.
        let _ = queue.try_send(datagram);
        peers.insert(peer, queue);
        let (socket, target, connect) = (socket.clone(), target.clone(), connect.clone());
        let end = end.clone();
        tasks.spawn(async move {
            tokio::select! {
                () = end.cancelled() => {}
                result = converse(&socket, peer, datagrams, &target, connect.as_ref()) => {
                    if let Err(error) = result {
                        tracing::debug!(port = target.port, %error, "a peer's stream broke off");
                    }
                }
            }
        });
    }
    tasks.close();
    tasks.wait().await;
}

/// One peer's datagrams, both ways, until both have been silent.
async fn converse(
    socket: &UdpSocket,
    peer: SocketAddr,
    mut datagrams: mpsc::Receiver<Bytes>,
    target: &Target,
    connect: &dyn Connect,
) -> io::Result<()> {
    let stream = connect.connect(target).await?;
    let (mut to_guest, mut from_guest) = Framed::new(stream, codec()).split();
    let heard = Notify::new();
    // Side by side: a guest that answers before it takes more is no reason to wait for each other.
    let there = async {
        while let Some(datagram) = datagrams.recv().await {
            to_guest.send(datagram).await?;
            heard.notify_one();
        }
        Ok(())
    };
    let back = async {
        while let Some(answer) = from_guest.next().await {
            // One that cannot be delivered is lost, as on any network.
            let _ = socket.send_to(&answer?, peer).await;
            heard.notify_one();
        }
        Ok(())
    };
    let silence = async { while timeout(SILENCE, heard.notified()).await.is_ok() {} };
    tokio::select! {
        result = there => result,
        result = back => result,
        () = silence => Ok(()),
    }
}
