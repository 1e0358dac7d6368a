//! The name server that each container of a named network finds at 127.0.0.11: what it answers
//! itself, and the sockets it listens on. Whoever runs it forwards the rest.
//!
//! As in Docker, the sockets listen inside the container's namespace on ports that the kernel
//! chose, and a packet filter rule leads port 53 there: a container's own name server can bind
//! port 53 of every address.

use std::{
    io,
    net::{IpAddr, Ipv4Addr, Ipv6Addr, TcpListener, UdpSocket},
};

use simple_dns::{
    CLASS, Name, Packet, PacketFlag, QCLASS, QTYPE, RCODE, ResourceRecord, TYPE,
    rdata::{A, AAAA, PTR, RData},
};

use crate::{
    Error,
    netlink::{
        nft::{self, Chain, Hook, Part},
        route::Route,
    },
};

/// Where containers find their name server. Docker's.
pub const SERVER: Ipv4Addr = Ipv4Addr::new(127, 0, 0, 11);
/// The largest answer over UDP without extensions (RFC 1035 4.2.1).
pub const UDP_LIMIT: usize = 512;
const PORT: u16 = 53;
/// Seconds. Docker's.
const TTL: u32 = 600;
const HEADER: usize = 12;
/// Our table in the packet filter of the container's namespace.
const TABLE: &str = "linkspan-names";

/// The sockets of one container's name server.
#[derive(Debug)]
pub struct Sockets {
    /// Short questions.
    pub udp: UdpSocket,
    /// Long answers.
    pub tcp: TcpListener,
}

impl Sockets {
    /// Inside the namespace of this thread; brings its loopback up.
    pub(crate) fn open() -> Result<Self, Error> {
        let loopback = Route::open().and_then(|mut route| match route.index("lo")? {
            Some(index) => route.set_up(index),
            None => Ok(()),
        });
        loopback.map_err(Error::kernel("bring up", "interface lo"))?;
        let bind = || -> io::Result<(Self, u16, u16)> {
            let udp = UdpSocket::bind((SERVER, 0))?;
            let tcp = TcpListener::bind((SERVER, 0))?;
            udp.set_nonblocking(true)?;
            tcp.set_nonblocking(true)?;
            let ports = (udp.local_addr()?.port(), tcp.local_addr()?.port());
            Ok((Self { udp, tcp }, ports.0, ports.1))
        };
        let (sockets, udp, tcp) = bind().map_err(Error::file("listen on", "127.0.0.11"))?;
        let lead = |protocol, port| {
            vec![
                Part::Destination(SERVER),
                Part::Port { protocol, port: PORT },
                Part::Redirect { to: SERVER, port },
            ]
        };
        let (protocol_udp, protocol_tcp) = (17, 6);
        let rules = vec![lead(protocol_udp, udp), lead(protocol_tcp, tcp)];
        let chain = Chain { name: "output", hook: Hook::Output, rules };
        nft::replace(TABLE, &[chain]).map_err(|failed| {
            Error::kernel("lead port 53 to", "the container's name server")(failed.errno)
        })?;
        Ok(sockets)
    }
}

/// What to do with a question.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// Send this back.
    Reply(Vec<u8>),
    /// Ask the servers outside, as it is.
    Forward,
    /// Not a question: say nothing.
    Ignore,
}

/// Knows the names of one container's networks.
pub trait Directory {
    /// The addresses of a name without the final dot; None: not known here.
    fn addresses(&self, name: &str) -> Option<Vec<IpAddr>>;
    /// The name of an address; None: not known here.
    fn name(&self, address: IpAddr) -> Option<String>;
}

