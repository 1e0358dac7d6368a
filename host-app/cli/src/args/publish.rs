//! `-p`, `--expose` and `-P`, in all of Docker's forms.

use clap::Args;
use linkspan_docker_types::container::port::{self, host_address, range, split_protocol};
use linkspan_proto::v1::PortMapping;

const PORTS: &str = "Ports";

/// The flags of `run` and `create` that are about ports.
#[derive(Debug, Args)]
pub(crate) struct PortFlags {
    /// Listen on this host and pass on to the container: [[ADDRESS:]HOST[-HOST]:]PORT[-PORT][/udp].
    /// Without an address on the loopback addresses, without a host port on a random one
    #[arg(short, long, value_name = "PORT", value_parser = published, help_heading = PORTS)]
    publish: Vec<Mappings>,
    /// Publish every exposed port on a random port of this host
    #[arg(short = 'P', long, help_heading = PORTS)]
    publish_all: bool,
    /// Say that a port is used: PORT[-PORT][/udp]
    #[arg(long, value_name = "PORT", value_parser = exposed, help_heading = PORTS)]
    expose: Vec<Exposed>,
}

/// What one `-p` comes to. A type of its own: clap would take a `Vec` for several values.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Mappings(Vec<PortMapping>);

/// What one `--expose` comes to: `80/tcp`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Exposed(Vec<String>);

impl PortFlags {
    pub(crate) fn published(&self) -> Vec<PortMapping> {
        self.publish.iter().flat_map(|one| one.0.clone()).collect()
    }

    pub(crate) fn exposed(&self) -> Vec<String> {
        self.expose.iter().flat_map(|one| one.0.clone()).collect()
    }

    pub(crate) fn publish_all(&self) -> bool {
        self.publish_all
    }
}

fn published(text: &str) -> Result<Mappings, String> {
    let short = if text.contains('=') { short_form(text)? } else { text.to_owned() };
    let (rest, protocol) = split_protocol(&short)?;
    let (rest, container) = match rest.rsplit_once(':') {
        Some((rest, container)) => (Some(rest), container),
        None => (None, rest),
    };
    let (address, host) = match rest {
        None => (None, ""),
        Some(rest) => match rest.rsplit_once(':') {
            // The colons of an IPv6 address are in brackets.
            Some((address, host)) if !rest.ends_with(']') => (Some(address), host),
            _ if rest.starts_with('[') => (Some(rest), ""),
            _ => (None, rest),
        },
    };
    let host_ip = address.map(host_address).transpose()?.unwrap_or_default();
    let (first, last) = range(container)?;
    let host = Some(host).filter(|host| !host.is_empty()).map(range).transpose()?;
    let mapping = |container: u16, host: Option<(u16, u16)>| PortMapping {
        host_ip: host_ip.clone(),
        host_port: host.map_or(0, |(first, _)| first.into()),
        host_port_last: host.map_or(0, |(_, last)| last.into()),
        container_port: container.into(),
        protocol: protocol.into(),
    };
    let ports = first..=last;
    match host {
        None => Ok(Mappings(ports.map(|port| mapping(port, None)).collect())),
        Some(host) if first == last => Ok(Mappings(vec![mapping(first, Some(host))])),
        Some((low, high)) if high - low == last - first => {
            Ok(Mappings(ports.zip(low..=high).map(|(c, h)| mapping(c, Some((h, h)))).collect()))
        }
        Some(_) => Err("the two ranges have different lengths".into()),
    }
}

/// `published=8080,target=80,protocol=udp`
fn short_form(text: &str) -> Result<String, String> {
    let (mut host, mut container, mut protocol) = (None, None, "tcp");
    for part in text.split(',') {
        let (key, value) =
            part.split_once('=').ok_or_else(|| format!("`{part}` is not KEY=VALUE"))?;
        match key {
            "published" => host = Some(value),
            "target" => container = Some(value),
            "protocol" => protocol = value,
            other => {
                return Err(format!("`{other}` is not known: published, target, protocol are"));
            }
        }
    }
    let container = container.ok_or("target= is missing")?;
    let host = host.map(|host| format!("{host}:")).unwrap_or_default();
    Ok(format!("{host}{container}/{protocol}"))
}

fn exposed(text: &str) -> Result<Exposed, String> {
    port::expose(text).map(Exposed)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// `ADDRESS|HOST-HOST|PORT/PROTOCOL` of each mapping.
    fn shown(text: &str) -> Vec<String> {
        let Mappings(mappings) = published(text).unwrap_or_else(|why| panic!("{text}: {why}"));
        let one = |it: &PortMapping| {
            let protocol = it.protocol();
            let (low, high) = (it.host_port, it.host_port_last);
            format!("{}|{low}-{high}|{}/{protocol:?}", it.host_ip, it.container_port)
        };
        mappings.iter().map(one).collect()
    }

    #[test]
    fn all_of_dockers_forms_are_read() {
        for (text, expected) in [
            ("80", &["|0-0|80/Tcp"][..]),
            ("8080:80", &["|8080-8080|80/Tcp"]),
            ("5353:53/udp", &["|5353-5353|53/Udp"]),
            ("127.0.0.1:8080:80", &["127.0.0.1|8080-8080|80/Tcp"]),
            ("127.0.0.1::80", &["127.0.0.1|0-0|80/Tcp"]),
            ("0.0.0.0:80:80", &["0.0.0.0|80-80|80/Tcp"]),
            ("[::1]:8080:80", &["::1|8080-8080|80/Tcp"]),
            ("[::1]::80", &["::1|0-0|80/Tcp"]),
            ("8000-8010:80", &["|8000-8010|80/Tcp"]),
            ("8000-8001:80-81", &["|8000-8000|80/Tcp", "|8001-8001|81/Tcp"]),
            ("80-81", &["|0-0|80/Tcp", "|0-0|81/Tcp"]),
            ("published=8080,target=80", &["|8080-8080|80/Tcp"]),
            ("target=53,protocol=udp", &["|0-0|53/Udp"]),
        ] {
            assert_eq!(shown(text), expected, "{text}");
        }
        assert_eq!(exposed("53-54/udp"), Ok(Exposed(vec!["53/udp".into(), "54/udp".into()])));
    }

    #[test]
    fn what_is_no_port_is_refused_with_the_reason() {
        for (text, why) in [
            ("", "not a port"),
            ("0:80", "not a port"),
            ("80:0", "not a port"),
            ("8080:http", "not a port"),
            ("65536:80", "not a port"),
            ("localhost:80:80", "not an IP address"),
            ("80/sctp", "sctp is not supported"),
            ("80/foo", "no protocol `foo`"),
            ("90-80", "ends before it begins"),
            ("8000-8002:80-81", "different lengths"),
            ("published=80", "target= is missing"),
            ("target=80,mode=host", "`mode` is not known"),
        ] {
            let error = published(text).expect_err(text);
            assert!(error.contains(why), "{text}: {error}");
        }
    }
}
