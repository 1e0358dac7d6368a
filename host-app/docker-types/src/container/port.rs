//! Ports: what is published, and what of it was asked for.

use std::collections::BTreeMap;
use std::net::IpAddr;

use linkspan_proto::v1::{ContainerSummary, PortMapping, PortProtocol, PublishedPort};
use serde::{Deserialize, Serialize};

use crate::error::Refused;
use crate::{Set, is_zero};

/// One value of `NetworkSettings.Ports` and of `HostConfig.PortBindings`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Binding {
    pub host_ip: String,
    /// A port, a range of which one is taken, or empty for any.
    pub host_port: String,
}

/// In a list of containers.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(default, rename_all = "PascalCase")]
#[allow(missing_docs, reason = "the fields are Docker's")]
pub struct Port {
    #[serde(rename = "IP", skip_serializing_if = "String::is_empty")]
    pub ip: String,
    pub private_port: u32,
    #[serde(skip_serializing_if = "is_zero")]
    pub public_port: u32,
    pub r#type: String,
}

/// `80/tcp`
#[must_use]
pub fn key(port: u32, protocol: PortProtocol) -> String {
    format!("{port}/{}", word(protocol))
}

fn word(protocol: PortProtocol) -> &'static str {
    match protocol {
        PortProtocol::Tcp => "tcp",
        PortProtocol::Udp => "udp",
    }
}

/// A list's `Ports`: what is published, and what is only exposed without an address.
#[must_use]
pub fn list(container: &ContainerSummary) -> Vec<Port> {
    let published = container.ports.iter().map(|port| Port {
        ip: port.host_ip.clone(),
        private_port: port.container_port,
        public_port: port.host_port,
        r#type: word(port.protocol()).into(),
    });
    let taken: Vec<String> = container.ports.iter().map(inner).collect();
    let exposed = container.exposed_ports.iter().filter(|port| !taken.contains(port));
    let exposed = exposed.filter_map(|port| {
        let (number, protocol) = port.split_once('/')?;
        Some(Port {
            private_port: number.parse().ok()?,
            r#type: protocol.into(),
            ..Port::default()
        })
    });
    let mut all: Vec<Port> = published.chain(exposed).collect();
    all.sort_unstable();
    all
}

/// `80/tcp`
#[must_use]
pub fn inner(port: &PublishedPort) -> String {
    key(port.container_port, port.protocol())
}

