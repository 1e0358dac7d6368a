//! The OCI command line against the specification, on this machine as far as its cgroups allow;
//! the end-to-end tests run the same suite in the VM.

#[test]
fn the_command_line_meets_the_oci_runtime_specification() {
    let skip = |reason: &str| println!("skipped: {reason}");
    if !nix::unistd::geteuid().is_root() {
        return skip("not root");
    }
    if !std::path::Path::new("/bin/busybox").exists() {
        return skip("no static /bin/busybox");
    }
    let mounts = std::fs::read_to_string("/proc/self/mounts").unwrap();
    if !mounts.lines().any(|line| line.split(' ').nth(2) == Some("cgroup2")) {
        return skip("no cgroup2 mount");
    }
    let runtime = format!("{} oci", env!("CARGO_BIN_EXE_linkspan-init"));
    assert!(linkspan_test_oci::run(&runtime, ""), "see the list above");
}
