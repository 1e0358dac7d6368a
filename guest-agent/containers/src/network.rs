//! A container and its networks: what it asked for, what it gets when it starts, what changes
//! while it runs, and what its files in /etc say of that.
//!
//! The networks themselves are behind [`Networks`]. What was connected or disconnected after
//! `create` is in `networks.json` of the container's folder; without the file, the configuration
//! counts.

use std::{
    fs,
    net::IpAddr,
    os::fd::{AsFd as _, BorrowedFd, OwnedFd},
    path::{Path, PathBuf},
    sync::Arc,
};

use linkspan_net::{
    Driver, Endpoint, EndpointSpec, Error as NetError, Mac, Member,
    files::{self, DnsSpec, HostAddress, Resolver},
};
use linkspan_runtime::plan::{MountKind, Plan};
use serde::{Deserialize, Serialize};

use crate::{
    Containers, Error, Shared,
    config::Config,
    container::Container,
    launch::{Network as LaunchNetwork, Target},
};

mod change;

/// The network that a container is in when nobody says.
const DEFAULT: &str = "bridge";
/// Before the id of the container whose network is shared.
const CONTAINER: &str = "container:";
/// The files that a container reads its network from.
const FILES: [&str; 3] = ["hosts", "hostname", "resolv.conf"];

/// What `create` was asked for.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct NetworkConfig {
    /// `--network`, in order. Empty: the default bridge. `host`, `none` and `container:ID` are
    /// alone.
    pub endpoints: Vec<EndpointSpec>,
    /// `--dns`, `--dns-search`, `--dns-option`, `--add-host`.
    pub dns: DnsSpec,
}

/// Where a container's network is.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Mode {
    /// In networks of its own choice; with one of type `none`, loopback only.
    Own,
    /// The VM's.
    Host,
    /// Another container's, by name or id.
    Container(String),
}

impl NetworkConfig {
    /// Where the network is.
    #[must_use]
    pub fn mode(&self) -> Mode {
        match self.endpoints.first().map(|endpoint| endpoint.network.as_str()) {
            Some("host") => Mode::Host,
            Some(network) => match network.strip_prefix(CONTAINER) {
                Some(who) => Mode::Container(who.into()),
                None => Mode::Own,
            },
            None => Mode::Own,
        }
    }

    fn wanted(&self) -> Vec<EndpointSpec> {
        let mut endpoints = self.endpoints.clone();
        if endpoints.is_empty() {
            endpoints.push(EndpointSpec::default());
        }
        for endpoint in &mut endpoints {
            if ["", "default"].contains(&endpoint.network.as_str()) {
                endpoint.network = DEFAULT.into();
            }
        }
        endpoints
    }
}

/// Checks what can be checked without knowing the networks. Docker's rules.
///
/// # Errors
/// Names the option.
pub fn validate(config: &Config) -> Result<(), Error> {
    let network = &config.network;
    network.dns.check()?;
    for endpoint in &network.endpoints {
        if !endpoint.mac.is_empty() {
            endpoint.mac.parse::<Mac>()?;
        }
    }
    let alone = |name: &str| ["host", "none"].contains(&name) || name.starts_with(CONTAINER);
    if network.endpoints.len() > 1 && network.endpoints.iter().any(|e| alone(&e.network)) {
        let why = "host, none and container:ID cannot be combined with other networks";
        return Err(Error::invalid("--network", why));
    }
    let mode = network.mode();
    if mode == Mode::Own && network.endpoints.iter().all(|e| e.network != "none") {
        return Ok(());
    }
    let Some(endpoint) = network.endpoints.first() else { return Ok(()) };
    let conflict = |option: &'static str| {
        let why = format!("it has no meaning with --network {}", endpoint.network);
        Err(Error::invalid(option, why))
    };
    if !endpoint.mac.is_empty() {
        return conflict("--mac-address");
    }
    if endpoint.ipv4.is_some() {
        return conflict("--ip");
    }
    if endpoint.ipv6.is_some() {
        return conflict("--ip6");
    }
    if !endpoint.aliases.is_empty() {
        return conflict("--network-alias");
    }
    if let Mode::Container(who) = mode {
        if who.is_empty() {
            return Err(Error::invalid("--network", "container: needs a name or an id"));
        }
        if !config.hostname.is_empty() {
            return conflict("--hostname");
        }
        if !network.dns.servers.is_empty() {
            return conflict("--dns");
        }
        if !network.dns.extra_hosts.is_empty() {
            return conflict("--add-host");
        }
    }
    Ok(())
}

