//! Which version of the list of containers this is. Who has a list and asks again with its revision
//! is told in a word that nothing has changed.
//!
//! It counts on after each change and before anybody is told of it, and is read before a list is
//! made. So a list is never older than its revision, and what an answered request has done is not in
//! a list of an earlier one.

use std::{
    os::fd::BorrowedFd,
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
};

use linkspan_net::{
    Driver, Endpoint, EndpointSpec, Error as NetError, Member,
    files::{DnsSpec, HostAddress, Resolver},
};
use tokio::sync::watch;

use crate::{Status, network::Networks};

/// Counts what changes of what lists show. Clones count together.
#[derive(Debug, Clone)]
pub(crate) struct Revision(Arc<AtomicU64>);

impl Default for Revision {
    /// Begins anywhere: a list of before a boot is of no revision after it.
    fn default() -> Self {
        Self(Arc::new(AtomicU64::new(rand::random::<u64>() >> 1 | 1)))
    }
}

impl Revision {
    /// Never 0.
    pub(crate) fn now(&self) -> u64 {
        self.0.load(Ordering::SeqCst)
    }

    pub(crate) fn next(&self) {
        self.0.fetch_add(1, Ordering::SeqCst);
    }
}

/// What a container's task shows of it.
pub(crate) struct Shown {
    status: watch::Sender<Status>,
    revision: Revision,
}

impl Shown {
    pub(crate) fn new(status: watch::Sender<Status>, revision: Revision) -> Self {
        Self { status, revision }
    }

    pub(crate) fn borrow(&self) -> watch::Ref<'_, Status> {
        self.status.borrow()
    }

    /// Those who wait see the change when it has been counted.
    pub(crate) fn change(&self, change: impl FnOnce(&mut Status)) {
        self.status.send_modify(|status| {
            change(status);
            self.revision.next();
        });
    }
}

/// Networks whose changes are counted.
pub(crate) struct Counted {
    pub(crate) networks: Arc<dyn Networks>,
    pub(crate) revision: Revision,
}

impl Counted {
    fn count<T>(&self, change: impl FnOnce(&dyn Networks) -> T) -> T {
        let result = change(&*self.networks);
        self.revision.next();
        result
    }
}

impl Networks for Counted {
    fn reserve(&self, member: &Member, wanted: &[EndpointSpec]) -> Result<Vec<Endpoint>, NetError> {
        self.count(|networks| networks.reserve(member, wanted))
    }

    fn plug(
        &self,
        container: &str,
        namespace: BorrowedFd<'_>,
        names: Option<&DnsSpec>,
    ) -> Result<(), NetError> {
        self.count(|networks| networks.plug(container, namespace, names))
    }

    fn endpoints(&self, container: &str) -> Vec<Endpoint> {
        self.networks.endpoints(container)
    }

    fn rename(&self, container: &str, name: &str) {
        self.count(|networks| networks.rename(container, name));
    }

    fn leave(&self, container: &str) -> Vec<Endpoint> {
        self.count(|networks| networks.leave(container))
    }

    fn clean(&self, left: Vec<Endpoint>) {
        self.networks.clean(left);
    }

    fn disconnect(
        &self,
        container: &str,
        network: &str,
        namespace: BorrowedFd<'_>,
    ) -> Result<(), NetError> {
        self.count(|networks| networks.disconnect(container, network, namespace))
    }

    fn find(&self, network: &str) -> Result<(String, Driver), NetError> {
        self.networks.find(network)
    }

    fn resolver(&self) -> Resolver {
        self.networks.resolver()
    }

    fn host(&self) -> Option<HostAddress> {
        self.networks.host()
    }
}
