//! Trades by the order in which they came.

use std::collections::{BTreeMap, VecDeque};

use super::{Ticket, Trade};

/// Places of those that have left, before anything is done about them.
const GONE_MIN: usize = 1_024;

/// Trades in the order in which they came, each with its ticket: the next number.
///
/// Mostly those that came first leave first, and each is found where its ticket says. Those
/// that others have left behind stand apart, so that no place of one that has left is kept
/// for long.
#[derive(Debug, Default)]
pub(super) struct Line {
    /// Those in front of all others.
    left_behind: BTreeMap<Ticket, Trade>,
    /// The others; the front is there.
    others: VecDeque<Option<Trade>>,
    /// The ticket of the front of these.
    first: Ticket,
    /// All that are there.
    len: usize,
}

impl Line {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    /// The ticket of the trade that comes next.
    pub(super) fn next_ticket(&self) -> Ticket {
        self.first + self.others.len() as u64
    }

    pub(super) fn push(&mut self, trade: Trade) {
        self.others.push_back(Some(trade));
        self.len += 1;
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Trade> {
        self.left_behind.values().chain(self.others.iter().flatten())
    }

    pub(super) fn first(&self) -> Option<(Ticket, &Trade)> {
        if let Some((&ticket, trade)) = self.left_behind.first_key_value() {
            return Some((ticket, trade));
        }
        self.others.front().and_then(Option::as_ref).map(|trade| (self.first, trade))
    }

    pub(super) fn get(&self, ticket: Ticket) -> Option<&Trade> {
        match ticket.checked_sub(self.first) {
            Some(at) => self.others.get(usize::try_from(at).ok()?)?.as_ref(),
            None => self.left_behind.get(&ticket),
        }
    }

    pub(super) fn get_mut(&mut self, ticket: Ticket) -> Option<&mut Trade> {
        match ticket.checked_sub(self.first) {
            Some(at) => self.others.get_mut(usize::try_from(at).ok()?)?.as_mut(),
            None => self.left_behind.get_mut(&ticket),
        }
    }

    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Trade> {
        let trade = match ticket.checked_sub(self.first) {
            Some(at) => self.others.get_mut(usize::try_from(at).ok()?)?.take()?,
            None => self.left_behind.remove(&ticket)?,
        };
        self.len -= 1;
        // Each trade stands aside once at most, and each place goes once.
        while self.others.front().is_some_and(Option::is_none) || self.others.len() > 2 * self.len + GONE_MIN
        {
            if let Some(Some(trade)) = self.others.pop_front() {
                self.left_behind.insert(self.first, trade);
            }
            self.first += 1;
        }
        Some(trade)
    }
}

#[cfg(test)]
impl Line {
    /// How many places are kept.
    pub(super) fn places(&self) -> usize {
        self.left_behind.len() + self.others.len()
    }
}
