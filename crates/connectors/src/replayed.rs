//! Trades with the changes of a journal at their places.

use std::collections::VecDeque;
use std::sync::Arc;

use arrow_array::RecordBatch;
use arrow_schema::Schema;
use tradejoin_flow::{Block, BoxError, Source};
use tradejoin_model::{ChangeLane, Keys, Messages};

use crate::journal::{Journal, JournalEntry, JournalError};

/// A source whose blocks have the changes of a journal among their trades.
///
/// Blocks are decoded as they are read, one at a time: only then is it known how many
/// of their records are trades.
pub struct Replayed<S> {
    source: S,
    entries: VecDeque<JournalEntry>,
    /// Trades of the journal.
    expected: u64,
    trades: u64,
    /// Trades without a row, as the source has them.
    schema: Option<RecordBatch>,
    tables: usize,
}

impl<S: Source> Replayed<S> {
    /// The trades of `source` with the updates of `journal`, which is of so many tables.
    pub fn new(source: S, journal: Journal) -> Self {
        let Journal { tables, entries, trades } = journal;
        let tables = tables.len();
        Self { source, entries: entries.into(), expected: trades, trades: 0, schema: None, tables }
    }

    /// Puts the entries before a trade of this block to their rows.
    fn place(&mut self, messages: &mut Messages, end: u64) {
        let mut lanes = messages.lanes.to_vec();
        while let Some(entry) = self.entries.pop_front_if(|entry| entry.trades_before < end) {
            // A block has no more rows than 32 bits can count.
            let row = (entry.trades_before - self.trades) as u32;
            let lane = &mut lanes[entry.table];
            let all: Vec<_> = (0..entry.changes.len() as u32).collect();
            let before = lane.len();
            lane.append_rows(&entry.changes, &all);
            lane.at_rows[before..].fill(row);
        }
        messages.lanes = lanes.into();
    }
}

impl<S: Source> Source for Replayed<S> {
    fn next(&mut self) -> Result<Option<Block>, BoxError> {
        let Some(block) = self.source.next()? else {
            if self.trades != self.expected {
                let (expected, found) = (self.expected, self.trades);
                return Err(JournalError::OtherTrades { expected, found }.into());
            }
            if self.entries.is_empty() {
                return Ok(None);
            }
            let trades =
                self.schema.take().unwrap_or_else(|| RecordBatch::new_empty(Arc::new(Schema::empty())));
            let (keys, lanes) = (vec![Keys::none(); self.tables], vec![ChangeLane::default(); self.tables]);
            let mut messages = Messages::new(trades, keys, lanes)?;
            self.place(&mut messages, u64::MAX);
            return Ok(Some(messages.into()));
        };
        let mut messages = block.decode()?;
        let end = self.trades + messages.trades.num_rows() as u64;
        self.place(&mut messages, end);
        self.schema.get_or_insert_with(|| messages.trades.slice(0, 0));
        self.trades = end;
        Ok(Some(messages.into()))
    }
}
