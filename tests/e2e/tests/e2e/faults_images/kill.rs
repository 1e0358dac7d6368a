//! The machine is killed in the middle of something.

use std::{io::Write as _, time::Duration};

use linkspan_test_e2e::{Host, finish};
use linkspan_test_registry::Packing;

use super::{
    DATA, Store, all_or_nothing, crash, exists, image, inside, is_whole, machine, reaches,
};
use crate::Own;

const NAME: &str = "faults/image:1";

/// Where a load is when its machine is killed.
#[derive(Debug, Clone, Copy)]
enum Place {
    /// So many thousandths of the archive have been sent, and the agent has got (nearly) all of it.
    Received(usize),
    /// A layer is being unpacked, or the load is over.
    Unpacking,
    /// This long after the last byte was sent.
    After(Duration),
}

/// The bytes of all files of the store's temporary area.
fn received(host: &Host) -> usize {
    let sum = format!("find {DATA}/images/tmp -type f -exec cat {{}} + 2>/dev/null | wc -c");
    inside(host, &sum).ok().text().parse().expect("a number")
}

/// Kills the machine during a load; whether the load had succeeded already.
fn load_and_crash(host: &Host, archive: &[u8], place: Place) -> bool {
    let mut child = host.spawn(&["load"]);
    let mut stdin = child.stdin.take().expect("a pipe");
    let bytes = match place {
        Place::Received(thousandths) => &archive[..archive.len() * thousandths / 1000],
        Place::Unpacking | Place::After(_) => archive,
    };
    stdin.write_all(bytes).expect("it reads");
    match place {
        Place::Received(_) => {
            // Headers of the archive, and what is under way in buffers, are not in files.
            let enough = bytes.len().saturating_sub(1 << 20);
            assert!(reaches(&mut child, || received(host) >= enough), "{place:?}");
        }
        Place::Unpacking => {
            drop(stdin);
            let list = format!("ls {DATA}/images/tmp");
            let layer = || inside(host, &list).ok().text().contains("layer-");
            reaches(&mut child, layer);
        }
        Place::After(pause) => {
            drop(stdin);
            std::thread::sleep(pause);
        }
    }
    crash(host);
    finish(child, &["load"]).code == 0
}

fn millis(values: &[u64]) -> impl Iterator<Item = Duration> {
    values.iter().copied().map(Duration::from_millis)
}

pub(crate) const TESTS: &[Own] = &[
    ("a_machine_killed_during_a_load_has_all_of_the_image_or_nothing", || {
        let host = machine(&["--disk", "2"]);
        let before = Store::of(&host);
        let archive = image(1, &[6 << 20, 6 << 20, 3 << 20], Packing::Gzip).archive(NAME);
        let places = [0, 1, 250, 500, 999].map(Place::Received).into_iter();
        let places = places.chain([Place::Unpacking]);
        for place in places.chain(millis(&[0, 50, 150, 400, 800]).map(Place::After)) {
            let acknowledged = load_and_crash(&host, &archive, place);
            let when = format!("killed at {place:?}");
            all_or_nothing(&host, &before, NAME, acknowledged, &when, || is_whole(&host, NAME));
            let _ = host.run_with_stdin(&["load"], &archive).ok();
            is_whole(&host, NAME);
            let _ = host.run(&["rmi", NAME]).ok();
            before.assert_same(&host, &when);
        }
        host.leaves_nothing();
    }),
    ("a_machine_killed_during_a_commit_has_all_of_the_image_or_nothing", || {
        let host = machine(&["--disk", "2"]);
        let change = "mkdir /d; for i in $(seq 200); do echo $i > /d/$i; done; \
            dd if=/dev/urandom of=/d/large bs=1M count=12; sync; \
            find /d -type f -exec sha256sum {} + > /sums; sync";
        let _ = host.run(&["run", "--name", "changed", "busybox", "sh", "-c", change]).ok();
        let before = Store::of(&host);
        let commit = ["commit", "changed", NAME];
        let whole = || {
            let _ = host.run(&["run", "--rm", NAME, "sha256sum", "-c", "-s", "/sums"]).ok();
        };
        for pause in millis(&[0, 30, 100, 200, 400, 700]) {
            let child = host.spawn(&commit);
            std::thread::sleep(pause);
            crash(&host);
            let acknowledged = finish(child, &commit).code == 0;
            let when = format!("killed {pause:?} after its begin");
            all_or_nothing(&host, &before, NAME, acknowledged, &when, whole);
            let _ = host.run(&commit).ok();
            whole();
            let _ = host.run(&["rmi", NAME]).ok();
            before.assert_same(&host, &when);
        }
        host.leaves_nothing();
    }),
    ("a_machine_killed_during_a_prune_has_only_whole_images", || {
        let host = machine(&["--disk", "2"]);
        let before = Store::of(&host);
        let names: Vec<_> = (0..3).map(|number| format!("faults/image:{number}")).collect();
        let archives: Vec<_> = (names.iter().zip(1..))
            .map(|(name, seed)| image(seed, &[1 << 20, 1 << 20], Packing::Gzip).archive(name))
            .collect();
        let prune = ["image", "prune", "-a", "-f"];
        for pause in millis(&[0, 10, 30, 60, 120, 250]) {
            for archive in &archives {
                let _ = host.run_with_stdin(&["load"], archive).ok();
            }
            let child = host.spawn(&prune);
            std::thread::sleep(pause);
            crash(&host);
            let acknowledged = finish(child, &prune).code == 0;
            let when = format!("killed {pause:?} after its begin");
            let now = Store::of(&host);
            assert!(now.temporary().is_empty(), "{when}: {:#?}", now.temporary());
            let left: Vec<_> = names.iter().filter(|name| exists(&host, name)).collect();
            assert!(!acknowledged || left.is_empty(), "{when}: {left:?} came back");
            left.iter().for_each(|name| is_whole(&host, name));
            if left.is_empty() {
                before.assert_same(&host, &when);
            }
            let _ = host.run(&prune).ok();
            before.assert_same(&host, &when);
        }
        host.leaves_nothing();
    }),
];
