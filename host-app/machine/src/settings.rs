//! The settings of one machine: what they are, what is allowed, the file that has them.

use std::fmt;

use linkspan_state::{Document, SettingsPatch, image::KernelChoice};
use serde::{Deserialize, Serialize};

use crate::{
    driver::{Accelerator, AcceleratorChoice},
    share::{self, Share},
    userns::UserNamespaces,
};

/// Less than this and the guest has no room for a container.
pub const MIN_MEMORY_MIB: u64 = 256;
/// Ample for a sparse file; a bound so that a slip of the finger is found.
pub const MAX_DISK_GIB: u64 = 16 * 1024;

/// Settings that hold on this host. They take effect at the next start.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Settings {
    /// Virtual processors.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
    /// Size of the data disk in GiB. Only grows.
    pub disk_gib: u64,
    /// Which kernel boots.
    pub kernel: KernelChoice,
    /// How the guest's instructions are carried out.
    #[serde(with = "choice_as_text")]
    pub accelerator: AcceleratorChoice,
    /// Folders of the host that the machine has. One that is not there is left out of a start.
    #[serde(default = "Share::defaults")]
    pub shares: Vec<Share>,
    /// Whether ids of containers are mapped.
    #[serde(default)]
    pub userns: UserNamespaces,
}

/// What this host has to give.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct HostLimits {
    /// Logical processors.
    pub cpus: u32,
    /// Memory in MiB.
    pub memory_mib: u64,
}

impl HostLimits {
    /// Asks the operating system.
    #[must_use]
    pub fn detect() -> Self {
        let cpus = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
        let memory = sysinfo::System::new().map_or(0, |mut system| {
            system.refresh_memory();
            system.total_memory()
        });
        let memory_mib = match memory / (1024 * 1024) {
            // A system that does not tell must not make every setting wrong.
            0 => u64::MAX,
            mib => mib,
        };
        Self { cpus: u32::try_from(cpus).unwrap_or(u32::MAX), memory_mib }
    }
}

/// Every setting that cannot be, at once.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SettingsError {
    /// One line each: what, and what is allowed.
    pub problems: Vec<String>,
}

impl fmt::Display for SettingsError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.problems.join("; "))
    }
}

impl std::error::Error for SettingsError {}

impl Settings {
    /// What a machine gets when nobody says anything: half of the host's memory at most.
    #[must_use]
    pub fn defaults(host: &HostLimits) -> Self {
        Self {
            cpus: host.cpus.clamp(1, 4),
            memory_mib: (host.memory_mib / 2).clamp(MIN_MEMORY_MIB, 2048),
            disk_gib: 20,
            kernel: KernelChoice::Auto,
            accelerator: AcceleratorChoice::Auto,
            shares: Share::defaults(),
            userns: UserNamespaces::Off,
        }
    }

    /// These settings with some changed. The disk may not become smaller.
    ///
    /// # Errors
    /// All the problems at once.
    pub fn changed(&self, patch: &SettingsPatch, host: &HostLimits) -> Result<Self, SettingsError> {
        let mut problems = Vec::new();
        let settings = self.patched(patch, &mut problems);
        if settings.disk_gib < self.disk_gib {
            problems.push(format!(
                "disk: {} GiB is less than the present {} GiB, and a disk can only grow",
                settings.disk_gib, self.disk_gib
            ));
        }
        settings.check(host, &mut problems);
        if problems.is_empty() { Ok(settings) } else { Err(SettingsError { problems }) }
    }

    /// The settings of a new machine: the defaults with some changed.
    ///
    /// # Errors
    /// All the problems at once.
    pub fn new(patch: &SettingsPatch, host: &HostLimits) -> Result<Self, SettingsError> {
        let mut problems = Vec::new();
        let settings = Self::defaults(host).patched(patch, &mut problems);
        settings.check(host, &mut problems);
        if problems.is_empty() { Ok(settings) } else { Err(SettingsError { problems }) }
    }

