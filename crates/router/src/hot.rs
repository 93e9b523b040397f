//! Rows of hot keys, taken off the shards that own them.
//!
//! A key has one owner, so a key that a fifth of all trades have would give its
//! shard more than its share. But all trades between two changes of a key find the
//! same row: the owner looks up the first of them, and the thread that merges the
//! batch repeats its answer for the others. Where rows are looked up by time, these
//! others become [stretches](crate::stretches).

use ahash::AHashMap;
use tradejoin_model::{Repeat, Repeats, Selections, ShardCount, ShardIndex};

/// A batch is skewed if its busiest shard has more than this many eighths of the
/// mean.
const SKEWED: usize = 9;
/// Rows that are looked at to find hot keys: so many for each shard.
const SAMPLE: usize = 128;
/// And a key that so many of them have is hot: it has a 32nd of a shard's share.
const HOT: usize = 4;

/// Stands for the number of a row where there is none.
const NO_ROW: u32 = u32::MAX;

/// Keys that may be hot.
pub(crate) trait HotKey: Copy + Ord {
    /// What is noted of hot keys.
    type LastRows: LastRows<Self>;
}

/// For each hot key, the last row that was looked up.
pub(crate) trait LastRows<K> {
    /// Of these keys, the hottest first.
    fn new(keys: &[K]) -> Self;

    /// The row whose answer is that of `row`, too: `row` itself, if it is to be looked
    /// up.
    fn answer_of(&mut self, key: K, row: u32) -> u32;

    /// The next row of the key finds something else.
    fn change(&mut self, key: K);
}

/// Takes rows that need no look-up of their own out of `rows`, if these are not
/// spread evenly. `key_of_row` gives the key of a row; `changes_of` the changes that
/// a shard owns, each as the row before which it takes effect and its key, in order.
pub(crate) fn take_repeats<K: HotKey, C: Iterator<Item = (u32, K)>>(
    shards: ShardCount,
    rows: &mut Selections,
    key_of_row: impl Fn(u32) -> K,
    changes_of: impl Fn(ShardIndex) -> C,
) -> Repeats {
    let lens = |rows: &Selections| -> Vec<_> { shards.shards().map(|shard| rows.get(shard).len()).collect() };
    let all = rows.all().len();
    let busiest = shards.shards().map(|shard| rows.get(shard).len()).max().unwrap_or_default();
    if busiest * shards.as_usize() * 8 <= all * SKEWED {
        return Repeats::default();
    }
    let hot = hot_keys(shards, rows, &key_of_row);
    if hot.is_empty() {
        return Repeats::default();
    }
    let before = lens(rows);
    let mut last_rows = K::LastRows::new(&hot);
    // One place more, to write to before it is known that nothing goes there.
    let mut repeats = vec![Repeat { row: NO_ROW, of: NO_ROW }; all + 1];
    let mut count = 0;
    let changes_of = |shard| (shard, changes_of(shard).peekable());
    let mut changes = changes_of(ShardIndex(0));
    rows.retain(|shard, row| {
        if changes.0 != shard {
            changes = changes_of(shard);
        }
        while let Some((_, key)) = changes.1.next_if(|&(before, _)| before <= row) {
            last_rows.change(key);
        }
        let of = last_rows.answer_of(key_of_row(row), row);
        repeats[count] = Repeat { row, of };
        count += usize::from(of != row);
        of == row
    });
    repeats.truncate(count);
    // What a shard has no more of than its batch has rows fits 32 bits.
    let taken = before.iter().zip(lens(rows)).map(|(before, after)| (before - after) as u32);
    Repeats::new(repeats, taken.collect())
}

/// The keys that many rows of a sample have, the hottest first.
fn hot_keys<K: HotKey>(shards: ShardCount, rows: &Selections, key_of_row: impl Fn(u32) -> K) -> Vec<K> {
    let step = (rows.all().len() / (SAMPLE * shards.as_usize())).max(1);
    let mut sample: Vec<K> = rows.all().iter().step_by(step).map(|&row| key_of_row(row)).collect();
    sample.sort_unstable();
    let hot = sample.chunk_by(|a, b| a == b).filter(|same| same.len() >= HOT);
    let mut hot: Vec<_> = hot.map(|same| (same.len(), same[0])).collect();
    hot.sort_unstable_by(|a, b| b.cmp(a));
    hot.into_iter().map(|(_, key)| key).collect()
}

impl HotKey for u32 {
    type LastRows = LastRowsOfIds;
}

/// A place for each hot id, without collisions, so that no branch depends on what is
/// found.
#[derive(Debug)]
pub(crate) struct LastRowsOfIds {
    /// An id and its last row. An empty place is that of id 0, which may be hot
    /// without harm.
    places: Vec<(u32, u32)>,
    factor: u32,
    shift: u32,
}

impl LastRowsOfIds {
    /// Places for each id: of 20 ids, two want the same place once in seven times.
    const PLACES: usize = 64;
    /// Then another factor is tried, so many at most.
    const FACTORS: u32 = 8;

    #[inline]
    fn place(&mut self, id: u32) -> &mut (u32, u32) {
        &mut self.places[(id.wrapping_mul(self.factor) >> self.shift) as usize]
    }
}

