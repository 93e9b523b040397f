//! Lines that change rows of tables, from an input of their own.

use std::collections::VecDeque;
use std::sync::Arc;

use tradejoin_flow::{InputPosition, SourcePosition};
use tradejoin_model::{ChangeLane, Refused, TIMESTAMP};

use crate::bad::Refusals;
use crate::bad_letter::Raw;
use crate::change_rows::{ChangeRows, ChangeTable};
use crate::chunks::{Chunk, Chunks, Records, TextPlace, Whereabouts};
use crate::encoding::Format;
use crate::error::{OpenError, ReadError};
use crate::flaw::{Flaw, Place, Reason};
use crate::input::{Input, InputOptions, Origin};
use crate::json_rows::Members;
use crate::last_read::LastRead;
use crate::messages::TYPE;
use crate::parse::{self, json_text};
use crate::stored_file::Unlike;

/// The `type` of a line that changes nothing: it says that whatever follows takes effect no
/// earlier than its `timestamp`.
pub const WATERMARK: &str = "watermark";

/// What the latest time of changes is kept as.
pub(crate) const LATEST: &str = "latest change";

/// Which changes to read, and how.
#[derive(Clone, Debug)]
pub struct ChangesOptions {
    /// The tables of the run, in order.
    pub tables: Vec<ChangeTable>,
    /// Whether each change must have a `timestamp`.
    pub timed: bool,
    /// The type that may have been meant by one that is none, of those that there are.
    pub nearest: fn(&str, &[&str]) -> Option<String>,
}

/// An input of changes that is open, before it is known which there may be.
pub struct OpenChanges(Input, Option<LastRead>);

/// Opens a stream of lines with a member `type`: `instrument`, `user` or the name of any
/// other table, for an upsert of that row, or its removal with `"deleted":true`; or
/// [`WATERMARK`]. Waits for
/// no writer of a pipe, so that who writes changes and trades may open both before a line.
/// The format is JSON Lines; of the encoding, the compression counts.
///
/// # Errors
/// If the input cannot be opened.
pub fn open_changes(input: InputOptions) -> Result<OpenChanges, OpenError> {
    let places = input.last_read.clone();
    Ok(OpenChanges(Input::open(InputOptions { last_read: None, ..input })?, places))
}

impl OpenChanges {
    /// What reads them. Nothing is read before it is asked.
    ///
    /// # Errors
    /// If a column of a table can have no values in it.
    pub fn reader(self, options: ChangesOptions) -> Result<ChangesReader, OpenError> {
        let Self(input, places) = self;
        let ChangesOptions { tables, timed, nearest } = options;
        let (batch_len, refusals) = (input.options.batch_len.max(1), input.refusals());
        let rows = |table: &ChangeTable| ChangeRows::new(&input.name, table);
        let rows = tables.iter().map(rows).collect::<Result<_, _>>()?;
        let types = tables.iter().map(|table| table.message_type().to_owned()).collect();
        Ok(ChangesReader {
            refusals,
            input: Some(input),
            lines: None,
            going_on: None,
            is_refused: false,
            types,
            rows,
            timed,
            watermark: None,
            nearest,
            batch_len,
            places,
        })
    }
}

/// Changes of one input, in its order.
pub struct ChangesReader {
    refusals: Refusals,
    /// Before the first is read.
    input: Option<Input>,
    /// From then on.
    lines: Option<Chunks>,
    /// Where it goes on before the first is read.
    going_on: Option<InputPosition>,
    /// Whether it is not the input that it was to go on with.
    is_refused: bool,
    /// The `type` of each table's rows.
    types: Vec<String>,
    rows: Vec<ChangeRows>,
    timed: bool,
    /// The latest so far.
    watermark: Option<i64>,
    nearest: fn(&str, &[&str]) -> Option<String>,
    batch_len: usize,
    /// Whether the place of each change is noted, and where it shows up.
    places: Option<LastRead>,
}

/// One change of a block.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Change {
    /// Its table.
    pub(crate) table: usize,
    /// The number of its line among those of the block.
    pub(crate) line: usize,
    /// When it takes effect; without a meaning where changes have no times.
    pub(crate) time: i64,
    /// Where it stands, if anybody asks.
    pub(crate) place: Option<Place>,
}

/// A line that was refused.
#[derive(Debug)]
pub(crate) struct RefusedLine {
    /// How many changes of the block stand before it.
    pub(crate) behind: usize,
    /// The number of its line among those of the block.
    pub(crate) line: usize,
    /// When a change in its place would take effect at the earliest, but for those before it.
    pub(crate) time: i64,
    /// The table of which it was a row, if that is known.
    pub(crate) table: Option<usize>,
    pub(crate) record: Refused,
}

