//! What Docker Engine refuses of a container before it makes one, in its words: clients show and
//! match them (moby's `daemon/container.go`, `daemon/daemon_unix.go` and `oci/caps`).
//!
//! What needs the machine or the image is the engine's to refuse.

use super::config::Config;
use super::host_config::HostConfig;
use super::network::{self, NetworkingConfig};
use crate::error::Refused;

/// The least that a container can be limited to (`linuxMinMemory`).
const LEAST_MEMORY: i64 = 6 * 1024 * 1024;

/// Those of capabilities(7), without `CAP_`.
const CAPABILITIES: &str = "AUDIT_CONTROL AUDIT_READ AUDIT_WRITE BLOCK_SUSPEND BPF \
    CHECKPOINT_RESTORE CHOWN DAC_OVERRIDE DAC_READ_SEARCH FOWNER FSETID IPC_LOCK IPC_OWNER KILL \
    LEASE LINUX_IMMUTABLE MAC_ADMIN MAC_OVERRIDE MKNOD NET_ADMIN NET_BIND_SERVICE NET_BROADCAST \
    NET_RAW PERFMON SETFCAP SETGID SETPCAP SETUID SYSLOG SYS_ADMIN SYS_BOOT SYS_CHROOT \
    SYS_MODULE SYS_NICE SYS_PACCT SYS_PTRACE SYS_RAWIO SYS_RESOURCE SYS_TIME SYS_TTY_CONFIG \
    WAKE_ALARM";

fn invalid<T>(why: impl Into<String>) -> Result<T, Refused> {
    Err(Refused::Invalid(why.into()))
}

/// The first thing that is wrong with a body. An empty name is one that will be generated.
pub(crate) fn create(
    name: &str,
    config: &Config,
    host: &HostConfig,
    networking: &NetworkingConfig,
) -> Result<(), Refused> {
    self::name(name)?;
    let folder = &config.working_dir;
    if !folder.is_empty() && !folder.starts_with('/') {
        return invalid(format!(
            "the working directory '{folder}' is invalid, it needs to be an absolute path"
        ));
    }
    memory(host.memory, host.memory_swap, host.memory_reservation)?;
    capabilities("CapAdd", host.cap_add.as_deref().unwrap_or_default())?;
    capabilities("CapDrop", host.cap_drop.as_deref().unwrap_or_default())?;
    addresses(networking)
}

fn name(name: &str) -> Result<(), Refused> {
    // A made-up one.
    if name.is_empty() {
        return Ok(());
    }
    let first = name.starts_with(|first: char| first.is_ascii_alphanumeric());
    let others = name.chars().all(|one| one.is_ascii_alphanumeric() || "_.-".contains(one));
    // Two at least, by Docker's pattern.
    if first && others && name.len() > 1 {
        return Ok(());
    }
    invalid(format!("Invalid container name ({name}), only [a-zA-Z0-9][a-zA-Z0-9_.-] are allowed"))
}

/// Of `create` and `update`; 0 is no limit, -1 of swap an endless one.
pub(crate) fn memory(memory: i64, swap: i64, reservation: i64) -> Result<(), Refused> {
    let too_small = |value: i64| (1..LEAST_MEMORY).contains(&value);
    if too_small(memory) {
        return invalid("Minimum memory limit allowed is 6MB");
    }
    if memory > 0 && swap > 0 && swap < memory {
        return invalid("Minimum memoryswap limit should be larger than memory limit, see usage");
    }
    if too_small(reservation) {
        return invalid("Minimum memory reservation allowed is 6MB");
    }
    if memory > 0 && reservation > memory {
        return invalid(
            "Minimum memory limit can not be less than memory reservation limit, see usage",
        );
    }
    Ok(())
}

fn capabilities(field: &str, wanted: &[String]) -> Result<(), Refused> {
    for word in wanted {
        let word = word.to_ascii_uppercase();
        let bare = word.strip_prefix("CAP_").unwrap_or(&word);
        if bare != "ALL" && !CAPABILITIES.split_whitespace().any(|known| known == bare) {
            return invalid(format!("invalid {field}: unknown capability: \"CAP_{bare}\""));
        }
    }
    Ok(())
}

/// The default network's addresses are not the user's to choose.
fn addresses(networking: &NetworkingConfig) -> Result<(), Refused> {
    for (name, endpoint) in &networking.endpoints_config {
        let ipam = endpoint.as_ref().and_then(|endpoint| endpoint.ipam_config.as_ref());
        let chosen =
            ipam.is_some_and(|ipam| !ipam.ipv4_address.is_empty() || !ipam.ipv6_address.is_empty());
        let name = network::name(name);
        if chosen && name == network::DEFAULT {
            return invalid(format!(
                "invalid config for network {name}: invalid endpoint settings:\nuser specified IP address is supported on user defined networks only"
            ));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::container::CreateBody;

    #[test]
    fn what_docker_refuses_is_refused_in_its_words() {
        for (name, body, why) in [
            ("", json!({}), ""),
            ("web", json!({"HostConfig": {"CapAdd": ["all", "cap_chown", "KILL"]}}), ""),
            ("a.b_c-d", json!({"HostConfig": {"Memory": 6 << 20, "MemorySwap": -1}}), ""),
            ("a/b", json!({}), "Invalid container name (a/b), only "),
            ("-ab", json!({}), "Invalid container name (-ab), only "),
            ("", json!({"WorkingDir": "tmp"}), "the working directory 'tmp' is invalid"),
            ("", json!({"HostConfig": {"Memory": 1024}}), "Minimum memory limit allowed is 6MB"),
            (
                "",
                json!({"HostConfig": {"Memory": 9 << 20, "MemorySwap": 8 << 20}}),
                "Minimum memoryswap limit",
            ),
            (
                "",
                json!({"HostConfig": {"Memory": 8 << 20, "MemoryReservation": 9 << 20}}),
                "Minimum memory limit can not be less",
            ),
            (
                "",
                json!({"HostConfig": {"CapDrop": ["nosuch"]}}),
                "invalid CapDrop: unknown capability: \"CAP_NOSUCH\"",
            ),
            (
                "",
                json!({"NetworkingConfig": {"EndpointsConfig": {"default":
                    {"IPAMConfig": {"IPv4Address": "172.17.0.9"}}}}}),
                "invalid config for network bridge: invalid endpoint settings:",
            ),
        ] {
            let told = CreateBody::read(body.to_string().as_bytes()).unwrap().request(name);
            let told = told.err().map(|why| why.to_string()).unwrap_or_default();
            assert!(told.starts_with(why) && told.is_empty() == why.is_empty(), "{body}: {told}");
        }
    }
}
