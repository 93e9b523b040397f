//! Trades with the changes of an input beside them, merged by time or by arrival.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use arrow_array::RecordBatch;
use arrow_schema::Schema;
use tradejoin_flow::{Block, BoxError, Source, SourcePosition};
use tradejoin_model::{Keys, Messages};

use crate::change_feed::{AwaitedChanges, ChangeFeed, ChangesProgress};
use crate::error::ReadError;
use crate::journal::JournalEntry;
use crate::last_read::LastRead;
use crate::placed_changes::{Filled, Next, PlacedChanges};
use crate::replayed::TRADES;
use crate::table_changes::ChangesReader;
use crate::trade_feed::{Arrived, TradeFeed, of_trades};

mod current;

use current::{Current, HandedOn};

/// What the latest time of trades is kept as that have gone on without all changes.
const GONE: &str = "latest trade without changes";

/// Where a change gets its place among trades.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChangesBy {
    /// Before the first trade, in their order, whose time is at or after its own. The
    /// changes keep their order: a time that goes back counts as the latest before it.
    #[default]
    Timestamp,
    /// Before the first trades that are read after it.
    Arrival,
}

/// How trades and changes are merged.
#[derive(Clone, Debug)]
pub struct WithChangesOptions {
    /// By what.
    pub by: ChangesBy,
    /// The tables of the run, by their number.
    pub tables: usize,
    /// Changes of a block at most; at least 1.
    pub changes_max: usize,
    /// How long trades wait when no line of changes comes; `None` for ever.
    pub wait: Option<Duration>,
    /// Ends waiting quietly, as if the trades had ended, once it is set. Noticed within a
    /// tenth of a second.
    pub stop: Option<Arc<AtomicBool>>,
    /// Where counts show up, and what is waited for.
    pub progress: ChangesProgress,
    /// Whether [positions](Source::position) are asked for: a file is looked at for each.
    pub is_kept: bool,
}

/// Takes down what took effect where, in the order of the sequence.
pub type Note = Box<dyn FnMut(&[JournalEntry]) -> Result<(), BoxError> + Send>;

/// Is told what trades wait for, once.
pub type Warn = Box<dyn FnOnce(AwaitedChanges) + Send>;

/// A source whose blocks have changes among their trades.
///
/// By time each block is decoded as it is read, since only its trades tell where the
/// changes go; not any more once those have ended. What comes of it depends on the two inputs alone, unless trades gave up
/// waiting. At the end of the trades the rest of the changes takes effect behind the last
/// one, and at the end of the changes the trades go on.
pub struct WithChanges<S, F> {
    source: S,
    changes: PlacedChanges<F>,
    options: WithChangesOptions,
    /// By time, the block of trades that is being handed on.
    current: Option<Current>,
    /// By arrival, the block that is next.
    pending: Option<Block>,
    /// How far the trades before the block of either kind were read.
    behind: Option<SourcePosition>,
    /// What is read again and was handed on.
    again: HandedOn,
    have_trades_ended: bool,
    /// By arrival, whether more changes may be there than were taken.
    may_have_more: bool,
    /// Whether changes have been waited for in vain, and none has come since.
    is_behind: bool,
    /// Since when changes are waited for.
    waits_since: Option<Instant>,
    /// Whether a stop has ended the changes before their time.
    is_cut: bool,
    /// The latest time of trades that have gone on without all changes.
    gone: i64,
    /// Trades that were handed on.
    trades: u64,
    note: Option<Note>,
    /// Whom to tell after how long a wait for changes beyond a trade.
    warning: Option<(Duration, Warn)>,
    has_begun: bool,
    /// Where the place of what is handed on shows up, and the name of the changes.
    places: Option<(LastRead, Arc<str>)>,
}

/// What waiting for changes came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Waited {
    More,
    InVain,
    /// They are waited for on, and the run has something to do meanwhile.
    Late,
    Stopped,
}

impl<S: Source> WithChanges<S, ChangesReader> {
    /// Merges in one thread, which reads changes when it needs them. If both inputs are
    /// read a record at a time, the places of trades and changes show up where those of
    /// the trades did.
    pub fn in_turn(source: S, changes: ChangesReader, options: WithChangesOptions) -> Self {
        let places = changes.places().map(|places| (places, changes.name()));
        Self { places, ..Self::new(source, changes, options) }
    }
}

