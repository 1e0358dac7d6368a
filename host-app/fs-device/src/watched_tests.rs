use std::{
    ffi::CString,
    fs,
    os::unix::fs::{MetadataExt as _, PermissionsExt as _},
    path::PathBuf,
};

use virtiofsd::{
    filesystem::{Extensions, FsOptions, SetattrValid},
    fuse::SetattrIn,
    passthrough::{Config, PassthroughFs},
};

use super::{requests::ARMED, *};
use crate::changes::{Change, tree::Location};

const ROOT: u64 = 1;
const AGENT: i32 = 7;
const OTHER: i32 = 8;

/// A share whose own folder is watched.
struct Share {
    folder: tempfile::TempDir,
    files: Watched<PassthroughFs>,
}

fn by(pid: i32) -> Context {
    Context { uid: 0.into(), gid: 0.into(), pid }
}

fn name(text: &str) -> CString {
    CString::new(text).expect("no NUL")
}

fn errno<T>(result: io::Result<T>) -> Option<i32> {
    result.err().and_then(|error| error.raw_os_error())
}

impl Share {
    fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let root_dir = folder.path().to_str().expect("UTF-8").to_owned();
        let files = PassthroughFs::new(Config { root_dir, ..Config::default() });
        let files = Watched::new(files.expect("a share"), Arc::default());
        files.init(FsOptions::empty()).expect("a share");
        let share = Self { folder, files };
        let inode = fs::metadata(share.folder.path()).expect("there").ino();
        let mut state = share.files.changes.lock();
        state.tree.add(inode, Location::Top(PathBuf::new()), None, []);
        drop(state);
        share.files.changes.set_active(true);
        share
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn place(&self, name: &str) -> Place {
        let folder = fs::metadata(self.folder.path()).expect("there").ino();
        Place { folder, name: name.into() }
    }

    /// What is found to have changed.
    fn compare(&self, name: &str) -> Vec<Change> {
        let now = fs::symlink_metadata(self.path(name)).ok().map(|it| Facts {
            inode: it.ino(),
            mode: it.mode(),
            owner: (it.uid(), it.gid()),
            content: Content { size: it.size(), mtime: (it.mtime(), it.mtime_nsec() as u32) },
        });
        self.files.changes.lock().tree.compare(&self.place(name), now, true)
    }

    /// Has the agent arm the one change.
    fn arm(&self, changes: Vec<Change>) {
        assert_eq!(changes.len(), 1);
        let token = self.files.changes.lock().pretence.begin(1, changes);
        let word = name(&format!(".linkspan-{token}-0"));
        assert_eq!(errno(self.files.lookup(by(AGENT), ROOT, &word)), Some(ARMED));
    }

    fn mknod(&self, pid: i32, file: &str) -> io::Result<Entry> {
        let mode = libc::S_IFREG | 0o600;
        self.files.mknod(by(pid), ROOT, &name(file), mode, 0, 0, Extensions::default())
    }
}

#[test]
fn a_repeated_creation_touches_nothing_and_only_the_agent_is_pretended_to() {
    let share = Share::new();
    fs::write(share.path("new"), "content").expect("written");
    let before = fs::metadata(share.path("new")).expect("there");
    share.arm(share.compare("new"));
    let files = &share.files;
    assert_eq!(errno(files.lookup(by(AGENT), ROOT, &name("new"))), Some(ENOENT));
    assert_eq!(files.lookup(by(OTHER), ROOT, &name("new")).ok().map(|it| it.attr.size), Some(7));
    assert_eq!(errno(share.mknod(OTHER, "new")), Some(libc::EEXIST));
    let entry = share.mknod(AGENT, "new").expect("pretended");
    assert_eq!(entry.attr.ino, before.ino());
    // Its other calls that would change something are answered, or refused, and never carried out.
    let attr = SetattrIn { mode: 0, ..SetattrIn::default() };
    files.setattr(by(AGENT), entry.inode, attr, None, SetattrValid::MODE).expect("pretended");
    let flags = (libc::O_WRONLY | libc::O_TRUNC).cast_unsigned();
    let (handle, _) = files.open(by(AGENT), entry.inode, false, flags).expect("pretended");
    files
        .release(by(AGENT), entry.inode, 0, handle.expect("one"), false, false, None)
        .expect("pretended");
    assert_eq!(errno(files.unlink(by(AGENT), ROOT, &name("new"))), Some(EPERM));
    assert_eq!(errno(share.mknod(AGENT, "evil")), Some(EPERM));
    let renamed = files.rename(by(AGENT), ROOT, &name("new"), ROOT, &name("evil"), 0);
    assert_eq!(errno(renamed), Some(EPERM));
    let after = fs::metadata(share.path("new")).expect("there");
    assert_eq!((after.ctime(), after.ctime_nsec()), (before.ctime(), before.ctime_nsec()));
    assert_eq!(after.permissions().mode(), before.permissions().mode());
    assert!(!share.path("evil").exists());
}

