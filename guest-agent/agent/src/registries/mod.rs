//! Images from and to registries: what joins the client of registries, which is asynchronous and
//! knows no store, to the store, which is synchronous and knows no registry.
//!
//! Owns the client and its settings, which live in memory only. Called by `rpc/registry.rs`, and
//! by whatever else needs an image that is not there, or a file of a URL.

mod download;
mod progress;
mod pull;
mod push;
mod sink;

use std::{net::IpAddr, sync::Arc};

use linkspan_images::{Digest, Store};
use linkspan_registry::{Client, Settings};
use parking_lot::RwLock;

pub(crate) use download::Downloaded;
pub use progress::{Line, Lines};
pub use pull::Pulled;
pub use push::Pushed;

/// Why a transfer failed.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// On the way.
    #[error(transparent)]
    Registry(#[from] linkspan_registry::Error),
    /// In the store.
    #[error(transparent)]
    Store(#[from] linkspan_images::Error),
    /// Something that cannot be asked for.
    #[error("{0}")]
    Invalid(String),
    /// Nothing of this name is here to be pushed.
    #[error("An image does not exist locally with the tag: {0}")]
    Missing(String),
    /// Not an image reference.
    #[error(transparent)]
    Reference(#[from] linkspan_images::ReferenceError),
    /// A thread died.
    #[error("the agent failed: {0}")]
    Panic(String),
}

/// The way to all registries. Cheap to clone.
#[derive(Clone)]
pub struct Registries {
    shared: Arc<Shared>,
}

struct Shared {
    store: Arc<Store>,
    client: RwLock<Client>,
    /// The host as the machine sees it.
    host: Option<IpAddr>,
}

impl Registries {
    /// With the default settings. `host`: where loopback addresses lead; None: they are the
    /// machine's own.
    ///
    /// # Errors
    /// When the client cannot be made of them.
    pub fn new(store: Arc<Store>, host: Option<IpAddr>) -> Result<Self, linkspan_registry::Error> {
        let client = Client::new(Settings { loopback_at: host, ..Settings::default() })?;
        Ok(Self { shared: Arc::new(Shared { store, client: RwLock::new(client), host }) })
    }

    /// Reaches registries so from now on. Transfers that are going on end as they began.
    ///
    /// # Errors
    /// Names the setting that cannot be used; then nothing has changed.
    pub fn configure(&self, settings: Settings) -> Result<(), linkspan_registry::Error> {
        let client = Client::new(Settings { loopback_at: self.shared.host, ..settings })?;
        *self.shared.client.write() = client;
        Ok(())
    }

    /// The client with the settings of now.
    #[must_use]
    pub fn client(&self) -> Client {
        self.shared.client.read().clone()
    }

    fn store(&self) -> &Arc<Store> {
        &self.shared.store
    }
}

/// The twelve digits that people see.
fn short(digest: &Digest) -> String {
    digest.hex()[..12].to_owned()
}

/// Synchronous work of the store.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, linkspan_images::Error> + Send + 'static,
) -> Result<T, Error> {
    match tokio::task::spawn_blocking(work).await {
        Ok(result) => Ok(result?),
        Err(error) => Err(Error::Panic(error.to_string())),
    }
}
