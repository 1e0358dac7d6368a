//! The one window, as `tauri.conf.json` describes it.

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
    WebviewWindowBuilder::from_config(app, config)?.build()?;
    Ok(())
}

/// The same, where nobody waits for the outcome.
pub(crate) fn show_or_log(app: &AppHandle) {
    if let Err(error) = show(app) {
        tracing::error!(%error, "cannot open the window");
    }
}
