//! From keys to entries: an array where keys are dense, else a hash map.

use ahash::{AHashMap, RandomState};

use crate::keyed::{MISS, Slot, is_special};

/// Seeds of the map's hash: digits of e. The router's hash has others: with one
/// hash for both, the keys of a shard share their high bits and crowd its map.
pub(crate) const SEEDS: [u64; 4] =
    [0x324e_7738_926c_fbe5, 0xf4bf_8d8d_8c31_d763, 0xda06_c80a_bb11_85eb, 0x4f7c_7b57_57f5_9584];

/// What a table notes of each key: mostly where its row is.
///
/// Ids are mostly given out in sequence, and then an array finds a slot with one
/// load. It is left for a map by a key that would make it mostly empty, and
/// taken again once enough keys have come.
#[derive(Clone, Debug)]
pub enum SlotIndex {
    /// The entry of each key below the length, [`MISS`] for a key without one;
    /// and how many have one.
    Dense(Vec<Slot>, usize),
    /// Keys of any value; and the largest that was ever there.
    Sparse(AHashMap<u32, Slot>, u32),
}

/// The places of what was found that are no slots: memory for many batches.
#[derive(Clone, Debug, Default)]
pub(crate) struct Special {
    /// At least as many as there were rows; those behind `count` mean nothing.
    places: Vec<u32>,
    count: usize,
}

impl Special {
    pub(crate) fn places(&self) -> &[u32] {
        &self.places[..self.count]
    }
}

impl Default for SlotIndex {
    fn default() -> Self {
        Self::Dense(Vec::new(), 0)
    }
}

impl SlotIndex {
    /// An array of this length is small enough for any table: it fits a cache.
    const SMALL: usize = 1 << 16;
    /// Places of an array for each row, at most: beyond that a map is smaller.
    const PLACES_MAX: usize = 8;
    /// As many are few enough to go back to an array.
    const PLACES_FEW: usize = 3;

    /// How many keys have an entry.
    #[must_use]
    pub fn len(&self) -> usize {
        match self {
            Self::Dense(_, len) => *len,
            Self::Sparse(map, _) => map.len(),
        }
    }

    /// Whether no key has one.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All keys that have an entry, in no order.
    pub fn keys(&self) -> impl Iterator<Item = u32> {
        let (dense, sparse) = match self {
            Self::Dense(slots, _) => (slots.as_slice(), None),
            Self::Sparse(map, _) => ([].as_slice(), Some(map.keys().copied())),
        };
        let dense = (0..).zip(dense).filter(|&(_, &slot)| slot != MISS).map(|(key, _)| key);
        dense.chain(sparse.into_iter().flatten())
    }

    /// The entry of a key, [`MISS`] for a key without one.
    #[inline]
    #[must_use]
    pub fn get(&self, key: u32) -> Slot {
        match self {
            Self::Dense(slots, _) => slots.get(key as usize).copied().unwrap_or(MISS),
            Self::Sparse(map, _) => map.get(&key).copied().unwrap_or(MISS),
        }
    }

    /// Writes the entry of each key to `found`, [`MISS`] for no key and for one
    /// without an entry, and to `special` at which places there are entries that
    /// are no slots.
    #[inline]
    pub(crate) fn find(
        &self,
        keys: impl ExactSizeIterator<Item = Option<u32>>,
        found: &mut Vec<Slot>,
        special: &mut Special,
    ) {
        match self {
            Self::Dense(slots, _) => {
                // A key that is no key is beyond any array.
                let slots = slots.as_slice();
                collect(keys.map(|key| key.and_then(|key| slots.get(key as usize))), found, special);
            }
            Self::Sparse(map, _) => {
                collect(keys.map(|key| key.and_then(|key| map.get(&key))), found, special);
            }
        }
    }

    /// Gives a key an entry, and back the one that it had; [`MISS`] is none.
    #[inline]
    pub fn set(&mut self, key: u32, entry: Slot) -> Slot {
        if let Self::Dense(slots, len) = self
            && let Some(place) = slots.get_mut(key as usize)
        {
            let old = std::mem::replace(place, entry);
            *len = *len + usize::from(old == MISS) - usize::from(entry == MISS);
            return old;
        }
        if entry == MISS { self.remove(key) } else { self.insert(key, entry) }
    }

    fn insert(&mut self, key: u32, entry: Slot) -> Slot {
        self.make_room(key);
        match self {
            Self::Dense(slots, len) => {
                let old = std::mem::replace(&mut slots[key as usize], entry);
                *len += usize::from(old == MISS);
                old
            }
            Self::Sparse(map, largest) => {
                *largest = key.max(*largest);
                map.insert(key, entry).unwrap_or(MISS)
            }
        }
    }

    fn remove(&mut self, key: u32) -> Slot {
        match self {
            // Its place is not there.
            Self::Dense(..) => MISS,
            Self::Sparse(map, _) => map.remove(&key).unwrap_or(MISS),
        }
    }

