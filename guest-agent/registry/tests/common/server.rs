//! The registry of the tests in this crate's terms.

use std::ops::Deref;

use bytes::Bytes;
use linkspan_images::Reference;
use linkspan_registry::{Client, Credentials, Descriptor, OCI_MANIFEST, Repository, Settings};
use tokio_rustls::TlsAcceptor;

use super::{config, descriptor, manifest};

pub use linkspan_test_registry::{Act, Seen};

pub struct Server(linkspan_test_registry::Server);

impl Deref for Server {
    type Target = linkspan_test_registry::Server;

    fn deref(&self) -> &Self::Target {
        &self.0
    }
}

impl Server {
    pub async fn start() -> Self {
        Self::with(|_| Act::Serve).await
    }

    pub async fn with(rule: impl Fn(&Seen) -> Act + Send + Sync + 'static) -> Self {
        Self(linkspan_test_registry::Server::with(rule).await)
    }

    pub async fn at(
        address: &str,
        tls: Option<TlsAcceptor>,
        rule: impl Fn(&Seen) -> Act + Send + Sync + 'static,
    ) -> Self {
        Self(linkspan_test_registry::Server::at(address, tls, rule).await)
    }

    pub fn blob(&self, repository: &str, bytes: impl Into<Bytes>) -> Descriptor {
        let bytes = bytes.into();
        self.0.put_blob(repository, bytes.clone());
        descriptor("application/octet-stream", &bytes)
    }

    pub fn manifest(&self, repository: &str, tag: &str, kind: &str, text: &str) -> Descriptor {
        self.0.put_manifest(repository, tag, kind, text);
        descriptor(kind, text.as_bytes())
    }

    /// An image of these layers.
    pub fn image(&self, repository: &str, tag: &str, layers: &[&[u8]]) -> Descriptor {
        let config = self.blob(repository, config());
        let layers: Vec<_> =
            layers.iter().map(|bytes| self.blob(repository, bytes.to_vec())).collect();
        self.manifest(repository, tag, OCI_MANIFEST, &manifest(&config, &layers))
    }

    pub fn repository(&self, settings: Settings, name: &str) -> Repository {
        self.repository_as(settings, name, Credentials::Anonymous)
    }

    pub fn repository_as(&self, settings: Settings, name: &str, who: Credentials) -> Repository {
        let reference = Reference::parse(&format!("{}/{name}", self.address)).unwrap();
        Client::new(settings).unwrap().repository(&reference, who)
    }
}
