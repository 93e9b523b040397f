//! Trading days, and what an id means on each of them.

use std::ops::Range;

use rand::Rng;
use tradejoin_model::{INTEGER_NULL, Instrument, InstrumentId, Validity};

use crate::error::GeneratorError;
use crate::stream::{FirstWord, Stream};

/// When the first day opens: 2024-11-01T13:30:00Z, a Friday, in nanoseconds since
/// 1970-01-01.
const OPENING_NS: i64 = 1_730_467_800_000_000_000;
/// How long after midnight a day opens.
const MORNING_NS: i64 = 13 * 3_600_000_000_000 + 30 * 60_000_000_000;
/// How long a day is open: six hours and a half.
const SESSION_NS: u64 = 23_400_000_000_000;
const DAY_NS: i64 = 24 * 3_600_000_000_000;
/// Nanoseconds from a position to the next, on average, in a stream of one day.
const STEP_NS: u32 = 10_000;
/// The weekday of the first day, counted from Monday.
const FIRST_WEEKDAY: u32 = 4;
/// Days of a week on which there is trade.
const WEEK: u32 = 5;

/// Trading days, Monday to Friday from 2024-11-01 on, on each of which some ids are
/// given to another contract.
///
/// Every day begins as the stream does, with the first rows of its mix.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Days {
    /// How many there are, 1 to [`Days::MAX`].
    pub count: u32,
    /// Messages of a day, more than its first rows. The last day goes on.
    pub len: u64,
    /// The share of ids that mean another contract on a day than on the one before,
    /// 0 to 1. Terms are drawn anew: they are those of before once in 42 million.
    pub reused_share: f64,
}

impl Days {
    /// The most days that there can be.
    pub const MAX: u32 = 1_000;

    /// # Errors
    /// If there are none or too many, or a day has no room behind `first_rows`.
    pub(crate) fn check(self, first_rows: u64) -> Result<(), GeneratorError> {
        let Self { count, len, reused_share } = self;
        if !(1..=Self::MAX).contains(&count) {
            return Err(GeneratorError::Count { what: "days", count, max: Self::MAX });
        }
        if !(0.0..=1.0).contains(&reused_share) {
            return Err(GeneratorError::Share { what: "reused ids", share: reused_share });
        }
        if len <= first_rows {
            return Err(GeneratorError::ShortDay { len, first_rows });
        }
        Ok(())
    }

    /// Nanoseconds from a position to the next: all days but for the last one are as
    /// long, and that has fewer positions more than there are days if the stream is
    /// cut evenly.
    fn step_ns(self) -> u64 {
        (SESSION_NS / self.len.saturating_add(u64::from(self.count))).max(1)
    }
}

/// Positions that are on one day, and when they are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Span {
    pub(crate) day: u32,
    /// Its first position, and the one behind its last.
    pub(crate) first: u64,
    pub(crate) end: u64,
    pub(crate) pace: Pace,
}

/// When the positions of a day are.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    /// When position 0 would be if the day went back so far.
    zero_ns: i64,
    /// From a position to the next.
    step_ns: u64,
    /// A trade takes place less than this after its position.
    pub(crate) jitter_ns: u32,
}

impl Span {
    /// The day at a position.
    #[inline]
    pub(crate) fn at(days: Option<Days>, position: u64) -> Self {
        let Some(days) = days else {
            return Self { day: 0, first: 0, end: u64::MAX, pace: Pace::ONE_DAY };
        };
        let last = u64::from(days.count - 1);
        let day = (position / days.len).min(last);
        let first = day * days.len;
        let end = if day == last { u64::MAX } else { first + days.len };
        let step_ns = days.step_ns();
        let zero_ns = opening_ns(day as u32).wrapping_sub(first.wrapping_mul(step_ns) as i64);
        let jitter_ns = u32::try_from(step_ns).unwrap_or(u32::MAX);
        Self { day: day as u32, first, end, pace: Pace { zero_ns, step_ns, jitter_ns } }
    }
}

impl Pace {
    /// That of a stream without days.
    pub(crate) const ONE_DAY: Self =
        Self { zero_ns: OPENING_NS, step_ns: STEP_NS as u64, jitter_ns: STEP_NS };

    /// The time of a position of the day.
    #[inline]
    pub(crate) fn time_ns(self, position: u64, jitter: u32) -> i64 {
        let since_zero = position.wrapping_mul(self.step_ns).wrapping_add(u64::from(jitter));
        self.zero_ns.wrapping_add(since_zero as i64)
    }
}

