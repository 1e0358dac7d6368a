//! The whole crate against the kernel, in network namespaces made for each test: one is the VM,
//! each container is one, and so is the world outside. The machine's own network is never touched.

use std::{
    fs::File,
    io::{Read as _, Write as _},
    net::{IpAddr, SocketAddr, TcpListener, TcpStream, UdpSocket},
    os::fd::AsFd as _,
    process::Command,
    thread,
    time::{Duration, Instant},
};

use nix::{
    errno::Errno,
    sched::{CloneFlags, unshare},
    sys::socket::SockProtocol,
};
use tempfile::TempDir;

use crate::{
    EndpointSpec, Error, Member, NetworkSpec, Networks,
    dns::{self, Answer, Directory, Sockets},
    netlink::{
        Socket,
        message::{DUMP, Message},
        route::Route,
    },
    netns,
    uplink::{self, Uplink},
};

/// Long enough for a loaded machine, short enough to wait for what must not happen.
const PATIENCE: Duration = Duration::from_secs(10);
/// A new port of a bridge may take a second to count as connected (net/core/link_watch.c), and a
/// first packet that is lost is repeated after another: what has not come by then does not come.
const NOTHING_COMES: Duration = Duration::from_millis(2_500);

/// The VM: the namespace of the test's thread.
struct Vm {
    networks: Networks,
    _folder: TempDir,
}

struct Container {
    id: String,
    namespace: File,
    names: Option<Sockets>,
}

