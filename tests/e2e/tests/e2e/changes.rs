//! What the host changes in a folder that a container has is heard there by inotify. The checker's
//! `watch` is the program in the container; its output is the container's log.

use std::{fs, io::Write as _, os::unix::fs::MetadataExt as _, path::PathBuf};

use linkspan_test_e2e::{Host, wait_until};
use tempfile::TempDir;

use crate::{CHECKER, SOON, Shared, unique};

/// A container that watches, and the folder of the host that it has at `/c`.
struct Seer<'a> {
    host: &'a Host,
    name: String,
    folder: TempDir,
}

impl<'a> Seer<'a> {
    /// `files`: there before. `paths`: what is watched.
    fn start(host: &'a Host, files: &[&str], options: &str, paths: &[&str]) -> Self {
        let folder = tempfile::Builder::new().prefix("lschanges-").tempdir().expect("a folder");
        for file in files {
            fs::write(folder.path().join(file), "old").expect("written");
        }
        let name = unique("seer");
        let mount = format!("{}:/c{options}", folder.path().display());
        let mut args = vec!["run", "-d", "--name", &name, "-v", &mount, CHECKER];
        args.extend(["/checker", "watch"]);
        args.extend(paths);
        let _ = host.run(&args).ok();
        let seer = Self { host, name, folder };
        for path in paths {
            seer.hears(&format!("watching {path}"));
        }
        seer
    }

