//! Rows by their beginnings, in blocks.

use super::Validity;

pub(super) type Row<T> = (Validity, T);

/// Many more, and a row that comes late moves more; far fewer, and there are more
/// blocks to move when one is added.
pub(super) const BLOCK_ROWS: usize = 512;

/// Rows in blocks of at most [`BLOCK_ROWS`].
#[derive(Clone, Debug)]
pub(super) enum Rows<T> {
    /// One block, which may be empty: all that most keys have.
    Few(Vec<Row<T>>),
    /// Two or more, none empty, and any two neighbours more than half full together.
    #[expect(clippy::box_collection, reason = "a key of few rows takes no more than a `Vec`")]
    Many(Box<Vec<Vec<Row<T>>>>),
}

const _: () = assert!(size_of::<Rows<u32>>() == size_of::<Vec<Row<u32>>>());

/// Where a row is: the number of its block, and its number there. It may be behind
/// the last row of a block.
pub(super) type Place = (usize, usize);

impl<T> Rows<T> {
    #[inline]
    pub(super) fn blocks(&self) -> &[Vec<Row<T>>] {
        match self {
            Self::Few(block) => std::slice::from_ref(block),
            Self::Many(blocks) => blocks,
        }
    }

    pub(super) fn blocks_mut(&mut self) -> &mut [Vec<Row<T>>] {
        match self {
            Self::Few(block) => std::slice::from_mut(block),
            Self::Many(blocks) => blocks,
        }
    }

    /// The place behind all rows whose beginning `is_before`, as it is for all up to
    /// some time: in the block of the last of these, if there are any.
    #[inline]
    pub(super) fn behind(&self, is_before: impl Fn(i64) -> bool) -> Place {
        let blocks = self.blocks();
        let block = blocks[1..].partition_point(|block| is_before(block[0].0.from));
        (block, blocks[block].partition_point(|(validity, _)| is_before(validity.from)))
    }

    /// The row at a place.
    pub(super) fn get(&self, (block, at): Place) -> Option<&Row<T>> {
        let blocks = self.blocks();
        blocks[block].get(at).or_else(|| blocks.get(block + 1)?.first())
    }

    /// The row before a place.
    #[inline]
    pub(super) fn before(&self, (block, at): Place) -> Option<&Row<T>> {
        let blocks = self.blocks();
        blocks[block][..at].last().or_else(|| blocks[block.checked_sub(1)?].last())
    }

    pub(super) fn insert(&mut self, place: Place, row: Row<T>) {
        let (block, at) =
            if self.blocks()[place.0].len() < BLOCK_ROWS { place } else { self.make_room(place) };
        self.blocks_mut()[block].insert(at, row);
    }

    /// Gives a place in a full block room, and says where it is then.
    fn make_room(&mut self, (block, at): Place) -> Place {
        let is_full = |block: &Vec<_>| block.len() == BLOCK_ROWS;
        if at == BLOCK_ROWS && self.blocks().get(block + 1).is_some_and(|next| !is_full(next)) {
            return (block + 1, 0);
        }
        // Rows that come in order leave full blocks behind.
        let kept = if at == BLOCK_ROWS { BLOCK_ROWS } else { BLOCK_ROWS / 2 };
        let mut blocks = match std::mem::take(self) {
            Self::Few(rows) => Box::new(vec![rows]),
            Self::Many(blocks) => blocks,
        };
        let later = blocks[block].split_off(kept);
        blocks.insert(block + 1, later);
        *self = Self::Many(blocks);
        if at < kept { (block, at) } else { (block + 1, at - kept) }
    }

    pub(super) fn remove(&mut self, (block, at): Place) -> Row<T> {
        let row = self.blocks_mut()[block].remove(at);
        // What has become small is one block with a neighbour.
        if let Self::Many(blocks) = self {
            for first in [block, block.saturating_sub(1)] {
                if let Some([one, other]) = blocks.get_mut(first..first + 2)
                    && (one.is_empty() || other.is_empty() || one.len() + other.len() <= BLOCK_ROWS / 2)
                {
                    one.append(other);
                    blocks.remove(first + 1);
                }
            }
            if let [only] = blocks.as_mut_slice() {
                *self = Self::Few(std::mem::take(only));
            }
        }
        row
    }
}

impl<T> Default for Rows<T> {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}
