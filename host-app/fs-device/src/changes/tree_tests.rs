use super::*;

const TOP: u64 = 1;
const SUB: u64 = 2;

fn file(inode: u64, size: u64) -> Facts {
    let content = Content { size, mtime: (100, size as u32) };
    Facts { inode, mode: libc::S_IFREG | 0o644, owner: (0, 0), content }
}

fn folder(inode: u64) -> Facts {
    Facts { inode, mode: libc::S_IFDIR | 0o755, ..Facts::default() }
}

fn at(folder: u64, name: &str) -> Place {
    Place { folder, name: name.into() }
}

/// `top` with the file `a` (10) and the folder `sub`, which has the file `b` (11).
fn tree() -> Tree {
    let mut tree = Tree::default();
    let names = [("a".into(), file(10, 5)), ("sub".into(), folder(SUB))];
    tree.add(TOP, Location::Top("top".into()), None, names);
    tree.add(SUB, Location::In(at(TOP, "sub")), None, [("b".into(), file(11, 5))]);
    tree
}

fn told(changes: &[Change]) -> Vec<String> {
    let one = |change: &Change| {
        let what = match &change.what {
            What::Created { closed } => format!("created {closed}"),
            What::Modified { closed } => format!("modified {closed}"),
            What::Closed => "closed".into(),
            What::Attributes => "attributes".into(),
            What::Removed { .. } => "removed".into(),
            What::Renamed { new_path, .. } => format!("renamed to {}", new_path.display()),
        };
        format!("{} {what}", change.path.display())
    };
    changes.iter().map(one).collect()
}

#[test]
fn what_differs_is_told_once() {
    let mut tree = tree();
    for (name, now, expected) in [
        ("a", Some(file(10, 5)), vec![]),
        ("a", Some(file(10, 6)), vec!["top/a modified false"]),
        ("a", Some(file(10, 6)), vec![]),
        ("a", None, vec!["top/a removed"]),
        ("a", None, vec![]),
        ("new", Some(file(12, 0)), vec!["top/new created false"]),
        ("new", Some(file(12, 0)), vec![]),
        ("new", Some(file(13, 0)), vec!["top/new removed", "top/new created false"]),
        ("sub", Some(Facts { mode: libc::S_IFDIR, ..folder(SUB) }), vec!["top/sub attributes"]),
    ] {
        assert_eq!(told(&tree.compare(&at(TOP, name), now, false)), expected, "{name} {now:?}");
    }
    let changes = tree.compare(&at(SUB, "b"), None, false);
    assert_eq!(told(&changes), ["top/sub/b removed"]);
}

#[test]
fn a_file_that_the_host_wrote_is_told_as_closed_once() {
    let mut tree = tree();
    let place = at(TOP, "a");
    assert_eq!(told(&tree.compare(&place, Some(file(10, 6)), true)), ["top/a modified true"]);
    assert!(tree.compare(&place, Some(file(10, 6)), true).is_empty());
    assert_eq!(told(&tree.compare(&place, Some(file(10, 7)), false)), ["top/a modified false"]);
    assert_eq!(told(&tree.compare(&place, Some(file(10, 7)), true)), ["top/a closed"]);
    assert!(tree.compare(&place, Some(file(10, 7)), true).is_empty());
}

