//! What is wrong with a file.

use thiserror::Error;

/// What is wrong with a file, and where.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("line {line}: {what}")]
pub struct ConfigError {
    /// The line on which it begins, from 1.
    pub line: usize,
    /// What it is, and of a key that is unknown which one may have been meant.
    pub what: String,
}

impl ConfigError {
    pub(crate) fn new(text: &str, error: &toml::de::Error) -> Self {
        let before = error.span().and_then(|span| text.as_bytes().get(..span.start)).unwrap_or_default();
        let line = 1 + before.iter().filter(|&&byte| byte == b'\n').count();
        Self { line, what: explained(error.message()) }
    }
}

/// That of `known` which a mistyped word was most likely meant to be.
pub fn nearest<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let distant = known.map(|known| (strsim::osa_distance(word, known), known));
    // One slip, or two in a longer word.
    let close = distant.filter(|(distance, known)| *distance <= 1 + known.len() / 6);
    close.min_by_key(|(distance, _)| *distance).map(|(_, known)| known)
}

/// What the parser says, and of a key that it does not know what may have been
/// meant: it names that and those that it knows in backquotes.
fn explained(message: &str) -> String {
    let mut quoted = message.split('`').skip(1).step_by(2);
    let near = match (message.starts_with("unknown field"), quoted.next()) {
        (true, Some(unknown)) => nearest(unknown, quoted),
        _ => None,
    };
    near.map_or_else(|| message.to_owned(), |near| format!("{message}: did you mean {near}?"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_unknown_key_is_told_with_what_may_be_meant() {
        let said = explained("unknown field `worker`, expected one of `workers`, `batch_len`");
        assert!(said.ends_with(": did you mean workers?"), "{said}");
        assert_eq!(explained("unknown field `zzz`, expected `a`"), "unknown field `zzz`, expected `a`");
        assert_eq!(explained("expected `workers`"), "expected `workers`");
    }
}
