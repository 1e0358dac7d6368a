//! Plays the guest of a fake VM: boots as the agent boots, then serves the real services.
//!
//! Each boot has a tokio runtime of its own, so that an end of the power takes all tasks and
//! connections of the guest at once, as it does in a VM. What is on the "disk" stays.

use std::{
    path::{Path, PathBuf},
    sync::{Arc, mpsc},
    time::Duration,
};

use futures::{Stream, stream};
use linkspan_agent::{
    boot::{BootError, timeline::Timeline},
    builds::Builds,
    console::Journal,
    docker_api::DockerApi,
    folders::Folders,
    ports::Ports,
    power::PowerOff,
    registries::Registries,
    rpc::{Guest, Shell, ShellSpec},
    serve,
    store::GuestImages,
    streams::Streams,
};
use linkspan_builder::Builder;
use linkspan_containers::{
    Containers, Setup,
    fake::{FakeLauncher, FakeNetworks},
    launch::Launched,
    limits::Capacity,
    volumes::Volumes,
};
use linkspan_images::Store;
use linkspan_machine::{driver::VmExit, fake::FakeBoot};
use linkspan_net::Networks;
use linkspan_proto::{
    error::{ErrorCode, Failure},
    ports::{AGENT_RPC, AGENT_STREAMS},
    v1::BootPhase,
};
use linkspan_sys::boot::fake::Recording;
use linkspan_transport::{Accept as _, BoxStream, memory};
use parking_lot::Mutex;
use prost::Message as _;
use tokio::{
    io::AsyncWriteExt as _,
    runtime::{Handle, Runtime},
};

/// How long the tasks of a guest without power may take to be gone.
const TASKS_END_WITHIN: Duration = Duration::from_secs(5);

/// Every VM of one host, and their disks.
pub(crate) struct World {
    disks: PathBuf,
    locks: Mutex<std::collections::HashMap<PathBuf, Arc<tokio::sync::Mutex<()>>>>,
    boots: Mutex<Vec<Boot>>,
    fault: Mutex<Option<BootError>>,
}

/// What a test can look at in one boot of a guest.
#[derive(Clone)]
pub(crate) struct Boot {
    /// Its processes.
    pub(crate) launcher: FakeLauncher,
    /// What it asked of its kernel.
    pub(crate) kernel: Arc<Recording>,
}

/// A guest's runtime and its hold on the disk: dropping it is a power cut.
struct Power {
    runtime: Option<Runtime>,
    disk: Option<tokio::sync::OwnedMutexGuard<()>>,
}

impl Drop for Power {
    fn drop(&mut self) {
        let (runtime, disk) = (self.runtime.take(), self.disk.take());
        // Waiting is not allowed on a runtime's thread. The next boot waits for the disk.
        std::thread::spawn(move || {
            if let Some(runtime) = runtime {
                runtime.shutdown_timeout(TASKS_END_WITHIN);
            }
            drop(disk);
        });
    }
}

impl World {
    pub(crate) fn new(disks: PathBuf) -> Self {
        Self { disks, locks: Mutex::default(), boots: Mutex::default(), fault: Mutex::default() }
    }

    /// Every boot so far, oldest first.
    pub(crate) fn boots(&self) -> Vec<Boot> {
        self.boots.lock().clone()
    }

    /// The newest boot.
    pub(crate) fn guest(&self) -> Boot {
        self.boots.lock().last().cloned().expect("a machine has booted")
    }

    /// The next boot fails so in its phase `disk`.
    pub(crate) fn breaks_disk(&self, error: BootError) {
        *self.fault.lock() = Some(error);
    }

    fn disk(&self, folder: &Path) -> Arc<tokio::sync::Mutex<()>> {
        Arc::clone(self.locks.lock().entry(folder.to_owned()).or_default())
    }

    /// One guest from its kernel's start to the end of its power.
    pub(crate) async fn play(self: Arc<Self>, boot: FakeBoot) {
        let folder = self.disks.join(&boot.spec.name);
        let disk = self.disk(&folder).lock_owned().await;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(2)
            .thread_name("guest")
            .enable_all()
            .build()
            .expect("a runtime can be made");
        let handle = runtime.handle().clone();
        let _power = Power { runtime: Some(runtime), disk: Some(disk) };

        let seen = Boot { launcher: FakeLauncher::default(), kernel: Arc::default() };
        let name = format!("boot-{}-of-{}", self.boots.lock().len(), boot.spec.name);
        self.boots.lock().push(seen.clone());
        boot.console("linkspan-agent: boot\r\n");
        let timeline = Timeline::begin();
        let (sender, phases) = mpsc::channel();
        timeline.report_to(sender);
        // A host that adopts does not listen.
        if let Ok(beacon) = boot.hub.dial_host(boot.spec.beacon_port) {
            let guest = handle.clone();
            handle.spawn_blocking(move || tell(&guest, beacon, &phases));
        }

        let (fault, hub) = (self.fault.lock().take(), boot.hub.clone());
        let (starts, kernel) = (timeline.clone(), Arc::clone(&seen.kernel));
        let parts = Parts { folder, hub, seen, name };
        let guest = handle.clone();
        let started = handle.spawn_blocking(move || start(&guest, &starts, parts, fault));
        let started = started.await.expect("the guest's start does not panic");
        timeline.end();
        if let Err(error) = started {
            boot.console(&format!("linkspan-agent: error: the machine cannot start: {error}\r\n"));
            // As the agent: stays on so that the console can be read, until the host kills it.
            return std::future::pending().await;
        }
        while !kernel.calls().iter().any(|call| call.starts_with("power ")) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        boot.power_off(VmExit::PoweredOff);
    }
}

