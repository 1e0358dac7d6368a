//! The machine is killed, or its disk is full, in the middle of a build.

use std::{fs, path::Path, time::Duration};

use linkspan_test_e2e::{Host, finish};
use linkspan_test_registry::noise;
use tempfile::TempDir;

use super::{Store, crash, exists, full::at_each_step, is_whole, machine};
use crate::Own;

const NAME: &str = "faults/built:1";
const MIB: u64 = 1 << 20;

/// A context whose image says whether all of it is there.
fn context() -> TempDir {
    const DOCKERFILE: &str = "FROM busybox\n\
        COPY data /data\n\
        RUN mkdir /made && for i in $(seq 100); do echo $i > /made/$i; done && \
        dd if=/dev/urandom of=/made/large bs=1M count=4\n\
        RUN find /data /made -type f -exec sha256sum {} + > /sums\n\
        CMD [\"sha256sum\", \"-c\", \"-s\", \"/sums\"]\n";
    let folder = tempfile::tempdir().expect("a folder");
    fs::write(folder.path().join("Dockerfile"), DOCKERFILE).expect("a file");
    fs::create_dir(folder.path().join("data")).expect("a folder");
    for number in 0..100 {
        let path = folder.path().join(format!("data/{number}"));
        fs::write(path, noise(number, 30_000)).expect("a file");
    }
    folder
}

fn args(context: &Path) -> [&str; 6] {
    let context = context.to_str().expect("text");
    ["build", "--progress", "plain", "-t", NAME, context]
}

/// Lets the image and all that builds keep go.
fn forget(host: &Host) {
    let _ = host.run(&["rmi", "-f", NAME]).ok();
    let _ = host.run(&["builder", "prune", "-a", "-f"]).ok();
}

pub(crate) const TESTS: &[Own] = &[
    ("a_machine_killed_during_a_build_has_all_of_the_image_or_nothing", || {
        let host = machine(&["--disk", "2"]);
        let before = Store::of(&host);
        let context = context();
        let build = args(context.path());
        for pause in [0, 100, 300, 700, 1500, 2500].map(Duration::from_millis) {
            let child = host.spawn(&build);
            std::thread::sleep(pause);
            crash(&host);
            let acknowledged = finish(child, &build).code == 0;
            let when = format!("killed {pause:?} after its begin");
            let now = Store::of(&host);
            assert!(now.temporary().is_empty(), "{when}: {:#?}", now.temporary());
            if exists(&host, NAME) {
                is_whole(&host, NAME);
            } else {
                assert!(!acknowledged, "{when}: it had succeeded, and is gone");
            }
            // What the cache kept of it is good for the next one.
            let _ = host.run(&build).ok();
            is_whole(&host, NAME);
            forget(&host);
            before.assert_same(&host, &when);
        }
        host.leaves_nothing();
    }),
    ("a_build_on_a_full_disk_leaves_nothing_at_any_step", || {
        let host = machine(&["--disk", "1"]);
        let context = context();
        let build = args(context.path());
        let rooms = [0, 1, 2, 4, 7, 10, 14, 40].map(|mib| mib * MIB);
        let command = || {
            let done = host.run(&build);
            // The steps that succeeded are kept for the next build.
            let _ = host.run(&["builder", "prune", "-a", "-f"]).ok();
            done
        };
        let undo = || {
            is_whole(&host, NAME);
            forget(&host);
        };
        // Where a command of the build fails, its own words tell; then there is no hint.
        at_each_step(&host, &rooms, &["no space"], command, undo);
        host.leaves_nothing();
    }),
];
