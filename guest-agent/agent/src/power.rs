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
        let (containers, kernel) = (containers.clone(), Arc::clone(&self.0));
        // On a task of its own: a caller that goes meanwhile leaves no machine without its containers.
        let ending = tokio::spawn(async move {
            let (stopped, errors) = containers.stop_all(grace).await;
            for error in errors {
                // It goes down all the same: this is said, and the container counts as lost.
                tracing::warn!(%error, "a container did not stop in order");
            }
            std::thread::spawn(move || {
                std::thread::sleep(ANSWER_TRAVELS);
                let action = if reboot { PowerAction::Restart } else { PowerAction::PowerOff };
                end(kernel.as_ref(), action);
            });
            stopped
        });
        ending.await.unwrap_or_default()
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
    use std::time::Instant;

    use linkspan_containers::{
        Setup,
        config::Config,
        fake::{FakeImages, FakeLauncher, FakeNetworks, FakePorts},
        limits::Capacity,
        volumes::Volumes,
    };
    use linkspan_sys::boot::fake::Recording;

    use super::*;

    fn containers(folder: &Path) -> Containers {
        let volumes = Volumes::open(folder.join("volumes")).expect("an empty folder");
        let setup = Setup {
            root: folder.join("containers"),
            volumes: Arc::new(volumes),
            launcher: Arc::new(FakeLauncher::default()),
            images: Arc::new(FakeImages::with_busybox()),
            networks: Arc::new(FakeNetworks::default()),
            ports: Arc::new(FakePorts::default()),
            capacity: Capacity { cpus: 2, memory_nodes: 1 },
            user_namespace: None,
            on_removed: None,
        };
        Containers::open(setup).expect("an empty folder")
    }

    #[tokio::test]
    async fn the_machine_ends_when_whoever_asked_for_it_has_gone() {
        let folder = tempfile::tempdir().expect("a folder");
        let containers = containers(folder.path());
        let command = vec!["stubborn".to_owned()];
        let config = Config { image: "busybox".into(), command, ..Config::default() };
        containers.create("box", config).await.expect("it is made");
        containers.start("box").await.expect("it starts");
        let kernel = Arc::new(Recording::default());
        let power = PowerOff(kernel.clone());
        let asked = power.off(&containers, Some(Duration::from_millis(100)), false);
        // The container lives longer than this.
        let gone = tokio::time::timeout(Duration::from_millis(1), asked).await;
        assert!(gone.is_err(), "it is under way");
        let deadline = Instant::now() + Duration::from_secs(60);
        while kernel.calls().last().is_none_or(|call| call != "power PowerOff") {
            assert!(Instant::now() < deadline, "{:?}", kernel.calls());
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        assert_eq!(containers.running(), 0);
    }

    #[test]
    fn the_power_goes_only_after_everything_is_written() {
        let kernel = Recording::default();
        end(&kernel, PowerAction::PowerOff);
        assert_eq!(kernel.calls(), ["sync", "unmount /var/lib/linkspan", "sync", "power PowerOff"]);
    }
}
