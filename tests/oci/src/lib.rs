//! What the OCI runtime specification demands of a Linux runtime, one test each, driven through
//! the runtime's command line with bundles. It knows nothing of the runtime but its path:
//!
//! ```text
//! linkspan-test-oci "/sbin/linkspan-init oci" [FILTER]
//! ```
//!
//! Needs root, cgroup v2 and a static busybox. `docs/oci.md` says which demand is which test.

mod bench;
mod cgroups;
mod filesystem;
mod hooks;
mod lifecycle;
mod linux;
mod mapped;
mod process;

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Mutex;

use bench::Bench;

/// How a test ended, when it did not fail.
pub(crate) enum Verdict {
    Passed,
    Skipped(&'static str),
}

/// A test and its name.
pub(crate) type Case = (&'static str, fn(&Bench) -> Verdict);

/// All of them, by what of the specification they are about.
const ROOMS: &[(&str, &[Case])] = &[
    ("lifecycle", lifecycle::CASES),
    ("hooks", hooks::CASES),
    ("process", process::CASES),
    ("filesystem", filesystem::CASES),
    ("linux", linux::CASES),
    ("mapped", mapped::CASES),
    ("cgroups", cgroups::CASES),
];

/// What the last panic said.
static COMPLAINT: Mutex<String> = Mutex::new(String::new());

/// Runs the tests whose names contain `filter`, prints how each ended, and says whether all have
/// passed or said why they were skipped.
///
/// `runtime`: the program and its first arguments, separated by spaces.
///
/// # Panics
/// When there is no cgroup2 or no place for bundles.
#[must_use]
pub fn run(runtime: &str, filter: &str) -> bool {
    let bench = Bench::new(runtime);
    std::panic::set_hook(Box::new(|info| {
        if let Ok(mut complaint) = COMPLAINT.lock() {
            *complaint = info.to_string();
        }
    }));
    let (mut passed, mut failed, mut skipped) = (0, 0, 0);
    for (room, cases) in ROOMS {
        for (name, case) in *cases {
            let name = format!("{room}::{name}");
            if !name.contains(filter) {
                continue;
            }
            match catch_unwind(AssertUnwindSafe(|| case(&bench))) {
                Ok(Verdict::Passed) => {
                    passed += 1;
                    println!("ok {name}");
                }
                Ok(Verdict::Skipped(reason)) => {
                    skipped += 1;
                    println!("skipped: {name}: {reason}");
                }
                Err(_) => {
                    failed += 1;
                    let complaint = COMPLAINT.lock().map_or_else(|_| String::new(), |c| c.clone());
                    println!("FAILED {name}: {complaint}");
                }
            }
        }
    }
    println!("oci: {passed} passed, {failed} failed, {skipped} skipped");
    failed == 0 && passed > 0
}

#[cfg(test)]
mod tests {
    use super::ROOMS;

    #[test]
    fn every_test_is_in_the_table_of_the_documentation() {
        let page = include_str!("../../../docs/oci.md");
        let names = ROOMS.iter().flat_map(|(_, cases)| cases.iter().map(|(name, _)| *name));
        let missing: Vec<&str> = names.filter(|name| !page.contains(name)).collect();
        assert!(missing.is_empty(), "not in docs/oci.md: {missing:#?}");
    }
}