#[test]
fn what_the_guest_did_itself_is_no_news() {
    let mut tree = tree();
    tree.guest_put(&at(TOP, "mine"), file(12, 0), Some(7));
    assert!(tree.compare(&at(TOP, "mine"), Some(file(12, 0)), false).is_empty());
    tree.guest_wrote(file(12, 9));
    assert!(tree.compare(&at(TOP, "mine"), Some(file(12, 9)), true).is_empty());
    tree.guest_removed(&at(TOP, "mine"));
    assert!(tree.compare(&at(TOP, "mine"), None, false).is_empty());
    // Two names, moved by the guest.
    tree.guest_removed(&at(TOP, "a"));
    tree.guest_put(&at(SUB, "a"), file(10, 5), None);
    let (from, to) = (at(TOP, "a"), at(SUB, "a"));
    assert_eq!(tree.compare_move(&from, &to, None, Some(file(10, 5))), None);
    assert!(tree.compare(&from, None, false).is_empty());
    assert!(tree.compare(&to, Some(file(10, 5)), false).is_empty());
    // What the host does to the same file afterwards is.
    tree.guest_wrote(file(10, 6));
    let changes = tree.compare(&to, Some(file(10, 7)), true);
    assert_eq!(told(&changes), ["top/sub/a modified true"]);
}

#[test]
fn a_move_is_told_as_one_and_takes_the_folders_below_along() {
    let mut tree = tree();
    let (from, to) = (at(TOP, "sub"), at(TOP, "other"));
    let change = tree.compare_move(&from, &to, None, Some(folder(SUB))).expect("a move");
    assert_eq!(told(&[change]), ["top/sub renamed to top/other"]);
    assert!(tree.compare(&from, None, false).is_empty());
    assert!(tree.compare(&to, Some(folder(SUB)), false).is_empty());
    let changes = tree.compare(&at(SUB, "b"), None, false);
    assert_eq!(told(&changes), ["top/other/b removed"]);
}

#[test]
fn an_editors_way_of_saving_is_a_move_over_the_old_file() {
    let mut tree = tree();
    let (from, to) = (at(TOP, "a.tmp"), at(TOP, "a"));
    let change = tree.compare_move(&from, &to, None, Some(file(20, 9))).expect("a move");
    assert_eq!(told(&[change]), ["top/a.tmp renamed to top/a"]);
    assert!(tree.compare(&to, Some(file(20, 9)), true).is_empty());
}

#[test]
fn what_was_written_before_a_move_is_told_after_it() {
    let mut tree = tree();
    let (from, to) = (at(TOP, "a"), at(TOP, "z"));
    tree.compare_move(&from, &to, None, Some(file(10, 8))).expect("a move");
    let changes = tree.compare(&to, Some(file(10, 8)), true);
    assert_eq!(told(&changes), ["top/z modified true"]);
}

#[test]
fn a_move_that_is_over_is_left_to_comparing_names() {
    let mut tree = tree();
    let (from, to) = (at(TOP, "a"), at(TOP, "z"));
    assert_eq!(tree.compare_move(&from, &to, None, None), None);
    assert_eq!(tree.compare_move(&from, &to, None, Some(file(99, 1))), None);
    assert_eq!(tree.compare_move(&from, &to, Some(file(10, 5)), Some(file(10, 5))), None);
    assert_eq!(told(&tree.compare(&from, None, false)), ["top/a removed"]);
}

#[test]
fn a_file_that_a_container_has_alone_is_all_that_is_told_of_its_folder() {
    let mut tree = Tree::default();
    let location = Location::Top(PathBuf::new());
    tree.add(TOP, location, Some(vec!["a".into()]), [("a".into(), file(10, 5))]);
    assert_eq!(told(&tree.compare(&at(TOP, "a"), Some(file(10, 6)), true)), ["a modified true"]);
    assert!(tree.compare(&at(TOP, "b"), Some(file(11, 6)), true).is_empty());
    tree.guest_put(&at(TOP, "b"), file(11, 6), None);
    assert_eq!(tree.name_count(), 1);
}

#[test]
fn letting_go_of_a_folder_lets_go_of_all_below_it() {
    let mut tree = tree();
    assert_eq!((tree.folder_count(), tree.name_count()), (2, 3));
    let mut gone = tree.drop_below(TOP);
    gone.sort_unstable();
    assert_eq!(gone, [TOP, SUB]);
    assert_eq!((tree.folder_count(), tree.name_count()), (0, 0));
    assert!(tree.compare(&at(SUB, "b"), None, false).is_empty());
}
