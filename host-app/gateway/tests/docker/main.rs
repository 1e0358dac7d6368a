//! The Docker Engine API without a VM: status, headers and bodies, against what a guest says.

#![recursion_limit = "256"]

mod build;
mod common;
mod conformance;
mod containers;
mod exec;
mod images;
mod others;
mod protocol;
mod robust;
mod streams;
mod websocket;
