//! Colours, used where they help and only on a terminal.

use std::borrow::Cow;

use anstyle::{AnsiColor, Style};

/// The word "error".
pub(crate) const ERROR: Style = AnsiColor::Red.on_default().bold();
/// The word "warning".
pub(crate) const WARNING: Style = AnsiColor::Yellow.on_default().bold();
/// Headings of a report.
pub(crate) const HEADING: Style = Style::new().bold();
/// What matters less.
pub(crate) const FAINT: Style = Style::new().dimmed();

/// What may stand on a terminal: each character that a terminal obeys, or that turns the
/// direction of text, is written as an escape; but for ends of lines, tabs and colours.
/// Texts of reports have colours of ours, and what comes from data can do no more than them.
pub(crate) fn printable(text: &str) -> Cow<'_, str> {
    if !text.contains(is_obeyed) {
        return Cow::Borrowed(text);
    }
    let mut out = String::with_capacity(text.len() + 16);
    let mut rest = text;
    while let Some(at) = rest.find(is_obeyed) {
        out.push_str(&rest[..at]);
        rest = &rest[at..];
        if let Some(len) = colour(rest) {
            out.push_str(&rest[..len]);
            rest = &rest[len..];
        } else {
            let mut characters = rest.chars();
            out.extend(characters.next().into_iter().flat_map(char::escape_default));
            rest = characters.as_str();
        }
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The same of a text that has no colours of ours, on one line.
pub(crate) fn plain(text: &str) -> Cow<'_, str> {
    if !text.contains(|c: char| is_obeyed(c) || c == '\n') {
        return Cow::Borrowed(text);
    }
    let escaped =
        |c: char| if is_obeyed(c) || c == '\n' { c.escape_default().to_string() } else { c.to_string() };
    text.chars().map(escaped).collect()
}

/// Whether a terminal does something else with the character than to show it.
pub(crate) fn is_obeyed(c: char) -> bool {
    c.is_control() && !matches!(c, '\n' | '\t')
        || matches!(c, '\u{200E}' | '\u{200F}' | '\u{202A}'..='\u{202E}' | '\u{2066}'..='\u{2069}')
}

/// Bytes of the colour that a text begins with.
fn colour(text: &str) -> Option<usize> {
    let rest = text.strip_prefix("\u{1b}[")?;
    let end = rest.find(|c: char| !(c.is_ascii_digit() || c == ';'))?;
    rest[end..].starts_with('m').then_some(end + 3)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_terminal_obeys_is_shown_and_not_sent() {
        let text = format!("{HEADING}a\tb{HEADING:#}\n\u{1b}]0;t\u{7}\u{1b}[2J\u{9b}1A\r\u{202e}é\u{1b}[1");
        let shown = "a\tb\n\\u{1b}]0;t\\u{7}\\u{1b}[2J\\u{9b}1A\\r\\u{202e}é\\u{1b}[1";
        let printed = printable(&text).into_owned();
        assert_eq!(printed, format!("{HEADING}a\tb{HEADING:#}{}", &shown[3..]));
        assert_eq!(printable("plain\n"), "plain\n");
        assert_eq!(plain("a\nb\u{1b}[1mc"), "a\\nb\\u{1b}[1mc");
        assert!(matches!(plain("é"), Cow::Borrowed(_)));
    }
}
