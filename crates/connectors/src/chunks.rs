//! Text cut into chunks of whole records, which any thread may decode.

use std::collections::VecDeque;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tradejoin_flow::InputPosition;

use crate::encoding::Format;
use crate::error::ReadError;
use crate::flaw::{Flaw, Place, Reason};
use crate::input::{Cut, Origin, Patience, TextInput};
use crate::last_read::LastRead;
use crate::limits::Limits;
use crate::records::Scanner;

/// Bytes that are asked for at a time.
const READ_LEN: usize = 128 << 10;

/// Whole records, one after the other. The last one may lack bytes, if it is too long.
#[derive(Debug, Default)]
pub(crate) struct Chunk {
    pub(crate) bytes: Vec<u8>,
    /// The physical line on which it starts, counted from 1.
    pub(crate) line: u64,
    /// How many records there are.
    pub(crate) records: usize,
    /// The places of its start and its end.
    pub(crate) places: [TextPlace; 2],
    /// What its records are held to.
    pub(crate) limits: Limits,
    /// Of the text before it, if it is in no file and kept.
    pub(crate) hash: Option<TextHash>,
}

/// Cuts a text input into [`Chunk`]s. Looks at no more of a record than it
/// takes to find its end: this is the part of reading that is serial.
pub(crate) struct Chunks {
    input: Box<dyn Read + Send>,
    name: Arc<str>,
    inflow: Box<Inflow>,
    cut: Cut,
    patience: Patience,
    linger: Duration,
    format: Format,
    last_read: Option<LastRead>,
    scanner: Scanner,
    /// What was read and not handed out is `start..filled`.
    buffer: Vec<u8>,
    start: usize,
    filled: usize,
    /// What lies before `start`.
    before: TextPlace,
    /// Whether the last byte of that is a CR, whose line an LF at `start` would end once more.
    is_after_cr: bool,
    end: End,
}

/// What has come of a text, whose place is to be told.
struct Inflow {
    origin: Origin,
    /// The offset of the text in its file, of a [plain](Origin::Plain) one.
    offset: u64,
    /// Bytes of the text that have come.
    received: u64,
    /// Where in the buffer bytes of a line that is too long were left out, how many, and the
    /// text up to behind them.
    dropped: VecDeque<(usize, u64, Option<TextHash>)>,
    /// Of what lies before the start of the buffer, if the text is in no file and kept.
    hash: Option<TextHash>,
    /// Where it is on the way to, or was when a stop ended it.
    going_on: Option<InputPosition>,
    /// How long the next chunk may be waited for.
    until: Option<Instant>,
    limits: Limits,
}

/// A place in a text: what lies before it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct TextPlace {
    pub(crate) records: u64,
    /// Without a byte order mark.
    pub(crate) bytes: u64,
    pub(crate) lines: u64,
}

enum End {
    NotYet,
    /// Reading has failed: told once what stands before has been handed out.
    Failed(ReadError),
    Reached,
}

/// What becomes of a record that is looked at while a chunk is cut.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Look {
    Take,
    /// It is the last of its chunk.
    TakeLast,
    /// The chunk ends before it.
    Leave,
}

/// What an attempt to read came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Filled {
    More,
    /// Nothing has come for so long that what is there is to be handed out.
    Late,
    End,
}

impl Chunks {
    pub(crate) fn new(input: TextInput, format: Format) -> Self {
        let TextInput { name, bytes, origin, is_kept, cut, patience, linger, last_read, limits } = input;
        let hash = (is_kept && matches!(origin, Origin::Stream)).then(TextHash::new);
        let (dropped, going_on) = (VecDeque::new(), None);
        Self {
            input: bytes,
            name,
            inflow: Box::new(Inflow {
                origin,
                offset: 0,
                received: 0,
                dropped,
                hash,
                going_on,
                until: None,
                limits,
            }),
            cut,
            patience,
            linger,
            format,
            last_read,
            scanner: Scanner::new(format),
            buffer: Vec::new(),
            start: 0,
            filled: 0,
            before: TextPlace::default(),
            is_after_cr: false,
            end: End::NotYet,
        }
    }