/// What a line was.
enum Taken {
    Change { table: usize, time: i64 },
    Watermark(i64),
}

/// Changes that were read together.
#[derive(Debug, Default)]
pub struct ChangeBlock {
    /// All of them, in their order.
    pub(crate) changes: Vec<Change>,
    /// The same by table.
    pub(crate) lanes: Vec<ChangeLane>,
    /// Lines that were refused, of all tables and none.
    pub(crate) refused: VecDeque<RefusedLine>,
    /// Before when nothing takes effect that follows, if a line has said so.
    pub(crate) watermark: Option<i64>,
    /// What reading has failed with behind them.
    pub(crate) failure: Option<ReadError>,
    /// Where they stand.
    pub(crate) text: Option<Box<ChangeText>>,
}

impl ChangeBlock {
    /// Whether it has nothing, and only tells that some of what was read before is read again.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.text.is_none() && self.failure.is_none()
    }
}

/// The lines of a block.
#[derive(Debug)]
pub(crate) struct ChangeText {
    whereabouts: Whereabouts,
    chunk: Chunk,
    /// The watermark that holds at their start.
    pub(crate) watermark: Option<i64>,
    /// Lines that were looked at and are not what reading has failed with.
    pub(crate) lines: usize,
}

impl ChangeText {
    /// The place behind so many lines; all of them if all are good.
    pub(crate) fn position(&self, lines: usize) -> Option<InputPosition> {
        let Self { chunk, whereabouts, .. } = self;
        if lines == chunk.records {
            return whereabouts.position(chunk.places[1]);
        }
        let place = if lines == 0 {
            chunk.places[0]
        } else {
            let mut records = Records::new(chunk, Format::JsonLines);
            for _ in 0..lines {
                records.next();
            }
            records.place_behind(chunk.places[0], lines)
        };
        let mut hash = chunk.hash.clone();
        // A part of the chunk, which has all bytes of the text up to there.
        let passed = (place.bytes - chunk.places[0].bytes) as usize;
        hash.iter_mut().for_each(|hash| hash.add(&chunk.bytes[..passed]));
        Whereabouts { hash, ..whereabouts.clone() }.position(place)
    }
}

impl ChangesReader {
    /// The next changes, as soon as there are some; `None` at the end. Reading that has
    /// failed is told behind the last of them, and is the end.
    #[must_use]
    pub fn read(&mut self) -> Option<ChangeBlock> {
        let failed = |error| Some(ChangeBlock { failure: Some(error), ..ChangeBlock::default() });
        if self.is_refused {
            // Who writes it may write trades, too, which must not wait for somebody to hear of it.
            self.lines.iter_mut().for_each(Chunks::drain);
            return None;
        }
        if let Some(position) = self.going_on.take() {
            match self.go_on_towards(&position) {
                Ok(true) => {}
                Ok(false) => {
                    self.going_on = Some(position);
                    return Some(ChangeBlock::default());
                }
                Err(error) => {
                    self.is_refused = true;
                    return failed(error);
                }
            }
        }
        match self.next_chunk() {
            Ok(chunk) => chunk.map(|chunk| self.decode(chunk)),
            Err(error) => failed(error),
        }
    }

    fn go_on_towards(&mut self, position: &InputPosition) -> Result<bool, ReadError> {
        self.open_lines()?;
        self.lines.as_mut().map_or(Ok(true), |lines| lines.go_on_towards(position))
    }

    fn open_lines(&mut self) -> Result<(), ReadError> {
        if let Some(input) = self.input.take() {
            // Unpacking looks at the first byte, which may be long in coming.
            self.lines = Some(Chunks::new(input.into_text()?, Format::JsonLines));
        }
        Ok(())
    }

    fn next_chunk(&mut self) -> Result<Option<Chunk>, ReadError> {
        self.open_lines()?;
        self.lines.as_mut().map_or(Ok(None), |lines| lines.next(self.batch_len))
    }

    /// How far it has been read; `None` if that cannot be told.
    #[must_use]
    pub fn start(&self) -> Option<InputPosition> {
        match (&self.going_on, &self.input) {
            (Some(position), _) => Some(position.clone()),
            (None, Some(input)) => {
                let (name, origin) = (self.name(), input.origin());
                let whereabouts = Whereabouts { name, origin, offset: 0, hash: None };
                whereabouts.position(TextPlace::default())
            }
            (None, None) => self.lines.as_ref()?.position(),
        }
    }

