//! Numbers for keys that are texts, so that a table of any key is one of numbers.

use ahash::RandomState;
use hashbrown::HashTable;

use crate::batch::{ChangeKind, ChangeLane};
use crate::ids::Key;
use crate::index::SEEDS;
use crate::text::TextColumn;

/// The number of a text that has none; no table has such a row.
pub(crate) const NO_KEY: Key = Key(u32::MAX);

/// Gives each text a number, and the same text the same number for as long as it
/// is not forgotten. Numbers are dense: what comes of them is an array.
///
/// Those of a table on top of a generation begin behind the generation's, so that
/// a number means the same in both.
#[derive(Clone, Debug)]
pub(crate) struct KeyNumbers {
    hasher: RandomState,
    /// Places in `texts`. What is found has its text compared.
    places: HashTable<u32>,
    /// The text of each number, from `base` on; null for one that is free.
    texts: TextColumn,
    /// Places without a text.
    free: Vec<u32>,
    /// The number of the first place.
    base: u32,
}

impl Default for KeyNumbers {
    fn default() -> Self {
        let [k0, k1, k2, k3] = SEEDS;
        Self {
            hasher: RandomState::with_seeds(k0, k1, k2, k3),
            places: HashTable::new(),
            texts: TextColumn::default(),
            free: Vec::new(),
            base: 0,
        }
    }
}

impl KeyNumbers {
    /// Behind the last number that was ever given.
    fn end(&self) -> u32 {
        self.base + self.texts.len() as u32
    }

    /// The number of a text, here or in those `below`.
    #[inline]
    pub(crate) fn get(&self, text: &[u8], below: Option<&Self>) -> Option<u32> {
        let hash = self.hasher.hash_one(text);
        below.and_then(|below| below.find(hash, text)).or_else(|| self.find(hash, text))
    }

    #[inline]
    fn find(&self, hash: u64, text: &[u8]) -> Option<u32> {
        let is_equal = |&place: &u32| self.texts.get(place as usize) == Some(text);
        self.places.find(hash, is_equal).map(|place| self.base + place)
    }

    /// The number of a text, a new one if it has none.
    ///
    /// # Panics
    /// If there are 2³⁰ texts.
    pub(crate) fn get_or_give(&mut self, text: &[u8], below: Option<&Self>) -> u32 {
        if let Some(number) = self.get(text, below) {
            return number;
        }
        if self.texts.is_empty() {
            self.base = below.map_or(0, Self::end);
        }
        let place = match self.free.pop() {
            Some(place) => {
                self.texts.set(place as usize, Some(text));
                place
            }
            None => {
                assert!(self.texts.len() < 1 << 30, "a table has fewer than 2^30 rows");
                self.texts.push_bytes(Some(text));
                self.texts.len() as u32 - 1
            }
        };
        let Self { hasher, places, texts, .. } = self;
        let hash_of = |&place: &u32| hasher.hash_one(texts.get(place as usize).unwrap_or_default());
        places.insert_unique(hasher.hash_one(text), place, hash_of);
        self.base + place
    }

    /// The numbers of the keys of changes, by change: [`NO_KEY`] for what was not
    /// asked for and, unless every key is to have one, for a row that is to go and
    /// is not there.
    pub(crate) fn of_changes(
        &mut self,
        keys: &TextColumn,
        lane: &ChangeLane,
        changes: impl Iterator<Item = u32>,
        below: Option<&Self>,
        every: bool,
    ) -> Vec<Key> {
        let mut numbers = vec![NO_KEY; lane.len()];
        for change in changes.map(|change| change as usize) {
            let key = keys.get(change).unwrap_or_default();
            numbers[change] = if every || lane.kinds[change] == ChangeKind::Upsert {
                Key(self.get_or_give(key, below))
            } else {
                self.get(key, below).map_or(NO_KEY, Key)
            };
        }
        numbers
    }

    /// The numbers of the keys of rows, here or in those `below`.
    pub(crate) fn of_rows(
        &self,
        keys: &TextColumn,
        rows: impl Iterator<Item = u32>,
        below: Option<&Self>,
        numbers: &mut Vec<Option<u32>>,
    ) {
        numbers.clear();
        numbers.extend(rows.map(|row| self.get(keys.get(row as usize)?, below)));
    }

    /// Takes a number back; nothing happens if it is not one of these.
    pub(crate) fn forget(&mut self, number: u32) {
        let Some(place) = number.checked_sub(self.base).filter(|&place| (place as usize) < self.texts.len())
        else {
            return;
        };
        let Some(text) = self.texts.get(place as usize) else { return };
        let hash = self.hasher.hash_one(text);
        if let Ok(entry) = self.places.find_entry(hash, |&other| other == place) {
            entry.remove();
            self.texts.set(place as usize, None);
            self.free.push(place);
        }
    }

    /// Whether no text has ever had a number.
    pub(crate) fn is_empty(&self) -> bool {
        self.texts.is_empty()
    }

    /// Bytes of memory in use, the map's estimated from its capacity.
    pub(crate) fn memory_bytes(&self) -> usize {
        // Four bytes of place and one of control, at a load of 7/8.
        let places = self.places.capacity() * 5 * 8 / 7;
        places + self.texts.memory_bytes() + self.free.capacity() * size_of::<u32>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const LONG: &[u8] = b"a key that does not fit in twenty-three bytes";

    #[test]
    fn a_text_keeps_its_number_until_it_is_forgotten() {
        let mut numbers = KeyNumbers::default();
        let texts: [&[u8]; 4] = [b"", b"XNYS", LONG, b"a\0b"];
        let given: Vec<_> = texts.iter().map(|text| numbers.get_or_give(text, None)).collect();
        assert_eq!(given, [0, 1, 2, 3]);
        assert_eq!(texts.map(|text| numbers.get(text, None)), [Some(0), Some(1), Some(2), Some(3)]);
        assert_eq!(numbers.get(b"XNY", None), None);
        numbers.forget(2);
        numbers.forget(2);
        numbers.forget(9);
        assert_eq!(numbers.get(LONG, None), None);
        assert_eq!((numbers.get_or_give(b"new", None), numbers.get_or_give(b"more", None)), (2, 4));
    }

    #[test]
    fn numbers_on_top_of_others_do_not_meet_them() {
        let mut below = KeyNumbers::default();
        (0..10).for_each(|n: u32| assert_eq!(below.get_or_give(&n.to_le_bytes(), None), n));
        let mut own = KeyNumbers::default();
        assert_eq!(own.get_or_give(&3_u32.to_le_bytes(), Some(&below)), 3);
        assert!(own.is_empty());
        assert_eq!(own.get_or_give(b"new", Some(&below)), 10);
        own.forget(3);
        assert_eq!(own.get(&3_u32.to_le_bytes(), Some(&below)), Some(3));
        assert_eq!(own.get(b"new", Some(&below)), Some(10));
    }

    #[test]
    fn keys_that_come_and_go_take_bounded_memory() {
        let mut numbers = KeyNumbers::default();
        for n in 0..100_000_u32 {
            let text = format!("a key that is new each time, and long: {n}");
            let number = numbers.get_or_give(text.as_bytes(), None);
            numbers.forget(number);
        }
        assert!(numbers.memory_bytes() < 10_000, "{}", numbers.memory_bytes());
    }
}
