//! A VM's description as QEMU's command line. Pure: looks at nothing, starts nothing.
//!
//! The machine is `q35` without what no guest of ours uses. Measured under TCG (lean kernel, two
//! processors, time from the start of QEMU to the guest's init; median of several, only the ratio
//! travels between hosts) against `-machine q35 -cpu max` without these options:
//!
//! | change | boot | other |
//! |---|---|---|
//! | no HPET, SMM, SATA, USB, vmport, i8042 | 0.95 | boot and power-off together 0.74 |
//! | qboot instead of SeaBIOS | 0.92-0.95 | |
//! | `-cpu Haswell-noTSX` instead of `max` | 0.90-0.94 | |
//! | without `erms` and `fsrm` | 1.0 | memset 11x, reading from the page cache 5x as fast: TCG carries out `rep stosb` and `rep movsb` byte by byte |
//! | all of these | 0.82 | boot and power-off together 0.65 |
//! | other translation cache sizes, `nokaslr`, `mitigations=off`, `tsc=reliable`, `-sandbox` | 1.0 | |
//! | `microvm` (with `acpi`, `pcie`, `pit`, `pic`, `rtc` on) instead of `q35` | 0.95 of that | not taken: few interrupts, no hot-plug |

use std::{
    ffi::OsString,
    path::{Path, PathBuf},
};

use linkspan_machine::driver::{Accelerator, DriverError, VmSpec};

use crate::{accelerator, programs::Qemu, unsupported};

/// What the command line says besides the [`VmSpec`].
pub(crate) struct Devices<'a> {
    pub(crate) accelerator: Accelerator,
    pub(crate) vsock: VsockBackend<'a>,
    /// The vhost-user sockets of the spec's shared folders, in their order.
    pub(crate) folders: &'a [PathBuf],
    /// QMP's unix socket.
    pub(crate) qmp: &'a Path,
    /// Where QEMU writes its process id once it runs.
    pub(crate) pid_file: &'a Path,
    /// QEMU's own messages after it has gone to the background.
    pub(crate) log: &'a Path,
    /// Filter QEMU's system calls.
    pub(crate) sandbox: bool,
    /// `qboot.rom`, if QEMU came with it.
    pub(crate) qboot: Option<&'a Path>,
}

/// How the guest gets its vsock.
#[derive(Debug, Clone, Copy)]
pub(crate) enum VsockBackend<'a> {
    /// The kernel's vhost-vsock.
    Kernel { cid: u32 },
    /// vhost-user: the device listens on this socket.
    Process { socket: &'a Path },
}

/// QEMU's arguments, without the program.
pub(crate) fn arguments(
    spec: &VmSpec,
    devices: &Devices<'_>,
) -> Result<Vec<OsString>, DriverError> {
    let mut line = Line::default();
    identity(&mut line, spec, devices);
    processors_and_memory(&mut line, spec, devices);
    kernel(&mut line, spec, devices)?;
    disk(&mut line, spec)?;
    vsock(&mut line, devices)?;
    folders(&mut line, spec, devices)?;
    small_devices(&mut line, spec, devices)?;
    Ok(line.0)
}

fn identity(line: &mut Line, spec: &VmSpec, devices: &Devices<'_>) {
    // `process` is the name in `ps` and `top`.
    let name = format!("linkspan-{}", spec.name);
    line.option("-name", Group::new("").key("guest", &name).key("process", &name));
    line.plain("-nodefaults").plain("-no-user-config").pair("-display", "none");
    // To the background only when the machine is set up: errors before that come back to us.
    line.plain("-daemonize").path("-pidfile", devices.pid_file);
    line.pair("-msg", "timestamp=on");
    // A log item is needed for QEMU to keep its standard error (else /dev/null) in the background.
    // `strace` is one that a system emulator never writes.
    line.pair("-d", "strace").path("-D", devices.log);
    // A reset ends the VM, which is how we hear of it; so does a panic (see pvpanic).
    line.plain("-no-reboot").pair("-action", "panic=shutdown");
    if devices.sandbox {
        // Not `elevateprivileges` and `spawn`: QEMU installs its filter before it goes to the
        // background, and then may neither fork nor begin a session of its own.
        line.pair("-sandbox", "on,obsolete=deny,resourcecontrol=deny");
    }
}

