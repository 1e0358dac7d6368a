//! `GET /info`.

use serde::Serialize;
use serde_json::{Value, json};

use crate::container::refused::RUNTIME;
use crate::version::ApiVersion;

/// What it is made of.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
#[allow(missing_docs, reason = "the names say it, but where there is more to say")]
pub struct Facts {
    /// Of the machine.
    pub id: String,
    /// Of the machine: Docker's host name.
    pub name: String,
    /// Of Linkspan.
    pub version: String,
    pub containers_running: u64,
    pub containers_paused: u64,
    pub containers_stopped: u64,
    pub images: u64,
    /// `uname -r` of the machine.
    pub kernel: String,
    /// As `uname -m` has it.
    pub architecture: String,
    pub cpus: u32,
    pub memory_bytes: u64,
    /// The host's clock.
    pub unix_nanos: i64,
    /// How many listen to events.
    pub listeners: u64,
    /// Where the data is, in the machine.
    pub root_dir: String,
    /// As `HTTP_PROXY` and its like, for pulls.
    pub http_proxy: String,
    pub https_proxy: String,
    pub no_proxy: String,
    /// Addresses of mirrors of Docker Hub.
    pub mirrors: Vec<String>,
    /// `host:port` of registries without encryption.
    pub insecure_hosts: Vec<String>,
    /// `address/bits` of them.
    pub insecure_networks: Vec<String>,
    /// Ids of containers are mapped (user namespaces).
    pub userns: bool,
}

/// The answer of a version of the API.
#[must_use]
pub fn answer(facts: &Facts, version: ApiVersion) -> Value {
    let mut shown = general(facts);
    crate::compat::add(&mut shown, limits());
    crate::compat::add(&mut shown, nothing());
    crate::compat::add(&mut shown, json!({ "RegistryConfig": registries(facts, version) }));
    if version.before(50) {
        let bridges = json!({ "BridgeNfIptables": false, "BridgeNfIp6tables": false });
        crate::compat::add(&mut shown, bridges);
    }
    if version.before(49) {
        for name in ["ContainerdCommit", "RuncCommit", "InitCommit"] {
            shown[name]["Expected"] = json!("");
        }
    }
    shown
}

fn general(facts: &Facts) -> Value {
    let all = facts.containers_running + facts.containers_paused + facts.containers_stopped;
    let mut security = vec!["name=seccomp,profile=builtin", "name=cgroupns"];
    security.extend(facts.userns.then_some("name=userns"));
    json!({
        "ID": facts.id,
        "Name": facts.name,
        "Containers": all,
        "ContainersRunning": facts.containers_running,
        "ContainersPaused": facts.containers_paused,
        "ContainersStopped": facts.containers_stopped,
        "Images": facts.images,
        "Driver": crate::container::inspect::DRIVER,
        "DriverStatus": [["Backing Filesystem", "extfs"]],
        "DockerRootDir": facts.root_dir,
        "Plugins": {
            "Volume": ["local"],
            "Network": ["bridge", "host", "null"],
            "Authorization": null,
            "Log": ["json-file", "local", "none"],
        },
        "Debug": false,
        "NEventsListener": facts.listeners,
        "SystemTime": crate::time::rfc3339(facts.unix_nanos),
        "LoggingDriver": "json-file",
        "CgroupDriver": "cgroupfs",
        "CgroupVersion": "2",
        "KernelVersion": facts.kernel,
        "OperatingSystem": super::PRODUCT,
        "OSVersion": facts.version,
        "OSType": "linux",
        "Architecture": facts.architecture,
        "NCPU": facts.cpus,
        "MemTotal": facts.memory_bytes,
        "HttpProxy": masked(&facts.http_proxy),
        "HttpsProxy": masked(&facts.https_proxy),
        "NoProxy": facts.no_proxy,
        "ServerVersion": facts.version,
        "Runtimes": { RUNTIME: { "path": RUNTIME } },
        "DefaultRuntime": RUNTIME,
        "SecurityOptions": security,
        "Warnings": null,
    })
}

