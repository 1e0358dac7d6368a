//! The OCI command line in the machine, against the OCI runtime specification: one test for each
//! room of the suite.

use std::{
    process::Stdio,
    time::{Duration, Instant},
};

use linkspan_test_e2e::{Host, guest_program};

use crate::Shared;

pub(crate) const TESTS: &[Shared] = &[
    ("lifecycle_is_as_specified", |host| room(host, "lifecycle")),
    ("hooks_are_as_specified", |host| room(host, "hooks")),
    ("the_process_is_as_specified", |host| room(host, "process")),
    ("the_file_system_is_as_specified", |host| room(host, "filesystem")),
    ("namespaces_and_filters_are_as_specified", |host| room(host, "linux")),
    ("user_and_time_namespaces_are_as_specified", |host| room(host, "mapped")),
    ("cgroups_are_as_specified", |host| room(host, "cgroups")),
];

/// Every case is a handful of commands and containers, in an emulated machine: longer than a
/// single command may take.
const PATIENCE: Duration = Duration::from_secs(900);

fn room(host: &Host, name: &str) {
    let suite = std::fs::read(guest_program("linkspan-test-oci"))
        .unwrap_or_else(|error| panic!("linkspan-test-oci: {error}; `make image` first"));
    let place = format!("/run/oci-suite-{name}");
    let put = format!("cat > {place} && chmod +x {place}");
    let _ = host.run_with_stdin(&["machine", "shell", "--", "sh", "-c", &put], &suite).ok();
    let run =
        format!("{place} '/sbin/linkspan-init oci' {name}::; code=$?; rm {place}; exit $code");
    let mut command = host.command(&["machine", "shell", "--", "sh", "-c", &run]);
    let mut child = command.stdout(Stdio::piped()).spawn().expect("linkspan starts");
    let deadline = Instant::now() + PATIENCE;
    // The report is far shorter than a pipe is.
    while child.try_wait().expect("it is our child").is_none() {
        if Instant::now() >= deadline {
            let _ = child.kill();
            panic!("the suite did not end within {PATIENCE:?}");
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    let output = child.wait_with_output().expect("it has ended");
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}");
    // What a development machine may lack, the machine has.
    assert!(report.contains(" 0 skipped"), "{report}");
}
