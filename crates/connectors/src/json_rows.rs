//! JSON Lines as rows of text: each cell is the token as it stands in the file.

use std::collections::VecDeque;
use std::io::{BufRead, BufReader, Read};
use std::ops::Range;
use std::sync::Arc;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::LINE_BYTES_MAX;
use crate::error::{Flaw, Place, ReadError, Reason};
use crate::input::{Cut, TextInput};
use crate::parse::is_sound_token;
use crate::text_rows::{Next, Row};

/// Lines of a text input, with a limit to their length.
pub(crate) struct Lines {
    reader: BufReader<Box<dyn Read + Send>>,
    name: Arc<str>,
    cut: Cut,
    /// The line that was read last, counted from 1.
    line: u64,
    /// Lines that were read ahead.
    ahead: VecDeque<(u64, Vec<u8>)>,
}

impl Lines {
    pub(crate) fn new(input: TextInput) -> Self {
        let reader = BufReader::with_capacity(128 << 10, input.bytes);
        Self { reader, name: input.name, cut: input.cut, line: 0, ahead: VecDeque::new() }
    }

    /// Puts the next line that is not blank into `buffer`, and its number into
    /// the result; `None` at the end. A line beyond the limit is cut right
    /// behind it.
    pub(crate) fn next(&mut self, buffer: &mut Vec<u8>) -> Result<Option<u64>, ReadError> {
        match self.ahead.pop_front() {
            Some((line, bytes)) => {
                *buffer = bytes;
                Ok(Some(line))
            }
            None => self.read(buffer),
        }
    }

    /// Shows lines to `look` until it returns `false`, or the lines end, or
    /// take too much memory. All of them come again.
    pub(crate) fn look_ahead(&mut self, mut look: impl FnMut(&[u8]) -> bool) -> Result<(), ReadError> {
        const BYTES_MAX: usize = 64 << 20;
        let (mut buffer, mut bytes) = (Vec::new(), 0);
        while bytes < BYTES_MAX
            && let Some(line) = self.read(&mut buffer)?
        {
            bytes += buffer.len();
            let more = look(&buffer);
            self.ahead.push_back((line, buffer.clone()));
            if !more {
                break;
            }
        }
        Ok(())
    }

    fn read(&mut self, buffer: &mut Vec<u8>) -> Result<Option<u64>, ReadError> {
        loop {
            buffer.clear();
            let limit = LINE_BYTES_MAX as u64 + 1;
            let read = self.reader.by_ref().take(limit).read_until(b'\n', buffer);
            let ended = buffer.last() == Some(&b'\n');
            if !ended && self.cut.is_set() {
                return Ok(None);
            }
            read.map_err(|error| ReadError::of_io(&self.name, error))?;
            if buffer.is_empty() {
                return Ok(None);
            }
            self.line += 1;
            if !ended && buffer.len() > LINE_BYTES_MAX {
                self.reader.skip_until(b'\n').map_err(|error| ReadError::of_io(&self.name, error))?;
            }
            if !buffer.trim_ascii().is_empty() {
                return Ok(Some(self.line));
            }
        }
    }
}

/// The members of one object, as places in its line.
#[derive(Debug, Default)]
pub(crate) struct Members {
    names: String,
    spans: Vec<(Range<usize>, Range<usize>)>,
}

