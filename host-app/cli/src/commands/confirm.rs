//! The question before something is removed for good.

use std::io::{BufRead as _, Write as _};

/// Asks as Docker does; anything but yes is no, the end of the input too.
pub(crate) fn confirm(warning: &str) -> bool {
    // Standard error may be closed: then nobody sees the question, and nobody answers it.
    let _ = write!(std::io::stderr(), "{warning}\nAre you sure you want to continue? [y/N] ");
    let mut answer = String::new();
    let read = std::io::stdin().lock().read_line(&mut answer);
    if matches!(read, Ok(0)) {
        say!("");
    }
    read.is_ok() && matches!(answer.trim().to_lowercase().as_str(), "y" | "yes")
}
