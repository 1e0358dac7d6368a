//! Packet filter rules (nf_tables): a table of ours is replaced as a whole, in one transaction of
//! the kernel. So there is never half a rule set, and nothing to keep track of.
//!
//! Numbers are those of linux/netfilter/nf_tables.h; an expression here is one of the kernel's.

use std::net::{IpAddr, Ipv4Addr};

use ipnet::IpNet;
use nix::{libc, sys::socket::SockProtocol};

use super::{
    Failed, Socket,
    message::{APPEND, CREATE, Message},
};

/// What a chain hangs on.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Hook {
    /// Packets that pass through.
    Forward,
    /// Packets on their way out, where sources are translated.
    Postrouting,
    /// Packets made here, where destinations are translated.
    Output,
}

impl Hook {
    /// Type, number of the hook (enum nf_inet_hooks), priority (enum nf_ip_hook_priorities).
    fn parts(self) -> (&'static str, u32, i32) {
        match self {
            Self::Forward => ("filter", 2, 0),
            Self::Postrouting => ("nat", 4, 100),
            Self::Output => ("nat", 3, -100),
        }
    }
}

/// One condition or action of a rule, in order.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Part {
    /// The packet came in by this interface, or did not.
    Input { name: String, is: bool },
    /// The packet goes out by this interface, or does not.
    Output { name: String, is: bool },
    /// It belongs to a connection that was allowed before.
    Established,
    /// Its source is in this subnet.
    Source(IpNet),
    /// Its destination is this address.
    Destination(Ipv4Addr),
    /// It is of this protocol (IPPROTO_UDP, IPPROTO_TCP) and for this port.
    Port { protocol: u8, port: u16 },
    /// Let it pass.
    Accept,
    /// Let it vanish.
    Drop,
    /// Give it the address of the interface by which it leaves.
    Masquerade,
    /// Send it there instead.
    Redirect { to: Ipv4Addr, port: u16 },
}

/// A chain with its rules. What no rule decides is accepted.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Chain {
    pub(crate) name: &'static str,
    pub(crate) hook: Hook,
    pub(crate) rules: Vec<Vec<Part>>,
}

/// Makes `table` (family inet) hold exactly these chains, in the namespace of this thread.
pub(crate) fn replace(table: &str, chains: &[Chain]) -> Result<(), Failed> {
    let failed = |errno| Failed { index: 0, errno };
    let mut socket = Socket::open(SockProtocol::NetlinkNetFilter).map_err(failed)?;
    socket.transact(batch(table, chains))
}

/// Deletes `table` with everything in it.
pub(crate) fn delete(table: &str) -> Result<(), Failed> {
    let failed = |errno| Failed { index: 0, errno };
    let mut socket = Socket::open(SockProtocol::NetlinkNetFilter).map_err(failed)?;
    socket.transact(bracketed(emptied(table).into()))
}

fn batch(table: &str, chains: &[Chain]) -> Vec<Message> {
    let mut messages = Vec::from(emptied(table));
    messages.push(table_request(NEWTABLE, table));
    for chain in chains {
        messages.push(chain_request(table, chain));
        messages.extend(chain.rules.iter().map(|rule| rule_request(table, chain.name, rule)));
    }
    bracketed(messages)
}

/// Deleting what is not there is an error, making what is there is none: so make it and delete it.
fn emptied(table: &str) -> [Message; 2] {
    [table_request(NEWTABLE, table), table_request(DELTABLE, table)]
}

const NEWTABLE: u16 = 0;
const DELTABLE: u16 = 2;
const NEWCHAIN: u16 = 3;
const NEWRULE: u16 = 6;

fn bracketed(messages: Vec<Message>) -> Vec<Message> {
    // struct nfgenmsg: the batch is for the subsystem nf_tables (10), in network byte order.
    let header = [0, 0, 0, 10];
    let mut all = vec![Message::silent(libc::NLMSG_MIN_TYPE as u16, &header)];
    all.extend(messages);
    all.push(Message::silent(libc::NLMSG_MIN_TYPE as u16 + 1, &header));
    all
}

fn request(kind: u16, flags: u16) -> Message {
    let family = libc::NFPROTO_INET as u8;
    Message::new((10 << 8) | kind, flags, &[family, 0, 0, 0])
}

fn table_request(kind: u16, table: &str) -> Message {
    // Without EXCL: it may be there.
    let flags = if kind == NEWTABLE { 0x400 } else { 0 };
    request(kind, flags).text(1, table)
}

fn chain_request(table: &str, chain: &Chain) -> Message {
    let (kind, hook, priority) = chain.hook.parts();
    request(NEWCHAIN, CREATE)
        .text(1, table)
        .text(3, chain.name)
        .nest(4, |m| m.be32(1, hook).be32(2, priority.cast_unsigned()))
        // NFTA_CHAIN_POLICY, NF_ACCEPT
        .be32(5, 1)
        .text(7, kind)
}

fn rule_request(table: &str, chain: &str, parts: &[Part]) -> Message {
    request(NEWRULE, APPEND)
        .text(1, table)
        .text(2, chain)
        // NFTA_RULE_EXPRESSIONS
        .nest(4, |list| parts.iter().fold(list, |list, part| part.encode(list)))
}