    /// At most `records_max` records, or `None` at the end. Fewer if they are
    /// long, or if a pipe has no more for the moment.
    ///
    /// # Errors
    /// If reading fails, or a CSV record does not end within the limit.
    pub(crate) fn next(&mut self, records_max: usize) -> Result<Option<Chunk>, ReadError> {
        self.next_while(records_max, |_| Look::Take)
    }

    /// As [`Chunks::next`], of records that `look` is shown first. `None` also if it
    /// leaves the very first one, which then comes again.
    ///
    /// # Errors
    /// As there.
    pub(crate) fn next_while(
        &mut self,
        records_max: usize,
        mut look: impl FnMut(&[u8]) -> Look,
    ) -> Result<Option<Chunk>, ReadError> {
        let (mut records, mut end, mut lingers) = (0, self.start, None);
        let until = self.inflow.until.take();
        let is_room = |chunks: &Self, end: usize| {
            // Blank lines may be all that comes.
            end.max(chunks.scanner.record()) - chunks.start < chunks.inflow.limits.block_bytes
        };
        while records < records_max && (records == 0 || is_room(self, end)) {
            if let Some(record) = self.scan() {
                if self.is_beyond(&record) {
                    self.fail_beyond(record.start);
                    break;
                }
                match look(&self.buffer[record.clone()]) {
                    Look::Leave => {
                        self.scanner.restart(record.start);
                        break;
                    }
                    taken => {
                        records += 1;
                        end = self.scanner.at();
                        // Places before bytes that are left out can be told, those behind them not.
                        if taken == Look::TakeLast || self.lacks_bytes_before(end) {
                            break;
                        }
                    }
                }
                continue;
            }
            let deadline = if records == 0 {
                end = self.pass_blank();
                until
            } else {
                lingers = lingers.or_else(|| Some(Instant::now() + self.linger));
                lingers
            };
            let filled = self.fill(deadline);
            if filled == Filled::Late && records == 0 {
                return Ok(Some(self.nothing()));
            }
            if filled != Filled::More {
                match self.last() {
                    Some(record) if self.is_beyond(&record) => self.fail_beyond(record.start),
                    Some(record) => match look(&self.buffer[record.clone()]) {
                        Look::Leave => self.scanner.restart(record.start),
                        Look::Take | Look::TakeLast => (records, end) = (records + 1, self.filled),
                    },
                    None => {}
                }
                break;
            }
        }
        if records > 0 {
            return Ok(Some(self.hand_out(end, records)));
        }
        // What was not asked for is not told.
        if records_max > 0 { self.take_failure().map(|()| None) } else { Ok(None) }
    }

    /// Has the next chunk be one without records if none has come by then.
    pub(crate) fn wait_until(&mut self, until: Option<Instant>) {
        self.inflow.until = until;
    }

    fn nothing(&self) -> Chunk {
        let (line, places, limits) = (self.line(), [self.before; 2], self.inflow.limits);
        let hash = self.inflow.hash.clone();
        Chunk { bytes: Vec::new(), line, records: 0, places, limits, hash }
    }

    /// What its records are held to.
    pub(crate) fn limits(&self) -> Limits {
        self.inflow.limits
    }

    /// The name of the input.
    pub(crate) fn name(&self) -> &Arc<str> {
        &self.name
    }

    /// Whether the input was ended by the stop flag.
    pub(crate) fn is_cut(&self) -> bool {
        self.cut.is_set()
    }

    fn take_failure(&mut self) -> Result<(), ReadError> {
        match std::mem::replace(&mut self.end, End::Reached) {
            End::Failed(error) => Err(error),
            end => {
                self.end = end;
                Ok(())
            }
        }
    }

    /// Shows records to `look` until it returns `false`, or they end, or take
    /// too much memory. All of them come again.
    ///
    /// # Errors
    /// If reading fails before that.
    pub(crate) fn look_ahead(&mut self, mut look: impl FnMut(&[u8]) -> bool) -> Result<(), ReadError> {
        const BYTES_MAX: usize = 64 << 20;
        loop {
            let record = match self.scan() {
                Some(record) => record,
                None if self.filled - self.start >= BYTES_MAX => break,
                None if self.fill(None) == Filled::More => continue,
                None => match self.last() {
                    Some(record) => record,
                    None => break,
                },
            };
            if !look(&self.buffer[record]) {
                break;
            }
        }
        self.scanner.restart(self.start);
        self.take_failure()
    }

