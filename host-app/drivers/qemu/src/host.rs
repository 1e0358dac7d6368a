//! Facts of this host that decide about accelerators. Gathered here, judged in `accelerator`.

use std::io;

/// What is known of the host.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct HostFacts {
    /// `linux`, `macos`, `windows`: as [`std::env::consts::OS`].
    pub os: &'static str,
    /// As [`std::env::consts::ARCH`].
    pub arch: &'static str,
    /// The kernel's release: a new one may bring what was broken.
    pub kernel: String,
    /// The processor's name.
    pub processor: String,
    /// The processor shows that it can run guests (x86-64: the flag `vmx` or `svm`). `None`: this
    /// kind of processor does not tell.
    pub virtualization: Option<bool>,
    /// `/dev/kvm`.
    pub kvm: KvmDevice,
    /// macOS: `kern.hv_support`.
    pub hypervisor_framework: bool,
}

/// What opening `/dev/kvm` for reading and writing gave.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum KvmDevice {
    /// It opens, which does not prove that guests run.
    Opens,
    /// There is none.
    Absent,
    /// It is there, and this user may not open it.
    Forbidden,
    /// It is there and does not open.
    Refused(String),
}

impl HostFacts {
    /// Looks at this host. Blocking.
    #[must_use]
    pub fn probe() -> Self {
        let cpuinfo = read("/proc/cpuinfo");
        Self {
            os: std::env::consts::OS,
            arch: std::env::consts::ARCH,
            kernel: kernel_release(),
            processor: processor_name(&cpuinfo),
            virtualization: virtualization_flag(std::env::consts::ARCH, &cpuinfo),
            kvm: probe_kvm(),
            hypervisor_framework: sysctl("kern.hv_support").as_deref() == Some("1"),
        }
    }

    /// What a verdict about this host is remembered by: when any of it changes, the verdict may be
    /// wrong and is forgotten.
    #[must_use]
    pub fn fingerprint(&self, qemu_version: &str) -> String {
        format!("qemu {qemu_version}; {} {}; {}", self.os, self.kernel, self.processor)
    }
}

/// x86-64 Linux lists `vmx` (Intel) or `svm` (AMD) in each processor's flags, and hides them where
/// the firmware or an outer hypervisor has switched them off.
fn virtualization_flag(arch: &str, cpuinfo: &str) -> Option<bool> {
    if arch != "x86_64" || cpuinfo.is_empty() {
        return None;
    }
    let flags = cpuinfo.lines().find(|line| line.starts_with("flags"))?;
    Some(flags.split_whitespace().any(|flag| flag == "vmx" || flag == "svm"))
}

fn processor_name(cpuinfo: &str) -> String {
    let field = |name| {
        cpuinfo
            .lines()
            .filter_map(|line| line.split_once(':'))
            .find(|(key, _)| key.trim() == name)
            .map(|(_, value)| value.trim().to_owned())
    };
    // arm64 has no name there; implementer and part are as good for telling processors apart.
    field("model name")
        .or_else(|| Some(format!("arm {} {}", field("CPU implementer")?, field("CPU part")?)))
        .or_else(|| sysctl("machdep.cpu.brand_string"))
        .unwrap_or_else(|| "unknown processor".into())
}

fn kernel_release() -> String {
    let linux = read("/proc/sys/kernel/osrelease");
    if !linux.trim().is_empty() {
        return linux.trim().to_owned();
    }
    sysctl("kern.osrelease").unwrap_or_else(|| "unknown kernel".into())
}

/// Empty where there is no such file: other systems have no /proc.
fn read(path: &str) -> String {
    std::fs::read_to_string(path).unwrap_or_default()
}

fn probe_kvm() -> KvmDevice {
    if !cfg!(target_os = "linux") {
        return KvmDevice::Absent;
    }
    match std::fs::OpenOptions::new().read(true).write(true).open("/dev/kvm") {
        Ok(_) => KvmDevice::Opens,
        Err(error) if error.kind() == io::ErrorKind::NotFound => KvmDevice::Absent,
        Err(error) if error.kind() == io::ErrorKind::PermissionDenied => KvmDevice::Forbidden,
        Err(error) => KvmDevice::Refused(error.to_string()),
    }
}

/// macOS: one value, through the program (the call itself is not safe Rust).
fn sysctl(name: &str) -> Option<String> {
    if !cfg!(target_os = "macos") {
        return None;
    }
    let output = std::process::Command::new("/usr/sbin/sysctl").args(["-n", name]).output().ok()?;
    let text = String::from_utf8(output.stdout).ok()?;
    output.status.success().then(|| text.trim().to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    const GUEST_OF_A_CLOUD: &str = "\
processor\t: 0
model name\t: AMD EPYC
flags\t\t: fpu vme de pse tsc hypervisor lahf_lm cmp_legacy vmmcall svm_lock
";

    #[test]
    fn only_the_whole_flag_counts() {
        assert_eq!(virtualization_flag("x86_64", GUEST_OF_A_CLOUD), Some(false));
        let with = GUEST_OF_A_CLOUD.replace("svm_lock", "svm");
        assert_eq!(virtualization_flag("x86_64", &with), Some(true));
        let with = GUEST_OF_A_CLOUD.replace("svm_lock", "vmx");
        assert_eq!(virtualization_flag("x86_64", &with), Some(true));
        assert_eq!(virtualization_flag("aarch64", "processor: 0"), None);
    }

    #[test]
    fn a_processor_has_a_name_on_every_architecture() {
        assert_eq!(processor_name(GUEST_OF_A_CLOUD), "AMD EPYC");
        let arm = "processor\t: 0\nCPU implementer\t: 0x41\nCPU part\t: 0xd0c\n";
        assert_eq!(processor_name(arm), "arm 0x41 0xd0c");
    }

    #[test]
    fn this_host_can_be_probed() {
        let facts = HostFacts::probe();
        assert_eq!(facts.os, std::env::consts::OS);
        assert!(!facts.kernel.is_empty() && !facts.processor.is_empty(), "{facts:?}");
    }
}
