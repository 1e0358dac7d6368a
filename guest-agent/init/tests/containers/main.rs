//! Real containers from a busybox root. Needs root, and a cgroup2 mount; on a machine without,
//! every test says `skipped:` and why. `LINKSPAN_INIT` names the program when it is not where
//! cargo has built it (inside a VM, say).

mod bench;
mod exec;
mod isolation;
mod limits;
mod measure;
mod process;
mod reaper;
mod rootfs;
mod shared;
mod terminal;
mod userns;
