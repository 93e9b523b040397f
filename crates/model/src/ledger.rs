//! The account of a run: every trade that was read has exactly one outcome.

use serde::{Deserialize, Serialize};

use crate::error::LedgerError;
use crate::revised::CorrectionLedger;

/// What became of the trades that were read.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ledger {
    /// Trades read, refused ones included.
    pub rows_read: u64,
    /// Trades that found a row in every table.
    pub enriched: u64,
    /// Trades that missed in at least one table and were passed on all the
    /// same.
    pub unmatched_kept: u64,
    /// Trades that missed in at least one table and were dropped for it.
    pub unmatched_dropped: u64,
    /// Trades that missed in at least one table and were put aside for it.
    pub dead_lettered: u64,
    /// Trades that have waited for a key, or still do.
    pub hold: HoldLedger,
    /// Trades that were written again, beside the outcomes.
    pub corrections: CorrectionLedger,
    /// Records that were refused as bad and are no row of a table.
    pub rejected: u64,
    /// The account of each table.
    pub tables: Vec<TableLedger>,
}

/// What became of trades that were held. Where they ended is counted with all
/// other trades, too.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HoldLedger {
    /// Trades that began to wait.
    pub entered: u64,
    /// Those whose keys came in time.
    pub found: u64,
    /// Those that waited to their limit, or to the end of the input.
    pub expired: u64,
    /// Those that left before their limit, because others needed the room.
    pub early: u64,
}

impl HoldLedger {
    /// Trades that are waiting now.
    #[must_use]
    pub fn waiting(&self) -> u64 {
        self.entered.saturating_sub(self.found + self.expired + self.early)
    }
}

/// What became of the look-ups in one table, and of its changes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TableLedger {
    /// Look-ups that found a row.
    pub matched: u64,
    /// Look-ups that found none, a trade without a key included; also if the key
    /// came later and the trade waited for it.
    pub missed: u64,
    /// Rows that were there before the first trade.
    pub rows_loaded: u64,
    /// Rows among them whose key an earlier row had; the later one is in force.
    pub duplicates: u64,
    /// Look-ups among the missed by a trade that has no time, in a table that is
    /// looked up by time.
    pub untimed: u64,
    /// Rows and changes that a higher version had overtaken.
    pub stale: u64,
    /// Rows and changes with the version in force and other content.
    pub conflicts: u64,
    /// Rows and changes that were refused, since their time overlaps that of an
    /// earlier one.
    pub overlaps: u64,
    /// Changes in the stream, each counted once however many shards it went to.
    pub changes: u64,
    /// Rows that were refused as bad, loaded or in the stream.
    pub rejected: u64,
}

impl Ledger {
    /// The ledger of a run with so many tables, at its start.
    #[must_use]
    pub fn new(tables: usize) -> Self {
        Self { tables: vec![TableLedger::default(); tables], ..Self::default() }
    }

    /// Adds the account of more trades of the same run.
    pub fn add(&mut self, other: &Self) {
        self.rows_read += other.rows_read;
        self.enriched += other.enriched;
        self.unmatched_kept += other.unmatched_kept;
        self.unmatched_dropped += other.unmatched_dropped;
        self.dead_lettered += other.dead_lettered;
        self.hold.entered += other.hold.entered;
        self.hold.found += other.hold.found;
        self.hold.expired += other.hold.expired;
        self.hold.early += other.hold.early;
        self.corrections += other.corrections;
        self.rejected += other.rejected;
        for (table, other) in self.tables.iter_mut().zip(&other.tables) {
            table.matched += other.matched;
            table.missed += other.missed;
            table.rows_loaded += other.rows_loaded;
            table.duplicates += other.duplicates;
            table.untimed += other.untimed;
            table.stale += other.stale;
            table.conflicts += other.conflicts;
            table.overlaps += other.overlaps;
            table.changes += other.changes;
            table.rejected += other.rejected;
        }
    }

    /// Trades that missed in at least one table to the end.
    #[must_use]
    pub fn unmatched(&self) -> u64 {
        self.unmatched_kept + self.unmatched_dropped + self.dead_lettered
    }

    /// Trades passed on to the sink.
    #[must_use]
    pub fn rows_written(&self) -> u64 {
        self.enriched + self.unmatched_kept
    }

    /// Checks that what was read is the sum of the outcomes, in total and for
    /// each table.
    ///
    /// # Errors
    /// If it is not, which is a bug of the engine, naming both sides.
    pub fn check(&self) -> Result<(), LedgerError> {
        let HoldLedger { entered, found, expired, early } = self.hold;
        let outcomes = self.enriched + self.unmatched() + self.rejected + entered;
        let left = found + expired + early;
        // Where batches overtake each other, more may have left than have entered so
        // far: what waits is then less than nothing.
        if self.rows_read + left != outcomes {
            let outcomes = outcomes.saturating_sub(left);
            return Err(LedgerError::Total { rows_read: self.rows_read, outcomes });
        }
        for (table, ledger) in self.tables.iter().enumerate() {
            let joined = self.rows_read.saturating_sub(self.rejected);
            let looked_up = ledger.matched + ledger.missed;
            if joined != looked_up {
                return Err(LedgerError::Table { table, joined, looked_up });
            }
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ledger_that_does_not_add_up_says_which_side() {
        let mut ledger = Ledger::new(1);
        ledger.rows_read = 10;
        ledger.enriched = 7;
        ledger.unmatched_dropped = 2;
        ledger.rejected = 1;
        ledger.tables[0] = TableLedger { matched: 7, missed: 2, ..TableLedger::default() };
        assert_eq!(ledger.check(), Ok(()));
        ledger.tables[0].missed = 1;
        assert_eq!(ledger.check(), Err(LedgerError::Table { table: 0, joined: 9, looked_up: 8 }));
        ledger.enriched = 6;
        assert_eq!(ledger.check(), Err(LedgerError::Total { rows_read: 10, outcomes: 9 }));
    }

    #[test]
    fn a_trade_that_leaves_before_it_is_seen_to_enter_is_accounted_for() {
        // A batch that overtook the one in which its trades began to wait.
        let (mut late, mut early) = (Ledger::new(0), Ledger::new(0));
        (late.rows_read, late.hold.entered) = (2, 2);
        (early.enriched, early.hold.found) = (2, 2);
        assert_eq!(early.check(), Ok(()));
        early.add(&late);
        assert_eq!((early.check(), early.hold.waiting()), (Ok(()), 0));
        early.hold.expired = 1;
        assert_eq!(early.check(), Err(LedgerError::Total { rows_read: 2, outcomes: 1 }));
    }
}
