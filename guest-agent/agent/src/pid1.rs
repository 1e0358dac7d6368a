//! The agent as the VM's first process: boot, then serve, until the power goes.

use std::{path::Path, sync::Arc, thread, time::Duration};

use linkspan_builder::Builder;
use linkspan_containers::{Containers, Setup, limits::Capacity, userns, volumes::Volumes};
use linkspan_images::{Digest, Store};
use linkspan_sys::boot::{BootCalls, Kernel, PowerAction};

use crate::{
    beacon,
    boot::{self, BootError, CGROUP_ROOT, DATA, cmdline::Cmdline, timeline::Timeline},
    builds::Builds,
    console::{self, Journal},
    docker_api::DockerApi,
    folders::Folders,
    launcher::GuestLauncher,
    networks::GuestNetworks,
    ports::Ports,
    power::{self, PowerOff},
    reaper::Reaper,
    registries::Registries,
    rpc::Guest,
    serve::Listeners,
    shell::MachineShell,
    store::GuestImages,
    streams::Streams,
};

/// The secrets of builds: in memory, as all but the data disk is.
const BUILD_SECRETS: &str = "/run/linkspan/build";

/// The socket of Docker's API, once a container mounts it.
const DOCKER_API: &str = "/run/linkspan/docker.sock";

/// How long a machine that cannot boot stays on, so that the host can read the console's end.
const FAILED_STAYS_ON: Duration = Duration::from_secs(5);

/// Boots and serves. Returns only when the machine could not be ended.
pub fn main() {
    // The kernel named it after /init; `ps` in the machine shows what it is.
    let _ = nix::sys::prctl::set_name(c"linkspan-agent");
    let kernel = Arc::new(Kernel);
    let timeline = Timeline::begin();
    let (journal, booted) = match boot::early(kernel.as_ref(), &timeline) {
        Ok(cmdline) => {
            let journal = console::start(&cmdline.log);
            report(&timeline);
            let booted = boot::late(kernel.as_ref(), &timeline, &cmdline);
            (journal, booted.map(|()| cmdline))
        }
        Err(error) => {
            let journal = console::start("info");
            report(&timeline);
            (journal, Err(error))
        }
    };
    let ended = booted.and_then(|cmdline| run(&kernel, &timeline, journal, &cmdline));
    if let Err(error) = ended {
        give_up(kernel.as_ref(), &timeline, &error);
    }
}

/// The beacon comes when vsock works; it is told what happened before.
fn report(timeline: &Timeline) {
    match beacon::start() {
        Ok((sender, _thread)) => timeline.report_to(sender),
        Err(error) => tracing::warn!(%error, "there is no boot beacon"),
    }
}

fn give_up(kernel: &dyn BootCalls, timeline: &Timeline, error: &BootError) {
    tracing::error!(%error, hint = error.hint().unwrap_or_default(), "the machine cannot start");
    timeline.end();
    thread::sleep(FAILED_STAYS_ON);
    power::end(kernel, PowerAction::PowerOff);
}

fn run(
    kernel: &Arc<Kernel>,
    timeline: &Timeline,
    journal: Journal,
    cmdline: &Cmdline,
) -> Result<(), BootError> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        // A thread of an idle pool costs memory and its start costs time; there are few processors.
        .worker_threads(thread::available_parallelism().map_or(1, |cpus| cpus.get().min(4)))
        .build()
        .map_err(BootError::file("start", "the agent's runtime"))?;
    let (listeners, guest) = timeline.phase("serve", || {
        runtime.block_on(async { prepare(kernel, timeline, journal, cmdline) })
    })?;
    timeline.phase("ready", || Ok(()))?;
    timeline.end();
    tracing::info!(version = env!("CARGO_PKG_VERSION"), "ready");
    runtime
        .block_on(listeners.serve(guest))
        .map_err(|error| BootError::file("serve", "vsock")(std::io::Error::other(error)))
}

