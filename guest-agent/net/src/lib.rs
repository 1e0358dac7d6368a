//! Networks of containers: which there are, who has which address, and the bridges, interfaces,
//! rules and names that make them work.
//!
//! [`Networks`] is the way in. Subnets and addresses come from [`ipam`], what containers read in
//! /etc from [`files`], what they are answered from [`dns`]. The kernel is spoken to over netlink;
//! no program is run.
//!
//! Synchronous, and knows no wire types: everything blocks for the time of a few system calls.
//! The network namespace of the calling thread is never changed (see `netns`).
//!
//! Deliberately absent: publishing ports on the host, which is the bridge's work and not the
//! VM's; drivers other than bridge, host and none.

pub mod dns;
mod endpoint;
mod error;
pub mod files;
pub mod filter;
pub mod ipam;
mod netlink;
mod netns;
mod network;
mod networks;
mod store;
#[cfg(test)]
mod tests;
pub mod uplink;

pub use endpoint::{Address, Endpoint, EndpointSpec, Mac, Member, Wire};
pub use error::Error;
pub use network::{Driver, Network, NetworkSpec};
pub use networks::{Networks, View};
