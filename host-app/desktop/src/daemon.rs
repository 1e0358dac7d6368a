//! The connection to the daemon, made once and shared, and the daemon's life.

use linkspan_client::{Client, ConnectOptions, Failure};
use linkspan_proto::error::ErrorCode;
use parking_lot::Mutex;
use serde::Serialize;
use tokio::sync::Notify;

/// Made by the first call that needs it. The client itself connects anew when it was lost.
#[derive(Debug, Default)]
pub(crate) struct Daemon {
    client: Mutex<Option<Client>>,
    /// Somebody has reached it.
    reached: Notify,
}

/// What the daemon is, seen from outside of it.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Presence {
    Live {
        version: String,
    },
    /// None runs, or it does not answer.
    Absent {
        message: String,
        hint: String,
    },
    /// It runs and is of another version.
    Other {
        message: String,
        hint: String,
    },
}

impl Daemon {
    pub(crate) async fn client(&self, start_daemon: bool) -> Result<Client, Failure> {
        let known = self.client.lock().clone();
        match known {
            Some(client) if !start_daemon => Ok(client),
            _ => self.hello(start_daemon).await,
        }
    }

    /// Whether it is there now: another one may have come in its place.
    pub(crate) async fn connect(&self, start: bool) -> Presence {
        presence(self.hello(start).await)
    }

    /// Ends the daemon, of whatever version, and starts this program's own. Machines go on.
    pub(crate) async fn restart(&self) -> Presence {
        let ended = Client::shutdown_daemon(&ConnectOptions::default(), false).await;
        presence(match ended {
            Ok(_) => self.hello(true).await,
            Err(failure) => Err(failure),
        })
    }

    /// Until somebody has reached the daemon.
    pub(crate) async fn reached(&self) {
        self.reached.notified().await;
    }

    async fn hello(&self, start_daemon: bool) -> Result<Client, Failure> {
        let options = ConnectOptions { start_daemon, ..ConnectOptions::default() };
        let client = Client::connect(options).await?;
        *self.client.lock() = Some(client.clone());
        self.reached.notify_waiters();
        Ok(client)
    }
}

fn presence(hello: Result<Client, Failure>) -> Presence {
    match hello {
        Ok(client) => Presence::Live { version: client.daemon().version.clone() },
        Err(Failure { code, message, hint, .. }) => {
            let hint = hint.unwrap_or_default();
            match code {
                ErrorCode::VersionMismatch => Presence::Other { message, hint },
                _ => Presence::Absent { message, hint },
            }
        }
    }
}
