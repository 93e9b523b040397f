//! Changes on the way from their blocks to the places that they get among trades.

use std::time::Instant;

use tradejoin_flow::SourcePosition;
use tradejoin_model::{ChangeLane, Refused, Turns};

use crate::change_feed::{ChangeFeed, ChangesProgress, Fed};
use crate::error::ReadError;
use crate::flaw::Place;
use crate::journal::JournalEntry;
use crate::table_changes::{Change, ChangeBlock, LATEST, RefusedLine};

/// What is known of the next change, or of the next line that was refused: it takes its
/// place behind the change before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Next {
    /// When it takes effect: no earlier than any before it.
    At(i64),
    /// That it takes effect no earlier than then: it was not read.
    NotBefore(i64),
    /// That there is none.
    None,
}

/// What an attempt to read came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Filled {
    /// Something is known that was not.
    More,
    NotYet,
}

/// The changes of a feed, each in its turn, and those that have a place in the block of
/// trades that is being made.
pub(crate) struct PlacedChanges<F> {
    feed: F,
    progress: ChangesProgress,
    block: ChangeBlock,
    /// The next change of the block.
    at: usize,
    /// The latest time so far: one that goes back counts as it.
    reached: i64,
    /// How many lines of the block stand before the next one that gets a place.
    lines_placed: usize,
    has_ended: bool,
    failure: Option<ReadError>,
    /// By table, what has a place.
    lanes: Vec<ChangeLane>,
    placed: usize,
    /// The refused lines that have one.
    refused: Vec<Refused>,
    /// Which of them takes effect when before its row.
    turns: Turns,
    /// By table, changes of the block that go to the lanes: how many have gone or are among
    /// them, and the row and the turn of each that is.
    moving: Vec<(u32, Vec<(u32, u32)>)>,
    /// What a journal is to have, if there is one: runs of changes of a table.
    noted: Option<Vec<JournalEntry>>,
    runs: Vec<Run>,
    /// Where the last change stood that got a place.
    pub(crate) place: Option<Place>,
}

/// Changes of one table that follow each other at one place.
struct Run {
    trades_before: u64,
    table: usize,
    first: u32,
    len: u32,
}

impl<F: ChangeFeed> PlacedChanges<F> {
    pub(crate) fn new(feed: F, tables: usize, progress: ChangesProgress) -> Self {
        Self {
            feed,
            progress,
            block: ChangeBlock::default(),
            at: 0,
            reached: i64::MIN,
            lines_placed: 0,
            has_ended: false,
            failure: None,
            lanes: vec![ChangeLane::default(); tables],
            placed: 0,
            refused: Vec::new(),
            turns: Turns::default(),
            moving: vec![(0, Vec::new()); tables],
            noted: None,
            runs: Vec::new(),
            place: None,
        }
    }

    /// Keeps what a journal is to have.
    pub(crate) fn note(&mut self) {
        self.noted = Some(Vec::new());
    }

    /// Changes, and lines that were refused, that have a place.
    pub(crate) fn len(&self) -> usize {
        self.placed + self.refused.len()
    }

    /// Whether there is nothing to tell: none of them.
    pub(crate) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// What is known of the next change.
    pub(crate) fn next(&self) -> Next {
        if let Some(line) = self.block.refused.front().filter(|line| line.behind <= self.at) {
            return Next::At(line.time.max(self.reached));
        }
        match self.block.changes.get(self.at) {
            Some(change) => Next::At(change.time.max(self.reached)),
            None if self.has_ended => Next::None,
            None => Next::NotBefore(self.block.watermark.map_or(self.reached, |time| time.max(self.reached))),
        }
    }

    /// Reads on, where the next change was not read.
    ///
    /// # Errors
    /// If reading has failed behind the last change.
    pub(crate) fn fill(&mut self, until: Instant) -> Result<Filled, ReadError> {
        if let Some(error) = self.failure.take() {
            self.has_ended = true;
            return Err(error);
        }
        match self.feed.next(until) {
            Fed::NotYet => return Ok(Filled::NotYet),
            Fed::End => self.has_ended = true,
            Fed::Block(block) => {
                (self.block, self.at, self.lines_placed) = (block, 0, 0);
                self.failure = self.block.failure.take();
                self.moving.iter_mut().for_each(|(taken, _)| *taken = 0);
            }
        }
        Ok(Filled::More)
    }

