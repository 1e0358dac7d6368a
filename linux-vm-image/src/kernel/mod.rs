//! Kernels: how each kind gets into the cache. `debian` is the distribution's own, `lean` is built
//! here. Both end as a packed `vmlinux` with a PVH entry point.

pub(crate) mod bzimage;
pub(crate) mod config;
pub(crate) mod debian;
pub(crate) mod elf;
pub(crate) mod lean;
pub(crate) mod lz4_legacy;
pub(crate) mod modules;