/// Answers a question as it came from a container. What is longer than `limit` is left to the
/// other protocol (a truncated answer).
#[must_use]
pub fn answer(query: &[u8], limit: usize, directory: &impl Directory) -> Answer {
    if query.len() < HEADER || query[2] & 0x80 != 0 {
        return Answer::Ignore;
    }
    // Only the first question matters, and the counts are a stranger's: with those of the other
    // sections at nought, nothing is read or reserved for them.
    let mut first = query.to_vec();
    first[6..HEADER].fill(0);
    let Ok(asked) = Packet::parse(&first) else { return Answer::Forward };
    let [question] = &asked.questions[..] else { return Answer::Forward };
    if !matches!(question.qclass, QCLASS::CLASS(CLASS::IN) | QCLASS::ANY) {
        return Answer::Forward;
    }
    let name = question.qname.to_string();
    let records = match question.qtype {
        QTYPE::TYPE(TYPE::PTR) => {
            let known = address_of(&name).and_then(|address| directory.name(address));
            let Some(known) = known else { return Answer::Forward };
            let Ok(target) = Name::new(&known) else { return Answer::Forward };
            vec![RData::PTR(PTR(target.into_owned()))]
        }
        kind => {
            let Some(addresses) = directory.addresses(&name) else { return Answer::Forward };
            addresses.into_iter().filter_map(|address| record(kind, address)).collect()
        }
    };
    reply(&asked, records, limit).map_or(Answer::Forward, Answer::Reply)
}

fn record(kind: QTYPE, address: IpAddr) -> Option<RData<'static>> {
    match (kind, address) {
        (QTYPE::TYPE(TYPE::A) | QTYPE::ANY, IpAddr::V4(v4)) => Some(RData::A(A::from(v4))),
        (QTYPE::TYPE(TYPE::AAAA) | QTYPE::ANY, IpAddr::V6(v6)) => Some(RData::AAAA(AAAA::from(v6))),
        // The name is there; it only has nothing of this kind (RFC 2308 2.2).
        _ => None,
    }
}

fn reply(asked: &Packet<'_>, records: Vec<RData<'_>>, limit: usize) -> Option<Vec<u8>> {
    let question = asked.questions.first()?;
    let mut packet = Packet::new_reply(asked.id());
    packet.set_flags(PacketFlag::RECURSION_AVAILABLE);
    if asked.has_flags(PacketFlag::RECURSION_DESIRED) {
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
    }
    *packet.rcode_mut() = RCODE::NoError;
    packet.questions.push(question.clone());
    packet.answers = records
        .into_iter()
        .map(|data| ResourceRecord::new(question.qname.clone(), CLASS::IN, TTL, data))
        .collect();
    let bytes = packet.build_bytes_vec_compressed().ok()?;
    if bytes.len() <= limit {
        return Some(bytes);
    }
    packet.answers.clear();
    packet.set_flags(PacketFlag::TRUNCATION);
    packet.build_bytes_vec_compressed().ok()
}

/// A question again as "cannot be answered": no server outside did.
#[must_use]
pub fn failure(query: &[u8]) -> Option<Vec<u8>> {
    if query.len() < HEADER {
        return None;
    }
    let mut reply = query[..HEADER].to_vec();
    // QR, RA, SERVFAIL; no sections.
    reply[2] |= 0x80;
    reply[3] = 0x82;
    reply[4..].fill(0);
    Some(reply)
}

