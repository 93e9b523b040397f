//! The journal of changes: what took effect behind how many trades.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tradejoin_connectors::{JournalEntry, JournalError, JournalWriter, Note};
use tradejoin_flow::{End, Prepared};

use crate::reload::WatchedTable;

/// A journal that is written where trades and changes are merged. Clones are the same.
#[derive(Clone)]
pub(crate) struct ChangesJournal(Arc<Mutex<State>>);

struct State {
    tables: Vec<WatchedTable>,
    /// `None` before it is created.
    writer: Option<JournalWriter>,
    has_begun: bool,
    /// The place of the last change that is in it.
    last: u64,
}

impl ChangesJournal {
    /// A journal of a run with these tables, which are yet to be loaded.
    pub(crate) fn new(tables: Vec<WatchedTable>) -> Self {
        Self(Arc::new(Mutex::new(State { tables, writer: None, has_begun: false, last: 0 })))
    }

    /// Creates its file.
    pub(crate) fn create(&self, path: &Path) -> Result<(), JournalError> {
        self.lock().writer = Some(JournalWriter::create(path)?);
        Ok(())
    }

    /// What takes down the changes that take effect.
    pub(super) fn note(&self) -> Note {
        let journal = self.clone();
        Box::new(move |entries| Ok(journal.lock().write(entries)?))
    }

    /// Ends the journal of a run of so many trades. One that was stopped before its
    /// tables were loaded, or that was given up with batches on their way, has no last line.
    pub(crate) fn end(&self, trades: u64, end: End) -> Result<Option<Box<dyn Prepared>>, JournalError> {
        let State { writer, has_begun, last, .. } = &mut *self.lock();
        let trades = Some(trades).filter(|&trades| *has_begun && *last <= trades);
        writer.take().map(|writer| writer.end(trades, end)).transpose()
    }

    /// Removes what there is of a journal that has not ended, whoever may still write to it.
    pub(crate) fn give_up(&self) {
        self.lock().writer = None;
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn write(&mut self, entries: &[JournalEntry]) -> Result<(), JournalError> {
        let Self { tables, writer, has_begun, last } = self;
        let Some(writer) = writer else { return Ok(()) };
        if !*has_begun {
            // All tables are loaded, and nothing has changed yet.
            writer.begin(tables.iter().map(WatchedTable::loaded).collect())?;
            *has_begun = true;
        }
        *last = entries.last().map_or(*last, |entry| entry.trades_before);
        writer.updates(entries)
    }
}
