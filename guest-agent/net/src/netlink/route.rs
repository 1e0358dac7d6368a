//! Links, addresses and routes (rtnetlink(7)).

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use nix::{errno::Errno, libc, sys::socket::SockProtocol};

use super::{
    Socket,
    message::{CREATE, DUMP, Message, attributes},
};

/// An Ethernet address.
pub(crate) type Mac = [u8; 6];

const IFLA_ADDRESS: u16 = 1;
const IFLA_IFNAME: u16 = 3;
const IFLA_MTU: u16 = 4;
const IFLA_MASTER: u16 = 10;
const IFLA_PROTINFO: u16 = 12;
const IFLA_LINKINFO: u16 = 18;
const IFLA_NET_NS_FD: u16 = 28;
const IFLA_INFO_KIND: u16 = 1;
const IFLA_INFO_DATA: u16 = 2;
const VETH_INFO_PEER: u16 = 1;
/// linux/if_link.h: frames between two ports that have it are not forwarded.
const IFLA_BRPORT_ISOLATED: u16 = 33;
const IFA_ADDRESS: u16 = 1;
const IFA_LOCAL: u16 = 2;
const IFA_BROADCAST: u16 = 4;
/// Usable at once: nobody else assigns addresses of our networks (linux/if_addr.h).
const IFA_F_NODAD: u8 = 0x02;
const RTA_OIF: u16 = 4;
const RTA_GATEWAY: u16 = 5;
/// linux/rtnetlink.h: RT_TABLE_MAIN, RTPROT_BOOT, RT_SCOPE_UNIVERSE, RTN_UNICAST.
const MAIN_BOOT_UNIVERSE_UNICAST: [u8; 4] = [254, 3, 0, 1];

/// A veth pair: one end on a bridge here, the other in a container's namespace.
#[derive(Debug)]
pub(crate) struct VethPair<'a> {
    pub(crate) outer: &'a str,
    /// The bridge's index.
    pub(crate) bridge: u32,
    pub(crate) inner: &'a str,
    pub(crate) inner_mac: Mac,
    /// The container's network namespace.
    pub(crate) namespace: i32,
    pub(crate) mtu: u32,
}

/// An interface.
#[derive(Debug)]
pub(crate) struct Link {
    pub(crate) index: u32,
    pub(crate) name: String,
    pub(crate) is_bridge: bool,
}

/// The links, addresses and routes of the namespace in which it was opened.
#[derive(Debug)]
pub(crate) struct Route(Socket);

impl Route {
    pub(crate) fn open() -> nix::Result<Self> {
        Socket::open(SockProtocol::NetlinkRoute).map(Self)
    }

    /// A bridge that is up; succeeds when it is there. Its Ethernet address is set, because one
    /// that is not changes with the bridge's ports, and containers remember it.
    pub(crate) fn add_bridge(&mut self, name: &str, mac: Mac, mtu: u32) -> nix::Result<()> {
        let request = link_request(libc::RTM_NEWLINK, CREATE, 0, true)
            .text(IFLA_IFNAME, name)
            .bytes(IFLA_ADDRESS, &mac)
            .u32(IFLA_MTU, mtu)
            .nest(IFLA_LINKINFO, |info| info.text(IFLA_INFO_KIND, "bridge"));
        exists_is_fine(self.one(request))
    }

    /// Both ends at once, the outer one up and on its bridge. The inner one is down.
    pub(crate) fn add_veth(&mut self, pair: &VethPair<'_>) -> nix::Result<()> {
        let request = link_request(libc::RTM_NEWLINK, CREATE, 0, true)
            .text(IFLA_IFNAME, pair.outer)
            .u32(IFLA_MTU, pair.mtu)
            .u32(IFLA_MASTER, pair.bridge)
            .nest(IFLA_LINKINFO, |info| {
                info.text(IFLA_INFO_KIND, "veth").nest(IFLA_INFO_DATA, |data| {
                    data.nest(VETH_INFO_PEER, |peer| {
                        peer.raw(&ifinfomsg(0, false))
                            .text(IFLA_IFNAME, pair.inner)
                            .u32(IFLA_MTU, pair.mtu)
                            .bytes(IFLA_ADDRESS, &pair.inner_mac)
                            .bytes(IFLA_NET_NS_FD, &pair.namespace.to_ne_bytes())
                    })
                })
            });
        self.one(request)
    }

    /// Cuts a bridge's port off from the bridge's other such ports.
    pub(crate) fn isolate_port(&mut self, port: u32) -> nix::Result<()> {
        let mut header = ifinfomsg(port, false);
        header[0] = libc::AF_BRIDGE as u8;
        let request = Message::new(libc::RTM_SETLINK, 0, &header)
            .nest(IFLA_PROTINFO, |info| info.bytes(IFLA_BRPORT_ISOLATED, &[1]));
        self.one(request)
    }

    pub(crate) fn set_up(&mut self, index: u32) -> nix::Result<()> {
        self.one(link_request(libc::RTM_NEWLINK, 0, index, true))
    }