impl<S: TradeFeed, F: ChangeFeed> WithChanges<S, F> {
    /// The trades of `source` with the changes of `feed`.
    pub fn new(source: S, feed: F, options: WithChangesOptions) -> Self {
        Self {
            source,
            changes: PlacedChanges::new(feed, options.tables, options.progress.clone()),
            options,
            current: None,
            pending: None,
            behind: None,
            again: HandedOn::default(),
            have_trades_ended: false,
            may_have_more: false,
            is_behind: false,
            waits_since: None,
            is_cut: false,
            gone: i64::MIN,
            trades: 0,
            note: None,
            warning: None,
            has_begun: false,
            places: None,
        }
    }

    /// The same, which tells what took effect where; and once before, when the first block
    /// is asked for, nothing.
    #[must_use]
    pub fn with_note(mut self, note: Note) -> Self {
        self.changes.note();
        Self { note: Some(note), ..self }
    }

    /// The same, which tells, once, if trades wait for so long.
    #[must_use]
    pub fn with_warning(self, after: Duration, warn: Warn) -> Self {
        Self { warning: Some((after, warn)), ..self }
    }

    /// The next block of trades with changes by time.
    fn next_by_time(&mut self, until: Option<Instant>) -> Result<Option<Block>, BoxError> {
        if self.current.is_none()
            && self.changes.next() == Next::None
            && self.changes.is_empty()
            && !self.is_cut
            && self.again == HandedOn::default()
        {
            // Nothing is to be placed any more: any thread may decode.
            return if self.have_trades_ended { Ok(None) } else { self.trades(until) };
        }
        if self.current.is_none() && !self.have_trades_ended {
            self.note_position();
            match self.trades(until)? {
                Some(block) => {
                    let place = self.places.as_ref().and_then(|(places, _)| places.get());
                    self.current = Some(Current::new(block.decode()?, place, &mut self.again));
                }
                // What ends the run ends its inputs: the rest of the changes may belong behind
                // trades that have not come.
                None if self.is_stopped() => return Ok(None),
                None => self.end_of_trades(),
            }
        }
        let next = if self.have_trades_ended { self.rest(until)? } else { self.advance(until)? };
        Ok(next.map(Block::from))
    }

    /// Notes where the next block of trades begins.
    fn note_position(&mut self) {
        self.behind = if self.options.is_kept { self.source.position() } else { None };
    }

    /// The next block of trades, however long that takes.
    fn trades(&mut self, until: Option<Instant>) -> Result<Option<Block>, BoxError> {
        loop {
            match self.source.arrive(true, until)? {
                Arrived::Trades(block) => return Ok(Some(block)),
                Arrived::NotYet => {}
                Arrived::End => return Ok(None),
            }
        }
    }

    /// Trades of the current block that may go on, with the changes among them; `None` if
    /// the run is to stop.
    fn advance(&mut self, until: Option<Instant>) -> Result<Option<Messages>, BoxError> {
        loop {
            let Some(current) = &mut self.current else { return Ok(None) };
            if self.is_cut {
                let (row, has_ready) = (current.row, current.row > current.start);
                return if has_ready { self.hand_on(row).map(Some) } else { Ok(None) };
            }
            let next = self.changes.next();
            let found = match next {
                Next::None => None,
                Next::At(time) if time <= self.gone => Some(current.row),
                Next::At(time) | Next::NotBefore(time) => current.first_at(time),
            };
            let Some(row) = found else { return self.hand_on_all().map(Some) };
            current.row = row;
            let (start, has_ready) = (current.start, row > current.start);
            if let Next::At(time) = next {
                let trades_before = self.trades + (row - start) as u64;
                // A block has no more rows than 32 bits can count.
                self.changes.place((row - start) as u32, trades_before, time <= self.gone);
                if self.changes.len() >= self.options.changes_max.max(1) {
                    return self.hand_on(row).map(Some);
                }
                continue;
            }
            if self.changes.is_failing() && (has_ready || !self.changes.is_empty()) {
                return self.hand_on(row).map(Some);
            }
            if self.fill()? == Filled::More {
                continue;
            }
            if has_ready || !self.changes.is_empty() {
                // They need not wait with the others, and somebody may wait for them.
                return self.hand_on(row).map(Some);
            }
            let time = self.current.as_ref().and_then(|current| current.time(row));
            match self.wait(AwaitedChanges::Beyond(time.unwrap_or(i64::MIN)), until)? {
                Waited::More => {}
                Waited::Late => return self.hand_on(row).map(Some),
                Waited::Stopped => return Ok(None),
                Waited::InVain => {
                    let Some(current) = &self.current else { return Ok(None) };
                    self.gone = self.gone.max(current.latest_from(row));
                    return self.hand_on_all().map(Some);
                }
            }
        }
    }

