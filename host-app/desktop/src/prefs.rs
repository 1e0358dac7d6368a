//! The user's settings of the app itself. (What the pages showed last is in their own storage.)

use std::path::PathBuf;

use linkspan_client::Failure;
use linkspan_proto::error::ErrorCode;
use linkspan_state::{Document, Paths, StateError};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// `desktop.json`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub(crate) struct Prefs {
    /// Notifications are shown.
    pub(crate) notify: bool,
}

impl Default for Prefs {
    fn default() -> Self {
        Self { notify: true }
    }
}

impl Document for Prefs {
    const FORMAT: u64 = 1;
    const WHAT: &'static str = "the settings of the desktop app";
}

#[derive(Debug)]
pub(crate) struct Preferences {
    settings: PathBuf,
    now: Mutex<Prefs>,
}

impl Preferences {
    /// The defaults when there are none, or none that can be read, which is logged.
    pub(crate) fn load(paths: &Paths) -> Self {
        let settings = paths.desktop_settings();
        let now = linkspan_state::read(&settings).unwrap_or_else(|error| {
            tracing::warn!("{error}; the defaults are used");
            None
        });
        Self { settings, now: Mutex::new(now.unwrap_or_default()) }
    }

    pub(crate) fn get(&self) -> Prefs {
        *self.now.lock()
    }

    /// They hold when they are written.
    pub(crate) fn set(&self, prefs: Prefs) -> Result<(), Failure> {
        linkspan_state::write(&self.settings, &prefs).map_err(failure)?;
        *self.now.lock() = prefs;
        Ok(())
    }
}

fn failure(error: StateError) -> Failure {
    Failure { hint: error.hint(), ..Failure::new(ErrorCode::Internal, error.to_string()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_set_outlives_the_app() {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths::at(home.path()).unwrap();
        let first = Preferences::load(&paths);
        assert_eq!(first.get(), Prefs { notify: true });
        first.set(Prefs { notify: false }).unwrap();

        let second = Preferences::load(&paths);
        assert_eq!(second.get(), Prefs { notify: false });
    }

    #[test]
    fn settings_that_cannot_be_read_are_the_defaults() {
        let home = tempfile::tempdir().unwrap();
        let paths = Paths::at(home.path()).unwrap();
        std::fs::write(paths.desktop_settings(), "{").unwrap();
        assert_eq!(Preferences::load(&paths).get(), Prefs::default());
    }
}
