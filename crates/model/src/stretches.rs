//! Trades of a hot key that are looked up together, each as of its own time.

use std::ops::Range;

use arrow_array::{Array as _, Int64Array};

use crate::history::Validity;
use crate::ids::ShardIndex;

/// Rows of one key with no change of the key among them: all meet the same rows of
/// the table, and which of these a trade finds is a matter of its time alone.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stretch {
    /// Where its rows are among those of [all](Stretches::rows): two or more.
    pub rows: Range<usize>,
    /// The least time of its rows; greater than `greatest` if no row has one.
    pub least: i64,
    /// The greatest one.
    pub greatest: i64,
}

/// The stretches of a batch, in one table.
#[derive(Clone, Debug, Default)]
pub struct Stretches {
    all: Vec<Stretch>,
    rows: Vec<u32>,
    ends: Vec<usize>,
}

impl Stretches {
    /// Those of one shard after the other, each shard's by their first rows; `rows`
    /// are those of all, each stretch's rising, and `ends` says where those of each
    /// shard end.
    #[must_use]
    pub fn new(all: Vec<Stretch>, rows: Vec<u32>, ends: Vec<usize>) -> Self {
        Self { all, rows, ends }
    }

    /// Whether there are none.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.all.is_empty()
    }

    /// The stretches of keys that a shard owns.
    #[must_use]
    pub fn of_shard(&self, shard: ShardIndex) -> &[Stretch] {
        let end = |shard: usize| self.ends.get(shard).copied().unwrap_or_default();
        let shard = shard.as_usize();
        &self.all[shard.checked_sub(1).map_or(0, end)..end(shard)]
    }

    /// The rows of all stretches.
    #[inline]
    #[must_use]
    pub fn rows(&self) -> &[u32] {
        &self.rows
    }
}

/// What a look-up by time takes beside the keys of its rows.
#[derive(Clone, Copy, Debug, Default)]
pub struct ByTime<'a> {
    /// The time of each trade of the batch.
    pub times: Option<&'a Int64Array>,
    /// The stretches to look up, by their first rows.
    pub stretches: &'a [Stretch],
    /// What the rows of stretches refer to.
    pub rows: &'a [u32],
    /// The key of each stretch.
    pub keys: &'a [Option<u32>],
}

impl ByTime<'_> {
    /// The first row of a stretch, if there is one of that number.
    #[inline]
    pub(crate) fn first_row(&self, stretch: usize) -> Option<u32> {
        Some(self.rows[self.stretches.get(stretch)?.rows.start])
    }

    /// The time of a row.
    #[inline]
    pub(crate) fn time(&self, row: u32) -> Option<i64> {
        let (times, row) = (self.times?, row as usize);
        times.is_valid(row).then(|| times.value(row))
    }
}

/// For each stretch the rows of its key that its times lie in, its *parts*: those
/// that a trade may find, by their beginnings.
#[derive(Clone, Debug, Default)]
pub struct Parts {
    validities: Vec<Validity>,
    /// Where those of each stretch end.
    ends: Vec<usize>,
    look_ups: u64,
}

impl Parts {
    pub(crate) fn clear(&mut self) {
        self.validities.clear();
        self.ends.clear();
        self.look_ups = 0;
    }

    /// A part of the stretch under way.
    pub(crate) fn push(&mut self, validity: Validity) {
        self.validities.push(validity);
    }

    /// Ends a stretch, which took so many look-ups.
    pub(crate) fn end(&mut self, look_ups: usize) {
        self.ends.push(self.validities.len());
        self.look_ups += look_ups as u64;
    }

    /// How many look-ups all stretches took.
    #[must_use]
    pub fn look_ups(&self) -> u64 {
        self.look_ups
    }

    /// The numbers of the parts of a stretch among all.
    ///
    /// # Panics
    /// If there is no such stretch.
    #[must_use]
    pub fn of_stretch(&self, stretch: usize) -> Range<usize> {
        stretch.checked_sub(1).map_or(0, |before| self.ends[before])..self.ends[stretch]
    }

    /// Which of some parts of one stretch a trade finds at `time`, as
    /// [`History::at`](crate::History::at) does.
    ///
    /// # Panics
    /// If there are no such parts.
    #[inline]
    #[must_use]
    pub fn at(&self, parts: Range<usize>, time: i64, tolerance: Option<u64>) -> Option<usize> {
        let begun = self.validities[parts.clone()].partition_point(|validity| validity.from <= time);
        let last = parts.start + begun.checked_sub(1)?;
        self.validities[last].is_found_at(time, tolerance).then_some(last)
    }
}