impl Members {
    /// Finds the members of the object that `line` consists of. Gives back the
    /// line as text.
    pub(crate) fn scan<'a>(&mut self, line: &'a [u8]) -> Result<&'a str, Reason> {
        self.names.clear();
        self.spans.clear();
        if line.len() > LINE_BYTES_MAX {
            return Err(Reason::TooLong);
        }
        // Without its end, or the parser takes what is missing for a second line.
        let line = std::str::from_utf8(line.trim_ascii_end()).map_err(|_| Reason::NotUtf8)?;
        let mut json = serde_json::Deserializer::from_str(line);
        let seed = Scan { members: self, start: line.as_ptr().addr() };
        seed.deserialize(&mut json).and_then(|()| json.end()).map_err(|error| not_json(line, &error))?;
        Ok(line)
    }

    /// The members in order: name, and token in `line`.
    pub(crate) fn iter<'a>(&'a self, line: &'a str) -> impl Iterator<Item = (&'a str, &'a str)> {
        self.spans.iter().map(move |(name, token)| (&self.names[name.clone()], &line[token.clone()]))
    }

    /// The token of the first member `name` in `line`.
    pub(crate) fn get<'a>(&'a self, line: &'a str, name: &str) -> Option<&'a str> {
        self.iter(line).find(|(n, _)| *n == name).map(|(_, token)| token)
    }

    /// Places each member's token in `cells`, at the column of its name.
    /// Members in `except` are left out, and those of `unknown` names if that
    /// says so.
    pub(crate) fn place<'a>(
        &'a self,
        line: &'a str,
        columns: &[String],
        except: Option<&str>,
        unknown: UnknownMembers,
        cells: &mut Vec<&'a str>,
    ) -> Result<(), Flaw> {
        cells.clear();
        cells.resize(columns.len(), "");
        let members = self.iter(line).filter(|(name, _)| Some(*name) != except);
        for (i, (name, token)) in members.enumerate() {
            // Members mostly stand in the order of the columns.
            let guess = columns.get(i).is_some_and(|column| column == name).then_some(i);
            let Some(column) = guess.or_else(|| columns.iter().position(|column| column == name)) else {
                match unknown {
                    UnknownMembers::Refuse => return Err(Flaw::cell(name, token, Reason::UnknownMember)),
                    UnknownMembers::Ignore => continue,
                }
            };
            if !cells[column].is_empty() {
                return Err(Flaw::cell(name, token, Reason::DuplicateMember));
            }
            if !is_sound_token(token) {
                return Err(Flaw::cell(name, token, Reason::NotUtf8));
            }
            cells[column] = token;
        }
        Ok(())
    }
}

/// What to do with members that no column stands for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum UnknownMembers {
    /// The record is bad: nothing is dropped without a word.
    Refuse,
    /// Nobody asked for them.
    Ignore,
}

fn not_json(line: &str, error: &serde_json::Error) -> Reason {
    if !line.trim_ascii_start().starts_with('{') && error.is_data() {
        return Reason::NotAnObject;
    }
    // The parser saw one line alone: its line number would mislead.
    let text = error.to_string();
    let what = text.rsplit_once(" at line ").map_or(text.as_str(), |(what, _)| what);
    Reason::NotJson(format!("{what} at byte {}", error.column()))
}

struct Scan<'m> {
    members: &'m mut Members,
    /// Where the line is in memory: tokens are borrowed from it.
    start: usize,
}

impl<'de> DeserializeSeed<'de> for Scan<'_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for Scan<'_> {
    type Value = ();

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        while let Some(name) = map.next_key_seed(Name(&mut self.members.names))? {
            let token = map.next_value::<&'de RawValue>()?.get();
            let at = token.as_ptr().addr() - self.start;
            self.members.spans.push((name, at..at + token.len()));
        }
        Ok(())
    }
}

/// Appends a member's name, and tells where it stands.
struct Name<'m>(&'m mut String);

impl<'de> DeserializeSeed<'de> for Name<'_> {
    type Value = Range<usize>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Range<usize>, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for Name<'_> {
    type Value = Range<usize>;

    fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("the name of a member")
    }

    fn visit_str<E>(self, name: &str) -> Result<Range<usize>, E> {
        let start = self.0.len();
        self.0.push_str(name);
        Ok(start..self.0.len())
    }
}

/// The members that the first lines have, in the order in which they are met.
#[derive(Debug, Default)]
pub(crate) struct Union {
    pub(crate) columns: Vec<String>,
}

impl Union {
    /// Lines that the columns are taken from.
    pub(crate) const LINES: usize = 1_024;

    pub(crate) fn add(&mut self, name: &str) {
        if !self.columns.iter().any(|column| column == name) {
            self.columns.push(name.to_owned());
        }
    }
}

