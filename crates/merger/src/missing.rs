//! Which keys are looked for in vain most.

use ahash::AHashMap;
use tradejoin_model::{Keys, OwnedKey};

/// A key that trades of a batch, or of a run, did not find in a table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MissingKey {
    /// The key; `None` for trades without one.
    pub key: Option<OwnedKey>,
    /// How many trades looked for it.
    pub count: u64,
    /// The number of the first of them among all trades that were read, from 1.
    pub first: u64,
    /// The number of the last of them.
    pub last: u64,
}

/// The keys of a batch that were missed in a table, each once.
pub(crate) fn of_batch(keys: &Keys, rows: impl Iterator<Item = u32>, trades_before: u64) -> Vec<MissingKey> {
    let number = |row: u32| trades_before + u64::from(row) + 1;
    let missing = |key, rows: &[u32]| {
        let (&first, &last) = (rows.iter().min()?, rows.iter().max()?);
        Some(MissingKey { key, count: rows.len() as u64, first: number(first), last: number(last) })
    };
    let (keyed, unkeyed): (Vec<u32>, Vec<u32>) = rows.partition(|&row| keys.is_valid(row as usize));
    let mut missed: Vec<MissingKey> = match keys {
        Keys::Ids(ids) => {
            // Sorted as numbers: id and row in one.
            let mut keyed: Vec<u64> =
                keyed.iter().map(|&row| u64::from(ids.value(row as usize)) << 32 | u64::from(row)).collect();
            keyed.sort_unstable();
            let of_key = |of_key: &[u64]| {
                let rows = of_key.iter().map(|&both| both as u32);
                let id = (of_key[0] >> 32) as u32;
                let (first, last) = (number(rows.clone().min()?), number(rows.max()?));
                Some(MissingKey { key: Some(OwnedKey::Id(id)), count: of_key.len() as u64, first, last })
            };
            keyed.chunk_by(|a, b| a >> 32 == b >> 32).filter_map(of_key).collect()
        }
        Keys::Texts(texts) => {
            let mut keyed = keyed;
            // Stable: rows of one key stay in their order.
            keyed.sort_by_key(|&row| texts.get(row as usize));
            let same = |a: &u32, b: &u32| texts.get(*a as usize) == texts.get(*b as usize);
            keyed.chunk_by(same).filter_map(|rows| missing(keys.get(rows[0] as usize), rows)).collect()
        }
    };
    missed.extend(missing(None, &unkeyed));
    missed
}

/// The keys that a run has looked for in vain, of each table as many as fit.
///
/// Of each table 10,000 keys are counted. When there are more, the half that was
/// missed least goes, and only their number is kept: a key that is missed often
/// stays, and has been missed at least as often as its count says.
#[derive(Clone, Debug, Default)]
pub struct MissingKeys {
    tables: Vec<Tally>,
}

#[derive(Clone, Debug, Default)]
struct Tally {
    keys: AHashMap<Option<OwnedKey>, MissingKey>,
    /// Misses of keys that are not counted any more.
    others: u64,
}

impl MissingKeys {
    /// Keys that are counted for each table at most.
    const KEYS_MAX: usize = 10_000;

    /// Adds what a batch has missed, by table.
    pub fn add(&mut self, missed: Vec<Vec<MissingKey>>) {
        if self.tables.len() < missed.len() {
            self.tables.resize_with(missed.len(), Tally::default);
        }
        for (tally, missed) in self.tables.iter_mut().zip(missed) {
            for key in missed {
                tally
                    .keys
                    .entry(key.key.clone())
                    .and_modify(|known| {
                        known.count += key.count;
                        known.first = known.first.min(key.first);
                        known.last = known.last.max(key.last);
                    })
                    .or_insert(key);
            }
            if tally.keys.len() > Self::KEYS_MAX {
                tally.forget_half();
            }
        }
    }

    /// The keys of a table that were missed most, at most `count` of them, and the
    /// misses of all others.
    #[must_use]
    pub fn most_missed(&self, table: usize, count: usize) -> (Vec<MissingKey>, u64) {
        let Some(tally) = self.tables.get(table) else { return (Vec::new(), 0) };
        let mut keys: Vec<_> = tally.keys.values().cloned().collect();
        keys.sort_unstable_by(MissingKey::by_count);
        let rest = keys.split_off(count.min(keys.len()));
        (keys, tally.others + rest.iter().map(|key| key.count).sum::<u64>())
    }
}

impl MissingKey {
    /// The most missed first; of equals, the one that was missed first.
    fn by_count(a: &Self, b: &Self) -> std::cmp::Ordering {
        b.count.cmp(&a.count).then(a.first.cmp(&b.first)).then_with(|| a.key.cmp(&b.key))
    }
}

impl Tally {
    fn forget_half(&mut self) {
        let mut keys: Vec<_> = self.keys.drain().map(|(_, key)| key).collect();
        let half = keys.len() / 2;
        keys.select_nth_unstable_by(half, MissingKey::by_count);
        self.others += keys.drain(half..).map(|key| key.count).sum::<u64>();
        self.keys = keys.into_iter().map(|key| (key.key.clone(), key)).collect();
    }
}

#[cfg(test)]
mod tests {
    use arrow_array::UInt32Array;

    use super::*;

    fn keys(ids: &[Option<u32>]) -> Keys {
        UInt32Array::from(ids.to_vec()).into()
    }

    #[test]
    fn keys_are_counted_with_their_first_and_last_trade() {
        let mut missing = MissingKeys::default();
        let batch = keys(&[Some(7), None, Some(9), Some(7)]);
        missing.add(vec![of_batch(&batch, [0, 1, 2, 3].into_iter(), 100)]);
        missing.add(vec![of_batch(&batch, [2].into_iter(), 200)]);
        let (most, others) = missing.most_missed(0, 2);
        let key = |id: u32, first, last| MissingKey { key: Some(OwnedKey::Id(id)), count: 2, first, last };
        assert_eq!((most, others), (vec![key(7, 101, 104), key(9, 103, 203)], 1));
        assert_eq!(missing.most_missed(1, 2), (vec![], 0), "a table that nothing was missed in");
    }

    #[test]
    fn keys_that_are_texts_are_counted_too() {
        let mut texts = tradejoin_model::TextColumn::default();
        [Some("b"), Some("a"), None, Some("b")].into_iter().for_each(|text| texts.push(text));
        let missed = of_batch(&texts.into(), [0, 1, 2, 3].into_iter(), 10);
        let counts: Vec<_> = missed.iter().map(|key| (key.count, key.first, key.last)).collect();
        assert_eq!(counts, [(1, 12, 12), (2, 11, 14), (1, 13, 13)]);
        assert_eq!((&missed[1].key, &missed[2].key), (&Some(OwnedKey::Text((*b"b").into())), &None));
    }

    #[test]
    fn memory_is_bounded_and_what_is_missed_often_stays() {
        let mut missing = MissingKeys::default();
        let mut total = 0;
        for batch in 0..20_u32 {
            let ids: Vec<_> =
                (0..3_000).map(|n| Some(batch * 3_000 + n)).chain([Some(u32::MAX); 5]).collect();
            let rows = 0..ids.len() as u32;
            total += u64::from(rows.end);
            missing.add(vec![of_batch(&keys(&ids), rows, total)]);
        }
        let (most, others) = missing.most_missed(0, 1);
        assert_eq!((most[0].key.clone(), most[0].count), (Some(OwnedKey::Id(u32::MAX)), 100));
        assert_eq!(most[0].count + others, total, "every miss is counted somewhere");
        assert!(missing.tables[0].keys.len() <= MissingKeys::KEYS_MAX);
    }
}
