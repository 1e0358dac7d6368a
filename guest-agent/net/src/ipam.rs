//! Addresses: which subnets a network gets, and which address in them is whose.
//!
//! Pure. Taken addresses are kept in memory only: an address belongs to a container that runs,
//! and after a boot none does.

use std::{
    collections::{BTreeMap, BTreeSet},
    net::{IpAddr, Ipv4Addr, Ipv6Addr},
};

use ipnet::{IpNet, Ipv4Net, Ipv6Net};
use serde::{Deserialize, Serialize};

use crate::Error;

/// What `network create` says of one subnet. Absent: chosen.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct PoolSpec {
    /// `--subnet`
    pub subnet: Option<IpNet>,
    /// `--ip-range`: where containers' addresses come from.
    pub ip_range: Option<IpNet>,
    /// `--gateway`
    pub gateway: Option<IpAddr>,
    /// `--aux-address`: addresses that other devices have.
    pub aux_addresses: BTreeMap<String, IpAddr>,
}

/// A subnet of a network.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Pool {
    /// The network address and its prefix.
    pub subnet: IpNet,
    /// Where addresses are given from; the subnet when absent.
    #[serde(default)]
    pub ip_range: Option<IpNet>,
    /// The bridge's address.
    pub gateway: IpAddr,
    /// Addresses that are never given.
    #[serde(default)]
    pub aux_addresses: BTreeMap<String, IpAddr>,
}

impl Pool {
    /// Checks a specification that names a subnet, and fills in the gateway.
    ///
    /// # Errors
    /// Names the part that lies outside of its subnet.
    pub fn new(spec: &PoolSpec, subnet: IpNet) -> Result<Self, Error> {
        let trunc = subnet.trunc();
        if trunc.max_prefix_len() - trunc.prefix_len() < 1 {
            return Err(Error::invalid("--subnet", format!("{subnet} has no room for containers")));
        }
        if let Some(range) = spec.ip_range
            && !trunc.contains(&range.trunc())
        {
            return Err(Error::invalid("--ip-range", format!("{range} is not inside of {trunc}")));
        }
        if let Some(gateway) = spec.gateway
            && !trunc.contains(&gateway)
        {
            return Err(Error::invalid("--gateway", format!("{gateway} is not in {trunc}")));
        }
        for (name, address) in &spec.aux_addresses {
            if !trunc.contains(address) {
                let why = format!("{name}={address} is not in {trunc}");
                return Err(Error::invalid("--aux-address", why));
            }
        }
        let mut pool = Self {
            subnet: trunc,
            ip_range: spec.ip_range.map(|range| range.trunc()),
            gateway: trunc.addr(),
            aux_addresses: spec.aux_addresses.clone(),
        };
        pool.gateway = match spec.gateway {
            Some(gateway) => gateway,
            None => {
                let aux = pool.aux_addresses.values().map(|aux| number(*aux));
                // Docker's: the range's first address.
                first_free(pool.range(), &aux.chain(ends(trunc)).collect())
                    .ok_or_else(|| Error::invalid("--subnet", format!("{trunc} is too small")))?
            }
        };
        Ok(pool)
    }

    /// Where containers' addresses come from.
    #[must_use]
    pub fn range(&self) -> IpNet {
        self.ip_range.unwrap_or(self.subnet)
    }
}

/// Which addresses of a pool are taken.
#[derive(Debug, Clone)]
pub struct Addresses {
    pool: Pool,
    taken: BTreeSet<u128>,
}

impl Addresses {
    /// Taken is only what no container can have.
    #[must_use]
    pub fn new(pool: Pool) -> Self {
        let mut taken: BTreeSet<u128> = ends(pool.subnet).into_iter().collect();
        taken.insert(number(pool.gateway));
        taken.extend(pool.aux_addresses.values().map(|aux| number(*aux)));
        Self { pool, taken }
    }

    /// Takes the first free address, or the wanted one.
    ///
    /// # Errors
    /// When it is taken, reserved or outside of the subnet, or none is left.
    pub fn take(&mut self, network: &str, wanted: Option<IpAddr>) -> Result<IpNet, Error> {
        let address = match wanted {
            None => first_free(self.pool.range(), &self.taken).ok_or_else(|| {
                Error::NoAddressLeft { network: network.into(), range: self.pool.range() }
            })?,
            Some(address) if !self.pool.subnet.contains(&address) => {
                let why = format!("{address} is not in {} of {network}", self.pool.subnet);
                return Err(Error::invalid(if address.is_ipv4() { "--ip" } else { "--ip6" }, why));
            }
            Some(address) if self.taken.contains(&number(address)) => {
                return Err(Error::AddressInUse { address, network: network.into() });
            }
            Some(address) => address,
        };
        self.taken.insert(number(address));
        Ok(IpNet::new_assert(address, self.pool.subnet.prefix_len()))
    }

