//! `docs/run-flags.md`, made from the parser and the table of refused flags.

use std::{fmt::Write as _, path::Path};

use super::*;
use crate::args::refused;

const HEAD: &str = "\
# The flags of `run` and `create`

Made from the program's own tables by a test: do not edit. After a change of flags, write it anew with
`LINKSPAN_BLESS=1 cargo test -p linkspan-cli flags_page`.

A flag that is not supported is refused by name before anything is made; none is ignored.

| flag | supported | what it does, or why it is refused |
|---|---|---|
";

fn page() -> String {
    let command = command();
    let run = command.find_subcommand("run").expect("there is a verb `run`");
    let mut rows: Vec<(String, &str, String)> = Vec::new();
    for arg in run.get_arguments().filter(|arg| !arg.is_hide_set()) {
        let Some(long) = arg.get_long() else { continue };
        let help = arg.get_help().map(ToString::to_string).unwrap_or_default();
        rows.push((named(long, arg.get_short()), "yes", help));
    }
    for flag in refused::FLAGS.iter().filter(|flag| flag.verbs.contains(&"run")) {
        rows.push((named(flag.long, flag.short), "refused", flag.why.to_owned()));
    }
    rows.sort();
    let mut page = HEAD.to_owned();
    for (name, supported, what) in rows {
        // Writing to a string cannot fail.
        let _ = writeln!(page, "| {name} | {supported} | {} |", what.replace('|', "\\|"));
    }
    page
}

fn named(long: &str, short: Option<char>) -> String {
    let short = short.map(|short| format!(", `-{short}`")).unwrap_or_default();
    format!("`--{long}`{short}")
}

#[test]
fn the_committed_page_is_what_the_tables_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/run-flags.md");
    let page = page();
    if std::env::var_os("LINKSPAN_BLESS").is_some() {
        std::fs::write(&path, &page).expect("the page can be written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == page,
        "docs/run-flags.md is out of date: set LINKSPAN_BLESS=1 and run again"
    );
}
