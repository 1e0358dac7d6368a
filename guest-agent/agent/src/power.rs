//! The end of a VM: containers, file systems, power.

use std::{path::Path, sync::Arc, time::Duration};

use linkspan_containers::Containers;
use linkspan_sys::boot::{BootCalls, PowerAction};
use nix::mount::MntFlags;

use crate::boot::DATA;

/// How long the answer to the call that ends the VM may take to reach the host.
const ANSWER_TRAVELS: Duration = Duration::from_millis(50);

/// How the agent ends.
#[tonic::async_trait]
pub trait Power: Send + Sync + 'static {
    /// Stops every container; returns how many there were. Then, on its own time, syncs,
    /// unmounts and turns the VM off (or restarts it).
    async fn off(&self, containers: &Containers, grace: Option<Duration>, reboot: bool) -> usize;
}

/// The real end.
pub struct PowerOff(pub Arc<dyn BootCalls>);

#[tonic::async_trait]
impl Power for PowerOff {
    async fn off(&self, containers: &Containers, grace: Option<Duration>, reboot: bool) -> usize {
        let (stopped, errors) = containers.stop_all(grace).await;
        for error in errors {
            // It goes down all the same: this is said, and the container counts as lost.
            tracing::warn!(%error, "a container did not stop in order");
        }
        let kernel = Arc::clone(&self.0);
        std::thread::spawn(move || {
            std::thread::sleep(ANSWER_TRAVELS);
            let action = if reboot { PowerAction::Restart } else { PowerAction::PowerOff };
            end(kernel.as_ref(), action);
        });
        stopped
    }
}

/// Writes everything out and ends the VM. Returns only when the kernel refuses.
pub fn end(kernel: &dyn BootCalls, action: PowerAction) {
    tracing::info!(?action, "the machine ends");
    kernel.sync();
    // Detached, so that an open file (the image store's lock is one) does not hold it; what is
    // dirty was synced, and the mount becomes read-only with its last user.
    if let Err(errno) = kernel.unmount(Path::new(DATA), MntFlags::MNT_DETACH) {
        tracing::debug!(%errno, "the data disk was not mounted");
    }
    kernel.sync();
    if let Err(errno) = kernel.power(action) {
        tracing::error!(%errno, "the kernel does not end the machine");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use linkspan_sys::boot::fake::Recording;

    #[test]
    fn the_power_goes_only_after_everything_is_written() {
        let kernel = Recording::default();
        end(&kernel, PowerAction::PowerOff);
        assert_eq!(kernel.calls(), ["sync", "unmount /var/lib/linkspan", "sync", "power PowerOff"]);
    }
}