    /// Whether these can be had on this host now: it may have changed since they were made.
    ///
    /// # Errors
    /// All the problems at once.
    pub fn checked(&self, host: &HostLimits) -> Result<(), SettingsError> {
        let mut problems = Vec::new();
        self.check(host, &mut problems);
        if problems.is_empty() { Ok(()) } else { Err(SettingsError { problems }) }
    }

    fn patched(&self, patch: &SettingsPatch, problems: &mut Vec<String>) -> Self {
        let mut settings = self.clone();
        settings.cpus = patch.cpus.unwrap_or(self.cpus);
        settings.memory_mib = patch.memory_mib.unwrap_or(self.memory_mib);
        settings.disk_gib = patch.disk_gib.unwrap_or(self.disk_gib);
        match patch.kernel.as_deref().map(str::parse) {
            Some(Ok(kernel)) => settings.kernel = kernel,
            Some(Err(why)) => problems.push(format!("kernel: {why}")),
            None => {}
        }
        match patch.accelerator.as_deref().map(str::parse) {
            Some(Ok(accelerator)) => settings.accelerator = accelerator,
            Some(Err(why)) => problems.push(format!("accelerator: {why}")),
            None => {}
        }
        match patch.userns.as_deref().map(str::parse) {
            Some(Ok(userns)) => settings.userns = userns,
            Some(Err(why)) => problems.push(format!("userns: {why}")),
            None => {}
        }
        settings.shares = share::patched(&self.shares, patch, problems);
        settings
    }

    fn check(&self, host: &HostLimits, problems: &mut Vec<String>) {
        if self.cpus == 0 || self.cpus > host.cpus {
            problems.push(format!(
                "cpus: {} is not between 1 and this host's {}",
                self.cpus, host.cpus
            ));
        }
        if self.memory_mib < MIN_MEMORY_MIB || self.memory_mib > host.memory_mib {
            problems.push(format!(
                "memory: {} MiB is not between {MIN_MEMORY_MIB} MiB and this host's {} MiB",
                self.memory_mib, host.memory_mib
            ));
        }
        if self.disk_gib == 0 || self.disk_gib > MAX_DISK_GIB {
            problems.push(format!(
                "disk: {} GiB is not between 1 and {MAX_DISK_GIB} GiB",
                self.disk_gib
            ));
        }
        if let KernelChoice::Path(path) = &self.kernel
            && !path.is_file()
        {
            problems.push(format!("kernel: there is no file `{}`", path.display()));
        }
        if let AcceleratorChoice::Only(accelerator) = self.accelerator
            && let Some(system) = home_of(accelerator)
            && system != std::env::consts::OS
        {
            problems.push(format!(
                "accelerator: `{accelerator}` is {system}'s, this host runs {}",
                std::env::consts::OS
            ));
        }
    }

    /// The data disk's size in bytes.
    #[must_use]
    pub fn disk_bytes(&self) -> u64 {
        self.disk_gib << 30
    }
}

/// The operating system that has it; `None`: all.
fn home_of(accelerator: Accelerator) -> Option<&'static str> {
    match accelerator {
        Accelerator::Kvm => Some("linux"),
        Accelerator::Hvf => Some("macos"),
        Accelerator::Whpx => Some("windows"),
        Accelerator::Tcg | Accelerator::Native => None,
    }
}

/// In the file as users write it.
mod choice_as_text {
    use serde::{Deserialize as _, Deserializer, Serializer, de::Error as _};

    use super::AcceleratorChoice;

    pub(super) fn serialize<S: Serializer>(
        choice: &AcceleratorChoice,
        serializer: S,
    ) -> Result<S::Ok, S::Error> {
        serializer.collect_str(choice)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(
        deserializer: D,
    ) -> Result<AcceleratorChoice, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

/// `machine.json`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct MachineFile {
    pub(crate) settings: Settings,
    pub(crate) created_at: jiff::Timestamp,
}

impl Document for MachineFile {
    const FORMAT: u64 = 1;
    const WHAT: &'static str = "the settings of a machine";
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: HostLimits = HostLimits { cpus: 4, memory_mib: 8192 };

