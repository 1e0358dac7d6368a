//! When a container is in its networks, and what it finds in /etc of that.

use std::path::Path;

use linkspan_net::EndpointSpec;
use linkspan_runtime::plan::{MountKind, Plan};

use super::{Bench, config, started, within};
use crate::{Containers, Error, config::Config, network::NetworkConfig};

fn on(network: &str) -> EndpointSpec {
    EndpointSpec { network: network.into(), ..EndpointSpec::default() }
}

fn sleeping_in(networks: &[&str]) -> Config {
    let endpoints = networks.iter().map(|network| on(network)).collect();
    let network = NetworkConfig { endpoints, ..NetworkConfig::default() };
    Config { network, ..config(&["sleep", "1000"]) }
}

fn file(containers: &Containers, who: &str, name: &str) -> String {
    let folder = containers.inspect(who).unwrap().folder;
    std::fs::read_to_string(folder.join(name)).unwrap()
}

fn source(plan: &Plan, destination: &str) -> String {
    let at = |m: &&linkspan_runtime::plan::Mount| m.destination == Path::new(destination);
    match &plan.mounts.iter().find(at).unwrap().kind {
        MountKind::Bind(bind) => bind.source.display().to_string(),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_container_is_in_its_networks_from_its_start_to_its_end() {
    let bench = Bench::new();
    let containers = bench.open();
    containers.create("idle", sleeping_in(&[])).await.unwrap();
    assert_eq!(bench.networks.places(), 0);
    started(&containers, "runs", sleeping_in(&["bridge", "backend"])).await;
    let snapshot = containers.inspect("runs").unwrap();
    let names: Vec<_> = snapshot.endpoints.iter().map(|e| e.network.as_str()).collect();
    assert_eq!(names, ["backend", "bridge"]);
    assert_eq!(bench.networks.plugged(), [snapshot.record.id.to_string()]);
    within(containers.stop("runs", None, None)).await.unwrap();
    assert_eq!(bench.networks.places(), 0);
}

#[tokio::test]
async fn a_network_that_cannot_be_made_ends_the_start_and_leaves_nothing() {
    let bench = Bench::new();
    let containers = bench.open();
    containers.create("one", sleeping_in(&["nowhere"])).await.unwrap();
    let error = containers.start("one").await.unwrap_err();
    assert_eq!(error.to_string(), "network nowhere not found");
    bench.networks.refuse("it is a test");
    containers.create("two", sleeping_in(&[])).await.unwrap();
    let error = containers.start("two").await.unwrap_err();
    assert!(error.to_string().contains("it is a test"), "{error}");
    assert_eq!(bench.networks.places(), 0);
}

#[tokio::test]
async fn only_where_names_are_is_the_name_server_the_containers_own() {
    let bench = Bench::new();
    let containers = bench.open();
    started(&containers, "plain", sleeping_in(&[])).await;
    assert_eq!(file(&containers, "plain", "resolv.conf"), "nameserver 10.0.2.3\n");
    started(&containers, "named", sleeping_in(&["backend"])).await;
    let resolv = file(&containers, "named", "resolv.conf");
    assert_eq!(resolv, "nameserver 127.0.0.11\noptions ndots:0\n");
}

#[tokio::test]
async fn a_shared_network_brings_its_files_and_no_namespace() {
    let bench = Bench::new();
    let containers = bench.open();
    containers.create("late", sleeping_in(&["container:first"])).await.unwrap();
    let error = containers.start("late").await.unwrap_err();
    assert!(matches!(error, Error::NotFound(_)), "{error}");
    started(&containers, "first", sleeping_in(&["backend"])).await;
    containers.start("late").await.unwrap();
    let plans = bench.launcher.plans();
    let (first, late) = (&plans[0], &plans[1]);
    assert!(first.namespaces.network && !late.namespaces.network);
    for name in ["/etc/hosts", "/etc/resolv.conf", "/etc/hostname"] {
        assert_eq!(source(first, name), source(late, name));
    }
    assert_eq!(late.hostname, first.hostname);
    assert!(late.sysctls.iter().all(|(name, _)| !name.starts_with("net.")));
    let id = containers.inspect("late").unwrap().record.id.clone();
    assert!(!bench.networks.plugged().contains(&id.to_string()));
}

#[tokio::test]
async fn the_machines_network_is_not_touched_by_a_container_that_uses_it() {
    let bench = Bench::new();
    let containers = bench.open();
    started(&containers, "one", sleeping_in(&["host"])).await;
    let plan = bench.launcher.plans().remove(0);
    assert!(!plan.namespaces.network);
    assert!(plan.sysctls.iter().all(|(name, _)| !name.starts_with("net.")));
    assert!(bench.networks.plugged().is_empty());
}

#[tokio::test]
async fn what_was_connected_is_connected_after_the_next_start_and_boot() {
    let bench = Bench::new();
    let containers = bench.open();
    started(&containers, "one", sleeping_in(&[])).await;
    containers.connect("one", on("backend")).await.unwrap();
    assert_eq!(containers.inspect("one").unwrap().endpoints.len(), 2);
    assert!(file(&containers, "one", "resolv.conf").contains("127.0.0.11"));
    let twice = containers.connect("one", on("backend")).await.unwrap_err();
    assert!(twice.to_string().contains("already exists"), "{twice}");
    containers.disconnect("one", "bridge").await.unwrap();
    within(containers.stop("one", None, None)).await.unwrap();
    let containers = bench.open();
    containers.start("one").await.unwrap();
    let snapshot = containers.inspect("one").unwrap();
    let names: Vec<_> = snapshot.endpoints.iter().map(|e| e.network.as_str()).collect();
    assert_eq!(names, ["backend"]);
    let gone = containers.disconnect("one", "bridge").await.unwrap_err();
    assert!(gone.to_string().contains("is not connected"), "{gone}");
    let host = containers.connect("one", on("host")).await.unwrap_err();
    assert!(host.to_string().starts_with("network: "), "{host}");
}

#[tokio::test]
async fn a_change_that_cannot_be_kept_is_not_made() {
    let bench = Bench::new();
    let containers = bench.open();
    started(&containers, "one", sleeping_in(&["bridge"])).await;
    let folder = containers.inspect("one").unwrap().folder;
    // In the way of what is written beside the file first.
    let in_the_way = folder.join("networks.tmp");
    std::fs::create_dir(&in_the_way).unwrap();
    let hosts = file(&containers, "one", "hosts");
    for error in [
        containers.connect("one", on("backend")).await.unwrap_err(),
        containers.disconnect("one", "bridge").await.unwrap_err(),
    ] {
        assert!(error.to_string().contains("networks.json"), "{error}");
    }
    let names = |containers: &Containers| -> Vec<String> {
        let endpoints = containers.inspect("one").unwrap().endpoints;
        endpoints.into_iter().map(|endpoint| endpoint.network).collect()
    };
    assert_eq!(names(&containers), ["bridge"]);
    assert_eq!(file(&containers, "one", "hosts"), hosts);
    std::fs::remove_dir(&in_the_way).unwrap();
    containers.connect("one", on("backend")).await.unwrap();
    assert_eq!(names(&containers), ["backend", "bridge"]);
}

#[tokio::test]
async fn what_makes_no_sense_together_is_refused_by_name() {
    let bench = Bench::new();
    let containers = bench.open();
    let with = |change: fn(&mut Config), networks: &[&str]| {
        let mut config = sleeping_in(networks);
        change(&mut config);
        config
    };
    for (config, option) in [
        (with(|_| {}, &["host", "backend"]), "--network"),
        (with(|_| {}, &["container:"]), "--network"),
        (with(|c| c.hostname = "x".into(), &["container:x"]), "--hostname"),
        (
            with(|c| c.network.endpoints[0].mac = "02:42:00:00:00:01".into(), &["none"]),
            "--mac-address",
        ),
        (with(|c| c.network.endpoints[0].mac = "odd".into(), &["backend"]), "--mac-address"),
        (with(|c| c.network.endpoints[0].aliases = vec!["x".into()], &["host"]), "--network-alias"),
        (with(|c| c.network.dns.extra_hosts = vec!["x".into()], &["backend"]), "--add-host"),
    ] {
        let error = containers.create("", config).await.unwrap_err().to_string();
        assert!(error.starts_with(&format!("{option}: ")), "{error}");
    }
}

#[tokio::test]
async fn a_container_that_runs_is_found_by_its_new_name() {
    let bench = Bench::new();
    let containers = bench.open();
    started(&containers, "old", sleeping_in(&["backend"])).await;
    containers.rename("old", "new").await.unwrap();
    let endpoint = containers.inspect("new").unwrap().endpoints.remove(0);
    assert_eq!((endpoint.container_name.as_str(), endpoint.names[0].as_str()), ("new", "new"));
}

#[tokio::test]
async fn a_paused_container_is_connected_and_disconnected_as_one_that_runs() {
    let bench = Bench::new();
    let containers = bench.open();
    started(&containers, "one", sleeping_in(&[])).await;
    containers.pause("one").await.unwrap();
    let names = || -> Vec<String> {
        let endpoints = containers.inspect("one").unwrap().endpoints;
        endpoints.into_iter().map(|endpoint| endpoint.network).collect()
    };
    containers.connect("one", on("backend")).await.unwrap();
    assert_eq!(names(), ["backend", "bridge"]);
    containers.disconnect("one", "bridge").await.unwrap();
    assert_eq!(names(), ["backend"]);
    containers.remove("one", true, false).await.unwrap();
}
