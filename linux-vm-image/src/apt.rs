//! Debian packages through apt, as any user and without touching the system.
//!
//! The trust is apt's: it downloads only what a signed package list names, and checks its hash.
//! Neither servers nor keys are named here.

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, bail};

use crate::{cache::Cache, process};

/// What apt would install: the candidate's fields that matter here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Candidate {
    pub(crate) name: String,
    pub(crate) version: String,
    pub(crate) depends: Vec<String>,
}

/// The candidate of a package; `None` when apt knows no such package.
pub(crate) fn candidate(package: &str) -> Result<Option<Candidate>> {
    let mut command = process::command("apt-cache");
    command.args(["show", "--no-all-versions", package]);
    let output = process::spawned(command.output(), &command)?;
    // apt-cache fails for a package that it does not know; that is an answer, not a failure.
    Ok(parse(package, &String::from_utf8_lossy(&output.stdout)))
}

fn parse(package: &str, text: &str) -> Option<Candidate> {
    let field = |name: &str| {
        text.lines()
            .take_while(|line| !line.is_empty())
            .find_map(|line| line.strip_prefix(name)?.strip_prefix(':'))
            .map(str::trim)
    };
    let depends = field("Depends").unwrap_or_default();
    let names = depends.split(',').flat_map(|group| group.split('|'));
    let names = names.filter_map(|name| name.split_whitespace().next());
    Some(Candidate {
        name: package.into(),
        version: field("Version")?.into(),
        depends: names.map(Into::into).collect(),
    })
}

/// The package file, from the cache when it has been downloaded before.
pub(crate) fn download(cache: &Cache, package: &Candidate) -> Result<PathBuf> {
    let folder = cache.folder("packages")?;
    let stem = format!("{}_{}", package.name, package.version.replace(':', "%3a"));
    let kept = folder.join(format!("{stem}.deb"));
    if kept.exists() {
        return Ok(kept);
    }
    eprintln!("fetching {} {} with apt", package.name, package.version);
    let work = tempfile::tempdir_in(&folder)
        .with_context(|| format!("cannot make a folder in `{}`", folder.display()))?;
    let wanted = format!("{}={}", package.name, package.version);
    let mut command = process::command("apt-get");
    command.args(["-q", "-o", "APT::Sandbox::User=root", "download", &wanted]);
    command.current_dir(work.path());
    process::output(&mut command).with_context(|| {
        format!("cannot fetch the package `{}`; `apt-get update` may help", package.name)
    })?;
    let entries = fs::read_dir(work.path())
        .with_context(|| format!("cannot list `{}`", work.path().display()))?;
    let is_package = |path: &PathBuf| path.extension().is_some_and(|ending| ending == "deb");
    let Some(file) = entries.flatten().map(|entry| entry.path()).find(is_package) else {
        bail!("apt fetched no file for the package `{}`", package.name);
    };
    fs::rename(&file, &kept)
        .with_context(|| format!("cannot move `{}` to `{}`", file.display(), kept.display()))?;
    Ok(kept)
}

/// Unpacks a package's files into a folder.
pub(crate) fn unpack(package: &Path, into: &Path) -> Result<()> {
    let mut command = process::command("dpkg-deb");
    process::output(command.arg("-x").arg(package).arg(into)).map(drop)
}

/// The version of an installed package, for the record of how an image was made.
pub(crate) fn installed_version(package: &str) -> Option<String> {
    let mut command = process::command("dpkg-query");
    command.args(["-W", "-f", "${Version}", package]);
    process::text(&mut command).ok().filter(|version| !version.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_candidate_is_read_from_its_first_paragraph() {
        let text = "Package: a\nVersion: 1:2.3-4\nDepends: b (= 1), c | d,\n\nVersion: 0\n";
        let candidate = parse("a", text).unwrap();
        assert_eq!(candidate.version, "1:2.3-4");
        assert_eq!(candidate.depends, ["b", "c", "d"]);
    }

    #[test]
    fn an_unknown_package_is_none() {
        assert_eq!(parse("a", ""), None);
    }
}
