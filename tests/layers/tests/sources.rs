//! Rules about the text of the sources.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .parent()
        .and_then(Path::parent)
        .expect("tests/layers is two folders below the root")
        .to_owned()
}

/// Every Rust file of ours, relative to the root, with its text.
fn sources() -> Vec<(PathBuf, String)> {
    fn walk(folder: &Path, found: &mut Vec<PathBuf>) {
        for entry in fs::read_dir(folder).expect("a readable folder").flatten() {
            let path = entry.path();
            let name = entry.file_name();
            if path.is_dir() && name != "target" && name != "node_modules" && name != ".git" {
                walk(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                found.push(path);
            }
        }
    }
    let root = root();
    let mut found = Vec::new();
    walk(&root, &mut found);
    assert!(found.len() > 50, "only {} source files were found", found.len());
    found
        .into_iter()
        .map(|path| {
            let text = fs::read_to_string(&path).expect("a source file is UTF-8");
            (path.strip_prefix(&root).expect("inside the root").to_owned(), text)
        })
        .collect()
}

/// The code of a line: no comment, nothing of a string that would look like code.
fn code(line: &str) -> &str {
    let line = line.trim_start();
    if line.starts_with("//") { "" } else { line.split(" // ").next().unwrap_or("") }
}

fn is_this_test(path: &Path) -> bool {
    path.starts_with("tests/layers")
}

/// Invariant 1.
#[test]
fn unsafe_stays_in_its_rooms() {
    const ROOMS: &[&str] = &["guest-agent/sys", "host-app/drivers/vz", "host-app/drivers/hcs"];
    let word = ["un", "safe"].concat();
    for (path, text) in sources() {
        if is_this_test(&path) || ROOMS.iter().any(|room| path.starts_with(room)) {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let code = code(line);
            let opens = [
                format!("{word} {{"),
                format!("{word} fn"),
                format!("{word} impl"),
                format!("{word}("),
            ];
            assert!(
                !opens.iter().any(|open| code.contains(open.as_str())),
                "{}:{}: {word} code belongs in guest-agent/sys",
                path.display(),
                number + 1
            );
        }
    }
}

/// Invariant 4: what differs between drivers is a value.
#[test]
fn nothing_asks_which_driver_it_has() {
    for (path, text) in sources() {
        if is_this_test(&path) || path.starts_with("host-app/drivers") {
            continue;
        }
        for (number, line) in text.lines().enumerate() {
            let code = code(line);
            let asks = ["\"qemu\" ==", "== \"qemu\"", "== \"vz\"", "== \"hcs\"", "matches!(driver"];
            assert!(
                !asks.iter().any(|ask| code.contains(ask)),
                "{}:{}: a driver's difference must be a value, not its name",
                path.display(),
                number + 1
            );
        }
    }
}

#[test]
fn no_test_double_is_compiled_into_a_program() {
    for (path, text) in sources() {
        let double = path.file_stem().is_some_and(|stem| stem == "fake");
        if !double || path.starts_with("tests") {
            continue;
        }
        let parent = path.parent().expect("a file has a folder");
        let guard = ["lib.rs", "mod.rs", "main.rs"]
            .iter()
            .map(|name| root().join(parent).join(name))
            .chain([root().join(parent).with_extension("rs")])
            .filter_map(|file| fs::read_to_string(file).ok())
            .any(|module| {
                let lines: Vec<_> = module.lines().map(str::trim).collect();
                lines.windows(2).any(|pair| {
                    pair[1].ends_with("mod fake;")
                        && pair[0].contains("cfg(")
                        && (pair[0].contains("test") || pair[0].contains("feature = \"fake\""))
                })
            });
        assert!(guard || text.contains("#![cfg("), "{} has no cfg guard", path.display());
    }
}

#[test]
fn no_registry_host_is_written_into_the_tree() {
    let hosts = [
        ["deb.", "debian.org"].concat(),
        ["static.", "crates.io"].concat(),
        ["registry.", "npmjs.org"].concat(),
    ];
    for (path, text) in sources() {
        for host in &hosts {
            assert!(!text.contains(host.as_str()), "{} names {host}", path.display());
        }
    }
}