    /// Sees to it that `key` has a place, in an array or a map.
    fn make_room(&mut self, key: u32) {
        let places = key as usize + 1;
        match self {
            Self::Dense(slots, _) if places <= slots.len() => {}
            Self::Dense(slots, len) if places <= Self::SMALL.max(Self::PLACES_MAX * *len) => {
                // Twice as long each time, so that few keys pay for all.
                let room = places.next_power_of_two().min(Self::SMALL.max(Self::PLACES_MAX * *len));
                slots.reserve_exact(room - slots.len());
                slots.resize(room, MISS);
            }
            Self::Dense(slots, _) => {
                let [k0, k1, k2, k3] = SEEDS;
                let mut map = AHashMap::with_hasher(RandomState::with_seeds(k0, k1, k2, k3));
                map.extend((0..).zip(slots.iter().copied()).filter(|&(_, slot)| slot != MISS));
                // No key is larger: this one did not fit.
                *self = Self::Sparse(map, key);
            }
            // Looked at when the map is about to double: few keys pay for all.
            Self::Sparse(map, largest) if map.len() == map.capacity() => {
                let places = (*largest).max(key) as usize + 1;
                if places <= Self::PLACES_FEW * map.len() {
                    let mut slots = vec![MISS; places];
                    map.iter().for_each(|(&key, &slot)| slots[key as usize] = slot);
                    *self = Self::Dense(slots, map.len());
                }
            }
            Self::Sparse(..) => {}
        }
    }

    /// Bytes of memory in use, the map's estimated from its capacity.
    pub(crate) fn memory_bytes(&self) -> usize {
        match self {
            Self::Dense(slots, _) => slots.capacity() * size_of::<Slot>(),
            // Eight bytes of key and slot and one of control, at a load of 7/8.
            Self::Sparse(map, _) => map.capacity() * 9 * 8 / 7,
        }
    }
}

/// See [`SlotIndex::find`]. No branch depends on what is found.
#[inline]
fn collect<'a>(
    entries: impl ExactSizeIterator<Item = Option<&'a Slot>>,
    found: &mut Vec<Slot>,
    special: &mut Special,
) {
    let len = entries.len();
    // Every place is written before it is read; only the length matters.
    found.resize(len, MISS);
    special.places.resize(len.max(special.places.len()), 0);
    let (places, mut count) = (special.places.as_mut_slice(), 0);
    for ((number, entry), place) in (0..).zip(entries).zip(found.iter_mut()) {
        let entry = entry.copied().unwrap_or(MISS);
        *place = entry;
        places[count] = number;
        count += usize::from(is_special(entry));
    }
    special.count = count;
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The entries of the keys, in order.
    fn content(index: &SlotIndex, keys: &[u32]) -> Vec<Slot> {
        let (mut found, mut special) = (Vec::new(), Special::default());
        index.find(keys.iter().copied().map(Some), &mut found, &mut special);
        let one_by_one: Vec<_> = keys.iter().map(|&key| index.get(key)).collect();
        assert_eq!(found, one_by_one);
        let missed: Vec<_> = (0..).zip(&found).filter(|&(_, &entry)| entry == MISS).map(|(n, _)| n).collect();
        assert_eq!(special.places(), missed);
        found
    }

    #[test]
    fn keys_in_sequence_are_an_array_and_stay_one() {
        let mut index = SlotIndex::default();
        for key in 0..1_000_000 {
            assert_eq!(index.set(key, key + 1), MISS);
        }
        assert!(matches!(index, SlotIndex::Dense(..)));
        assert!(index.memory_bytes() <= 1 << 22, "four bytes for each key and room to the next power of two");
        assert_eq!(content(&index, &[0, 999_999, 1_000_000, u32::MAX]), [1, 1_000_000, MISS, MISS]);
    }

    #[test]
    fn a_key_far_away_makes_it_a_map_with_the_same_content() {
        let mut index = SlotIndex::default();
        (0..10).for_each(|key| assert_eq!(index.set(key, key * 2), MISS));
        assert_eq!(index.set(3, MISS), 6);
        assert_eq!(index.set(u32::MAX, 7), MISS);
        assert!(matches!(index, SlotIndex::Sparse(..)));
        assert_eq!(index.len(), 10);
        assert_eq!(content(&index, &[2, 3, u32::MAX]), [4, MISS, 7]);
        assert_eq!((index.set(u32::MAX, MISS), index.set(u32::MAX, MISS)), (7, MISS));
        assert_eq!((index.set(2, 9), index.get(2)), (4, 9));
    }

    #[test]
    fn a_map_whose_keys_fill_up_becomes_an_array() {
        let mut index = SlotIndex::default();
        // From the top down: the first key is far from the others.
        for key in (0..300_000).rev() {
            index.set(key, key);
        }
        assert!(matches!(index, SlotIndex::Dense(..)));
        assert_eq!(index.len(), 300_000);
        assert_eq!(content(&index, &[0, 150_000, 299_999, 300_000]), [0, 150_000, 299_999, MISS]);
    }

    #[test]
    fn scattered_keys_take_no_more_memory_than_a_map() {
        let mut index = SlotIndex::default();
        for n in 0..100_000_u32 {
            index.set(n.wrapping_mul(2_654_435_761), n);
        }
        assert!(matches!(index, SlotIndex::Sparse(..)));
        assert!(index.memory_bytes() < 100_000 * 24);
    }
}
