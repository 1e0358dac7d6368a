//! `linkspan-desktop`: the window and the tray. A thin shell around the pages in `ui/`: it
//! connects to the daemon, passes the pages' calls on as bytes, and does what only a program can
//! do: the daemon's life, the tray, notifications, files of this host.
//!
//! It does not: decide anything about containers or machines. Of the contract it knows what the
//! tray shows; everything else it passes on. The daemon and the machine go on when it ends.

#![cfg_attr(not(debug_assertions), windows_subsystem = "windows")]

mod calls;
mod commands;
mod daemon;
mod files;
mod glance;
mod instance;
mod notices;
mod picks;
mod prefs;
mod refusal;
mod tray;
mod watch;
mod window;

use std::process::ExitCode;

use anyhow::Context as _;
use tauri::{Manager as _, RunEvent, async_runtime, webview::PageLoadEvent};
use tracing_subscriber::EnvFilter;

use crate::instance::Instance;

fn main() -> ExitCode {
    let filter = EnvFilter::try_from_env("LINKSPAN_LOG").unwrap_or_else(|_| "warn".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("linkspan-desktop: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> anyhow::Result<()> {
    let paths = linkspan_client::paths(None).map_err(|failure| anyhow::anyhow!(failure.message))?;
    let Instance::First(door) = async_runtime::block_on(instance::claim(&paths))
        .with_context(|| format!("cannot claim the home `{}`", paths.home().display()))?
    else {
        // The other one has shown its window.
        return Ok(());
    };
    let app = tauri::Builder::default()
        .plugin(tauri_plugin_dialog::init())
        .plugin(tauri_plugin_notification::init())
        .plugin(tauri_plugin_opener::init())
        .manage(daemon::Daemon::default())
        .manage(calls::Calls::default())
        .manage(picks::Picks::default())
        .manage(prefs::Preferences::load(&paths))
        .manage(paths)
        .invoke_handler(tauri::generate_handler![
            commands::daemon_connect,
            commands::daemon_restart,
            commands::browse,
            commands::prefs_get,
            commands::prefs_set,
            commands::pick,
            commands::archive_send,
            commands::tar_send,
            commands::tar_receive,
            commands::context_open,
            commands::context_list,
            commands::context_send,
            commands::call_unary,
            commands::call_open,
            commands::call_send,
            commands::call_finish,
            commands::call_more,
            commands::call_cancel,
        ])
        .on_page_load(|page, load| {
            // Who opened them has gone.
            if load.event() == PageLoadEvent::Started {
                page.state::<calls::Calls>().cancel_all();
                page.state::<picks::Picks>().forget_all();
            }
        })
        .setup(move |app| {
            window::show(app.handle())?;
            if let Some(tray) = tray::build(app.handle()) {
                app.manage(tray);
            }
            async_runtime::spawn(instance::serve(door, app.handle().clone()));
            async_runtime::spawn(watch::run(app.handle().clone()));
            Ok(())
        })
        .build(tauri::generate_context!())
        .context("cannot open a window")?;
    app.run(|app, event| match event {
        RunEvent::WindowEvent { event: tauri::WindowEvent::Destroyed, .. } => {
            app.state::<calls::Calls>().cancel_all();
        }
        // The last window was closed. With a tray the app stays; without one nobody could open
        // it again.
        RunEvent::ExitRequested { code: None, api, .. }
            if app.try_state::<tray::Tray>().is_some() =>
        {
            api.prevent_exit();
        }
        _ => {}
    });
    Ok(())
}
