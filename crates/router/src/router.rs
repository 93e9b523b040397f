//! The router.

use std::sync::Arc;

use ahash::RandomState;
use arrow_array::{Array as _, UInt32Array};
use tradejoin_model::{
    Batch, ChangeKeys, ChangeLane, Distribution, Key, Keys, LookUp, Partition, Repeats, Routed, Selections,
    ShardCount, ShardIndex, StoredTable, Stretches, TableRoute, TableSpec, TextColumn,
};

use crate::hot;
use crate::stretches::take_stretches;

/// Seeds of the hash of keys that are texts: digits of the square root of 2. The
/// maps of the shards have others.
const SEEDS: [u64; 4] =
    [0x6a09_e667_f3bc_c908, 0xb2fb_1366_ea95_7d3e, 0x3ade_c175_1277_5099, 0xda2f_590b_0667_322a];

/// Spreads the keys of partitioned tables over shards.
#[derive(Clone, Debug)]
pub struct Router {
    shards: ShardCount,
    tables: Vec<TableSpec>,
    text_hasher: RandomState,
}

impl Router {
    /// A router for these tables.
    #[must_use]
    pub fn new(shards: ShardCount, tables: Vec<TableSpec>) -> Self {
        let [k0, k1, k2, k3] = SEEDS;
        Self { shards, tables, text_hasher: RandomState::with_seeds(k0, k1, k2, k3) }
    }

    /// The shard that owns `key` in every partitioned table.
    #[inline]
    #[must_use]
    pub fn shard_of(&self, key: Key) -> ShardIndex {
        ShardIndex(u32::from(owner(key.0, self.shards)))
    }

    /// The shard that owns the key `text` in every partitioned table.
    #[must_use]
    pub fn shard_of_text(&self, text: &[u8]) -> ShardIndex {
        ShardIndex(u32::from(self.text_owner(text)))
    }

    fn text_owner(&self, text: &[u8]) -> u16 {
        scale((self.text_hasher.hash_one(text) >> 32) as u32, self.shards)
    }

    /// The batch with its selections. `generations`
    /// holds the pinned generation of each table that is not partitioned;
    /// `whole_shard` is to look up their rows.
    ///
    /// # Panics
    /// If the batch or `generations` does not have one entry for each table.
    #[must_use]
    pub fn route(
        &self,
        batch: Batch,
        generations: &[Option<Arc<StoredTable>>],
        whole_shard: ShardIndex,
    ) -> Routed {
        let tables = self.tables.len();
        assert_eq!(
            (batch.messages.keys.len(), generations.len()),
            (tables, tables),
            "one entry for each table"
        );
        let routes = (0..tables).map(|table| self.route_table(&batch, table, &generations[table])).collect();
        Routed { batch, routes, shards: self.shards, whole_shard }
    }

    fn route_table(&self, batch: &Batch, table: usize, generation: &Option<Arc<StoredTable>>) -> TableRoute {
        let is_broadcast = self.tables[table].distribution == Distribution::Broadcast || generation.is_some();
        // A lone shard owns every key: there is nothing to select.
        if is_broadcast || self.shards.get() == 1 {
            return TableRoute::Whole { generation: generation.clone() };
        }
        let messages = &batch.messages;
        let (mut rows, unkeyed) = match &messages.keys[table] {
            Keys::Ids(ids) => self.select_rows(ids),
            Keys::Texts(texts) => self.select_texts(texts),
        };
        let lane = &messages.lanes[table];
        let changes = self.select_changes(lane);
        let repeats = self.take_repeats(&messages.keys[table], lane, &changes, &mut rows);
        let (repeats, stretches) = match self.tables[table].look_up {
            LookUp::Latest | LookUp::LatestVersion => (repeats, Stretches::default()),
            // What a row finds depends on its time, too.
            LookUp::AsOf { .. } => {
                let time = |row: u32| messages.time(row as usize);
                let trades = messages.trades.num_rows();
                (Repeats::default(), take_stretches(self.shards, &mut rows, &repeats, trades, time))
            }
        };
        TableRoute::Partitioned(Box::new(Partition { rows, changes, unkeyed, repeats, stretches }))
    }