    /// Gives back an address that was taken.
    pub fn release(&mut self, address: IpAddr) {
        self.taken.remove(&number(address));
    }
}

/// What no host has: the subnet's own address (in IPv6 the routers' anycast, RFC 4291 2.6.1) and,
/// in IPv4, the broadcast address; two addresses alone have neither (RFC 3021).
fn ends(subnet: IpNet) -> Vec<u128> {
    match subnet {
        IpNet::V4(v4) if v4.prefix_len() >= 31 => Vec::new(),
        IpNet::V4(v4) => vec![number(v4.network().into()), number(v4.broadcast().into())],
        IpNet::V6(v6) if v6.prefix_len() >= 127 => Vec::new(),
        IpNet::V6(v6) => vec![number(v6.network().into())],
    }
}

fn first_free(range: IpNet, taken: &BTreeSet<u128>) -> Option<IpAddr> {
    let last = number(range.broadcast());
    let mut candidate = number(range.network());
    while taken.contains(&candidate) {
        candidate = candidate.checked_add(1)?;
    }
    (candidate <= last).then(|| match range {
        IpNet::V4(_) => Ipv4Addr::from_bits(u32::try_from(candidate).unwrap_or(0)).into(),
        IpNet::V6(_) => Ipv6Addr::from_bits(candidate).into(),
    })
}

fn number(address: IpAddr) -> u128 {
    match address {
        IpAddr::V4(v4) => v4.to_bits().into(),
        IpAddr::V6(v6) => v6.to_bits(),
    }
}

/// Whether two subnets have an address in common.
#[must_use]
pub fn overlap(a: IpNet, b: IpNet) -> bool {
    a.contains(&b) || b.contains(&a)
}

/// The first of Docker's default IPv4 subnets that meets none of `taken`: 172.17.0.0/16 to
/// 172.31.0.0/16, then 192.168.0.0/16 in pieces of /20.
#[must_use]
pub fn default_v4(taken: &[IpNet]) -> Option<IpNet> {
    let large = (17..=31).map(|second| Ipv4Net::new_assert(Ipv4Addr::new(172, second, 0, 0), 16));
    let small = (0..16).map(|n| Ipv4Net::new_assert(Ipv4Addr::new(192, 168, n * 16, 0), 20));
    large.chain(small).map(IpNet::from).find(|net| free(*net, taken))
}

/// The first /64 under `prefix`, a unique local /48 (RFC 4193), that meets none of `taken`.
#[must_use]
pub fn default_v6(prefix: Ipv6Net, taken: &[IpNet]) -> Option<IpNet> {
    prefix.subnets(64).ok()?.map(IpNet::from).find(|net| free(*net, taken))
}

fn free(net: IpNet, taken: &[IpNet]) -> bool {
    taken.iter().all(|other| !overlap(net, *other))
}