/// Knows networks. Every function blocks.
pub trait Networks: Send + Sync + 'static {
    /// Takes a container's places, all or none.
    ///
    /// # Errors
    /// When a network or an address cannot be had.
    fn reserve(&self, member: &Member, wanted: &[EndpointSpec]) -> Result<Vec<Endpoint>, NetError>;

    /// Makes the interfaces of the places that have none yet, and with `names` a name server.
    ///
    /// # Errors
    /// When the kernel refuses.
    fn plug(
        &self,
        container: &str,
        namespace: BorrowedFd<'_>,
        names: Option<&DnsSpec>,
    ) -> Result<(), NetError>;

    /// A container's places.
    fn endpoints(&self, container: &str) -> Vec<Endpoint>;

    /// A container that may run has another name.
    fn rename(&self, container: &str, name: &str);

    /// Gives up all places of a container at once; what it had is cleaned up afterwards.
    fn leave(&self, container: &str) -> Vec<Endpoint>;

    /// Cleans up after [`Networks::leave`].
    fn clean(&self, left: Vec<Endpoint>);

    /// Takes a container that runs out of a network.
    ///
    /// # Errors
    /// When it is not in it, or the kernel refuses.
    fn disconnect(
        &self,
        container: &str,
        network: &str,
        namespace: BorrowedFd<'_>,
    ) -> Result<(), NetError>;

    /// The full name and the driver of a network.
    ///
    /// # Errors
    /// When there is none.
    fn find(&self, network: &str) -> Result<(String, Driver), NetError>;

    /// How the VM resolves names.
    fn resolver(&self) -> Resolver;

    /// Where the VM sees the host.
    fn host(&self) -> Option<HostAddress>;
}

/// A container's network before its process exists.
pub(crate) enum Prepared {
    /// Its places are reserved.
    Own { names: bool },
    /// It uses the VM's.
    Host,
    /// It uses another container's, whose files are in this folder.
    Join { namespace: OwnedFd, folder: PathBuf, hostname: String },
}

/// Reserves what a start needs and writes the files. [`give_up`] undoes it.
pub(crate) fn prepare(container: &Container, shared: &Arc<Shared>) -> Result<Prepared, Error> {
    let record = container.record();
    let config = &record.config;
    match config.network.mode() {
        Mode::Container(who) => join(container, shared, &who),
        mode => {
            let wanted = wanted(container)?;
            shared.networks.reserve(&member(container), &wanted)?;
            let names = write_files(container, shared).inspect_err(|_| give_up(container, shared));
            names.map(
                |names| if mode == Mode::Host { Prepared::Host } else { Prepared::Own { names } },
            )
        }
    }
}

fn join(container: &Container, shared: &Arc<Shared>, who: &str) -> Result<Prepared, Error> {
    let all = Containers { shared: Arc::clone(shared) };
    let other = all.find(who)?;
    let target = joinable(container, &other, "join the network of")?;
    let namespace = shared.launcher.network_namespace(&target).map_err(|source| {
        Error::Process { action: "join the network of", name: other.name(), source }
    })?;
    Ok(Prepared::Join {
        namespace,
        folder: other.folder.path().into(),
        hostname: other.record().resolved.hostname.clone(),
    })
}

/// The process of another container that runs.
pub(crate) fn joinable(
    container: &Container,
    other: &Container,
    action: &'static str,
) -> Result<Target, Error> {
    let refused = |why: &str| Error::WrongState { action, name: other.name(), why: why.into() };
    if other.id == container.id {
        return Err(refused("it is the same container"));
    }
    other.target.lock().clone().ok_or_else(|| refused("it is not running"))
}

impl Prepared {
    /// What differs from a container with a network of its own.
    pub(crate) fn change(&self, config: &Config, plan: &mut Plan) {
        if let Self::Own { .. } = self {
            return;
        }
        plan.namespaces.network = false;
        // Those of a namespace that is not the container's stay as they are, unless asked for.
        plan.sysctls
            .retain(|(name, _)| !name.starts_with("net.") || config.sysctls.contains_key(name));
        let Self::Join { folder, hostname, .. } = self else { return };
        plan.hostname.clone_from(hostname);
        for name in FILES {
            let at = Path::new("/etc").join(name);
            if let Some(mount) = plan.mounts.iter_mut().find(|mount| mount.destination == at)
                && let MountKind::Bind(bind) = &mut mount.kind
            {
                bind.source = folder.join(name);
            }
        }
    }