    fn take_repeats(
        &self,
        keys: &Keys,
        lane: &ChangeLane,
        changes: &Selections,
        rows: &mut Selections,
    ) -> Repeats {
        let changes = |shard| changes.get(shard).iter().map(|&change| change as usize);
        let before = |change: usize| lane.at_rows[change];
        match keys {
            Keys::Ids(ids) => {
                let key_of_row = |row: u32| ids.values()[row as usize];
                let changed: &[Key] = if let ChangeKeys::Ids(changed) = &lane.keys { changed } else { &[] };
                let changes_of = |shard| changes(shard).map(|change| (before(change), changed[change].0));
                hot::take_repeats(self.shards, rows, key_of_row, changes_of)
            }
            Keys::Texts(texts) => {
                let key_of_row = |row: u32| texts.get(row as usize);
                // A lane without changes may have keys of the other kind.
                let none = TextColumn::default();
                let changed = if let ChangeKeys::Texts(changed) = &lane.keys { changed } else { &none };
                let changes_of = |shard| changes(shard).map(|change| (before(change), changed.get(change)));
                hot::take_repeats(self.shards, rows, key_of_row, changes_of)
            }
        }
    }

    /// The rows of each shard, and those without a key.
    fn select_rows(&self, keys: &UInt32Array) -> (Selections, Vec<u32>) {
        let values = keys.values();
        let Some(nulls) = keys.nulls().filter(|nulls| nulls.null_count() > 0) else {
            let owners: Vec<_> = values.iter().map(|&key| owner(key, self.shards)).collect();
            return (Selections::new(self.shards, &owners), Vec::new());
        };
        let (keyed, unkeyed): (Vec<_>, Vec<_>) =
            (0..values.len() as u32).partition(|&row| nulls.is_valid(row as usize));
        let owners: Vec<_> = keyed.iter().map(|&row| owner(values[row as usize], self.shards)).collect();
        (Selections::of(self.shards, &owners, &keyed), unkeyed)
    }

    fn select_texts(&self, keys: &TextColumn) -> (Selections, Vec<u32>) {
        let (keyed, unkeyed): (Vec<_>, Vec<_>) =
            (0..keys.len() as u32).partition(|&row| !keys.views()[row as usize].is_null());
        let owner = |&row: &u32| self.text_owner(keys.get(row as usize).unwrap_or_default());
        let owners: Vec<_> = keyed.iter().map(owner).collect();
        (Selections::of(self.shards, &owners, &keyed), unkeyed)
    }

    fn select_changes(&self, lane: &ChangeLane) -> Selections {
        let owners: Vec<_> = match &lane.keys {
            ChangeKeys::Ids(ids) => ids.iter().map(|key| owner(key.0, self.shards)).collect(),
            ChangeKeys::Texts(texts) => {
                (0..texts.len()).map(|row| self.text_owner(texts.get(row).unwrap_or_default())).collect()
            }
        };
        Selections::new(self.shards, &owners)
    }
}

/// The owner of a key: a hash of 32 bits, scaled to the shard count without a
/// division (Lemire, "Fast Random Integer Generation in an Interval").
///
/// The hash is a multiplicative one with a shift between two odd factors, those
/// of xxHash32: enough for ids in sequence or in steps, and a compiler makes
/// vectors of it.
#[inline]
fn owner(key: u32, shards: ShardCount) -> u16 {
    let hash = key.wrapping_mul(0x9e37_79b1);
    scale((hash ^ (hash >> 15)).wrapping_mul(0x85eb_ca77), shards)
}

#[inline]
fn scale(hash: u32, shards: ShardCount) -> u16 {
    // A count of shards fits 16 bits.
    ((u64::from(hash) * u64::from(shards.get())) >> 32) as u16
}

#[cfg(test)]
mod tests {
    use arrow_array::{ArrayRef, RecordBatch};
    use tradejoin_model::{BatchIndex, ChangeKind, Messages};

    use super::*;

