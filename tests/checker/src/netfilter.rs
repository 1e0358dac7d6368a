//! How many objects the packet filter has, asked of the kernel as nft(8) asks: a dump of each
//! kind over netlink (linux/netfilter/nf_tables.h).

use std::{collections::BTreeMap, os::fd::AsRawFd as _};

use nix::{
    errno::Errno,
    sys::socket::{AddressFamily, MsgFlags, SockFlag, SockProtocol, SockType, recv, send, socket},
};

/// NFNL_SUBSYS_NFTABLES, in the upper byte of a message's type.
const NFTABLES: u16 = 10 << 8;
/// NLM_F_REQUEST and NLM_F_DUMP (linux/netlink.h).
const DUMP: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;
/// struct nlmsghdr.
const HEADER: usize = 16;

/// NFT_MSG_GET*, by what they get.
const KINDS: [(&str, u16); 4] = [("tables", 1), ("chains", 4), ("rules", 7), ("sets", 10)];

/// How many there are of each kind in this network namespace.
pub(crate) fn count() -> Result<BTreeMap<&'static str, usize>, String> {
    KINDS
        .into_iter()
        .map(|(name, get)| {
            let number = dump(get).map_err(|errno| format!("nf_tables {name}: {errno}"))?;
            Ok((name, number))
        })
        .collect()
}

fn dump(get: u16) -> Result<usize, Errno> {
    let netlink = socket(
        AddressFamily::Netlink,
        SockType::Raw,
        SockFlag::SOCK_CLOEXEC,
        SockProtocol::NetlinkNetFilter,
    )?;
    let mut request = Vec::with_capacity(HEADER + 4);
    // nlmsghdr: length, type, flags, sequence, port; nfgenmsg: AF_UNSPEC, version 0, resource 0.
    request.extend_from_slice(&20_u32.to_ne_bytes());
    request.extend_from_slice(&(NFTABLES | get).to_ne_bytes());
    request.extend_from_slice(&DUMP.to_ne_bytes());
    request.extend_from_slice(&[0; 12]);
    send(netlink.as_raw_fd(), &request, MsgFlags::empty())?;
    let mut found = 0;
    let mut buffer = vec![0; 1 << 16];
    loop {
        let size = recv(netlink.as_raw_fd(), &mut buffer, MsgFlags::empty())?;
        let mut rest = &buffer[..size];
        while rest.len() >= HEADER {
            let length = u32::from_ne_bytes([rest[0], rest[1], rest[2], rest[3]]) as usize;
            match u16::from_ne_bytes([rest[4], rest[5]]) {
                NLMSG_DONE => return Ok(found),
                NLMSG_ERROR => {
                    let code = rest.get(HEADER..HEADER + 4).ok_or(Errno::EBADMSG)?;
                    let code = i32::from_ne_bytes([code[0], code[1], code[2], code[3]]);
                    return Err(Errno::from_raw(-code));
                }
                _ => found += 1,
            }
            // NLMSG_ALIGN; a length below the header's would never end.
            rest = rest.get(length.max(HEADER).next_multiple_of(4)..).unwrap_or_default();
        }
    }
}
