//! What tests need of the machine: programs, and what `.ci/clients` has put into the cache.

use std::{
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

/// Whether there is such a program; the reason for a skip is printed if not.
#[must_use]
pub fn is_installed(program: &str) -> bool {
    let mut command = Command::new(program);
    let there = command.arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status();
    if there.is_err() {
        is_missing(program);
    }
    there.is_ok()
}

/// Says that a test is skipped for want of something that `.ci/install test` installs.
///
/// # Panics
/// Under `make test`, which has installed it (`LINKSPAN_TEST_ALL`): nothing is skipped there.
pub fn is_missing(what: &str) {
    let reason = format!("there is no {what} here (`.ci/install test` installs it)");
    assert!(std::env::var_os("LINKSPAN_TEST_ALL").is_none(), "{reason}");
    eprintln!("skipped: {reason}");
}

/// Where `.ci/clients` keeps what it fetches: `LINKSPAN_CACHE`, else `linkspan` in the user's cache
/// folder.
#[must_use]
pub fn cache() -> PathBuf {
    let given = |name: &str| std::env::var_os(name).filter(|value| !value.is_empty());
    if let Some(cache) = given("LINKSPAN_CACHE") {
        return cache.into();
    }
    let home = || Path::new(&given("HOME").unwrap_or_default()).join(".cache");
    given("XDG_CACHE_HOME").map_or_else(home, PathBuf::from).join("linkspan")
}

/// What `.ci/clients` has put into the cache under this name; the reason for a skip is printed if it
/// has not.
///
/// # Panics
/// As [`is_missing`].
#[must_use]
pub fn client(name: &str) -> Option<PathBuf> {
    let folder = cache().join("clients").join(name);
    if folder.join("made").exists() {
        return Some(folder);
    }
    is_missing(&folder.display().to_string());
    None
}
