//! Which keys are looked for in vain most.

use ahash::AHashMap;
use arrow_array::Array as _;
use tradejoin_model::{Keys, MISS, OwnedKey, SlotIndex};

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

/// The keys that trades of a batch missed in a table.
#[derive(Clone, Debug, Default)]
pub struct MissedKeys {
    /// How many trades were read before the batch.
    trades_before: u64,
    /// Ids, each with the row that looked for it.
    ids: Vec<(u32, u32)>,
    /// Texts, each with the number of the trade that looked for it.
    texts: Vec<(Box<[u8]>, u64)>,
    /// Trades without a key.
    unkeyed: Count,
}

impl MissedKeys {
    /// Of these rows, rising.
    pub(crate) fn new(keys: &Keys, rows: impl Iterator<Item = u32>, trades_before: u64) -> Self {
        let mut missed = Self { trades_before, ..Self::default() };
        if let Keys::Ids(ids) = keys
            && ids.null_count() == 0
        {
            let values = ids.values();
            missed.ids.extend(rows.map(|row| (values[row as usize], row)));
            return missed;
        }
        let (keyed, unkeyed): (Vec<u32>, Vec<u32>) = rows.partition(|&row| keys.is_valid(row as usize));
        unkeyed.iter().for_each(|&row| missed.unkeyed.add(missed.number(row)));
        match keys {
            Keys::Ids(ids) => missed.ids = keyed.iter().map(|&row| (ids.value(row as usize), row)).collect(),
            Keys::Texts(texts) => {
                let text = |row: u32| texts.get(row as usize).unwrap_or_default().into();
                missed.texts = keyed.iter().map(|&row| (text(row), missed.number(row))).collect();
            }
        }
        missed
    }

    /// The number of the trade of a row.
    fn number(&self, row: u32) -> u64 {
        self.trades_before + u64::from(row) + 1
    }
}

/// How many trades missed a key, and the first and last of them.
#[derive(Clone, Copy, Debug, Default)]
struct Count {
    count: u64,
    first: u64,
    last: u64,
}

impl Count {
    fn add(&mut self, number: u64) {
        self.add_all(Self { count: 1, first: number, last: number });
    }

    fn add_all(&mut self, other: Self) {
        if other.count == 0 {
            return;
        }
        self.first = if self.count == 0 { other.first } else { self.first.min(other.first) };
        self.count += other.count;
        self.last = self.last.max(other.last);
    }

    fn of_key(self, key: Option<OwnedKey>) -> MissingKey {
        MissingKey { key, count: self.count, first: self.first, last: self.last }
    }
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

/// Of a table; its keys are all ids or all texts.
#[derive(Clone, Debug, Default)]
struct Tally {
    /// Where in `ids` an id is.
    places: SlotIndex,
    ids: Vec<(u32, Count)>,
    texts: AHashMap<Box<[u8]>, Count>,
    unkeyed: Count,
    /// Misses of keys that are not counted any more.
    others: u64,
}

impl MissingKeys {
    /// Keys that are counted for each table at most.
    const KEYS_MAX: usize = 10_000;

    /// Adds what a batch has missed, by table.
    pub fn add(&mut self, missed: Vec<MissedKeys>) {
        if self.tables.len() < missed.len() {
            self.tables.resize_with(missed.len(), Tally::default);
        }
        for (tally, missed) in self.tables.iter_mut().zip(missed) {
            tally.add(missed);
        }
    }

    /// The keys of a table that were missed most, at most `count` of them, and the
    /// misses of all others.
    #[must_use]
    pub fn most_missed(&self, table: usize, count: usize) -> (Vec<MissingKey>, u64) {
        let Some(tally) = self.tables.get(table) else { return (Vec::new(), 0) };
        let ids = tally.ids.iter().map(|&(id, count)| count.of_key(Some(OwnedKey::Id(id))));
        let texts = tally.texts.iter().map(|(text, count)| count.of_key(Some(OwnedKey::Text(text.clone()))));
        let unkeyed = Some(tally.unkeyed).filter(|unkeyed| unkeyed.count > 0).map(|count| count.of_key(None));
        let mut keys: Vec<_> = ids.chain(texts).chain(unkeyed).collect();
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
    fn add(&mut self, missed: MissedKeys) {
        for &(id, row) in &missed.ids {
            self.count_of(id).add(missed.number(row));
            if self.ids.len() > MissingKeys::KEYS_MAX {
                self.forget_ids();
            }
        }
        for (text, number) in missed.texts {
            self.texts.entry(text).or_default().add(number);
            if self.texts.len() > MissingKeys::KEYS_MAX {
                let mut texts = self.texts.drain().collect();
                self.others += forget_half(&mut texts);
                self.texts.extend(texts);
            }
        }
        self.unkeyed.add_all(missed.unkeyed);
    }

    fn forget_ids(&mut self) {
        self.others += forget_half(&mut self.ids);
        self.places = SlotIndex::default();
        (0..).zip(&self.ids).for_each(|(place, &(id, _))| {
            self.places.set(id, place);
        });
    }

    #[inline]
    fn count_of(&mut self, id: u32) -> &mut Count {
        let place = match self.places.get(id) {
            MISS => {
                // There are few more than `KEYS_MAX`.
                self.places.set(id, self.ids.len() as u32);
                self.ids.push((id, Count::default()));
                self.ids.len() - 1
            }
            place => place as usize,
        };
        &mut self.ids[place].1
    }
}

/// Forgets the half of the keys that was missed least; tells how often that was.
fn forget_half<K: Ord>(keys: &mut Vec<(K, Count)>) -> u64 {
    let half = keys.len() / 2;
    // Of keys that are missed as often, those that were missed first stay.
    keys.select_nth_unstable_by(half, |(a_key, a), (b_key, b)| {
        b.count.cmp(&a.count).then(a.first.cmp(&b.first)).then_with(|| a_key.cmp(b_key))
    });
    keys.drain(half..).map(|(_, count)| count.count).sum()
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
        missing.add(vec![MissedKeys::new(&batch, [0, 1, 2, 3].into_iter(), 100)]);
        missing.add(vec![MissedKeys::new(&batch, [2].into_iter(), 200)]);
        let (most, others) = missing.most_missed(0, 2);
        let key = |id: u32, first, last| MissingKey { key: Some(OwnedKey::Id(id)), count: 2, first, last };
        assert_eq!((most, others), (vec![key(7, 101, 104), key(9, 103, 203)], 1));
        assert_eq!(missing.most_missed(1, 2), (vec![], 0), "a table that nothing was missed in");
    }

