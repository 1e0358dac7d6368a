//! Networks without interfaces: who is where, and nothing else.

use std::{collections::BTreeMap, os::fd::BorrowedFd, sync::Arc};

use linkspan_net::{
    Driver, Endpoint, EndpointSpec, Error, Member,
    files::{DnsSpec, HostAddress, Resolver},
};
use parking_lot::Mutex;

use crate::network::Networks;

/// Has the networks `bridge`, `host`, `none` and `backend`. Clones share their containers.
#[derive(Debug, Clone, Default)]
pub struct FakeNetworks {
    inner: Arc<Mutex<Inner>>,
}

#[derive(Debug, Default)]
struct Inner {
    places: BTreeMap<(String, String), Endpoint>,
    plugged: Vec<String>,
    refuses: Option<String>,
}

impl FakeNetworks {
    /// How many places are taken.
    #[must_use]
    pub fn places(&self) -> usize {
        self.inner.lock().places.len()
    }

    /// The containers for which interfaces were made, in order.
    #[must_use]
    pub fn plugged(&self) -> Vec<String> {
        self.inner.lock().plugged.clone()
    }

    /// From now on no interface can be made, for this reason.
    pub fn refuse(&self, why: &str) {
        self.inner.lock().refuses = Some(why.into());
    }
}

impl Networks for FakeNetworks {
    fn reserve(&self, member: &Member, wanted: &[EndpointSpec]) -> Result<Vec<Endpoint>, Error> {
        let mut made = Vec::new();
        for spec in wanted {
            let (network, driver) = self.find(&spec.network)?;
            let named = driver == Driver::Bridge && network != "bridge";
            made.push(Endpoint {
                id: format!("{network}-{}", member.id),
                network_id: network.clone(),
                network,
                container: member.id.clone(),
                container_name: member.name.clone(),
                names: if named { vec![member.name.clone()] } else { Vec::new() },
                wire: None,
            });
        }
        let mut inner = self.inner.lock();
        for endpoint in &made {
            let key = (member.id.clone(), endpoint.network.clone());
            inner.places.insert(key, endpoint.clone());
        }
        Ok(made)
    }

    fn plug(
        &self,
        container: &str,
        _namespace: BorrowedFd<'_>,
        _names: Option<&DnsSpec>,
    ) -> Result<(), Error> {
        let mut inner = self.inner.lock();
        if let Some(why) = inner.refuses.clone() {
            return Err(Error::Unsupported { what: "an interface".into(), why });
        }
        inner.plugged.push(container.into());
        Ok(())
    }

    fn endpoints(&self, container: &str) -> Vec<Endpoint> {
        let inner = self.inner.lock();
        inner.places.values().filter(|place| place.container == container).cloned().collect()
    }

    fn rename(&self, container: &str, name: &str) {
        let mut inner = self.inner.lock();
        let places = inner.places.iter_mut().filter(|(key, _)| key.0 == container);
        places.for_each(|(_, endpoint)| endpoint.rename(name));
    }

    fn leave(&self, container: &str) -> Vec<Endpoint> {
        let mut inner = self.inner.lock();
        let all = std::mem::take(&mut inner.places);
        let (left, stay) = all.into_iter().partition(|(key, _)| key.0 == container);
        inner.places = stay;
        BTreeMap::into_values(left).collect()
    }

    fn clean(&self, _left: Vec<Endpoint>) {}

    fn disconnect(
        &self,
        container: &str,
        network: &str,
        _namespace: BorrowedFd<'_>,
    ) -> Result<(), Error> {
        let (container, network) = (container.to_owned(), network.to_owned());
        let key = (container.clone(), network.clone());
        let place = self.inner.lock().places.remove(&key);
        place.map(drop).ok_or(Error::NotConnected { container, network })
    }

    fn find(&self, network: &str) -> Result<(String, Driver), Error> {
        let driver = match network {
            "bridge" | "backend" => Driver::Bridge,
            "host" => Driver::Host,
            "none" => Driver::None,
            other => return Err(Error::NotFound(other.into())),
        };
        Ok((network.into(), driver))
    }

    fn resolver(&self) -> Resolver {
        Resolver::parse("nameserver 10.0.2.3")
    }

    fn host(&self) -> Option<HostAddress> {
        None
    }
}
