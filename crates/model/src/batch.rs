//! The unit of transfer: a run of trades and the table changes among them.

use std::ops::Range;
use std::sync::Arc;

use arrow_array::{Array as _, Int64Array, RecordBatch};

use crate::column::{Column, INTEGER_NULL};
use crate::error::BatchError;
use crate::history::Validity;
use crate::ids::{BatchIndex, Position};
use crate::keys::{ChangeKeys, Keys};
use crate::refused::Refused;

/// What a change does to the row of its key.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ChangeKind {
    /// Adds the row, or replaces it whole.
    #[default]
    Upsert,
    /// Removes the row, if there is one.
    Delete,
}

/// The changes of one table that fall into a batch, in their order.
///
/// All vectors and all `fields` have one value for each change, but for those that say
/// otherwise.
#[derive(Clone, Debug, Default)]
pub struct ChangeLane {
    /// The row of the batch before which the change takes effect: 0 to the
    /// number of trades, never falling.
    pub at_rows: Vec<u32>,
    /// The key of the row that changes.
    pub keys: ChangeKeys,
    /// What happens to it.
    pub kinds: Vec<ChangeKind>,
    /// The new values. What each column is, source and
    /// [`TableSpec`](crate::TableSpec) agree on.
    pub fields: Vec<Column>,
    /// From when on an upsert's row is valid, and the row that a delete removes, in
    /// nanoseconds since 1970-01-01 UTC: [`INTEGER_NULL`](crate::INTEGER_NULL) for
    /// since ever, or all rows of the key. No value at all where no change has one.
    pub valid_from: Vec<i64>,
    /// Before when the row is valid: `INTEGER_NULL` for until the next one of its
    /// key begins, or for ever. No value at all where no change has one.
    pub valid_to: Vec<i64>,
    /// The version of each change. No value at all where changes have none.
    pub versions: Vec<i64>,
    /// When each change takes effect among those of all tables before its row: those of a
    /// lower [turn](crate::Turns) do first, and in one turn the tables follow their order.
    /// Never falling before one row. What is not there is 0: no value at all where the
    /// tables' order is that of the sequence.
    pub turns: Vec<u32>,
    /// Rows that were refused while these were read.
    pub rejected: u64,
    /// The same one by one, where these are rows of a table that are read before the first
    /// trade; elsewhere the [messages](Messages::refused) have them.
    pub refused: Vec<Refused>,
}

impl ChangeLane {
    /// How many changes there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.at_rows.len()
    }

    /// Whether there are no changes.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.at_rows.is_empty()
    }

    /// Appends these changes of `other`, a lane of the same table, all with effect
    /// before the first trade, in turn 0.
    ///
    /// # Panics
    /// If a change is out of bounds, or `other` is of another table.
    pub fn append_rows(&mut self, other: &Self, changes: &[u32]) {
        let numbers = || changes.iter().map(|&change| change as usize);
        let before = self.at_rows.len();
        self.at_rows.resize(before + changes.len(), 0);
        self.keys.append_rows(&other.keys, changes);
        self.kinds.extend(numbers().map(|change| other.kinds[change]));
        if self.fields.is_empty() {
            self.fields = other.fields.iter().map(Column::none_of_kind).collect();
        }
        for (column, other) in self.fields.iter_mut().zip(&other.fields) {
            column.append_rows(other, changes);
        }
        for (values, other) in [
            (&mut self.valid_from, &other.valid_from),
            (&mut self.valid_to, &other.valid_to),
            (&mut self.versions, &other.versions),
        ] {
            // No value at all, or one for each change.
            if !other.is_empty() {
                values.resize(before, INTEGER_NULL);
                values.extend(numbers().map(|change| other[change]));
            } else if !values.is_empty() {
                values.resize(before + changes.len(), INTEGER_NULL);
            }
        }
    }

    /// When the row of a change is valid: ever, unless it says.
    #[inline]
    #[must_use]
    pub fn validity(&self, change: usize) -> Validity {
        let time = |times: &[i64]| times.get(change).copied().unwrap_or(INTEGER_NULL);
        Validity { from: time(&self.valid_from), to: time(&self.valid_to) }
    }

    /// The version of a change: the lowest there is, unless it says.
    #[inline]
    #[must_use]
    pub fn version(&self, change: usize) -> i64 {
        self.versions.get(change).copied().unwrap_or(INTEGER_NULL)
    }

    /// The [turn](ChangeLane::turns) of a change.
    #[inline]
    #[must_use]
    pub fn turn(&self, change: usize) -> u32 {
        self.turns.get(change).copied().unwrap_or(0)
    }

    /// Bytes of memory in use, what was refused not counted.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let numbers = (self.at_rows.capacity() + self.turns.capacity()) * size_of::<u32>();
        let times = [&self.valid_from, &self.valid_to, &self.versions].map(Vec::capacity);
        let times = times.into_iter().sum::<usize>() * size_of::<i64>();
        let kinds = self.kinds.capacity() * size_of::<ChangeKind>();
        let fields = self.fields.iter().map(|column| size_of::<Column>() + column.memory_bytes());
        size_of::<Self>() + numbers + times + kinds + self.keys.memory_bytes() + fields.sum::<usize>()
    }

    fn check(&self, rows: usize) -> Result<(), BatchError> {
        let optional = [&self.valid_from, &self.valid_to, &self.versions];
        let optional = optional.into_iter().map(Vec::len).filter(|&len| len > 0);
        let lengths = [self.keys.len(), self.kinds.len()].into_iter().chain(optional);
        if !lengths.chain(self.fields.iter().map(Column::len)).all(|len| len == self.len()) {
            return Err(BatchError::UnequalLengths);
        }
        let upserts = (0..self.valid_to.len()).filter(|&change| self.kinds[change] == ChangeKind::Upsert);
        if !upserts.map(|change| self.validity(change)).all(Validity::is_some) {
            return Err(BatchError::NeverValid);
        }
        let within = self.at_rows.last().is_none_or(|&last| last as usize <= rows);
        if !(within && self.at_rows.is_sorted()) {
            return Err(BatchError::ChangeOutOfPlace { rows });
        }
        if self.turns.len() > self.len() {
            return Err(BatchError::UnequalLengths);
        }
        // Behind the last turn that is there, all are 0.
        let changes = 1..self.len().min(self.turns.len() + 1);
        let mut at_one_row = changes.filter(|&change| self.at_rows[change - 1] == self.at_rows[change]);
        if at_one_row.any(|change| self.turn(change) < self.turn(change - 1)) {
            return Err(BatchError::TurnFalls);
        }
        Ok(())
    }
}

