//! Trades that wait for one key, in the order in which they came.

use std::collections::VecDeque;

use crate::waiting::Ticket;

/// Those that have left and still stand in a queue, before anything is done about it.
const GONE_MIN: usize = 512;

/// The trades that wait for a key of a table.
///
/// The first goes at once; one that leaves behind others that wait long stays until it is the
/// first, or until more than a fifth of all are such.
#[derive(Debug, Default)]
pub(super) struct Queue {
    tickets: VecDeque<Ticket>,
    /// How many of them wait.
    waiting: usize,
}

impl Queue {
    /// A trade begins to wait; `waits` tells of any whether it does.
    pub(super) fn enter(&mut self, ticket: Ticket, waits: impl Fn(Ticket) -> bool) {
        self.tickets.push_back(ticket);
        self.waiting += 1;
        // So many that they pay for the look at all.
        if self.tickets.len() - self.waiting > GONE_MIN.max(self.waiting / 4) {
            self.tickets.retain(|&ticket| waits(ticket));
        }
    }

    /// A trade waits no longer.
    pub(super) fn leave(&mut self, ticket: Ticket, waits: impl Fn(Ticket) -> bool) {
        self.waiting -= 1;
        while self.tickets.pop_front_if(|&mut first| first == ticket || !waits(first)).is_some() {}
    }

    /// Whether none waits.
    pub(super) fn is_empty(&self) -> bool {
        self.waiting == 0
    }

    /// All, and some that have left.
    pub(super) fn into_tickets(self) -> VecDeque<Ticket> {
        self.tickets
    }

    #[cfg(test)]
    pub(super) fn len(&self) -> usize {
        self.tickets.len()
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use ahash::AHashSet;

    use super::*;

    #[test]
    fn a_queue_that_keeps_its_length_is_not_looked_through_again_and_again() {
        for len in [1_022, 1_023, 1_024, 4_095, 4_096] {
            let mut queue = Queue::default();
            let looks = Cell::new(0);
            let first = Cell::new(0);
            let waits = |ticket: Ticket| {
                looks.set(looks.get() + 1);
                ticket >= first.get()
            };
            (0..len).for_each(|ticket| queue.enter(ticket, waits));
            // Each lets the first one leave.
            for ticket in len..2 * len {
                queue.leave(first.get(), waits);
                first.set(first.get() + 1);
                queue.enter(ticket, waits);
            }
            assert_eq!(queue.len() as u64, len);
            assert!(looks.get() <= len, "{} looks at {len} that wait", looks.get());
        }
    }

    #[test]
    fn those_that_leave_behind_others_are_looked_at_a_few_times_each() {
        let mut queue = Queue::default();
        let looks = Cell::new(0_u64);
        let waiting = RefCell::new(AHashSet::new());
        let waits = |ticket: Ticket| {
            looks.set(looks.get() + 1);
            waiting.borrow().contains(&ticket)
        };
        let enter = |queue: &mut Queue, ticket| {
            waiting.borrow_mut().insert(ticket);
            queue.enter(ticket, waits);
        };
        let leave = |queue: &mut Queue, ticket| {
            waiting.borrow_mut().remove(&ticket);
            queue.leave(ticket, waits);
        };
        (0..4_000).for_each(|ticket| enter(&mut queue, ticket));
        for ticket in 4_000..40_000 {
            enter(&mut queue, ticket);
            leave(&mut queue, ticket);
            assert!(queue.len() <= 5_002, "{} for 4,000 that wait", queue.len());
        }
        // One at the front for each that leaves, and all five for four that wait.
        assert!(looks.get() <= 36_000 * (1 + 5), "{} looks", looks.get());
        (1..4_000).for_each(|ticket| leave(&mut queue, ticket));
        assert!(!queue.is_empty());
        leave(&mut queue, 0);
        assert_eq!((queue.is_empty(), queue.len()), (true, 0));
    }
}
