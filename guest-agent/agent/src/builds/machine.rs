//! The commands of a build: containers without a record, each with its own network for its time.

use std::{fs, io::Read as _, os::fd::OwnedFd, path::Path, thread};

use linkspan_build::Network;
use linkspan_builder::{Command, Ended, Machine};
use linkspan_containers::launch::{
    ExitCode, Joins, Launched, Network as LaunchNetwork, Stdio, StdioSpec,
};
use linkspan_net::{
    EndpointSpec, Member,
    files::{self, DnsSpec},
};
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::{Builds, ssh::Agents};
use crate::{failure::chain, registries::Registries};

/// The network that containers have unless they say otherwise.
const NETWORK: &str = "bridge";
/// What a pipe holds.
const CHUNK: usize = 64 * 1024;

/// Runs the commands of one build.
pub(super) struct BuildMachine {
    pub(super) builds: Builds,
    pub(super) registries: Registries,
    pub(super) runtime: Handle,
    pub(super) agents: Agents,
    pub(super) cancelled: CancellationToken,
}

/// A place in a network, given up at the end.
struct Plugged<'a> {
    builds: &'a Builds,
    id: &'a str,
}

impl Drop for Plugged<'_> {
    fn drop(&mut self) {
        let networks = &self.builds.networks;
        networks.clean(networks.leave(self.id));
    }
}

impl Machine for BuildMachine {
    fn run(
        &self,
        mut command: Command<'_>,
        output: &(dyn Fn(bool, &[u8]) + Sync),
    ) -> Result<Ended, String> {
        let launcher = &self.builds.launcher;
        if command.confined {
            let filter = launcher.default_seccomp(&command.plan.process.capabilities);
            command.plan.process.seccomp = filter.map_err(|error| error.to_string())?;
        }
        let id = command.id.clone();
        let plugged = Plugged { builds: &self.builds, id: &id };
        let dns = DnsSpec { extra_hosts: command.extra_hosts.to_vec(), ..DnsSpec::default() };
        let names = self.prepare_network(&command, &dns)?;
        let plug = |namespace: std::os::fd::BorrowedFd<'_>| {
            let names = names.then_some(&dns);
            self.builds.networks.plug(&id, namespace, names).map_err(|error| error.to_string())
        };
        let network = match command.network {
            Network::Host => LaunchNetwork::Plain,
            Network::Default | Network::None => LaunchNetwork::Prepare(&plug),
        };
        let streams = StdioSpec { stdin: false, output: true };
        let cgroup = command.plan.cgroup.clone();
        let launched = launcher.start(&command.plan, streams, network, &Joins::default());
        let result = launched
            .map_err(|error| error.message)
            .and_then(|launched| self.watch(launched, &cgroup, output));
        // Nothing of it stays: a process that it left in the background has no root any more.
        if let Err(error) =
            launcher.kill_all(&cgroup).and_then(|()| launcher.remove_cgroup(&cgroup))
        {
            tracing::warn!(%error, "the cgroup of a build's command stays behind");
        }
        drop(plugged);
        result
    }

    fn fetch(&self, url: &str, to: &Path) -> Result<(), String> {
        let client = self.registries.client();
        let fetched = async {
            tokio::select! {
                () = self.cancelled.cancelled() => Err("the build was cancelled".to_owned()),
                done = client.download(url, to) => done.map_err(|error| chain(&error)),
            }
        };
        self.runtime.block_on(fetched)
    }

    fn ssh_agent(&self, id: &str, socket: &Path) -> Result<Box<dyn Send>, String> {
        self.agents.listen(id, socket)
    }

    fn is_cancelled(&self) -> bool {
        self.cancelled.is_cancelled()
    }
}

impl BuildMachine {
    /// Takes a place in the network and writes the files that go with it. Says whether there are
    /// names.
    fn prepare_network(&self, command: &Command<'_>, dns: &DnsSpec) -> Result<bool, String> {
        let networks = &self.builds.networks;
        let hostname = command.plan.hostname.clone();
        let member = Member {
            id: command.id.clone(),
            name: format!("build-{}", &command.id[..12]),
            hostname: hostname.clone(),
        };
        let wanted = match command.network {
            Network::Default => NETWORK,
            Network::None => "none",
            Network::Host => "host",
        };
        let wanted = EndpointSpec { network: wanted.into(), ..EndpointSpec::default() };
        let places = networks.reserve(&member, &[wanted]).map_err(|error| error.to_string())?;
        let named = places.iter().any(|place| !place.names.is_empty());
        let wires = places.iter().filter_map(|place| place.wire.as_ref());
        let own: Vec<_> = wires.flat_map(|wire| &wire.addresses).map(|a| a.net.addr()).collect();
        let host = networks.host().filter(|_| command.network != Network::None);
        let hosts = files::hosts(&own, &hostname, "", dns, host);
        let hosts = hosts.map_err(|error| error.to_string())?;
        let resolver = networks.resolver().with(dns).render(named);
        for (name, text) in [("hosts", hosts), ("resolv.conf", resolver)] {
            let path = command.folder.join(name);
            let failed = |error| format!("cannot write `{}`: {error}", path.display());
            fs::write(&path, text).map_err(failed)?;
        }
        Ok(named)
    }

    /// Passes on what a command writes, until it has ended.
    fn watch(
        &self,
        launched: Launched,
        cgroup: &Path,
        output: &(dyn Fn(bool, &[u8]) + Sync),
    ) -> Result<Ended, String> {
        let (stdout, stderr) = match launched.stdio {
            Stdio::Pipes { stdout, stderr, .. } => (stdout, stderr),
            Stdio::Terminal { master } => (Some(master), None),
        };
        let exit = launched.exit;
        let code = thread::scope(|scope| {
            for (is_stderr, pipe) in [(false, stdout), (true, stderr)] {
                scope.spawn(move || drain(pipe, &|bytes| output(is_stderr, bytes)));
            }
            let code = self.runtime.block_on(async {
                let mut exit = exit;
                tokio::select! {
                    code = &mut exit => return code,
                    () = self.cancelled.cancelled() => {}
                }
                self.kill(cgroup);
                exit.await
            });
            // What it left in the background would hold the pipes.
            self.kill(cgroup);
            code
        });
        let ExitCode(code) = code.map_err(|_| "its end was not seen".to_owned())?;
        let kills = self.builds.launcher.oom_kills(cgroup).unwrap_or(0);
        Ok(Ended { code, out_of_memory: kills > 0 })
    }

    fn kill(&self, cgroup: &Path) {
        if let Err(error) = self.builds.launcher.kill_all(cgroup) {
            tracing::warn!(%error, "a command of a build cannot be ended");
        }
    }
}

fn drain(pipe: Option<OwnedFd>, output: &dyn Fn(&[u8])) {
    let Some(pipe) = pipe else { return };
    let mut file = fs::File::from(pipe);
    let mut buffer = vec![0; CHUNK];
    // Every end of a pipe is an end: the exit code says how the command ended.
    while let Ok(length @ 1..) = file.read(&mut buffer) {
        output(&buffer[..length]);
    }
}
