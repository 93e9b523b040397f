//! Objects of the plain kind that most lines are, without a parser.

use std::ops::Range;

use crate::parse::is_json_number;

/// Shows the name, without quotes, and the token of each member of an object to
/// `member`. `None` if that says so, or the line is no object or not a plain one: with an
/// escape in a text, a value that is an object or a list, or spaces other than blanks.
pub(crate) fn members(
    line: &str,
    mut member: impl FnMut(Range<usize>, Range<usize>) -> Option<()>,
) -> Option<()> {
    let mut text = Text { bytes: line.as_bytes(), at: 0 };
    text.skip(b'{')?;
    if text.skip(b'}').is_none() {
        loop {
            let name = text.string()?;
            text.skip(b':')?;
            let token = text.token()?;
            member(name.start + 1..name.end - 1, token)?;
            if text.skip(b',').is_none() {
                break;
            }
        }
        text.skip(b'}')?;
    }
    (text.at == line.len()).then_some(())
}

struct Text<'a> {
    bytes: &'a [u8],
    at: usize,
}

impl Text<'_> {
    /// Passes a mark and the blanks around it.
    fn skip(&mut self, mark: u8) -> Option<()> {
        self.skip_blanks();
        if self.bytes.get(self.at) != Some(&mark) {
            return None;
        }
        self.at += 1;
        self.skip_blanks();
        Some(())
    }

    fn skip_blanks(&mut self) {
        while self.bytes.get(self.at) == Some(&b' ') {
            self.at += 1;
        }
    }

    /// Passes a text, with its quotes.
    fn string(&mut self) -> Option<Range<usize>> {
        let start = self.at;
        let rest = self.bytes[start..].strip_prefix(b"\"")?;
        let end = rest.iter().position(|&byte| byte == b'"' || byte == b'\\' || byte < 0x20)?;
        self.at = start + end + 2;
        (rest[end] == b'"').then_some(start..self.at)
    }

    fn token(&mut self) -> Option<Range<usize>> {
        if self.bytes.get(self.at) == Some(&b'"') {
            return self.string();
        }
        let rest = &self.bytes[self.at..];
        let end = rest.iter().position(|byte| matches!(byte, b',' | b'}' | b' '))?;
        let token = &rest[..end];
        if !is_json_number(token) && !matches!(token, b"null" | b"true" | b"false") {
            return None;
        }
        self.at += end;
        Some(self.at - end..self.at)
    }
}