/// `NetworkSettings.Ports`: null for a port that is only exposed.
#[must_use]
pub fn map(container: &ContainerSummary) -> BTreeMap<String, Option<Vec<Binding>>> {
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
#[must_use]
pub fn bindings(asked: &[PortMapping]) -> BTreeMap<String, Option<Vec<Binding>>> {
    let mut map: BTreeMap<String, Option<Vec<Binding>>> = BTreeMap::new();
    for wish in asked {
        let host_port = match (wish.host_port, wish.host_port_last) {
            (0, _) => String::new(),
            (first, last) if last > first => format!("{first}-{last}"),
            (port, _) => port.to_string(),
        };
        let binding = Binding { host_ip: wish.host_ip.clone(), host_port };
        let key = key(wish.container_port, wish.protocol());
        map.entry(key).or_default().get_or_insert_default().push(binding);
    }
    map
}

/// `HostConfig.PortBindings` as wishes. A port with an empty list is published on any port, as
/// Docker Engine backfills it.
///
/// # Errors
/// What is no port, no address, or has a protocol that is not forwarded.
pub(crate) fn mappings(
    asked: &BTreeMap<String, Option<Vec<Binding>>>,
) -> Result<Vec<PortMapping>, Refused> {
    let mut all = Vec::new();
    for (key, bindings) in asked {
        let (container, protocol) = split(key)?;
        let any = vec![Binding::default()];
        let bindings = bindings.as_ref().filter(|bindings| !bindings.is_empty()).unwrap_or(&any);
        for binding in bindings {
            let host = match binding.host_port.as_str() {
                "" | "0" => (0, 0),
                text => range(text).map_err(Refused::Invalid)?,
            };
            all.push(PortMapping {
                host_ip: host_address(&binding.host_ip).map_err(Refused::Invalid)?,
                host_port: host.0.into(),
                host_port_last: host.1.into(),
                container_port: container.into(),
                protocol: protocol.into(),
            });
        }
    }
    Ok(all)
}

/// `Config.ExposedPorts`: each as `80/tcp`, ranges taken apart.
///
/// # Errors
/// As [`mappings`].
pub(crate) fn exposed(asked: &Set) -> Result<Vec<String>, Refused> {
    let mut all = Vec::new();
    for key in asked.keys() {
        all.extend(expose(key).map_err(Refused::Invalid)?);
    }
    Ok(all)
}

fn split(key: &str) -> Result<(u16, PortProtocol), Refused> {
    let (port, protocol) = split_protocol(key).map_err(Refused::Invalid)?;
    let (first, last) = range(port).map_err(Refused::Invalid)?;
    match first == last {
        true => Ok((first, protocol)),
        false => Err(Refused::Invalid(format!("`{key}` is a range: a binding is for one port"))),
    }
}

/// `53-54/udp` as `53/udp` and `54/udp`.
///
/// # Errors
/// What is wrong with the text.
pub fn expose(text: &str) -> Result<Vec<String>, String> {
    let (ports, protocol) = split_protocol(text)?;
    let (first, last) = range(ports)?;
    Ok((first..=last).map(|port| key(port.into(), protocol)).collect())
}

/// `80/tcp` in its two parts; without one it is TCP.
///
/// # Errors
/// Protocols that are not forwarded.
pub fn split_protocol(text: &str) -> Result<(&str, PortProtocol), String> {
    let Some((rest, protocol)) = text.split_once('/') else { return Ok((text, PortProtocol::Tcp)) };
    match protocol.to_ascii_lowercase().as_str() {
        "tcp" => Ok((rest, PortProtocol::Tcp)),
        "udp" => Ok((rest, PortProtocol::Udp)),
        "sctp" => Err("sctp is not supported: this host would need a listener for it".into()),
        other => Err(format!("there is no protocol `{other}`: tcp and udp are supported")),
    }
}

/// An address of the host, an IPv6 one with or without brackets, in its usual form. Empty stays
/// empty.
///
/// # Errors
/// When it is none.
pub fn host_address(text: &str) -> Result<String, String> {
    let inner = text.strip_prefix('[').and_then(|text| text.strip_suffix(']')).unwrap_or(text);
    if inner.is_empty() {
        return Ok(String::new());
    }
    let address: IpAddr = inner.parse().map_err(|_| format!("`{inner}` is not an IP address"))?;
    Ok(address.to_string())
}

/// A port, or `FIRST-LAST`.
///
/// # Errors
/// What is wrong with the text.
pub fn range(text: &str) -> Result<(u16, u16), String> {
    let port = |text: &str| match text.parse::<u16>() {
        Ok(port) if port != 0 => Ok(port),
        _ => Err(format!("`{text}` is not a port: 1 to 65535 are")),
    };
    let (first, last) = match text.split_once('-') {
        Some((first, last)) => (port(first)?, port(last)?),
        None => (port(text)?, port(text)?),
    };
    if first > last {
        return Err(format!("`{text}` ends before it begins"));
    }
    Ok((first, last))
}

/// That a port could not be published, in Docker's words, which clients look for. The text is the
/// engine's (`linkspan_forward::PublishError`); none when it says something else.
#[must_use]
pub fn taken(message: &str) -> Option<String> {
    let (_, rest) = message.split_once("cannot publish its ports: ")?;
    let why = if let Some(rest) = rest.strip_prefix("port ") {
        let (address, _) = rest.split_once('/')?;
        format!("Bind for {address} failed: port is already allocated")
    } else {
        let (address, _) = rest.strip_prefix("cannot listen on ")?.split_once(": ")?;
        format!("failed to bind host port {address}: address already in use")
    };
    Some(format!(
        "failed to set up container networking: driver failed programming external connectivity: {why}"
    ))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_port_that_another_container_has_is_told_in_dockers_words() {
        let told = taken(
            "cannot publish its ports: port 127.0.0.1:80/tcp is already published by container web",
        )
        .unwrap();
        assert!(told.contains("Bind for 127.0.0.1:80 failed: port is already allocated"), "{told}");
        let told = taken("cannot publish its ports: cannot listen on [::]:80/tcp: Address in use");
        assert!(
            told.unwrap().ends_with("failed to bind host port [::]:80/tcp: address already in use")
        );
        assert_eq!(taken("the name is taken"), None);
    }

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
        let shown = serde_json::to_value(map(&web())).unwrap();
        assert_eq!(shown["80/tcp"][0], json!({"HostIp": "127.0.0.1", "HostPort": "8080"}));
        assert!(shown["53/udp"].is_null());
        assert_eq!(
            serde_json::to_value(list(&web())).unwrap(),
            json!([
                {"PrivatePort": 53, "Type": "udp"},
                {"IP": "127.0.0.1", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
                {"IP": "::1", "PrivatePort": 80, "PublicPort": 8080, "Type": "tcp"},
            ])
        );
    }

    #[test]
    fn bindings_are_read_and_shown_alike() {
        let asked = json!({
            "80/tcp": [{"HostIp": "127.0.0.1", "HostPort": "8080"}, {"HostIp": "", "HostPort": ""}],
            "53/udp": [{"HostIp": "::1", "HostPort": "5000-5010"}],
        });
        let read = crate::json::from_value(asked.clone()).unwrap();
        let mapped = mappings(&read).unwrap();
        assert_eq!(mapped.len(), 3);
        assert_eq!((mapped[0].host_port, mapped[0].host_port_last), (5000, 5010));
        assert_eq!(serde_json::to_value(bindings(&mapped)).unwrap(), asked);
        // Docker's client writes a port without a protocol, and `0` for any.
        let read = crate::json::from_value(json!({"80": [{"HostPort": "0"}], "81": null})).unwrap();
        let mapped = mappings(&read).unwrap();
        assert_eq!((mapped[0].host_port, mapped[0].container_port), (0, 80));
        assert_eq!((mapped[1].host_port, mapped[1].container_port), (0, 81));
    }

    #[test]
    fn what_is_no_port_is_refused() {
        for (asked, why) in [
            (json!({"http": []}), "`http` is not a port"),
            (json!({"80/sctp": []}), "sctp is not supported"),
            (json!({"80-81/tcp": []}), "is a range"),
            (json!({"80": [{"HostPort": "x"}]}), "`x` is not a port"),
            (json!({"80": [{"HostIp": "localhost"}]}), "`localhost` is not an IP address"),
        ] {
            let read = crate::json::from_value(asked).unwrap();
            assert!(mappings(&read).unwrap_err().to_string().contains(why), "{why}");
        }
        assert_eq!(expose("53-54/udp").unwrap(), ["53/udp", "54/udp"]);
    }
}
