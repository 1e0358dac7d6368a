//! What /etc/hosts and /etc/resolv.conf of a container say. Pure.

use std::{collections::BTreeSet, fmt::Write as _, net::IpAddr};

use serde::{Deserialize, Serialize};

use crate::Error;

/// The word for the host's address in `--add-host`.
const HOST_GATEWAY: &str = "host-gateway";
/// What finds the host without being asked for.
const HOST_NAMES: [&str; 2] = ["host.docker.internal", "host.linkspan.internal"];

/// What `run` says of names.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DnsSpec {
    /// `--dns`
    pub servers: Vec<IpAddr>,
    /// `--dns-search`; a single dot: none.
    pub search: Vec<String>,
    /// `--dns-option`
    pub options: Vec<String>,
    /// `--add-host`, each `name:address`; the address may be `host-gateway`.
    pub extra_hosts: Vec<String>,
}

impl DnsSpec {
    /// Checks what cannot be read later.
    ///
    /// # Errors
    /// Names the option and the value.
    pub fn check(&self) -> Result<(), Error> {
        for entry in &self.extra_hosts {
            extra_host(entry, None)?;
        }
        let in_file = |word: &String| {
            !word.is_empty() && word.chars().all(|c| c.is_ascii_graphic() && c != '#' && c != ';')
        };
        for (option, words) in [("--dns-search", &self.search), ("--dns-option", &self.options)] {
            if let Some(bad) = words.iter().find(|word| !in_file(word)) {
                return Err(Error::invalid(option, format!("`{bad}` is not one word")));
            }
        }
        Ok(())
    }
}

/// The host as containers see it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostAddress(pub IpAddr);

/// /etc/hosts. `own` are the container's addresses with the names that it has for itself.
///
/// # Errors
/// When an extra host cannot be read.
pub fn hosts(
    own: &[IpAddr],
    hostname: &str,
    domainname: &str,
    spec: &DnsSpec,
    host: Option<HostAddress>,
) -> Result<String, Error> {
    let mut text = String::from(
        "127.0.0.1\tlocalhost\n\
         ::1\tlocalhost ip6-localhost ip6-loopback\n\
         fe00::\tip6-localnet\n\
         ff00::\tip6-mcastprefix\n\
         ff02::1\tip6-allnodes\n\
         ff02::2\tip6-allrouters\n",
    );
    let mut line = |address: &dyn std::fmt::Display, names: &str| {
        // Writing to a string does not fail.
        let _ = writeln!(text, "{address}\t{names}");
    };
    let mut given = BTreeSet::new();
    for entry in &spec.extra_hosts {
        let (name, address) = extra_host(entry, host)?;
        if let Some(address) = address {
            line(&address, name);
            given.insert(name);
        }
    }
    if let Some(host) = host {
        for name in HOST_NAMES.iter().filter(|name| !given.contains(*name)) {
            line(&host.0, name);
        }
    }
    let names = if domainname.is_empty() {
        hostname.to_owned()
    } else {
        format!("{hostname}.{domainname} {hostname}")
    };
    for address in own {
        line(address, &names);
    }
    if own.is_empty() {
        // Without a network of its own, a container still finds itself by name. 127.0.1.1 is what
        // Debian uses for a host without a fixed address.
        line(&"127.0.1.1", &names);
    }
    Ok(text)
}

/// `name:address` or `name=address`. Without a known host, `host-gateway` is an error only when
/// the file is written.
fn extra_host(entry: &str, host: Option<HostAddress>) -> Result<(&str, Option<IpAddr>), Error> {
    let bad = |why: &str| Error::invalid("--add-host", format!("`{entry}`: {why}"));
    let cut = entry.split_once('=').or_else(|| entry.split_once(':'));
    let (name, address) = cut.ok_or_else(|| bad("it has to be NAME:ADDRESS"))?;
    let in_file = |c: char| c.is_ascii_graphic() && c != '#';
    if name.is_empty() || !name.chars().all(in_file) {
        return Err(bad("the name is not one word"));
    }
    if address == HOST_GATEWAY {
        return Ok((name, host.map(|host| host.0)));
    }
    let bare = address.strip_prefix('[').and_then(|a| a.strip_suffix(']')).unwrap_or(address);
    let address = bare.parse().map_err(|_| bad("that is not an address"))?;
    Ok((name, Some(address)))
}

/// The name servers, search list and options of a resolv.conf(5).
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Resolver {
    /// `nameserver` lines.
    pub servers: Vec<IpAddr>,
    /// The last `search` or `domain` line.
    pub search: Vec<String>,
    /// `options` lines.
    pub options: Vec<String>,
}

impl Resolver {
    /// Reads one. What is not understood is left out, as the resolver does.
    #[must_use]
    pub fn parse(text: &str) -> Self {
        let mut parsed = Self::default();
        for line in text.lines().map(|line| line.split(['#', ';']).next().unwrap_or("")) {
            let mut words = line.split_whitespace();
            let keyword = words.next();
            let rest = words.map(str::to_owned);
            match keyword {
                Some("nameserver") => {
                    let address = |word: String| word.parse::<IpAddr>().ok();
                    parsed.servers.extend(rest.take(1).filter_map(address));
                }
                Some("search" | "domain") => parsed.search = rest.collect(),
                Some("options") => parsed.options.extend(rest),
                _ => {}
            }
        }
        parsed
    }