    /// Whether a line before a place was too long.
    fn lacks_bytes_before(&self, end: usize) -> bool {
        self.inflow.dropped.front().is_some_and(|(at, ..)| *at <= end)
    }

    fn scan(&mut self) -> Option<Range<usize>> {
        self.scanner.next(&self.buffer[..self.filled])
    }

    /// The record that the end of the input ends. One that was cut short by a
    /// stop would pass for a whole one, and what stands before an error may.
    fn last(&mut self) -> Option<Range<usize>> {
        let whole = matches!(self.end, End::Reached) && !self.cut.is_set();
        if whole { self.scanner.last(&self.buffer[..self.filled]) } else { None }
    }

    /// Whether no more can be said of a record than that it is too long. Lines
    /// are told apart all the same, and refused one by one.
    fn is_beyond(&self, record: &Range<usize>) -> bool {
        self.scanner.has_quotes() && record.len() > self.inflow.limits.line_bytes
    }

    /// Ends where a record starts: neither it nor what stands behind it comes.
    fn fail_beyond(&mut self, record: usize) {
        let place = Place::Line(self.line() + self.count_lines(record));
        let flaw = Flaw::record(Reason::OpenQuote { bytes_max: self.inflow.limits.line_bytes });
        self.end = End::Failed(flaw.at(&self.name, place).into());
        self.filled = record;
        self.scanner.restart(record);
    }

    /// Reads more, and takes care that no record fills the memory.
    fn fill(&mut self, deadline: Option<Instant>) -> Filled {
        if !matches!(self.end, End::NotYet) {
            return Filled::End;
        }
        let filled = self.read(self.filled, deadline);
        let record = self.scanner.record();
        // The last byte of a line may be the CR of its end, which is not counted.
        let end = usize::from(!self.scanner.has_quotes());
        if filled == Filled::More && self.scanner.at() - record > self.inflow.limits.line_bytes + end {
            if self.scanner.has_quotes() {
                self.fail_beyond(record);
                return Filled::End;
            }
            self.drop_line(record);
        }
        filled
    }

