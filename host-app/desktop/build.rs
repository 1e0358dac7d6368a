//! Tells Tauri which commands there are, so that the capability file can allow them one by one,
//! and sees to it that there are pages to put into the program.

use std::{fs, path::Path};

/// The commands of `src/commands.rs`.
const COMMANDS: &[&str] = &[
    "daemon_connect",
    "daemon_restart",
    "browse",
    "prefs_get",
    "prefs_set",
    "pick",
    "archive_send",
    "tar_send",
    "tar_receive",
    "context_open",
    "context_list",
    "context_send",
    "call_unary",
    "call_open",
    "call_send",
    "call_finish",
    "call_more",
    "call_cancel",
];

const PAGES: &str = "ui/dist";
/// What a program without pages shows, and how it is known again.
const PLACEHOLDER: &str = "<!doctype html><title>Linkspan</title>\
    <p data-placeholder>This program was built without its pages: <code>make app</code>.</p>\n";

fn main() {
    println!("cargo::rerun-if-changed={PAGES}");
    if let Err(message) = pages() {
        println!("cargo::error={message}");
        return;
    }
    let manifest = tauri_build::AppManifest::new().commands(COMMANDS);
    let attributes = tauri_build::Attributes::new().app_manifest(manifest);
    if let Err(error) = tauri_build::try_build(attributes) {
        println!("cargo::error={error:#}");
    }
}

/// Type-checking needs pages but not these; a program that is handed out does.
fn pages() -> Result<(), String> {
    let index = Path::new(PAGES).join("index.html");
    let built = fs::read_to_string(&index).is_ok_and(|page| page != PLACEHOLDER);
    if built {
        return Ok(());
    }
    if std::env::var("PROFILE").as_deref() == Ok("release") {
        return Err("the pages are not built: `make app` does that first".into());
    }
    fs::create_dir_all(PAGES)
        .and_then(|()| fs::write(&index, PLACEHOLDER))
        .map_err(|error| format!("cannot write `{}`: {error}", index.display()))
}
