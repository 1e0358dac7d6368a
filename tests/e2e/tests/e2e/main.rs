//! The whole stack in a real VM. One process, one shared VM; the tests that break machines have
//! machines of their own.

mod api_socket;
mod backpressure;
mod build;
mod calls;
mod changes;
mod compose;
mod crash;
mod docker;
mod docker_build;
mod docker_cli;
mod docker_registry;
mod exhaustion;
mod faults;
mod faults_images;
mod files;
mod image;
mod image_rules;
mod isolation;
mod life;
mod lifecycle;
mod limits;
mod logs;
mod machine;
mod networks;
mod oci;
mod options;
mod ports;
mod registry;
mod registry_ways;
mod run;
mod sdk;
mod security;
mod shares;
mod sharing;
mod soak;
mod system;
mod terminal;
mod userns;
mod volumes;
mod vsock;

use std::{
    process::ExitCode,
    sync::{Arc, Mutex, OnceLock},
    time::Duration,
};

use libtest_mimic::{Arguments, Failed, Trial};
use linkspan_test_e2e::{Host, guest_program};

/// A test and its name. Most take the shared host.
pub(crate) type Shared = (&'static str, fn(&Host));
/// A test that makes its own host.
pub(crate) type Own = (&'static str, fn());

/// The image of the checker, in the shared machine.
pub(crate) const CHECKER: &str = "checker";

fn main() -> ExitCode {
    let mut args = Arguments::from_args();
    // Two processors: more at once would only make deadlines harder to keep.
    args.test_threads = Some(args.test_threads.unwrap_or(2).min(2));
    let shared: Arc<OnceLock<Host>> = Arc::default();
    let mut trials = Vec::new();
    for (room, tests) in [
        ("run", run::TESTS),
        ("isolation", isolation::TESTS),
        ("security", security::TESTS),
        ("exhaustion", exhaustion::TESTS),
        ("limits", limits::TESTS),
        ("sharing", sharing::TESTS),
        ("life", life::TESTS),
        ("lifecycle", lifecycle::TESTS),
        ("image", image::TESTS),
        ("registry", registry::TESTS),
        ("image_rules", image_rules::TESTS),
        ("build", build::TESTS),
        ("logs", logs::TESTS),
        ("terminal", terminal::TESTS),
        ("system", system::TESTS),
        ("volumes", volumes::TESTS),
        ("networks", networks::TESTS),
        ("options", options::TESTS),
        ("ports", ports::TESTS),
        ("backpressure", backpressure::TESTS),
        ("shares", shares::SHARED),
        ("changes", changes::TESTS),
        ("files", files::TESTS),
        ("machine", machine::SHARED),
        ("vsock", vsock::SHARED),
        ("oci", oci::TESTS),
        ("docker", docker::TESTS),
        ("api_socket", api_socket::SHARED),
        ("sdk", sdk::TESTS),
        ("docker_build", docker_build::TESTS),
        ("docker_registry", docker_registry::TESTS),
    ] {
        for &(name, test) in tests {
            let shared = Arc::clone(&shared);
            trials.push(Trial::test(format!("{room}::{name}"), move || {
                test(shared.get_or_init(start_shared));
                Ok(())
            }));
        }
    }
    // VMs of their own, one at a time: they are heavy.
    let turn = Arc::new(Mutex::new(()));
    for (room, tests) in [
        ("machine", machine::OWN),
        ("vsock", vsock::OWN),
        ("lifecycle", lifecycle::OWN),
        ("ports", ports::OWN),
        ("build", build::OWN),
        ("shares", shares::OWN),
        ("userns", userns::OWN),
        ("api_socket", api_socket::OWN),
        ("registry", registry::OWN),
        ("registry_ways", registry_ways::OWN),
        ("faults", faults::TESTS),
        ("faults_images", faults_images::BUILDS),
        ("faults_images", faults_images::FULL),
        ("faults_images", faults_images::KILL),
        ("faults_images", faults_images::PULL),
        ("crash", crash::OWN),
        ("docker_cli", docker_cli::OWN),
        ("compose", compose::OWN),
        ("exhaustion", exhaustion::OWN),
        ("soak", soak::OWN),
    ] {
        for &(name, test) in tests {
            let turn = Arc::clone(&turn);
            trials.push(Trial::test(format!("{room}::{name}"), move || {
                let _turn = turn.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
                test();
                Ok::<(), Failed>(())
            }));
        }
    }
    let filtered = args.filter.is_some() || args.exact || args.list;
    let mut conclusion = libtest_mimic::run(&args, trials);
    if let Some(host) = Arc::into_inner(shared).and_then(OnceLock::into_inner) {
        let left = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| host.leaves_nothing()));
        if left.is_err() {
            conclusion.num_failed += 1;
        }
    }
    if !filtered {
        println!("e2e: {} passed, {} failed", conclusion.num_passed, conclusion.num_failed);
    }
    conclusion.exit_code()
}

