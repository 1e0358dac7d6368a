//! Which accelerator a machine gets, and why; and which ones this host has lied about.
//!
//! KVM is chosen only where all of it holds: `/dev/kvm` opens for reading and writing, the
//! processor shows that it can run guests, and no guest has failed to boot with it here. The
//! device alone proves nothing: in some clouds it opens, creates a VM, and the VM never runs.

use std::{collections::BTreeMap, path::Path};

use linkspan_machine::driver::{Accelerator, AcceleratorChoice, AcceleratorVerdict, DriverError};
use linkspan_state::{Document, StateError};
use serde::{Deserialize, Serialize};

use crate::{
    NAME,
    host::{HostFacts, KvmDevice},
};

/// Accelerators (by [`key`]) that failed on a host, with what happened.
pub(crate) type Distrusted = BTreeMap<String, String>;

/// Decides. `distrusted` is of the same host.
pub(crate) fn choose(
    choice: AcceleratorChoice,
    facts: &HostFacts,
    distrusted: &Distrusted,
) -> Result<AcceleratorVerdict, DriverError> {
    match choice {
        AcceleratorChoice::Auto => Ok(automatic(facts, distrusted)),
        AcceleratorChoice::Only(Accelerator::Tcg) => Ok(tcg("it was asked for".into())),
        AcceleratorChoice::Only(accelerator) => {
            // A remembered failure does not bind who asks by name: perhaps it was repaired.
            possible(accelerator, facts).map_err(|why| DriverError::Unsupported {
                driver: NAME,
                what: format!("the accelerator `{}`", key(accelerator)),
                why,
            })?;
            Ok(fast(accelerator, "it was asked for".into()))
        }
    }
}

fn automatic(facts: &HostFacts, distrusted: &Distrusted) -> AcceleratorVerdict {
    let native = match facts.os {
        "linux" => Accelerator::Kvm,
        "macos" => Accelerator::Hvf,
        _ => Accelerator::Whpx,
    };
    if let Err(why) = possible(native, facts) {
        return tcg(why);
    }
    match distrusted.get(key(native)) {
        Some(what) => tcg(format!("{} failed here before: {what}", title(native))),
        None => fast(native, format!("{} works here", title(native))),
    }
}

/// `Err`: why it cannot work on such a host.
fn possible(accelerator: Accelerator, facts: &HostFacts) -> Result<(), String> {
    match accelerator {
        Accelerator::Tcg => Ok(()),
        Accelerator::Kvm => possible_kvm(facts),
        Accelerator::Hvf if facts.os != "macos" => Err("only macOS has HVF".into()),
        Accelerator::Hvf if facts.hypervisor_framework => Ok(()),
        Accelerator::Hvf => {
            Err("macOS says that this Mac cannot run guests (kern.hv_support)".into())
        }
        Accelerator::Whpx if facts.os != "windows" => Err("only Windows has WHPX".into()),
        Accelerator::Whpx => Err("WHPX in this driver is still to come".into()),
        Accelerator::Native => Err("QEMU has several ways to run a guest, none is native".into()),
    }
}

fn possible_kvm(facts: &HostFacts) -> Result<(), String> {
    if facts.os != "linux" {
        return Err("only Linux has KVM".into());
    }
    match &facts.kvm {
        KvmDevice::Absent => {
            return Err(
                "there is no /dev/kvm (virtualisation is off, or the module is missing)".into()
            );
        }
        KvmDevice::Refused(why) => return Err(format!("/dev/kvm cannot be opened: {why}")),
        KvmDevice::Opens | KvmDevice::Forbidden => {}
    }
    if facts.virtualization == Some(false) {
        return Err(
            "this processor shows neither vmx nor svm, so KVM cannot work although there is a \
             /dev/kvm"
                .into(),
        );
    }
    if facts.kvm == KvmDevice::Forbidden {
        return Err(
            "you may not open /dev/kvm: `sudo usermod -aG kvm $USER` and a new login let you"
                .into(),
        );
    }
    Ok(())
}

fn tcg(reason: String) -> AcceleratorVerdict {
    AcceleratorVerdict { accelerator: Accelerator::Tcg, reason, slow: true }
}

fn fast(accelerator: Accelerator, reason: String) -> AcceleratorVerdict {
    AcceleratorVerdict { accelerator, reason, slow: false }
}

/// The name in settings, in the file and on QEMU's command line.
pub(crate) fn key(accelerator: Accelerator) -> &'static str {
    match accelerator {
        Accelerator::Kvm => "kvm",
        Accelerator::Hvf => "hvf",
        Accelerator::Whpx => "whpx",
        Accelerator::Tcg => "tcg",
        Accelerator::Native => "native",
    }
}

fn title(accelerator: Accelerator) -> String {
    key(accelerator).to_uppercase()
}

/// The file: only the verdicts about the present host are kept, so it stays small.
#[derive(Debug, Default, Serialize, Deserialize)]
struct Verdicts {
    /// [`HostFacts::fingerprint`].
    host: String,
    /// What failed, by [`key`].
    distrusted: Distrusted,
}

impl Document for Verdicts {
    const FORMAT: u64 = 1;
    const WHAT: &'static str = "the verdicts about accelerators";
}

