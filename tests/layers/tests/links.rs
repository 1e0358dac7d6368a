//! Every page in Markdown leads where it says: links to files of the repository are not dead.

use std::{
    fs,
    path::{Path, PathBuf},
};

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// Those below a folder that are ours.
fn pages(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).expect("a folder of the repository");
    let paths = entries.map(|entry| entry.expect("an entry").path());
    paths
        .flat_map(|path| {
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let ours = !name.starts_with('.') && name != "target" && name != "node_modules";
            match ours {
                true if path.is_dir() => pages(&path),
                true if name.ends_with(".md") => vec![path],
                _ => Vec::new(),
            }
        })
        .collect()
}

/// The targets of `[text](target)`, `src="target"` and `srcset="target"`.
fn links(text: &str) -> impl Iterator<Item = &str> {
    [("](", ')'), ("src=\"", '"'), ("srcset=\"", '"')].into_iter().flat_map(move |(open, close)| {
        text.split(open).skip(1).filter_map(move |rest| Some(rest.split_once(close)?.0))
    })
}

/// The name that a heading has in addresses, as GitHub makes it.
fn anchor(heading: &str) -> String {
    let kept = heading.chars().filter(|c| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_'));
    kept.collect::<String>().trim().to_lowercase().replace(' ', "-")
}

fn has_anchor(page: &Path, wanted: &str) -> bool {
    let text = fs::read_to_string(page).unwrap_or_default();
    text.lines()
        .filter(|line| line.starts_with('#'))
        .any(|line| anchor(line.trim_start_matches('#')) == wanted)
}

/// What is wrong with a link of a page; None: nothing.
fn fault(page: &Path, link: &str) -> Option<String> {
    if link.contains("://") || link.contains(char::is_whitespace) {
        return None;
    }
    let (file, anchor) = link.split_once('#').unwrap_or((link, ""));
    let target = if file.is_empty() { page.to_owned() } else { page.with_file_name("").join(file) };
    if !target.exists() {
        return Some(format!("{}: there is no `{file}`", page.display()));
    }
    if !anchor.is_empty() && !has_anchor(&target, anchor) {
        return Some(format!("{}: `{link}` has no such heading", page.display()));
    }
    None
}

#[test]
fn no_link_of_a_page_is_dead() {
    let pages = pages(&root());
    assert!(pages.contains(&root().join("README.md")), "{pages:?}");
    let mut faults = Vec::new();
    for page in &pages {
        let text = fs::read_to_string(page).expect("a page is text");
        faults.extend(links(&text).filter_map(|link| fault(page, link)));
    }
    assert!(faults.is_empty(), "{faults:#?}");
}

#[test]
fn a_dead_link_is_found() {
    let page = &root().join("README.md");
    let text = "[a](docs/none.md) [b](docs/boot.md#power-off) [c](https://x.example) \
                <img src=\"docs/boot.md#nothing\">";
    let faults: Vec<_> = links(text).filter_map(|link| fault(page, link)).collect();
    assert_eq!(faults.len(), 2, "{faults:?}");
    assert!(faults[0].contains("docs/none.md") && faults[1].contains("no such heading"));
}