    /// Goes to where another reader of the same input has been, which is the second one of
    /// a source with changes; before the first change is read. What comes from a pipe is read
    /// up to there only when the first change is asked for, and whether it is the same is told
    /// then: whoever writes it may write trades, too, and those have to be read meanwhile.
    ///
    /// # Errors
    /// If reading fails, or the input is another one.
    pub fn go_on_from(&mut self, position: &SourcePosition) -> Result<(), ReadError> {
        let [_, input] = &position.inputs[..] else {
            return Err(ReadError::other_input(&self.refusals.source_name, Unlike::Kind));
        };
        self.watermark = position.state.get(LATEST).copied();
        if self.input.as_ref().is_some_and(|input| matches!(input.origin(), Origin::Stream)) {
            let name = self.name().to_string();
            self.going_on = Some(InputPosition { name, ..input.clone() });
            return Ok(());
        }
        self.open_lines()?;
        self.lines.as_mut().map_or(Ok(()), |lines| lines.go_on_from(input))
    }

    /// The name of the input.
    #[must_use]
    pub fn name(&self) -> Arc<str> {
        Arc::clone(&self.refusals.source_name)
    }

    /// Where the place of what was handed on last is to show up.
    pub(crate) fn places(&self) -> Option<LastRead> {
        self.places.clone()
    }

    fn decode(&mut self, chunk: Chunk) -> ChangeBlock {
        let (watermark, mut looked_at) = (self.watermark, 0);
        let mut refusals = self.refusals.of_next_block();
        let mut block = ChangeBlock::default();
        let mut members = Members::within(chunk.limits);
        let mut lines = Records::new(&chunk, Format::JsonLines);
        while let Some(line) = lines.next() {
            match self.take_line(&chunk.bytes[line.clone()], &mut members) {
                Ok(Taken::Watermark(time)) => self.watermark = self.watermark.max(Some(time)),
                Ok(Taken::Change { table, time }) => {
                    let time = self.watermark.map_or(time, |watermark| watermark.max(time));
                    let place = self.places.as_ref().map(|_| lines.place(&line));
                    block.changes.push(Change { table, line: looked_at, time, place });
                }
                Err((table, flaw)) => {
                    let raw = Raw::line(&chunk.bytes[line.clone()]);
                    let refused = refusals.refuse(lines.place(&line), flaw, 0, raw);
                    if let Err(error) = refused {
                        block.failure = Some(error);
                        break;
                    }
                    let (behind, time) = (block.changes.len(), self.watermark.unwrap_or(i64::MIN));
                    let lines = refusals.take().into_iter();
                    block.refused.extend(lines.map(|record| RefusedLine {
                        behind,
                        line: looked_at,
                        time,
                        table,
                        record,
                    }));
                }
            }
            looked_at += 1;
        }
        let whereabouts = self.lines.as_ref().map(Chunks::whereabouts);
        block.text = whereabouts
            .map(|whereabouts| ChangeText { whereabouts, chunk, watermark, lines: looked_at }.into());
        block.watermark = self.watermark;
        block.lanes = self.rows.iter_mut().map(ChangeRows::take).collect();
        block
    }

    /// Takes a line; or tells what is wrong with it, and in which table if it is a row of one.
    fn take_line(&mut self, line: &[u8], members: &mut Members) -> Result<Taken, (Option<usize>, Flaw)> {
        let text = members.scan(line).map_err(|reason| (None, Flaw::record(reason)))?;
        let ty = members.get(text, TYPE).and_then(json_text).unwrap_or_default();
        let sole = members.get_sole(text, TYPE);
        if ty == WATERMARK {
            sole.map_err(|flaw| (None, flaw))?;
            let time = if self.timed { time(members, text).map_err(|flaw| (None, flaw))? } else { i64::MIN };
            return Ok(Taken::Watermark(time));
        }
        let table = self.types.iter().position(|known| *known == ty);
        let table = table.ok_or_else(|| (None, self.unknown(&ty)))?;
        let of_table = |flaw| (Some(table), flaw);
        sole.map_err(of_table)?;
        let time = if self.timed { time(members, text).map_err(of_table)? } else { i64::MIN };
        self.rows[table].push(members, text).map_err(of_table)?;
        Ok(Taken::Change { table, time })
    }

    fn unknown(&self, ty: &str) -> Flaw {
        let known: Vec<_> = self.types.iter().map(String::as_str).collect();
        let near = (self.nearest)(ty, &[&known[..], &[WATERMARK]].concat())
            .map(|near| format!(": did you mean {near}?"));
        Flaw::cell(TYPE, ty, Reason::ChangeType(known.join(", ") + &near.unwrap_or_default()))
    }
}

/// When a change takes effect.
fn time(members: &Members, text: &str) -> Result<i64, Flaw> {
    let time = members.get_sole(text, TIMESTAMP)?.and_then(json_text).filter(|text| !text.is_empty());
    let time = time.ok_or_else(|| Flaw::empty(TIMESTAMP))?;
    parse::timestamp(&time).map_err(|reason| Flaw::cell(TIMESTAMP, &time, reason))
}