impl LastRows<u32> for LastRowsOfIds {
    fn new(ids: &[u32]) -> Self {
        let len = (ids.len() * Self::PLACES).next_power_of_two();
        let shift = u32::BITS - len.trailing_zeros();
        let mut last_rows = Self { places: Vec::new(), factor: 0, shift };
        for number in 0..Self::FACTORS {
            // Odd multiples of the golden ratio.
            last_rows.factor = 0x9e37_79b1_u32.wrapping_mul(2 * number + 1);
            last_rows.places = vec![(0, NO_ROW); len];
            let mut all_have_one = true;
            for &id in ids {
                let place = last_rows.place(id);
                let is_free = place.0 == 0;
                // A hotter one stays where it is.
                place.0 = if is_free { id } else { place.0 };
                all_have_one &= is_free;
            }
            if all_have_one {
                break;
            }
        }
        last_rows
    }

    #[inline]
    fn answer_of(&mut self, id: u32, row: u32) -> u32 {
        let place = self.place(id);
        let is_hot = place.0 == id;
        let of = if is_hot & (place.1 != NO_ROW) { place.1 } else { row };
        place.1 = if is_hot { of } else { place.1 };
        of
    }

    #[inline]
    fn change(&mut self, id: u32) {
        let place = self.place(id);
        place.1 = if place.0 == id { NO_ROW } else { place.1 };
    }
}

impl HotKey for Option<&[u8]> {
    type LastRows = AHashMap<Self, u32>;
}

impl<'k> LastRows<Option<&'k [u8]>> for AHashMap<Option<&'k [u8]>, u32> {
    fn new(keys: &[Option<&'k [u8]>]) -> Self {
        keys.iter().map(|&key| (key, NO_ROW)).collect()
    }

    fn answer_of(&mut self, key: Option<&'k [u8]>, row: u32) -> u32 {
        let Some(last) = self.get_mut(&key) else { return row };
        if *last == NO_ROW {
            *last = row;
        }
        *last
    }

    fn change(&mut self, key: Option<&'k [u8]>) {
        self.entry(key).and_modify(|last| *last = NO_ROW);
    }
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

    /// What is taken out of rows of these keys, of which none changes.
    fn taken(shards: u32, keys: &[u32]) -> (Repeats, Selections) {
        let shards = ShardCount::new(shards).expect("within bounds");
        let mut rows = selections(shards, keys);
        let key_of_row = |row: u32| keys[row as usize];
        let repeats = take_repeats(shards, &mut rows, key_of_row, |_| std::iter::empty::<(u32, u32)>());
        (repeats, rows)
    }

    #[test]
    fn hot_keys_stay_where_no_shard_has_more_than_nine_eighths_of_the_mean() {
        // Of 16 rows 9 have key 1, which the second of two shards owns, and 7 key 2.
        let keys: Vec<u32> = (0..16).map(|row| if row < 9 { 1 } else { 2 }).collect();
        let (repeats, rows) = taken(2, &keys);
        assert_eq!((repeats.all(), rows.all().len()), (&[][..], 16));
        // Of 17 rows 10 have it.
        let keys: Vec<u32> = (0..17).map(|row| if row < 10 { 1 } else { 2 }).collect();
        let (repeats, rows) = taken(2, &keys);
        assert_eq!((repeats.all().len(), rows.all()), (15, &[10, 0][..]));
    }

    #[test]
    fn a_key_of_four_rows_of_the_sample_is_hot_and_one_of_three_is_not() {
        // All of 512 rows are in the sample of four shards. The hot key is the greatest, and
        // its rows stand close to each other.
        let keys_with = |count: u32| -> Vec<u32> {
            (0..512).map(|row| if (101..101 + count).contains(&row) { 4_000 } else { row * 4 + 1 }).collect()
        };
        let (repeats, _) = taken(4, &keys_with(4));
        let pairs: Vec<_> = repeats.all().iter().map(|repeat| (repeat.row, repeat.of)).collect();
        assert_eq!(pairs, [(102, 101), (103, 101), (104, 101)]);
        assert!(taken(4, &keys_with(3)).0.all().is_empty());
    }

    #[test]
    fn keys_that_are_texts_are_looked_up_again_behind_their_changes_alone() {
        let shards = ShardCount::new(2).expect("within bounds");
        let texts: Vec<String> = (0..100).map(|row| if row % 2 == 0 { 1 } else { row }.to_string()).collect();
        let key = |row: u32| Some(texts[row as usize].as_bytes());
        // The second shard owns all rows.
        let mut rows = Selections::new(shards, &[1; 100]);
        let changes: [(u32, Option<&[u8]>); 3] = [(40, Some(b"1")), (50, Some(b"7")), (71, Some(b"1"))];
        let changes_of = |shard: ShardIndex| changes.into_iter().filter(move |_| shard.0 == 1);
        let repeats = take_repeats(shards, &mut rows, key, changes_of);
        let is_hot = |&row: &u32| texts[row as usize] == "1";
        // Row 1 has the hot key, too.
        let looked_up: Vec<u32> = rows.all().iter().copied().filter(is_hot).collect();
        assert_eq!(looked_up, [0, 40, 72]);
        assert_eq!(rows.all().len(), 49 + 3);
        let expected =
            |row: u32| Repeat { row, of: [0, 40, 72][usize::from(row > 40) + usize::from(row > 72)] };
        let repeated = (0..100).filter(|row| is_hot(row) && ![0, 40, 72].contains(row));
        assert_eq!(repeats.all(), repeated.map(expected).collect::<Vec<_>>());
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
