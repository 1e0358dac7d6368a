//! The Docker Engine API without a VM: status, headers and bodies, against what a guest says.

mod common;
mod containers;
mod exec;
mod images;
mod others;
mod protocol;
mod robust;
mod streams;
