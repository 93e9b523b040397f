//! What a run is told before it starts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tradejoin_flow::{Depth, TableSource};
use tradejoin_merger::Unmatched;
use tradejoin_model::{Distribution, ShardCount, TableSpec};

/// The settings of a run.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The tables, in the order in which batches have them.
    pub tables: Vec<TableSpec>,
    /// How many workers share the keys of partitioned tables.
    pub shards: ShardCount,
    /// How many batches may be under way beside one for each shard.
    pub queue_depth: Depth,
    /// The order of the output.
    pub order: Order,
    /// What becomes of a trade that misses.
    pub unmatched: Unmatched,
}

impl EngineConfig {
    /// The depth unless something else is asked for: enough that a thread that is
    /// held up for a moment does not hold up the others, few enough to stay in
    /// cache.
    pub const QUEUE_DEPTH: Depth = Depth::new(8).expect("within bounds");

    /// The defaults for `tables`: a worker for each core, 8 batches ahead,
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

/// Bytes of a stored table up to which every shard looks into one generation:
/// about a million instruments. Of a larger one, shards load their parts at once,
/// and changes do not go to all of them.
const BROADCAST_BYTES_MAX: u64 = 64 << 20;
/// Workers up to which each applies all changes of a stream. Whole batches then
/// stay on one core; with more workers, changes would be most of what each does.
const BROADCAST_WORKERS_MAX: u32 = 4;

impl EngineConfig {
    /// How a table is spread that has been left to the engine; `load` is what it
    /// is loaded from.
    pub(crate) fn choose(&self, load: Option<&dyn TableSource>) -> Distribution {
        let is_small = match load {
            Some(load) => load.bytes_hint().is_some_and(|bytes| bytes <= BROADCAST_BYTES_MAX),
            None => self.shards.get() <= BROADCAST_WORKERS_MAX,
        };
        if is_small { Distribution::Broadcast } else { Distribution::Partitioned }
    }
}

/// In which order enriched trades are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// In the order of their positions.
    #[default]
    Input,
    /// A batch as soon as it is complete; within it, the order of positions.
    Arrival,
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