/// A URL without the name and the password in it (`config.MaskURLCredentials` of moby's daemon).
fn masked(url: &str) -> String {
    let Some((scheme, rest)) = url.split_once("://") else { return url.to_owned() };
    let authority = rest.split(['/', '?', '#']).next().unwrap_or_default();
    match authority.rsplit_once('@') {
        Some((_, host)) => format!("{scheme}://xxxxx:xxxxx@{host}{}", &rest[authority.len()..]),
        None => url.to_owned(),
    }
}

/// What can be limited: all but what cgroup v2 does not have.
fn limits() -> Value {
    json!({
        "MemoryLimit": true,
        "SwapLimit": true,
        "CpuCfsPeriod": true,
        "CpuCfsQuota": true,
        "CPUShares": true,
        "CPUSet": true,
        "PidsLimit": true,
        "OomKillDisable": false,
        "IPv4Forwarding": true,
    })
}

/// What there is nothing of.
fn nothing() -> Value {
    json!({
        "NFd": 0,
        "NGoroutines": 0,
        "IndexServerAddress": "https://index.docker.io/v1/",
        "GenericResources": null,
        "Labels": [],
        "ExperimentalBuild": false,
        "Swarm": {
            "NodeID": "", "NodeAddr": "", "LocalNodeState": "inactive",
            "ControlAvailable": false, "Error": "", "RemoteManagers": null,
        },
        "LiveRestoreEnabled": false,
        "Isolation": "",
        "InitBinary": RUNTIME,
        "ContainerdCommit": { "ID": "" },
        "RuncCommit": { "ID": "" },
        "InitCommit": { "ID": "" },
        "CDISpecDirs": [],
    })
}

/// A registry as `IndexConfigs` has it.
#[derive(Debug, Serialize)]
#[serde(rename_all = "PascalCase")]
struct Index<'a> {
    name: &'a str,
    mirrors: &'a [String],
    secure: bool,
    official: bool,
}

fn registries(facts: &Facts, version: ApiVersion) -> Value {
    let hub = Index { name: "docker.io", mirrors: &facts.mirrors, secure: true, official: true };
    let mut all = json!({ "docker.io": hub });
    for name in &facts.insecure_hosts {
        all[name] = json!(Index { name, mirrors: &[], secure: false, official: false });
    }
    // The host's loopback always is.
    let mut networks = vec!["::1/128".to_owned(), "127.0.0.0/8".to_owned()];
    networks.extend(facts.insecure_networks.iter().cloned());
    let mut shown = json!({
        "InsecureRegistryCIDRs": networks,
        "IndexConfigs": all,
        "Mirrors": crate::some(&facts.mirrors),
    });
    if version.before(49) {
        let old = json!({
            "AllowNondistributableArtifactsCIDRs": null,
            "AllowNondistributableArtifactsHostnames": null,
        });
        crate::compat::add(&mut shown, old);
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn info_counts_and_has_its_versions_shape() {
        let facts = Facts {
            containers_running: 1,
            containers_stopped: 2,
            insecure_hosts: vec!["r:5000".into()],
            userns: true,
            http_proxy: "http://me:secret@proxy:3128/".into(),
            https_proxy: "proxy:3128".into(),
            ..Facts::default()
        };
        let newest = answer(&facts, ApiVersion::MAX);
        assert_eq!((&newest["Containers"], &newest["Warnings"]), (&json!(3), &json!(null)));
        assert_eq!(newest["RegistryConfig"]["IndexConfigs"]["r:5000"]["Secure"], false);
        assert_eq!(newest["HttpProxy"], "http://xxxxx:xxxxx@proxy:3128/");
        assert_eq!(newest["HttpsProxy"], "proxy:3128");
        assert_eq!(newest["SecurityOptions"][2], "name=userns");
        assert_eq!(newest["RuncCommit"], json!({"ID": ""}));
        assert_eq!(newest.get("BridgeNfIptables"), None);
        let old = answer(&facts, ApiVersion::v1(48));
        assert_eq!(old["RuncCommit"], json!({"ID": "", "Expected": ""}));
        assert_eq!(old["BridgeNfIptables"], false);
        assert!(old["RegistryConfig"].get("AllowNondistributableArtifactsCIDRs").is_some());
    }
}
