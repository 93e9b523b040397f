//! Trades with the changes of a journal at their places.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Instant;

use arrow_array::RecordBatch;
use arrow_schema::Schema;
use tradejoin_flow::{Block, BoxError, InputPosition, Source, SourcePosition};
use tradejoin_model::{ChangeLane, Keys, Messages, Turns};

use crate::journal::{Journal, JournalEntry};
use crate::journal_error::JournalError;

/// The name of the journal among the inputs.
const JOURNAL: &str = "journal";
/// What the number of trades is kept as.
pub(crate) const TRADES: &str = "trades";

/// A source whose blocks have the changes of a journal among their trades.
///
/// Blocks are decoded as they are read, one at a time: only then is it known how many
/// of their records are trades. The blocks of the source have no changes.
pub struct Replayed<S> {
    source: S,
    entries: VecDeque<JournalEntry>,
    /// Entries that were handed out.
    placed: u64,
    /// Trades of the journal.
    expected: u64,
    trades: u64,
    /// Trades without a row, as the source has them.
    schema: Option<RecordBatch>,
    tables: usize,
    stop: Option<Arc<AtomicBool>>,
}

impl<S: Source> Replayed<S> {
    /// The trades of `source` with the updates of `journal`, which is of so many tables.
    pub fn new(source: S, journal: Journal) -> Self {
        let Journal { tables, entries, trades } = journal;
        let tables = tables.len();
        let entries = entries.into();
        Self { source, entries, placed: 0, expected: trades, trades: 0, schema: None, tables, stop: None }
    }

    /// The same, whose trades may end before their time once a flag is set.
    #[must_use]
    pub fn stopped_by(self, stop: Arc<AtomicBool>) -> Self {
        Self { stop: Some(stop), ..self }
    }

    /// Goes behind so many entries, which stand before the last of so many trades.
    fn skip(&mut self, entries: u64, trades: u64) -> Result<(), JournalError> {
        let other = JournalError::OtherPlace { entries, trades };
        let Some(count) = usize::try_from(entries).ok().filter(|&count| count <= self.entries.len()) else {
            return Err(other);
        };
        let last = self.entries.drain(..count).next_back();
        // Those at the very place are handed out with the trade behind them, or at the end.
        let is_before = last.is_none_or(|last| last.trades_before <= trades);
        if !is_before || self.entries.front().is_some_and(|next| next.trades_before < trades) {
            return Err(other);
        }
        (self.placed, self.trades) = (entries, trades);
        Ok(())
    }

    /// Puts the entries before a trade of this block to their rows.
    fn place(&mut self, messages: &mut Messages, end: u64) {
        let mut lanes = messages.lanes.to_vec();
        let mut turns = Turns::default();
        while let Some(entry) = self.entries.pop_front_if(|entry| entry.trades_before < end) {
            self.placed += 1;
            // A block has no more rows than 32 bits can count.
            let row = (entry.trades_before - self.trades) as u32;
            let lane = &mut lanes[entry.table];
            let all: Vec<_> = (0..entry.changes.len() as u32).collect();
            let before = lane.len();
            lane.append_rows(&entry.changes, &all);
            lane.at_rows[before..].fill(row);
            let turn = turns.next(row, entry.table);
            if turn > 0 {
                lane.turns.resize(before, 0);
                lane.turns.resize(lane.len(), turn);
            }
        }
        messages.lanes = lanes.into();
    }
}

impl<S: Source> Source for Replayed<S> {
    fn next(&mut self) -> Result<Option<Block>, BoxError> {
        self.next_until(None)
    }

