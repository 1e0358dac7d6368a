//! The driver as the machine sees it. What needs a VM is skipped, with the reason, unless
//! `LINKSPAN_TEST_KERNEL` names a kernel that boots and `LINKSPAN_TEST_DAEMON` the daemon's
//! program, which is the vsock device too.

use std::time::Duration;

use linkspan_machine::driver::VmExit;
use tokio::io::AsyncReadExt as _;

use super::*;

fn spec(folder: &Path, kernel: &Path, initramfs: &Path, cmdline: &str) -> VmSpec {
    let disk = folder.join("data.img");
    std::fs::File::create(&disk).and_then(|file| file.set_len(64 << 20)).expect("disk");
    VmSpec {
        name: "driver-test".into(),
        directory: folder.to_owned(),
        cpus: 2,
        memory_mib: 256,
        kernel: kernel.to_owned(),
        initramfs: initramfs.to_owned(),
        cmdline: cmdline.into(),
        disk,
        serial_log: folder.join("serial.log"),
        beacon_port: 1026,
        accelerator: AcceleratorChoice::Auto,
        shares: Vec::new(),
    }
}

fn driver(folder: &Path) -> QemuDriver {
    let program = std::env::var_os("LINKSPAN_TEST_DAEMON").unwrap_or_default();
    let device = |name: &str| DeviceProgram {
        program: program.clone().into(),
        arguments: vec![name.into()],
    };
    let devices = DevicePrograms { vsock: device("vsock-device"), folder: device("fs-device") };
    QemuDriver::new(&folder.join("accelerators.json"), devices)
}

/// A kernel and an initramfs that is no archive: the kernel boots, finds no init and panics, or,
/// with `rootdelay=600`, first waits so many seconds for a root device.
fn bootable(folder: &Path) -> Option<(PathBuf, PathBuf)> {
    let Some(kernel) = std::env::var_os("LINKSPAN_TEST_KERNEL") else {
        println!("skipped: LINKSPAN_TEST_KERNEL names no kernel to boot");
        return None;
    };
    if std::env::var_os("LINKSPAN_TEST_DAEMON").is_none() {
        println!("skipped: LINKSPAN_TEST_DAEMON names no vsock device");
        return None;
    }
    let initramfs = folder.join("initramfs");
    std::fs::write(&initramfs, [0; 512]).expect("write");
    Some((kernel.into(), initramfs))
}