fn processors_and_memory(line: &mut Line, spec: &VmSpec, devices: &Devices<'_>) {
    let mut machine = if cfg!(target_arch = "aarch64") {
        Group::new("virt").key("gic-version", "max")
    } else {
        Group::new("q35")
            .keys(&[("hpet", "off"), ("smm", "off"), ("sata", "off"), ("usb", "off")])
            .keys(&[("vmport", "off"), ("i8042", "off")])
    };
    machine = machine.key("memory-backend", "mem0");
    line.option("-machine", machine);
    let (accel, cpu) = match devices.accelerator {
        // `multi`: one host thread for each virtual processor.
        Accelerator::Tcg => ("tcg,thread=multi", tcg_processor()),
        other => (accelerator::key(other), "host"),
    };
    line.pair("-accel", accel).pair("-cpu", cpu);
    line.pair("-smp", &spec.cpus.to_string());
    line.pair("-m", &format!("{}M", spec.memory_mib));
    // Shared: a vhost-user device maps the guest's memory. Not reserved: pages appear with use
    // and go back with the balloon's free page reporting.
    line.option(
        "-object",
        Group::new("memory-backend-memfd")
            .key("id", "mem0")
            .key("size", &format!("{}M", spec.memory_mib))
            .keys(&[("share", "on"), ("reserve", "off")]),
    );
}

/// See the table above. Besides `erms`, what QEMU 7.2's translator cannot do and would warn about.
fn tcg_processor() -> &'static str {
    if cfg!(target_arch = "aarch64") {
        "max"
    } else {
        "Haswell-noTSX,-erms,-pcid,-x2apic,-tsc-deadline,-invpcid"
    }
}

fn kernel(line: &mut Line, spec: &VmSpec, devices: &Devices<'_>) -> Result<(), DriverError> {
    line.path("-kernel", &spec.kernel).path("-initrd", &spec.initramfs);
    line.pair("-append", &kernel_command_line(&spec.cmdline));
    if let Some(qboot) = devices.qboot {
        line.path("-bios", qboot);
    }
    // Appended, so that it can be shortened while it is written.
    let serial = Group::new("file").keys(&[("id", "serial0"), ("append", "on")]);
    let serial = serial.path("path", &spec.serial_log)?;
    line.option("-chardev", serial).pair("-serial", "chardev:serial0");
    Ok(())
}

/// What the devices above need, unless the machine's own line says otherwise.
fn kernel_command_line(asked: &str) -> String {
    let console = if cfg!(target_arch = "aarch64") { "console=ttyAMA0" } else { "console=ttyS0" };
    let mut line = String::new();
    // Reset at once after a panic: the reset ends the VM. And there is no keyboard controller to
    // reset the machine with.
    let mut words = vec![console, "panic=-1", "reboot=t"];
    if cfg!(target_arch = "x86_64") {
        // On a busy host the emulated timer's first ticks can come later than the kernel's test
        // of it waits, which then panics. The kernel leaves the test out by itself under KVM.
        words.push("no_timer_check");
    }
    for word in words {
        let key = |word: &str| word.split('=').next().map(str::to_owned);
        let said = asked.split_whitespace().any(|other| key(other) == key(word));
        if !said {
            line.push_str(word);
            line.push(' ');
        }
    }
    line.push_str(asked.trim());
    line.trim_end().to_owned()
}

fn disk(line: &mut Line, spec: &VmSpec) -> Result<(), DriverError> {
    // Threads rather than io_uring, which hosts switch off (kernel.io_uring_disabled); the page
    // cache rather than O_DIRECT, since the guest's flushes still reach the disk and folders on
    // tmpfs and some file systems know no O_DIRECT. Discarded blocks are given back to the host,
    // written zeroes too.
    let file = Group::new("driver=file")
        .key("node-name", "data-file")
        .path("filename", &spec.disk)?
        .keys(&[("aio", "threads"), ("cache.direct", "off"), ("discard", "unmap")]);
    line.option("-blockdev", file);
    let raw = Group::new("driver=raw")
        .keys(&[("node-name", "data"), ("file", "data-file")])
        .keys(&[("discard", "unmap"), ("detect-zeroes", "unmap")]);
    line.option("-blockdev", raw);
    let device = Group::new("virtio-blk-pci")
        .keys(&[("drive", "data"), ("serial", "data"), ("discard", "on")])
        .keys(&[("write-zeroes", "on"), ("disable-legacy", "on")]);
    line.option("-device", device);
    Ok(())
}

