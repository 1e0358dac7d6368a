//! The connection to the daemon, made once and shared.

use linkspan_client::{Client, ConnectOptions, Failure};
use linkspan_proto::error::ErrorCode;
use parking_lot::Mutex;
use serde::Serialize;

/// Made by the first call that needs it. The client itself connects anew when it was lost.
#[derive(Debug, Default)]
pub(crate) struct Daemon(Mutex<Option<Client>>);

/// What the daemon is, seen from outside of it.
#[derive(Debug, Serialize)]
#[serde(tag = "kind", rename_all = "lowercase")]
pub(crate) enum Presence {
    Live { version: String },
    /// None runs.
    Absent { message: String, hint: String },
    /// It runs and cannot be talked to: another version, or it does not answer.
    Other { message: String, hint: String },
}

impl Daemon {
    pub(crate) async fn client(&self, start_daemon: bool) -> Result<Client, Failure> {
        let known = self.0.lock().clone();
        if let Some(client) = known {
            return Ok(client);
        }
        let options = ConnectOptions { start_daemon, ..ConnectOptions::default() };
        let client = Client::connect(options).await?;
        *self.0.lock() = Some(client.clone());
        Ok(client)
    }

    pub(crate) async fn connect(&self, start: bool) -> Presence {
        match self.client(start).await {
            Ok(client) => Presence::Live { version: client.daemon().version.clone() },
            Err(Failure { code: ErrorCode::Unavailable, message, hint, .. }) => {
                Presence::Absent { message, hint }
            }
            Err(Failure { message, hint, .. }) => Presence::Other { message, hint },
        }
    }
}
