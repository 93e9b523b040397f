//! Keys that change so often in a batch that no row walks through their versions.

use std::ops::Range;

use ahash::AHashMap;

use crate::keyed::Slot;

/// The versions of such keys, each key's walked through once for all rows of a batch:
/// memory for many batches, which a batch of a few changes a key has no use for.
#[derive(Clone, Debug, Default)]
pub(crate) struct Chains {
    /// Where the versions of the key with this entry are.
    of_entry: AHashMap<Slot, Range<usize>>,
    /// The first row that sees a version, and what it sees: of one key after the other,
    /// the youngest first.
    versions: Vec<(u32, Slot)>,
}

impl Chains {
    /// As many versions a row may walk through by itself.
    pub(crate) const STEPS_MAX: usize = 16;

    /// Forgets the versions of the batch before.
    #[inline]
    pub(crate) fn clear(&mut self) {
        if !self.versions.is_empty() {
            self.of_entry.clear();
            self.versions.clear();
        }
    }

    /// How many keys were walked through.
    #[cfg(test)]
    pub(crate) fn keys(&self) -> usize {
        self.of_entry.len()
    }

    /// What a row sees of a key with this entry, whose versions `walk` gives, the
    /// youngest first, and last what every row sees.
    #[inline(never)]
    pub(crate) fn seen_by(&mut self, row: u32, entry: Slot, walk: impl Iterator<Item = (u32, Slot)>) -> Slot {
        let Self { of_entry, versions } = self;
        let of_entry = of_entry.entry(entry).or_insert_with(|| {
            let start = versions.len();
            versions.extend(walk);
            start..versions.len()
        });
        let versions = &versions[of_entry.clone()];
        versions[versions.partition_point(|&(at_row, _)| at_row > row)].1
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_versions_of_a_key_are_walked_through_once_a_batch() {
        let mut chains = Chains::default();
        let mut steps = 0;
        for batch in 1..=2 {
            chains.clear();
            for row in 0..1_000 {
                for entry in [5, 6] {
                    let walk = (0..1_000).rev().map(|at_row| (at_row, at_row * 10 + entry));
                    let slot = chains.seen_by(row, entry, walk.inspect(|_| steps += 1));
                    assert_eq!(slot, row * 10 + entry);
                }
            }
            assert_eq!(steps, batch * 2 * 1_000);
        }
    }
}
