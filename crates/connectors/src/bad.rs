//! What becomes of bad records.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use crate::error::{BadRecord, Flaw, Place, ReadError};

/// What to do with a record that is bad.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum OnBadRecord {
    /// Stop with an error that names it.
    #[default]
    Fail,
    /// Count it, keep the first few, and go on.
    Skip,
}

/// The bad records that were skipped: a handle, whose clones show the same.
#[derive(Clone, Debug, Default)]
pub struct BadRecords(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    count: AtomicU64,
    first: Mutex<Vec<BadRecord>>,
}

impl BadRecords {
    /// How many are kept to be named.
    pub const KEPT: usize = 5;

    /// How many have been skipped so far.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.0.count.load(Ordering::Relaxed)
    }

    /// The first few of them, in the order in which they were met.
    #[must_use]
    pub fn first(&self) -> Vec<BadRecord> {
        self.0.first.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    fn add(&self, bad: BadRecord) {
        self.0.count.fetch_add(1, Ordering::Relaxed);
        let mut first = self.0.first.lock().unwrap_or_else(PoisonError::into_inner);
        if first.len() < Self::KEPT {
            first.push(bad);
        }
    }
}

/// One input's dealings with its bad records.
#[derive(Debug)]
pub(crate) struct Refusals {
    pub(crate) source_name: Arc<str>,
    pub(crate) policy: OnBadRecord,
    pub(crate) records: BadRecords,
    /// Skipped since the last block was handed out.
    pending: u64,
}

impl Refusals {
    pub(crate) fn new(source_name: Arc<str>, policy: OnBadRecord, records: BadRecords) -> Self {
        Self { source_name, policy, records, pending: 0 }
    }

    /// Refuses a record: an error, or one more that was skipped.
    pub(crate) fn refuse(&mut self, place: Place, flaw: Flaw) -> Result<(), ReadError> {
        let bad = flaw.at(&self.source_name, place);
        match self.policy {
            OnBadRecord::Fail => Err(bad.into()),
            OnBadRecord::Skip => {
                self.records.add(bad);
                self.pending += 1;
                Ok(())
            }
        }
    }

    /// How many were skipped since this was last asked.
    pub(crate) fn take(&mut self) -> u64 {
        std::mem::take(&mut self.pending)
    }
}
