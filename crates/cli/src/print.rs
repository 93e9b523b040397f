//! What a command prints on standard output. What comes from data can do no more to a terminal
//! than our colours do.

use std::io::Write as _;

use anyhow::Context as _;
use serde::Serialize;

use crate::style::{is_obeyed, printable};

/// Prints a text that has its ends of lines.
///
/// # Errors
///
/// Standard output cannot be written.
pub(crate) fn print(text: &str) -> anyhow::Result<()> {
    anstream::stdout().write_all(printable(text).as_bytes()).context("cannot write standard output")
}

/// A line of JSON, with its end, that may stand on a terminal.
pub(crate) fn json_line(value: &impl Serialize) -> anyhow::Result<String> {
    Ok(json_shown(serde_json::to_string(value)?) + "\n")
}

/// The same over several lines, for people.
pub(crate) fn json_lines(value: &impl Serialize) -> anyhow::Result<String> {
    Ok(json_shown(serde_json::to_string_pretty(value)?) + "\n")
}

/// JSON whose texts have what a terminal obeys as escapes, which a reader of JSON takes back.
/// Outside of texts there is nothing of the kind.
pub(crate) fn json_shown(json: String) -> String {
    if !json.contains(is_obeyed) {
        return json;
    }
    let escaped = |c: char| if is_obeyed(c) { format!("\\u{:04x}", u32::from(c)) } else { c.to_string() };
    json.chars().map(escaped).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn json_is_the_same_value_without_what_a_terminal_obeys() {
        for text in ["\u{202e}9b\u{9b}\u{7f}\u{1b}[2J\n\"\\é\u{2069}😀", "plain"] {
            for line in [json_line(&text), json_lines(&text)].map(|line| line.expect("JSON")) {
                assert_eq!(serde_json::from_str::<String>(&line).expect("JSON"), text);
                assert_eq!(printable(&line), line);
                assert!(line.ends_with("\"\n"));
            }
        }
    }
}
