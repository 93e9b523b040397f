//! Dead letters as trades.

use std::io::{self, BufRead as _, BufReader, Read};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use thiserror::Error;

use crate::error::OpenError;
use crate::input::{Input, Origin, TextInput};
use crate::json_rows::Members;
use crate::limits::Limits;
use crate::parse::json_text;
use crate::reason_codes::{NO_MATCH, reason_codes};
use crate::trades::{TradeReader, TradesOptions, open_text_trades};

/// What the dead letters that were read say of their trades. Clones speak of the same
/// letters.
#[derive(Clone, Debug, Default)]
pub struct Letters(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    letters: Mutex<Vec<Letter>>,
    /// Of records that were refused.
    bad: AtomicU64,
}

/// What a dead letter says of its trade.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Letter {
    /// The number of the trade among those of the run that put it aside first.
    pub trade: u64,
    /// How often it has been put aside.
    pub tries: u64,
}

/// What is wrong with a dead letter.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
#[error("line {line} is no dead letter: {what}")]
struct NoLetter {
    line: u64,
    what: String,
}

impl Letters {
    /// The letter of this number among those that were read, from 1.
    #[must_use]
    pub fn get(&self, number: u64) -> Option<Letter> {
        let letters = self.0.letters.lock().unwrap_or_else(PoisonError::into_inner);
        letters.get(usize::try_from(number.checked_sub(1)?).ok()?).copied()
    }

    /// How many lines so far are of records that were refused, and no trades.
    #[must_use]
    pub fn bad_records(&self) -> u64 {
        self.0.bad.load(Ordering::Relaxed)
    }

    fn add(&self, letter: Letter) {
        self.0.letters.lock().unwrap_or_else(PoisonError::into_inner).push(letter);
    }
}

/// Opens the trades of dead letters, which are JSON Lines as
/// [`DeadLetters`](crate::DeadLetters) writes them. Their numbers are those of the
/// letters if bad records are not skipped. Lines of records that were refused are passed over
/// and counted: they have to be mended first.
///
/// # Errors
/// As [`open_trades`](crate::open_trades). A line that is no dead letter is left to
/// [`TradeReader::read`].
pub fn open_letters(options: TradesOptions) -> Result<(TradeReader, Letters), OpenError> {
    let letters = Letters::default();
    let input = Input::open(options.input.clone())?;
    let refusals = input.refusals();
    let text = input.into_text()?;
    // The trade lies in an object, and in a longer line.
    let own = text.limits;
    let limits = Limits { depth: own.depth.saturating_add(1), ..own };
    let fields = FieldsOf {
        letters: letters.clone(),
        bytes: BufReader::with_capacity(128 << 10, text.bytes),
        lines: 0,
        line: Vec::new(),
        members: Members::within(limits),
        line_bytes_max: limits.line_bytes,
        fields: Vec::new(),
        given: 0,
    };
    // Its bytes are not those of the file any more.
    let origin = match text.origin {
        Origin::Plain(file) | Origin::Made(file) => Origin::Made(file),
        Origin::Stream => Origin::Stream,
    };
    let text = TextInput { bytes: Box::new(fields), origin, ..text };
    Ok((open_text_trades(text, refusals, options)?, letters))
}

/// The member `fields` of each letter as a line of its own.
struct FieldsOf<R> {
    letters: Letters,
    bytes: BufReader<R>,
    lines: u64,
    /// What has come of the next letter.
    line: Vec<u8>,
    members: Members,
    line_bytes_max: usize,
    /// The fields of a letter, of which so many bytes have been given.
    fields: Vec<u8>,
    given: usize,
}