    /// Adds to a position that of the changes that were taken; `None` if it cannot be told,
    /// or if some have a place and were not taken.
    pub(crate) fn add_position(&self, mut position: SourcePosition) -> Option<SourcePosition> {
        if !self.is_empty() {
            return None;
        }
        let mut latest = self.reached;
        let input = match &self.block.text {
            None if self.failure.is_some() => return None,
            None => self.feed.start()?,
            Some(text) => {
                let is_taken = self.at == self.block.changes.len() && self.block.refused.is_empty();
                let watermark = if is_taken { self.block.watermark } else { text.watermark };
                latest = watermark.map_or(latest, |watermark| watermark.max(latest));
                text.position(if is_taken { text.lines } else { self.lines_placed })?
            }
        };
        if latest > i64::MIN {
            position.state.insert(LATEST.to_owned(), latest);
        }
        position.inputs.push(input);
        Some(position)
    }

    /// Goes to where others have been.
    pub(crate) fn go_on_from(&mut self, position: &SourcePosition) -> Result<(), ReadError> {
        self.reached = position.state.get(LATEST).copied().unwrap_or(i64::MIN);
        self.feed.go_on_from(position)
    }

    /// Whether reading has failed behind the changes that there are.
    pub(crate) fn is_failing(&self) -> bool {
        self.failure.is_some()
    }

    /// Gives the next change its place: before a row, behind so many trades in all.
    pub(crate) fn place(&mut self, row: u32, trades_before: u64, is_late: bool) {
        let at = self.at;
        if let Some(line) = self.block.refused.pop_front_if(|line| line.behind <= at) {
            return self.place_refused(line, row);
        }
        let Change { table, line, time, place } = self.block.changes[self.at];
        (self.at, self.lines_placed) = (at + 1, line + 1);
        self.reached = self.reached.max(time);
        let (taken, rows) = &mut self.moving[table];
        if self.noted.is_some() {
            match self.runs.last_mut() {
                Some(run) if (run.table, run.trades_before) == (table, trades_before) => run.len += 1,
                _ => self.runs.push(Run { trades_before, table, first: *taken, len: 1 }),
            }
        }
        rows.push((row, self.turns.next(row, table)));
        *taken += 1;
        self.placed += 1;
        self.place = place;
        self.progress.add(1, is_late);
        if self.at == self.block.changes.len() {
            self.collect();
        }
    }

    fn place_refused(&mut self, line: RefusedLine, row: u32) {
        let RefusedLine { line, time, table, record, .. } = line;
        self.lines_placed = line + 1;
        self.reached = self.reached.max(time);
        self.progress.add_refused(1);
        table.into_iter().for_each(|table| self.lanes[table].rejected += 1);
        self.refused.push(Refused { at_row: row, ..record });
    }

    /// The refused lines that have a place.
    pub(crate) fn take_refused(&mut self) -> Vec<Refused> {
        std::mem::take(&mut self.refused)
    }

    /// The changes that have a place, by table; begins anew.
    pub(crate) fn take(&mut self) -> Vec<ChangeLane> {
        self.collect();
        (self.placed, self.turns) = (0, Turns::default());
        let empty = vec![ChangeLane::default(); self.lanes.len()];
        std::mem::replace(&mut self.lanes, empty)
    }

    /// What a journal is to have of them, in the order of their input.
    pub(crate) fn take_noted(&mut self) -> Vec<JournalEntry> {
        self.noted.as_mut().map(std::mem::take).unwrap_or_default()
    }

    /// Copies changes of the block to the lanes.
    fn collect(&mut self) {
        for run in self.runs.drain(..) {
            let all: Vec<_> = (run.first..run.first + run.len).collect();
            let mut changes = ChangeLane::default();
            changes.append_rows(&self.block.lanes[run.table], &all);
            let entry = JournalEntry { trades_before: run.trades_before, table: run.table, changes };
            if let Some(noted) = &mut self.noted {
                noted.push(entry);
            }
        }
        for (table, (taken, rows)) in
            self.moving.iter_mut().enumerate().filter(|(_, (_, rows))| !rows.is_empty())
        {
            // A block has no more changes than 32 bits can count.
            let all: Vec<_> = (*taken - rows.len() as u32..*taken).collect();
            let lane = &mut self.lanes[table];
            let before = lane.len();
            lane.append_rows(&self.block.lanes[table], &all);
            for (change, (row, turn)) in (before..).zip(rows.drain(..)) {
                lane.at_rows[change] = row;
                if turn > 0 {
                    lane.turns.resize(change, 0);
                    lane.turns.push(turn);
                }
            }
        }
    }
}
