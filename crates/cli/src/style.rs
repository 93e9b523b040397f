//! Colours, used where they help and only on a terminal.

use anstyle::{AnsiColor, Style};

/// The word "error".
pub(crate) const ERROR: Style = AnsiColor::Red.on_default().bold();
/// The word "warning".
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default().bold();
/// Headings of a report.
pub(crate) const HEADING: Style = Style::new().bold();
/// What matters less.
pub(crate) const FAINT: Style = Style::new().dimmed();
