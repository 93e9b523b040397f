//! What is said on standard error: a message that cannot be told, because nobody reads it or
//! the disk is full, changes nothing of what the command does, nor its exit code. The macros
//! for it panic there, which is why `.clippy.toml` forbids them.

use std::fmt;
use std::io::Write as _;

/// Says a line, as `eprintln!` would.
macro_rules! tell {
    ($($words:tt)*) => { $crate::tell::line(format_args!($($words)*)) };
}
pub(crate) use tell;

/// Says a line, in one piece.
pub(crate) fn line(words: fmt::Arguments<'_>) {
    text(&format!("{words}\n"));
}

/// Says a text that has its ends of lines; colours of it reach a terminal alone.
pub(crate) fn text(text: &str) {
    let _ = anstream::stderr().write_all(text.as_bytes());
}
