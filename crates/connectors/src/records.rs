//! Where records end.

use std::ops::Range;

use memchr::{memchr, memchr3};

use crate::encoding::Format;

/// Finds the records of a text that grows at its end; blank lines are none.
///
/// A CSV record ends with LF, CR or both, but not within quotes, which open at
/// the start of a field alone. Its range is without the end of the line, that
/// of a line of JSON with it.
#[derive(Clone, Debug)]
pub(crate) struct Scanner {
    kind: Kind,
    /// What was looked at.
    at: usize,
    /// Where the record starts that has not ended yet.
    record: usize,
}

#[derive(Clone, Copy, Debug)]
enum Kind {
    Csv(State),
    Lines,
}

#[derive(Clone, Copy, Debug)]
enum State {
    Between,
    Plain,
    Quoted,
    /// Behind a quote that ends the quoted part, unless another one follows.
    Closing,
}

impl Scanner {
    pub(crate) fn new(format: Format) -> Self {
        let kind = if format == Format::JsonLines { Kind::Lines } else { Kind::Csv(State::Between) };
        Self { kind, at: 0, record: 0 }
    }

    /// Whether line ends may be part of a record.
    pub(crate) fn has_quotes(&self) -> bool {
        matches!(self.kind, Kind::Csv(_))
    }

    /// Up to where the text was looked at: behind the end of the last record,
    /// if that is what [`Scanner::next`] has just given.
    pub(crate) fn at(&self) -> usize {
        self.at
    }

    /// Where the record starts that has not ended yet.
    pub(crate) fn record(&self) -> usize {
        self.record
    }

    /// Begins anew at the start of a record.
    pub(crate) fn restart(&mut self, at: usize) {
        (self.at, self.record) = (at, at);
        if let Kind::Csv(state) = &mut self.kind {
            *state = State::Between;
        }
    }

    /// Goes on at another place of the same record.
    pub(crate) fn resume(&mut self, at: usize) {
        self.at = at;
    }

    /// Notes that the text has lost bytes in front.
    pub(crate) fn move_back(&mut self, bytes: usize) {
        self.at -= bytes;
        self.record -= bytes;
    }

    /// The next record that has an end.
    pub(crate) fn next(&mut self, text: &[u8]) -> Option<Range<usize>> {
        match self.kind {
            Kind::Csv(mut state) => {
                let record = self.next_csv(&mut state, text);
                self.kind = Kind::Csv(state);
                record
            }
            Kind::Lines => self.next_line(text),
        }
    }

    fn next_line(&mut self, text: &[u8]) -> Option<Range<usize>> {
        loop {
            let Some(end) = memchr(b'\n', &text[self.at..]) else {
                self.at = text.len();
                return None;
            };
            let line = self.record..self.at + end + 1;
            (self.at, self.record) = (line.end, line.end);
            if !is_blank(&text[line.clone()]) {
                return Some(line);
            }
        }
    }

    fn next_csv(&mut self, state: &mut State, text: &[u8]) -> Option<Range<usize>> {
        while self.at < text.len() {
            let byte = text[self.at];
            match state {
                State::Between => {
                    self.record = self.at;
                    match byte {
                        b'\n' | b'\r' => {
                            self.at += 1;
                            self.record = self.at;
                        }
                        b'"' => {
                            self.at += 1;
                            *state = State::Quoted;
                        }
                        _ => *state = State::Plain,
                    }
                }
                State::Plain => {
                    let Some(found) = memchr3(b'\n', b'\r', b'"', &text[self.at..]) else { break };
                    let found = self.at + found;
                    self.at = found + 1;
                    if text[found] != b'"' {
                        *state = State::Between;
                        let start = std::mem::replace(&mut self.record, self.at);
                        return Some(start..found);
                    }
                    // Behind a quoted part a comma ends its field, too.
                    if text[found - 1] == b',' {
                        *state = State::Quoted;
                    }
                }
                State::Quoted => {
                    let Some(found) = memchr(b'"', &text[self.at..]) else { break };
                    self.at += found + 1;
                    *state = State::Closing;
                }
                State::Closing => {
                    *state = if byte == b'"' { State::Quoted } else { State::Plain };
                    self.at += usize::from(byte == b'"');
                }
            }
        }
        self.at = text.len();
        None
    }

    /// What is left at the end of the text, if it is a record.
    pub(crate) fn last(&mut self, text: &[u8]) -> Option<Range<usize>> {
        let record = self.record..text.len();
        self.restart(text.len());
        Some(record)
            .filter(|record| !is_blank(&text[record.clone()]) || self.has_quotes() && !record.is_empty())
    }
}

fn is_blank(line: &[u8]) -> bool {
    line.first().is_none_or(u8::is_ascii_whitespace) && line.trim_ascii().is_empty()
}
