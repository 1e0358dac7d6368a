//! Netlink (RFC 3549): requests as bytes, and a socket that waits for the kernel's answers.
//!
//! Written here because no crate fits: `rtnetlink` is asynchronous and knows no nf_tables,
//! `rustables` is under the GPL, and the generated bindings are fifty thousand lines for the dozen
//! requests that a container network needs.

pub(crate) mod message;
pub(crate) mod nft;
pub(crate) mod route;
mod socket;

pub(crate) use socket::{Failed, Socket};