    #[test]
    fn keys_that_are_texts_are_counted_too() {
        let mut texts = tradejoin_model::TextColumn::default();
        [Some("b"), Some("a"), None, Some("b")].into_iter().for_each(|text| texts.push(text));
        let mut missing = MissingKeys::default();
        missing.add(vec![MissedKeys::new(&texts.into(), [0, 1, 2, 3].into_iter(), 10)]);
        let (missed, others) = missing.most_missed(0, 3);
        let counts: Vec<_> = missed.iter().map(|key| (key.count, key.first, key.last)).collect();
        assert_eq!((counts, others), (vec![(2, 11, 14), (1, 12, 12), (1, 13, 13)], 0));
        assert_eq!((&missed[0].key, &missed[2].key), (&Some(OwnedKey::Text((*b"b").into())), &None));
    }

    #[test]
    fn trades_without_a_key_keep_their_first_in_later_batches() {
        let mut missing = MissingKeys::default();
        missing.add(vec![MissedKeys::new(&keys(&[None]), [0].into_iter(), 6)]);
        missing.add(vec![MissedKeys::new(&keys(&[Some(1)]), [0].into_iter(), 7)]);
        missing.add(vec![MissedKeys::new(&keys(&[None]), [0].into_iter(), 8)]);
        let unkeyed = MissingKey { key: None, count: 2, first: 7, last: 9 };
        assert_eq!(missing.most_missed(0, 1), (vec![unkeyed], 1));
    }

    #[test]
    fn what_is_told_does_not_depend_on_batches() {
        let ids: Vec<_> = (0..30_000).chain(std::iter::repeat_n(9_010, 500)).map(Some).collect();
        let told = |len: usize| {
            let mut missing = MissingKeys::default();
            for (batch, ids) in ids.chunks(len).enumerate() {
                let rows = 0..ids.len() as u32;
                missing.add(vec![MissedKeys::new(&keys(ids), rows, (batch * len) as u64)]);
            }
            missing.most_missed(0, 3)
        };
        assert_eq!(told(100), told(30_500));
        assert_eq!(told(1), told(7_000));
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
            missing.add(vec![MissedKeys::new(&keys(&ids), rows, total)]);
        }
        let (most, others) = missing.most_missed(0, 1);
        assert_eq!((most[0].key.clone(), most[0].count), (Some(OwnedKey::Id(u32::MAX)), 100));
        assert_eq!(most[0].count + others, total, "every miss is counted somewhere");
        assert!(missing.tables[0].ids.len() <= MissingKeys::KEYS_MAX);
    }

    #[test]
    fn as_many_keys_as_fit_are_all_counted_and_half_of_more_is_forgotten() {
        let most = MissingKeys::KEYS_MAX;
        let ids = |len: usize| -> Keys { UInt32Array::from_iter_values(0..len as u32).into() };
        let texts = |len: usize| -> Keys {
            let mut texts = tradejoin_model::TextColumn::default();
            (0..len).for_each(|number| texts.push(Some(&number.to_string())));
            texts.into()
        };
        let counted = |keys: &Keys| {
            let mut missing = MissingKeys::default();
            missing.add(vec![MissedKeys::new(keys, 0..keys.len() as u32, 0)]);
            let (counted, others) = missing.most_missed(0, keys.len());
            assert!(counted.windows(2).all(|pair| pair[0].first < pair[1].first), "the first ones stay");
            (counted.len(), others as usize)
        };
        for keys in [ids, texts] as [fn(usize) -> Keys; 2] {
            assert_eq!(counted(&keys(most)), (most, 0));
            assert_eq!(counted(&keys(most + 1)), (most / 2, most / 2 + 1));
        }
    }
}
