//! Which requests of the agent repeat a change of the host, and are answered as if they were
//! carried out.
//!
//! A thread of the agent arms a change: in the folder of the change (in both, of a move) it looks up a
//! name that has the secret token of the batch and the change's number. From then on, to the end of
//! the batch, the requests of that thread that would change something are never carried out. FUSE
//! names a thread by its id in the machine's own process id namespace, which no process of a container
//! can take on; who a thread's user is it does not say of lookups (Linux 6.12, `fuse_get_req`).
//! Everybody else's requests are not affected.

use std::{collections::HashMap, ffi::CStr, fmt::Write as _};

use super::{Change, Place, What, tree::Seen};

/// Names that arm begin so.
const PREFIX: &str = ".linkspan-";
/// Secret bits; nobody guesses as many within the life of a batch.
const TOKEN_BYTES: usize = 16;
/// The guest's number of a file that is gone and that it never knew. The file system counts its own
/// from 1 up.
const INVENTED: u64 = 1 << 63;
/// A file opened to be closed again.
pub(crate) const CLOSING_HANDLE: u64 = u64::MAX;

/// The changes that are on their way, and who repeats one.
#[derive(Debug, Default)]
pub(crate) struct Pretence {
    batch: Option<Batch>,
    invented: u64,
    /// How often the guest was told of a file without the file system's knowledge, by node: it will
    /// forget as many more.
    lent: HashMap<u64, u64>,
}

#[derive(Debug)]
struct Batch {
    number: u64,
    token: String,
    changes: Vec<Change>,
    armed: Option<Armed>,
}

#[derive(Debug)]
struct Armed {
    thread: i32,
    number: usize,
    /// The guest's numbers of the folders, by inode number.
    nodes: Vec<(u64, u64)>,
}

impl Pretence {
    /// Replaces the batch before. Answers with the new token.
    pub(crate) fn begin(&mut self, number: u64, changes: Vec<Change>) -> String {
        let mut token = String::with_capacity(2 * TOKEN_BYTES);
        for byte in rand::random::<[u8; TOKEN_BYTES]>() {
            // Writing to a string does not fail.
            let _ = write!(token, "{byte:02x}");
        }
        self.batch = Some(Batch { number, token: token.clone(), changes, armed: None });
        token
    }

    /// Whether that was the batch under way.
    pub(crate) fn end(&mut self, number: u64) -> bool {
        let ended = self.batch.as_ref().is_some_and(|batch| batch.number == number);
        if ended {
            self.batch = None;
        }
        ended
    }

    /// Nobody repeats anything any more.
    pub(crate) fn abandon(&mut self) {
        self.batch = None;
    }

    pub(crate) fn is_under_way(&self) -> bool {
        self.batch.is_some()
    }

    /// Whether looking up `name` arms a change for thread `thread`. `folder`: the inode number of where
    /// it is looked up, and the guest's number for that.
    pub(crate) fn arm(&mut self, name: &CStr, thread: i32, folder: (u64, u64)) -> bool {
        let Some(batch) = &mut self.batch else { return false };
        let word = name.to_str().ok().and_then(|name| name.strip_prefix(PREFIX));
        let number = word
            .and_then(|word| word.strip_prefix(batch.token.as_str()))
            .and_then(|rest| rest.strip_prefix('-'))
            .and_then(|number| number.parse::<usize>().ok());
        let Some(number) = number.filter(|number| *number < batch.changes.len()) else {
            return false;
        };
        match &mut batch.armed {
            Some(armed) if (armed.thread, armed.number) == (thread, number) => {
                armed.nodes.push(folder);
            }
            armed => *armed = Some(Armed { thread, number, nodes: vec![folder] }),
        }
        true
    }

    /// What that thread repeats.
    pub(crate) fn armed(&self, thread: i32) -> Option<&Change> {
        let batch = self.batch.as_ref()?;
        let armed = batch.armed.as_ref().filter(|armed| armed.thread == thread)?;
        batch.changes.get(armed.number)
    }

    /// The guest's number of a folder in which a change was armed.
    pub(crate) fn node_of(&self, folder: u64) -> Option<u64> {
        let armed = self.batch.as_ref()?.armed.as_ref()?;
        armed.nodes.iter().find(|(inode, _)| *inode == folder).map(|(_, node)| *node)
    }

    /// A number for a file that the guest never knew.
    pub(crate) fn invent(&mut self) -> u64 {
        self.invented += 1;
        INVENTED | self.invented
    }

    /// The guest is told of a file without the file system's knowledge.
    pub(crate) fn lend(&mut self, node: u64) {
        *self.lent.entry(node).or_default() += 1;
    }

