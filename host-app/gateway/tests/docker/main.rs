//! The Docker Engine API without a VM: status, headers and bodies, against what a guest says.

mod build;
mod common;
mod containers;
mod exec;
mod images;
mod others;
mod protocol;
mod streams;
