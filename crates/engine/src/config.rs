//! What a run is told before it starts.

use std::num::NonZero;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tradejoin_flow::Depth;
use tradejoin_merger::{Order, Unmatched};
use tradejoin_model::{ShardCount, TableSpec};

/// Batches in a link: enough that a stage that is held up for a moment does not
/// hold up its neighbours, few enough to stay in cache.
const QUEUE_DEPTH: usize = 8;

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
    /// The defaults for `tables`: a worker for each core, 8 batches to a link,
    /// input order, unmatched trades dropped.
    ///
    /// # Panics
    /// Never: the defaults are within their bounds.
    #[must_use]
    pub fn new(tables: Vec<TableSpec>) -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let shards = u32::try_from(cores).unwrap_or(ShardCount::MAX).min(ShardCount::MAX);
        Self {
            tables,
            shards: ShardCount::new(shards).expect("at least one core"),
            queue_depth: Depth::new(QUEUE_DEPTH).expect("within bounds"),
            order: Order::default(),
            unmatched: Unmatched::default(),
        }
    }
}

/// A request to end a run early: what was read by then is completed, and
/// nothing more is read. Clones are the same request.
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
