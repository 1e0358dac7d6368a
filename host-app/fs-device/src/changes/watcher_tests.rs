use std::{fs, io::Write as _, time::Instant};

use linkspan_proto::v1::{
    FolderChange, FolderChangeKind, FolderOrder, FolderReport, RepeatedChanges, WatchFolders,
};
use prost::Message as _;

use super::*;

/// Nothing that works takes as long, however busy the machine is.
const SOON: Duration = Duration::from_secs(60);

/// A daemon, and a share that a watcher watches for it.
struct Daemon {
    share: tempfile::TempDir,
    device: UnixStream,
    _socket: tempfile::TempDir,
}

impl Daemon {
    /// With folders in the share and the paths to watch.
    fn watch(folders: &[&str], paths: &[&str]) -> Self {
        let share = tempfile::tempdir().expect("a folder");
        for folder in folders {
            fs::create_dir_all(share.path().join(folder)).expect("a folder");
        }
        let socket = tempfile::tempdir().expect("a folder");
        let path = socket.path().join("socket");
        let listener = UnixListener::bind(&path).expect("a socket");
        let changes = Arc::<Changes>::default();
        let watcher = Watcher::new(changes.clone(), share.path()).expect("a watcher");
        thread::spawn(move || watcher.run(&listener));
        let device = UnixStream::connect(&path).expect("it listens");
        device.set_read_timeout(Some(SOON)).expect("a socket");
        let mut daemon = Self { share, device, _socket: socket };
        let paths: Vec<_> = paths.iter().map(ToString::to_string).collect();
        daemon.order(folder_order::Kind::Watch(WatchFolders { paths }));
        let limit = Instant::now() + SOON;
        while changes.lock().tree.folder_count() < folders.len() {
            assert!(Instant::now() < limit, "the folders are not watched");
            thread::yield_now();
        }
        daemon
    }

    fn path(&self, name: &str) -> PathBuf {
        self.share.path().join(name)
    }

    fn order(&mut self, kind: folder_order::Kind) {
        let order = FolderOrder { tag: "share".into(), kind: Some(kind) };
        let mut bytes = (order.encoded_len() as u32).to_be_bytes().to_vec();
        bytes.extend(order.encode_to_vec());
        self.device.write_all(&bytes).expect("it listens");
    }

    /// The next batch, answered.
    fn batch(&mut self) -> Vec<FolderChange> {
        let mut length = [0; 4];
        self.device.read_exact(&mut length).expect("a report");
        let mut bytes = vec![0; u32::from_be_bytes(length) as usize];
        self.device.read_exact(&mut bytes).expect("a report");
        let report = FolderReport::decode(bytes.as_slice()).expect("a report");
        let Some(folder_report::Kind::Changes(changes)) = report.kind else {
            panic!("no changes: {report:?}");
        };
        assert_eq!(changes.token.len(), 32);
        self.order(folder_order::Kind::RepeatedChanges(RepeatedChanges { batch: changes.batch }));
        changes.changes
    }

    /// Waits until that was told, and answers with all that was until then.
    fn hears(&mut self, kind: FolderChangeKind, path: &str) -> Vec<FolderChange> {
        let mut all = Vec::new();
        loop {
            all.extend(self.batch());
            if all.iter().any(|it| it.kind() == kind && it.path == path.as_bytes()) {
                return all;
            }
        }
    }
}

#[test]
fn changes_of_the_host_are_told_with_their_names() {
    let mut daemon = Daemon::watch(&["top", "top/sub"], &["top"]);
    fs::write(daemon.path("top/sub/file"), "one").expect("written");
    daemon.hears(FolderChangeKind::Created, "top/sub/file");
    fs::write(daemon.path("top/sub/file"), "longer").expect("written");
    daemon.hears(FolderChangeKind::Modified, "top/sub/file");
    fs::rename(daemon.path("top/sub/file"), daemon.path("top/moved")).expect("moved");
    let told = daemon.hears(FolderChangeKind::Renamed, "top/sub/file");
    assert_eq!(told.last().expect("one").new_path, "top/moved".as_bytes());
    fs::remove_file(daemon.path("top/moved")).expect("removed");
    daemon.hears(FolderChangeKind::Removed, "top/moved");
}

#[test]
fn a_new_folder_is_watched_before_it_is_told() {
    let mut daemon = Daemon::watch(&["top"], &["top"]);
    fs::create_dir(daemon.path("top/new")).expect("made");
    let told = daemon.hears(FolderChangeKind::Created, "top/new");
    assert_eq!(told[0].file_type, libc::S_IFDIR);
    fs::write(daemon.path("top/new/file"), "").expect("written");
    daemon.hears(FolderChangeKind::Created, "top/new/file");
    fs::rename(daemon.path("top/new"), daemon.path("top/other")).expect("moved");
    daemon.hears(FolderChangeKind::Renamed, "top/new");
    fs::remove_file(daemon.path("top/other/file")).expect("removed");
    daemon.hears(FolderChangeKind::Removed, "top/other/file");
}

#[test]
fn only_what_containers_have_is_told() {
    let mut daemon = Daemon::watch(&["top"], &["top", "top/deeper", "gone"]);
    fs::create_dir(daemon.path("beside")).expect("made");
    fs::write(daemon.path("beside/file"), "").expect("written");
    fs::write(daemon.path("top/file"), "").expect("written");
    for change in daemon.hears(FolderChangeKind::Created, "top/file") {
        assert!(change.path.starts_with(b"top/"), "{change:?}");
    }
}

#[test]
fn a_link_leads_the_watch_nowhere() {
    let outside = tempfile::tempdir().expect("a folder");
    let mut daemon = Daemon::watch(&["top"], &["top"]);
    std::os::unix::fs::symlink(outside.path(), daemon.path("top/link")).expect("a link");
    let told = daemon.hears(FolderChangeKind::Created, "top/link");
    assert_eq!(told[0].file_type, libc::S_IFLNK);
    fs::write(outside.path().join("secret"), "").expect("written");
    fs::write(daemon.path("top/last"), "").expect("written");
    let told = daemon.hears(FolderChangeKind::Created, "top/last");
    assert!(told.iter().all(|change| !change.path.ends_with(b"secret")), "{told:?}");
}

#[test]
fn nothing_more_is_sent_before_a_batch_is_answered() {
    let mut daemon = Daemon::watch(&["top"], &["top"]);
    let count = 3 * BATCH;
    for number in 0..count {
        fs::write(daemon.path(&format!("top/{number}")), "").expect("written");
    }
    let mut seen = HashSet::new();
    while seen.len() < count {
        let batch = daemon.batch();
        assert!(!batch.is_empty() && batch.len() <= BATCH);
        seen.extend(batch.into_iter().map(|change| change.path));
    }
}

#[test]
fn an_order_is_taken_when_all_of_it_has_come() {
    let order = FolderOrder { tag: "t".into(), kind: None };
    let mut bytes = (order.encoded_len() as u32).to_be_bytes().to_vec();
    bytes.extend(order.encode_to_vec());
    for part in 0..bytes.len() {
        let mut received = bytes[..part].to_vec();
        assert!(take_order(&mut received).expect("no nonsense").is_none());
    }
    let mut received = [bytes.clone(), bytes[..3].to_vec()].concat();
    assert_eq!(take_order(&mut received).expect("no nonsense"), Some(order));
    assert_eq!(received, bytes[..3]);
    take_order(&mut vec![0xff; 8]).expect_err("too long");
    take_order(&mut vec![0, 0, 0, 1, 0xff]).expect_err("nonsense");
}