impl Vm {
    /// None, with the reason printed: namespaces cannot be made here.
    fn new() -> Option<Self> {
        if let Err(errno) = unshare(CloneFlags::CLONE_NEWNET) {
            eprintln!("skipped: no network namespace can be made here: {}", errno.desc());
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let networks = Networks::open(folder.path(), Vec::new()).unwrap();
        Some(Self { networks, _folder: folder })
    }

    fn create(&self, spec: NetworkSpec) -> String {
        self.networks.create(&spec).unwrap()
    }

    fn named(&self, name: &str) -> String {
        self.create(NetworkSpec { name: name.into(), ..NetworkSpec::default() })
    }

    fn run(&self, name: &str, networks: &[&str]) -> Container {
        let id = hex::encode(rand::random::<[u8; 32]>());
        let member = Member { id: id.clone(), name: name.into(), hostname: String::new() };
        let on = |network: &&str| EndpointSpec { network: (*network).into(), ..Default::default() };
        let specs: Vec<_> = networks.iter().map(on).collect();
        self.networks.reserve(&member, &specs).unwrap();
        let namespace = new_namespace();
        let names = self.networks.plug(&id, namespace.as_fd(), true).unwrap();
        Container { id, namespace, names }
    }

    fn address(&self, container: &Container, network: &str, v4: bool) -> IpAddr {
        let all = self.networks.endpoints(&container.id);
        let endpoint = all.iter().find(|endpoint| endpoint.network == network).unwrap();
        endpoint.address(v4).unwrap().net.addr()
    }

    fn end(&self, container: Container) {
        self.networks.clean(self.networks.leave(&container.id));
    }

    /// A namespace outside, with one server in it, on the other side of the VM's network card.
    fn world(&self) -> Option<File> {
        let namespace = new_namespace();
        // Only `ip` can put a link into a namespace by a path without more code of ours.
        let path = format!("/proc/{}/fd/{}", std::process::id(), {
            use std::os::fd::AsRawFd as _;
            namespace.as_raw_fd()
        });
        let ip = |arguments: &str| {
            Command::new("ip")
                .args(arguments.split_whitespace())
                .status()
                .is_ok_and(|s| s.success())
        };
        let made = ip("link add eth0 type veth peer name world0")
            && Command::new("nsenter")
                .args([&format!("--net={path}"), "true"])
                .status()
                .is_ok_and(|s| s.success())
            && ip(&format!("link set world0 netns {path}"));
        if !made {
            eprintln!("skipped: `ip` and `nsenter` are needed to make a world outside");
            return None;
        }
        let address = |text: &str| text.parse().unwrap();
        let vm = Uplink { address: address("10.0.2.15/24"), gateway: "10.0.2.2".parse().unwrap() };
        assert!(uplink::bring_up("eth0", &vm).unwrap());
        // No route back to the containers' subnets: only a translated source gets an answer.
        netns::inside(namespace.as_fd(), || {
            let mut route = Route::open().unwrap();
            let index = route.index("world0").unwrap().unwrap();
            route.add_address(index, address("10.0.2.2/24")).unwrap();
            route.set_up(index).unwrap();
        })
        .unwrap();
        Some(namespace)
    }
}

fn new_namespace() -> File {
    thread::spawn(|| {
        unshare(CloneFlags::CLONE_NEWNET).unwrap();
        File::open("/proc/thread-self/ns/net").unwrap()
    })
    .join()
    .unwrap()
}

fn inside<T: Send>(container: &Container, work: impl FnOnce() -> T + Send) -> T {
    netns::inside(container.namespace.as_fd(), work).unwrap()
}

/// A server in `to`; whom it sees when `from` sends it a word.
fn reaches(from: &File, to: &File, address: IpAddr) -> Option<IpAddr> {
    speak(from, to, address, PATIENCE)
}

fn is_cut_off(from: &File, to: &File, address: IpAddr) -> bool {
    speak(from, to, address, NOTHING_COMES).is_none()
}

fn speak(from: &File, to: &File, address: IpAddr, patience: Duration) -> Option<IpAddr> {
    let listener =
        netns::inside(to.as_fd(), || TcpListener::bind(SocketAddr::new(address, 7))).unwrap();
    let listener = listener.unwrap();
    let to = listener.local_addr().unwrap();
    let client = netns::inside(from.as_fd(), move || TcpStream::connect_timeout(&to, patience));
    let mut client = client.unwrap().ok()?;
    client.write_all(b"word").unwrap();
    let (mut server, peer) = listener.accept().unwrap();
    server.set_read_timeout(Some(PATIENCE)).unwrap();
    let mut word = [0; 4];
    server.read_exact(&mut word).unwrap();
    assert_eq!(&word, b"word");
    Some(peer.ip())
}

/// How many links and packet filter rules this namespace has.
fn census() -> (usize, usize) {
    let links = Route::open().unwrap().links().unwrap().len();
    let mut socket = Socket::open(SockProtocol::NetlinkNetFilter).unwrap();
    // NFT_MSG_GETRULE of the subsystem nf_tables, every family.
    let rules = match socket.dump(Message::new((10 << 8) | 7, DUMP, &[0, 0, 0, 0])) {
        Ok(rules) => rules.len(),
        Err(Errno::ENOENT) => 0,
        Err(errno) => panic!("{errno}"),
    };
    (links, rules)
}

#[test]
fn containers_on_one_bridge_reach_each_other_by_address() {
    let Some(vm) = Vm::new() else { return };
    vm.create(NetworkSpec { name: "six".into(), ipv6: true, ..NetworkSpec::default() });
    for (network, families) in [("bridge", &[true][..]), ("six", &[true, false])] {
        let (a, b) = (vm.run("a", &[network]), vm.run("b", &[network]));
        for &v4 in families {
            let (from, to) = (vm.address(&a, network, v4), vm.address(&b, network, v4));
            assert_eq!(reaches(&a.namespace, &b.namespace, to), Some(from), "{network} {v4}");
        }
    }
}

#[test]
fn networks_are_kept_apart() {
    let Some(vm) = Vm::new() else { return };
    vm.named("one");
    vm.named("two");
    let (a, b) = (vm.run("a", &["one"]), vm.run("b", &["two"]));
    let both = vm.run("both", &["one", "two"]);
    assert!(is_cut_off(&a.namespace, &b.namespace, vm.address(&b, "two", true)));
    for (from, network) in [(&a, "one"), (&b, "two")] {
        let seen = reaches(&from.namespace, &both.namespace, vm.address(&both, network, true));
        assert_eq!(seen, Some(vm.address(from, network, true)), "{network}");
    }
}

#[test]
fn containers_reach_out_with_the_machines_address_except_from_an_internal_network() {
    let Some(vm) = Vm::new() else { return };
    let Some(world) = vm.world() else { return };
    let outside = IpAddr::from([10, 0, 2, 2]);
    vm.create(NetworkSpec { name: "shut".into(), internal: true, ..NetworkSpec::default() });
    let open = vm.run("open", &["bridge"]);
    assert_eq!(reaches(&open.namespace, &world, outside), Some(IpAddr::from([10, 0, 2, 15])));
    let shut = vm.run("shut", &["shut"]);
    assert!(is_cut_off(&shut.namespace, &world, outside));
    // Not even with a route of its own making.
    let gateway = vm.networks.inspect("shut").unwrap().network.pools[0].gateway;
    inside(&shut, || {
        let mut route = Route::open().unwrap();
        let index = route.index("eth0").unwrap().unwrap();
        route.add_default_route(index, gateway).unwrap();
    });
    assert!(is_cut_off(&shut.namespace, &world, outside));
    let inner = vm.run("inner", &["shut"]);
    let to = vm.address(&inner, "shut", true);
    assert!(reaches(&shut.namespace, &inner.namespace, to).is_some());
}

#[test]
fn without_icc_containers_of_a_network_do_not_reach_each_other() {
    let Some(vm) = Vm::new() else { return };
    let option = ("com.docker.network.bridge.enable_icc".to_owned(), "false".to_owned());
    vm.create(NetworkSpec {
        name: "loners".into(),
        options: [option].into(),
        ..NetworkSpec::default()
    });
    let (a, b) = (vm.run("a", &["loners"]), vm.run("b", &["loners"]));
    assert!(is_cut_off(&a.namespace, &b.namespace, vm.address(&b, "loners", true)));
}

#[test]
fn nothing_is_left_of_containers_and_networks_that_are_gone() {
    let Some(vm) = Vm::new() else { return };
    let before = census();
    for _ in 0..5 {
        vm.named("brief");
        let many: Vec<_> = (0..4).map(|n| vm.run(&format!("c{n}"), &["bridge", "brief"])).collect();
        assert!(matches!(vm.networks.remove("brief"), Err(Error::InUse { .. })));
        let addresses: Vec<_> = many.iter().map(|c| vm.address(c, "bridge", true)).collect();
        many.into_iter().for_each(|container| vm.end(container));
        let again = vm.run("again", &["bridge"]);
        assert_eq!(vm.address(&again, "bridge", true), addresses[0]);
        vm.end(again);
        vm.networks.remove("brief").unwrap();
    }
    // The default bridge stays, with its three rules and the one for all.
    let (links, rules) = census();
    assert_eq!((links, rules), (before.0 + 1, before.1 + 4));
}

#[test]
fn a_failed_plug_leaves_nothing_once_it_is_cleaned() {
    let Some(vm) = Vm::new() else { return };
    let first = vm.run("first", &["bridge"]);
    let before = census();
    let member = Member { id: "f".repeat(64), ..Member::default() };
    let spec = EndpointSpec { network: "bridge".into(), ..EndpointSpec::default() };
    vm.networks.reserve(&member, &[spec]).unwrap();
    // Not a namespace.
    let file = File::open("/dev/null").unwrap();
    let error = vm.networks.plug(&member.id, file.as_fd(), false).unwrap_err();
    assert!(matches!(error, Error::Kernel { .. }), "{error}");
    vm.networks.clean(vm.networks.leave(&member.id));
    assert_eq!(census(), before);
    vm.end(first);
}

#[test]
fn networks_come_and_go_while_a_container_runs() {
    let Some(vm) = Vm::new() else { return };
    let Some(world) = vm.world() else { return };
    let outside = IpAddr::from([10, 0, 2, 2]);
    vm.named("late");
    let container = vm.run("c", &["bridge"]);
    let peer = vm.run("peer", &["late"]);
    let member = Member { id: container.id.clone(), name: "c".into(), hostname: String::new() };
    let spec = EndpointSpec { network: "late".into(), ..EndpointSpec::default() };
    vm.networks.reserve(&member, std::slice::from_ref(&spec)).unwrap();
    vm.networks.plug(&container.id, container.namespace.as_fd(), false).unwrap();
    let there = vm.address(&peer, "late", true);
    assert!(reaches(&container.namespace, &peer.namespace, there).is_some());
    let twice = vm.networks.reserve(&member, &[spec]).unwrap_err();
    assert!(matches!(twice, Error::AlreadyConnected { .. }), "{twice}");
    // The way out moves to what is left.
    vm.networks.disconnect(&container.id, "bridge", container.namespace.as_fd()).unwrap();
    assert!(reaches(&container.namespace, &world, outside).is_some());
    vm.networks.disconnect(&container.id, "late", container.namespace.as_fd()).unwrap();
    assert!(is_cut_off(&container.namespace, &world, outside));
    let gone = vm.networks.disconnect(&container.id, "late", container.namespace.as_fd());
    assert!(matches!(gone, Err(Error::NotConnected { .. })));
}

#[test]
fn a_network_is_left_though_nothing_else_leads_out() {
    let Some(vm) = Vm::new() else { return };
    vm.named("late");
    let container = vm.run("c", &["bridge", "late"]);
    let down = inside(&container, || ip("link set eth1 down"));
    if !down {
        eprintln!("skipped: `ip` is needed to take an interface down");
        return;
    }
    vm.networks.disconnect(&container.id, "bridge", container.namespace.as_fd()).unwrap();
    assert_eq!(vm.networks.endpoints(&container.id).len(), 1);
}

fn ip(arguments: &str) -> bool {
    let ip = Command::new("ip").args(arguments.split_whitespace()).status();
    ip.is_ok_and(|status| status.success())
}

#[test]
fn an_interface_of_the_machine_does_not_become_a_bridge_nor_goes_with_a_network() {
    let Some(vm) = Vm::new() else { return };
    let on = |bridge: &str| NetworkSpec {
        name: format!("on-{bridge}"),
        options: [("com.docker.network.bridge.name".to_owned(), bridge.to_owned())].into(),
        ..NetworkSpec::default()
    };
    let refused = vm.networks.create(&on("lo")).unwrap_err().to_string();
    assert!(refused.contains("bridge.name=lo"), "{refused}");
    vm.create(on("late0"));
    if !ip("link add late0 type veth peer name late1") {
        eprintln!("skipped: `ip` is needed to make an interface");
        return;
    }
    let member = Member { id: "a".repeat(64), ..Member::default() };
    let spec = EndpointSpec { network: "on-late0".into(), ..EndpointSpec::default() };
    vm.networks.reserve(&member, &[spec]).unwrap();
    let namespace = new_namespace();
    let refused = vm.networks.plug(&member.id, namespace.as_fd(), false).unwrap_err().to_string();
    assert!(refused.contains("bridge.name=late0"), "{refused}");
    vm.networks.clean(vm.networks.leave(&member.id));
    vm.networks.remove("on-late0").unwrap();
    assert!(Route::open().unwrap().index("late0").unwrap().is_some(), "it is not ours");
}

/// Somebody else owns our table of rules for as long as the answer lives (NFT_TABLE_F_OWNER).
fn own_the_rules() -> Option<Socket> {
    crate::netlink::nft::delete("linkspan").unwrap();
    let mut socket = Socket::open(SockProtocol::NetlinkNetFilter).unwrap();
    let bracket = |kind| Message::silent(kind, &[0, 0, 0, 10]);
    let family = [nix::libc::NFPROTO_INET as u8, 0, 0, 0];
    // NFT_MSG_NEWTABLE with NLM_F_CREATE; NFTA_TABLE_NAME, NFTA_TABLE_FLAGS.
    let table = Message::new(10 << 8, 0x400, &family).text(1, "linkspan").be32(2, 2);
    let begin = nix::libc::NLMSG_MIN_TYPE as u16;
    match socket.transact(vec![bracket(begin), table, bracket(begin + 1)]) {
        Ok(()) => Some(socket),
        Err(failed) => {
            eprintln!("skipped: this kernel's tables have no owners: {}", failed.errno.desc());
            None
        }
    }
}

#[test]
fn a_network_that_the_kernel_does_not_let_go_is_there_as_before() {
    let Some(vm) = Vm::new() else { return };
    let before = census();
    vm.named("mine");
    vm.named("other");
    let first = vm.run("first", &["mine"]);
    vm.end(first);
    let Some(owner) = own_the_rules() else { return };
    let refused = vm.networks.remove("mine").unwrap_err();
    assert!(matches!(refused, Error::Kernel { .. }), "{refused}");
    assert_eq!(vm.networks.prune(|view| view.network.name != "bridge"), ["other"]);
    drop(owner);
    let second = vm.run("second", &["mine"]);
    vm.end(second);
    vm.networks.remove("mine").unwrap();
    assert_eq!(census(), before);
}

struct Names<'a>(&'a Networks, &'a str);

impl Directory for Names<'_> {
    fn addresses(&self, name: &str) -> Option<Vec<IpAddr>> {
        self.0.resolve(self.1, name)
    }