    /// Reads behind the first `len` bytes, of which the buffer then consists.
    fn read(&mut self, len: usize, deadline: Option<Instant>) -> Filled {
        if self.buffer.len() < len + READ_LEN {
            self.buffer.resize(len + READ_LEN, 0);
        }
        self.patience.set(deadline);
        let room = &mut self.buffer[len..len + READ_LEN];
        let read = loop {
            match self.input.read(room) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                read => break read,
            }
        };
        match read {
            Ok(0) => self.end = End::Reached,
            Ok(more) => {
                if self.inflow.received == 0
                    && let Origin::Plain(file) = &self.inflow.origin
                {
                    // A mark in front is behind, and what was given in its place is there.
                    self.inflow.offset = file.offset().map_or(0, |offset| offset.saturating_sub(more as u64));
                }
                self.inflow.received += more as u64;
                self.filled = len + more;
                return Filled::More;
            }
            Err(error) if deadline.is_some() && error.kind() == io::ErrorKind::WouldBlock => {
                return Filled::Late;
            }
            // What follows from a stop, such as half a frame, is no error.
            Err(_) if self.cut.is_set() => self.end = End::Reached,
            Err(error) => self.end = End::Failed(ReadError::of_io(&self.name, error)),
        }
        Filled::End
    }

    /// Keeps of a line that is too long as much as shows that it is, and its
    /// end.
    fn drop_line(&mut self, record: usize) {
        let kept = record + self.inflow.limits.line_bytes + 2;
        let mut from = kept;
        let mut dropped = 0;
        let mut hash = self.hash_to(kept);
        loop {
            let end = memchr::memchr(b'\n', &self.buffer[from..self.filled]);
            let left_out = from..end.map_or(self.filled, |end| from + end);
            hash.iter_mut().for_each(|hash| hash.add(&self.buffer[left_out.clone()]));
            if let Some(end) = end {
                self.buffer.copy_within(from + end..self.filled, kept);
                self.filled -= from + end - kept;
                dropped += (from + end - kept) as u64;
                break;
            }
            dropped += (self.filled - kept) as u64;
            self.filled = kept;
            if self.read(kept, None) != Filled::More {
                break;
            }
            from = kept;
        }
        self.inflow.dropped.push_back((kept, dropped, hash));
        self.scanner.resume(kept);
    }

    /// Everything up to `end` as a chunk.
    fn hand_out(&mut self, end: usize, records: usize) -> Chunk {
        let (len, rest) = (end - self.start, self.filled - end);
        let (line, start) = (self.line(), self.before);
        let behind = self.hash_to(end);
        let hash = std::mem::replace(&mut self.inflow.hash, behind);
        self.pass_lines(end);
        self.before.records += records as u64;
        self.before.bytes += len as u64;
        while let Some((_, bytes, _)) = self.inflow.dropped.pop_front_if(|(at, ..)| *at <= end) {
            self.before.bytes += bytes;
        }
        let bytes = if self.start == 0 && rest <= len {
            let mut next = Vec::with_capacity(len + 2 * READ_LEN);
            next.extend_from_slice(&self.buffer[end..self.filled]);
            let mut bytes = std::mem::replace(&mut self.buffer, next);
            bytes.truncate(end);
            self.move_back(end);
            bytes
        } else {
            // A look ahead has left more behind than is to be copied each time.
            let bytes = self.buffer[self.start..end].to_vec();
            self.start = end;
            if end >= rest {
                self.buffer.copy_within(end..self.filled, 0);
                self.move_back(end);
            }
            bytes
        };
        let (places, limits) = ([start, self.before], self.inflow.limits);
        let chunk = Chunk { bytes, line, records, places, limits, hash };
        if let Some(last_read) = &self.last_read {
            let mut records = Records::new(&chunk, self.format);
            let first = records.next().unwrap_or_default();
            last_read.set(&self.name, records.place(&first));
        }
        chunk
    }

    /// Lets go of blank lines before the first record, where they are many, and gives where
    /// the buffer begins.
    fn pass_blank(&mut self) -> usize {
        let blank = self.scanner.record();
        if blank - self.start >= READ_LEN {
            self.pass_lines(blank);
            self.inflow.hash = self.hash_to(blank);
            self.before.bytes += (blank - self.start) as u64;
            self.buffer.copy_within(blank..self.filled, 0);
            self.move_back(blank);
        }
        self.start
    }

    /// Notes that the first bytes of the buffer are gone.
    fn move_back(&mut self, bytes: usize) {
        self.scanner.move_back(bytes);
        self.filled -= bytes;
        self.start = 0;
        self.inflow.dropped.iter_mut().for_each(|(at, ..)| *at -= bytes);
    }

    /// The line on which `start` lies, counted from 1: an LF belongs to the line of its CR.
    fn line(&self) -> u64 {
        self.before.lines + 1 - u64::from(self.is_within_end())
    }

    /// Whether a line ends with a CR before `start` and the LF there.
    fn is_within_end(&self) -> bool {
        self.is_after_cr && self.buffer[self.start..self.filled].first() == Some(&b'\n')
    }

    /// Lines between that on which `start` lies and that of another place.
    fn count_lines(&self, end: usize) -> u64 {
        count_lines(&self.buffer[self.start..end], self.format)
    }

    /// Counts the lines up to `end`, where the text goes on.
    fn pass_lines(&mut self, end: usize) {
        self.before.lines = self.line() + self.count_lines(end) - 1;
        self.is_after_cr = self.format != Format::JsonLines && self.buffer[..end].last() == Some(&b'\r');
    }
}

mod hashed;
mod of_chunk;
mod place;
use hashed::TextHash;
pub(crate) use of_chunk::Records;
use of_chunk::count_lines;
pub(crate) use place::Whereabouts;
#[cfg(test)]
mod tests;