/// What one guest is made of.
struct Parts {
    folder: PathBuf,
    hub: memory::Hub,
    seen: Boot,
    name: String,
}

/// The boot beacon.
fn tell(guest: &Handle, mut beacon: BoxStream, phases: &mpsc::Receiver<BootPhase>) {
    for phase in phases {
        let bytes = phase.encode_length_delimited_to_vec();
        if guest.block_on(beacon.write_all(&bytes)).is_err() {
            return;
        }
    }
}

/// The agent's boot, with its phases, as `pid1` does it. Blocks.
fn start(
    runtime: &Handle,
    timeline: &Timeline,
    parts: Parts,
    fault: Option<BootError>,
) -> Result<(), BootError> {
    for name in ["agent", "modules"] {
        timeline.phase(name, || Ok(()))?;
    }
    timeline.phase("disk", || fault.map_or(Ok(()), Err))?;
    timeline.phase("network", || Ok(()))?;
    let serving = timeline.phase("serve", || {
        let rpc = parts.hub.listen_guest(AGENT_RPC).expect("nobody else listens");
        let streams = parts.hub.listen_guest(AGENT_STREAMS).expect("nobody else listens");
        let guest = assemble(parts, timeline);
        Ok(serve::serve(guest, incoming(rpc), incoming(streams)))
    })?;
    timeline.phase("ready", || Ok(()))?;
    runtime.spawn(serving);
    Ok(())
}

fn assemble(parts: Parts, timeline: &Timeline) -> Guest {
    let Parts { folder, seen, name, .. } = parts;
    let images = Arc::new(Store::open(folder.join("images")).expect("the store opens"));
    // No `loopback_at`: the guest's loopback is the test's own.
    let registries = Registries::new(Arc::clone(&images), None).expect("the client can be made");
    let launcher = Arc::new(seen.launcher);
    let ports = Ports::default();
    let networks = Networks::open(&folder.join("networks"), Vec::new());
    let volumes = Arc::new(Volumes::open(folder.join("volumes")).expect("the volumes open"));
    let containers = Containers::open(Setup {
        user_namespace: None,
        root: folder.join("containers"),
        volumes: Arc::clone(&volumes),
        launcher: launcher.clone(),
        images: Arc::new(GuestImages(Arc::clone(&images))),
        networks: Arc::new(FakeNetworks::default()),
        ports: Arc::new(ports.clone()),
        capacity: Capacity { cpus: 2, memory_nodes: 1 },
        on_removed: None,
    });
    let containers = containers.expect("the containers open");
    let builder =
        Builder::open(&folder.join("build"), &folder.join("secrets"), Arc::clone(&images));
    let builds = Builds {
        builder: Arc::new(builder.expect("the builder opens")),
        launcher: launcher.clone(),
        networks: Arc::new(FakeNetworks::default()),
        capacity: Capacity { cpus: 2, memory_nodes: 1 },
    };
    let streams = Streams::default();
    let docker_api = DockerApi::new(&folder.join("docker.sock"), streams.clone());
    // No container of a scripted launcher mounts it: the tests are the programs in containers.
    docker_api.provide().expect("the socket can be made");
    containers.resume();
    Guest {
        data: folder.to_path_buf(),
        containers,
        volumes,
        images,
        builds,
        registries,
        networks: Arc::new(networks.expect("the networks open")),
        ports,
        shell: Arc::new(NoShell),
        launcher,
        folders: Folders::default(),
        docker_api,
        streams,
        timeline: timeline.clone(),
        journal: Journal::default(),
        power: Arc::new(PowerOff(seen.kernel.clone())),
        kernel: seen.kernel,
        boot_id: name.into(),
    }
}

fn incoming(listener: memory::Listener) -> impl Stream<Item = std::io::Result<BoxStream>> {
    stream::unfold(listener, |mut listener| async {
        let stream = listener.accept().await.ok()?;
        Some((Ok(stream), listener))
    })
}

/// A shell would be a real process of the host.
struct NoShell;

impl Shell for NoShell {
    fn spawn(&self, _: &ShellSpec) -> Result<Launched, Failure> {
        Err(Failure::new(ErrorCode::Unsupported, "this guest has no shell: it is a test's"))
    }
}
