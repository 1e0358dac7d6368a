//! Raw mode, and getting out of it again on every way out.

use std::io::{self, IsTerminal};
use std::sync::Once;

/// The terminal is raw while this lives. Also restored by a panic; a signal that would end the
/// process is caught while it lives (`stdio`), so that the guard is dropped then too.
#[derive(Debug)]
pub(crate) struct RawMode(());

impl RawMode {
    /// Puts the terminal of standard input into raw mode. `None` when that is not a terminal.
    ///
    /// # Errors
    /// When the terminal refuses.
    pub(crate) fn enter() -> io::Result<Option<Self>> {
        if !io::stdin().is_terminal() {
            return Ok(None);
        }
        restore_on_panic();
        crossterm::terminal::enable_raw_mode()?;
        Ok(Some(Self(())))
    }
}

impl Drop for RawMode {
    fn drop(&mut self) {
        // There is nothing to be done about a terminal that has gone.
        let _ = crossterm::terminal::disable_raw_mode();
    }
}

/// The message of a panic must be readable: the terminal is restored before it is printed.
fn restore_on_panic() {
    static ONCE: Once = Once::new();
    ONCE.call_once(|| {
        let before = std::panic::take_hook();
        std::panic::set_hook(Box::new(move |info| {
            let _ = crossterm::terminal::disable_raw_mode();
            before(info);
        }));
    });
}
