//! Which crate may know which: the only boundary that Rust enforces, checked against the rules.

use std::{
    collections::{BTreeMap, BTreeSet},
    path::PathBuf,
    process::Command,
};

use serde::Deserialize;

#[derive(Deserialize)]
struct Metadata {
    packages: Vec<Package>,
    workspace_members: Vec<String>,
    workspace_default_members: Vec<String>,
    resolve: Resolve,
}
#[derive(Deserialize)]
struct Package {
    id: String,
    name: String,
    manifest_path: PathBuf,
}
#[derive(Deserialize)]
struct Resolve {
    nodes: Vec<Node>,
}
#[derive(Deserialize)]
struct Node {
    id: String,
    deps: Vec<Dep>,
}
#[derive(Deserialize)]
struct Dep {
    pkg: String,
    dep_kinds: Vec<DepKind>,
}
#[derive(Deserialize)]
struct DepKind {
    kind: Option<String>,
}

/// The graph of what is compiled into each crate (no build or test dependencies).
struct Graph {
    edges: BTreeMap<String, BTreeSet<String>>,
    members: BTreeMap<String, PathBuf>,
    /// Members that cargo leaves out where no crate is named.
    only_by_name: BTreeSet<String>,
}

impl Graph {
    fn load() -> Self {
        let root = root();
        let output = Command::new(env!("CARGO"))
            .args(["metadata", "--format-version=1", "--locked"])
            .current_dir(&root)
            .output()
            .expect("cargo metadata starts");
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let data: Metadata = serde_json::from_slice(&output.stdout).expect("cargo metadata parses");
        let name: BTreeMap<_, _> =
            data.packages.iter().map(|p| (p.id.clone(), p.name.clone())).collect();
        let edges = data
            .resolve
            .nodes
            .iter()
            .map(|node| {
                let deps = node
                    .deps
                    .iter()
                    .filter(|dep| dep.dep_kinds.iter().any(|kind| kind.kind.is_none()))
                    .map(|dep| name[&dep.pkg].clone())
                    .collect();
                (name[&node.id].clone(), deps)
            })
            .collect();
        let members = data
            .packages
            .iter()
            .filter(|p| data.workspace_members.contains(&p.id))
            .map(|p| {
                let folder = p.manifest_path.parent().expect("a manifest has a folder");
                (p.name.clone(), folder.strip_prefix(&root).expect("inside").to_owned())
            })
            .collect();
        let only_by_name = data
            .packages
            .iter()
            .filter(|p| data.workspace_members.contains(&p.id))
            .filter(|p| !data.workspace_default_members.contains(&p.id))
            .map(|p| p.name.clone())
            .collect();
        Self { edges, members, only_by_name }
    }

    /// The shortest way from one crate to another, if there is one.
    fn path(&self, from: &str, to: &str) -> Option<Vec<String>> {
        let mut queue = std::collections::VecDeque::from([vec![from.to_owned()]]);
        let mut seen = BTreeSet::new();
        while let Some(path) = queue.pop_front() {
            let last = path.last().expect("never empty");
            if last == to {
                return Some(path);
            }
            for next in self.edges.get(last).into_iter().flatten() {
                if seen.insert(next.clone()) {
                    queue.push_back(path.iter().cloned().chain([next.clone()]).collect());
                }
            }
        }
        None
    }

    fn forbid(&self, from: &str, to: &str, why: &str) {
        assert!(self.edges.contains_key(from), "the rule names `{from}`, which is not a crate");
        if let Some(path) = self.path(from, to) {
            panic!("{from} must not know {to}: {why}\n  by way of {}", path.join(" -> "));
        }
    }
}

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .and_then(std::path::Path::parent)
        .expect("tests/layers is two folders below the root")
        .to_owned()
}

/// Invariant 2.
#[test]
fn the_runtime_is_synchronous_and_knows_no_wire_types() {
    let graph = Graph::load();
    for crate_ in [
        "linkspan-runtime",
        "linkspan-init",
        "linkspan-oci",
        "linkspan-sys",
        "linkspan-images",
        "linkspan-files",
        "linkspan-build",
        "linkspan-builder",
        "linkspan-net",
        "linkspan-records",
    ] {
        for foreign in ["tokio", "tonic", "linkspan-proto"] {
            graph.forbid(crate_, foreign, "it is on the synchronous side");
        }
    }
    for foreign in ["tonic", "prost", "linkspan-proto"] {
        graph.forbid("linkspan-containers", foreign, "containers knows no wire types");
    }
}

#[test]
fn the_registry_client_knows_no_wire_types_and_no_containers() {
    let graph = Graph::load();
    for foreign in ["tonic", "prost", "linkspan-proto", "linkspan-containers", "linkspan-runtime"] {
        graph.forbid("linkspan-registry", foreign, "it moves blobs and knows not what for");
    }
    // Unicode tables that the initramfs should not carry.
    graph.forbid("linkspan-registry", "icu_normalizer", "names of registries are ASCII");
    graph.forbid("linkspan-images", "linkspan-registry", "the store is synchronous");
}

