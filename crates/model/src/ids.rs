//! Identifiers and counts as newtypes, so that a shard is never mistaken for a row.

use std::fmt;
use std::num::{NonZero, NonZeroU32};

macro_rules! number {
    ($(#[$doc:meta])* $name:ident($repr:ty)) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
        #[repr(transparent)]
        pub struct $name(pub $repr);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(&self.0, f)
            }
        }

        impl From<$repr> for $name {
            fn from(value: $repr) -> Self {
                Self(value)
            }
        }
    };
}

number! {
    /// The id of an instrument: an unsigned integer of 32 bits.
    InstrumentId(u32)
}
number! {
    /// The id of a user: an unsigned integer of 32 bits.
    UserId(u32)
}
number! {
    /// The key of a table row, and of a trade in that table: an
    /// [`InstrumentId`], a [`UserId`] or the like.
    Key(u32)
}
number! {
    /// A message's place in the one sequence of trades and table changes,
    /// counted from 0.
    Position(u64)
}
number! {
    /// A batch's place in the sequence of batches, counted from 0 without gaps.
    BatchIndex(u64)
}
number! {
    /// A shard's index, below the [`ShardCount`] of the run. Never persisted:
    /// which keys it owns may differ between builds.
    ShardIndex(u32)
}
number! {
    /// A table's index among the tables of a run.
    TableIndex(u32)
}

impl From<InstrumentId> for Key {
    fn from(id: InstrumentId) -> Self {
        Self(id.0)
    }
}

impl From<UserId> for Key {
    fn from(id: UserId) -> Self {
        Self(id.0)
    }
}

impl ShardIndex {
    /// The index as a position in a slice.
    #[inline]
    #[must_use]
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

impl TableIndex {
    /// The index as a position in a slice.
    #[inline]
    #[must_use]
    pub const fn as_usize(self) -> usize {
        self.0 as usize
    }
}

impl BatchIndex {
    /// The index of the batch that follows.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

/// How many shards a run has: 1 to [`ShardCount::MAX`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct ShardCount(NonZeroU32);

impl ShardCount {
    /// The largest number of shards: far above any machine's cores, and small
    /// enough that a batch's selections stay worth their hand-off.
    pub const MAX: u32 = 1024;

    /// A count of shards, or `None` outside `1..=ShardCount::MAX`.
    #[must_use]
    pub fn new(count: u32) -> Option<Self> {
        NonZeroU32::new(count).filter(|n| n.get() <= Self::MAX).map(Self)
    }

    /// A shard for each core that the process may use, within bounds.
    #[must_use]
    pub fn of_cores() -> Self {
        let cores = std::thread::available_parallelism().map_or(1, NonZero::get);
        let cores = u32::try_from(cores).unwrap_or(Self::MAX).min(Self::MAX);
        Self(NonZeroU32::new(cores).unwrap_or(NonZeroU32::MIN))
    }

    /// The count as an integer.
    #[inline]
    #[must_use]
    pub const fn get(self) -> u32 {
        self.0.get()
    }

    /// The count as a length.
    #[inline]
    #[must_use]
    pub const fn as_usize(self) -> usize {
        self.0.get() as usize
    }

    /// Every shard, in order.
    pub fn shards(self) -> impl ExactSizeIterator<Item = ShardIndex> {
        (0..self.get()).map(ShardIndex)
    }
}
