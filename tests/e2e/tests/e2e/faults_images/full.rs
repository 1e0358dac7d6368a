//! The data disk is full at each step.

use linkspan_test_e2e::{Done, Host};
use linkspan_test_registry::{Packing, noise};

use super::{DATA, Store, image, inside, is_whole, machine};
use crate::Own;

const NAME: &str = "faults/image:1";
const MIB: u64 = 1 << 20;

/// Takes what the data disk has free but for so many bytes.
fn leave(host: &Host, bytes: u64) {
    // The last blocks one by one: fallocate needs some for itself.
    let fill = format!(
        "cd {DATA} && rm -f filler && sync && \
         fallocate -l $(($(stat -f -c %a .) * $(stat -f -c %S .) - {bytes})) filler; \
         [ {bytes} != 0 ] || dd if=/dev/zero of=last bs=4k 2>&1 | grep -q 'No space'"
    );
    let _ = inside(host, &fill).ok();
}

fn make_room(host: &Host) {
    let _ = inside(host, &format!("cd {DATA} && rm -f filler last && sync")).ok();
}

/// What there is to read when the disk is full.
pub(super) const SAID: [&str; 2] = ["no space", "hint:"];

/// With more and more room: as long as there is too little the command says so (in lower case at
/// least the words of `said`) and leaves nothing, and once there is enough it succeeds. What it makes
/// is checked and removed by `undo`.
pub(super) fn at_each_step(
    host: &Host,
    rooms: &[u64],
    said: &[&str],
    command: impl Fn() -> Done,
    undo: impl Fn(),
) {
    let before = Store::of(host);
    let mut failures = 0;
    for &room in rooms {
        leave(host, room);
        let done = command();
        let when = format!("with {} KiB of room", room >> 10);
        if done.code == 0 {
            make_room(host);
            undo();
        } else {
            failures += 1;
            let told = done.err.to_lowercase();
            assert!(said.iter().all(|word| told.contains(word)), "{when} it says: {done:?}");
            // Still without room: cleaning up needs none.
            before.assert_same(host, &when);
        }
        make_room(host);
        before.assert_same(host, &when);
        let done = command();
        assert_eq!(done.code, 0, "after {when}, with room again: {done:?}");
        undo();
    }
    assert!(failures > 0 && failures < rooms.len(), "{failures} of {} failed", rooms.len());
    before.assert_same(host, "at the end");
}

pub(crate) const TESTS: &[Own] = &[
    ("a_load_on_a_full_disk_leaves_nothing_at_any_step", || {
        let host = machine(&["--disk", "1"]);
        // 12 MiB to spool and 12 MiB unpacked, which are not all there at once.
        let image = image(1, &[4 << 20, 4 << 20, 2 << 20], Packing::Gzip);
        let archive = image.archive(NAME);
        let rooms = [0, 1, 5, 9, 12, 14, 17, 20, 24, 40].map(|mib| mib * MIB);
        let undo = || {
            is_whole(&host, NAME);
            let _ = host.run(&["rmi", NAME]).ok();
        };
        at_each_step(&host, &rooms, &SAID, || host.run_with_stdin(&["load"], &archive), undo);
        host.leaves_nothing();
    }),
    ("an_import_on_a_full_disk_leaves_nothing_at_any_step", || {
        let host = machine(&["--disk", "1"]);
        let mut tar = tar::Builder::new(Vec::new());
        let content = noise(5, 8 << 20);
        for (index, part) in content.chunks(1 << 18).enumerate() {
            let mut header = tar::Header::new_gnu();
            header.set_size(part.len() as u64);
            tar.append_data(&mut header, format!("part-{index}"), part).expect("in memory");
        }
        let tar = tar.into_inner().expect("in memory");
        let import = || host.run_with_stdin(&["import", "-", NAME], &tar);
        let rooms = [0, 1, 4, 7, 9, 12, 24].map(|mib| mib * MIB);
        at_each_step(&host, &rooms, &SAID, import, || drop(host.run(&["rmi", NAME]).ok()));
        host.leaves_nothing();
    }),
    ("a_commit_on_a_full_disk_leaves_nothing_at_any_step", || {
        let host = machine(&["--disk", "1"]);
        let change = "mkdir /d; for i in $(seq 200); do echo $i > /d/$i; done; \
            dd if=/dev/urandom of=/d/large bs=1M count=12; \
            find /d -type f -exec sha256sum {} + > /sums; sync";
        let _ = host.run(&["run", "--name", "changed", "busybox", "sh", "-c", change]).ok();
        let rooms = [0, 256 << 10, MIB, 6 * MIB, 12 * MIB, 13 * MIB, 32 * MIB];
        let undo = || {
            let _ = host.run(&["run", "--rm", NAME, "sha256sum", "-c", "-s", "/sums"]).ok();
            let _ = host.run(&["rmi", NAME]).ok();
        };
        at_each_step(&host, &rooms, &SAID, || host.run(&["commit", "changed", NAME]), undo);
        host.leaves_nothing();
    }),
    ("an_image_is_removed_and_pruned_on_a_full_disk", || {
        let host = machine(&["--disk", "1"]);
        let before = Store::of(&host);
        let archive = image(1, &[4 << 20], Packing::Zstd).archive(NAME);
        for verb in [&["rmi", NAME][..], &["image", "prune", "-a", "-f"]] {
            let _ = host.run_with_stdin(&["load"], &archive).ok();
            leave(&host, 0);
            let _ = host.run(verb).ok();
            make_room(&host);
            before.assert_same(&host, verb[0]);
        }
        host.leaves_nothing();
    }),
];
