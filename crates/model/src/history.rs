//! The rows of one key by the time from which they are valid.

use std::ops::RangeInclusive;

use crate::column::INTEGER_NULL;

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
/// A row that comes late goes where its time is, at the cost of moving the later
/// ones of its key.
#[derive(Clone, Debug)]
pub struct History<T>(Vec<(Validity, T)>);

impl<T> Default for History<T> {
    fn default() -> Self {
        Self(Vec::new())
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
        let at = self.0.partition_point(|(other, _)| other.from < validity.from);
        let replaced =
            self.0.get(at).filter(|(other, _)| other.from == validity.from).map(|&(_, value)| value);
        let overlap = |&(validity, value): &(Validity, T)| Overlap { validity, value };
        if let Some(before) = self.0[..at].last().filter(|(before, _)| is_cut(*before, validity)) {
            return Err(overlap(before));
        }
        let next = at + usize::from(replaced.is_some());
        if let Some(after) = self.0.get(next).filter(|(after, _)| is_cut(validity, *after)) {
            return Err(overlap(after));
        }
        match replaced {
            Some(_) => self.0[at] = (validity, value),
            None => self.0.insert(at, (validity, value)),
        }
        Ok(replaced)
    }

    /// Removes the row with the same beginning, or without a beginning every row.
    pub fn delete(&mut self, validity: Validity) -> impl Iterator<Item = T> {
        let from = validity.from;
        let before = |time: i64| self.0.partition_point(|(validity, _)| validity.from < time);
        let gone = match from {
            INTEGER_NULL => 0..self.0.len(),
            from => {
                let at = before(from);
                at..at + usize::from(self.0.get(at).is_some_and(|(validity, _)| validity.from == from))
            }
        };
        self.0.drain(gone).map(|(_, value)| value)
    }

    /// The row that is valid at `time`: of those that have begun, the one that
    /// began last, if it has not ended and, with a tolerance, began no longer ago
    /// than that.
    #[inline]
    #[must_use]
    pub fn at(&self, time: i64, tolerance: Option<u64>) -> Option<T> {
        let &(validity, value) = self.0[..self.begun(time)].last()?;
        validity.is_found_at(time, tolerance).then_some(value)
    }

    /// How many rows have begun at `time`.
    #[inline]
    pub(crate) fn begun(&self, time: i64) -> usize {
        self.0.partition_point(|(validity, _)| validity.from <= time)
    }

    /// The rows by their beginnings.
    pub(crate) fn rows(&self) -> &[(Validity, T)] {
        &self.0
    }

    /// Before when the row that begins at `from` is valid, which is there: its own
    /// end, or if it is open the beginning of the next one; [`INTEGER_NULL`] for
    /// ever.
    pub(crate) fn until(&self, from: i64) -> i64 {
        let at = self.0.partition_point(|(validity, _)| validity.from < from);
        match self.0.get(at..) {
            Some([(Validity { to: INTEGER_NULL, .. }, _), (next, _), ..]) => next.from,
            Some([(Validity { to, .. }, _), ..]) => *to,
            _ => INTEGER_NULL,
        }
    }

    /// When the first row begins that does so behind `from`; [`INTEGER_NULL`] for
    /// never.
    pub(crate) fn next(&self, from: i64) -> i64 {
        let at = self.0.partition_point(|(validity, _)| validity.from <= from);
        self.0.get(at).map_or(INTEGER_NULL, |(validity, _)| validity.from)
    }

    /// The last row that begins before `from`.
    pub(crate) fn before(&self, from: i64) -> Option<(Validity, T)> {
        let at = self.0.partition_point(|(validity, _)| validity.from < from);
        self.0[..at].last().copied()
    }

    /// The same rows with other values.
    #[must_use]
    pub fn map<U>(&self, value: impl Fn(T) -> U) -> History<U> {
        History(self.0.iter().map(|&(validity, old)| (validity, value(old))).collect())
    }

    /// Whether there is no row.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Bytes of memory in use.
    #[must_use]
    pub fn memory_bytes(&self) -> usize {
        self.0.capacity() * size_of::<(Validity, T)>()
    }
}

/// Whether the earlier of two rows says that it is valid when the later one
/// begins.
fn is_cut(earlier: Validity, later: Validity) -> bool {
    earlier.to != INTEGER_NULL && later.from < earlier.to
}

#[cfg(test)]
mod tests {
    use super::*;

    const NULL: i64 = INTEGER_NULL;

