//! A host that opens every port it is asked for, but for those that it has been told to refuse.

use std::{
    collections::BTreeMap,
    net::{IpAddr, Ipv4Addr},
    sync::Arc,
};

use async_trait::async_trait;
use parking_lot::Mutex;
use tokio::sync::watch;

use crate::ports::{Broker, PortError, PortErrorKind, PortMapping, PublishedPort};

/// Clones share their ports.
#[derive(Debug, Clone, Default)]
pub struct FakePorts(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    open: BTreeMap<String, Vec<PublishedPort>>,
    taken: Vec<u16>,
    /// Its sender is there: ports are not closed yet.
    held: Option<watch::Receiver<()>>,
}

impl FakePorts {
    /// Another program has this port from now on.
    pub fn take(&self, port: u16) {
        self.0.lock().taken.push(port);
    }

    /// Ports stay open until the answer is dropped.
    #[must_use]
    pub fn hold_withdrawals(&self) -> watch::Sender<()> {
        let (sender, held) = watch::channel(());
        self.0.lock().held = Some(held);
        sender
    }

    /// What is open, by container id.
    #[must_use]
    pub fn open(&self) -> BTreeMap<String, Vec<PublishedPort>> {
        self.0.lock().open.clone()
    }
}

#[async_trait]
impl Broker for FakePorts {
    async fn publish(
        &self,
        container: &str,
        _name: &str,
        wanted: &[PortMapping],
    ) -> Result<Vec<PublishedPort>, PortError> {
        let mut inner = self.0.lock();
        let mut published = Vec::new();
        for (mapping, random) in wanted.iter().zip(49152..) {
            let host_port = mapping.host_ports.map_or(random, |(first, _)| first);
            if inner.taken.contains(&host_port) {
                return Err(PortError {
                    kind: PortErrorKind::InUse,
                    message: format!("port {host_port} is taken"),
                    hint: None,
                });
            }
            let host_ip = mapping.host_ip.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
            published.push(PublishedPort { host_ip, host_port, port: mapping.port });
        }
        inner.open.insert(container.into(), published.clone());
        Ok(published)
    }

    async fn withdraw(&self, container: &str) {
        let held = self.0.lock().held.clone();
        if let Some(mut held) = held {
            // An error is the end of its sender.
            while held.changed().await.is_ok() {}
        }
        self.0.lock().open.remove(container);
    }
}