/// What was remembered about `host`. Blocking.
pub(crate) fn distrusted(file: &Path, host: &str) -> Result<Distrusted, DriverError> {
    match linkspan_state::read::<Verdicts>(file) {
        Ok(Some(verdicts)) if verdicts.host == host => Ok(verdicts.distrusted),
        Ok(_) => Ok(Distrusted::new()),
        // It can be found out again, so a broken or newer file must not stop a machine.
        Err(error @ (StateError::Malformed { .. } | StateError::NewerFormat { .. })) => {
            tracing::warn!(%error, "ignored");
            Ok(Distrusted::new())
        }
        Err(error) => Err(file_error("read", file, error)),
    }
}

/// Remembers that `accelerator` failed on `host`. Blocking.
pub(crate) fn remember(
    file: &Path,
    host: &str,
    accelerator: Accelerator,
    reason: &str,
) -> Result<(), DriverError> {
    let mut distrusted = distrusted(file, host)?;
    distrusted.insert(key(accelerator).into(), reason.into());
    linkspan_state::write(file, &Verdicts { host: host.into(), distrusted })
        .map_err(|error| file_error("write", file, error))
}

fn file_error(action: &'static str, file: &Path, error: StateError) -> DriverError {
    let source = match error {
        StateError::Io { source, .. } => source,
        other => std::io::Error::other(other),
    };
    DriverError::Io { action, subject: file.display().to_string(), source }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn linux() -> HostFacts {
        HostFacts {
            os: "linux",
            arch: "x86_64",
            kernel: "6.12.0".into(),
            processor: "Some Processor".into(),
            virtualization: Some(true),
            kvm: KvmDevice::Opens,
            hypervisor_framework: false,
        }
    }

    fn auto(facts: &HostFacts) -> AcceleratorVerdict {
        choose(AcceleratorChoice::Auto, facts, &Distrusted::new()).expect("auto always works")
    }

    #[test]
    fn kvm_needs_the_device_and_the_processor() {
        assert_eq!(auto(&linux()).accelerator, Accelerator::Kvm);
        assert!(!auto(&linux()).slow);
        for (kvm, word) in [
            (KvmDevice::Absent, "no /dev/kvm"),
            (KvmDevice::Forbidden, "usermod -aG kvm"),
            (KvmDevice::Refused("Device or resource busy".into()), "resource busy"),
        ] {
            let verdict = auto(&HostFacts { kvm, ..linux() });
            assert_eq!(verdict.accelerator, Accelerator::Tcg);
            assert!(verdict.slow && verdict.reason.contains(word), "{verdict:?}");
        }
    }

    #[test]
    fn who_cannot_have_kvm_is_not_sent_for_the_right_to_open_it() {
        let facts = HostFacts { kvm: KvmDevice::Forbidden, virtualization: Some(false), ..linux() };
        let verdict = auto(&facts);
        assert!(verdict.reason.contains("neither vmx nor svm"), "{verdict:?}");
    }

    /// A cloud's build machine: /dev/kvm opens, answers and creates VMs that never run.
    #[test]
    fn a_device_that_opens_proves_nothing() {
        let facts = HostFacts { virtualization: Some(false), ..linux() };
        let verdict = auto(&facts);
        assert_eq!(verdict.accelerator, Accelerator::Tcg);
        assert!(verdict.reason.contains("neither vmx nor svm"), "{verdict:?}");
        let asked = choose(AcceleratorChoice::Only(Accelerator::Kvm), &facts, &Distrusted::new());
        let error = asked.expect_err("cannot work").to_string();
        assert!(error.contains("`kvm`") && error.contains("neither vmx nor svm"), "{error}");
    }

    #[test]
    fn what_failed_is_not_chosen_again_unless_asked_for_by_name() {
        let failed = Distrusted::from([("kvm".to_owned(), "no output within 10 s".to_owned())]);
        let verdict = choose(AcceleratorChoice::Auto, &linux(), &failed).expect("auto");
        assert_eq!(verdict.accelerator, Accelerator::Tcg);
        assert!(verdict.reason.contains("no output within 10 s"), "{verdict:?}");
        let only = AcceleratorChoice::Only(Accelerator::Kvm);
        let verdict = choose(only, &linux(), &failed).expect("possible");
        assert_eq!(verdict.accelerator, Accelerator::Kvm);
    }

    #[test]
    fn a_choice_of_another_system_says_which_system_has_it() {
        for (accelerator, word) in [
            (Accelerator::Hvf, "macOS"),
            (Accelerator::Whpx, "Windows"),
            (Accelerator::Native, "QEMU"),
        ] {
            let only = AcceleratorChoice::Only(accelerator);
            let error = choose(only, &linux(), &Distrusted::new()).expect_err("not here");
            assert!(error.to_string().contains(word), "{error}");
        }
        let mac = HostFacts { os: "macos", hypervisor_framework: true, ..linux() };
        assert_eq!(auto(&mac).accelerator, Accelerator::Hvf);
        let mac = HostFacts { hypervisor_framework: false, ..mac };
        assert_eq!(auto(&mac).accelerator, Accelerator::Tcg);
    }

    #[test]
    fn verdicts_are_remembered_until_the_host_changes() {
        let folder = tempfile::tempdir().expect("folder");
        let file = folder.path().join("accelerators.json");
        assert!(distrusted(&file, "a").expect("no file is fine").is_empty());
        remember(&file, "a", Accelerator::Kvm, "it hung").expect("written");
        assert_eq!(distrusted(&file, "a").expect("read")["kvm"], "it hung");
        assert!(distrusted(&file, "a newer kernel").expect("read").is_empty());
        std::fs::write(&file, "{").expect("write");
        assert!(distrusted(&file, "a").expect("a broken file is ignored").is_empty());
    }
}
