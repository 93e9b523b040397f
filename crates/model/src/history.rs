//! The rows of one key by the time from which they are valid.

mod rows;

use std::ops::RangeInclusive;

use crate::column::INTEGER_NULL;

use rows::{Row, Rows};

/// When a row is valid: from a time on, and before another. Times are
/// nanoseconds since 1970-01-01 UTC.
///
/// [`INTEGER_NULL`] as the beginning is since ever. As the end it makes the row
/// *open*: it ends where the next one of its key begins, or never. A row with an
/// end of its own is *closed*.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Validity {
    /// The first time at which the row is valid.
    pub from: i64,
    /// The first time at which it is not valid any more; behind `from`.
    pub to: i64,
}

impl Validity {
    /// For ever.
    pub const EVER: Self = Self { from: INTEGER_NULL, to: INTEGER_NULL };

    /// Whether there is a time at which the row is valid.
    #[must_use]
    pub const fn is_some(self) -> bool {
        self.to == INTEGER_NULL || self.from < self.to
    }

    /// Whether a row that is valid then is found at `time`: with a tolerance, if it
    /// began no longer ago than that.
    #[inline]
    #[must_use]
    pub fn is_found_at(self, time: i64, tolerance: Option<u64>) -> bool {
        let is_recent = tolerance.is_none_or(|tolerance| self.is_recent(time, tolerance));
        self.from <= time && self.reaches(time) && is_recent
    }

    /// The times at which a row that is valid then [is found](Self::is_found_at); `None` if
    /// there are none.
    #[must_use]
    pub fn times_found(self, tolerance: Option<u64>) -> Option<RangeInclusive<i64>> {
        let end = if self.to == INTEGER_NULL { i64::MAX } else { self.to - 1 };
        let last = match tolerance {
            // What has been there since ever is further back than any.
            Some(_) if self.from == INTEGER_NULL => return None,
            Some(tolerance) => end.min(self.from.saturating_add_unsigned(tolerance)),
            None => end,
        };
        (self.from <= last).then_some(self.from..=last)
    }

    /// Whether the row's own end leaves `time` to it.
    #[inline]
    const fn reaches(self, time: i64) -> bool {
        self.to == INTEGER_NULL || time < self.to
    }

    /// Whether the beginning is no further back from `time` than `tolerance`.
    /// What has been there since ever is further back than any.
    #[inline]
    fn is_recent(self, time: i64, tolerance: u64) -> bool {
        // An `i64` is no further from another than a `u64` can tell.
        self.from != INTEGER_NULL && time.abs_diff(self.from) <= tolerance
    }
}

/// The rows of one key, sorted by their beginnings, no two of which are the
/// same; and no closed row holds the beginning of another. A value stands for
/// each row.
///
/// Rows may come in any order: one goes where its time is, at the cost of moving
/// a few hundred others at most.
#[derive(Clone, Debug)]
pub struct History<T>(Rows<T>);

impl<T> Default for History<T> {
    fn default() -> Self {
        Self(Rows::default())
    }
}

/// The row that another one overlaps.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlap<T> {
    /// When the one that was there first is valid.
    pub validity: Validity,
    /// What stands for it.
    pub value: T,
}

impl<T: Copy> History<T> {
    /// Adds a row, in the place of one with the same beginning if there is one,
    /// which is given back.
    ///
    /// # Errors
    /// If the row overlaps another: a closed row holds the other's beginning.
    /// Nothing has changed then.
    pub fn put(&mut self, validity: Validity, value: T) -> Result<Option<T>, Overlap<T>> {
        let (block, at) = self.0.behind(|from| from <= validity.from);
        let last = self.0.before((block, at)).filter(|(other, _)| other.from == validity.from);
        let replaced = last.map(|&(_, value)| value);
        let before = (block, at - usize::from(replaced.is_some()));
        let overlap = |&(validity, value): &Row<T>| Overlap { validity, value };
        if let Some(before) = self.0.before(before).filter(|(before, _)| is_cut(*before, validity)) {
            return Err(overlap(before));
        }
        if let Some(after) = self.0.get((block, at)).filter(|(after, _)| is_cut(validity, *after)) {
            return Err(overlap(after));
        }
        match replaced {
            Some(_) => self.0.blocks_mut()[block][at - 1] = (validity, value),
            None => self.0.insert((block, at), (validity, value)),
        }
        Ok(replaced)
    }