    /// What a container uses: the machine's, and over it what `run` says.
    #[must_use]
    pub fn with(&self, spec: &DnsSpec) -> Self {
        let or = |own: &Vec<String>, machines: &Vec<String>| {
            if own.is_empty() { machines.clone() } else { own.clone() }
        };
        let servers = if spec.servers.is_empty() { &self.servers } else { &spec.servers };
        let mut search = or(&spec.search, &self.search);
        search.retain(|word| word != ".");
        Self { servers: servers.clone(), search, options: or(&spec.options, &self.options) }
    }

    /// The file. With `own_server`, the only server is the container's own.
    #[must_use]
    pub fn render(&self, own_server: bool) -> String {
        let mut text = String::new();
        let mut options = self.options.clone();
        let mut servers = self.servers.clone();
        if own_server {
            servers = vec![crate::dns::SERVER.into()];
            // A container's name has no dot, and is asked for as it is first. Docker's.
            if !options.iter().any(|option| option.starts_with("ndots:")) {
                options.push("ndots:0".into());
            }
        }
        for server in servers {
            let _ = writeln!(text, "nameserver {server}");
        }
        if !self.search.is_empty() {
            let _ = writeln!(text, "search {}", self.search.join(" "));
        }
        if !options.is_empty() {
            let _ = writeln!(text, "options {}", options.join(" "));
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: HostAddress = HostAddress(IpAddr::V4(std::net::Ipv4Addr::new(10, 0, 2, 2)));

    fn spec(extra_hosts: &[&str]) -> DnsSpec {
        let extra_hosts = extra_hosts.iter().map(ToString::to_string).collect();
        DnsSpec { extra_hosts, ..DnsSpec::default() }
    }

    #[test]
    fn a_container_finds_itself_the_host_and_what_it_was_told() {
        let spec = spec(&["db:10.1.1.1", "up:host-gateway", "six:fd00::1", "also=[fd00::2]"]);
        let own = ["172.18.0.2".parse().unwrap()];
        let text = hosts(&own, "web", "example.com", &spec, Some(HOST)).unwrap();
        for line in [
            "127.0.0.1\tlocalhost",
            "10.1.1.1\tdb",
            "10.0.2.2\tup",
            "fd00::1\tsix",
            "fd00::2\talso",
            "10.0.2.2\thost.docker.internal",
            "10.0.2.2\thost.linkspan.internal",
            "172.18.0.2\tweb.example.com web",
        ] {
            assert!(text.lines().any(|known| known == line), "{line} in\n{text}");
        }
    }

    #[test]
    fn without_a_network_there_is_still_a_name_and_no_host() {
        let text = hosts(&[], "web", "", &spec(&[]), None).unwrap();
        assert!(text.ends_with("127.0.1.1\tweb\n"), "{text}");
        assert!(!text.contains("internal"), "{text}");
    }

    #[test]
    fn what_was_told_of_the_host_wins() {
        let text =
            hosts(&[], "web", "", &spec(&["host.docker.internal:10.9.9.9"]), Some(HOST)).unwrap();
        assert_eq!(text.matches("host.docker.internal").count(), 1);
        assert!(text.contains("10.9.9.9\thost.docker.internal"), "{text}");
    }

    #[test]
    fn an_extra_host_that_cannot_be_read_is_named() {
        for bad in ["db", "db:nowhere", ":10.1.1.1", "a b:10.1.1.1", "a\n:10.1.1.1"] {
            let error = spec(&[bad]).check().unwrap_err().to_string();
            assert!(error.starts_with("--add-host: "), "{error}");
        }
        let dns = DnsSpec { search: vec!["a b".into()], ..DnsSpec::default() };
        assert!(dns.check().unwrap_err().to_string().starts_with("--dns-search"));
    }

    #[test]
    fn what_run_says_of_the_resolver_wins_over_the_machines() {
        let machine = Resolver::parse(
            "# made by hand\nnameserver 10.0.2.3\nnameserver x\nsearch a.example\noptions timeout:1\n",
        );
        assert_eq!(
            machine.with(&DnsSpec::default()).render(false),
            "nameserver 10.0.2.3\nsearch a.example\noptions timeout:1\n"
        );
        let spec = DnsSpec {
            servers: vec!["9.9.9.9".parse().unwrap()],
            search: vec![".".into()],
            options: vec!["ndots:2".into()],
            ..DnsSpec::default()
        };
        let own = machine.with(&spec);
        assert_eq!(own.render(false), "nameserver 9.9.9.9\noptions ndots:2\n");
        assert_eq!(own.render(true), "nameserver 127.0.0.11\noptions ndots:2\n");
        assert_eq!(Resolver::default().render(true), "nameserver 127.0.0.11\noptions ndots:0\n");
    }
}