impl<R: Read> FieldsOf<R> {
    /// Reads the next letter; `false` at the end.
    fn next(&mut self) -> io::Result<bool> {
        // With its CRLF.
        let room = (self.line_bytes_max + 2).saturating_sub(self.line.len()) as u64;
        // What has come before an error stays, and more comes behind it.
        self.bytes.by_ref().take(room).read_until(b'\n', &mut self.line)?;
        if self.line.is_empty() {
            return Ok(false);
        }
        self.lines += 1;
        (self.given, self.fields) = (0, std::mem::take(&mut self.fields));
        self.fields.clear();
        if !self.line.trim_ascii().is_empty() {
            let letter = letter(&self.line, &mut self.members, &mut self.fields);
            let line = self.lines;
            match letter.map_err(|what| io::Error::other(NoLetter { line, what }))? {
                Some(letter) => self.letters.add(letter),
                None => drop(self.letters.0.bad.fetch_add(1, Ordering::Relaxed)),
            }
        }
        // As many lines as there are letters: places of bad fields are right.
        self.fields.push(b'\n');
        self.line.clear();
        Ok(true)
    }
}

/// What a line says, and its fields; `None` for a record that was refused.
fn letter(line: &[u8], members: &mut Members, fields: &mut Vec<u8>) -> Result<Option<Letter>, String> {
    let line = members.scan(line).map_err(|reason| reason.to_string())?;
    let reason = members.get(line, "reason").and_then(json_text);
    if let Some(reason) = reason.filter(|reason| reason != NO_MATCH) {
        let is_known = reason_codes().contains(&&*reason) && members.get(line, "message").is_some();
        return if is_known { Ok(None) } else { Err(format!("reason is \"{reason}\"")) };
    }
    let number = |name: &str| members.get(line, name).map(|token| token.parse().map_err(|_| token));
    let flaw = |name: &str, token: &str| format!("{name} is {token}");
    let trade = number("trade").ok_or("it has no member trade")?.map_err(|token| flaw("trade", token))?;
    let tries = number("tries").unwrap_or(Ok(1)).map_err(|token| flaw("tries", token))?;
    let text = members.get(line, "fields").ok_or("it has no member fields")?;
    fields.extend_from_slice(text.as_bytes());
    Ok(Some(Letter { trade, tries }))
}

impl<R: Read> Read for FieldsOf<R> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.given == self.fields.len() && !self.next()? {
            return Ok(0);
        }
        let rest = &self.fields[self.given..];
        let len = rest.len().min(buffer.len());
        buffer[..len].copy_from_slice(&rest[..len]);
        self.given += len;
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_letter_has_a_number_fields_and_tries() {
        let read = |line: &str| {
            let mut fields = Vec::new();
            let letter = letter(line.as_bytes(), &mut Members::default(), &mut fields)?;
            Ok::<_, String>((letter, String::from_utf8(fields).expect("text")))
        };
        let first = r#"{"reason":"no-match","table":"i","key":"9","trade":5,"fields":{"a":1.50}}"#;
        assert_eq!(read(first), Ok((Some(Letter { trade: 5, tries: 1 }), r#"{"a":1.50}"#.to_owned())));
        let again = r#"{"trade":5,"tries":3,"fields":{}}"#;
        assert_eq!(read(again), Ok((Some(Letter { trade: 5, tries: 3 }), "{}".to_owned())));
        let bad = r#"{"reason":"not-an-id","source":"t.csv","line":2,"message":"m","raw":"x"}"#;
        assert_eq!(read(bad), Ok((None, String::new())));
        for (line, what) in [
            (r#"{"reason":"not-a-reason","message":"m"}"#, "reason is \"not-a-reason\""),
            (r#"{"reason":"not-an-id","trade":1,"fields":{}}"#, "reason is \"not-an-id\""),
            (r#"{"fields":{}}"#, "it has no member trade"),
            (r#"{"trade":1}"#, "it has no member fields"),
            (r#"{"trade":"x","fields":{}}"#, "trade is \"x\""),
            (r#"{"trade":1,"tries":-1,"fields":{}}"#, "tries is -1"),
        ] {
            assert_eq!(read(line), Err(what.to_owned()));
        }
        assert!(read("x").is_err());
    }
}