    #[test]
    fn keys_spread_evenly_whatever_their_step() {
        for shards in [2, 3, 7, 64].into_iter().filter_map(ShardCount::new) {
            for step in [1, 2, 3, 10, 64, 1_000, 4_096] {
                let mut counts = vec![0_u32; shards.as_usize()];
                (0..100_000_u32).for_each(|n| counts[usize::from(owner(n.wrapping_mul(step), shards))] += 1);
                let share = 100_000 / shards.get();
                // Six standard deviations of a binomial with that mean.
                let bound = 6 * share.isqrt();
                assert!(counts.iter().all(|&n| n.abs_diff(share) < bound), "{shards:?}, {step}: {counts:?}");
            }
        }
    }

    #[test]
    fn texts_spread_evenly() {
        for shards in [2, 3, 7, 64].into_iter().filter_map(ShardCount::new) {
            let router = Router::new(shards, vec![]);
            let mut counts = vec![0_u32; shards.as_usize()];
            (0..100_000)
                .for_each(|n| counts[router.shard_of_text(format!("K{n}").as_bytes()).as_usize()] += 1);
            let share = 100_000 / shards.get();
            let bound = 6 * share.isqrt();
            assert!(counts.iter().all(|&n| n.abs_diff(share) < bound), "{shards:?}: {counts:?}");
        }
    }