fn vsock(line: &mut Line, devices: &Devices<'_>) -> Result<(), DriverError> {
    match devices.vsock {
        VsockBackend::Kernel { cid } => {
            let device = Group::new("vhost-vsock-pci").key("guest-cid", &cid.to_string());
            line.option("-device", device.key("disable-legacy", "on"));
        }
        VsockBackend::Process { socket } => {
            let chardev = Group::new("socket").key("id", "vsock0").path("path", socket)?;
            line.option("-chardev", chardev);
            line.pair("-device", "vhost-user-vsock-pci,chardev=vsock0");
        }
    }
    Ok(())
}

/// One file system device for each shared folder, which the guest finds by its tag.
fn folders(line: &mut Line, spec: &VmSpec, devices: &Devices<'_>) -> Result<(), DriverError> {
    for (number, (share, socket)) in spec.shares.iter().zip(devices.folders).enumerate() {
        let id = format!("fs{number}");
        line.option("-chardev", Group::new("socket").key("id", &id).path("path", socket)?);
        let device = Group::new("vhost-user-fs-pci")
            .key("chardev", &id)
            .key("tag", &share.tag)
            // As many requests at once as QEMU allows; its own default is 128.
            .key("queue-size", "1024");
        line.option("-device", device);
    }
    Ok(())
}

fn small_devices(
    line: &mut Line,
    _spec: &VmSpec,
    devices: &Devices<'_>,
) -> Result<(), DriverError> {
    // No option ROM: nobody boots from the network.
    line.pair("-netdev", "user,id=net0");
    line.pair("-device", "virtio-net-pci,netdev=net0,romfile=,disable-legacy=on");
    line.pair("-device", "virtio-rng-pci,disable-legacy=on");
    line.pair("-device", "virtio-balloon-pci,free-page-reporting=on,disable-legacy=on");
    line.pair("-device", if cfg!(target_arch = "aarch64") { "pvpanic-pci" } else { "pvpanic" });
    let qmp = Group::new("socket")
        .key("id", "qmp0")
        .path("path", devices.qmp)?
        .keys(&[("server", "on"), ("wait", "off")]);
    line.option("-chardev", qmp).pair("-mon", "chardev=qmp0,mode=control");
    Ok(())
}

/// The firmware that comes with QEMU, in its data folder.
pub(crate) fn qboot(qemu: &Qemu) -> Option<std::path::PathBuf> {
    if !cfg!(target_arch = "x86_64") {
        return None;
    }
    let prefix = qemu.program.parent()?.parent()?;
    ["share/qemu/qboot.rom", "share/qboot/bios.bin"]
        .iter()
        .map(|file| prefix.join(file))
        .find(|path| path.is_file())
}

/// The command line, as it grows.
#[derive(Default)]
struct Line(Vec<OsString>);

impl Line {
    fn plain(&mut self, word: &str) -> &mut Self {
        self.0.push(word.into());
        self
    }

    fn pair(&mut self, option: &str, value: &str) -> &mut Self {
        self.plain(option).plain(value)
    }

    /// A path that is a whole argument needs no escaping.
    fn path(&mut self, option: &str, path: &Path) -> &mut Self {
        self.0.extend([option.into(), path.into()]);
        self
    }

    fn option(&mut self, option: &str, group: Group) -> &mut Self {
        self.plain(option).plain(&group.0)
    }
}

/// `driver,key=value,key=value`. QEMU ends a value at a comma; a doubled comma is one.
struct Group(String);

impl Group {
    fn new(first: &str) -> Self {
        Self(first.to_owned())
    }

    fn key(mut self, key: &str, value: &str) -> Self {
        if !self.0.is_empty() {
            self.0.push(',');
        }
        self.0.push_str(key);
        self.0.push('=');
        self.0.push_str(&value.replace(',', ",,"));
        self
    }

    fn keys(self, pairs: &[(&str, &str)]) -> Self {
        pairs.iter().fold(self, |group, (key, value)| group.key(key, value))
    }

    fn path(self, key: &str, path: &Path) -> Result<Self, DriverError> {
        let text = path.to_str().ok_or_else(|| {
            unsupported(
                &format!("the path `{}`", path.display()),
                "QEMU's options are UTF-8, and this path is not",
            )
        })?;
        Ok(self.key(key, text))
    }
}

#[cfg(test)]
mod tests {
    use linkspan_machine::{driver::AcceleratorChoice, share::SharedFolder};
    use proptest::prelude::*;

    use super::*;