/// Trades and the changes among them, before they have a place in the
/// sequence: what a source makes. A clone shares all of it.
#[derive(Clone, Debug)]
pub struct Messages {
    /// The trades, with all columns that the output has of them.
    pub trades: RecordBatch,
    /// The key of each trade in each table, by table; null matches nothing.
    pub keys: Vec<Keys>,
    /// The changes of each table, by table.
    pub lanes: Arc<[ChangeLane]>,
    /// When each trade took place, in nanoseconds since 1970-01-01 UTC: what tables
    /// are looked up by [as of then](crate::LookUp::AsOf). Null finds nothing, and
    /// `None` stands for nulls.
    pub times: Option<Int64Array>,
    /// Records that were refused while these were read, but for the rows of
    /// tables, which their lanes count.
    pub rejected: u64,
    /// All records that were refused one by one, also rows of tables, in their order.
    pub refused: Vec<Refused>,
    /// Whether these are the rows of tables that are there before the first
    /// trade: the same key twice is then a duplicate, not a new version.
    pub loading: bool,
}

impl Messages {
    /// Messages whose parts fit together.
    ///
    /// # Errors
    /// If a key column does not have one key for each trade, there are more
    /// than `u32::MAX` trades, tables differ in number between `keys` and
    /// `lanes`, or a lane is not in order.
    pub fn new(trades: RecordBatch, keys: Vec<Keys>, lanes: Vec<ChangeLane>) -> Result<Self, BatchError> {
        let rows = trades.num_rows();
        let equal = keys.iter().all(|keys| keys.len() == rows) && keys.len() == lanes.len();
        if !equal || u32::try_from(rows).is_err() {
            return Err(BatchError::UnequalLengths);
        }
        lanes.iter().try_for_each(|lane| lane.check(rows))?;
        let refused = Vec::new();
        Ok(Self { trades, keys, lanes: lanes.into(), times: None, rejected: 0, refused, loading: false })
    }

    /// The same messages with the time of each trade.
    ///
    /// # Errors
    /// If there is not one for each trade.
    pub fn with_times(self, times: Int64Array) -> Result<Self, BatchError> {
        if times.len() != self.trades.num_rows() {
            return Err(BatchError::UnequalLengths);
        }
        Ok(Self { times: Some(times), ..self })
    }