    #[test]
    fn every_row_with_a_key_has_one_owner() {
        let shards = ShardCount::new(3).expect("within bounds");
        let router = Router::new(shards, vec![TableSpec::instruments()]);
        let keys: UInt32Array = (0..100).map(|row| (row % 7 != 0).then_some(row * 31)).collect();
        let (rows, unkeyed) = router.select_rows(&keys);
        assert_eq!(unkeyed, (0..100).filter(|row| row % 7 == 0).collect::<Vec<_>>());
        let mut all: Vec<_> = unkeyed;
        for shard in shards.shards() {
            let of_shard = rows.get(shard);
            assert!(of_shard.is_sorted());
            assert!(of_shard.iter().all(|&row| router.shard_of(Key(keys.value(row as usize))) == shard));
            all.extend(of_shard);
        }
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn every_row_with_a_text_has_one_owner() {
        let shards = ShardCount::new(3).expect("within bounds");
        let router = Router::new(shards, vec![TableSpec::users()]);
        let mut keys = TextColumn::default();
        (0..100).for_each(|row| keys.push((row % 7 != 0).then(|| format!("name {row}")).as_deref()));
        let (rows, unkeyed) = router.select_texts(&keys);
        assert_eq!(unkeyed, (0..100).filter(|row| row % 7 == 0).collect::<Vec<_>>());
        let mut all: Vec<_> = unkeyed;
        for shard in shards.shards() {
            let of_shard = rows.get(shard);
            assert!(of_shard.is_sorted());
            let owner = |&row: &u32| router.shard_of_text(keys.get(row as usize).expect("a key"));
            assert!(of_shard.iter().all(|row| owner(row) == shard));
            all.extend(of_shard);
        }
        all.sort_unstable();
        assert_eq!(all, (0..100).collect::<Vec<_>>());
    }

    /// A batch of trades with these ids, and changes of others before their rows.
    fn batch(ids: Vec<Option<u32>>, changes: &[(u32, u32)]) -> Batch {
        let lane = ChangeLane {
            at_rows: changes.iter().map(|change| change.0).collect(),
            keys: changes.iter().map(|change| Key(change.1)).collect::<Vec<_>>().into(),
            kinds: vec![ChangeKind::Delete; changes.len()],
            ..ChangeLane::default()
        };
        let ids = UInt32Array::from(ids);
        let trades = RecordBatch::try_from_iter([("id", Arc::new(ids.clone()) as ArrayRef)]);
        let messages = Messages::new(trades.expect("one column"), vec![ids.into()], vec![lane]);
        Batch { index: BatchIndex(0), messages: Arc::new(messages.expect("they fit together")) }
    }

    fn route(shards: u32, spec: TableSpec, generation: Option<Arc<StoredTable>>, batch: Batch) -> TableRoute {
        let router = Router::new(ShardCount::new(shards).expect("within bounds"), vec![spec]);
        router.route(batch, &[generation], ShardIndex(0)).routes.remove(0)
    }

    #[test]
    fn a_table_is_partitioned_unless_it_is_broadcast_or_there_is_one_shard() {
        let of = |distribution| TableSpec { distribution, ..TableSpec::instruments() };
        let generation =
            || Some(Arc::new(StoredTable::new(LookUp::Latest, &TableSpec::instruments().outputs)));
        let is_partitioned = |shards, distribution, generation| {
            let route = route(shards, of(distribution), generation, batch(vec![Some(1)], &[]));
            matches!(route, TableRoute::Partitioned(_))
        };
        assert!(is_partitioned(2, Distribution::Partitioned, None));
        assert!(is_partitioned(2, Distribution::Auto, None));
        assert!(!is_partitioned(2, Distribution::Broadcast, None));
        assert!(!is_partitioned(2, Distribution::Auto, generation()), "all shards have its rows");
        assert!(!is_partitioned(1, Distribution::Partitioned, None), "there is nothing to select");
    }

    #[test]
    fn each_change_and_each_row_of_a_batch_goes_to_the_owner_of_its_key() {
        let shards = ShardCount::new(3).expect("within bounds");
        let router = Router::new(shards, vec![TableSpec::instruments()]);
        let changes: Vec<(u32, u32)> = (0..50).map(|change| (change / 2, change * 3)).collect();
        let ids: Vec<_> = (0..90).map(Some).chain([None]).collect();
        let TableRoute::Partitioned(found) = route(3, TableSpec::instruments(), None, batch(ids, &changes))
        else {
            panic!("partitioned")
        };
        let owned = |keys: &[u32], shard| -> Vec<u32> {
            let all = (0..).zip(keys).filter(|&(_, &key)| router.shard_of(Key(key)) == shard);
            all.map(|(number, _)| number).collect()
        };
        let changed: Vec<u32> = changes.iter().map(|change| change.1).collect();
        for shard in shards.shards() {
            assert_eq!(found.changes.get(shard), owned(&changed, shard));
            assert_eq!(found.rows.get(shard), owned(&(0..90).collect::<Vec<_>>(), shard));
        }
        assert_eq!((found.unkeyed, found.repeats.all().len()), (vec![90], 0));
    }

    #[test]
    fn rows_of_a_hot_key_repeat_the_first_of_them_or_make_a_stretch() {
        // Before row 60 the key changes.
        let skewed = || batch(vec![Some(7); 100], &[(60, 7)]);
        let partition = |look_up| {
            let spec = TableSpec { look_up, ..TableSpec::instruments() };
            let TableRoute::Partitioned(partition) = route(2, spec, None, skewed()) else {
                panic!("partitioned")
            };
            partition
        };
        for look_up in [LookUp::Latest, LookUp::LatestVersion] {
            let partition = partition(look_up);
            assert_eq!((partition.rows.all(), partition.repeats.all().len()), (&[0, 60][..], 98));
            assert!(partition.stretches.is_empty());
        }
        let partition = partition(LookUp::AsOf { tolerance: None });
        assert!(partition.rows.all().is_empty() && partition.repeats.all().is_empty());
        assert_eq!(partition.stretches.rows(), (0..100).collect::<Vec<_>>());
    }

    #[test]
    fn rows_of_a_hot_text_repeat_the_first_of_them() {
        let texts = |count| -> TextColumn {
            let mut texts = TextColumn::default();
            (0..count).for_each(|_| texts.push(Some("hot")));
            texts
        };
        let lane = ChangeLane {
            at_rows: vec![60],
            keys: texts(1).into(),
            kinds: vec![ChangeKind::Delete],
            ..ChangeLane::default()
        };
        let numbers: UInt32Array = (0..100).map(Some).collect();
        let trades = RecordBatch::try_from_iter([("number", Arc::new(numbers) as ArrayRef)]);
        let messages = Messages::new(trades.expect("one column"), vec![texts(100).into()], vec![lane]);
        let messages = Arc::new(messages.expect("they fit together"));
        let batch = Batch { index: BatchIndex(0), messages };
        let TableRoute::Partitioned(found) = route(2, TableSpec::users(), None, batch) else {
            panic!("partitioned")
        };
        assert_eq!((found.rows.all(), found.repeats.all().len()), (&[0, 60][..], 98));
        let owner = Router::new(ShardCount::new(2).expect("within bounds"), vec![]).shard_of_text(b"hot");
        assert_eq!(found.changes.get(owner), [0]);
    }
}
