//! The router.

use std::sync::Arc;

use ahash::RandomState;
use tradejoin_model::{
    Batch, ChangeLane, Distribution, Key, KeyedTable, Partition, Routed, ShardCount, ShardIndex, TableRoute,
};

/// Seeds of the hash that spreads keys over shards: digits of e. Those of the
/// shards' own maps differ, or the keys of a shard would crowd its map. Digits
/// of pi would cancel out against the library's own.
const SEEDS: [u64; 4] =
    [0xb7e1_5162_8aed_2a6a, 0xbf71_5880_9cf4_f3c7, 0x62e7_160f_38b4_da56, 0xa784_d904_5190_cfef];

/// Spreads the keys of partitioned tables over shards.
#[derive(Clone, Debug)]
pub struct Router {
    shards: ShardCount,
    distributions: Vec<Distribution>,
    hash: RandomState,
}

impl Router {
    /// A router for tables with the given distributions.
    #[must_use]
    pub fn new(shards: ShardCount, distributions: Vec<Distribution>) -> Self {
        let [k0, k1, k2, k3] = SEEDS;
        Self { shards, distributions, hash: RandomState::with_seeds(k0, k1, k2, k3) }
    }

    /// The shard that owns `key` in every partitioned table.
    #[inline]
    #[must_use]
    pub fn shard_of(&self, key: Key) -> ShardIndex {
        let hash = self.hash.hash_one(key.0);
        // The high half of the hash, scaled to the shard count without a
        // division (Lemire, "Fast Random Integer Generation in an Interval").
        ShardIndex((((hash >> 32) * u64::from(self.shards.get())) >> 32) as u32)
    }

    /// The batch with its selections. `generations` holds the pinned
    /// generation of each table that is not partitioned.
    ///
    /// # Panics
    /// If the batch or `generations` does not have one entry for each table.
    #[must_use]
    pub fn route(&self, batch: Batch, generations: &[Option<Arc<KeyedTable>>]) -> Routed {
        let tables = self.distributions.len();
        assert_eq!(
            (batch.messages.keys.len(), generations.len()),
            (tables, tables),
            "one entry for each table"
        );
        let routes = (0..tables).map(|table| self.route_table(&batch, table, &generations[table])).collect();
        Routed { batch, routes, shards: self.shards }
    }

    fn route_table(&self, batch: &Batch, table: usize, generation: &Option<Arc<KeyedTable>>) -> TableRoute {
        // A lone shard owns every key: there is nothing to select.
        if self.distributions[table] == Distribution::Broadcast || self.shards.get() == 1 {
            return TableRoute::Whole { generation: generation.clone() };
        }
        let mut partition = Partition {
            rows: self.selections(batch.messages.keys[table].len()),
            changes: self.selections(batch.messages.lanes[table].len()),
            unkeyed: Vec::new(),
        };
        self.select_rows(&batch.messages.keys[table], &mut partition);
        self.select_changes(&batch.messages.lanes[table], &mut partition.changes);
        TableRoute::Partitioned(partition)
    }

    /// An empty selection for each shard, with room for its share of `len` and
    /// an eighth more: keys do not spread evenly.
    fn selections(&self, len: usize) -> Vec<Vec<u32>> {
        let share = len.div_ceil(self.shards.as_usize());
        vec![Vec::with_capacity(share + share / 8); self.shards.as_usize()]
    }

    fn select_rows(&self, keys: &arrow_array::UInt32Array, partition: &mut Partition) {
        use arrow_array::Array as _;
        match keys.nulls().filter(|nulls| nulls.null_count() > 0) {
            None => {
                for (row, &key) in (0..).zip(keys.values().iter()) {
                    partition.rows[self.shard_of(Key(key)).as_usize()].push(row);
                }
            }
            Some(_) => {
                for (row, key) in (0..).zip(keys) {
                    match key {
                        Some(key) => partition.rows[self.shard_of(Key(key)).as_usize()].push(row),
                        None => partition.unkeyed.push(row),
                    }
                }
            }
        }
    }

    fn select_changes(&self, lane: &ChangeLane, changes: &mut [Vec<u32>]) {
        for (index, &key) in (0..).zip(&lane.keys) {
            changes[self.shard_of(key).as_usize()].push(index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn router(shards: u32) -> Router {
        Router::new(ShardCount::new(shards).expect("within bounds"), vec![Distribution::Partitioned])
    }

    #[test]
    fn keys_spread_evenly() {
        for shards in [2, 3, 7, 64] {
            let router = router(shards);
            let mut counts = vec![0_u32; shards as usize];
            (0..100_000).for_each(|key| counts[router.shard_of(Key(key)).as_usize()] += 1);
            let share = 100_000 / shards;
            // Six standard deviations of a binomial with that mean.
            let bound = 6 * share.isqrt();
            assert!(counts.iter().all(|&n| n.abs_diff(share) < bound), "{shards}: {counts:?}");
        }
    }
}