/// The address that a name under in-addr.arpa or ip6.arpa stands for (RFC 1035 3.5, RFC 3596 2.5).
fn address_of(name: &str) -> Option<IpAddr> {
    let name = name.to_ascii_lowercase();
    if let Some(reversed) = name.strip_suffix(".in-addr.arpa") {
        let bytes: Vec<u8> = reversed.rsplit('.').map(|b| b.parse().ok()).collect::<Option<_>>()?;
        return <[u8; 4]>::try_from(bytes).ok().map(|octets| Ipv4Addr::from(octets).into());
    }
    let reversed = name.strip_suffix(".ip6.arpa")?;
    let mut bits = 0_u128;
    let mut count = 0;
    for digit in reversed.rsplit('.') {
        let value = u8::from_str_radix(digit, 16).ok().filter(|_| digit.len() == 1)?;
        bits = (bits << 4) | u128::from(value);
        count += 1;
    }
    (count == 32).then(|| Ipv6Addr::from_bits(bits).into())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use simple_dns::Question;

    use super::*;

    struct Backend;

    impl Directory for Backend {
        fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
            match name.to_ascii_lowercase().as_str() {
                "web" => Some(vec!["172.18.0.2".parse().unwrap()]),
                "many" => Some((0..100).map(|n| IpAddr::from([172, 18, 1, n])).collect()),
                _ => None,
            }
        }

        fn name(&self, address: IpAddr) -> Option<String> {
            (address == IpAddr::from([172, 18, 0, 2])).then(|| "web.backend".into())
        }
    }

    fn ask(name: &str, kind: TYPE) -> Vec<u8> {
        let mut packet = Packet::new_query(7);
        packet.set_flags(PacketFlag::RECURSION_DESIRED);
        let name = Name::new(name).unwrap();
        packet.questions.push(Question::new(name, kind.into(), CLASS::IN.into(), false));
        packet.build_bytes_vec().unwrap()
    }

    fn reply(name: &str, kind: TYPE) -> Vec<u8> {
        match answer(&ask(name, kind), UDP_LIMIT, &Backend) {
            Answer::Reply(bytes) => bytes,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn a_known_name_has_its_address_and_no_other_kind() {
        let bytes = reply("WEB", TYPE::A);
        let packet = Packet::parse(&bytes).unwrap();
        assert_eq!((packet.id(), packet.rcode()), (7, RCODE::NoError));
        assert_eq!(packet.answers.len(), 1);
        let expected = A::from(Ipv4Addr::new(172, 18, 0, 2));
        assert_eq!(packet.answers[0].rdata, RData::A(expected));
        for kind in [TYPE::AAAA, TYPE::MX] {
            let bytes = reply("web", kind);
            let packet = Packet::parse(&bytes).unwrap();
            assert_eq!((packet.rcode(), packet.answers.len()), (RCODE::NoError, 0));
        }
    }

    #[test]
    fn what_is_not_known_goes_outside() {
        for (name, kind) in
            [("example.com", TYPE::A), ("9.0.18.172.in-addr.arpa", TYPE::PTR), ("web2", TYPE::A)]
        {
            let answered = answer(&ask(name, kind), UDP_LIMIT, &Backend);
            assert_eq!(answered, Answer::Forward, "{name}");
        }
    }

    #[test]
    fn an_address_has_a_name() {
        let bytes = reply("2.0.18.172.in-addr.arpa", TYPE::PTR);
        let packet = Packet::parse(&bytes).unwrap();
        let RData::PTR(PTR(name)) = &packet.answers[0].rdata else { panic!("{packet:?}") };
        assert_eq!(name.to_string(), "web.backend");
    }

    #[test]
    fn what_does_not_fit_is_left_to_tcp() {
        let query = ask("many", TYPE::A);
        let short = answer(&query, UDP_LIMIT, &Backend);
        let Answer::Reply(short) = short else { panic!("{short:?}") };
        assert!(short.len() <= UDP_LIMIT);
        assert!(Packet::parse(&short).unwrap().has_flags(PacketFlag::TRUNCATION));
        let long = answer(&query, usize::from(u16::MAX), &Backend);
        let Answer::Reply(long) = long else { panic!("{long:?}") };
        assert_eq!(Packet::parse(&long).unwrap().answers.len(), 100);
    }

    #[test]
    fn addresses_are_read_backwards() {
        let v6 = "2.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.0.1.0.0.0.0.0.d.f.ip6.arpa";
        assert_eq!(address_of(v6), Some("fd00:1::2".parse().unwrap()));
        for bad in ["1.2.3.in-addr.arpa", "1.2.3.256.in-addr.arpa", "f.ip6.arpa", "arpa", ""] {
            assert_eq!(address_of(bad), None, "{bad}");
        }
    }

    #[test]
    fn an_answer_is_never_answered() {
        let bytes = reply("web", TYPE::A);
        assert_eq!(answer(&bytes, UDP_LIMIT, &Backend), Answer::Ignore);
        assert_eq!(answer(&[0; 11], UDP_LIMIT, &Backend), Answer::Ignore);
    }

    proptest! {
        #[test]
        fn hostile_packets_never_panic(
            mut bytes in proptest::collection::vec(any::<u8>(), 0..600),
            one_question in any::<bool>(),
        ) {
            if one_question && bytes.len() > HEADER {
                bytes[2] &= 0x7f;
                bytes[4..6].copy_from_slice(&[0, 1]);
            }
            let _ = answer(&bytes, UDP_LIMIT, &Backend);
            let _ = failure(&bytes);
        }

        #[test]
        fn damaged_questions_never_panic(at in 0_usize..40, value in any::<u8>()) {
            let mut bytes = ask("web.some.where", TYPE::A);
            let at = at % bytes.len();
            bytes[at] = value;
            let _ = answer(&bytes, UDP_LIMIT, &Backend);
        }
    }
}
