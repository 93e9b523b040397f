//! Trades that wait, as they are kept.

use std::time::Duration;

use arrow_array::RecordBatch;

use crate::column::Column;
use crate::keys::Keys;

/// All trades that wait at one place of the sequence.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// Their rows, and those of some that have left.
    pub chunks: Vec<HeldRows>,
    /// The trades in the order in which they came.
    pub trades: Vec<HeldTrade>,
    /// The latest time of a trade that was read; `i64::MIN` if none counted.
    pub latest_time: i64,
}

/// Rows of trades: their own columns, their keys by table, and what the tables add, with
/// what was found so far.
#[derive(Clone, Debug)]
pub struct HeldRows {
    /// The trades' own columns.
    pub trades: RecordBatch,
    /// Their keys, by table.
    pub keys: Vec<Keys>,
    /// The added columns.
    pub columns: Vec<Column>,
}

/// A trade that waits, or stands in line behind one that does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct HeldTrade {
    /// The chunk with its row, by its place among the chunks.
    pub chunk: u32,
    /// Its row there.
    pub row: u32,
    /// Its number among the trades that were read, the first being 1.
    pub number: u64,
    /// The tables that it waits for: a bit for each.
    pub waits_for: u64,
    /// How long it has waited by the clock.
    pub waited: Duration,
    /// When it took place, in nanoseconds since 1970-01-01 UTC, if it says.
    pub time: Option<i64>,
}
