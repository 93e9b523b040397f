//! What becomes of bad records.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tradejoin_model::Refused;

use crate::bad_letter::{LetterTime, Raw, letter};
use crate::error::ReadError;
use crate::flaw::{BadRecord, Flaw, Place, Reason};

/// What to do with a record that is bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnBadRecord {
    /// Stop with an error that names it.
    #[default]
    Fail,
    /// Count it, keep the first few, and go on.
    Skip,
    /// The same, and what is to be told of it goes with the trades and changes that were
    /// read with it.
    DeadLetter(LetterTime),
}

/// The bad records that were skipped or put aside: a handle, whose clones show the same.
#[derive(Clone, Debug, Default)]
pub struct BadRecords(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    count: AtomicU64,
    overlaps: AtomicU64,
    tickets: AtomicU64,
    /// Sorted by ticket.
    first: Mutex<Vec<(Ticket, BadRecord)>>,
}

/// A place in the order in which the inputs were read. What one thread refuses
/// under a ticket it refuses in order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct Ticket(u64);

impl BadRecords {
    /// How many are kept to be named.
    pub const KEPT: usize = 5;

    /// How many there have been so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.count.load(Ordering::Relaxed)
    }

    /// How many of them are rows of a table that overlap another one of their key.
    #[must_use]
    pub fn overlaps(&self) -> u64 {
        self.0.overlaps.load(Ordering::Relaxed)
    }

    /// The first few of them, in the order in which they were read.
    #[must_use]
    pub fn first(&self) -> Vec<BadRecord> {
        let first = self.0.first.lock().unwrap_or_else(PoisonError::into_inner);
        first.iter().map(|(_, bad)| bad.clone()).collect()
    }

    fn ticket(&self) -> Ticket {
        Ticket(self.0.tickets.fetch_add(1, Ordering::Relaxed))
    }

    /// Blocks are decoded in any order: an earlier one takes the place of a
    /// later.
    fn add(&self, ticket: Ticket, bad: BadRecord) {
        self.0.count.fetch_add(1, Ordering::Relaxed);
        self.0.overlaps.fetch_add(u64::from(matches!(bad.reason, Reason::Overlap(_))), Ordering::Relaxed);
        let mut first = self.0.first.lock().unwrap_or_else(PoisonError::into_inner);
        let at = first.partition_point(|(other, _)| *other <= ticket);
        if at < Self::KEPT {
            first.insert(at, (ticket, bad));
            first.truncate(Self::KEPT);
        }
    }
}

/// One input's dealings with its bad records.
#[derive(Debug)]
pub(crate) struct Refusals {
    pub(crate) source_name: Arc<str>,
    pub(crate) policy: OnBadRecord,
    pub(crate) records: BadRecords,
    /// That of the block, if these are the dealings with one.
    ticket: Option<Ticket>,
    /// Since the last block was handed out.
    pending: Vec<Refused>,
}

impl Refusals {
    pub(crate) fn new(source_name: Arc<str>, policy: OnBadRecord, records: BadRecords) -> Self {
        Self { source_name, policy, records, ticket: None, pending: Vec::new() }
    }

    /// The dealings with the next block of the input, on whichever thread.
    pub(crate) fn of_next_block(&self) -> Self {
        let (source_name, records) = (Arc::clone(&self.source_name), self.records.clone());
        let ticket = Some(records.ticket());
        Self { source_name, ticket, records, policy: self.policy, pending: Vec::new() }
    }

    /// The same of an input by another name.
    pub(crate) fn named(&self, source_name: Arc<str>) -> Self {
        Self { source_name, ..self.of_next_block() }
    }

    /// Refuses a record that stands behind so many trades of its block: an error, or one more
    /// that was skipped.
    pub(crate) fn refuse(
        &mut self,
        place: Place,
        flaw: Flaw,
        trades: usize,
        raw: Raw<'_>,
    ) -> Result<(), ReadError> {
        let bad = flaw.at(&self.source_name, place);
        let letter = match self.policy {
            OnBadRecord::Fail => return Err(bad.into()),
            OnBadRecord::Skip => Box::default(),
            OnBadRecord::DeadLetter(time) => letter(&bad, raw, time),
        };
        let (Place::Line(place) | Place::Row(place)) = place;
        // A block has no more rows than 32 bits can count.
        let (at_row, source) = (trades as u32, Arc::clone(&self.source_name));
        self.pending.push(Refused { at_row, source, place, letter });
        self.records.add(self.ticket.unwrap_or_else(|| self.records.ticket()), bad);
        Ok(())
    }

    /// How many have been refused since they were last taken.
    pub(crate) fn len(&self) -> usize {
        self.pending.len()
    }

    /// Those that have been refused since this was last asked.
    pub(crate) fn take(&mut self) -> Vec<Refused> {
        std::mem::take(&mut self.pending)
    }
}