    /// The trades from row `start` on, `len` of them, without changes; records that were
    /// refused are counted among the first, and stand behind the trade that they followed.
    ///
    /// # Panics
    /// If there are not so many.
    #[must_use]
    pub fn slice(&self, start: usize, len: usize) -> Self {
        Self {
            trades: self.trades.slice(start, len),
            keys: self.keys.iter().map(|keys| keys.slice(start, len)).collect(),
            lanes: self.lanes.iter().map(|_| ChangeLane::default()).collect(),
            times: self.times.as_ref().map(|times| times.slice(start, len)),
            rejected: if start == 0 { self.rejected } else { 0 },
            refused: Refused::among(&self.refused, start, start + len),
            loading: self.loading,
        }
    }

    /// The time of a trade, if it has one.
    ///
    /// # Panics
    /// If there are times, and no such trade.
    #[inline]
    #[must_use]
    pub fn time(&self, row: usize) -> Option<i64> {
        self.times.as_ref().filter(|times| times.is_valid(row)).map(|times| times.value(row))
    }

    /// How many trades have no time.
    #[must_use]
    pub fn untimed(&self) -> u64 {
        self.times.as_ref().map_or(self.trades.num_rows(), |times| times.null_count()) as u64
    }

    /// The latest time of some rows: `i64::MIN` if none of them has one.
    ///
    /// # Panics
    /// If the rows go beyond the last one.
    #[must_use]
    pub fn latest(&self, rows: Range<usize>) -> i64 {
        let Some(times) = &self.times else { return i64::MIN };
        if times.null_count() == 0 {
            return times.values()[rows].iter().copied().fold(i64::MIN, i64::max);
        }
        rows.filter_map(|row| self.time(row)).fold(i64::MIN, i64::max)
    }

    /// How many messages there are: trades, changes and refused records.
    #[must_use]
    pub fn len(&self) -> u64 {
        let changes: u64 = self.lanes.iter().map(|lane| lane.len() as u64 + lane.rejected).sum();
        self.trades.num_rows() as u64 + changes + self.rejected
    }

    /// Whether there is no message at all.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0 && self.refused.is_empty()
    }
}

/// Messages with their number. Immutable, and shared by reference count: rows do
/// not travel, selections do.
///
/// The place of a message in the sequence, its position, is that of its batch
/// plus its own among the batch's: a change stands before the row that it
/// precedes, by its [turn](ChangeLane::turns) and its table. A batch has one once all before it are
/// decoded.
#[derive(Clone, Debug)]
pub struct Batch {
    /// The batch's place among the batches.
    pub index: BatchIndex,
    /// What it holds.
    pub messages: Arc<Messages>,
}

/// Trades with the columns that the tables add: what a sink takes.
#[derive(Clone, Debug)]
pub struct Enriched {
    /// The batch's place among the batches.
    pub index: BatchIndex,
    /// The place of its first message.
    pub first_position: Position,
    /// How many trades were read before it, refused ones not counted.
    pub trades_before: u64,
    /// The number of each row, as [`Enriched::number`] gives it, if they do not follow each
    /// other since trades have waited; `None` if they do.
    pub numbers: Option<Vec<u64>>,
    /// The trades as they came in: every row, also those that are not kept.
    pub messages: Arc<Messages>,
    /// The added columns, table by table, each with a value for every row.
    pub columns: Vec<Column>,
    /// The rows that go on; `None` if all do. Rows that were dropped by policy
    /// are marked, not removed: one miss does not copy every column.
    pub kept: Option<Vec<bool>>,
    /// How many rows go on.
    pub rows_kept: usize,
    /// The rows that are put aside, rising.
    pub dead_letters: Vec<DeadLetter>,
}

/// A trade that is put aside because it found nothing in a table.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DeadLetter {
    /// Its row in the batch.
    pub row: u32,
    /// The first table, by its place among the tables, that puts it aside.
    pub table: usize,
    /// Its number among the trades that were read, the first being 1; those that
    /// were refused are not counted.
    pub number: u64,
}

impl Enriched {
    /// The number of a row among the trades that were read, the first being 1; those that
    /// were refused are not counted.
    #[must_use]
    pub fn number(&self, row: usize) -> u64 {
        match &self.numbers {
            Some(numbers) => numbers[row],
            None => self.trades_before + row as u64 + 1,
        }
    }

    /// The trades' own columns.
    #[must_use]
    pub fn trades(&self) -> &RecordBatch {
        &self.messages.trades
    }