    /// Hands it to `start`.
    pub(crate) fn with<T>(
        &self,
        container: &Container,
        shared: &Shared,
        start: impl FnOnce(LaunchNetwork<'_>) -> T,
    ) -> T {
        match self {
            Self::Host => start(LaunchNetwork::Plain),
            Self::Join { namespace, .. } => start(LaunchNetwork::Join(namespace.as_fd())),
            Self::Own { names } => {
                let record = container.record();
                let dns = &record.config.network.dns;
                start(LaunchNetwork::Prepare(&|namespace| {
                    let id = container.id.as_str();
                    let plugged = shared.networks.plug(id, namespace, names.then_some(dns));
                    plugged.map_err(|error| error.to_string())
                }))
            }
        }
    }
}

/// Undoes [`prepare`] after a start that failed.
pub(crate) fn give_up(container: &Container, shared: &Shared) {
    shared.networks.clean(shared.networks.leave(container.id.as_str()));
}

fn member(container: &Container) -> Member {
    Member {
        id: container.id.to_string(),
        name: container.name(),
        hostname: container.record().config.hostname.clone(),
    }
}

/// Writes /etc/hosts and /etc/resolv.conf for the places that the container has now. They are
/// mounted in a container that runs, so they are written in place. Says whether there are names.
fn write_files(container: &Container, shared: &Shared) -> Result<bool, Error> {
    let record = container.record();
    let (config, resolved) = (&record.config, &record.resolved);
    let endpoints = shared.networks.endpoints(container.id.as_str());
    let named = endpoints.iter().any(|endpoint| !endpoint.names.is_empty());
    let own: Vec<IpAddr> = endpoints
        .iter()
        .filter_map(|endpoint| endpoint.wire.as_ref())
        .flat_map(|wire| wire.addresses.iter().map(|address| address.net.addr()))
        .collect();
    let reaches_host = config.network.mode() == Mode::Host
        || endpoints.iter().any(|e| e.wire.as_ref().is_some_and(|wire| wire.default_route));
    let host = shared.networks.host().filter(|_| reaches_host);
    let dns = &config.network.dns;
    let hosts = files::hosts(&own, &resolved.hostname, &config.domainname, dns, host)?;
    let resolver = shared.networks.resolver().with(dns).render(named);
    for (name, text) in [("hosts", hosts), ("resolv.conf", resolver)] {
        let path = container.folder.path().join(name);
        fs::write(&path, text).map_err(Error::file("write", &path))?;
    }
    Ok(named)
}

/// What was connected since `create`.
#[derive(Serialize, Deserialize)]
struct Changed {
    endpoints: Vec<EndpointSpec>,
}

const FORMAT: u32 = 1;

fn changed_path(container: &Container) -> PathBuf {
    container.folder.path().join("networks.json")
}

/// The networks that the container starts in.
fn wanted(container: &Container) -> Result<Vec<EndpointSpec>, Error> {
    if let Some(known) = &*container.wanted.lock() {
        return Ok(known.clone());
    }
    let read = read_wanted(container)?;
    // What was decided in the meantime is newer.
    Ok(container.wanted.lock().get_or_insert(read).clone())
}

fn read_wanted(container: &Container) -> Result<Vec<EndpointSpec>, Error> {
    let changed: Option<Changed> = linkspan_records::read(&changed_path(container), FORMAT)?;
    Ok(changed.map_or_else(|| container.record().config.network.wanted(), |read| read.endpoints))
}

fn remember(
    container: &Container,
    shared: &Shared,
    endpoints: Vec<EndpointSpec>,
) -> Result<(), Error> {
    let durability = container.folder.durability();
    let changed = Changed { endpoints };
    linkspan_records::write(&changed_path(container), FORMAT, &changed, durability)?;
    *container.wanted.lock() = Some(changed.endpoints);
    shared.revision.next();
    Ok(())
}

/// The names of the networks that a container is in, or comes into when it starts.
pub(crate) fn names(container: &Container, places: &[Endpoint]) -> Vec<String> {
    if !places.is_empty() {
        return places.iter().map(|place| place.network.clone()).collect();
    }
    // What cannot be read is said when it starts.
    let wanted = wanted(container).unwrap_or_default().into_iter().map(|place| place.network);
    wanted.filter(|network| !network.starts_with(CONTAINER)).collect()
}

impl Containers {
    /// Where a container that runs is reached from the VM: in the network of its default route,
    /// else in the first one; IPv4 before IPv6.
    #[must_use]
    pub fn address(&self, id: &str) -> Option<IpAddr> {
        let endpoints = self.shared.networks.endpoints(id);
        let mut wires: Vec<_> = endpoints.iter().filter_map(|e| e.wire.as_ref()).collect();
        wires.sort_by_key(|wire| !wire.default_route);
        let mut addresses: Vec<IpAddr> =
            wires.first()?.addresses.iter().map(|address| address.net.addr()).collect();
        addresses.sort_by_key(IpAddr::is_ipv6);
        addresses.first().copied()
    }
}
