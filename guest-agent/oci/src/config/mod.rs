//! config.json becomes a plan (config.md and config-linux.md of the OCI runtime specification).
//!
//! What cannot be honoured is an error that names the property; nothing is passed over but
//! properties that the specification does not know ("Extensibility").

mod clocks;
mod devices;
mod mounts;
mod namespaces;
mod process;
mod resources;
mod userns;

use std::collections::HashMap;
use std::path::{Path, PathBuf};

use linkspan_runtime::bundle::{Bundle, Hook, RootPropagation};
use linkspan_runtime::cgroup::CgroupError;
use linkspan_runtime::defaults;
use linkspan_runtime::devices::Verdict;
use linkspan_runtime::plan::{Plan, Rootfs, UserNamespace};
use oci_spec::runtime::{Linux, Spec};
use serde_json::Value;

pub(crate) use mounts::option_names;
pub(crate) use namespaces::JoinedPaths;

/// The versions of the specification that are understood: all of 1.
pub(crate) const MAJOR: u64 = 1;

/// Why a bundle cannot be run.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ConfigError {
    #[error("cannot read `{}`: {source}", path.display())]
    Read { path: PathBuf, source: std::io::Error },
    #[error("`{}` is not a configuration: {source}", path.display())]
    Malformed { path: PathBuf, source: serde_json::Error },
    #[error("`{property}` in config.json: {reason}")]
    Invalid { property: String, reason: String },
    #[error("`{property}` in config.json is not supported: {reason}")]
    Unsupported { property: String, reason: String },
    #[error("cannot use the user namespace `{}`: {source}", path.display())]
    UserNamespace { path: PathBuf, source: std::io::Error },
    #[error(transparent)]
    Cgroup(#[from] CgroupError),
}

fn invalid<T>(property: impl Into<String>, reason: impl Into<String>) -> Result<T, ConfigError> {
    Err(ConfigError::Invalid { property: property.into(), reason: reason.into() })
}

fn unsupported<T>(
    property: impl Into<String>,
    reason: impl Into<String>,
) -> Result<T, ConfigError> {
    Err(ConfigError::Unsupported { property: property.into(), reason: reason.into() })
}

/// The hooks that are run in the runtime's namespaces.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct RuntimeHooks {
    /// `prestart`, then `createRuntime`.
    pub(crate) creating: Vec<Hook>,
    pub(crate) poststart: Vec<Hook>,
    pub(crate) poststop: Vec<Hook>,
}

/// A bundle, worked out.
#[derive(Debug)]
pub(crate) struct Config {
    pub(crate) oci_version: String,
    pub(crate) annotations: HashMap<String, String>,
    pub(crate) plan: Plan,
    pub(crate) bundle: Bundle,
    pub(crate) cgroup_files: Vec<(String, String)>,
    pub(crate) device_verdicts: Vec<Verdict>,
    pub(crate) joined: JoinedPaths,
    pub(crate) hooks: RuntimeHooks,
    /// What the specification wants to be said and is no error.
    pub(crate) warnings: Vec<String>,
}

/// Reads the config.json of a bundle. `cgroups`: where cgroup2 is mounted.
pub(crate) fn load(folder: &Path, id: &str, cgroups: &Path) -> Result<Config, ConfigError> {
    let path = folder.join("config.json");
    let text =
        std::fs::read(&path).map_err(|source| ConfigError::Read { path: path.clone(), source })?;
    let malformed = |source| ConfigError::Malformed { path: path.clone(), source };
    let mut value: Value = serde_json::from_slice(&text).map_err(malformed)?;
    let mut warnings = Vec::new();
    process::drop_unknown_capabilities(&mut value, &mut warnings);
    let spec: Spec = serde_json::from_value(value).map_err(malformed)?;
    convert(&spec, folder, id, cgroups, warnings)
}

