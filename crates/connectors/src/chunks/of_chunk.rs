//! The records of a chunk, and their lines.

use std::ops::Range;

use memchr::memchr_iter;

use super::{Chunk, TextPlace};
use crate::encoding::Format;
use crate::flaw::Place;
use crate::records::Scanner;

/// How many ends of lines there are: LF, and in CSV CRLF and CR, too.
pub(super) fn count_lines(bytes: &[u8], format: Format) -> u64 {
    let feeds = memchr_iter(b'\n', bytes).count();
    if format == Format::JsonLines {
        return feeds as u64;
    }
    let is_alone = |at: &usize| bytes.get(at + 1) != Some(&b'\n');
    (feeds + memchr_iter(b'\r', bytes).filter(is_alone).count()) as u64
}

/// The records of a chunk, each with its line if that is asked for.
pub(crate) struct Records<'c> {
    bytes: &'c [u8],
    format: Format,
    scanner: Scanner,
    /// A place, and the line on which it lies.
    counted: (usize, u64),
}

impl<'c> Records<'c> {
    pub(crate) fn new(chunk: &'c Chunk, format: Format) -> Self {
        Self { bytes: &chunk.bytes, format, scanner: Scanner::new(format), counted: (0, chunk.line) }
    }

    /// Where the next record is.
    pub(crate) fn next(&mut self) -> Option<Range<usize>> {
        self.scanner.next(self.bytes).or_else(|| self.scanner.last(self.bytes))
    }

    /// The place behind the record that came last, which is not the last of a chunk that starts
    /// there.
    pub(crate) fn place_behind(&self, start: TextPlace, records: usize) -> TextPlace {
        let at = self.scanner.at();
        let lines = start.lines + count_lines(&self.bytes[..at], self.format);
        TextPlace { records: start.records + records as u64, bytes: start.bytes + at as u64, lines }
    }

    /// The line on which a record starts; asked for in their order.
    pub(crate) fn place(&mut self, record: &Range<usize>) -> Place {
        let (from, line) = self.counted;
        let line = line + count_lines(&self.bytes[from..record.start], self.format);
        self.counted = (record.start, line);
        Place::Line(line)
    }
}
