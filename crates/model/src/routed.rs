//! What passes between router, worker and merger.

use std::sync::Arc;

use crate::batch::Batch;
use crate::column::Column;
use crate::ids::{ShardCount, ShardIndex};
use crate::keyed::KeyedTable;

/// A batch, and for each table what every shard has to do with it. All shards
/// share one by reference count.
#[derive(Clone, Debug)]
pub struct Routed {
    /// The batch.
    pub batch: Batch,
    /// The route of each table.
    pub routes: Vec<TableRoute>,
    /// How many shards the batch was routed for.
    pub shards: ShardCount,
}

/// What every shard has to do with a batch, for one table.
#[derive(Clone, Debug)]
pub enum TableRoute {
    /// Each shard applies and looks up what it owns.
    Partitioned(Partition),
    /// Every shard applies every change; the one that answers looks up every
    /// row.
    Whole {
        /// The generation that the changes of the stream go on top of, pinned
        /// when the batch was routed; `None` for an empty one.
        generation: Option<Arc<KeyedTable>>,
    },
}

/// Selections of one table: row numbers and change numbers by owning shard,
/// each in rising order.
#[derive(Clone, Debug, Default)]
pub struct Partition {
    /// The trades' rows, by shard.
    pub rows: Vec<Vec<u32>>,
    /// Indices into the table's lane, by shard.
    pub changes: Vec<Vec<u32>>,
    /// Rows without a key: no shard owns them, and they match nothing.
    pub unkeyed: Vec<u32>,
}

impl Routed {
    /// The shard that looks up the rows of all tables that are not
    /// partitioned: the shards take turns.
    #[must_use]
    pub fn whole_shard(&self) -> ShardIndex {
        // A remainder by a count of 32 bits fits 32 bits.
        ShardIndex((self.batch.index.0 % u64::from(self.shards.get())) as u32)
    }

    /// Whether the merger waits for an answer from `shard`.
    #[must_use]
    pub fn is_answered_by(&self, shard: ShardIndex) -> bool {
        self.has_partitioned() || shard == self.whole_shard()
    }

    /// How many answers the merger waits for.
    #[must_use]
    pub fn answers_expected(&self) -> usize {
        if self.has_partitioned() { self.shards.as_usize() } else { 1 }
    }

    fn has_partitioned(&self) -> bool {
        self.routes.iter().any(|route| matches!(route, TableRoute::Partitioned(_)))
    }
}

/// What one shard found for a batch.
#[derive(Clone, Debug, Default)]
pub struct Answer {
    /// The shard.
    pub shard: ShardIndex,
    /// What it found, by table.
    pub tables: Vec<TableAnswer>,
}

/// What one shard found in one table, for the rows that it looked up.
#[derive(Clone, Debug, Default)]
pub struct TableAnswer {
    /// The table's output columns, dense: a value for each row looked up, in
    /// order; null for a miss. Empty where the shard looked up nothing.
    pub columns: Vec<Column>,
    /// The row numbers of the misses, rising.
    pub missed: Vec<u32>,
    /// Upserts whose key was there already.
    pub replaced: u64,
}