    fn next_until(&mut self, until: Option<Instant>) -> Result<Option<Block>, BoxError> {
        let Some(block) = self.source.next_until(until)? else {
            if self.trades != self.expected {
                if self.stop.as_ref().is_some_and(|stop| stop.load(Ordering::Relaxed)) {
                    return Ok(None);
                }
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

    /// That of the trades, and behind it the entries that were handed out.
    fn position(&self) -> Option<SourcePosition> {
        let mut position = self.source.position()?;
        let (name, records) = (JOURNAL.to_owned(), self.placed);
        position.inputs.push(InputPosition { name, records, ..InputPosition::default() });
        // A file has no more of them.
        position.state.insert(TRADES.to_owned(), self.trades as i64);
        Some(position)
    }

    fn go_on_from(&mut self, position: &SourcePosition) -> Result<(), BoxError> {
        let mut of_trades = position.clone();
        let entries = of_trades.inputs.pop_if(|input| input.name == JOURNAL).map(|input| input.records);
        let trades = of_trades.state.remove(TRADES).map(i64::unsigned_abs);
        let (Some(entries), Some(trades)) = (entries, trades) else {
            return Err("this run replays a journal, and what was kept of the source is of none".into());
        };
        self.skip(entries, trades)?;
        self.source.go_on_from(&of_trades)
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{ArrayRef, UInt32Array};
    use tradejoin_model::{ChangeKind, Key};

    use super::*;
    use crate::journal::LoadedTable;

    struct Once(Option<Messages>);

    impl Source for Once {
        fn next(&mut self) -> Result<Option<Block>, BoxError> {
            Ok(self.0.take().map(Block::from))
        }
    }

    #[test]
    fn fewer_trades_than_the_journal_tells_of_are_no_error_of_a_run_that_is_to_stop() {
        let journal = || Journal { tables: Vec::new(), entries: Vec::new(), trades: 2 };
        let mut replayed = Replayed::new(Once(None), journal());
        let told = replayed.next().map(drop).expect_err("an error").to_string();
        assert!(told.contains("the journal is of 2 trades"), "{told}");
        let stop = Arc::new(AtomicBool::new(false));
        let mut replayed = Replayed::new(Once(None), journal()).stopped_by(Arc::clone(&stop));
        assert!(replayed.next().is_err());
        stop.store(true, Ordering::Relaxed);
        assert!(replayed.next().expect("no error").is_none());
    }

    #[test]
    fn updates_at_one_place_take_turns() {
        let changes = || ChangeLane {
            at_rows: vec![0; 2],
            keys: vec![Key(1), Key(2)].into(),
            kinds: vec![ChangeKind::Delete; 2],
            ..ChangeLane::default()
        };
        let entry = |(trades_before, table)| JournalEntry { trades_before, table, changes: changes() };
        let entries = [(1, 0), (1, 1), (1, 0), (2, 1), (2, 0), (2, 1)].map(entry).into();
        let loaded = |name: &str| LoadedTable {
            name: name.to_owned(),
            rows: 0,
            digest: 0,
            mode: String::new(),
            columns: Vec::new(),
        };
        let journal = Journal { tables: ["a", "b"].map(loaded).into(), entries, trades: 2 };
        let ids = UInt32Array::from(vec![7, 8]);
        let trades = RecordBatch::try_from_iter([("id", Arc::new(ids.clone()) as ArrayRef)]);
        let lanes = vec![ChangeLane::default(); 2];
        let block = Messages::new(trades.expect("one column"), vec![ids.into(); 2], lanes).expect("a block");
        let mut replayed = Replayed::new(Once(Some(block)), journal);
        let mut next = || {
            let block = replayed.next().expect("no faults").expect("a block").decode().expect("no faults");
            Messages::new(block.trades.clone(), block.keys.clone(), block.lanes.to_vec()).expect("in order")
        };
        let turns = |block: &Messages, table: usize| {
            let lane = &block.lanes[table];
            (0..lane.len()).map(|change| (lane.at_rows[change], lane.turn(change))).collect::<Vec<_>>()
        };
        let block = next();
        assert_eq!(turns(&block, 0), [(1, 0), (1, 0), (1, 1), (1, 1)]);
        assert_eq!(turns(&block, 1), [(1, 0), (1, 0)]);
        let behind = next();
        assert_eq!(turns(&behind, 0), [(0, 1), (0, 1)]);
        assert_eq!(turns(&behind, 1), [(0, 0), (0, 0), (0, 1), (0, 1)]);
    }
}
