//! The one window, as `tauri.conf.json` describes it.

use linkspan_state::Paths;
use tauri::{AppHandle, Manager as _, WebviewWindowBuilder};

const MAIN: &str = "main";

/// Opens the window, or brings it to the front.
pub(crate) fn show(app: &AppHandle) -> tauri::Result<()> {
    if let Some(window) = app.get_webview_window(MAIN) {
        window.unminimize()?;
        window.show()?;
        return window.set_focus();
    }
    let windows = &app.config().app.windows;
    let Some(config) = windows.iter().find(|window| window.label == MAIN) else {
        return Err(tauri::Error::WindowNotFound);
    };
    // What the pages remember is of one home. (WKWebView has no such folder, and keeps it by the
    // app's identifier.)
    let storage = app.state::<Paths>().desktop_storage();
    WebviewWindowBuilder::from_config(app, config)?.data_directory(storage).build()?;
    Ok(())
}

/// The same, where nobody waits for the outcome.
pub(crate) fn show_or_log(app: &AppHandle) {
    if let Err(error) = show(app) {
        tracing::error!(%error, "cannot open the window");
    }
}