/// Boots the machine that most tests share and gives it the checker's image.
fn start_shared() -> Host {
    let host = Host::new();
    let _ = host.run(&["machine", "init", "--cpus", "2", "--memory", "1024", "--disk", "4"]).ok();
    let _ = host.run(&["machine", "start"]).ok();
    import_checker(&host);
    host
}

/// A root file system with the checker and a static busybox, as the image `checker`.
pub(crate) fn import_checker(host: &Host) {
    let mut tar = tar::Builder::new(Vec::new());
    let mut add = |path: &str, from: &std::path::Path| {
        let bytes = std::fs::read(from)
            .unwrap_or_else(|error| panic!("{}: {error}; `make image` first", from.display()));
        let mut header = tar::Header::new_gnu();
        header.set_size(bytes.len() as u64);
        header.set_mode(0o755);
        tar.append_data(&mut header, path, bytes.as_slice()).expect("a tar in memory");
    };
    add("checker", &guest_program("linkspan-checker"));
    add("bin/busybox", std::path::Path::new("/bin/busybox"));
    let mut link = |path: &str| {
        let mut header = tar::Header::new_gnu();
        header.set_entry_type(tar::EntryType::Symlink);
        header.set_size(0);
        header.set_mode(0o777);
        tar.append_link(&mut header, path, "busybox").expect("a tar in memory");
    };
    for applet in ["sh", "true", "cat", "id", "echo", "sleep", "dd", "ls", "kill", "stat"] {
        link(&format!("bin/{applet}"));
    }
    for (path, text) in [
        ("etc/passwd", "root:x:0:0:root:/root:/bin/sh\napp:x:1000:1001:App:/home/app:/bin/sh\n"),
        ("etc/group", "root:x:0:\napps:x:1001:\nextra:x:2000:app\n"),
    ] {
        let mut header = tar::Header::new_gnu();
        header.set_size(text.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, path, text.as_bytes()).expect("a tar in memory");
    }
    let mut header = tar::Header::new_gnu();
    header.set_entry_type(tar::EntryType::Directory);
    header.set_size(0);
    header.set_mode(0o1777);
    tar.append_data(&mut header, "tmp/", std::io::empty()).expect("a tar in memory");
    let bytes = tar.into_inner().expect("a tar in memory");
    let _ = host
        .run_with_stdin(
            &["import", "-c", "CMD [\"/checker\"]", "-c", "ENV PATH=/bin", "-", CHECKER],
            &bytes,
        )
        .ok();
}

/// The checker's report from a container started with `flags`.
pub(crate) fn report(host: &Host, flags: &[&str]) -> serde_json::Value {
    let mut args = vec!["run", "--rm"];
    args.extend_from_slice(flags);
    args.push(CHECKER);
    host.run(&args).ok().json()
}

/// A name that no other test uses.
pub(crate) fn unique(prefix: &str) -> String {
    use std::sync::atomic::{AtomicU32, Ordering};
    static NEXT: AtomicU32 = AtomicU32::new(0);
    format!("{prefix}-{}", NEXT.fetch_add(1, Ordering::Relaxed))
}

/// Long enough for anything that works under emulation on a busy machine.
pub(crate) const SOON: Duration = Duration::from_secs(60);