    /// Whether no row goes on, none is put aside, and no record was refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.rows_kept == 0 && self.dead_letters.is_empty() && self.messages.refused.is_empty()
    }

    /// The rows that go on, in order.
    pub fn rows(&self) -> impl Iterator<Item = usize> {
        let kept = self.kept.as_deref();
        (0..self.messages.trades.num_rows()).filter(move |&row| kept.is_none_or(|kept| kept[row]))
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::{ArrayRef, RecordBatch, UInt32Array};

    use super::*;
    use crate::error::BatchError;
    use crate::ids::Key;

    fn lane(at_rows: &[u32]) -> ChangeLane {
        let keys = (0..).map(Key).take(at_rows.len()).collect::<Vec<_>>().into();
        let kinds = vec![ChangeKind::Upsert; at_rows.len()];
        ChangeLane {
            at_rows: at_rows.to_vec(),
            keys,
            kinds,
            fields: vec![Column::Integers(vec![1; at_rows.len()])],
            ..ChangeLane::default()
        }
    }

    fn messages(rows: u32, lanes: &[&[u32]]) -> Result<Messages, BatchError> {
        let ids = UInt32Array::from_iter_values(0..rows);
        let trades = RecordBatch::try_from_iter([("instrument_id", Arc::new(ids.clone()) as ArrayRef)]);
        let keys = vec![Keys::from(ids); lanes.len()];
        Messages::new(trades.expect("one column"), keys, lanes.iter().map(|at_rows| lane(at_rows)).collect())
    }

    #[test]
    fn a_length_counts_trades_changes_and_refused_records() {
        let mut some = messages(3, &[&[0, 1], &[1]]).expect("valid");
        some.rejected = 2;
        assert_eq!(some.len(), 8);
    }

    #[test]
    fn changes_without_times_have_none_behind_those_that_have() {
        let timed = || ChangeLane { valid_from: vec![7; 2], versions: vec![3; 2], ..lane(&[0, 0]) };
        let (mut before, mut behind) = (lane(&[0]), timed());
        before.append_rows(&timed(), &[1]);
        behind.append_rows(&lane(&[0]), &[0]);
        assert_eq!(before.valid_from, [INTEGER_NULL, 7]);
        assert_eq!(
            (&behind.valid_from[..], &behind.versions[..]),
            (&[7, 7, INTEGER_NULL][..], &[3, 3, INTEGER_NULL][..])
        );
        assert!(before.valid_to.is_empty() && behind.valid_to.is_empty());
        assert_eq!((before.check(0), behind.check(0)), (Ok(()), Ok(())));
    }

    #[test]
    fn parts_that_do_not_fit_are_refused() {
        assert_eq!(messages(2, &[&[3]]).err(), Some(BatchError::ChangeOutOfPlace { rows: 2 }));
        assert_eq!(messages(2, &[&[1, 0]]).err(), Some(BatchError::ChangeOutOfPlace { rows: 2 }));
        let trades = RecordBatch::new_empty(Arc::new(arrow_schema::Schema::empty()));
        assert_eq!(Messages::new(trades, vec![], vec![lane(&[])]).err(), Some(BatchError::UnequalLengths));
        let some = || messages(2, &[]).expect("valid");
        assert_eq!(some().with_times(vec![1].into()).err(), Some(BatchError::UnequalLengths));
        assert_eq!(some().untimed(), 2);
        assert_eq!(some().with_times(vec![Some(1), None].into()).expect("valid").untimed(), 1);
    }

    #[test]
    fn times_and_versions_are_there_for_all_changes_or_none() {
        let mut lane = lane(&[0, 0]);
        lane.valid_from = vec![1, 2];
        lane.valid_to = vec![2, INTEGER_NULL];
        lane.versions = vec![7, 8];
        assert_eq!(lane.check(0), Ok(()));
        lane.valid_to = vec![2, 2];
        assert_eq!(lane.check(0), Err(BatchError::NeverValid));
        lane.kinds[1] = ChangeKind::Delete;
        assert_eq!(lane.check(0), Ok(()));
        lane.versions.pop();
        assert_eq!(lane.check(0), Err(BatchError::UnequalLengths));
    }

    #[test]
    fn turns_do_not_fall_before_one_row() {
        let mut lane = lane(&[0, 0, 1, 1]);
        for (turns, is_valid) in [
            (vec![1, 1], true),
            (vec![0, 3, 2], false),
            (vec![0, 3, 0, 4], true),
            (vec![1], false),
            (vec![1, 0], false),
        ] {
            lane.turns = turns;
            assert_eq!(lane.check(1).is_ok(), is_valid, "{:?}", lane.turns);
        }
        assert_eq!(lane.check(1), Err(BatchError::TurnFalls));
        lane.turns = vec![0; 5];
        assert_eq!(lane.check(1), Err(BatchError::UnequalLengths));
    }
}
