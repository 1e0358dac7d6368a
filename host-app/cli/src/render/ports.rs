//! Ports as Docker shows them.

pub(crate) use linkspan_docker_types::container::port::inner;
use linkspan_proto::v1::{ContainerSummary, PublishedPort};

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

#[cfg(test)]
mod tests {
    use linkspan_proto::v1::PortProtocol;

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
    }
}