    /// The next block of trades, or what has come of the changes before it: they are not
    /// kept while no trade comes, since one that is held may wait for them.
    fn next_by_arrival(&mut self, until: Option<Instant>) -> Result<Option<Block>, BoxError> {
        while self.pending.is_none() && !self.have_trades_ended {
            self.note_position();
            match self.source.arrive(!self.may_have_more, until)? {
                Arrived::Trades(block) => self.pending = Some(block),
                Arrived::NotYet => {}
                Arrived::End => {
                    self.end_of_trades();
                    break;
                }
            }
            self.drain()?;
            let is_late = self.pending.is_none() && until.is_some_and(|until| until <= Instant::now());
            if !self.changes.is_empty() || is_late {
                return self.alone().map(|messages| Some(messages.into()));
            }
        }
        let Some(block) = self.pending.take() else { return Ok(self.rest(until)?.map(Block::from)) };
        if self.note.is_none() {
            return Ok(Some(block));
        }
        let messages = block.decode()?;
        self.trades += messages.trades.num_rows() as u64;
        Ok(Some(messages.into()))
    }

    /// Takes the changes that have come, as many as a block may have.
    fn drain(&mut self) -> Result<(), BoxError> {
        self.may_have_more = true;
        while self.changes.len() < self.options.changes_max.max(1) {
            match self.changes.next() {
                Next::At(_) => self.changes.place(0, self.trades, false),
                Next::NotBefore(_) if self.changes.is_failing() && !self.changes.is_empty() => return Ok(()),
                Next::NotBefore(_) if self.fill()? == Filled::More => {}
                Next::NotBefore(_) | Next::None => {
                    self.may_have_more = false;
                    break;
                }
            }
        }
        Ok(())
    }

    fn end_of_trades(&mut self) {
        self.have_trades_ended = true;
        self.is_behind = false;
    }

    /// The changes behind the last trade, as they come.
    fn rest(&mut self, until: Option<Instant>) -> Result<Option<Messages>, BoxError> {
        loop {
            if self.changes.len() >= self.options.changes_max.max(1) {
                return self.alone().map(Some);
            }
            match self.changes.next() {
                Next::At(time) => self.changes.place(0, self.trades, self.is_late(time)),
                Next::None if self.changes.is_empty() => return Ok(None),
                Next::None => return self.alone().map(Some),
                Next::NotBefore(_) if self.changes.is_failing() && !self.changes.is_empty() => {
                    return self.alone().map(Some);
                }
                Next::NotBefore(_) if self.fill()? == Filled::More => {}
                // Somebody may wait for them.
                Next::NotBefore(_) if !self.changes.is_empty() => return self.alone().map(Some),
                Next::NotBefore(_) => match self.wait(AwaitedChanges::End, until)? {
                    Waited::More => {}
                    Waited::Late => return self.alone().map(Some),
                    Waited::InVain | Waited::Stopped => return Ok(None),
                },
            }
        }
    }

    fn is_late(&self, time: i64) -> bool {
        self.options.by == ChangesBy::Timestamp && time <= self.gone
    }

    /// Reads changes that are there.
    fn fill(&mut self) -> Result<Filled, ReadError> {
        let filled = self.changes.fill(Instant::now())?;
        self.is_behind &= filled == Filled::NotYet;
        self.waits_since = self.waits_since.filter(|_| filled != Filled::More);
        self.look_for_cut();
        Ok(filled)
    }

    /// Notes an end of the changes that is none: what ends the run ends their input, too.
    fn look_for_cut(&mut self) {
        self.is_cut = self.changes.next() == Next::None && self.is_stopped();
    }

