//! Changes of tables that come from beside the source while trades flow.

use std::collections::VecDeque;
use std::sync::Arc;

use tradejoin_model::{BatchIndex, ChangeLane};

use crate::sync::{AtomicBool, Mutex, MutexGuard, Ordering, PoisonError};

/// Changes that take effect all at one place in the sequence, between two trades, for
/// every shard and table alike: each table by its index, and its changes. A table is
/// there once; tables take effect in the order of this list, and trades that wait go out
/// in that order, whatever [turns](ChangeLane::turns) the changes have.
pub type Update = Vec<(usize, ChangeLane)>;

/// Where updates of a run wait for their place in the sequence. Clones are the same
/// queue; any thread may offer updates.
///
/// An update takes effect before the next block that the source gives, also if it was
/// offered while the source was waited for, or at its end.
#[derive(Clone, Debug, Default)]
pub struct Updates(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    /// Whether there is anything to look at.
    is_used: AtomicBool,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    waiting: VecDeque<(u64, Update)>,
    offered: u64,
    /// In the sequence, but not merged: the batch of each.
    under_way: Vec<(BatchIndex, u64)>,
    in_effect: Vec<InEffect>,
}

/// Where an update took effect.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct InEffect {
    /// The number that [`Updates::offer`] gave the update.
    pub update: u64,
    /// How many trades stand before it in the sequence, refused ones not counted.
    pub trades_before: u64,
}

impl Updates {
    /// Lets an update wait, and gives its number: 0, 1, 2, ….
    pub fn offer(&self, update: Update) -> u64 {
        let mut state = self.lock();
        let number = state.offered;
        state.offered += 1;
        state.waiting.push_back((number, update));
        drop(state);
        // The lock orders what is looked at when the flag is seen.
        self.0.is_used.store(true, Ordering::Relaxed);
        number
    }

    /// The updates that have taken effect since this was called last, each once its
    /// place is known, in the order of the sequence unless they overtook each other
    /// in between.
    #[must_use]
    pub fn in_effect(&self) -> Vec<InEffect> {
        std::mem::take(&mut self.lock().in_effect)
    }

    /// The next update that waits.
    pub(crate) fn take(&self) -> Option<(u64, Update)> {
        if self.0.is_used.load(Ordering::Relaxed) { self.lock().waiting.pop_front() } else { None }
    }

    /// An update has become a batch.
    pub(crate) fn is_under_way(&self, update: u64, batch: BatchIndex) {
        self.lock().under_way.push((batch, update));
    }

    /// A batch has its place behind so many trades.
    pub(crate) fn has_place(&self, batch: BatchIndex, trades_before: u64) {
        if !self.0.is_used.load(Ordering::Relaxed) {
            return;
        }
        let mut state = self.lock();
        if let Some(at) = state.under_way.iter().position(|&(of, _)| of == batch) {
            let (_, update) = state.under_way.swap_remove(at);
            state.in_effect.push(InEffect { update, trades_before });
        }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn updates_come_in_their_order_and_have_their_place_once() {
        let updates = Updates::default();
        assert!(updates.take().is_none());
        assert_eq!([updates.offer(vec![]), updates.clone().offer(vec![])], [0, 1]);
        let (first, _) = updates.take().expect("one that waits");
        updates.is_under_way(first, BatchIndex(7));
        updates.has_place(BatchIndex(6), 10);
        assert_eq!(updates.in_effect(), []);
        updates.has_place(BatchIndex(7), 20);
        assert_eq!(updates.in_effect(), [InEffect { update: 0, trades_before: 20 }]);
        assert_eq!(updates.in_effect(), []);
        assert_eq!(updates.take().map(|(number, _)| number), Some(1));
    }
}
