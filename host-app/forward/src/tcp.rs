//! TCP: one stream into the guest for each connection.

use std::{io, sync::Arc, time::Duration};

use linkspan_transport::splice;
use tokio::net::{TcpListener, TcpStream};
use tokio_util::{sync::CancellationToken, task::TaskTracker};

use crate::{Connect, Target};

/// After a failure to accept that will last a moment: no file descriptor is left, say.
const PAUSE: Duration = Duration::from_millis(100);

/// Accepts until `end`; then ends the connections too.
pub(crate) async fn serve(
    listener: TcpListener,
    target: Target,
    connect: Arc<dyn Connect>,
    end: CancellationToken,
) {
    let connections = TaskTracker::new();
    let target = Arc::new(target);
    loop {
        let accepted = tokio::select! {
            () = end.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        match accepted {
            Ok((client, _)) => {
                let (target, connect) = (target.clone(), connect.clone());
                let end = end.clone();
                connections.spawn(async move {
                    tokio::select! {
                        () = end.cancelled() => {}
                        result = bridge(client, &target, connect.as_ref()) => {
                            if let Err(error) = result {
                                tracing::debug!(port = target.port, %error, "a connection broke off");
                            }
                        }
                    }
                });
            }
            // The client was gone before it was accepted.
            Err(error) if error.kind() == io::ErrorKind::ConnectionAborted => {}
            Err(error) => {
                tracing::warn!(port = target.port, %error, "cannot accept a connection");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

/// The ends of both directions are passed on as they come. A connection that breaks is reset, so
/// that nobody takes half of the data for all of it.
async fn bridge(mut client: TcpStream, target: &Target, connect: &dyn Connect) -> io::Result<()> {
    client.set_nodelay(true)?;
    let result = async {
        let mut guest = connect.connect(target).await?;
        splice(&mut client, &mut guest).await
    }
    .await;
    if result.is_err() {
        // A linger time of zero makes the close a reset (tcp(7), SO_LINGER).
        let _ = socket2::SockRef::from(&client).set_linger(Some(Duration::ZERO));
    }
    result.map(drop)
}
