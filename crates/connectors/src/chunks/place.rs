//! How far a text has been read, and going on there.

use std::sync::Arc;

use tradejoin_flow::InputPosition;

use super::{Chunks, End, Filled, TextHash, TextPlace};
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
    /// Of what lies before the place, of one in no file.
    pub(crate) hash: Option<TextHash>,
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
            Origin::Stream => {
                self.hash.iter().for_each(|hash| hash.stamp(&mut position));
                Ok(())
            }
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
        self.inflow.going_on.clone().or_else(|| self.whereabouts().position(self.before))
    }

    /// What the text is known again by, where it has been handed out to.
    pub(crate) fn whereabouts(&self) -> Whereabouts {
        let (origin, offset, hash) =
            (self.inflow.origin.clone(), self.inflow.offset, self.inflow.hash.clone());
        Whereabouts { name: Arc::clone(&self.name), origin, offset, hash }
    }

    /// Whether it is in no file: what is read of it may be long in coming.
    pub(crate) fn is_stream(&self) -> bool {
        matches!(self.inflow.origin, Origin::Stream)
    }

    /// Goes to where another reader of the same text has been, before a chunk but a header
    /// was handed out. What is packed or comes from a pipe is read up to there.
    ///
    /// # Errors
    /// If reading fails, or the text is another one.
    pub(crate) fn go_on_from(&mut self, position: &InputPosition) -> Result<(), ReadError> {
        while !self.go_on_towards(position)? {}
        Ok(())
    }

    /// The same, of what comes from a pipe for some of the way; `true` once it is there, or a
    /// stop has ended it before.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn go_on_towards(&mut self, position: &InputPosition) -> Result<bool, ReadError> {
        const STEP: u64 = 1 << 20;
        let &InputPosition { records, bytes, lines, .. } = position;
        if let Origin::Plain(file) | Origin::Made(file) = &self.inflow.origin {
            let compared = file.compare(position, Growth::Appended);
            let compared = compared.map_err(|error| ReadError::of_io(&self.name, error))?;
            compared.map_err(|unlike| self.unlike(unlike))?;
        }
        let name = self.name.to_string();
        self.inflow.going_on.get_or_insert_with(|| InputPosition { name, ..position.clone() });
        if bytes < self.before.bytes {
            return Err(self.unlike(Unlike::LastLine { line: lines + 1 }));
        }
        if bytes > self.before.bytes {
            // One that is before the place tells whether it is behind the end of a line.
            let last = bytes - 1;
            let head = position.head.map_or(0, |head| head.bytes);
            let step = match self.before.bytes {
                _ if !self.is_stream() => last,
                at if at < head => head.min(last),
                at => at.saturating_add(STEP).min(last),
            };
            if !self.skip_to(step)? {
                return Ok(true);
            }
            if step < last {
                return self.compare_text(position).map(|()| false);
            }
            if self.before.bytes > last {
                // The place is within a line that is too long.
                return Err(self.unlike(Unlike::LastLine { line: lines + 1 }));
            }
            let Some(byte) = self.take_byte()? else { return Ok(true) };
            self.compare_text(position)?;
            self.is_after_cr = self.format != Format::JsonLines && byte == b'\r';
            let is_within_line = !is_line_end(byte) && self.peek()?.is_some_and(|next| !is_line_end(next));
            self.before = TextPlace { records, bytes, lines };
            if is_within_line {
                return Err(self.unlike(Unlike::LastLine { line: self.line() }));
            }
            self.scanner.restart(self.start);
        } else {
            self.compare_text(position)?;
            self.before = TextPlace { records, bytes, lines };
        }
        self.inflow.going_on = None;
        Ok(true)
    }

    /// Reads on to the end, for a writer who may have other things to write.
    pub(crate) fn drain(&mut self) {
        while matches!(self.peek(), Ok(Some(_))) {
            self.start = self.filled;
        }
    }

    /// Compares what lies before the start of the buffer.
    fn compare_text(&self, position: &InputPosition) -> Result<(), ReadError> {
        let compared = self.inflow.hash.as_ref().map_or(Ok(()), |hash| hash.compare(position));
        compared.map_err(|unlike| self.unlike(unlike))
    }

    fn unlike(&self, unlike: Unlike) -> ReadError {
        ReadError::other_input(&self.name, unlike)
    }

    /// Puts the start of the buffer behind so many bytes of the text, or behind the line that is
    /// too long and goes on there; `false` if a stop has ended it before.
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
        while self.before.bytes < bytes {
            if self.drop_front(bytes - self.before.bytes) == 0 && self.peek()?.is_none() {
                return if self.cut.is_set() { Ok(false) } else { Err(self.unlike(Unlike::Ends)) };
            }
        }
        Ok(true)
    }

    /// Drops so many bytes of the text, if they are in the buffer, and tells how many.
    fn drop_front(&mut self, bytes: u64) -> u64 {
        let mut gone = 0;
        while gone < bytes {
            let front = self.inflow.dropped.pop_front_if(|(at, ..)| *at == self.start);
            if let Some((_, left_out, hash)) = front {
                gone += left_out;
                self.inflow.hash = hash;
                continue;
            }
            let end = self.inflow.dropped.front().map_or(self.filled, |(at, ..)| *at);
            let len = (end - self.start).min(usize::try_from(bytes - gone).unwrap_or(usize::MAX));
            if len == 0 {
                break;
            }
            self.inflow.hash = self.hash_to(self.start + len);
            self.start += len;
            gone += len as u64;
        }
        self.before.bytes += gone;
        gone
    }

    /// The next byte, which is then behind.
    fn take_byte(&mut self) -> Result<Option<u8>, ReadError> {
        let byte = self.peek()?;
        if byte.is_some() {
            self.inflow.hash = self.hash_to(self.start + 1);
            self.start += 1;
        }
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
