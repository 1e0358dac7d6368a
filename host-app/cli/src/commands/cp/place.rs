//! Where a copy goes and what it is called there: Docker's rules (reference of `docker cp`; moby's
//! `archive/copy.go`). The same in both directions, and pure.

/// One side of a copy.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Place<'a> {
    /// A path of this computer, or `-`.
    Local(&'a str),
    /// A path of a container.
    Container { name: &'a str, path: &'a str },
}

impl<'a> Place<'a> {
    /// `CONTAINER:PATH`, or a path of this computer: what is absolute, begins with a dot, or has
    /// no colon.
    pub(super) fn parse(text: &'a str) -> Self {
        if std::path::Path::new(text).is_absolute() || text.starts_with('.') {
            return Self::Local(text);
        }
        match text.split_once(':') {
            Some((name, path)) if !name.is_empty() => {
                // As in Docker, paths of containers begin at the root in any case.
                Self::Container { name, path: if path.is_empty() { "/" } else { path } }
            }
            _ => Self::Local(text),
        }
    }
}

/// What is copied. It exists.
pub(super) struct Source<'a> {
    pub(super) path: &'a str,
    pub(super) is_folder: bool,
}

impl Source<'_> {
    /// What it is called. Empty: it is only what is in it.
    pub(super) fn name(&self) -> String {
        if contents(self.path) { String::new() } else { split(self.path).1 }
    }
}

/// Where it is copied to.
pub(super) struct Target<'a> {
    pub(super) path: &'a str,
    pub(super) exists: bool,
    pub(super) is_folder: bool,
}

/// The folder that takes the copy, and what the copy is called in it; empty: it has no name, what
/// is in it goes right there.
///
/// # Errors
/// Why it cannot be, in Docker's words.
pub(super) fn place(source: &Source<'_>, target: &Target<'_>) -> Result<(String, String), String> {
    if !source.is_folder && asserts_folder(source.path) {
        return Err(format!("`{}` is not a directory", source.path));
    }
    if target.is_folder {
        return Ok((target.path.to_owned(), source.name()));
    }
    if target.exists && source.is_folder {
        return Err(format!("cannot copy directory: `{}` is a file", target.path));
    }
    if asserts_folder(target.path) && (target.exists || !source.is_folder) {
        let why = if target.exists { "not a directory" } else { "no such directory" };
        return Err(format!("`{}`: {why}", target.path));
    }
    let (folder, name) = split(target.path);
    if name.is_empty() {
        return Err(format!("`{}`: no such directory", target.path));
    }
    Ok((folder, name))
}

/// `path/.`: what is in the folder.
pub(super) fn contents(path: &str) -> bool {
    path == "." || path.ends_with("/.") || (cfg!(windows) && path.ends_with("\\."))
}

fn separator(c: char) -> bool {
    c == '/' || (cfg!(windows) && c == '\\')
}

/// `path/` and `path/.` have to be folders.
fn asserts_folder(path: &str) -> bool {
    path.ends_with(separator) || contents(path)
}

/// The folder and the last name; the name is empty for a root.
fn split(path: &str) -> (String, String) {
    let mut path = path;
    loop {
        let shorter = path.trim_end_matches(separator);
        let shorter = if contents(shorter) { &shorter[..shorter.len() - 1] } else { shorter };
        if shorter == path {
            break;
        }
        path = shorter;
    }
    match path.rfind(separator) {
        Some(0) => ("/".to_owned(), path[1..].to_owned()),
        Some(at) => (path[..at].to_owned(), path[at + 1..].to_owned()),
        None => (".".to_owned(), path.to_owned()),
    }
}

/// Whether a mode is that of a folder (S_IFDIR of inode(7): the container's system is Linux).
pub(super) fn is_folder(mode: u32) -> bool {
    mode & 0o170_000 == 0o040_000
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_place_is_a_containers_when_it_has_a_colon_and_does_not_look_like_a_path() {
        assert_eq!(Place::parse("web:/etc"), Place::Container { name: "web", path: "/etc" });
        assert_eq!(Place::parse("web:"), Place::Container { name: "web", path: "/" });
        for local in ["-", "file", "./a:b", "/a:b", "../x:y", ":/x"] {
            assert_eq!(Place::parse(local), Place::Local(local));
        }
    }

    /// Source, whether it is a folder; target, and whether it is absent, a file or a folder.
    #[test]
    fn copies_go_where_dockers_go() {
        let place = |path, is_folder, target, kind: char| {
            let target = Target { path: target, exists: kind != '-', is_folder: kind == 'd' };
            place(&Source { path, is_folder }, &target)
        };
        let ok = |folder: &str, name: &str| Ok((folder.to_owned(), name.to_owned()));
        assert_eq!(place("/a/file", false, "/t", 'd'), ok("/t", "file"));
        assert_eq!(place("/a/file", false, "/t/", 'd'), ok("/t/", "file"));
        assert_eq!(place("/a/file", false, "/t/new", '-'), ok("/t", "new"));
        assert_eq!(place("/a/file", false, "/t/old", 'f'), ok("/t", "old"));
        assert_eq!(place("/a/file", false, "new", '-'), ok(".", "new"));
        assert_eq!(place("/a/dir", true, "/t", 'd'), ok("/t", "dir"));
        assert_eq!(place("/a/dir/", true, "/t", 'd'), ok("/t", "dir"));
        assert_eq!(place("/a/dir/.", true, "/t", 'd'), ok("/t", ""));
        assert_eq!(place("/a/dir", true, "/new", '-'), ok("/", "new"));
        assert_eq!(place("/a/dir", true, "/new/", '-'), ok("/", "new"));
        assert_eq!(place("/a/dir/.", true, "/new", '-'), ok("/", "new"));
        assert_eq!(place("/", true, "/t", 'd'), ok("/t", ""));
        for (source, is_folder, target, kind, words) in [
            ("/a/file", false, "/new/", '-', "no such directory"),
            ("/a/file", false, "/old/", 'f', "not a directory"),
            ("/a/file/", false, "/t", 'd', "not a directory"),
            ("/a/dir", true, "/old", 'f', "cannot copy directory"),
        ] {
            let why = place(source, is_folder, target, kind).expect_err(target);
            assert!(why.contains(words), "{source} {target}: {why}");
        }
    }
}
