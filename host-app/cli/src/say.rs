//! What a command says besides its output: one line at a time, on standard error.

use std::fmt;
use std::io::{self, Write as _};

/// One line on standard error, as `eprintln!`. But that ends the program when nobody reads
/// standard error any more, and writes the line's end on its own, so that the lines of two
/// programs on one terminal run together.
macro_rules! say {
    ($($words:tt)*) => { $crate::say::line(format_args!($($words)*)) };
}

pub(crate) fn line(words: fmt::Arguments<'_>) {
    // Standard error may be closed or its disk full: there is nobody left to tell.
    let _ = io::stderr().write_all(format!("{words}\n").as_bytes());
}
