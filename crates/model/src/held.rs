//! Trades that wait, and those that may be written again, as they are kept.

use std::time::Duration;

use arrow_array::RecordBatch;

use crate::column::Column;
use crate::keys::Keys;

/// All trades that wait at one place of the sequence, and all that may be written again.
#[derive(Clone, Debug, Default)]
pub struct Held {
    /// Their rows, and those of some that have left.
    pub chunks: Vec<HeldRows>,
    /// The trades in the order in which they came.
    pub trades: Vec<HeldTrade>,
    /// The latest time of a trade that was read; `i64::MIN` if none counted.
    pub latest_time: i64,
    /// Those that may be written again; `None` in a run in which none ever is.
    pub written: Option<Written>,
}

/// All trades of a run at one place of the sequence whose values a change may still revise.
#[derive(Clone, Debug, Default)]
pub struct Written {
    /// Those that were written.
    pub recent: RecentTrades,
    /// Those that wait, each with what it finds by now.
    pub waiting: RecentTrades,
    /// The latest time of a trade that was read; `i64::MIN` if none counted.
    pub latest_time: i64,
}

/// Trades with the values that they had last.
#[derive(Clone, Debug, Default)]
pub struct RecentTrades {
    /// Their rows, and those of some that have left.
    pub chunks: Vec<HeldRows>,
    /// The trades in the order in which they entered.
    pub trades: Vec<RecentTrade>,
}

/// A trade whose values may still be revised.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecentTrade {
    /// The chunk with its row, by its place among the chunks.
    pub chunk: u32,
    /// Its row there.
    pub row: u32,
    /// Its number among the trades that were read, the first being 1.
    pub number: u64,
    /// When it took place, in nanoseconds since 1970-01-01 UTC, if it says.
    pub time: Option<i64>,
    /// It stays until a trade is read that took place later than this.
    pub last_time: i64,
    /// It stays until so many trades have been read.
    pub until: u64,
    /// The tables in which it finds nothing: a bit for each.
    pub lacks: u64,
    /// How often it has been written again.
    pub revision: u32,
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
    /// The tables in which it has found nothing so far: a bit for each. Of a checkpoint of an
    /// earlier version none, unless trades are written again.
    pub lacks: u64,
    /// How long it has waited by the clock.
    pub waited: Duration,
    /// When it took place, in nanoseconds since 1970-01-01 UTC, if it says.
    pub time: Option<i64>,
}
