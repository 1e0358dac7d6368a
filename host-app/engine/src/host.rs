//! Facts about this host.

use linkspan_proto::host::v1::HostInfoResponse;
use linkspan_state::{Paths, image::ImageSearch};
use sysinfo::{MemoryRefreshKind, RefreshKind, System};

/// Asks the operating system. Blocking.
pub(crate) fn info(
    paths: &Paths,
    search: &ImageSearch,
    default_machine: &str,
    driver: &str,
) -> HostInfoResponse {
    let memory = MemoryRefreshKind::nothing().with_ram();
    let system = System::new_with_specifics(RefreshKind::nothing().with_memory(memory));
    // 0 for a system that does not tell.
    let memory_bytes = system.map_or(0, |system| system.total_memory());
    let cpus = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    // An image that cannot be found is an empty name here; a start says what is wrong with it.
    let image = search.find().map(|image| image.folder().display().to_string());
    HostInfoResponse {
        os: System::long_os_version().unwrap_or_else(|_| std::env::consts::OS.into()),
        kernel: System::kernel_long_version().unwrap_or_default(),
        architecture: System::cpu_arch(),
        cpus: u32::try_from(cpus).unwrap_or(u32::MAX),
        memory_bytes,
        home_directory: paths.home().display().to_string(),
        socket: paths.daemon_socket().display().to_string(),
        vm_image_directory: image.unwrap_or_default(),
        default_machine: default_machine.into(),
        drivers: vec![driver.into()],
    }
}
