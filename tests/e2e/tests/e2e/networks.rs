//! Networks, addresses and names, from inside containers.

use std::{
    io::{Read as _, Write as _},
    net::TcpListener,
    thread::{self, JoinHandle},
};

use linkspan_test_e2e::{Done, Host, wait_until};

use crate::{CHECKER, SOON, Shared, unique};

/// A container that does nothing, in the background.
fn idle(host: &Host, flags: &[&str]) -> String {
    let name = unique("member");
    let args = [&["run", "-d", "--name", &name][..], flags, &["busybox", "sleep", "600"]].concat();
    let _ = host.run(&args).ok();
    name
}

fn exec(host: &Host, name: &str, command: &[&str]) -> Done {
    host.run(&[&["exec", name][..], command].concat())
}

fn ping(host: &Host, from: &str, to: &str) -> bool {
    exec(host, from, &["ping", "-c", "1", "-W", "2", to]).code == 0
}

/// What inspect knows of a container's place in a network.
fn endpoint(host: &Host, name: &str, network: &str) -> serde_json::Value {
    let all = host.run(&["inspect", name]).ok().json();
    all[0]["NetworkSettings"]["Networks"][network].clone()
}

fn clean(host: &Host, containers: &[&str], networks: &[&str]) {
    let _ = host.run(&[&["rm", "-f"][..], containers].concat()).ok();
    for network in networks {
        let _ = host.run(&["network", "rm", network]).ok();
    }
}

/// Answers that many callers, who find it at the host's loopback address only.
fn serve_on_loopback(callers: usize) -> (u16, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let port = listener.local_addr().expect("it listens").port();
    let server = thread::spawn(move || {
        for _ in 0..callers {
            let (mut stream, _) = listener.accept().expect("somebody comes");
            let mut question = [0; 4];
            stream.read_exact(&mut question).expect("a question");
            stream.write_all(b"pong").expect("an answer");
        }
    });
    (port, server)
}