    /// Removes the row with the same beginning, or without a beginning every row.
    pub fn delete(&mut self, validity: Validity) -> impl Iterator<Item = T> {
        let (mut rows, mut blocks, mut one) = (Vec::new(), Vec::new(), None);
        if validity.from == INTEGER_NULL {
            match std::mem::take(&mut self.0) {
                Rows::Few(all) => rows = all,
                Rows::Many(all) => blocks = *all,
            }
        } else {
            let (block, at) = self.0.behind(|from| from <= validity.from);
            let last = self.0.before((block, at)).filter(|(other, _)| other.from == validity.from);
            one = last.is_some().then(|| self.0.remove((block, at - 1)));
        }
        rows.into_iter().chain(blocks.into_iter().flatten()).chain(one).map(|(_, value)| value)
    }

    /// The row that is valid at `time`: of those that have begun, the one that
    /// began last, if it has not ended and, with a tolerance, began no longer ago
    /// than that.
    #[inline]
    #[must_use]
    pub fn at(&self, time: i64, tolerance: Option<u64>) -> Option<T> {
        let &(validity, value) = self.begun_last(time)?;
        validity.is_found_at(time, tolerance).then_some(value)
    }

    /// Of the rows that have begun at `time` the one that began last.
    #[inline]
    pub(crate) fn begun_last(&self, time: i64) -> Option<&(Validity, T)> {
        self.0.before(self.0.behind(|from| from <= time))
    }

    /// That row, and those that begin later, in order.
    pub(crate) fn since(&self, time: i64) -> impl Iterator<Item = &(Validity, T)> + Clone {
        let (block, at) = self.0.behind(|from| from <= time);
        let blocks = self.0.blocks();
        blocks[block][at.saturating_sub(1)..].iter().chain(blocks[block + 1..].iter().flatten())
    }

    /// Before when the row that begins at `from` is valid, which is there: its own
    /// end, or if it is open the beginning of the next one; [`INTEGER_NULL`] for
    /// ever.
    pub(crate) fn until(&self, from: i64) -> i64 {
        let place = self.0.behind(|other| other <= from);
        match (self.0.before(place), self.0.get(place)) {
            (Some((Validity { to: INTEGER_NULL, .. }, _)), Some((next, _))) => next.from,
            (Some((Validity { to, .. }, _)), _) => *to,
            (None, _) => INTEGER_NULL,
        }
    }

    /// When the first row begins that does so behind `from`; [`INTEGER_NULL`] for
    /// never.
    pub(crate) fn next(&self, from: i64) -> i64 {
        let next = self.0.get(self.0.behind(|other| other <= from));
        next.map_or(INTEGER_NULL, |(validity, _)| validity.from)
    }

    /// The last row that begins before `from`.
    pub(crate) fn before(&self, from: i64) -> Option<(Validity, T)> {
        self.0.before(self.0.behind(|other| other < from)).copied()
    }

    /// The same rows with other values.
    #[must_use]
    pub fn map<U>(&self, value: impl Fn(T) -> U) -> History<U> {
        let block = |rows: &Vec<Row<T>>| rows.iter().map(|&(validity, old)| (validity, value(old))).collect();
        History(match &self.0 {
            Rows::Few(rows) => Rows::Few(block(rows)),
            Rows::Many(blocks) => Rows::Many(Box::new(blocks.iter().map(block).collect())),
        })
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.blocks()[0].is_empty()
    }

    /// Bytes of memory in use.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        let blocks = match &self.0 {
            Rows::Few(_) => 0,
            Rows::Many(blocks) => blocks.capacity() * size_of::<Vec<Row<T>>>(),
        };
        let rows = self.0.blocks().iter().map(|block| block.capacity() * size_of::<Row<T>>());
        blocks + rows.sum::<usize>()
    }
}

/// Whether the earlier of two rows says that it is valid when the later one
/// begins.
fn is_cut(earlier: Validity, later: Validity) -> bool {
    earlier.to != INTEGER_NULL && later.from < earlier.to
}

#[cfg(test)]
mod tests;
