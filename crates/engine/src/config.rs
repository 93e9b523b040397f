//! What a run is told before it starts.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tradejoin_flow::{Depth, TableSource};
use tradejoin_merger::{CorrectionConfig, HoldConfig};
use tradejoin_model::{Distribution, ShardCount, TableSpec};

use crate::budget::MaxBad;

/// The settings of a run.
#[derive(Clone, Debug)]
pub struct EngineConfig {
    /// The tables, in the order in which batches have them.
    pub tables: Vec<TableSpec>,
    /// How many workers there are: threads, and shards of the tables. A run in
    /// which no table is [`Distribution::Partitioned`] by name has no more than
    /// there are [`cores`](Self::cores).
    pub shards: ShardCount,
    /// How many cores there are to run on: those of the process, unless set.
    pub cores: ShardCount,
    /// How many batches may be under way beside one for each shard.
    pub queue_depth: Depth,
    /// The order of the output.
    pub order: Order,
    /// How many trades may wait for their keys: over it, those that came first leave
    /// early.
    pub hold_rows_max: u64,
    /// How many bytes they may take, estimated for each from its values alone.
    pub hold_bytes_max: u64,
    /// Whether the enriched trades have a last column that says how many trades were
    /// read while each of them waited.
    pub wait_column: bool,
    /// How long a trade that was written is written again when its rows change; `None`
    /// for never. Revisions are in the order of the sequence with any [`Order`].
    pub corrections: Option<CorrectionConfig>,
    /// How many bad records sources may leave out; `None` for any number. One too many ends
    /// the run before the batch that has it is written; a share of few is judged at the end.
    pub max_bad: Option<MaxBad>,
}

impl EngineConfig {
    /// The depth unless something else is asked for: enough that a thread that is
    /// held up for a moment does not hold up the others, few enough to stay in
    /// cache.
    pub const QUEUE_DEPTH: Depth = Depth::new(8).expect("within bounds");

    /// The defaults for `tables`: a worker for each core, 8 batches ahead,
    /// input order, as many held trades as [`HoldConfig`] has by default.
    #[must_use]
    pub fn new(tables: Vec<TableSpec>) -> Self {
        let HoldConfig { rows_max, bytes_max, .. } = HoldConfig::default();
        Self {
            tables,
            shards: ShardCount::of_cores(),
            cores: ShardCount::of_cores(),
            queue_depth: Self::QUEUE_DEPTH,
            order: Order::default(),
            hold_rows_max: rows_max,
            hold_bytes_max: bytes_max,
            wait_column: false,
            corrections: None,
            max_bad: None,
        }
    }
}

impl EngineConfig {
    /// How trades wait.
    pub(crate) fn hold_config(&self) -> HoldConfig {
        HoldConfig {
            rows_max: self.hold_rows_max,
            bytes_max: self.hold_bytes_max,
            in_line: self.order == Order::Strict,
            wait_column: self.wait_column,
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
    /// The settings with a choice for all that is left to the engine; `loads` are
    /// what the tables are loaded from. It is what a run does with them.
    #[must_use]
    pub fn chosen<'env>(&self, loads: &[Option<Box<dyn TableSource + 'env>>]) -> Self {
        let mut config = self.clone();
        if self.tables.iter().all(|table| table.distribution != Distribution::Partitioned) {
            // More threads would take turns, and each copy of a table costs.
            config.shards = self.shards.min(self.cores);
        }
        let shards = config.shards;
        for (table, load) in config.tables.iter_mut().zip(loads) {
            if table.distribution == Distribution::Auto {
                table.distribution = choose(load.as_deref(), shards);
            }
        }
        config
    }
}

/// How a table is best spread that is loaded from `load`.
fn choose(load: Option<&dyn TableSource>, shards: ShardCount) -> Distribution {
    let is_small = match load {
        Some(load) => load.bytes_hint().is_some_and(|bytes| bytes <= BROADCAST_BYTES_MAX),
        None => shards.get() <= BROADCAST_WORKERS_MAX,
    };
    if is_small { Distribution::Broadcast } else { Distribution::Partitioned }
}

/// In which order enriched trades are written.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Order {
    /// In the order of their positions; a trade that waits for its key does not hold
    /// up others, and goes out where it finds it.
    #[default]
    Input,
    /// In the order of their positions, held trades too: those behind one that waits
    /// wait with it.
    Strict,
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

#[cfg(test)]
mod tests {
    use super::*;

    /// What becomes of one table without a file: the distribution and the shards.
    fn chosen(distribution: Distribution, shards: u32, cores: u32) -> (Distribution, u32) {
        let count = |count| ShardCount::new(count).expect("within bounds");
        let mut config = EngineConfig::new(vec![TableSpec { distribution, ..TableSpec::instruments() }]);
        (config.shards, config.cores) = (count(shards), count(cores));
        let chosen = config.chosen(&[None]);
        (chosen.tables[0].distribution, chosen.shards.get())
    }

    #[test]
    fn what_is_left_to_the_engine_goes_by_workers_and_cores() {
        use Distribution::{Auto, Broadcast, Partitioned};
        for (asked, shards, cores, expected) in [
            (Auto, 1, 8, (Broadcast, 1)),
            (Auto, 4, 8, (Broadcast, 4)),
            (Auto, 5, 8, (Partitioned, 5)),
            (Auto, 16, 2, (Broadcast, 2)),
            (Auto, 16, 8, (Partitioned, 8)),
            (Broadcast, 16, 2, (Broadcast, 2)),
            (Broadcast, 16, 16, (Broadcast, 16)),
            (Partitioned, 16, 2, (Partitioned, 16)),
        ] {
            assert_eq!(chosen(asked, shards, cores), expected, "{asked:?}, {shards} workers, {cores} cores");
        }
    }
}
