//! A run's beginning: from the configuration to the process with its streams.

use std::sync::Arc;

use jiff::Timestamp;
use tokio::{
    sync::{mpsc, watch},
    task::JoinSet,
};

use super::{Container, Run, Task, around, blocking};
use crate::{
    Error, Shared, devices,
    error::{LaunchError, LaunchKind},
    health::{self, Health},
    io::Streams,
    launch::{Launched, StdioSpec},
    limits, mounts,
    mounts::MountPoint,
    namespaces, network,
    plan::{self, Permissions, Surroundings},
    ports::{PortError, PublishedPort},
    state::State,
    userns,
    volumes::Held,
};

impl Task {
    pub(super) async fn start(&mut self, size: Option<(u16, u16)>) -> Result<(), Error> {
        let begun = std::time::Instant::now();
        let (container, shared) = (Arc::clone(&self.container), Arc::clone(&self.shared));
        let ports = self.publish().await;
        let launched = match &ports {
            Ok(_) => blocking(move || launch(&container, &shared, size)).await,
            Err(error) => Err(Error::Ports(error.clone())),
        };
        let launched = match launched {
            Ok((launched, held)) => self.connect(launched, held).await,
            Err(error) => Err(error),
        };
        tracing::debug!(took = ?begun.elapsed(), ok = launched.is_ok(), "start");
        let Err(error) = launched else {
            let ports = ports.unwrap_or_default().into();
            self.status.change(|status| status.ports = ports);
            return Ok(());
        };
        self.container.hub.close();
        if ports.is_ok_and(|ports| !ports.is_empty()) {
            self.shared.ports.withdraw(self.container.id.as_str()).await;
        }
        let failure = match &error {
            Error::Launch(failure) => Some(failure.clone()),
            _ => None,
        };
        self.status.change(|status| match &mut status.state {
            State::Created { failed } | State::Exited { failed, .. } => *failed = failure,
            // A policy does not try again what cannot be started.
            State::Restarting { exit, .. } => {
                status.state = State::Exited { exit: exit.clone(), failed: failure };
            }
            _ => {}
        });
        Err(error)
    }

    /// Before the process: a container whose port is taken does not start.
    async fn publish(&self) -> Result<Vec<PublishedPort>, PortError> {
        let record = self.container.record();
        let wanted = record.config.ports.wanted(&record.resolved.exposed, &record.config.network);
        if wanted.is_empty() {
            return Ok(Vec::new());
        }
        self.shared.ports.publish(record.id.as_str(), &record.name, &wanted).await
    }

    /// The process runs: connects its streams and says so.
    async fn connect(&mut self, launched: Launched, held: Held) -> Result<(), Error> {
        let container = &self.container;
        let streams = match Streams::new(launched.stdio) {
            Ok(streams) => streams,
            Err(error) => {
                let (container, shared) = (Arc::clone(container), Arc::clone(&self.shared));
                blocking(move || end_unheard(&container, &shared, held)).await;
                return Err(Error::Launch(LaunchError {
                    kind: LaunchKind::Engine,
                    message: format!("the process's streams cannot be used: {error}"),
                }));
            }
        };
        let stdin = streams.input.map(|input| {
            let (sender, chunks) = mpsc::channel(8);
            tokio::spawn(input.feed(chunks));
            sender
        });
        container.hub.connect(stdin, streams.terminal);
        let (ended, watch_end) = watch::channel(false);
        let mut pumps = JoinSet::new();
        for (channel, output) in streams.outputs {
            pumps.spawn(Arc::clone(&container.hub).pump(channel, output, watch_end.clone()));
        }
        let started_at = Timestamp::now();
        let pid = launched.target.pid;
        *container.target.lock() = Some(launched.target);
        let check = container.record().resolved.health.clone();
        let health = check.as_ref().map(|_| Arc::new(Health::default()));
        around::tell_begin(container, &self.shared);
        self.shared.tell(container, "start", []);
        self.status.change(|status| {
            status.state = State::Running { pid, started_at };
            status.trace = launched.trace.into();
            status.health = health;
            status.oom_killed = false;
        });
        let watch = |check| {
            health::watch(Arc::clone(container), Arc::clone(&self.shared), check, started_at)
        };
        self.run = Some(Run {
            started_at,
            exit: launched.exit,
            ended,
            pumps,
            kill_at: None,
            held,
            oom: around::watch_oom(container, &self.shared),
            oom_told: 0,
            last: false,
            stopping: false,
            restart: None,
            _health: check.map(watch),
        });
        Ok(())
    }
}

/// Ends a process that nobody would ever hear of; its exit is the reaper's alone. Blocks.
fn end_unheard(container: &Container, shared: &Shared, held: Held) {
    container.target.lock().take();
    let (launcher, cgroup) = (&shared.launcher, container.cgroup());
    let ended = launcher.kill_all(&cgroup).and_then(|()| launcher.remove_cgroup(&cgroup));
    if let Err(error) = ended {
        tracing::warn!(%error, "a container without usable streams is left");
    }
    network::give_up(container, shared);
    drop(held);
}

/// Everything from the configuration to the process. Blocks.
fn launch(
    container: &Container,
    shared: &Arc<Shared>,
    size: Option<(u16, u16)>,
) -> Result<(Launched, Held), Error> {
    let record = container.record();
    let (config, resolved) = (&record.config, &record.resolved);
    // Again: the setting may be another than when it was made.
    userns::validate(config, shared.user_namespace.as_ref())?;
    let permissions = Permissions::of(config)?;
    let cgroup = container.cgroup();
    let (mut nodes, device_rules) = devices::resolve(config)?;
    if config.privileged {
        nodes.extend(plan::devices_of_the_vm().map_err(Error::file("read", "/dev"))?);
    }
    let around = Surroundings {
        cgroup: cgroup.clone(),
        folder: container.folder.path().into(),
        devices: nodes,
        device_rules,
        disk_limits: limits::disk_limits(&config.limits, devices::disk)?,
        seccomp: shared.seccomp(config, &permissions)?,
        user_namespace: shared.user_namespace(config).cloned(),
        size,
    };
    let mut plan = plan::build(config, resolved, around)?;
    let launcher = shared.launcher.as_ref();
    let own = mounts::plan::mounts(&resolved.mounts, &shared.volumes, launcher)?;
    plan.mounts = mounts::plan::merge(plan.mounts, own);
    let held = shared.volumes.hold(resolved.mounts.iter().filter_map(MountPoint::volume))?;
    let attributes = config.log.attributes(record.as_ref())?;
    container
        .hub
        .open(attributes)
        .map_err(Error::file("open the log in", container.folder.path()))?;
    let stdio = StdioSpec { stdin: config.open_stdin, output: true };
    let joins = namespaces::find(container, shared)?;
    let _files = container.files.lock();
    let _turn = container.networking.lock();
    let prepared = network::prepare(container, shared)?;
    prepared.change(config, &mut plan);
    let launched = prepared
        .with(container, shared, |network| shared.launcher.start(&plan, stdio, network, &joins));
    match launched {
        Ok(launched) => {
            *container.target.lock() = Some(launched.target.clone());
            Ok((launched, held))
        }
        Err(failure) => {
            network::give_up(container, shared);
            if let Err(error) = shared.launcher.remove_cgroup(&cgroup) {
                tracing::warn!(%error, "the cgroup of a failed start was not removed");
            }
            Err(Error::Launch(failure))
        }
    }
}