    fn name(&self, address: IpAddr) -> Option<String> {
        self.0.reverse(self.1, address)
    }
}

#[test]
fn a_container_is_answered_at_port_53_while_the_port_stays_its_own() {
    let Some(vm) = Vm::new() else { return };
    vm.named("backend");
    let (web, db) = (vm.run("web", &["backend"]), vm.run("db", &["backend"]));
    let expected = vm.address(&db, "backend", true);
    let sockets = web.names.as_ref().unwrap();
    // A name server of the container's own.
    let _own = inside(&web, || UdpSocket::bind("0.0.0.0:53")).unwrap();
    let client = inside(&web, || UdpSocket::bind("0.0.0.0:0")).unwrap();
    client.connect((dns::SERVER, 53)).unwrap();
    // `db`, A, IN; see RFC 1035 4.1.
    let mut query = vec![0, 9, 1, 0, 0, 1, 0, 0, 0, 0, 0, 0];
    query.extend_from_slice(b"\x02db\0\0\x01\0\x01");
    client.send(&query).unwrap();
    let mut buffer = [0; 512];
    let deadline = Instant::now() + PATIENCE;
    let (length, from) = loop {
        match sockets.udp.recv_from(&mut buffer) {
            Ok(received) => break received,
            Err(error) if Instant::now() > deadline => panic!("no question came: {error}"),
            Err(_) => thread::yield_now(),
        }
    };
    assert_eq!(buffer[..length], query);
    let answer = dns::answer(&query, dns::UDP_LIMIT, &Names(&vm.networks, &web.id));
    let Answer::Reply(reply) = answer else { panic!("{answer:?}") };
    sockets.udp.send_to(&reply, from).unwrap();
    client.set_read_timeout(Some(PATIENCE)).unwrap();
    // The socket is connected to port 53: the answer has to come from there.
    let length = client.recv(&mut buffer).unwrap();
    let IpAddr::V4(expected) = expected else { panic!("{expected}") };
    assert_eq!(&buffer[length - 4..length], expected.octets());
    assert_eq!(vm.networks.reverse(&web.id, expected.into()).as_deref(), Some("db.backend"));
    assert!(inside(&web, || TcpStream::connect((dns::SERVER, 53))).is_ok());
}

