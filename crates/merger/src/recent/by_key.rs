//! Trades that may be written again, by their keys in a table.

use std::collections::{BTreeSet, VecDeque};

use ahash::AHashMap;
use tradejoin_model::{LookUp, OwnedKey, Validity};

use super::Ticket;

/// Of a trade before which there is none of its key.
const NONE: Ticket = Ticket::MAX;

/// The trades of a table by key. They are added in the order of their tickets, and go in the
/// same order.
#[derive(Debug)]
pub(super) enum ByKey {
    /// Those of one key are linked, the last one first, so that a trade costs no allocation:
    /// of each the last one before it with its key, and the last one of each key.
    Latest { before: VecDeque<Ticket>, last: AHashMap<OwnedKey, Ticket> },
    /// Those that have a time are found by it.
    AsOf(AHashMap<OwnedKey, OfKey>),
}

impl ByKey {
    pub(super) fn new(look_up: LookUp) -> Self {
        match look_up {
            LookUp::Latest | LookUp::LatestVersion => {
                Self::Latest { before: VecDeque::new(), last: AHashMap::new() }
            }
            LookUp::AsOf { .. } => Self::AsOf(AHashMap::new()),
        }
    }

    /// The same for other trades.
    pub(super) fn emptied(&self) -> Self {
        match self {
            Self::Latest { .. } => Self::Latest { before: VecDeque::new(), last: AHashMap::new() },
            Self::AsOf(_) => Self::AsOf(AHashMap::new()),
        }
    }

    /// Adds a trade behind all others.
    pub(super) fn push(&mut self, key: Option<OwnedKey>, time: Option<i64>, ticket: Ticket) {
        match self {
            Self::Latest { before, last } => {
                let last = key.and_then(|key| last.insert(key, ticket));
                before.push_back(last.unwrap_or(NONE));
            }
            Self::AsOf(keys) => {
                // No row is found without a time.
                if let (Some(key), Some(time)) = (key, time) {
                    let one = OfKey::One((time, ticket));
                    keys.entry(key).and_modify(|trades| trades.push(time, ticket)).or_insert(one);
                }
            }
        }
    }

    /// Takes out the first trade of all.
    pub(super) fn pop(&mut self, key: Option<&OwnedKey>, time: Option<i64>, ticket: Ticket) {
        match self {
            Self::Latest { before, last } => {
                before.pop_front();
                if let Some(key) = key
                    && last.get(key) == Some(&ticket)
                {
                    last.remove(key);
                }
            }
            Self::AsOf(keys) => {
                if let (Some(key), Some(time)) = (key, time)
                    && let Some(trades) = keys.get_mut(key)
                    && trades.pop(time, ticket)
                {
                    keys.remove(key);
                }
            }
        }
    }

    /// The trades with this key that a change may touch which touches these times, in the order
    /// of their tickets, of which `first` is the first of all.
    pub(super) fn touched(&self, key: &OwnedKey, times: Validity, first: Ticket) -> Vec<Ticket> {
        match self {
            Self::Latest { before, last } => {
                let mut tickets = Vec::new();
                let mut next = last.get(key).copied().unwrap_or(NONE);
                while let Some(at) = next.checked_sub(first).and_then(|at| usize::try_from(at).ok())
                    && let Some(&before) = before.get(at)
                {
                    tickets.push(next);
                    next = before;
                }
                tickets.reverse();
                tickets
            }
            Self::AsOf(keys) => keys.get(key).map_or_else(Vec::new, |trades| trades.touched(times)),
        }
    }

    /// Keys that have a trade.
    #[cfg(test)]
    pub(super) fn keys_len(&self) -> usize {
        match self {
            Self::Latest { last, .. } => last.len(),
            Self::AsOf(keys) => keys.len(),
        }
    }
}

/// The trades of one key: most have one.
#[derive(Debug)]
pub(super) enum OfKey {
    One((i64, Ticket)),
    Many(Box<Times>),
}