#[test]
fn a_repeated_removal_removes_nothing() {
    let share = Share::new();
    fs::write(share.path("file"), "").expect("written");
    share.compare("file");
    let known = share.files.lookup(by(OTHER), ROOT, &name("file")).expect("there");
    fs::remove_file(share.path("file")).expect("removed");
    share.arm(share.compare("file"));
    let files = &share.files;
    assert_eq!(errno(files.lookup(by(OTHER), ROOT, &name("file"))), Some(ENOENT));
    let entry = files.lookup(by(AGENT), ROOT, &name("file")).expect("pretended");
    assert_eq!((entry.inode, entry.attr.nlink), (known.inode, 1), "the one that the guest knows");
    // Somebody of the host makes it again: that one stays.
    fs::write(share.path("file"), "again").expect("written");
    files.unlink(by(AGENT), ROOT, &name("file")).expect("pretended");
    assert!(share.path("file").exists());
    files.forget(by(OTHER), known.inode, 1);
    files.getattr(by(OTHER), known.inode, None).expect("the guest has it once more");
}

#[test]
fn a_repeated_move_moves_nothing() {
    let share = Share::new();
    fs::write(share.path("old"), "").expect("written");
    share.compare("old");
    fs::rename(share.path("old"), share.path("new")).expect("moved");
    let inode = fs::metadata(share.path("new")).expect("there").ino();
    let (from, to) = (share.place("old"), share.place("new"));
    let now = Facts { inode, mode: libc::S_IFREG | 0o644, ..Facts::default() };
    let moved = share.files.changes.lock().tree.compare_move(&from, &to, None, Some(now));
    share.arm(vec![moved.expect("a move")]);
    let files = &share.files;
    let entry = files.lookup(by(AGENT), ROOT, &name("old")).expect("pretended");
    assert_eq!(entry.attr.ino, inode);
    assert_eq!(errno(files.lookup(by(AGENT), ROOT, &name("new"))), Some(ENOENT));
    files.rename(by(AGENT), ROOT, &name("old"), ROOT, &name("new"), 0).expect("pretended");
    assert_eq!(fs::metadata(share.path("new")).expect("there").ino(), inode);
}

#[test]
fn what_the_guest_does_itself_is_not_found_to_have_changed() {
    let share = Share::new();
    let files = &share.files;
    let entry = share.mknod(OTHER, "a").expect("made");
    assert!(share.compare("a").is_empty());
    let attr = SetattrIn { size: 5, ..SetattrIn::default() };
    files.setattr(by(OTHER), entry.inode, attr, None, SetattrValid::SIZE).expect("changed");
    assert!(share.compare("a").is_empty());
    files.rename(by(OTHER), ROOT, &name("a"), ROOT, &name("b"), 0).expect("moved");
    assert!(share.compare("a").is_empty() && share.compare("b").is_empty());
    files.unlink(by(OTHER), ROOT, &name("b")).expect("removed");
    assert!(share.compare("b").is_empty());
    // The host's next one is.
    fs::write(share.path("b"), "").expect("written");
    assert_eq!(share.compare("b").len(), 1);
}

#[test]
fn nobody_arms_without_the_token() {
    let share = Share::new();
    fs::write(share.path("new"), "").expect("written");
    let changes = share.compare("new");
    let token = share.files.changes.lock().pretence.begin(1, changes);
    let guess = name(&format!(".linkspan-{}-0", "0".repeat(token.len())));
    assert_eq!(errno(share.files.lookup(by(AGENT), ROOT, &guess)), Some(ENOENT));
    share.files.lookup(by(AGENT), ROOT, &name("new")).expect("the truth");
}
