//! Ports as Docker shows them.

use std::collections::BTreeMap;

use linkspan_proto::v1::{ContainerSummary, PortMapping, PortProtocol, PublishedPort};
use serde::Serialize;

fn key(port: u32, protocol: PortProtocol) -> String {
    let protocol = match protocol {
        PortProtocol::Tcp => "tcp",
        PortProtocol::Udp => "udp",
    };
    format!("{port}/{protocol}")
}

/// `80/tcp`
pub(crate) fn inner(port: &PublishedPort) -> String {
    key(port.container_port, port.protocol())
}

/// `127.0.0.1:8080`, `[::1]:8080`
pub(crate) fn outer(port: &PublishedPort) -> String {
    if port.host_ip.contains(':') {
        format!("[{}]:{}", port.host_ip, port.host_port)
    } else {
        format!("{}:{}", port.host_ip, port.host_port)
    }
}

/// The column of `ps`: what is published, then what is only exposed.
pub(crate) fn column(container: &ContainerSummary) -> String {
    let mut ports: Vec<&PublishedPort> = container.ports.iter().collect();
    ports.sort_by_key(|port| (port.container_port, port.protocol, port.host_ip.contains(':')));
    let mut all: Vec<String> =
        ports.iter().map(|port| format!("{}->{}", outer(port), inner(port))).collect();
    let published: Vec<String> = container.ports.iter().map(inner).collect();
    all.extend(container.exposed_ports.iter().filter(|port| !published.contains(port)).cloned());
    all.join(", ")
}

/// One value of `NetworkSettings.Ports`.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
pub(crate) struct Binding {
    host_ip: String,
    host_port: String,
}

/// `NetworkSettings.Ports`: null for a port that is only exposed.
pub(crate) fn map(container: &ContainerSummary) -> BTreeMap<String, Option<Vec<Binding>>> {
    let mut map: BTreeMap<String, Option<Vec<Binding>>> =
        container.exposed_ports.iter().map(|port| (port.clone(), None)).collect();
    for port in &container.ports {
        let binding =
            Binding { host_ip: port.host_ip.clone(), host_port: port.host_port.to_string() };
        map.entry(inner(port)).or_insert(None).get_or_insert_default().push(binding);
    }
    map
}

/// `HostConfig.PortBindings`: what was asked for.
pub(crate) fn bindings(asked: &[PortMapping]) -> BTreeMap<String, Vec<Binding>> {
    let mut map: BTreeMap<String, Vec<Binding>> = BTreeMap::new();
    for wish in asked {
        let host_port = match (wish.host_port, wish.host_port_last) {
            (0, _) => String::new(),
            (first, last) if last > first => format!("{first}-{last}"),
            (port, _) => port.to_string(),
        };
        let binding = Binding { host_ip: wish.host_ip.clone(), host_port };
        map.entry(key(wish.container_port, wish.protocol())).or_default().push(binding);
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    fn web() -> ContainerSummary {
        let port = |host_ip: &str| PublishedPort {
            host_ip: host_ip.into(),
            host_port: 8080,
            container_port: 80,
            protocol: PortProtocol::Tcp.into(),
        };
        ContainerSummary {
            ports: vec![port("127.0.0.1"), port("::1")],
            exposed_ports: vec!["53/udp".into(), "80/tcp".into()],
            ..ContainerSummary::default()
        }
    }

    #[test]
    fn ports_look_as_dockers() {
        assert_eq!(column(&web()), "127.0.0.1:8080->80/tcp, [::1]:8080->80/tcp, 53/udp");
        let map = serde_json::to_value(map(&web())).expect("JSON");
        assert_eq!(map["80/tcp"][0]["HostPort"], "8080");
        assert!(map["53/udp"].is_null());
    }
}