pub(crate) const TESTS: &[Shared] = &[
    ("members_find_each_other_by_name_alias_and_short_id", |host| {
        let network = unique("names");
        let _ = host.run(&["network", "create", &network]).ok();
        let one = idle(host, &["--network", &network, "--network-alias", "db"]);
        let other = idle(host, &["--network", &network]);
        let id = host.run(&["inspect", "-f", "{{.Id}}", &one]).ok().text();
        for name in [&*one, "db", &id[..12]] {
            assert!(ping(host, &other, name), "{name}");
        }
        let resolver = exec(host, &other, &["cat", "/etc/resolv.conf"]).ok().text();
        assert!(resolver.contains("nameserver 127.0.0.11"), "{resolver}");
        let _ = host.run(&["rename", &one, &format!("{one}-renamed")]).ok();
        let renamed = format!("{one}-renamed");
        assert!(wait_until(SOON, || ping(host, &other, &renamed)));
        // In the default bridge there are addresses only, as with Docker.
        let plain = idle(host, &[]);
        let alone = idle(host, &[]);
        assert!(!ping(host, &plain, &alone));
        let address = endpoint(host, &alone, "bridge")["IPAddress"].clone();
        assert!(ping(host, &plain, address.as_str().expect("an address")));
        clean(host, &[&renamed, &other, &plain, &alone], &[&network]);
    }),
    ("addresses_of_both_families_are_the_ones_that_are_asked_for", |host| {
        let network = unique("addresses");
        let create = ["network", "create", "--subnet", "10.77.0.0/24", "--subnet"];
        let _ = host.run(&[&create[..], &["fd77::/64", "--ipv6", &network]].concat()).ok();
        let flags = ["--network", &network, "--ip", "10.77.0.77", "--ip6", "fd77::77"];
        let one = idle(host, &[&flags[..], &["--mac-address", "02:42:0a:4d:00:4d"]].concat());
        let other = idle(host, &["--network", &network]);
        let shown = endpoint(host, &one, &network);
        assert_eq!(shown["IPAddress"], "10.77.0.77");
        assert_eq!(shown["GlobalIPv6Address"], "fd77::77");
        assert_eq!(shown["MacAddress"], "02:42:0a:4d:00:4d");
        let link = exec(host, &one, &["ip", "link", "show", "eth0"]).ok().text();
        assert!(link.contains("02:42:0a:4d:00:4d"), "{link}");
        for address in ["10.77.0.77", "fd77::77"] {
            assert!(wait_until(SOON, || ping(host, &other, address)), "{address}");
        }
        let taken = ["run", "--rm", "--network", &network, "--ip", "10.77.0.77", "busybox"];
        host.run(&taken).fails(125, &["10.77.0.77"]);
        clean(host, &[&one, &other], &[&network]);
    }),
    ("an_internal_network_has_no_way_out", |host| {
        let network = unique("internal");
        let _ = host.run(&["network", "create", "--internal", &network]).ok();
        let one = idle(host, &["--network", &network]);
        let other = idle(host, &["--network", &network]);
        assert!(ping(host, &one, &other));
        // The host, which a container of another network reaches.
        let outside = idle(host, &[]);
        let (port, server) = serve_on_loopback(1);
        let script = format!("echo ping | busybox nc -w 20 host.docker.internal {port}");
        let ask = |name: &str| exec(host, name, &["sh", "-c", &script]);
        assert_ne!(ask(&one).text(), "pong");
        assert_eq!(ask(&outside).ok().text(), "pong", "the control");
        server.join().expect("the server does not panic");
        clean(host, &[&one, &other, &outside], &[&network]);
    }),
    ("a_running_container_comes_into_a_network_and_leaves_it", |host| {
        let network = unique("live");
        let _ = host.run(&["network", "create", &network]).ok();
        let there = idle(host, &["--network", &network]);
        let comes = idle(host, &[]);
        assert!(!ping(host, &comes, &there));
        let connect = ["network", "connect", "--alias", "guest", &network, &comes];
        let _ = host.run(&connect).ok();
        assert!(wait_until(SOON, || ping(host, &comes, &there)));
        assert!(ping(host, &there, "guest"));
        let links = exec(host, &comes, &["ls", "/sys/class/net"]).ok().text();
        assert!(links.contains("eth0") && links.contains("eth1"), "{links}");
        host.run(&connect).fails(1, &[&network]);
        let _ = host.run(&["network", "disconnect", &network, &comes]).ok();
        assert!(!ping(host, &there, "guest"));
        let links = exec(host, &comes, &["ls", "/sys/class/net"]).ok().text();
        assert!(!links.contains("eth1"), "{links}");
        clean(host, &[&there, &comes], &[&network]);
    }),
    ("another_containers_network_is_shared_with_its_loopback", |host| {
        let one = idle(host, &[]);
        let other = idle(host, &["--network", &format!("container:{one}")]);
        let script = "echo hello | busybox nc -l -p 4321";
        let _ = host.run(&["exec", "-d", &one, "sh", "-c", script]).ok();
        let answer = || exec(host, &other, &["nc", "-w", "5", "127.0.0.1", "4321"]).text();
        assert!(wait_until(SOON, || answer() == "hello"));
        let name = |container: &str| exec(host, container, &["hostname"]).ok().text();
        assert_eq!(name(&one), name(&other));
        clean(host, &[&other, &one], &[]);
    }),
    ("hosts_and_resolver_say_what_was_asked_for", |host| {
        let name = idle(
            host,
            &[
                "--hostname=box",
                "--add-host=db:10.1.2.3",
                "--add-host=up:host-gateway",
                "--dns=10.9.8.7",
                "--dns-search=example.test",
                "--dns-option=ndots:3",
            ],
        );
        let hosts = exec(host, &name, &["cat", "/etc/hosts"]).ok().text();
        let lines: Vec<Vec<&str>> =
            hosts.lines().map(|line| line.split_whitespace().collect()).collect();
        let address = |name: &str| {
            let line = lines.iter().find(|line| line[1..].contains(&name));
            line.unwrap_or_else(|| panic!("{name}: {hosts}"))[0].to_owned()
        };
        assert_eq!(address("db"), "10.1.2.3");
        assert_eq!(address("up"), address("host.docker.internal"));
        assert_eq!(address("host.linkspan.internal"), address("host.docker.internal"));
        let own = endpoint(host, &name, "bridge")["IPAddress"].clone();
        assert_eq!(address("box"), own.as_str().expect("an address"));
        let resolver = exec(host, &name, &["cat", "/etc/resolv.conf"]).ok().text();
        for line in ["nameserver 10.9.8.7", "search example.test", "options ndots:3"] {
            assert!(resolver.contains(line), "{line}: {resolver}");
        }
        clean(host, &[&name], &[]);
    }),
    ("a_name_that_no_container_has_is_asked_for_outside", |host| {
        let network = unique("outside");
        let _ = host.run(&["network", "create", "--subnet", "10.79.0.0/24", &network]).ok();
        let name = unique("resolver");
        let args = ["run", "-d", "--name", &name, "--network", &network, "--ip", "10.79.0.53"];
        let server = [CHECKER, "/checker", "name-server", "192.0.2.79"];
        let _ = host.run(&[&args[..], &server].concat()).ok();
        let ask = |name: &str, what: &str| exec(host, name, &["nslookup", what]).text();
        let other = idle(host, &["--network", &network, "--dns", "10.79.0.53"]);
        let asked = || ask(&other, "example.test").contains("192.0.2.79");
        assert!(wait_until(SOON, asked), "{}", ask(&other, "example.test"));
        let own = ask(&other, &name);
        assert!(own.contains("10.79.0.53") && !own.contains("192.0.2.79"), "{own}");
        // Who names no servers has the machine's.
        let shell = |script: &str| host.run(&["machine", "shell", "--", "sh", "-c", script]).ok();
        let before = shell("cat /etc/resolv.conf").text();
        let _ = shell("echo nameserver 10.79.0.53 > /etc/resolv.conf");
        let plain = idle(host, &["--network", &network]);
        let _ = shell(&format!("echo '{before}' > /etc/resolv.conf"));
        let found = ask(&plain, "example.test");
        assert!(found.contains("192.0.2.79"), "{found}");
        clean(host, &[&name, &other, &plain], &[&network]);
    }),
    ("services_on_the_hosts_loopback_are_reached_by_name", |host| {
        let (port, server) = serve_on_loopback(2);
        let name = idle(host, &[]);
        for service in ["host.docker.internal", "host.linkspan.internal"] {
            let script = format!("echo ping | busybox nc -w 20 {service} {port}");
            assert_eq!(exec(host, &name, &["sh", "-c", &script]).ok().text(), "pong", "{service}");
        }
        server.join().expect("the server does not panic");
        clean(host, &[&name], &[]);
    }),
    ("a_network_is_listed_shown_protected_and_removed", |host| {
        let network = unique("listed");
        let create = ["network", "create", "--label", "team=blue", "--subnet", "10.78.0.0/16"];
        let _ = host.run(&[&create[..], &[&network]].concat()).ok();
        let list = ["network", "ls", "--filter", "label=team=blue", "--format", "{{.Name}}"];
        assert_eq!(host.run(&list).ok().text(), network);
        let name = idle(host, &["--network", &network]);
        let shown = &host.run(&["network", "inspect", &network]).ok().json()[0];
        assert_eq!(shown["IPAM"]["Config"][0]["Subnet"], "10.78.0.0/16");
        let members = shown["Containers"].as_object().expect("an object");
        assert!(members.values().any(|member| member["Name"] == *name), "{shown}");
        host.run(&["network", "rm", &network]).fails(1, &[&network]);
        host.run(&["network", "rm", "bridge"]).fails(1, &["bridge"]);
        let overlap = ["network", "create", "--subnet", "10.78.1.0/24", "overlapping"];
        host.run(&overlap).fails(1, &["10.78.0.0/16"]);
        let _ = host.run(&["rm", "-f", &name]).ok();
        let _ = host.run(&["network", "prune", "-f", "--filter", "label=team=blue"]).ok();
        assert_eq!(host.run(&list).ok().text(), "");
    }),
];