    /// Waits until the host is watched too: a moment after the container's start. Only where `/c` is
    /// watched.
    fn host_is_watched(self) -> Self {
        let mut number = 0;
        let heard = wait_until(SOON, || {
            number += 1;
            fs::write(self.path(&format!("sign-{number}")), "").expect("written");
            self.log().contains("/c/sign-")
        });
        assert!(heard, "nothing is heard:\n{}", self.log());
        self
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn log(&self) -> String {
        self.host.run(&["logs", &self.name]).ok().text()
    }

    #[track_caller]
    fn hears(&self, line: &str) {
        let heard = || self.log().lines().any(|heard| heard == line);
        assert!(wait_until(SOON, heard), "no `{line}`:\n{}", self.log());
    }

    /// Both ends of a move, with one cookie that is none.
    #[track_caller]
    fn hears_move(&self, flags: &str, from: &str, to: &str) {
        let cookie = |log: &str, line: &str, path: &str| {
            let line = format!("{line}{flags} ");
            let rest = log.lines().find_map(|heard| {
                let (cookie, rest) = heard.strip_prefix(&line)?.split_once(' ')?;
                (rest == path || rest.starts_with(&format!("{path} "))).then_some(cookie)
            });
            rest.map(str::to_owned)
        };
        let heard = wait_until(SOON, || {
            let log = self.log();
            let from = cookie(&log, "IN_MOVED_FROM", from);
            from.is_some_and(|from| from != "0" && Some(from) == cookie(&log, "IN_MOVED_TO", to))
        });
        assert!(heard, "no move from {from} to {to}:\n{}", self.log());
    }

    fn count(&self, start: &str) -> usize {
        self.log().lines().filter(|line| line.starts_with(start)).count()
    }

    fn end(self) {
        let _ = self.host.run(&["rm", "-f", &self.name]).ok();
    }
}

pub(crate) const TESTS: &[Shared] = &[
    ("what_the_host_does_to_files_is_heard_with_the_new_content", |host| {
        let seer = Seer::start(host, &[], "", &["/c"]).host_is_watched();
        fs::write(seer.path("a"), "one").expect("written");
        seer.hears("IN_CREATE 0 /c/a");
        seer.hears("IN_CLOSE_WRITE 0 /c/a one");
        let mut file = fs::File::options().append(true).open(seer.path("a")).expect("there");
        file.write_all(b"two").expect("written");
        let before = file.metadata().expect("there");
        seer.hears("IN_MODIFY 0 /c/a");
        drop(file);
        seer.hears("IN_CLOSE_WRITE 0 /c/a onetwo");
        // As long as before, so that only its time says that it is another content.
        fs::write(seer.path("a"), "twoone").expect("written");
        seer.hears("IN_CLOSE_WRITE 0 /c/a twoone");
        let after = fs::metadata(seer.path("a")).expect("there");
        assert_eq!(after.ino(), before.ino());
        fs::rename(seer.path("a"), seer.path("b")).expect("moved");
        seer.hears_move("", "/c/a", "/c/b");
        // As editors save.
        fs::write(seer.path("b.tmp"), "saved").expect("written");
        fs::rename(seer.path("b.tmp"), seer.path("b")).expect("moved");
        let saved = || {
            seer.log()
                .lines()
                .any(|line| line.starts_with("IN_MOVED_TO ") && line.ends_with(" /c/b saved"))
        };
        assert!(wait_until(SOON, saved), "{}", seer.log());
        fs::remove_file(seer.path("b")).expect("removed");
        seer.hears("IN_DELETE 0 /c/b");
        seer.end();
    }),
    ("what_the_host_does_to_folders_is_heard_and_in_new_folders_too", |host| {
        let seer = Seer::start(host, &[], "", &["/c"]).host_is_watched();
        fs::create_dir(seer.path("sub")).expect("made");
        seer.hears("IN_CREATE|IN_ISDIR 0 /c/sub");
        seer.hears("watching /c/sub");
        fs::write(seer.path("sub/file"), "deep").expect("written");
        seer.hears("IN_CREATE 0 /c/sub/file");
        seer.hears("IN_CLOSE_WRITE 0 /c/sub/file deep");
        fs::rename(seer.path("sub/file"), seer.path("file")).expect("moved");
        seer.hears_move("", "/c/sub/file", "/c/file");
        fs::rename(seer.path("sub"), seer.path("other")).expect("moved");
        seer.hears_move("|IN_ISDIR", "/c/sub", "/c/other");
        fs::remove_dir(seer.path("other")).expect("removed");
        seer.hears("IN_DELETE|IN_ISDIR 0 /c/other");
        seer.end();
    }),
    ("what_a_container_does_itself_is_heard_once", |host| {
        let seer = Seer::start(host, &[], "", &["/c"]).host_is_watched();
        let script = "echo x > /c/own && $B mkdir /c/dir && $B mv /c/own /c/moved \
                      && $B rmdir /c/dir && echo y >> /c/moved && $B rm /c/moved";
        let args = ["exec", "-e", "B=/bin/busybox", &seer.name, "sh", "-c", script];
        let _ = host.run(&args).ok();
        // What would come back from the host comes before this.
        fs::write(seer.path("last"), "").expect("written");
        seer.hears("IN_CREATE 0 /c/last");
        for (line, count) in [
            ("IN_CREATE 0 /c/own", 1),
            ("IN_CREATE|IN_ISDIR 0 /c/dir", 1),
            ("IN_MODIFY 0 /c/own", 1),
            ("IN_CLOSE_WRITE 0 /c/own", 1),
            ("IN_MODIFY 0 /c/moved", 1),
            ("IN_CLOSE_WRITE 0 /c/moved", 1),
            ("IN_DELETE 0 /c/moved", 1),
            ("IN_DELETE|IN_ISDIR 0 /c/dir", 1),
            ("IN_DELETE 0 /c/own", 0),
            ("IN_CREATE 0 /c/moved", 0),
        ] {
            assert_eq!(seer.count(line), count, "{line}:\n{}", seer.log());
        }
        seer.end();
    }),
    ("telling_a_container_changes_nothing_on_the_host", |host| {
        let seer = Seer::start(host, &["file"], "", &["/c"]).host_is_watched();
        fs::write(seer.path("file"), "new").expect("written");
        let written = fs::metadata(seer.path("file")).expect("there");
        seer.hears("IN_CLOSE_WRITE 0 /c/file new");
        let told = fs::metadata(seer.path("file")).expect("there");
        let times = |it: &fs::Metadata| (it.mtime(), it.mtime_nsec(), it.ctime(), it.ctime_nsec());
        assert_eq!(times(&told), times(&written));
        fs::rename(seer.path("file"), seer.path("moved")).expect("moved");
        seer.hears_move("", "/c/file", "/c/moved");
        let moved = fs::metadata(seer.path("moved")).expect("there");
        assert_eq!((moved.ino(), moved.len()), (written.ino(), 3));
        assert!(!seer.path("file").exists());
        seer.end();
    }),
    ("read_only_mounts_and_single_files_are_heard_too", |host| {
        let seer = Seer::start(host, &["file"], ":ro", &["/c", "/c/file"]).host_is_watched();
        fs::write(seer.path("file"), "new").expect("written");
        seer.hears("IN_CLOSE_WRITE 0 /c/file new");
        fs::remove_file(seer.path("file")).expect("removed");
        seer.hears("IN_DELETE 0 /c/file");
        seer.hears("IN_DELETE_SELF 0 /c/file");
        seer.end();
    }),
];
