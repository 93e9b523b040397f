//! What a run is told before it starts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tradejoin_flow::Depth;
use tradejoin_merger::{Order, Unmatched};
use tradejoin_model::{ShardCount, TableSpec};

/// The settings of a run.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The tables, in the order in which batches have them.
    pub tables: Vec<TableSpec>,
    /// How many workers share the keys of partitioned tables.
    pub shards: ShardCount,
    /// How many batches a link holds.
    pub queue_depth: Depth,
    /// The order of the output.
    pub order: Order,
    /// What becomes of a trade that misses.
    pub unmatched: Unmatched,
}

impl EngineConfig {
    /// Batches in a link unless something else is asked for: enough that a stage
    /// that is held up for a moment does not hold up its neighbours, few enough
    /// to stay in cache.
    pub const QUEUE_DEPTH: Depth = Depth::new(8).expect("within bounds");

    /// The defaults for `tables`: a worker for each core, 8 batches to a link,
    /// input order, unmatched trades dropped.
    #[must_use]
    pub fn new(tables: Vec<TableSpec>) -> Self {
        Self {
            tables,
            shards: ShardCount::of_cores(),
            queue_depth: Self::QUEUE_DEPTH,
            order: Order::default(),
            unmatched: Unmatched::default(),
        }
    }
}

/// A request to end a run early: nothing more is read, and what was read by then
/// is written, as far as that takes no longer than a moment. Clones are the same request.
#[derive(Clone, Debug, Default)]
pub struct Stop(Arc<AtomicBool>);

impl Stop {
    /// Asks the run to end.
    pub fn request(&self) {
        // Nothing is published along with the flag.
        self.0.store(true, Ordering::Relaxed);
    }

    /// Whether the run was asked to end.
    #[must_use]
    pub fn is_requested(&self) -> bool {
        self.0.load(Ordering::Relaxed)
    }

    /// The flag itself, for a signal handler to set and a source to watch
    /// while it waits.
    #[must_use]
    pub fn flag(&self) -> Arc<AtomicBool> {
        Arc::clone(&self.0)
    }
}