impl OfKey {
    fn push(&mut self, time: i64, ticket: Ticket) {
        match self {
            Self::One(first) => {
                let mut times = Times::default();
                times.push(first.0, first.1);
                times.push(time, ticket);
                *self = Self::Many(Box::new(times));
            }
            Self::Many(times) => times.push(time, ticket),
        }
    }

    /// Takes out a trade, and tells whether none is left.
    fn pop(&mut self, time: i64, ticket: Ticket) -> bool {
        let Self::Many(times) = self else { return true };
        times.pop(time, ticket);
        if let Some(last) = times.only() {
            *self = Self::One(last);
        }
        false
    }

    fn touched(&self, times: Validity) -> Vec<Ticket> {
        match self {
            Self::One((time, ticket)) => {
                let is_one = times.times_found(None).is_some_and(|times| times.contains(time));
                is_one.then_some(*ticket).into_iter().collect()
            }
            Self::Many(trades) => trades.touched(times),
        }
    }
}

/// The trades of one key by their times. Most come in the order of these.
#[derive(Debug, Default)]
pub(super) struct Times {
    /// In the order of their times and of their tickets.
    in_order: VecDeque<(i64, Ticket)>,
    /// Those that came behind a later one.
    late: BTreeSet<(i64, Ticket)>,
}

impl Times {
    fn push(&mut self, time: i64, ticket: Ticket) {
        if self.in_order.back().is_none_or(|&(last, _)| last <= time) {
            self.in_order.push_back((time, ticket));
        } else {
            self.late.insert((time, ticket));
        }
    }

    fn pop(&mut self, time: i64, ticket: Ticket) {
        /// Places of a queue that are not worth to be given back.
        const PLACES_MIN: usize = 64;
        if self.in_order.pop_front_if(|&mut first| first == (time, ticket)).is_none() {
            self.late.remove(&(time, ticket));
        } else if self.in_order.capacity() > PLACES_MIN.max(4 * self.in_order.len()) {
            // A key that had many once keeps no memory of them.
            self.in_order.shrink_to(2 * self.in_order.len());
        }
    }

    /// The trade that is left, if it is one.
    fn only(&self) -> Option<(i64, Ticket)> {
        let mut left = self.in_order.iter().chain(&self.late);
        left.next().filter(|_| left.next().is_none()).copied()
    }

