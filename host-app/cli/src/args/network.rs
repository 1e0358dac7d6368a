//! `--network`, `--ip`, `--dns` and their like: Docker's flags to a [`ContainerNetworkConfig`].

use clap::Args;
use linkspan_proto::v1::{ContainerNetworkConfig, EndpointConfig};

use crate::error::Error;

const NETWORK: &str = "Network";

/// The flags of `run` and `create` that are about networks and names.
#[derive(Debug, Args)]
pub(crate) struct NetworkFlags {
    /// A network: bridge, host, none, container:NAME, or a network's name. May be given again, and
    /// may say more: name=NAME,alias=NAME,ip=ADDRESS,ip6=ADDRESS,mac-address=MAC
    #[arg(long, alias = "net", value_name = "NETWORK", help_heading = NETWORK)]
    network: Vec<String>,
    /// One more name in the network
    #[arg(long, alias = "net-alias", value_name = "NAME", help_heading = NETWORK)]
    network_alias: Vec<String>,
    /// The IPv4 address in the network
    #[arg(long, value_name = "ADDRESS", help_heading = NETWORK)]
    ip: Option<String>,
    /// The IPv6 address in the network
    #[arg(long, value_name = "ADDRESS", help_heading = NETWORK)]
    ip6: Option<String>,
    /// The Ethernet address, such as 02:42:ac:11:00:02
    #[arg(long, value_name = "MAC", help_heading = NETWORK)]
    mac_address: Option<String>,
    /// A name server to ask instead of the VM's
    #[arg(long, value_name = "ADDRESS", help_heading = NETWORK)]
    dns: Vec<String>,
    /// A domain in which names without a dot are looked up
    #[arg(long, value_name = "DOMAIN", help_heading = NETWORK)]
    dns_search: Vec<String>,
    /// An option of the resolver, such as ndots:2
    #[arg(long, alias = "dns-opt", value_name = "OPTION", help_heading = NETWORK)]
    dns_option: Vec<String>,
    /// One more line of /etc/hosts; the address may be `host-gateway`
    #[arg(long, value_name = "NAME:ADDRESS", help_heading = NETWORK)]
    add_host: Vec<String>,
}

impl NetworkFlags {
    /// The request's part. The flags that are about one network are about the first.
    ///
    /// # Errors
    /// A `--network` that cannot be read.
    pub(crate) fn config(&self) -> Result<ContainerNetworkConfig, Error> {
        let mut endpoints: Vec<EndpointConfig> =
            self.network.iter().map(|text| endpoint(text)).collect::<Result<_, _>>()?;
        let about_one = !self.network_alias.is_empty()
            || [&self.ip, &self.ip6, &self.mac_address].iter().any(|flag| flag.is_some());
        if about_one && endpoints.is_empty() {
            endpoints.push(EndpointConfig::default());
        }
        if let Some(first) = endpoints.first_mut() {
            first.aliases.extend(self.network_alias.iter().cloned());
            for (field, flag) in [
                (&mut first.ipv4_address, &self.ip),
                (&mut first.ipv6_address, &self.ip6),
                (&mut first.mac_address, &self.mac_address),
            ] {
                if let Some(value) = flag {
                    field.clone_from(value);
                }
            }
        }
        Ok(ContainerNetworkConfig {
            endpoints,
            dns_servers: self.dns.clone(),
            dns_search: self.dns_search.clone(),
            dns_options: self.dns_option.clone(),
            extra_hosts: self.add_host.clone(),
        })
    }
}

/// A name, or Docker's longer form.
fn endpoint(text: &str) -> Result<EndpointConfig, Error> {
    let mut endpoint = EndpointConfig::default();
    if !text.contains('=') {
        text.clone_into(&mut endpoint.network);
        return Ok(endpoint);
    }
    for part in text.split(',') {
        let (key, value) = part
            .split_once('=')
            .ok_or_else(|| Error::invalid(format!("--network: `{part}` is not KEY=VALUE")))?;
        let value = value.to_owned();
        match key {
            "name" => endpoint.network = value,
            "alias" => endpoint.aliases.push(value),
            "ip" => endpoint.ipv4_address = value,
            "ip6" => endpoint.ipv6_address = value,
            "mac-address" => endpoint.mac_address = value,
            other => {
                return Err(Error::invalid(format!(
                    "--network: `{other}` is not supported: known are name, alias, ip, ip6 and mac-address"
                )));
            }
        }
    }
    if endpoint.network.is_empty() {
        return Err(Error::invalid(format!("--network: `{text}` has no name=")));
    }
    Ok(endpoint)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_network_is_a_name_or_says_more() {
        assert_eq!(endpoint("backend").expect("a name").network, "backend");
        let long = endpoint("name=backend,alias=db,alias=sql,ip=10.1.0.9").expect("readable");
        assert_eq!(long.aliases, ["db", "sql"]);
        assert_eq!((long.network.as_str(), long.ipv4_address.as_str()), ("backend", "10.1.0.9"));
        for bad in ["alias=db", "name=x,color=red", "name=x,odd"] {
            assert!(endpoint(bad).is_err(), "{bad}");
        }
    }
}
