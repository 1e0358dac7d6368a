//! `linkspan-desktop`: the window. A thin shell around the pages in `ui/`: it connects to the
//! daemon, passes the pages' calls on as bytes, and does what only a program can do.
//!
//! It does not: know a message of the contract, decide anything, or keep state of its own.

#![cfg_attr(not(debug_assertions), windows_subsystem = "windows")]

mod calls;
mod commands;
mod daemon;
mod refusal;

use tracing_subscriber::EnvFilter;

fn main() {
    let filter = EnvFilter::try_from_env("LINKSPAN_LOG").unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let run = tauri::Builder::default()
        .plugin(tauri_plugin_opener::init())
        .manage(daemon::Daemon::default())
        .manage(calls::Calls::default())
        .invoke_handler(tauri::generate_handler![
            commands::daemon_connect,
            commands::browse,
            commands::call_unary,
            commands::call_open,
            commands::call_send,
            commands::call_finish,
            commands::call_more,
            commands::call_cancel,
        ])
        .run(tauri::generate_context!());
    if let Err(error) = run {
        eprintln!("linkspan-desktop: {error}");
        std::process::exit(1);
    }
}
