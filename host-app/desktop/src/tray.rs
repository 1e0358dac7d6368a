//! The tray: the machine at a glance, start and stop, the window, the end of the app.

use std::panic::{AssertUnwindSafe, catch_unwind};

use linkspan_client::{Client, Failure};
use linkspan_proto::host::v1::{StartMachineRequest, StopMachineRequest};
use parking_lot::Mutex;
use tauri::{
    AppHandle, Manager as _, async_runtime,
    image::Image,
    menu::{Menu, MenuEvent, MenuItem, PredefinedMenuItem},
    tray::{TrayIcon, TrayIconBuilder},
};

use crate::{
    daemon::Daemon,
    glance::{Action, Glance, mark},
    notices::{self, Notice},
    window,
};

const ICON: Image<'_> = tauri::include_image!("icons/32x32.png");

/// The ids of the menu's entries.
const OPEN: &str = "open";
const ACT: &str = "act";
const QUIT: &str = "quit";

pub(crate) struct Tray {
    icon: TrayIcon,
    /// What is so; cannot be chosen.
    words: MenuItem<tauri::Wry>,
    act: MenuItem<tauri::Wry>,
    shown: Mutex<Glance>,
}

/// `None` where there can be none, which is logged: the app works without.
pub(crate) fn build(app: &AppHandle) -> Option<Tray> {
    // The library of the tray is looked for when it is used first, and panics when it is missing.
    match catch_unwind(AssertUnwindSafe(|| try_build(app))) {
        Ok(Ok(tray)) => Some(tray),
        Ok(Err(error)) => {
            tracing::warn!(%error, "there is no tray");
            None
        }
        Err(_) => {
            tracing::warn!("there is no tray: its library is missing");
            None
        }
    }
}

fn try_build(app: &AppHandle) -> tauri::Result<Tray> {
    let glance = Glance::Away;
    let words = MenuItem::new(app, glance.words(), false, None::<&str>)?;
    let act = MenuItem::with_id(app, ACT, label(&glance), true, None::<&str>)?;
    let open = MenuItem::with_id(app, OPEN, "Open Linkspan", true, None::<&str>)?;
    let quit = MenuItem::with_id(app, QUIT, "Quit (the machine goes on)", true, None::<&str>)?;
    let line = || PredefinedMenuItem::separator(app);
    let menu = Menu::with_items(app, &[&words, &act, &line()?, &open, &quit])?;
    let icon = TrayIconBuilder::with_id("linkspan")
        .icon(picture(&glance))
        .tooltip(glance.words())
        .menu(&menu)
        .on_menu_event(chosen)
        .build(app)?;
    Ok(Tray { icon, words, act, shown: Mutex::new(glance) })
}

/// Shows the machine's state, where there is a tray.
pub(crate) fn show(app: &AppHandle, glance: Glance) {
    let Some(tray) = app.try_state::<Tray>() else { return };
    let before = std::mem::replace(&mut *tray.shown.lock(), glance.clone());
    if before == glance {
        return;
    }
    let shown = || -> tauri::Result<()> {
        tray.words.set_text(glance.words())?;
        tray.act.set_text(label(&glance))?;
        tray.act.set_enabled(glance.action().is_some())?;
        tray.icon.set_tooltip(Some(glance.words()))?;
        if before.colour() == glance.colour() {
            return Ok(());
        }
        tray.icon.set_icon(Some(picture(&glance)))
    };
    if let Err(error) = shown() {
        tracing::warn!(%error, "the tray does not show that {}", glance.words());
    }
}

fn label(glance: &Glance) -> &'static str {
    match glance.action() {
        Some(Action::Start) => "Start the machine",
        Some(Action::Stop) | None => "Stop the machine",
    }
}

fn picture(glance: &Glance) -> Image<'static> {
    let marked = mark(ICON.rgba(), ICON.width(), glance.colour());
    Image::new_owned(marked, ICON.width(), ICON.height())
}

fn chosen(app: &AppHandle, event: MenuEvent) {
    match event.id().as_ref() {
        OPEN => window::show_or_log(app),
        QUIT => app.exit(0),
        ACT => {
            let app = app.clone();
            async_runtime::spawn(async move { act(&app).await });
        }
        _ => {}
    }
}

/// A machine that fails to start says so itself ([`notices::of_machine`]).
async fn act(app: &AppHandle) {
    let Some(action) = app.state::<Tray>().shown.lock().action() else { return };
    let (what, done) = match action {
        Action::Start => match app.state::<Daemon>().client(true).await {
            Ok(client) => return log(start(client).await),
            Err(failure) => ("The daemon did not start", Err(failure)),
        },
        Action::Stop => ("The machine did not stop", stop(app).await),
    };
    if let Err(failure) = done {
        notices::show(app, Notice { title: what.into(), body: failure.message });
    }
}

async fn start(client: Client) -> Result<(), Failure> {
    let request = StartMachineRequest::default();
    let mut phases = client.machines().start(request).await?.into_inner();
    while phases.message().await?.is_some() {}
    Ok(())
}

async fn stop(app: &AppHandle) -> Result<(), Failure> {
    let client = app.state::<Daemon>().client(false).await?;
    client.machines().stop(StopMachineRequest::default()).await?;
    Ok(())
}

fn log(done: Result<(), Failure>) {
    if let Err(failure) = done {
        tracing::warn!("the machine did not start: {}", failure.message);
    }
}