/// NFT_REG_1 and NFT_REG_2: sixteen bytes each.
const REGISTER: u32 = 1;
const SECOND: u32 = 2;
/// NFT_CMP_EQ, NFT_CMP_NEQ.
const EQUAL: u32 = 0;
const DIFFERENT: u32 = 1;
/// NFT_META_IIFNAME, OIFNAME, NFPROTO, L4PROTO.
const IIFNAME: u32 = 6;
const OIFNAME: u32 = 7;
const NFPROTO: u32 = 15;
const L4PROTO: u32 = 16;
/// NFT_PAYLOAD_NETWORK_HEADER, NFT_PAYLOAD_TRANSPORT_HEADER.
const NETWORK: u32 = 1;
const TRANSPORT: u32 = 2;

impl Part {
    fn encode(&self, list: Message) -> Message {
        match self {
            Self::Input { name, is } => interface(list, IIFNAME, name, *is),
            Self::Output { name, is } => interface(list, OIFNAME, name, *is),
            Self::Established => established(list),
            Self::Source(net) => {
                let (at, bytes) = match net.addr() {
                    IpAddr::V4(v4) => (12, v4.octets().to_vec()),
                    IpAddr::V6(v6) => (8, v6.octets().to_vec()),
                };
                let list = in_family(list, net.addr().is_ipv4());
                let list = load(list, NETWORK, at, bytes.len());
                let list = mask(list, net.prefix_len(), bytes.len());
                let network = match net.network() {
                    IpAddr::V4(v4) => v4.octets().to_vec(),
                    IpAddr::V6(v6) => v6.octets().to_vec(),
                };
                compare(list, EQUAL, &network)
            }
            Self::Destination(address) => {
                let list = load(in_family(list, true), NETWORK, 16, 4);
                compare(list, EQUAL, &address.octets())
            }
            Self::Port { protocol, port } => {
                let list = compare(meta(list, L4PROTO), EQUAL, &[*protocol]);
                compare(load(list, TRANSPORT, 2, 2), EQUAL, &port.to_be_bytes())
            }
            Self::Accept => verdict(list, 1),
            Self::Drop => verdict(list, 0),
            Self::Masquerade => expression(list, "masq", |data| data),
            Self::Redirect { to, port } => {
                let list = immediate(list, REGISTER, &to.octets());
                let list = immediate(list, SECOND, &port.to_be_bytes());
                expression(list, "nat", |data| {
                    // NFT_NAT_DNAT, in IPv4, address from one register, port from the other.
                    data.be32(1, 1).be32(2, 2).be32(3, REGISTER).be32(5, SECOND)
                })
            }
        }
    }
}

/// NFTA_LIST_ELEM { NFTA_EXPR_NAME, NFTA_EXPR_DATA }
fn expression(list: Message, name: &str, data: impl FnOnce(Message) -> Message) -> Message {
    list.nest(1, |one| one.text(1, name).nest(2, data))
}

fn meta(list: Message, key: u32) -> Message {
    expression(list, "meta", |data| data.be32(1, REGISTER).be32(2, key))
}

fn load(list: Message, base: u32, offset: u32, length: usize) -> Message {
    expression(list, "payload", |data| {
        data.be32(1, REGISTER).be32(2, base).be32(3, offset).be32(4, small(length))
    })
}

fn compare(list: Message, how: u32, value: &[u8]) -> Message {
    expression(list, "cmp", |data| {
        data.be32(1, REGISTER).be32(2, how).nest(3, |m| m.bytes(1, value))
    })
}

fn immediate(list: Message, register: u32, value: &[u8]) -> Message {
    expression(list, "immediate", |data| data.be32(1, register).nest(2, |m| m.bytes(1, value)))
}

fn verdict(list: Message, code: u32) -> Message {
    expression(list, "immediate", |data| {
        // NFT_REG_VERDICT; NFTA_DATA_VERDICT { NFTA_VERDICT_CODE }
        data.be32(1, 0).nest(2, |m| m.nest(2, |v| v.be32(1, code)))
    })
}

fn in_family(list: Message, v4: bool) -> Message {
    let family = if v4 { libc::NFPROTO_IPV4 } else { libc::NFPROTO_IPV6 };
    compare(meta(list, NFPROTO), EQUAL, &[family as u8])
}

/// The kernel compares names as sixteen bytes with zeroes behind (IFNAMSIZ).
fn interface(list: Message, key: u32, name: &str, is: bool) -> Message {
    let mut bytes = [0; libc::IFNAMSIZ];
    let length = name.len().min(libc::IFNAMSIZ - 1);
    bytes[..length].copy_from_slice(&name.as_bytes()[..length]);
    compare(meta(list, key), if is { EQUAL } else { DIFFERENT }, &bytes)
}

/// ct state established,related
fn established(list: Message) -> Message {
    // NFT_CT_STATE; NF_CT_STATE_BIT of IP_CT_ESTABLISHED and IP_CT_RELATED.
    let bits = (2_u32 | 4).to_ne_bytes();
    let list = expression(list, "ct", |data| data.be32(1, REGISTER).be32(2, 0));
    compare(bitwise(list, &bits), DIFFERENT, &[0; 4])
}

fn mask(list: Message, prefix: u8, length: usize) -> Message {
    let bits = u128::MAX.checked_shl(128 - u32::from(prefix)).unwrap_or(0).to_be_bytes();
    bitwise(list, &bits[..length])
}

/// register & mask
fn bitwise(list: Message, mask: &[u8]) -> Message {
    let zero = vec![0; mask.len()];
    expression(list, "bitwise", |data| {
        data.be32(1, REGISTER)
            .be32(2, REGISTER)
            .be32(3, small(mask.len()))
            .nest(4, |m| m.bytes(1, mask))
            .nest(5, |m| m.bytes(1, &zero))
    })
}

fn small(length: usize) -> u32 {
    u32::try_from(length).unwrap_or(u32::MAX)
}
