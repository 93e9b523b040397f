//! Trades that wait for a table that is looked up by time.

use std::collections::{BTreeSet, VecDeque};
use std::ops::RangeInclusive;

use ahash::AHashMap;
use tradejoin_model::OwnedKey;

use crate::waiting::Ticket;

/// Trades by key and time: those between two times are taken out without a look at others.
#[derive(Debug, Default)]
pub(super) struct ByTime {
    /// Of each key the number that stands for it, and how many trades it has.
    keys: AHashMap<OwnedKey, (Ticket, usize)>,
    /// By the number of the key: most keys have too few trades for sets of their own.
    trades: BTreeSet<(Ticket, i64, Ticket)>,
}

impl ByTime {
    /// Adds a trade that is not there.
    pub(super) fn insert(&mut self, key: OwnedKey, time: i64, ticket: Ticket) {
        // The first ticket of a key is that of no other.
        let (number, len) = self.keys.entry(key).or_insert((ticket, 0));
        *len += 1;
        self.trades.insert((*number, time, ticket));
    }

    /// Takes a trade out, if it is there.
    pub(super) fn remove(&mut self, key: &OwnedKey, time: i64, ticket: Ticket) {
        let Some(&(number, _)) = self.keys.get(key) else { return };
        let removed = usize::from(self.trades.remove(&(number, time, ticket)));
        self.forget(key, removed);
    }

    /// Takes out the trades with this key and one of these times, in the order of tickets.
    pub(super) fn take(&mut self, key: &OwnedKey, times: RangeInclusive<i64>) -> VecDeque<Ticket> {
        let Some(&(number, _)) = self.keys.get(key) else { return VecDeque::new() };
        let range = (number, *times.start(), Ticket::MIN)..=(number, *times.end(), Ticket::MAX);
        let taken: Vec<_> = self.trades.range(range).copied().collect();
        for trade in &taken {
            self.trades.remove(trade);
        }
        self.forget(key, taken.len());
        let mut tickets: Vec<_> = taken.into_iter().map(|(.., ticket)| ticket).collect();
        tickets.sort_unstable();
        tickets.into()
    }

    /// A key has so many trades less.
    fn forget(&mut self, key: &OwnedKey, removed: usize) {
        if let Some((_, len)) = self.keys.get_mut(key) {
            *len -= removed;
            if *len == 0 {
                self.keys.remove(key);
            }
        }
    }

    /// Trades of each key.
    #[cfg(test)]
    pub(super) fn lens(&self) -> Vec<usize> {
        self.keys.values().map(|&(_, len)| len).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn trades_are_taken_as_if_all_were_looked_at() {
        let mut by_time = ByTime::default();
        let mut all = Vec::new();
        // Times of all orders, some of them equal; each third trade lets another leave.
        for ticket in 0..600_u64 {
            let (key, time) = (OwnedKey::Id((ticket % 7) as u32), (ticket * 37 % 101) as i64);
            by_time.insert(key.clone(), time, ticket);
            all.push((key, time, ticket));
            if ticket % 3 == 2 {
                let (key, time, ticket) = all.remove((ticket * 13) as usize % all.len());
                by_time.remove(&key, time, ticket);
                by_time.remove(&key, time, ticket);
            }
            if ticket % 5 == 4 {
                let (key, times) = (OwnedKey::Id((ticket % 8) as u32), time..=time + 9);
                let is_one = |trade: &mut (OwnedKey, i64, Ticket)| trade.0 == key && times.contains(&trade.1);
                let expected: Vec<_> = all.extract_if(.., is_one).map(|trade| trade.2).collect();
                assert_eq!(by_time.take(&key, times), expected);
            }
        }
        assert_eq!(by_time.trades.len(), all.len());
        for key in (0..7).map(OwnedKey::Id) {
            let expected: Vec<_> = all.iter().filter(|trade| trade.0 == key).map(|trade| trade.2).collect();
            assert!(expected.len() > 1, "some of key {key}");
            assert_eq!(by_time.take(&key, i64::MIN..=i64::MAX), expected);
        }
        assert_eq!((by_time.keys.len(), by_time.trades.len()), (0, 0));
    }
}
