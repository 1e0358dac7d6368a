//! Which files' pages the guest may keep from one open to the next.
//!
//! The rule is that of NFS, close to open: what was read is still good when a file that is opened
//! has the size and the time of change that it had when it was opened last. Without it the guest
//! reads every file again at each open, a round trip or more for a file of any size.

use std::{
    collections::HashMap,
    time::{Duration, SystemTime, UNIX_EPOCH},
};

use parking_lot::Mutex;
use virtiofsd::fuse::Attr;

/// A file that has changed so recently may change again without a new time of change: the host's
/// file systems take that from a clock that ticks, some of them each two seconds.
const UNSETTLED: Duration = Duration::from_secs(3);

/// So many files are remembered; then all are forgotten, and read once more.
const REMEMBERED: usize = 1 << 16;

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Stamp {
    size: u64,
    changed: Duration,
}

/// The files as they were when the guest last opened them, by its number of them.
#[derive(Debug, Default)]
pub(crate) struct Pages(Mutex<HashMap<u64, Stamp>>);

impl Pages {
    /// Whether what the guest has of a file that it opens at `now` is still good.
    pub(crate) fn are_good(&self, inode: u64, attr: &Attr, now: SystemTime) -> bool {
        let changed = Duration::new(attr.ctime, attr.ctimensec);
        let stamp = Stamp { size: attr.size, changed };
        let now = now.duration_since(UNIX_EPOCH).unwrap_or_default();
        let mut known = self.0.lock();
        if now.saturating_sub(changed) < UNSETTLED {
            known.remove(&inode);
            return false;
        }
        if known.len() >= REMEMBERED {
            known.clear();
        }
        known.insert(inode, stamp) == Some(stamp)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CHANGED: u64 = 1_000_000;

    fn attr(size: u64, changed_nanos: u32) -> Attr {
        Attr { size, ctime: CHANGED, ctimensec: changed_nanos, ..Attr::default() }
    }

    fn later(seconds: u64) -> SystemTime {
        UNIX_EPOCH + Duration::from_secs(CHANGED + seconds)
    }

    #[test]
    fn pages_are_good_until_the_file_changes() {
        let pages = Pages::default();
        assert!(!pages.are_good(1, &attr(5, 0), later(10)), "never opened before");
        assert!(pages.are_good(1, &attr(5, 0), later(11)));
        assert!(!pages.are_good(2, &attr(5, 0), later(11)), "another file");
        assert!(!pages.are_good(1, &attr(5, 1), later(12)), "changed since");
        assert!(pages.are_good(1, &attr(5, 1), later(13)));
        assert!(!pages.are_good(1, &attr(6, 1), later(14)), "another size");
    }

    #[test]
    fn a_file_that_changed_just_now_is_read_again() {
        let pages = Pages::default();
        assert!(!pages.are_good(1, &attr(5, 0), later(1)));
        assert!(!pages.are_good(1, &attr(5, 0), later(2)));
        assert!(!pages.are_good(1, &attr(5, 0), later(4)), "what was read may be older");
        assert!(pages.are_good(1, &attr(5, 0), later(5)));
    }
}