fn convert(
    spec: &Spec,
    folder: &Path,
    id: &str,
    cgroups: &Path,
    mut warnings: Vec<String>,
) -> Result<Config, ConfigError> {
    check_version(spec.version())?;
    refuse_foreign(spec)?;
    let linux = spec.linux().as_ref();
    if let Some(linux) = linux {
        refuse_unsupported(linux)?;
    }
    let namespaces = namespaces::convert(linux.and_then(|linux| linux.namespaces().as_deref()))?;
    let cgroup = cgroup_path(linux, id)?;
    let mut process = process::convert(spec, &mut warnings)?;
    let user_namespace = userns::convert(linux, &namespaces)?;
    process.process.mapped_root = user_namespace.as_ref().map(UserNamespace::root);
    let mounts = mounts::convert(
        spec.mounts().as_deref().unwrap_or_default(),
        folder,
        namespaces.new.cgroup || namespaces.joined.cgroup.is_some(),
        &cgroups.join(&cgroup),
    )?;
    let resources = linux.and_then(|linux| linux.resources().as_ref());
    let limits = resources::convert(resources)?;
    let nodes = devices::nodes(linux.and_then(|linux| linux.devices().as_deref()))?;
    let device_verdicts =
        devices::verdicts(resources.and_then(|resources| resources.devices().as_deref()), &nodes)?;
    if let Some(mapped) = &user_namespace {
        userns::check(mapped, &process, &nodes)?;
    }
    let hooks = Hooks::of(spec)?;
    let names = namespaces.new.uts || namespaces.joined.uts.is_some();
    let hostname = name("hostname", spec.hostname(), names)?;
    let domainname = name("domainname", spec.domainname(), names)?;
    let in_linux = |paths: fn(&Linux) -> &Option<Vec<String>>, property: &str| {
        absolute(property, linux.map_or(&None, paths).as_deref().unwrap_or_default())
    };
    let default_devices = defaults::devices()
        .into_iter()
        .filter(|device| nodes.iter().all(|node| node.path != device.path))
        .collect();
    let bundle = Bundle {
        root_propagation: propagation(linux)?,
        ids: process.ids,
        umask: process.umask,
        nodes,
        io_priority: process.io_priority,
        scheduler: process.scheduler,
        names_joined_uts: namespaces.joined.uts.is_some(),
        clocks: clocks::convert(linux, namespaces.new_time)?,
        hooks: hooks.any_before_the_program(),
        create_container: hooks.create_container,
        start_container: hooks.start_container,
        preserved: Vec::new(),
    };
    let sysctls =
        namespaces::sysctls(linux.and_then(|linux| linux.sysctl().as_ref()), &namespaces)?;
    let plan = Plan {
        user_namespace,
        process: process.process,
        rootfs: rootfs(spec, folder)?,
        mounts,
        hostname,
        domainname,
        namespaces: namespaces.new,
        cgroup,
        resources: limits.resources,
        devices: default_devices,
        device_rules: Vec::new(),
        all_devices: false,
        masked_paths: in_linux(Linux::masked_paths, "linux.maskedPaths")?,
        readonly_paths: in_linux(Linux::readonly_paths, "linux.readonlyPaths")?,
        sysctls,
    };
    Ok(Config {
        oci_version: spec.version().clone(),
        annotations: annotations(spec)?,
        plan,
        bundle,
        cgroup_files: limits.files,
        device_verdicts,
        joined: namespaces.joined,
        hooks: hooks.of_runtime,
        warnings,
    })
}

/// `hooks`, by who runs them.
struct Hooks {
    of_runtime: RuntimeHooks,
    create_container: Vec<Hook>,
    start_container: Vec<Hook>,
}

impl Hooks {
    fn of(spec: &Spec) -> Result<Self, ConfigError> {
        let hooks = spec.hooks().as_ref();
        let list = |property: &str, hooks: Option<&Option<Vec<oci_spec::runtime::Hook>>>| {
            process::hooks(property, hooks.and_then(|hooks| hooks.as_deref()).unwrap_or_default())
        };
        let mut creating = list("prestart", hooks.map(prestart))?;
        creating.extend(list("createRuntime", hooks.map(|hooks| hooks.create_runtime()))?);
        Ok(Self {
            of_runtime: RuntimeHooks {
                creating,
                poststart: list("poststart", hooks.map(|hooks| hooks.poststart()))?,
                poststop: list("poststop", hooks.map(|hooks| hooks.poststop()))?,
            },
            create_container: list("createContainer", hooks.map(|hooks| hooks.create_container()))?,
            start_container: list("startContainer", hooks.map(|hooks| hooks.start_container()))?,
        })
    }

    fn any_before_the_program(&self) -> bool {
        !(self.of_runtime.creating.is_empty()
            && self.create_container.is_empty()
            && self.start_container.is_empty())
    }
}

/// Deprecated in the specification, and still to be run.
#[allow(deprecated, reason = "runtimes MUST still run them")]
fn prestart(hooks: &oci_spec::runtime::Hooks) -> &Option<Vec<oci_spec::runtime::Hook>> {
    hooks.prestart()
}

fn check_version(version: &str) -> Result<(), ConfigError> {
    match semver::Version::parse(version) {
        Ok(parsed) if parsed.major == MAJOR => Ok(()),
        Ok(_) => unsupported("ociVersion", format!("`{version}` is not a version of 1.x")),
        Err(error) => invalid("ociVersion", format!("`{version}` is not in SemVer: {error}")),
    }
}