/// When a trading day opens.
fn opening_ns(day: u32) -> i64 {
    let (weeks, weekday) = ((day + FIRST_WEEKDAY) / WEEK, (day + FIRST_WEEKDAY) % WEEK);
    let calendar_days = 7 * weeks + weekday - FIRST_WEEKDAY;
    OPENING_NS + DAY_NS * i64::from(calendar_days)
}

/// The midnight before a trading day.
fn midnight_ns(day: u32) -> i64 {
    opening_ns(day) - MORNING_NS
}

impl Stream {
    /// The trading day of a position, from 0; 0 in a stream without days.
    #[must_use]
    pub fn day(&self, position: u64) -> u32 {
        Span::at(self.config().days, position).day
    }

    /// What an id means on a trading day, in a table of its own.
    #[must_use]
    pub fn instrument_on(&self, id: InstrumentId, day: u32) -> Instrument {
        self.given(id, self.tenure(id, day).start)
    }

    /// The days around `day` on which an id means what it means then. In a stream
    /// without days it is one day.
    #[must_use]
    pub fn tenure(&self, id: InstrumentId, day: u32) -> Range<u32> {
        let count = self.config().days.map_or(1, |days| days.count);
        let day = day.min(count - 1);
        let start = (1..=day).rev().find(|&day| self.is_given(id, day)).unwrap_or(0);
        let end = (day + 1..count).find(|&day| self.is_given(id, day)).unwrap_or(count);
        start..end
    }

    /// All tenures of an id, one after another: every day is in one of them.
    pub fn tenures(&self, id: InstrumentId) -> impl Iterator<Item = Range<u32>> {
        let count = self.config().days.map_or(1, |days| days.count);
        let next = move |tenure: &Range<u32>| (tenure.end < count).then(|| self.tenure(id, tenure.end));
        std::iter::successors(Some(self.tenure(id, 0)), next)
    }

    /// When the row of an id on a trading day is valid: from the midnight before the
    /// first day of its [tenure](Stream::tenure) to before that of the next one's, if
    /// there is a next. `None` in a stream without days.
    #[must_use]
    #[inline]
    pub fn validity(&self, id: InstrumentId, day: u32) -> Option<Validity> {
        self.config().days.map(|days| self.validity_of(days, id, day))
    }

    fn validity_of(&self, days: Days, id: InstrumentId, day: u32) -> Validity {
        let Range { start, end } = self.tenure(id, day);
        let to = if end == days.count { INTEGER_NULL } else { midnight_ns(end) };
        Validity { from: midnight_ns(start), to }
    }

    /// Whether an id is given to another contract on a day.
    fn is_given(&self, id: InstrumentId, day: u32) -> bool {
        FirstWord(self.row_words(id, day).next_u64()).kind() < self.reused_threshold()
    }

    /// The contract that an id is given to on a day.
    fn given(&self, id: InstrumentId, day: u32) -> Instrument {
        let mut words = self.row_words(id, day);
        if day > 0 {
            // That which says whether it is given at all.
            words.next_u64();
        }
        self.instrument(id, &mut words)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_monday_to_friday() {
        let calendar_day = |day| (opening_ns(day) - opening_ns(0)) / DAY_NS;
        let days: Vec<_> = (0..12).map(calendar_day).collect();
        assert_eq!(days, [0, 3, 4, 5, 6, 7, 10, 11, 12, 13, 14, 17]);
        assert_eq!(midnight_ns(0) % DAY_NS, 0);
    }

    #[test]
    fn a_day_ends_before_it_closes_and_the_last_one_goes_on() {
        for (count, len) in [(1, 1), (3, 1), (5, 7), (1_000, 2), (2, 5_000_000)] {
            let days = Days { count, len, reused_share: 0.0 };
            let last_len = len + u64::from(count) - 1;
            for (day, first) in (0..count).zip((0..).step_by(len as usize)) {
                let span = Span::at(Some(days), first);
                let in_day = if day + 1 == count { last_len } else { len };
                let last = first + in_day - 1;
                assert_eq!((span.day, span.first, Span::at(Some(days), last).day), (day, first, day));
                assert_eq!(span.pace.time_ns(first, 0), opening_ns(day));
                let closing = opening_ns(day) + SESSION_NS as i64;
                assert!(span.pace.time_ns(last, span.pace.jitter_ns - 1) < closing);
            }
        }
    }
}