/// Invariant 4.
#[test]
fn drivers_know_neither_engine_nor_agent_protocol_nor_each_other() {
    let graph = Graph::load();
    let drivers: Vec<_> =
        graph.members.keys().filter(|name| name.starts_with("linkspan-driver-")).cloned().collect();
    assert!(drivers.len() >= 3, "{drivers:?}");
    for driver in &drivers {
        for foreign in ["linkspan-engine", "linkspan-agent-client", "linkspan-proto", "tonic"] {
            graph.forbid(driver, foreign, "a driver runs a VM and nothing more");
        }
        for other in drivers.iter().filter(|other| *other != driver) {
            graph.forbid(driver, other, "drivers do not know each other");
        }
        for general in
            ["linkspan-machine", "linkspan-engine", "linkspan-gateway", "linkspan-client"]
        {
            graph.forbid(general, driver, "only the daemon's wiring names a driver");
        }
    }
}

#[test]
fn device_processes_know_at_most_the_contract_and_only_the_daemon_knows_them() {
    let graph = Graph::load();
    for device in ["linkspan-vsock-device", "linkspan-fs-device"] {
        for other in graph.members.keys().filter(|name| *name != device) {
            // What a folder's device and the agent say of changes is theirs: the contract.
            if (device, other.as_str()) != ("linkspan-fs-device", "linkspan-proto") {
                graph.forbid(device, other, "it is a process beside QEMU");
            }
            if other != "linkspan-daemon" {
                graph.forbid(other, device, "only the daemon's program is it");
            }
        }
    }
}

#[test]
fn credentials_know_the_contract_and_nothing_else_of_ours() {
    let graph = Graph::load();
    let ours = graph
        .members
        .keys()
        .filter(|name| !matches!(name.as_str(), "linkspan-credentials" | "linkspan-proto"));
    for other in ours {
        graph.forbid("linkspan-credentials", other, "it only finds and keeps secrets");
    }
    for foreign in ["tracing", "hyper"] {
        let direct = graph.edges["linkspan-credentials"].contains(foreign);
        assert!(!direct, "credentials are neither logged nor sent: no {foreign}");
    }
}

#[test]
fn local_files_know_the_contract_and_talk_to_nobody() {
    let graph = Graph::load();
    let ours = graph
        .members
        .keys()
        .filter(|name| !matches!(name.as_str(), "linkspan-local-files" | "linkspan-proto"));
    for other in ours {
        graph.forbid("linkspan-local-files", other, "it is told which file, and by whom not");
    }
    let direct = &graph.edges["linkspan-local-files"];
    assert!(!direct.contains("tokio"), "it is synchronous");
}

#[test]
fn the_machine_knows_no_protocol() {
    let graph = Graph::load();
    for foreign in ["linkspan-proto", "tonic", "linkspan-agent-client"] {
        graph.forbid("linkspan-machine", foreign, "the engine gives it a `Guest`");
    }
}

#[test]
fn host_and_guest_meet_only_in_the_contract() {
    let graph = Graph::load();
    let side = |folder: &str| -> Vec<String> {
        graph
            .members
            .iter()
            .filter(|(_, path)| path.starts_with(folder))
            .map(|(name, _)| name.clone())
            .collect()
    };
    for host in side("host-app") {
        for guest in side("guest-agent") {
            graph.forbid(&host, &guest, "the host must build on Windows and macOS");
            graph.forbid(&guest, &host, "the guest must stay small");
        }
    }
}

#[test]
fn dockers_types_know_the_contract_only() {
    let graph = Graph::load();
    for other in graph.members.keys().filter(|name| name.starts_with("linkspan-")) {
        if !["linkspan-docker-types", "linkspan-proto"].contains(&other.as_str()) {
            graph.forbid(
                "linkspan-docker-types",
                other,
                "it is JSON and the contract, nothing more",
            );
        }
    }
    for foreign in ["clap", "bollard-stubs"] {
        graph.forbid("linkspan-docker-types", foreign, "it is a library of conversions");
    }
}

#[test]
fn the_clients_do_not_reach_around_the_daemon() {
    let graph = Graph::load();
    for client in ["linkspan-cli", "linkspan-client", "linkspan-desktop"] {
        for inner in ["linkspan-engine", "linkspan-machine", "linkspan-gateway"] {
            graph.forbid(client, inner, "clients speak to the daemon over its socket");
        }
    }
}

#[test]
fn only_the_window_needs_the_libraries_of_a_desktop() {
    let graph = Graph::load();
    assert_eq!(graph.only_by_name, BTreeSet::from(["linkspan-desktop".to_owned()]));
    for other in graph.members.keys().filter(|name| *name != "linkspan-desktop") {
        graph.forbid(other, "tauri", "it must build where there is no desktop");
    }
}

#[test]
fn every_member_has_its_rule_as_a_comment() {
    let manifest = std::fs::read_to_string(root().join("Cargo.toml")).expect("Cargo.toml");
    let members = manifest
        .split_once("members = [")
        .and_then(|(_, rest)| rest.split_once("\n]"))
        .expect("a members list")
        .0;
    let mut commented = false;
    for line in members.lines().map(str::trim).filter(|line| !line.is_empty()) {
        if line.starts_with('#') {
            commented = true;
        } else if line.starts_with("\"host-app/drivers/") {
            assert!(commented, "{line} has no comment");
        } else {
            assert!(commented, "{line} has no comment that states its rule");
            commented = false;
        }
    }
}
