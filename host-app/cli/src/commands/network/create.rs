//! `network create`.

use std::collections::HashMap;

use clap::Args;
use linkspan_proto::v1::{CreateNetworkRequest, IpamPool, NetworkSpec};

use crate::args::env;
use crate::context::Context;
use crate::error::{Error, Outcome};
use crate::render;

/// Create a network
#[derive(Debug, Args)]
pub(crate) struct Create {
    /// How it works. Only `bridge` can be created
    #[arg(short, long, value_name = "DRIVER", default_value = "bridge")]
    driver: String,
    /// A subnet, such as 10.1.0.0/16; given again, one of the other family
    #[arg(long, value_name = "SUBNET")]
    subnet: Vec<String>,
    /// The part of the subnet that containers' addresses come from
    #[arg(long, value_name = "SUBNET")]
    ip_range: Vec<String>,
    /// The bridge's address in the subnet
    #[arg(long, value_name = "ADDRESS")]
    gateway: Vec<String>,
    /// An address that no container gets
    #[arg(long, value_name = "NAME=ADDRESS")]
    aux_address: Vec<String>,
    /// IPv6 too
    #[arg(long)]
    ipv6: bool,
    /// No way out of the network
    #[arg(long)]
    internal: bool,
    /// Taken for Docker's sake: it means something in a cluster only
    #[arg(long)]
    attachable: bool,
    /// An option of the driver
    #[arg(short, long = "opt", value_name = "NAME=VALUE")]
    option: Vec<String>,
    /// A label, KEY or KEY=VALUE
    #[arg(long, value_name = "KEY=VALUE")]
    label: Vec<String>,
    /// Its name
    network: String,
}

impl Create {
    pub(crate) async fn run(self, context: Context) -> Outcome {
        let spec = NetworkSpec {
            pools: pools(&self.subnet, &self.ip_range, &self.gateway, &self.aux_address)?,
            name: self.network,
            driver: self.driver,
            ipv6: self.ipv6,
            internal: self.internal,
            attachable: self.attachable,
            options: pairs("--opt", &self.option)?,
            labels: env::labels(&[] as &[&str], &self.label)?,
        };
        let client = context.running().await?;
        let request = CreateNetworkRequest { spec: Some(spec) };
        let made = client.networks(context.machine()).create(request).await?.into_inner();
        render::line(&made.id)?;
        Ok(0)
    }
}

fn pairs(flag: &str, given: &[String]) -> Result<HashMap<String, String>, Error> {
    let pair = |text: &String| match text.split_once('=') {
        Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
        _ => Err(Error::invalid(format!("{flag}: `{text}` is not NAME=VALUE"))),
    };
    given.iter().map(pair).collect()
}

/// Ranges, gateways and addresses belong to the subnet of their family: there is one of each.
fn pools(
    subnets: &[String],
    ranges: &[String],
    gateways: &[String],
    aux: &[String],
) -> Result<Vec<IpamPool>, Error> {
    let mut pools: Vec<IpamPool> = subnets
        .iter()
        .map(|subnet| IpamPool { subnet: subnet.clone(), ..IpamPool::default() })
        .collect();
    for range in ranges {
        of_family(&mut pools, "--ip-range", range)?.ip_range.clone_from(range);
    }
    for gateway in gateways {
        of_family(&mut pools, "--gateway", gateway)?.gateway.clone_from(gateway);
    }
    for (name, address) in pairs("--aux-address", aux)? {
        of_family(&mut pools, "--aux-address", &address)?.aux_addresses.insert(name, address);
    }
    Ok(pools)
}

fn of_family<'a>(
    pools: &'a mut [IpamPool],
    flag: &str,
    address: &str,
) -> Result<&'a mut IpamPool, Error> {
    let is_v6 = |text: &str| text.contains(':');
    let same = |pool: &&mut IpamPool| is_v6(&pool.subnet) == is_v6(address);
    let found = pools.iter_mut().find(same);
    found.ok_or_else(|| Error::invalid(format!("no matching subnet for {flag} {address}")))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_subnet_finds_it_by_family() {
        let list = |words: &[&str]| words.iter().map(ToString::to_string).collect::<Vec<_>>();
        let made = pools(
            &list(&["10.1.0.0/16", "fd00::/64"]),
            &list(&["10.1.4.0/24"]),
            &list(&["fd00::99", "10.1.0.99"]),
            &list(&["printer=10.1.0.5"]),
        )
        .expect("both families are there");
        assert_eq!((made[0].gateway.as_str(), made[1].gateway.as_str()), ("10.1.0.99", "fd00::99"));
        assert_eq!(made[0].ip_range, "10.1.4.0/24");
        assert_eq!(made[0].aux_addresses["printer"], "10.1.0.5");
        let error = pools(&list(&["10.1.0.0/16"]), &[], &list(&["fd00::1"]), &[]);
        let Err(Error::Failure(failure)) = error else { panic!("no subnet of that family") };
        assert!(failure.message.contains("--gateway fd00::1"), "{}", failure.message);
    }
}