    /// The guest forgets: how much of that the file system is to know.
    pub(crate) fn give_back(&mut self, node: u64, count: u64) -> u64 {
        let Some(lent) = self.lent.get_mut(&node) else { return count };
        let own = (*lent).min(count);
        *lent -= own;
        if *lent == 0 {
            self.lent.remove(&node);
        }
        count - own
    }
}

/// How a request of an armed thread to look up a name is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Answer {
    /// Truthfully.
    Truth,
    /// There is no such name.
    Absent,
    /// The name that is gone is still there.
    Gone(Seen),
    /// The file that is at this place now.
    At(Place),
}

/// See [`Answer`].
pub(crate) fn lookup(change: &Change, place: &Place) -> Answer {
    match &change.what {
        What::Created { .. } if change.place == *place => Answer::Absent,
        What::Removed { seen } if change.place == *place => Answer::Gone(*seen),
        What::Renamed { to, .. } if change.place == *place => Answer::At(to.clone()),
        What::Renamed { to, .. } if to == place => Answer::Absent,
        _ => Answer::Truth,
    }
}

#[cfg(test)]
mod tests {
    use std::{ffi::CString, path::PathBuf};

    use super::*;

    const FOLDER: (u64, u64) = (1, 10);

    fn created(name: &str) -> Change {
        Change {
            what: What::Created { closed: true },
            place: Place { folder: 1, name: name.into() },
            path: PathBuf::from(name),
            file_type: libc::S_IFREG,
        }
    }

    fn name(token: &str, number: usize) -> CString {
        CString::new(format!("{PREFIX}{token}-{number}")).expect("no NUL")
    }

    #[test]
    fn only_the_token_arms_and_only_for_the_thread_that_knows_it() {
        let mut pretence = Pretence::default();
        assert!(!pretence.arm(&name("", 0), 7, FOLDER));
        let token = pretence.begin(1, vec![created("a"), created("b")]);
        for wrong in [name(&"0".repeat(32), 0), name("", 0), name(&token, 2), name(&token[1..], 0)]
        {
            assert!(!pretence.arm(&wrong, 7, FOLDER), "{wrong:?}");
        }
        assert_eq!(pretence.armed(7), None);
        assert!(pretence.arm(&name(&token, 1), 7, FOLDER));
        assert_eq!(pretence.armed(7), Some(&created("b")));
        assert_eq!(pretence.armed(8), None);
        assert!(pretence.arm(&name(&token, 1), 7, (2, 20)));
        assert_eq!((pretence.node_of(1), pretence.node_of(2)), (Some(10), Some(20)));
    }

    #[test]
    fn a_batch_that_ended_arms_nothing() {
        let mut pretence = Pretence::default();
        let token = pretence.begin(1, vec![created("a")]);
        assert!(pretence.arm(&name(&token, 0), 7, FOLDER));
        assert!(!pretence.end(2), "another one");
        assert!(pretence.end(1));
        assert_eq!(pretence.armed(7), None);
        assert!(!pretence.arm(&name(&token, 0), 7, FOLDER));
        assert_ne!(pretence.begin(2, vec![created("a")]), token);
    }

    #[test]
    fn the_file_system_is_not_told_to_forget_what_it_never_told() {
        let mut pretence = Pretence::default();
        pretence.lend(5);
        pretence.lend(5);
        assert_eq!(pretence.give_back(6, 3), 3);
        assert_eq!(pretence.give_back(5, 3), 1);
        assert_eq!(pretence.give_back(5, 1), 1);
        assert!(pretence.lent.is_empty());
    }

    #[test]
    fn names_are_pretended_where_the_change_needs_it_and_nowhere_else() {
        let place = |name: &str| Place { folder: 1, name: name.into() };
        assert_eq!(lookup(&created("a"), &place("a")), Answer::Absent);
        assert_eq!(lookup(&created("a"), &place("b")), Answer::Truth);
        let other = Place { folder: 2, name: "a".into() };
        assert_eq!(lookup(&created("a"), &other), Answer::Truth);
        let to = place("new");
        let what = What::Renamed { to: to.clone(), new_path: "new".into() };
        let renamed = Change { what, ..created("old") };
        assert_eq!(lookup(&renamed, &place("old")), Answer::At(to.clone()));
        assert_eq!(lookup(&renamed, &to), Answer::Absent);
        let modified = Change { what: What::Modified { closed: true }, ..created("a") };
        assert_eq!(lookup(&modified, &place("a")), Answer::Truth);
    }
}