/// Objects of a JSON Lines input.
pub(crate) struct JsonRows {
    /// The members of the first lines; none if there are no objects.
    pub(crate) columns: Vec<String>,
    lines: Lines,
    unknown: UnknownMembers,
    members: Members,
    buffer: Vec<u8>,
}

impl JsonRows {
    pub(crate) fn open(input: TextInput, unknown: UnknownMembers) -> Result<Self, ReadError> {
        let mut lines = Lines::new(input);
        let (mut members, mut union, mut seen) = (Members::default(), Union::default(), 0);
        lines.look_ahead(|line| {
            if let Ok(text) = members.scan(line) {
                members.iter(text).for_each(|(name, _)| union.add(name));
            }
            seen += 1;
            seen < Union::LINES
        })?;
        Ok(Self { columns: union.columns, lines, unknown, members, buffer: Vec::new() })
    }

    /// Adds columns that no line has yet; to be called before the first row.
    pub(crate) fn add_columns(&mut self, names: impl IntoIterator<Item = &'static str>) {
        self.columns.extend(names.into_iter().map(str::to_owned));
    }

    pub(crate) fn next(&mut self, row: &mut Row) -> Result<Next, ReadError> {
        let Some(line) = self.lines.next(&mut self.buffer)? else { return Ok(Next::End) };
        row.line = line;
        row.cells.clear();
        let mut cells = Vec::with_capacity(self.columns.len());
        let placed = self
            .members
            .scan(&self.buffer)
            .map_err(Flaw::record)
            .and_then(|text| self.members.place(text, &self.columns, None, self.unknown, &mut cells));
        match placed {
            Ok(()) => {
                cells.iter().for_each(|cell| row.cells.push_field(cell));
                Ok(Next::Row)
            }
            Err(flaw) => Ok(Next::Bad(Place::Line(line), flaw)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn scan(line: &str) -> Result<Vec<(String, String)>, Reason> {
        let mut members = Members::default();
        let text = members.scan(line.as_bytes())?;
        Ok(members.iter(text).map(|(name, token)| (name.to_owned(), token.to_owned())).collect())
    }

    #[test]
    fn tokens_are_kept_as_they_stand() {
        let members =
            scan(r#" {"a" : 1.70 , "bé\n": "x\ty" ,"c":{"d": [1, 2]},"e":null} "#).expect("an object");
        let pairs: Vec<_> = members.iter().map(|(n, t)| (n.as_str(), t.as_str())).collect();
        assert_eq!(pairs, [("a", "1.70"), ("bé\n", r#""x\ty""#), ("c", r#"{"d": [1, 2]}"#), ("e", "null")]);
    }

    #[test]
    fn what_is_no_object_is_refused() {
        assert_eq!(scan("[1]"), Err(Reason::NotAnObject));
        assert_eq!(scan("1"), Err(Reason::NotAnObject));
        for broken in ["{", "{\"a\":}", "{\"a\":1} x", "{a:1}", "{\"a\":\"\n\"}", "}", "{\"a\":1,}", "\u{0}"]
        {
            assert!(matches!(scan(broken), Err(Reason::NotJson(_))), "{broken}");
        }
        assert!(scan(&"[".repeat(100_000)).is_err());
        assert!(scan(&format!("{{\"a\":{}{}}}", "[".repeat(100_000), "]".repeat(100_000))).is_ok());
    }

    #[test]
    fn a_line_without_end_is_cut_and_the_next_one_read() {
        let bytes = [b"{\"a\":\"".as_slice(), &vec![b'x'; LINE_BYTES_MAX], b"\"}\n\n{\"a\":1}"].concat();
        let mut lines = Lines::new(crate::input::memory(bytes.as_slice()));
        let mut buffer = Vec::new();
        assert_eq!(lines.next(&mut buffer).expect("from memory"), Some(1));
        assert_eq!(Members::default().scan(&buffer), Err(Reason::TooLong));
        assert_eq!(lines.next(&mut buffer).expect("from memory"), Some(3));
        assert_eq!(buffer, b"{\"a\":1}");
    }
}
