//! Rows of hot keys, taken off the shards that own them.
//!
//! A key has one owner, so a key that a fifth of all trades have would give its
//! shard more than its share. But all trades between two changes of a key find the
//! same row: the owner looks up the first of them, and the thread that merges the
//! batch repeats its answer for the others.

use std::hash::Hash;

use ahash::{HashMap, HashMapExt as _};
use tradejoin_model::{Repeat, Repeats, Selections, ShardCount, ShardIndex};

/// A batch is skewed if its busiest shard has more than this many eighths of the
/// mean.
const SKEWED: usize = 9;
/// Rows that are looked at to find hot keys: so many for each shard.
const SAMPLE: usize = 128;
/// And a key that so many of them have is hot: it has a 32nd of a shard's share.
const HOT: usize = 4;

/// Takes rows that need no look-up of their own out of `rows`, if these are not
/// spread evenly. `key_of_row` gives the key of a row; `changes_of` the changes that
/// a shard owns, each as the row before which it takes effect and its key, in order.
pub(crate) fn take_repeats<K: Copy + Ord + Hash, C: Iterator<Item = (u32, K)>>(
    shards: ShardCount,
    rows: &mut Selections,
    key_of_row: impl Fn(u32) -> K,
    changes_of: impl Fn(ShardIndex) -> C,
) -> Repeats {
    let mut repeats = Repeats::default();
    let busiest = shards.shards().map(|shard| rows.get(shard).len()).max().unwrap_or_default();
    if busiest * shards.as_usize() * 8 <= rows.all().len() * SKEWED {
        return repeats;
    }
    let mut last_rows = hot_keys(shards, rows, &key_of_row);
    if last_rows.is_empty() {
        return repeats;
    }
    let changes_of = |shard| (shard, changes_of(shard).peekable());
    let mut changes = changes_of(ShardIndex(0));
    rows.retain(|shard, row| {
        if changes.0 != shard {
            changes = changes_of(shard);
        }
        while let Some((_, key)) = changes.1.next_if(|&(before, _)| before <= row) {
            // The next trade is the first one that finds the new row.
            last_rows.entry(key).and_modify(|last| *last = None);
        }
        let Some(last) = last_rows.get_mut(&key_of_row(row)) else { return true };
        let of = *last.get_or_insert(row);
        if of != row {
            repeats.push(shard, Repeat { row, of });
        }
        of == row
    });
    repeats
}

/// The keys that many rows of a sample have.
fn hot_keys<K: Copy + Ord + Hash>(
    shards: ShardCount,
    rows: &Selections,
    key_of_row: impl Fn(u32) -> K,
) -> HashMap<K, Option<u32>> {
    let step = (rows.all().len() / (SAMPLE * shards.as_usize())).max(1);
    let mut sample: Vec<K> = rows.all().iter().step_by(step).map(|&row| key_of_row(row)).collect();
    sample.sort_unstable();
    let mut keys = HashMap::new();
    let hot = sample.chunk_by(|a, b| a == b).filter(|same| same.len() >= HOT);
    keys.extend(hot.map(|same| (same[0], None)));
    keys
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Selections of keys below a thousand, by their remainder.
    fn selections(shards: ShardCount, keys: &[u32]) -> Selections {
        let owners: Vec<_> = keys.iter().map(|key| (key % shards.get()) as u16).collect();
        Selections::new(shards, &owners)
    }

    fn lens(shards: ShardCount, rows: &Selections) -> Vec<usize> {
        shards.shards().map(|shard| rows.get(shard).len()).collect()
    }

    #[test]
    fn rows_that_are_spread_evenly_stay() {
        let shards = ShardCount::new(4).expect("within bounds");
        let keys: Vec<u32> = (0..1_000).collect();
        let mut rows = selections(shards, &keys);
        let repeats =
            take_repeats(shards, &mut rows, |row| keys[row as usize], |_| std::iter::empty::<(u32, u32)>());
        assert!(repeats.all().is_empty());
        assert_eq!(lens(shards, &rows), [250; 4]);
    }

    #[test]
    fn a_hot_key_is_looked_up_again_behind_its_changes_alone() {
        let shards = ShardCount::new(2).expect("within bounds");
        // Key 1 every other row; the others each once.
        let keys: Vec<u32> = (0..100).map(|row| if row % 2 == 0 { 1 } else { row + 100 }).collect();
        let mut rows = selections(shards, &keys);
        let changes = [(0, 1), (40, 1), (40, 1), (50, 7), (71, 1)];
        let changes_of = |shard: ShardIndex| changes.into_iter().filter(move |_| shard.0 == 1);
        let repeats = take_repeats(shards, &mut rows, |row| keys[row as usize], changes_of);
        let looked_up: Vec<u32> =
            rows.get(ShardIndex(1)).iter().copied().filter(|&row| keys[row as usize] == 1).collect();
        assert_eq!(looked_up, [0, 40, 72]);
        let all = repeats.all();
        assert_eq!(all.len(), 47);
        assert!(all.iter().all(|repeat| keys[repeat.row as usize] == 1));
        let of = |row: u32| all.iter().find(|repeat| repeat.row == row).map(|repeat| repeat.of);
        assert_eq!([of(38), of(40), of(42), of(70), of(74)], [Some(0), None, Some(40), Some(40), Some(72)]);
        assert_eq!([repeats.count(ShardIndex(0)), repeats.count(ShardIndex(1))], [0, 47]);
        let mut every: Vec<u32> = rows.all().iter().copied().chain(all.iter().map(|r| r.row)).collect();
        every.sort_unstable();
        assert_eq!(every, (0..100).collect::<Vec<_>>());
    }
}
