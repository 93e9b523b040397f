//! Where batches begin.

use tradejoin_model::{BatchIndex, Position};

use super::Board;

impl<M, P, E> Board<M, P, E> {
    /// Has a batch that was just read begin at a place, behind so many trades: those before it
    /// have what is there already in a run that goes on, and no trades.
    pub fn place_at(&mut self, index: BatchIndex, position: Position, trades: u64) {
        self.placed = Some((index.0, position, trades));
    }

    /// The place of the first message of a batch, and how many trades the batches before it
    /// have; `None` before all of these are decoded, and once it has been written.
    #[must_use]
    pub fn place_of(&self, index: BatchIndex) -> Option<(Position, u64)> {
        if index.0 == self.numbered {
            let placed = self.placed.filter(|placed| placed.0 == index.0);
            return Some(
                placed.map_or((self.position, self.trades), |(_, position, trades)| (position, trades)),
            );
        }
        let slot = self.slots.get(usize::try_from(index.0.checked_sub(self.first)?).ok()?);
        slot.filter(|_| index.0 < self.numbered).map(|slot| (slot.first_position, slot.trades_before))
    }
}