/// A unique local /48 of our own: fd, and forty random bits (RFC 4193 3.2.1).
#[must_use]
pub fn random_ula() -> Ipv6Net {
    let random: [u8; 5] = rand::random();
    let mut bytes = [0; 16];
    bytes[0] = 0xfd;
    bytes[1..6].copy_from_slice(&random);
    Ipv6Net::new_assert(bytes.into(), 48)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn pool(subnet: &str) -> Pool {
        Pool::new(&PoolSpec::default(), subnet.parse().unwrap()).unwrap()
    }

    #[test]
    fn the_gateway_is_the_first_address_and_containers_follow() {
        let mut addresses = Addresses::new(pool("172.17.0.0/16"));
        assert_eq!(addresses.pool.gateway.to_string(), "172.17.0.1");
        assert_eq!(addresses.take("n", None).unwrap().to_string(), "172.17.0.2/16");
        assert_eq!(addresses.take("n", None).unwrap().to_string(), "172.17.0.3/16");
        let mut addresses = Addresses::new(pool("fd00:1::/64"));
        assert_eq!(addresses.pool.gateway.to_string(), "fd00:1::1");
        assert_eq!(addresses.take("n", None).unwrap().to_string(), "fd00:1::2/64");
    }

    #[test]
    fn a_range_confines_what_is_given_but_not_what_is_asked_for() {
        let spec = PoolSpec {
            ip_range: Some("10.1.4.0/30".parse().unwrap()),
            gateway: Some("10.1.0.1".parse().unwrap()),
            aux_addresses: [("printer".to_owned(), "10.1.4.1".parse().unwrap())].into(),
            ..PoolSpec::default()
        };
        let mut addresses =
            Addresses::new(Pool::new(&spec, "10.1.0.0/16".parse().unwrap()).unwrap());
        let mut next = || addresses.take("n", None).map(|net| net.addr().to_string());
        assert_eq!(next().unwrap(), "10.1.4.0");
        assert_eq!(next().unwrap(), "10.1.4.2");
        assert_eq!(next().unwrap(), "10.1.4.3");
        assert!(next().unwrap_err().to_string().starts_with("no available addresses"));
        let asked = addresses.take("n", Some("10.1.9.9".parse().unwrap())).unwrap();
        assert_eq!(asked.to_string(), "10.1.9.9/16");
        for wrong in ["10.1.9.9", "10.1.0.1", "10.1.4.1", "10.1.0.0", "10.1.255.255", "10.2.0.5"] {
            assert!(addresses.take("n", Some(wrong.parse().unwrap())).is_err(), "{wrong}");
        }
    }

    #[test]
    fn what_lies_outside_of_the_subnet_is_refused_by_name() {
        let subnet: IpNet = "10.1.0.0/24".parse().unwrap();
        let outside: IpAddr = "10.2.0.1".parse().unwrap();
        for (spec, option) in [
            (PoolSpec { gateway: Some(outside), ..PoolSpec::default() }, "--gateway"),
            (
                PoolSpec { ip_range: Some("10.1.0.0/16".parse().unwrap()), ..PoolSpec::default() },
                "--ip-range",
            ),
            (
                PoolSpec {
                    aux_addresses: [("x".to_owned(), outside)].into(),
                    ..PoolSpec::default()
                },
                "--aux-address",
            ),
        ] {
            let error = Pool::new(&spec, subnet).unwrap_err().to_string();
            assert!(error.starts_with(option), "{error}");
        }
    }

    #[test]
    fn default_subnets_come_in_dockers_order_and_never_overlap() {
        let mut taken: Vec<IpNet> = vec!["172.18.0.0/24".parse().unwrap()];
        let mut given = Vec::new();
        while let Some(net) = default_v4(&taken) {
            assert!(taken.iter().all(|other| !overlap(net, *other)));
            taken.push(net);
            given.push(net.to_string());
        }
        assert_eq!(given[..2], ["172.17.0.0/16", "172.19.0.0/16"]);
        assert_eq!(given.len(), 14 + 16);
        assert_eq!(given[14], "192.168.0.0/20");
    }

    proptest! {
        #[test]
        fn no_address_has_two_owners_and_released_ones_come_back(
            prefix in 24_u8..=30,
            steps in proptest::collection::vec((any::<bool>(), any::<u8>(), any::<bool>()), 1..200),
        ) {
            let subnet: IpNet = format!("10.9.8.0/{prefix}").parse().unwrap();
            let pool = Pool::new(&PoolSpec::default(), subnet).unwrap();
            let room = (1_usize << (32 - prefix)) - 3;
            let mut addresses = Addresses::new(pool.clone());
            let mut owned: Vec<IpAddr> = Vec::new();
            for (take, pick, named) in steps {
                if take {
                    let wanted = named.then(|| IpAddr::from([10, 9, 8, pick]));
                    match addresses.take("n", wanted) {
                        Ok(net) => {
                            prop_assert!(!owned.contains(&net.addr()), "{net} twice");
                            prop_assert!(subnet.contains(&net.addr()));
                            prop_assert!(net.addr() != pool.gateway);
                            prop_assert!(!ends(subnet).contains(&number(net.addr())));
                            owned.push(net.addr());
                        }
                        Err(Error::NoAddressLeft { .. }) => prop_assert_eq!(owned.len(), room),
                        Err(_) => prop_assert!(named),
                    }
                } else if !owned.is_empty() {
                    let given = owned.swap_remove(usize::from(pick) % owned.len());
                    addresses.release(given);
                    let again = addresses.take("n", Some(given)).expect("it was given back");
                    addresses.release(again.addr());
                }
            }
        }
    }
}