/// Everything that serves. Runs inside the runtime: the containers' tasks are spawned here.
fn prepare(
    kernel: &Arc<Kernel>,
    timeline: &Timeline,
    journal: Journal,
    cmdline: &Cmdline,
) -> Result<(Listeners, Guest), BootError> {
    let reaper = Reaper::start().map_err(BootError::file("start", "the reaper"))?;
    let streams = Streams::default();
    let docker_api = DockerApi::new(Path::new(DOCKER_API), streams.clone());
    let init = Path::new("/sbin/linkspan-init");
    let launcher = GuestLauncher::new(init, CGROUP_ROOT, reaper.clone(), docker_api.clone())
        .map_err(BootError::file("read", init))?;
    let launcher = Arc::new(launcher);
    let path = Path::new(DATA).join("images");
    let images = Store::open(&path)
        .map_err(|error| BootError::file("open", &path)(std::io::Error::other(error)))?;
    let images = Arc::new(images);
    let registries = Registries::new(Arc::clone(&images), Some(boot::network::HOST.into()))
        .map_err(|error| {
            BootError::file("make", "the registry client")(std::io::Error::other(error))
        })?;
    let path = Path::new(DATA).join("build");
    let builder = Builder::open(&path, Path::new(BUILD_SECRETS), Arc::clone(&images))
        .map_err(|error| BootError::file("open", &path)(std::io::Error::other(error)))?;
    let builder = Arc::new(builder);
    let path = Path::new(DATA).join("networks");
    let networks = GuestNetworks::open(&path)
        .map_err(|error| BootError::file("open", &path)(std::io::Error::other(error)))?;
    let root = Path::new(DATA).join("containers");
    let path = Path::new(DATA).join("volumes");
    let volumes = Volumes::open(path.clone())
        .map_err(|error| BootError::file("open", &path)(std::io::Error::other(error)))?;
    let volumes = Arc::new(volumes);
    let ports = Ports::default();
    let containers = Containers::open(Setup {
        root: root.clone(),
        volumes: Arc::clone(&volumes),
        launcher: launcher.clone(),
        images: Arc::new(GuestImages(Arc::clone(&images))),
        networks: networks.clone(),
        ports: Arc::new(ports.clone()),
        capacity: capacity(),
        user_namespace: cmdline.map_ids.then(userns::range),
        on_removed: None,
    })
    .map_err(|error| BootError::file("open", &root)(std::io::Error::other(error)))?;
    collect_layers(&images, &containers, &builder);
    let builds = Builds {
        builder,
        launcher: launcher.clone(),
        networks: networks.clone(),
        capacity: capacity(),
    };
    let listeners = Listeners::bind().map_err(BootError::file("listen on", "vsock"))?;
    // Last: what is started needs everything above.
    containers.resume();
    let guest = Guest {
        data: DATA.into(),
        containers,
        volumes,
        images,
        builds,
        registries,
        networks: networks.networks(),
        shell: Arc::new(MachineShell { reaper }),
        launcher,
        ports,
        folders: Folders::default(),
        docker_api,
        streams,
        timeline: timeline.clone(),
        journal,
        power: Arc::new(PowerOff(kernel.clone())),
        kernel: kernel.clone(),
        boot_id: std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
            .unwrap_or_default()
            .trim()
            .into(),
    };
    Ok((listeners, guest))
}

/// Layers that were kept for containers which are gone now are given back.
fn collect_layers(images: &Arc<Store>, containers: &Containers, builder: &Arc<Builder>) {
    let (images, containers) = (Arc::clone(images), containers.clone());
    let builder = Arc::clone(builder);
    tokio::task::spawn_blocking(move || {
        let used =
            |layer: &Digest| containers.uses_layer(&layer.to_string()) || builder.uses_layer(layer);
        match images.collect(used) {
            Ok(0) => {}
            Ok(bytes) => tracing::info!(bytes, "unused layers were removed"),
            Err(error) => tracing::warn!(%error, "unused layers could not be removed"),
        }
    });
}

fn capacity() -> Capacity {
    let count = |folder: &str, prefix: &str| {
        std::fs::read_dir(folder)
            .into_iter()
            .flatten()
            .flatten()
            .filter(|entry| {
                entry
                    .file_name()
                    .to_str()
                    .and_then(|name| name.strip_prefix(prefix))
                    .is_some_and(|number| number.parse::<u32>().is_ok())
            })
            .count()
            .max(1)
    };
    Capacity {
        cpus: thread::available_parallelism()
            .map_or(1, |cpus| u32::try_from(cpus.get()).unwrap_or(u32::MAX)),
        // Absent without NUMA: one node.
        memory_nodes: u32::try_from(count("/sys/devices/system/node", "node")).unwrap_or(1),
    }
}