    fn is_stopped(&self) -> bool {
        self.options.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed))
    }

    /// Waits for changes; not again before some have come, once that was in vain.
    fn wait(&mut self, awaited: AwaitedChanges, late: Option<Instant>) -> Result<Waited, ReadError> {
        const INTERVAL: Duration = Duration::from_millis(100);
        if self.is_behind {
            return Ok(Waited::InVain);
        }
        let start = *self.waits_since.get_or_insert_with(Instant::now);
        let until = self.options.wait.and_then(|wait| start.checked_add(wait));
        self.options.progress.set_awaited(Some(awaited));
        let waited = loop {
            if self.is_stopped() {
                break Waited::Stopped;
            }
            let now = Instant::now();
            if until.is_some_and(|until| until <= now) {
                self.is_behind = true;
                self.options.progress.give_up();
                break Waited::InVain;
            }
            if late.is_some_and(|late| late <= now) {
                break Waited::Late;
            }
            let is_long = |(after, _): &mut (Duration, Warn)| now - start >= *after;
            if awaited != AwaitedChanges::End
                && let Some((_, warn)) = self.warning.take_if(is_long)
            {
                warn(awaited);
            }
            let next_look = [until, late].into_iter().flatten().fold(now + INTERVAL, Instant::min);
            if self.changes.fill(next_look)? == Filled::More {
                self.look_for_cut();
                break Waited::More;
            }
        };
        if waited != Waited::Late {
            self.waits_since = None;
        }
        self.options.progress.set_awaited(None);
        Ok(waited)
    }

    fn hand_on_all(&mut self) -> Result<Messages, BoxError> {
        let rows = self.current.as_ref().map_or(0, Current::len);
        let messages = self.hand_on(rows);
        self.current = None;
        messages
    }

    /// The rows of the current block to before `end`, with the changes among them.
    fn hand_on(&mut self, end: usize) -> Result<Messages, BoxError> {
        let Some(current) = &mut self.current else { return self.alone() };
        let (start, trades) = (current.start, current.hand_on(end));
        let place = current.place.clone();
        self.trades += (end - start) as u64;
        let messages = self.with_changes(trades)?;
        if let Some((places, name)) = &self.places {
            let of_change = || Some((Arc::clone(name), self.changes.place?));
            if let Some((name, place)) = if end == start { of_change() } else { place } {
                places.set(&name, place);
            }
        }
        Ok(messages)
    }

    /// Changes without trades.
    fn alone(&mut self) -> Result<Messages, BoxError> {
        let trades = RecordBatch::new_empty(Arc::new(Schema::empty()));
        let tables = self.options.tables;
        let messages = Messages {
            trades,
            keys: vec![Keys::none(); tables],
            lanes: Arc::default(),
            times: None,
            rejected: 0,
            refused: Vec::new(),
            loading: false,
        };
        if let Some((places, name)) = &self.places
            && let Some(place) = self.changes.place
        {
            places.set(name, place);
        }
        self.with_changes(messages)
    }

    fn with_changes(&mut self, messages: Messages) -> Result<Messages, BoxError> {
        let lanes = self.changes.take().into();
        let mut refused = messages.refused;
        refused.extend(self.changes.take_refused());
        // Before one row trades come first: they stood behind the trade before it.
        refused.sort_by_key(|refused| refused.at_row);
        if let Some(note) = &mut self.note {
            note(&self.changes.take_noted())?;
        }
        Ok(Messages { lanes, refused, ..messages })
    }
}

impl<S: TradeFeed, F: ChangeFeed> Source for WithChanges<S, F> {
    fn next(&mut self) -> Result<Option<Block>, BoxError> {
        self.next_until(None)
    }

    fn next_until(&mut self, until: Option<Instant>) -> Result<Option<Block>, BoxError> {
        if !std::mem::replace(&mut self.has_begun, true)
            && let Some(note) = &mut self.note
        {
            note(&[])?;
        }
        match self.options.by {
            ChangesBy::Timestamp => self.next_by_time(until),
            ChangesBy::Arrival => self.next_by_arrival(until),
        }
    }

    /// That of the trades, and behind it that of the changes.
    fn position(&self) -> Option<SourcePosition> {
        let (of_trades, handed_on) = match &self.current {
            Some(current) => (self.behind.clone(), current.handed_on(self.again)),
            None if self.pending.is_some() => (self.behind.clone(), self.again),
            None => (self.source.position(), self.again),
        };
        let mut position = self.changes.add_position(of_trades?)?;
        // Not more than a file has records.
        position.state.insert(TRADES.to_owned(), self.trades as i64);
        handed_on.tell(&mut position.state);
        if self.gone > i64::MIN {
            position.state.insert(GONE.to_owned(), self.gone);
        }
        self.options.progress.tell(&mut position.state);
        Some(position)
    }

    /// Where an input is read on a thread of its own, it was told before.
    fn go_on_from(&mut self, position: &SourcePosition) -> Result<(), BoxError> {
        self.changes.go_on_from(position)?;
        self.trades = position.state.get(TRADES).map_or(0, |trades| trades.unsigned_abs());
        self.again = HandedOn::told(&position.state);
        self.gone = position.state.get(GONE).copied().unwrap_or(i64::MIN);
        self.options.progress.go_on_from(&position.state, self.gone > i64::MIN);
        self.source.go_on_from(&of_trades(position))
    }
}

#[cfg(test)]
mod tests;
