//! A journal in the making.

use std::collections::BTreeMap;
use std::path::Path;

use tradejoin_connectors::{JournalEntry, JournalError, JournalWriter, LoadedTable};
use tradejoin_engine::{InEffect, Update};
use tradejoin_flow::{End, Prepared};

/// Writes what took effect, in the order of the sequence.
pub(crate) struct Journaling {
    writer: JournalWriter,
    has_begun: bool,
    /// Updates that are not in the journal, and where those stand of which it is known.
    offered: BTreeMap<u64, Update>,
    places: BTreeMap<u64, u64>,
    /// The place of the last one that is in the journal.
    last: u64,
}

impl Journaling {
    pub(super) fn create(path: &Path) -> Result<Self, JournalError> {
        let writer = JournalWriter::create(path)?;
        Ok(Self { writer, has_begun: false, offered: BTreeMap::new(), places: BTreeMap::new(), last: 0 })
    }

    /// Ends the journal of a run of so many trades. One that was stopped before its
    /// tables were loaded, or that was given up with batches on their way, has no last line.
    pub(crate) fn end(self, trades: u64, end: End) -> Result<Box<dyn Prepared>, JournalError> {
        let trades = Some(trades).filter(|&trades| self.has_begun && self.last <= trades);
        self.writer.end(trades, end)
    }

    /// An update has been offered under this number.
    pub(super) fn offered(&mut self, number: u64, update: Update) {
        self.offered.insert(number, update);
    }

    /// Writes what has taken effect, in the order of the sequence. When it is called first
    /// `tables` are loaded, and nothing has changed yet.
    pub(super) fn write(
        &mut self,
        tables: impl Iterator<Item = LoadedTable>,
        in_effect: &[InEffect],
    ) -> Result<(), JournalError> {
        if !self.has_begun {
            self.writer.begin(tables.collect())?;
            self.has_begun = true;
        }
        self.places.extend(in_effect.iter().map(|update| (update.update, update.trades_before)));
        while let Some(offered) = self.offered.first_entry()
            && let Some(trades_before) = self.places.remove(offered.key())
        {
            self.last = trades_before;
            let entry = |(table, changes)| JournalEntry { trades_before, table, changes };
            self.writer.updates(&offered.remove().into_iter().map(entry).collect::<Vec<_>>())?;
        }
        Ok(())
    }
}
