//! CSV as rows of text.

use std::io::{self, Read};
use std::sync::Arc;

use csv::{ByteRecord, Reader, ReaderBuilder, StringRecord};

use crate::LINE_BYTES_MAX;
use crate::error::{Flaw, Place, ReadError, Reason};
use crate::input::{Cut, TextInput};
use crate::text_rows::{Next, Row};

/// Records of a CSV input with a header.
pub(crate) struct CsvRows {
    pub(crate) columns: Vec<String>,
    reader: Reader<Watched>,
    name: Arc<str>,
    cut: Cut,
    bytes: ByteRecord,
    /// Where the last record starts.
    last_line: u64,
}

impl CsvRows {
    pub(crate) fn open(input: TextInput) -> Result<Self, ReadError> {
        let watched = Watched { bytes: input.bytes, ..Watched::default() };
        let reader = ReaderBuilder::new()
            .has_headers(false)
            .flexible(true)
            .buffer_capacity(128 << 10)
            .from_reader(watched);
        let (name, cut) = (input.name, input.cut);
        let bytes = ByteRecord::new();
        let mut rows = Self { columns: Vec::new(), reader, name, cut, bytes, last_line: 0 };
        if rows.read()? {
            rows.last_line = rows.line();
            rows.columns = rows.header()?;
        }
        Ok(rows)
    }

    /// The names in the record that was read first.
    fn header(&mut self) -> Result<Vec<String>, ReadError> {
        match StringRecord::from_byte_record(std::mem::take(&mut self.bytes)) {
            Ok(header) => Ok(header.iter().map(str::to_owned).collect()),
            Err(error) => {
                let field = error.utf8_error().field();
                let bytes = error.into_byte_record();
                let value = String::from_utf8_lossy(bytes.get(field).unwrap_or_default()).into_owned();
                let flaw = Flaw { column: None, value: Some(value), reason: Reason::NotUtf8 };
                Err(flaw.at(&self.name, Place::Line(1)).into())
            }
        }
    }

    pub(crate) fn next(&mut self, row: &mut Row) -> Result<Next, ReadError> {
        self.bytes = std::mem::take(&mut row.cells).into_byte_record();
        if !self.read()? {
            return Ok(Next::End);
        }
        row.line = self.line();
        self.last_line = row.line;
        let (found, expected) = (self.bytes.len(), self.columns.len());
        if found != expected {
            let flaw = Flaw::record(Reason::FieldCount { found, expected });
            return Ok(Next::Bad(row.place(), flaw));
        }
        match StringRecord::from_byte_record(std::mem::take(&mut self.bytes)) {
            Ok(cells) => {
                row.cells = cells;
                Ok(Next::Row)
            }
            Err(error) => {
                let field = error.utf8_error().field();
                let bytes = error.into_byte_record();
                let value = String::from_utf8_lossy(bytes.get(field).unwrap_or_default()).into_owned();
                Ok(Next::Bad(row.place(), Flaw::cell(&self.columns[field], &value, Reason::NotUtf8)))
            }
        }
    }

    /// Reads the next record into `bytes`; `false` at the end.
    fn read(&mut self) -> Result<bool, ReadError> {
        self.reader.get_mut().since_record = 0;
        let read = self.reader.read_byte_record(&mut self.bytes);
        let at_end = self.reader.get_ref().at_end;
        match read {
            // A record that was cut short would pass for a whole one.
            Ok(_) | Err(_) if at_end && self.cut.is_set() => Ok(false),
            Ok(more) => Ok(more),
            Err(error) => match error.into_kind() {
                csv::ErrorKind::Io(_) if self.reader.get_ref().is_beyond() => {
                    let place = Place::Line(self.last_line + 1);
                    Err(Flaw::record(Reason::OpenQuote).at(&self.name, place).into())
                }
                csv::ErrorKind::Io(error) => Err(ReadError::of_io(&self.name, error)),
                other => Err(ReadError::corrupt(&self.name, format!("{other:?}"))),
            },
        }
    }

