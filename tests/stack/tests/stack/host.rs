//! A daemon on a home of its own, and its clients.

use std::{future::Future, sync::Arc, time::Duration};

use futures::FutureExt as _;
use linkspan_client::{Client, ConnectOptions};
use linkspan_engine::{Engine, EngineOptions, HostEngine};
use linkspan_machine::{Budgets, fake};
use linkspan_proto::host::v1::{Machine, MachineState, WatchMachineRequest};
use linkspan_state::{
    Config, Paths,
    image::{ImageEntry, ImageSearch, Manifest},
};
use linkspan_transport::local;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use crate::{archives, calls, vm::World};

/// Far more than any test takes: a deadline that is met means that something hangs.
const DEADLINE: Duration = Duration::from_secs(90);

/// Runs a test's body, and fails when it hangs.
pub(crate) async fn bounded(body: impl Future<Output = ()>) {
    tokio::time::timeout(DEADLINE, body).await.expect("the test hangs");
}

/// One daemon: faces on real sockets, engine, machines.
pub(crate) struct Stack {
    pub(crate) driver: Arc<fake::FakeDriver>,
    pub(crate) world: Arc<World>,
    pub(crate) home: TempDir,
    search: ImageSearch,
    ended: CancellationToken,
}

impl Stack {
    /// Nothing has booted; there is no image.
    pub(crate) async fn new() -> Self {
        let home = tempfile::tempdir().expect("a folder can be made");
        let search = fake::vm_image(&home.path().join("vm-image"));
        let world = Arc::new(World::new(home.path().join("disks")));
        let driver = fake::FakeDriver::new();
        let plays = Arc::clone(&world);
        driver.plays(move |boot| Arc::clone(&plays).play(boot).boxed());
        let ended = CancellationToken::new();
        let stack = Self { driver, world, home, search, ended };
        stack.serve().await;
        stack
    }

    /// With the image `busybox:latest` in the default machine, which therefore runs.
    pub(crate) async fn with_busybox() -> (Self, Client) {
        let stack = Self::new().await;
        let client = stack.client().await;
        calls::import(&client, "busybox:latest", archives::rootfs()).await.expect("it is imported");
        (stack, client)
    }

    async fn serve(&self) {
        let paths = Paths::at(&self.home.path().join("home")).expect("it is ours");
        let bind = |path: std::path::PathBuf| local::Listener::bind(&path).expect("it is free");
        let streams = bind(paths.streams_socket());
        let docker = bind(paths.docker_socket());
        let grpc = bind(paths.daemon_socket());
        let engine = HostEngine::open(EngineOptions {
            config: Config::load(&paths).expect("the defaults"),
            paths,
            images: self.search.clone(),
            budgets: Budgets::all(Duration::from_secs(30)),
            driver: self.driver.clone(),
            ended: self.ended.clone(),
        });
        let engine: Arc<dyn Engine> = engine.await.expect("the engine opens");
        tokio::spawn(linkspan_gateway::serve_grpc(grpc, engine.clone(), self.ended.clone()));
        tokio::spawn(linkspan_gateway::serve_docker(docker, engine.clone(), self.ended.clone()));
        tokio::spawn(linkspan_gateway::serve_streams(streams, engine, self.ended.clone()));
    }

    /// One more client, with a connection of its own.
    pub(crate) async fn client(&self) -> Client {
        let options = ConnectOptions {
            home: Some(self.home.path().join("home")),
            start_daemon: false,
            ..ConnectOptions::default()
        };
        Client::connect(options).await.expect("the daemon answers")
    }

    /// Puts a container image into the VM image.
    pub(crate) fn builds_in(&self, reference: &str, archive: &[u8]) {
        let folder = self.home.path().join("vm-image");
        std::fs::write(folder.join("builtin.tar"), archive).expect("it is written");
        let path = folder.join("manifest.json");
        let manifest: Option<Manifest> = linkspan_state::read(&path).expect("it is valid");
        let mut manifest = manifest.expect("it is there");
        manifest.images.push(ImageEntry {
            reference: reference.into(),
            file: "builtin.tar".into(),
            sha256: String::new(),
            size: archive.len() as u64,
        });
        linkspan_state::write(&path, &manifest).expect("it is written");
    }

    /// Waits until the default machine is in `state`.
    pub(crate) async fn until(&self, client: &Client, state: MachineState) -> Machine {
        let request = WatchMachineRequest { name: String::new() };
        let mut watch = client.machines().watch(request).await.expect("it exists").into_inner();
        loop {
            let change = watch.message().await.expect("no failure").expect("a watch has no end");
            let machine = change.machine.expect("it is always there");
            if machine.state() == state {
                return machine;
            }
        }
    }
}

impl Drop for Stack {
    fn drop(&mut self) {
        self.ended.cancel();
        self.driver.end_all(&linkspan_machine::driver::VmExit::Killed);
    }
}