#[test]
fn only_networks_with_names_have_names() {
    let Some(vm) = Vm::new() else { return };
    vm.named("backend");
    let (a, _b) = (vm.run("a", &["bridge"]), vm.run("b", &["bridge"]));
    assert_eq!(vm.networks.resolve(&a.id, "b"), None);
    let (c, d) = (vm.run("c", &["backend"]), vm.run("d", &["backend"]));
    let there = vm.address(&d, "backend", true);
    for name in ["d", "D", "d.backend", &d.id[..12]] {
        assert_eq!(vm.networks.resolve(&c.id, name), Some(vec![there]), "{name}");
    }
    assert_eq!(vm.networks.resolve(&c.id, "a"), None);
    assert_eq!(vm.networks.resolve(&a.id, "d"), None);
}

#[test]
fn a_file_that_cannot_be_read_is_set_aside_and_the_networks_that_are_always_there_are_made() {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("networks.json");
    for unreadable in ["half of a", r#"{"format":99}"#] {
        std::fs::write(&file, unreadable).unwrap();
        let networks = Networks::open(folder.path(), Vec::new()).unwrap();
        let names: Vec<String> = networks.list().into_iter().map(|v| v.network.name).collect();
        assert_eq!(names, ["bridge", "host", "none"]);
        let aside = folder.path().join("networks.json.unreadable");
        assert_eq!(std::fs::read_to_string(aside).unwrap(), unreadable);
        let again = Networks::open(folder.path(), Vec::new()).unwrap();
        assert_eq!(again.list(), networks.list(), "they are kept");
    }
}