    fn base() -> Settings {
        Settings::new(&SettingsPatch::default(), &HOST).unwrap()
    }

    #[test]
    fn every_problem_is_told_at_once() {
        let patch = SettingsPatch {
            cpus: Some(0),
            memory_mib: Some(64),
            disk_gib: Some(0),
            kernel: Some("linux".into()),
            accelerator: Some("turbo".into()),
            userns: Some("someone".into()),
            share: vec!["relative".into()],
            unshare: vec!["/not/shared".into()],
        };
        let error = base().changed(&patch, &HOST).unwrap_err();
        let words =
            ["cpus", "memory", "disk", "kernel", "accelerator", "userns", "share", "unshare"];
        for word in words {
            assert!(error.problems.iter().any(|line| line.starts_with(word)), "{word}: {error}");
        }
    }

    #[test]
    fn the_hosts_own_size_is_the_limit() {
        let fits = SettingsPatch { cpus: Some(4), memory_mib: Some(8192), ..Default::default() };
        assert_eq!(base().changed(&fits, &HOST).unwrap().cpus, 4);
        for patch in [
            SettingsPatch { cpus: Some(5), ..Default::default() },
            SettingsPatch { memory_mib: Some(8193), ..Default::default() },
        ] {
            assert_eq!(base().changed(&patch, &HOST).unwrap_err().problems.len(), 1);
        }
    }

    #[test]
    fn a_disk_only_grows() {
        let grown = SettingsPatch { disk_gib: Some(21), ..Default::default() };
        let grown = base().changed(&grown, &HOST).unwrap();
        let back = SettingsPatch { disk_gib: Some(20), ..Default::default() };
        assert!(grown.changed(&back, &HOST).unwrap_err().to_string().contains("only grow"));
        assert!(Settings::new(&back, &HOST).is_ok(), "a new machine may begin small");
    }

    #[test]
    fn a_kernel_by_path_must_be_there() {
        let patch = SettingsPatch { kernel: Some("/no/such/kernel".into()), ..Default::default() };
        if cfg!(unix) {
            let error = base().changed(&patch, &HOST).unwrap_err().to_string();
            assert!(error.contains("/no/such/kernel"), "{error}");
        }
    }

    #[test]
    fn an_accelerator_of_another_system_is_refused_by_name() {
        let foreign = if cfg!(target_os = "linux") { "hvf" } else { "kvm" };
        let patch = SettingsPatch { accelerator: Some(foreign.into()), ..Default::default() };
        let error = base().changed(&patch, &HOST).unwrap_err().to_string();
        assert!(error.contains(foreign) && error.contains(std::env::consts::OS), "{error}");
    }

    #[test]
    fn the_file_says_what_users_say() {
        let patch = SettingsPatch { accelerator: Some("tcg".into()), ..Default::default() };
        let settings = Settings::new(&patch, &HOST).unwrap();
        let text = serde_json::to_string(&settings).unwrap();
        assert!(text.contains(r#""accelerator":"tcg""#), "{text}");
        assert!(text.contains(r#""kernel":"auto""#), "{text}");
        assert_eq!(serde_json::from_str::<Settings>(&text).unwrap(), settings);
    }

    #[test]
    fn a_file_from_before_there_were_shares_and_mapped_ids_has_the_usual_ones() {
        let mut value = serde_json::to_value(base()).unwrap();
        for later in ["shares", "userns"] {
            value.as_object_mut().unwrap().remove(later);
        }
        let settings = serde_json::from_value::<Settings>(value).unwrap();
        assert_eq!(settings.shares, Share::defaults());
        assert_eq!(settings.userns, UserNamespaces::Off);
    }

    #[test]
    fn this_host_can_have_the_defaults() {
        let host = HostLimits::detect();
        Settings::defaults(&host).checked(&host).unwrap();
    }
}
