//! The OCI command line in the machine, against the OCI runtime specification.

use linkspan_test_e2e::{Host, guest_program};

use crate::Shared;

pub(crate) const TESTS: &[Shared] =
    &[("the_command_line_meets_the_specification", the_command_line_meets_the_specification)];

fn the_command_line_meets_the_specification(host: &Host) {
    let suite = std::fs::read(guest_program("linkspan-test-oci"))
        .unwrap_or_else(|error| panic!("linkspan-test-oci: {error}; `make image` first"));
    let put = "cat > /run/oci-suite && chmod +x /run/oci-suite";
    let _ = host.run_with_stdin(&["machine", "shell", "--", "sh", "-c", put], &suite).ok();
    let run = "/run/oci-suite '/sbin/linkspan-init oci'; code=$?; rm /run/oci-suite; exit $code";
    let done = host.run(&["machine", "shell", "--", "sh", "-c", run]);
    let report = done.text();
    for line in report.lines().filter(|line| !line.starts_with("ok ")) {
        println!("{line}");
    }
    assert_eq!(done.code, 0, "{report}\n{}", done.err);
    // What a development machine may lack, the machine has.
    assert!(report.contains(" 0 skipped"), "{report}");
}