    #[test]
    fn the_times_of_a_row_are_those_at_which_it_is_found() {
        const TIMES: [i64; 9] = [NULL, i64::MIN + 1, -10, 0, 1, 2, 10, i64::MAX - 1, i64::MAX];
        for (from, to) in TIMES.into_iter().flat_map(|from| TIMES.map(|to| (from, to))) {
            let validity = Validity { from, to };
            for tolerance in [None, Some(0), Some(1), Some(10), Some(u64::MAX)] {
                let times = validity.times_found(tolerance);
                for time in TIMES {
                    let is_one = times.as_ref().is_some_and(|times| times.contains(&time));
                    let is_found = validity.is_found_at(time, tolerance);
                    assert_eq!(is_one, is_found, "{validity:?}, {tolerance:?}, at {time}");
                }
            }
        }
    }

    fn history(rows: &[(i64, i64, char)]) -> History<char> {
        let mut history = History::default();
        for &(from, to, value) in rows {
            assert_eq!(history.put(Validity { from, to }, value), Ok(None));
        }
        history
    }

    fn seen(history: &History<char>, times: impl IntoIterator<Item = i64>, tolerance: Option<u64>) -> String {
        times.into_iter().map(|time| history.at(time, tolerance).unwrap_or('-')).collect()
    }

    #[test]
    fn a_row_is_valid_from_its_beginning_to_before_its_end() {
        let rows = [(2, 4, 'a'), (4, NULL, 'b'), (7, 8, 'c')];
        for order in [[0, 1, 2], [2, 1, 0], [1, 2, 0]] {
            let history = history(&order.map(|i| rows[i]));
            assert_eq!(seen(&history, 1..=9, None), "-aabbbc--", "an open row ends where the next begins");
        }
        let ever = history(&[(NULL, NULL, 'a'), (5, NULL, 'b')]);
        assert_eq!(seen(&ever, [NULL, i64::MIN + 1, 4, 5, i64::MAX], None), "aaabb");
    }

    #[test]
    fn an_open_row_is_valid_until_the_next_one() {
        let rows = history(&[(NULL, NULL, 'a'), (2, 4, 'b'), (6, NULL, 'c'), (9, NULL, 'd')]);
        assert_eq!([NULL, 2, 6, 9].map(|from| rows.until(from)), [2, 4, 9, NULL]);
        assert_eq!([NULL, 2, 5, 9].map(|from| rows.next(from)), [2, 6, 6, NULL], "a gap may be between");
        let before = |from| rows.before(from).map(|(_, value)| value);
        assert_eq!([NULL, 2, 5, 9].map(before), [None, Some('a'), Some('b'), Some('c')]);
    }

    #[test]
    fn a_row_that_began_too_long_ago_is_not_seen() {
        let rows = history(&[(NULL, 0, 'a'), (2, 6, 'b'), (8, NULL, 'c')]);
        assert_eq!(seen(&rows, -1..=11, Some(2)), "---bbb---ccc-");
        assert_eq!(seen(&rows, [2, 3, 8, 9], Some(0)), "b-c-");
        assert_eq!(seen(&rows, [i64::MAX], Some(u64::MAX)), "c");
        assert_eq!(seen(&rows, [-1], Some(u64::MAX)), "-", "since ever is longer ago than any tolerance");
    }

    #[test]
    fn the_same_beginning_replaces_and_removes() {
        let mut rows = history(&[(2, 4, 'a'), (6, NULL, 'b')]);
        assert_eq!(rows.put(Validity { from: 2, to: NULL }, 'c'), Ok(Some('a')));
        assert_eq!(seen(&rows, 1..=7, None), "-ccccbb");
        let mut delete = |from| rows.delete(Validity { from, to: 1 }).collect::<String>();
        assert_eq!((delete(6), delete(6)), ("b".to_owned(), String::new()));
        assert_eq!(seen(&rows, 1..=7, None), "-cccccc");
        assert_eq!(rows.put(Validity { from: 8, to: NULL }, 'd'), Ok(None));
        assert_eq!(rows.delete(Validity::EVER).collect::<String>(), "cd");
        assert!(rows.is_empty());
    }

    #[test]
    fn a_closed_row_holds_no_other_beginning() {
        let mut rows = history(&[(2, 5, 'a'), (8, NULL, 'b')]);
        let a = Overlap { validity: Validity { from: 2, to: 5 }, value: 'a' };
        let b = Overlap { validity: Validity { from: 8, to: NULL }, value: 'b' };
        for (from, to, other) in
            [(4, 6, a), (4, NULL, a), (1, 3, a), (NULL, 6, a), (2, 9, b), (6, 9, b), (3, 4, a)]
        {
            assert_eq!(rows.put(Validity { from, to }, 'x'), Err(other), "{from} to {to}");
        }
        assert_eq!(seen(&rows, 1..=9, None), "-aaa---bb", "nothing has changed");
        assert_eq!(rows.put(Validity { from: 5, to: 8 }, 'c'), Ok(None), "they may touch");
        assert_eq!(rows.put(Validity { from: 1, to: NULL }, 'd'), Ok(None), "an open one gives way");
        assert_eq!(seen(&rows, 1..=9, None), "daaacccbb");
    }
}
