//! The whole stack without a VM: the real client, gateway, engine and machine on the host's side,
//! the real agent services, image store and containers on the guest's side. Only the hypervisor
//! (`FakeDriver`), the wire between the two (an in-memory hub) and the launcher of processes
//! (scripted programs instead of namespaces) are not real.
//!
//! [`host`] is the daemon and its clients, [`vm`] plays the guest, [`calls`] are the short-hands
//! of the tests, [`archives`] makes images. The other modules are the tests, one a subject. Every
//! test has a deadline ([`host::bounded`]); nothing sleeps as proof.
#![cfg(target_os = "linux")]

mod archives;
mod boot;
mod builtin;
mod calls;
mod disconnect;
mod docker_api;
mod errors;
mod exec;
mod faults;
mod files;
mod host;
mod images;
mod life;
mod lifecycle;
mod logs;
mod machines;
mod ports;
mod run;
mod vm;
mod volumes;
