//! How far a text has been read, and going on there.

use std::sync::Arc;

use tradejoin_flow::InputPosition;

use super::{Chunks, End, Filled, TextPlace};
use crate::encoding::Format;
use crate::error::ReadError;
use crate::input::Origin;
use crate::stored_file::{Growth, Unlike};

/// A text whose places become positions, on whichever thread.
#[derive(Clone, Debug)]
pub(crate) struct Whereabouts {
    pub(crate) name: Arc<str>,
    pub(crate) origin: Origin,
    /// The offset of the text in its file, of a plain one.
    pub(crate) offset: u64,
}

impl Whereabouts {
    /// The position of a place; `None` if the file cannot be looked at.
    pub(crate) fn position(&self, place: TextPlace) -> Option<InputPosition> {
        let TextPlace { records, bytes, lines } = place;
        let name = self.name.to_string();
        let mut position = InputPosition { name, records, bytes, lines, ..InputPosition::default() };
        match &self.origin {
            Origin::Plain(file) => file.stamp(&mut position, Some(self.offset + bytes)),
            Origin::Made(file) => file.stamp(&mut position, None),
            Origin::Stream => Ok(()),
        }
        .ok()?;
        Some(position)
    }
}

impl Chunks {
    /// Notes that what was handed out so far is a header, and no record.
    pub(crate) fn forget_records(&mut self) {
        self.before.records = 0;
    }

    /// Up to where it was handed out; `None` if the file cannot be looked at.
    pub(crate) fn position(&self) -> Option<InputPosition> {
        self.whereabouts().position(self.before)
    }

    /// What the text is known again by, wherever it has been read to.
    pub(crate) fn whereabouts(&self) -> Whereabouts {
        let (origin, offset) = (self.inflow.origin.clone(), self.inflow.offset);
        Whereabouts { name: Arc::clone(&self.name), origin, offset }
    }

    /// Goes to where another reader of the same text has been, before a chunk but a header
    /// was handed out. What is packed or comes from a pipe is read up to there.
    ///
    /// # Errors
    /// If reading fails, or the text is another one.
    pub(crate) fn go_on_from(&mut self, position: &InputPosition) -> Result<(), ReadError> {
        let &InputPosition { records, bytes, lines, .. } = position;
        if let Origin::Plain(file) | Origin::Made(file) = &self.inflow.origin {
            let compared = file.compare(position, Growth::Appended);
            let compared = compared.map_err(|error| ReadError::of_io(&self.name, error))?;
            compared.map_err(|unlike| self.unlike(unlike))?;
        }
        if bytes < self.before.bytes {
            return Err(self.unlike(Unlike::LastLine { line: lines + 1 }));
        }
        if bytes == self.before.bytes {
            self.before = TextPlace { records, bytes, lines };
            return Ok(());
        }
        let last = bytes - 1;
        // One that is before the place tells whether it is behind the end of a line.
        if !self.skip_to(last)? {
            return Ok(());
        }
        let Some(byte) = self.take_byte()? else { return Ok(()) };
        self.before = TextPlace { records, bytes, lines };
        self.is_after_cr = self.format != Format::JsonLines && byte == b'\r';
        if !is_line_end(byte) && self.peek()?.is_some_and(|next| !is_line_end(next)) {
            return Err(self.unlike(Unlike::LastLine { line: self.line() }));
        }
        self.scanner.restart(self.start);
        Ok(())
    }

    fn unlike(&self, unlike: Unlike) -> ReadError {
        ReadError::other_input(&self.name, unlike)
    }

    /// Puts the start of the buffer behind so many bytes of the text; `false` if a stop has
    /// ended it before.
    fn skip_to(&mut self, bytes: u64) -> Result<bool, ReadError> {
        if self.inflow.received == 0 {
            self.fill(None);
        }
        if let Origin::Plain(file) = &self.inflow.origin {
            let io = |error| ReadError::of_io(&self.name, error);
            let (before, is) = (self.inflow.offset + bytes + 1, file.len().map_err(io)?);
            if is < before {
                return Err(self.unlike(Unlike::Shorter { before, bytes: is }));
            }
            file.seek(self.inflow.offset + bytes).map_err(io)?;
            (self.start, self.filled, self.inflow.received) = (0, 0, bytes);
            self.inflow.dropped.clear();
            self.end = End::NotYet;
            return Ok(true);
        }
        let mut left = bytes - self.before.bytes;
        loop {
            left = left.saturating_sub(self.drop_front(left));
            if left == 0 {
                return Ok(true);
            }
            if self.peek()?.is_none() {
                return if self.cut.is_set() { Ok(false) } else { Err(self.unlike(Unlike::Ends)) };
            }
        }
    }

    /// Drops so many bytes of the text, if they are in the buffer, and tells how many.
    fn drop_front(&mut self, bytes: u64) -> u64 {
        let mut gone = 0;
        while gone < bytes {
            if let Some((_, left_out)) = self.inflow.dropped.pop_front_if(|(at, _)| *at == self.start) {
                gone += left_out;
                continue;
            }
            let end = self.inflow.dropped.front().map_or(self.filled, |(at, _)| *at);
            let len = (end - self.start).min(usize::try_from(bytes - gone).unwrap_or(usize::MAX));
            if len == 0 {
                break;
            }
            self.start += len;
            gone += len as u64;
        }
        gone
    }

    /// The next byte, which is then behind.
    fn take_byte(&mut self) -> Result<Option<u8>, ReadError> {
        let byte = self.peek()?;
        self.start += usize::from(byte.is_some());
        match byte {
            None if !self.cut.is_set() => Err(self.unlike(Unlike::Ends)),
            byte => Ok(byte),
        }
    }

    /// The next byte; `None` at the end.
    fn peek(&mut self) -> Result<Option<u8>, ReadError> {
        if self.start == self.filled {
            (self.start, self.filled) = (0, 0);
            self.inflow.dropped.clear();
            self.scanner.restart(0);
            if !matches!(self.end, End::NotYet) || self.read(0, None) != Filled::More {
                self.take_failure()?;
                return Ok(None);
            }
        }
        Ok(Some(self.buffer[self.start]))
    }
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}
