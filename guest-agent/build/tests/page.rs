//! `docs/dockerfile.md`, made from the tables that the parser reads.

use std::fmt::Write as _;
use std::path::Path;

use linkspan_build::support::{
    ARGUMENTS, DIRECTIVES, INSTRUCTIONS, MOUNT_OPTIONS, Named, Support, Takes, WARNINGS,
};

const HEAD: &str = "\
# What is supported of Dockerfiles

Made from the program's own tables by a test: do not edit. After a change, write it anew with
`LINKSPAN_BLESS=1 cargo test -p linkspan-build --test page`.

The rules are those of [Docker's reference](https://docs.docker.com/reference/dockerfile/). What is
not supported is refused by name before anything is built; only a build argument without effect is
answered with a warning.

One thing is understood and refused when it is reached, by name: a git repository as a source of ADD
(there is no git in the machine). Archives are tars, plain or compressed with gzip, bzip2, xz or zstd. How
a build is carried out, cached and made reproducible is in [build.md](build.md).

## Instructions and their flags

| | supported | what it does, or why it is refused |
|---|---|---|
";

fn row(page: &mut String, name: &str, support: Support, what: &str) {
    let (supported, what) = match support {
        Support::Yes => ("yes", what),
        Support::Refused(why) => ("no", why),
    };
    // Writing to a string cannot fail.
    let _ = writeln!(page, "| {name} | {supported} | {} |", what.replace('|', "\\|"));
}

fn table(page: &mut String, title: &str, rows: &[Named]) {
    let _ = write!(page, "\n## {title}\n\n| | supported | what it means |\n|---|---|---|\n");
    for named in rows {
        let names: Vec<String> = named.name.split(", ").map(|name| format!("`{name}`")).collect();
        row(page, &names.join(", "), named.support, named.what);
    }
}

fn page() -> String {
    let mut page = HEAD.to_owned();
    for instruction in INSTRUCTIONS {
        row(&mut page, &format!("**{}**", instruction.name), Support::Yes, instruction.what);
        for flag in instruction.flags {
            let value = if flag.takes == Takes::Bool { "" } else { "=" };
            let name = format!("{} `--{}{value}`", instruction.name, flag.name);
            row(&mut page, &name, flag.support, flag.what);
        }
    }
    table(&mut page, "Options of `RUN --mount`", MOUNT_OPTIONS);
    table(&mut page, "Parser directives", DIRECTIVES);
    table(&mut page, "Predefined build arguments", ARGUMENTS);
    table(&mut page, "Warnings", WARNINGS);
    page
}

#[test]
fn the_committed_page_is_what_the_tables_say() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/dockerfile.md");
    let page = page();
    if std::env::var_os("LINKSPAN_BLESS").is_some() {
        std::fs::write(&path, &page).expect("the page can be written");
    }
    let committed = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        committed == page,
        "docs/dockerfile.md is out of date: set LINKSPAN_BLESS=1 and run again"
    );
}
