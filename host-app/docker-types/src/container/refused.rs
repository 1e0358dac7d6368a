//! Why a container cannot have what is asked for.

/// The name of the one runtime.
pub const RUNTIME: &str = "linkspan-init";

/// `--link`, `Links`
pub const LINKS: &str =
    "links are replaced by names: put both containers into one network of your own";
/// `--storage-opt`, `StorageOpt`
pub const STORAGE: &str = "storage options are not supported";
/// `--gpus`, `DeviceRequests`
pub const DEVICE_REQUESTS: &str = "the machine has no GPU";
/// `--cpu-rt-*`, `CpuRealtime*`
pub const REAL_TIME: &str = "cgroup v2 has no real-time limits";
/// `--memory-swappiness`, `MemorySwappiness`
pub const SWAPPINESS: &str = "cgroup v2 has no swappiness";
/// `--oom-kill-disable`, `OomKillDisable`
pub const OOM_KILL_DISABLE: &str = "cgroup v2 cannot turn the OOM killer off";
/// `--cgroup-parent`, `CgroupParent`, `Cgroup`
pub const CGROUP: &str = "the place of a container's cgroup is fixed";
/// `--runtime`, `Runtime`
pub const ONE_RUNTIME: &str = "there is one runtime, our own";
/// What only Windows containers have.
pub const WINDOWS: &str = "it is for Windows containers only";
/// `--link-local-ip`
pub const LINK_LOCAL: &str = "link-local addresses cannot be chosen";