    fn spec(folder: &str) -> VmSpec {
        let path = |name: &str| PathBuf::from(folder).join(name);
        VmSpec {
            name: "default".into(),
            directory: folder.into(),
            cpus: 3,
            memory_mib: 1536,
            kernel: path("vmlinux"),
            initramfs: path("initramfs"),
            cmdline: "loglevel=4 linkspan.log=debug".into(),
            disk: path("data.img"),
            serial_log: path("serial.log"),
            beacon_port: 1026,
            accelerator: AcceleratorChoice::Auto,
            shares: [("share-a", false), ("share-b", true)]
                .map(|(tag, read_only)| SharedFolder {
                    tag: tag.into(),
                    path: path(tag),
                    read_only,
                })
                .into(),
        }
    }

    fn line(folder: &str, accelerator: Accelerator) -> Vec<String> {
        let devices = Devices {
            accelerator,
            vsock: VsockBackend::Process { socket: &Path::new(folder).join("vhost.sock") },
            folders: &["fs0.sock", "fs1.sock"].map(|name| Path::new(folder).join(name)),
            qmp: &Path::new(folder).join("qmp.sock"),
            pid_file: &Path::new(folder).join("qemu.pid"),
            log: &Path::new(folder).join("qemu.log"),
            sandbox: true,
            qboot: None,
        };
        let line = arguments(&spec(folder), &devices).expect("UTF-8");
        line.into_iter().map(|word| word.into_string().expect("UTF-8")).collect()
    }

    fn after<'a>(line: &'a [String], option: &str) -> Vec<&'a str> {
        line.windows(2).filter(|pair| pair[0] == option).map(|pair| pair[1].as_str()).collect()
    }

    #[test]
    fn the_size_and_the_accelerator_are_what_was_asked_for() {
        let tcg = line("/x", Accelerator::Tcg);
        assert_eq!(after(&tcg, "-smp"), ["3"]);
        assert_eq!(after(&tcg, "-m"), ["1536M"]);
        assert_eq!(after(&tcg, "-accel"), ["tcg,thread=multi"]);
        let kvm = line("/x", Accelerator::Kvm);
        assert_eq!(after(&kvm, "-accel"), ["kvm"]);
        assert_eq!(after(&kvm, "-cpu"), ["host"]);
    }

    #[test]
    fn a_comma_in_a_path_is_not_the_end_of_an_option() {
        let line = line("/a,b", Accelerator::Tcg);
        assert!(after(&line, "-blockdev")[0].contains("filename=/a,,b/data.img,"), "{line:?}");
        assert!(after(&line, "-chardev").iter().any(|c| c.contains("path=/a,,b/qmp.sock,")));
        assert_eq!(after(&line, "-kernel"), ["/a,b/vmlinux"]);
    }

    #[test]
    fn every_shared_folder_is_a_device_with_its_tag() {
        let line = line("/x", Accelerator::Tcg);
        let devices: Vec<_> = after(&line, "-device")
            .into_iter()
            .filter(|device| device.starts_with("vhost-user-fs-pci,"))
            .collect();
        assert_eq!(devices.len(), 2, "{line:?}");
        assert!(devices[0].contains("chardev=fs0,tag=share-a"), "{devices:?}");
        assert!(devices[1].contains("chardev=fs1,tag=share-b"), "{devices:?}");
        assert!(after(&line, "-chardev").contains(&"socket,id=fs1,path=/x/fs1.sock"));
    }

    #[test]
    fn the_machines_own_kernel_words_win() {
        let line = kernel_command_line("panic=10 quiet");
        assert!(line.contains("panic=10") && !line.contains("panic=-1"), "{line}");
        assert!(line.contains("console=tty"), "{line}");
        assert_eq!(kernel_command_line("  ").matches("console=").count(), 1);
        // A word that only begins like another is another.
        assert!(kernel_command_line("panic_print=1").contains("panic=-1"));
    }

    proptest! {
        #[test]
        fn every_value_survives_qemus_rules(value in "[a-z,=]{0,20}") {
            let group = Group::new("x").key("k", &value).key("end", "1").0;
            // QEMU's reading: up to a single comma, doubled ones halved.
            let rest = group.strip_prefix("x,k=").expect("written so");
            let mut read = String::new();
            let mut chars = rest.chars().peekable();
            while let Some(char) = chars.next() {
                if char == ',' && chars.next_if_eq(&',').is_none() {
                    break;
                }
                read.push(char);
            }
            prop_assert_eq!(read, value);
            prop_assert_eq!(chars.collect::<String>(), "end=1");
        }
    }
}