    /// Deletes a link; succeeds when there is none of this name.
    pub(crate) fn delete(&mut self, name: &str) -> nix::Result<()> {
        let header = ifinfomsg(0, false);
        let request = Message::new(libc::RTM_DELLINK, 0, &header).text(IFLA_IFNAME, name);
        match self.one(request) {
            Err(Errno::ENODEV) => Ok(()),
            other => other,
        }
    }

    /// Gives a link an address; succeeds when it has it.
    pub(crate) fn add_address(&mut self, index: u32, address: IpNet) -> nix::Result<()> {
        let (family, bytes) = family_and_bytes(address.addr());
        let mut header = [family, address.prefix_len(), IFA_F_NODAD, 0, 0, 0, 0, 0];
        header[4..].copy_from_slice(&index.to_ne_bytes());
        let mut request = Message::new(libc::RTM_NEWADDR, CREATE, &header)
            .bytes(IFA_LOCAL, &bytes)
            .bytes(IFA_ADDRESS, &bytes);
        if let IpNet::V4(v4) = address
            && v4.prefix_len() < 31
        {
            request = request.bytes(IFA_BROADCAST, &v4.broadcast().octets());
        }
        exists_is_fine(self.one(request))
    }

    /// Everything without a better route goes to `gateway`; succeeds when it does.
    pub(crate) fn add_default_route(&mut self, index: u32, gateway: IpAddr) -> nix::Result<()> {
        let (request, bytes) = default_route(libc::RTM_NEWROUTE, CREATE, gateway);
        exists_is_fine(self.one(request.bytes(RTA_GATEWAY, &bytes).u32(RTA_OIF, index)))
    }

    /// The index of the link with this name.
    pub(crate) fn index(&mut self, name: &str) -> nix::Result<Option<u32>> {
        Ok(self.link(name)?.map(|link| link.index))
    }

    /// The link with this name.
    pub(crate) fn link(&mut self, name: &str) -> nix::Result<Option<Link>> {
        Ok(self.links()?.into_iter().find(|link| link.name == name))
    }

    /// Every link.
    pub(crate) fn links(&mut self) -> nix::Result<Vec<Link>> {
        let request = Message::new(libc::RTM_GETLINK, DUMP, &ifinfomsg(0, false));
        let entries = self.0.dump(request)?;
        Ok(entries.iter().filter_map(|entry| link(entry)).collect())
    }

    fn one(&mut self, request: Message) -> nix::Result<()> {
        self.0.transact(vec![request]).map_err(|failed| failed.errno)
    }
}

fn exists_is_fine(result: nix::Result<()>) -> nix::Result<()> {
    match result {
        Err(Errno::EEXIST) => Ok(()),
        other => other,
    }
}

/// What is read of an `ifinfomsg` and its attributes.
fn link(entry: &[u8]) -> Option<Link> {
    let index = u32::from_ne_bytes(entry.get(4..8)?.try_into().ok()?);
    let entry = entry.get(16..)?;
    let value = |list, wanted| attributes(list).find(|(kind, _)| *kind == wanted).map(|(_, v)| v);
    let name = value(entry, IFLA_IFNAME)?;
    let name = name.strip_suffix(&[0]).unwrap_or(name);
    let kind = value(entry, IFLA_LINKINFO).and_then(|info| value(info, IFLA_INFO_KIND));
    let is_bridge = kind.is_some_and(|kind| kind == b"bridge" || kind == b"bridge\0");
    Some(Link { index, name: String::from_utf8_lossy(name).into_owned(), is_bridge })
}

fn link_request(kind: u16, flags: u16, index: u32, up: bool) -> Message {
    Message::new(kind, flags, &ifinfomsg(index, up))
}

/// struct ifinfomsg (linux/rtnetlink.h).
fn ifinfomsg(index: u32, up: bool) -> [u8; 16] {
    let mut header = [0; 16];
    header[4..8].copy_from_slice(&index.to_ne_bytes());
    if up {
        let flag = (libc::IFF_UP as u32).to_ne_bytes();
        header[8..12].copy_from_slice(&flag);
        header[12..16].copy_from_slice(&flag);
    }
    header
}

fn default_route(kind: u16, flags: u16, gateway: IpAddr) -> (Message, Vec<u8>) {
    let (family, bytes) = family_and_bytes(gateway);
    // struct rtmsg: family, three lengths and a type of service of nothing, then the table.
    let mut header = [0; 12];
    header[0] = family;
    header[4..8].copy_from_slice(&MAIN_BOOT_UNIVERSE_UNICAST);
    (Message::new(kind, flags, &header), bytes)
}

fn family_and_bytes(address: IpAddr) -> (u8, Vec<u8>) {
    match address {
        IpAddr::V4(v4) => (libc::AF_INET as u8, v4.octets().to_vec()),
        IpAddr::V6(v6) => (libc::AF_INET6 as u8, v6.octets().to_vec()),
    }
}

/// Docker's rule: 02:42 and the four bytes of the IPv4 address, so that an address that is used
/// again does not meet stale neighbour entries.
pub(crate) fn mac_of(address: Ipv4Addr) -> Mac {
    let [a, b, c, d] = address.octets();
    [0x02, 0x42, a, b, c, d]
}
