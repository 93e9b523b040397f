//! The journal of changes: what took effect behind how many trades.

use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tradejoin_connectors::{JournalEntry, JournalError, JournalWriter, Note};

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

    /// Completes the journal of a run of so many trades. One that was stopped before its
    /// tables were loaded, or that was given up with batches on their way, has no end.
    pub(crate) fn end(&self, trades: u64) -> Result<(), JournalError> {
        let State { writer, has_begun, last, .. } = &mut *self.lock();
        match writer.take() {
            Some(writer) if *has_begun && *last <= trades => writer.end(trades),
            _ => Ok(()),
        }
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