    fn touched(&self, times: Validity) -> Vec<Ticket> {
        let Some(times) = times.times_found(None) else { return Vec::new() };
        let start = self.in_order.partition_point(|(time, _)| time < times.start());
        let in_order = self.in_order.range(start..).take_while(|(time, _)| time <= times.end());
        let late = self.late.range((*times.start(), Ticket::MIN)..=(*times.end(), Ticket::MAX));
        let mut tickets: Vec<_> = in_order.chain(late).map(|&(_, ticket)| ticket).collect();
        tickets.sort_unstable();
        tickets
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use arrow_array::{ArrayRef, RecordBatch, UInt32Array};
    use tradejoin_model::INTEGER_NULL;

    use super::*;
    use crate::recent::{Recent, Recents};
    use crate::rows::Rows;

    const NULL: i64 = INTEGER_NULL;
    const AS_OF: [LookUp; 1] = [LookUp::AsOf { tolerance: None }];

    /// Trades of these keys and times, which enter together behind so many others.
    fn enter(recents: &mut Recents, before: u64, trades: &[(u32, Option<i64>)]) {
        let ids = UInt32Array::from_iter_values(trades.iter().map(|trade| trade.0));
        let batch = RecordBatch::try_from_iter([("id", Arc::new(ids.clone()) as ArrayRef)]);
        let rows = Rows { trades: batch.expect("one column"), keys: vec![ids.into()], columns: vec![] };
        recents.push_chunk(rows);
        for (row, &(_, time)) in (0..).zip(trades) {
            recents.enter(row, Recent::new(before + u64::from(row) + 1, time, 0));
        }
    }

    /// The numbers of those that a change touches which touches these times.
    fn touched(recents: &Recents, key: u32, times: Validity) -> Vec<u64> {
        let tickets = recents.of_key(0, &OwnedKey::Id(key), times).into_iter();
        tickets.filter_map(|ticket| recents.get(ticket)).map(|trade| trade.number).collect()
    }

    #[test]
    fn a_change_is_shown_none_but_the_trades_of_its_times() {
        let mut by_key = ByKey::new(AS_OF[0]);
        let key = OwnedKey::Id(7);
        // The last three come late.
        let times = (0..1_000).chain([5, 998, 5]);
        (0..).zip(times).for_each(|(ticket, time)| by_key.push(Some(key.clone()), Some(time), ticket));
        by_key.push(Some(key.clone()), None, 1_003);
        let touched = |from, to| by_key.touched(&key, Validity { from, to }, 0);
        assert_eq!(touched(1_000, INTEGER_NULL), []);
        assert_eq!(touched(998, INTEGER_NULL), [998, 999, 1_001]);
        assert_eq!(touched(5, 7), [5, 6, 1_000, 1_002]);
        assert_eq!(touched(INTEGER_NULL, 0), []);
        assert_eq!(touched(INTEGER_NULL, INTEGER_NULL).len(), 1_003);
        assert_eq!(by_key.touched(&OwnedKey::Id(8), Validity::EVER, 0), []);
    }

    #[test]
    fn trades_of_a_time_are_found_as_if_all_were_looked_at() {
        let mut recents = Recents::new(AS_OF);
        let mut all: Vec<(u64, u32, Option<i64>)> = Vec::new();
        // Half of them in the order of time, others far ahead or behind, and some without one.
        let time = |number: u64| match number % 8 {
            0 => None,
            1 => Some((number * 37 % 401) as i64),
            2 => Some(number as i64 + 50),
            3 => Some(number as i64 - 50),
            _ => Some(number as i64),
        };
        for batch in 0..20_u64 {
            let numbers = 200 * batch + 1..=200 * batch + 200;
            let entered = numbers.map(|number| (number, (number % 5) as u32, time(number)));
            let entered: Vec<_> = entered.collect();
            let trades: Vec<_> = entered.iter().map(|&(_, key, time)| (key, time)).collect();
            enter(&mut recents, 200 * batch, &trades);
            all.extend(entered);
            // More and more leave, most of them among the first.
            for count in 0..20 * batch {
                let (number, ..) = all.remove((count * count) as usize % all.len().div_ceil(2));
                let ticket = recents.of_number(number).expect("it is recent");
                recents.leave(ticket);
            }
            if batch % 4 == 1 {
                recents.shrink(&[]).expect("few rows");
            }
            if batch % 4 == 3 {
                recents = Recents::of_kept(recents.kept(), AS_OF, &[]).expect("of this table");
            }
            let newest = 200 * batch as i64 + 200;
            for key in 0..6 {
                for (from, to) in [
                    (newest + 51, NULL),
                    (newest - 60, NULL),
                    (newest - 300, newest - 200),
                    (NULL, 100),
                    (150, 151),
                    (NULL, NULL),
                ] {
                    let times = Validity { from, to };
                    let is_one = |&&(_, own, time): &&(u64, u32, Option<i64>)| {
                        own == key && time.is_some_and(|time| times.is_found_at(time, None))
                    };
                    let expected: Vec<_> = all.iter().filter(is_one).map(|trade| trade.0).collect();
                    assert_eq!(
                        touched(&recents, key, times),
                        expected,
                        "batch {batch}, key {key}, {times:?}"
                    );
                }
            }
        }
        while let Some((ticket, _)) = recents.first() {
            recents.leave(ticket);
        }
        assert_eq!((recents.len(), recents.by_key[0].keys_len()), (0, 0));
    }

    #[test]
    fn a_key_that_had_many_trades_once_keeps_no_memory_of_them() {
        let mut times = Times::default();
        (0..10_000).for_each(|ticket| times.push(ticket as i64, ticket));
        (0..9_990).for_each(|ticket| times.pop(ticket as i64, ticket));
        assert_eq!(times.in_order.len(), 10);
        assert!(times.in_order.capacity() <= 64, "{}", times.in_order.capacity());
    }
}
