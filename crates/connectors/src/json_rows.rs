//! JSON Lines as rows of text: each cell is the token as it stands in the file.

use std::ops::Range;

use serde::de::{DeserializeSeed, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;

use crate::chunks::Chunks;
use crate::error::ReadError;
use crate::flaw::{Flaw, Reason};
use crate::json_plain;
use crate::limits::{Limits, TooMuch, depth};
use crate::parse::is_sound_token;

/// A line without its LF or CRLF.
pub(crate) fn without_end(line: &[u8]) -> &[u8] {
    let line = line.strip_suffix(b"\n").unwrap_or(line);
    line.strip_suffix(b"\r").unwrap_or(line)
}

/// The members of one object, as places in its line.
#[derive(Debug, Default)]
pub(crate) struct Members {
    names: String,
    spans: Vec<(Range<usize>, Range<usize>)>,
    limits: Limits,
}

impl Members {
    /// Of lines that are held to these limits.
    pub(crate) fn within(limits: Limits) -> Self {
        Self { limits, ..Self::default() }
    }

    /// Finds the members of the object that `line` consists of. Gives back the
    /// line as text.
    pub(crate) fn scan<'a>(&mut self, line: &'a [u8]) -> Result<&'a str, Reason> {
        self.names.clear();
        self.spans.clear();
        // As of a CSV record, its end is not counted.
        if without_end(line).len() > self.limits.line_bytes {
            return Err(Reason::TooLong { bytes_max: self.limits.line_bytes });
        }
        // Without its end, or the parser takes what is missing for a second line.
        let line = std::str::from_utf8(line.trim_ascii_end()).map_err(|_| Reason::NotUtf8)?;
        let Self { names, spans, limits } = self;
        let plain = json_plain::members(line, |name, token| {
            let start = names.len();
            names.push_str(&line[name]);
            spans.push((start..names.len(), token));
            (spans.len() <= limits.fields).then_some(())
        });
        if plain.is_some() { Ok(line) } else { self.parse(line) }
    }

    fn parse<'a>(&mut self, line: &'a str) -> Result<&'a str, Reason> {
        self.names.clear();
        self.spans.clear();
        let mut json = serde_json::Deserializer::from_str(line);
        let seed = Scan { members: self, start: line.as_ptr().addr() };
        let parsed = seed.deserialize(&mut json).and_then(|()| json.end());
        let Limits { fields, depth: deep, .. } = self.limits;
        if self.spans.len() > fields {
            return Err(Reason::TooManyFields { max: fields });
        }
        parsed.map_err(|error| not_json(line, &error))?;
        // The object of the line is the first level.
        if self.spans.iter().any(|(_, token)| depth(&line[token.clone()]) >= deep) {
            return Err(Reason::TooDeep { max: deep });
        }
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

    /// The token of the member `name` in `line`, if it has one.
    ///
    /// # Errors
    /// If it has another one.
    pub(crate) fn get_sole<'a>(&'a self, line: &'a str, name: &str) -> Result<Option<&'a str>, Flaw> {
        let mut tokens = self.iter(line).filter(|(n, _)| *n == name).map(|(_, token)| token);
        let first = tokens.next();
        match tokens.next() {
            Some(second) => Err(Flaw::cell(name, second, Reason::DuplicateMember)),
            None => Ok(first),
        }
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
            if self.members.spans.len() > self.members.limits.fields {
                return Err(serde::de::Error::custom("too many members"));
            }
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

    /// Whether there are not too many.
    pub(crate) fn is_within(&self, limits: Limits) -> bool {
        self.columns.len() <= limits.fields
    }

    /// # Errors
    /// If there are too many.
    pub(crate) fn into_columns(self, chunks: &Chunks) -> Result<Vec<String>, ReadError> {
        if self.is_within(chunks.limits()) {
            return Ok(self.columns);
        }
        Err(ReadError::too_much(chunks.name(), TooMuch::Columns(chunks.limits().fields)))
    }
}

/// The columns of the first lines; none if there are no objects.
pub(crate) fn columns(chunks: &mut Chunks) -> Result<Vec<String>, ReadError> {
    let (mut members, mut union, mut seen) = (Members::within(chunks.limits()), Union::default(), 0);
    let limits = chunks.limits();
    chunks.look_ahead(|line| {
        if let Ok(text) = members.scan(line) {
            members.iter(text).for_each(|(name, _)| union.add(name));
        }
        seen += 1;
        seen < Union::LINES && union.is_within(limits)
    })?;
    union.into_columns(chunks)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;
    use crate::chunks::Records;
    use crate::encoding::Format;
    use crate::flaw::Place;

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

    proptest! {
        #![proptest_config(ProptestConfig { max_shrink_iters: 1_000, ..ProptestConfig::with_cases(2_000) })]

        #[test]
        fn a_plain_object_is_what_the_parser_says(
            line in " ?[{] ?(\"[aé]{0,2}\" ?: ?(-?[0-9]{1,2}(.[0-9]{0,2})?(e[+-]?[0-9]?)?|\"[ax\\\\ ]{0,2}\"|null|true|[{]\"a\":1[}]|x) ?,? ?){0,3}[}]? ?",
        ) {
            let (mut plain, mut parsed) = (Members::default(), Members::default());
            let plain_text = plain.scan(line.as_bytes());
            prop_assert_eq!(&plain_text, &parsed.parse(line.trim_ascii_end()));
            if plain_text.is_ok() {
                prop_assert_eq!((plain.names, plain.spans), (parsed.names, parsed.spans));
            }
        }
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
    }

    #[test]
    fn what_lies_too_deep_or_has_too_many_members_is_refused() {
        let nested = |levels: usize| format!("{{\"a\":{}{}}}", "[".repeat(levels), "]".repeat(levels));
        assert!(scan(&nested(127)).is_ok());
        for levels in [128, 1_000_000] {
            assert_eq!(scan(&nested(levels)), Err(Reason::TooDeep { max: 128 }), "{levels}");
        }
        assert!(matches!(scan(&format!("{{\"a\":{}", "[".repeat(1_000_000))), Err(Reason::NotJson(_))));
        for first in ["", "\"x\":[],"] {
            let members = |len| {
                let members: Vec<_> = (0..len).map(|i| format!("\"{i}\":1")).collect();
                format!("{{{first}{}}}", members.join(","))
            };
            let first = usize::from(!first.is_empty());
            assert!(scan(&members(4_096 - first)).is_ok());
            let broken = members(5_000 - first).replace('}', "x");
            for line in [members(4_097 - first), broken] {
                assert_eq!(scan(&line), Err(Reason::TooManyFields { max: 4_096 }));
            }
        }
    }

    #[test]
    fn a_line_without_end_is_cut_and_the_next_one_read() {
        let bytes = [b"{\"a\":\"".as_slice(), &vec![b'x'; Limits::default().line_bytes], b"\"}\n\n{\"a\":1}"]
            .concat();
        let mut chunks = Chunks::new(crate::input::memory(bytes.as_slice()), Format::JsonLines);
        let mut lines = Vec::new();
        while let Some(chunk) = chunks.next(10).expect("from memory") {
            let mut records = Records::new(&chunk, Format::JsonLines);
            while let Some(line) = records.next() {
                let members = Members::default().scan(&chunk.bytes[line.clone()]).map(str::to_owned);
                lines.push((records.place(&line), members));
            }
        }
        let expected = [
            (Place::Line(1), Err(Reason::TooLong { bytes_max: 16 << 20 })),
            (Place::Line(3), Ok("{\"a\":1}".to_owned())),
        ];
        assert_eq!(lines, expected);
    }
}
