//! What PID 1 of the VM asks of the kernel, behind a trait, so that the order of a boot and of a
//! power-off can be tested on a machine that one does not want to reboot.

use std::fs::File;
use std::path::Path;

use nix::mount::{MntFlags, MsFlags};
use nix::sys::reboot::RebootMode;
use nix::sys::time::TimeSpec;
use nix::time::ClockId;

use crate::Result;

/// How the VM ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum PowerAction {
    /// The machine turns itself off (ACPI).
    PowerOff,
    /// The machine restarts.
    Restart,
    /// The processor stops; the machine stays on.
    Halt,
}

/// The system calls of a boot and a power-off.
pub trait BootCalls: Send + Sync {
    /// mount(2). `data`: file system specific options, comma separated, may be empty.
    fn mount(
        &self,
        source: &str,
        target: &Path,
        fstype: &str,
        flags: MsFlags,
        data: &str,
    ) -> Result<()>;
    /// umount2(2).
    fn unmount(&self, target: &Path, flags: MntFlags) -> Result<()>;
    /// finit_module(2) without parameters. `EEXIST`: it was loaded already.
    fn load_module(&self, module: &File) -> Result<()>;
    /// clock_settime(CLOCK_REALTIME): seconds and nanoseconds since 1970 UTC.
    fn set_clock(&self, seconds: i64, nanoseconds: i64) -> Result<()>;
    /// sethostname(2).
    fn set_hostname(&self, name: &str) -> Result<()>;
    /// sync(2): returns when everything is on the devices.
    fn sync(&self);
    /// reboot(2): returns only when it fails.
    fn power(&self, action: PowerAction) -> Result<()>;
}

/// The kernel itself.
#[derive(Debug, Clone, Copy, Default)]
pub struct Kernel;

impl BootCalls for Kernel {
    fn mount(
        &self,
        source: &str,
        target: &Path,
        fstype: &str,
        flags: MsFlags,
        data: &str,
    ) -> Result<()> {
        mount(source, target, fstype, flags, data)
    }

    fn unmount(&self, target: &Path, flags: MntFlags) -> Result<()> {
        unmount(target, flags)
    }

    fn load_module(&self, module: &File) -> Result<()> {
        load_module(module)
    }

    fn set_clock(&self, seconds: i64, nanoseconds: i64) -> Result<()> {
        set_clock(seconds, nanoseconds)
    }

    fn set_hostname(&self, name: &str) -> Result<()> {
        nix::unistd::sethostname(name)
    }

    fn sync(&self) {
        nix::unistd::sync();
    }

    fn power(&self, action: PowerAction) -> Result<()> {
        power(action)
    }
}

/// mount(2); an empty `data` or `fstype` is passed as none at all.
pub fn mount(source: &str, target: &Path, fstype: &str, flags: MsFlags, data: &str) -> Result<()> {
    let none_if_empty = |text: &str| (!text.is_empty()).then(|| text.to_owned());
    nix::mount::mount(
        Some(source),
        target,
        none_if_empty(fstype).as_deref(),
        flags,
        none_if_empty(data).as_deref(),
    )
}

/// umount2(2).
pub fn unmount(target: &Path, flags: MntFlags) -> Result<()> {
    nix::mount::umount2(target, flags)
}

/// finit_module(2) without parameters.
pub fn load_module(module: &File) -> Result<()> {
    nix::kmod::finit_module(module, c"", nix::kmod::ModuleInitFlags::empty())
}

/// clock_settime(CLOCK_REALTIME).
pub fn set_clock(seconds: i64, nanoseconds: i64) -> Result<()> {
    nix::time::clock_settime(ClockId::CLOCK_REALTIME, TimeSpec::new(seconds, nanoseconds))
}

/// reboot(2): returns only when it fails.
pub fn power(action: PowerAction) -> Result<()> {
    let mode = match action {
        PowerAction::PowerOff => RebootMode::RB_POWER_OFF,
        PowerAction::Restart => RebootMode::RB_AUTOBOOT,
        PowerAction::Halt => RebootMode::RB_HALT_SYSTEM,
    };
    nix::sys::reboot::reboot(mode).map(|never| match never {})
}

/// Records what it was asked and answers what it was told to. For tests.
#[cfg(any(test, feature = "fake"))]
pub mod fake {
    use std::collections::HashMap;
    use std::fs::File;
    use std::path::Path;
    use std::sync::Mutex;

    use nix::mount::{MntFlags, MsFlags};

    use super::{BootCalls, PowerAction};
    use crate::{Errno, Result};

    /// A kernel that does nothing but remember.
    #[derive(Debug, Default)]
    pub struct Recording {
        calls: Mutex<Vec<String>>,
        failures: Mutex<HashMap<String, Errno>>,
    }

    impl Recording {
        /// Every call that begins with `prefix` fails with `errno`.
        pub fn fail(&self, prefix: &str, errno: Errno) {
            lock(&self.failures).insert(prefix.to_owned(), errno);
        }

        /// What was asked, in order: `mount proc /proc`, `unmount /proc`, `power PowerOff`, ...
        pub fn calls(&self) -> Vec<String> {
            lock(&self.calls).clone()
        }

        fn record(&self, call: String) -> Result<()> {
            let failure = lock(&self.failures)
                .iter()
                .find(|(prefix, _)| call.starts_with(prefix.as_str()))
                .map(|(_, errno)| *errno);
            lock(&self.calls).push(call);
            failure.map_or(Ok(()), Err)
        }
    }

    fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
        mutex.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
    }

    impl BootCalls for Recording {
        fn mount(
            &self,
            source: &str,
            target: &Path,
            fstype: &str,
            _flags: MsFlags,
            _data: &str,
        ) -> Result<()> {
            let kind = if fstype.is_empty() { source } else { fstype };
            self.record(format!("mount {kind} {}", target.display()))
        }

        fn unmount(&self, target: &Path, _flags: MntFlags) -> Result<()> {
            self.record(format!("unmount {}", target.display()))
        }

        fn load_module(&self, _module: &File) -> Result<()> {
            self.record("load_module".to_owned())
        }

        fn set_clock(&self, seconds: i64, _nanoseconds: i64) -> Result<()> {
            self.record(format!("set_clock {seconds}"))
        }

        fn set_hostname(&self, name: &str) -> Result<()> {
            self.record(format!("set_hostname {name}"))
        }

        fn sync(&self) {
            // Nothing can make it fail, so there is nothing to answer.
            let _ = self.record("sync".to_owned());
        }

        fn power(&self, action: PowerAction) -> Result<()> {
            self.record(format!("power {action:?}"))
        }
    }
}