/// Sections of other platforms.
fn refuse_foreign(spec: &Spec) -> Result<(), ConfigError> {
    for (property, there) in [
        ("solaris", spec.solaris().is_some()),
        ("windows", spec.windows().is_some()),
        ("vm", spec.vm().is_some()),
        ("zos", spec.zos().is_some()),
    ] {
        if there {
            return unsupported(property, "this is a Linux runtime");
        }
    }
    Ok(())
}

fn refuse_unsupported(linux: &Linux) -> Result<(), ConfigError> {
    for (property, there, reason) in [
        ("linux.mountLabel", filled(linux.mount_label()), "the kernel has no SELinux"),
        ("linux.intelRdt", linux.intel_rdt().is_some(), "there is no resctrl in the machine"),
        ("linux.memoryPolicy", linux.memory_policy().is_some(), "there is one memory node"),
        (
            "linux.netDevices",
            linux.net_devices().as_ref().is_some_and(|devices| !devices.is_empty()),
            "network devices are not moved",
        ),
    ] {
        if there {
            return unsupported(property, reason);
        }
    }
    if let Some(personality) = linux.personality() {
        use oci_spec::runtime::LinuxPersonalityDomain::PerLinux;
        if personality.flags().as_ref().is_some_and(|flags| !flags.is_empty()) {
            return invalid("linux.personality.flags", "the specification knows none");
        }
        if personality.domain() != PerLinux {
            return unsupported("linux.personality.domain", "only `LINUX`");
        }
    }
    Ok(())
}

fn filled(text: &Option<String>) -> bool {
    text.as_ref().is_some_and(|text| !text.is_empty())
}

fn rootfs(spec: &Spec, folder: &Path) -> Result<Rootfs, ConfigError> {
    let Some(root) = spec.root() else { return invalid("root", "it is required") };
    // An absolute path takes the place of the bundle's.
    let path = folder.join(root.path());
    if !path.is_dir() {
        return invalid("root.path", format!("`{}` is not a folder", path.display()));
    }
    let path = path.canonicalize().map_err(|source| ConfigError::Read { path, source })?;
    Ok(Rootfs {
        lower: vec![path],
        upper: PathBuf::new(),
        work: PathBuf::new(),
        readonly: root.readonly().unwrap_or(false),
    })
}

/// The host or domain name. Without a UTS namespace the machine would be renamed.
fn name(property: &str, value: &Option<String>, own: bool) -> Result<String, ConfigError> {
    let value = value.clone().unwrap_or_default();
    if !value.is_empty() && !own {
        return invalid(property, "it needs a UTS namespace other than the runtime's");
    }
    Ok(value)
}

fn absolute(property: &str, paths: &[String]) -> Result<Vec<PathBuf>, ConfigError> {
    match paths.iter().find(|path| !path.starts_with('/')) {
        Some(path) => invalid(property, format!("`{path}` is not absolute")),
        None => Ok(paths.iter().map(PathBuf::from).collect()),
    }
}

fn annotations(spec: &Spec) -> Result<HashMap<String, String>, ConfigError> {
    let annotations = spec.annotations().clone().unwrap_or_default();
    if annotations.contains_key("") {
        return invalid("annotations", "a key is empty");
    }
    Ok(annotations)
}

/// Relative paths, and none, are below a cgroup of ours.
fn cgroup_path(linux: Option<&Linux>, id: &str) -> Result<PathBuf, ConfigError> {
    let ours = Path::new("linkspan/oci");
    let Some(path) = linux.and_then(|linux| linux.cgroups_path().as_ref()) else {
        return Ok(ours.join(id));
    };
    use std::path::Component::{Normal, RootDir};
    if !path.components().all(|part| matches!(part, Normal(_) | RootDir)) {
        return invalid("linux.cgroupsPath", format!("`{}` has `.` or `..`", path.display()));
    }
    let relative = match path.strip_prefix("/") {
        Ok(relative) => relative.to_owned(),
        Err(_) => ours.join(path),
    };
    if relative.as_os_str().is_empty() {
        return invalid("linux.cgroupsPath", "the root of the hierarchy is the machine's");
    }
    Ok(relative)
}

fn propagation(linux: Option<&Linux>) -> Result<RootPropagation, ConfigError> {
    match linux.and_then(|linux| linux.rootfs_propagation().as_deref()).unwrap_or_default() {
        "" | "private" | "rprivate" => Ok(RootPropagation::Private),
        "slave" | "rslave" => Ok(RootPropagation::Slave),
        "shared" | "rshared" => Ok(RootPropagation::Shared),
        "unbindable" | "runbindable" => Ok(RootPropagation::Unbindable),
        other => invalid(
            "linux.rootfsPropagation",
            format!("`{other}` is none of shared, slave, private, unbindable"),
        ),
    }
}