async fn wait_for_serial(folder: &Path, text: &str) {
    let limit = tokio::time::Instant::now() + Duration::from_secs(120);
    loop {
        let log = std::fs::read(folder.join("serial.log")).unwrap_or_default();
        if String::from_utf8_lossy(&log).contains(text) {
            return;
        }
        let log = String::from_utf8_lossy(&log).into_owned();
        assert!(tokio::time::Instant::now() < limit, "no `{text}` on the console: {log}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

fn leftovers(folder: &Path) -> Vec<String> {
    let files = std::fs::read_dir(folder).expect("list");
    let names = files.map(|file| file.expect("entry").file_name().to_string_lossy().into_owned());
    names
        .filter(|name| name.ends_with(".sock") || name == "vm.json" || name == "qemu.pid")
        .collect()
}

#[tokio::test]
async fn a_distrusted_accelerator_is_not_chosen_again() {
    if !cfg!(target_os = "linux") {
        println!("skipped: the facts below are those of a Linux host");
        return;
    }
    let folder = tempfile::tempdir().expect("folder");
    let driver = driver(folder.path()).with_facts(HostFacts {
        os: "linux",
        arch: "x86_64",
        kernel: "6.12".into(),
        processor: "Test".into(),
        virtualization: Some(true),
        kvm: KvmDevice::Opens,
        hypervisor_framework: false,
    });
    let Ok(before) = driver.accelerator(AcceleratorChoice::Auto).await else {
        println!("skipped: QEMU is not installed");
        return;
    };
    assert_eq!(before.accelerator, Accelerator::Kvm);
    driver.distrust(Accelerator::Kvm, "the kernel said nothing for 10 s").await.expect("written");
    let after = driver.accelerator(AcceleratorChoice::Auto).await.expect("chosen");
    assert_eq!(after.accelerator, Accelerator::Tcg);
    assert!(after.reason.contains("said nothing for 10 s"), "{after:?}");
}

#[tokio::test]
async fn a_start_that_cannot_work_names_the_file_and_leaves_nothing() {
    let folder = tempfile::tempdir().expect("folder");
    let driver = driver(folder.path());
    let kernel = folder.path().join("no-kernel");
    let spec = spec(folder.path(), &kernel, &kernel, "");
    let Ok(verdict) = driver.accelerator(AcceleratorChoice::Only(Accelerator::Tcg)).await else {
        println!("skipped: QEMU is not installed");
        return;
    };
    let error = match driver.start(&spec, &verdict).await {
        Err(DriverError::Missing { what, .. }) => {
            println!("skipped: {what} is not installed");
            return;
        }
        other => other.err().expect("there is no kernel"),
    };
    assert!(error.to_string().contains("no-kernel"), "{error}");
    assert_eq!(leftovers(folder.path()), Vec::<String>::new());
}

#[tokio::test]
async fn a_folder_without_a_vm_has_nothing_to_adopt() {
    let folder = tempfile::tempdir().expect("folder");
    std::fs::write(folder.path().join("qemu.pid"), "1\n").expect("write");
    let adopted = driver(folder.path()).adopt(folder.path()).await.expect("no error");
    assert!(adopted.is_none());
    if cfg!(unix) {
        assert_eq!(leftovers(folder.path()), Vec::<String>::new());
    }
}

/// The life of a first daemon: it starts a VM, is refused what cannot be, and ends without a word.
#[cfg(unix)]
async fn first_daemon(spec: VmSpec) -> (u32, GuestSocket) {
    let first = driver(&spec.directory);
    let verdict = first.accelerator(AcceleratorChoice::Auto).await.expect("QEMU is here");
    let socket = first.guest_socket(&spec).await.expect("there is a way");
    let vm = first.start(&spec, &verdict).await.expect("it starts");
    assert_eq!(vm.guest_socket(), socket);
    wait_for_serial(&spec.directory, "before mounting root").await;
    assert!(vm.host_memory_bytes().await.expect("known") > 10 << 20);
    let again = first.start(&spec, &verdict).await.err().expect("one VM a folder");
    assert!(matches!(again, DriverError::InUse { .. }), "{again}");

    // Another VM on the same disk: the first one holds its lock.
    let elsewhere = tempfile::tempdir().expect("folder");
    let mut other = spec.clone();
    other.directory = elsewhere.path().to_owned();
    other.serial_log = elsewhere.path().join("serial.log");
    let error = first.start(&other, &verdict).await.err().expect("the disk is taken");
    assert!(matches!(error, DriverError::InUse { .. }), "{error}");
    assert!(error.to_string().contains("data.img"), "{error}");
    assert_eq!(leftovers(elsewhere.path()), Vec::<String>::new());
    (vm.pid(), socket)
}

#[cfg(unix)]
#[tokio::test]
async fn a_vm_outlives_its_daemon_is_adopted_and_ends_when_told() {
    let folder = tempfile::tempdir().expect("folder");
    let Some((kernel, initramfs)) = bootable(folder.path()) else { return };
    let spec = spec(folder.path(), &kernel, &initramfs, "rootdelay=600 loglevel=7");
    // With its runtime, the first daemon's watcher and monitor connection go.
    let first = std::thread::spawn(move || {
        let runtime = tokio::runtime::Runtime::new().expect("runtime");
        runtime.block_on(first_daemon(spec))
    });
    let first = tokio::task::spawn_blocking(|| first.join()).await.expect("joined");
    let (pid, socket) = first.expect("the first daemon did what it should");

    let second = driver(folder.path());
    let adopted = second.adopt(folder.path()).await.expect("no error").expect("it runs");
    assert_eq!((adopted.pid(), adopted.guest_socket()), (pid, socket));
    assert!(adopted.host_memory_bytes().await.expect("known") > 10 << 20);
    adopted.kill(Duration::from_secs(20)).await.expect("it ends");
    assert_eq!(adopted.wait().await, VmExit::Killed);
    adopted.kill(Duration::from_secs(1)).await.expect("twice is fine");
    assert_eq!(leftovers(folder.path()), Vec::<String>::new());
    assert!(second.adopt(folder.path()).await.expect("no error").is_none());
}

#[cfg(unix)]
#[tokio::test]
async fn a_guest_that_panics_ends_its_vm() {
    let folder = tempfile::tempdir().expect("folder");
    let Some((kernel, initramfs)) = bootable(folder.path()) else { return };
    let spec = spec(folder.path(), &kernel, &initramfs, "loglevel=7");
    let driver = driver(folder.path());
    let verdict = driver.accelerator(AcceleratorChoice::Auto).await.expect("QEMU is here");
    let vm = driver.start(&spec, &verdict).await.expect("it starts");
    let exit = tokio::time::timeout(Duration::from_secs(120), vm.wait()).await;
    if exit != Ok(VmExit::GuestPanicked) {
        let _ = vm.kill(Duration::from_secs(10)).await;
    }
    let mut log = String::new();
    let mut file = tokio::fs::File::open(&spec.serial_log).await.expect("the console");
    file.read_to_string(&mut log).await.expect("text");
    assert_eq!(exit, Ok(VmExit::GuestPanicked), "{log}");
    assert!(log.contains("Kernel panic"), "{log}");
    assert_eq!(leftovers(folder.path()), Vec::<String>::new());
}

#[cfg(unix)]
#[tokio::test]
async fn a_vm_that_is_killed_from_outside_vanishes_and_is_cleaned_up() {
    let folder = tempfile::tempdir().expect("folder");
    let Some((kernel, initramfs)) = bootable(folder.path()) else { return };
    let spec = spec(folder.path(), &kernel, &initramfs, "rootdelay=600");
    let driver = driver(folder.path());
    let verdict = driver.accelerator(AcceleratorChoice::Auto).await.expect("QEMU is here");
    let vm = driver.start(&spec, &verdict).await.expect("it starts");
    process::Process::find(vm.pid()).expect("runs").kill().expect("ours");
    let exit = tokio::time::timeout(Duration::from_secs(20), vm.wait()).await;
    assert_eq!(exit, Ok(VmExit::Vanished));
    assert_eq!(leftovers(folder.path()), Vec::<String>::new());
}