    /// The line on which the record in `bytes` starts.
    ///
    /// The reader counts the line ends that it has passed. Whether that of this
    /// record is among them depends on how the line ended (the second half of
    /// `\r\n` is left for the next record), and blank lines in front are passed
    /// with it; so this counts back from the end.
    fn line(&self) -> u64 {
        let end = self.reader.position();
        let ended = self.reader.get_ref().byte_before(end.byte()) == Some(b'\n');
        let inside = self.bytes.as_slice().iter().filter(|&&byte| byte == b'\n').count();
        end.line().saturating_sub(u64::from(ended) + inside as u64).max(1)
    }
}

/// The bytes below the CSV reader, which asks for more only when it has used up
/// what it was given.
struct Watched {
    bytes: Box<dyn Read + Send>,
    /// What was given last, and how much was given before it.
    chunk: Vec<u8>,
    chunk_offset: u64,
    before: Option<u8>,
    /// Given since the record began.
    since_record: usize,
    at_end: bool,
}

impl Default for Watched {
    fn default() -> Self {
        Self {
            bytes: Box::new(io::empty()),
            chunk: Vec::new(),
            chunk_offset: 0,
            before: None,
            since_record: 0,
            at_end: false,
        }
    }
}

impl Watched {
    /// Whether the record is longer than one may be.
    fn is_beyond(&self) -> bool {
        self.since_record > LINE_BYTES_MAX
    }

    /// The byte in front of `offset`, which lies in the last chunk or at its
    /// start.
    fn byte_before(&self, offset: u64) -> Option<u8> {
        let at = usize::try_from(offset.checked_sub(self.chunk_offset)?).ok()?;
        if at == 0 { self.before } else { self.chunk.get(at - 1).copied() }
    }
}

impl Read for Watched {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        if self.is_beyond() {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let len = self.bytes.read(buffer).inspect_err(|_| self.at_end = true)?;
        self.before = self.chunk.last().copied().or(self.before);
        self.chunk_offset += self.chunk.len() as u64;
        self.chunk.clear();
        self.chunk.extend_from_slice(&buffer[..len]);
        self.since_record += len;
        self.at_end |= len == 0 && !buffer.is_empty();
        Ok(len)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lines(text: &str) -> Vec<u64> {
        let input = crate::input::memory(text.as_bytes());
        let mut rows = CsvRows::open(input).expect("a header");
        let (mut row, mut lines) = (Row::default(), Vec::new());
        loop {
            match rows.next(&mut row).expect("from memory") {
                Next::Row => lines.push(row.line),
                Next::Bad(Place::Line(line), _) => lines.push(line),
                Next::Bad(..) => unreachable!("text has lines"),
                Next::End => return lines,
            }
        }
    }

    #[test]
    fn lines_are_physical_whatever_ends_them() {
        for end in ["\n", "\r\n"] {
            let text = ["a,b", "1,2", "", "", "\"x", "y\",2", "3", "4,5", ""].join(end);
            assert_eq!(lines(&text), [2, 5, 7, 8], "{end:?}");
            assert_eq!(lines(text.trim_end()), [2, 5, 7, 8], "{end:?}");
        }
        let long = format!("a,b\n{}", "1,2\n".repeat(100_000));
        assert_eq!(lines(&long), (2..100_002).collect::<Vec<_>>());
        assert_eq!(lines(&long.replace('\n', "\r\n")), (2..100_002).collect::<Vec<_>>());
    }

    #[test]
    fn an_open_quote_does_not_swallow_the_file() {
        let bytes = io::Read::chain(&b"a\n\"x"[..], io::repeat(b'y'));
        let mut rows = CsvRows::open(crate::input::memory(bytes)).expect("a header");
        let error = rows.next(&mut Row::default()).err().expect("no end");
        assert_eq!(error.category(), crate::Category::Data);
    }
}
