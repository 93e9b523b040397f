//! Trades that wait, by their keys.

use std::collections::VecDeque;

use ahash::AHashMap;
use tradejoin_model::{LookUp, OwnedKey, Validity};

use super::by_time::ByTime;
use crate::waiting::Ticket;

/// The trades that wait for a table.
#[derive(Debug)]
pub(super) enum Queues {
    /// Each for any row of its key.
    Latest(AHashMap<OwnedKey, Queue>),
    /// Each for a row that is found at its time.
    AsOf { tolerance: Option<u64>, trades: ByTime },
}

impl Queues {
    pub(super) fn new(look_up: LookUp) -> Self {
        match look_up {
            LookUp::Latest | LookUp::LatestVersion => Self::Latest(AHashMap::new()),
            LookUp::AsOf { tolerance } => Self::AsOf { tolerance, trades: ByTime::default() },
        }
    }

    /// A trade begins to wait; `waits` tells of any whether it does.
    pub(super) fn enter(
        &mut self,
        key: OwnedKey,
        ticket: Ticket,
        time: Option<i64>,
        waits: impl Fn(Ticket) -> bool,
    ) {
        match (self, time) {
            (Self::Latest(queues), _) => queues.entry(key).or_default().enter(ticket, waits),
            (Self::AsOf { trades, .. }, Some(time)) => trades.insert(key, time, ticket),
            // No row is found without a time.
            (Self::AsOf { .. }, None) => {}
        }
    }

    /// A trade waits no longer.
    pub(super) fn leave(
        &mut self,
        key: &OwnedKey,
        ticket: Ticket,
        time: Option<i64>,
        waits: impl Fn(Ticket) -> bool,
    ) {
        match (self, time) {
            (Self::Latest(queues), _) => {
                let Some(queue) = queues.get_mut(key) else { return };
                queue.leave(ticket, waits);
                if queue.is_empty() {
                    queues.remove(key);
                }
            }
            (Self::AsOf { trades, .. }, Some(time)) => trades.remove(key, time, ticket),
            (Self::AsOf { .. }, None) => {}
        }
    }

    /// Takes out those that a row of this key is for, which is valid then, in the order in
    /// which they came; and some that have left.
    pub(super) fn take(&mut self, key: &OwnedKey, validity: Validity) -> VecDeque<Ticket> {
        match self {
            Self::Latest(queues) => queues.remove(key).unwrap_or_default().tickets,
            Self::AsOf { tolerance, trades } => {
                validity.times_found(*tolerance).map_or_else(VecDeque::new, |times| trades.take(key, times))
            }
        }
    }

    /// What stands in the queue of each key.
    #[cfg(test)]
    pub(super) fn lens(&self) -> Vec<usize> {
        match self {
            Self::Latest(queues) => queues.values().map(|queue| queue.tickets.len()).collect(),
            Self::AsOf { trades, .. } => trades.lens(),
        }
    }
}

/// Those that have left and still stand in a queue, before anything is done about it.
const GONE_MIN: usize = 16;

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
    fn enter(&mut self, ticket: Ticket, waits: impl Fn(Ticket) -> bool) {
        self.tickets.push_back(ticket);
        self.waiting += 1;
        // So many that they pay for the look at all.
        if self.tickets.len() - self.waiting > GONE_MIN.max(self.waiting / 4) {
            self.tickets.retain(|&ticket| waits(ticket));
        }
    }

    /// A trade waits no longer.
    fn leave(&mut self, ticket: Ticket, waits: impl Fn(Ticket) -> bool) {
        self.waiting -= 1;
        while self.tickets.pop_front_if(|&mut first| first == ticket || !waits(first)).is_some() {}
    }

    /// Whether none waits.
    fn is_empty(&self) -> bool {
        self.waiting == 0
    }
}

#[cfg(test)]
mod tests {
    use std::cell::{Cell, RefCell};

    use ahash::AHashSet;
    use tradejoin_model::INTEGER_NULL;

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
            assert_eq!(queue.tickets.len() as u64, len);
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
            assert!(queue.tickets.len() <= 5_002, "{} for 4,000 that wait", queue.tickets.len());
        }
        // One at the front for each that leaves, and all five for four that wait.
        assert!(looks.get() <= 36_000 * (1 + 5), "{} looks", looks.get());
        (1..4_000).for_each(|ticket| leave(&mut queue, ticket));
        assert!(!queue.is_empty());
        leave(&mut queue, 0);
        assert_eq!((queue.is_empty(), queue.tickets.len()), (true, 0));
    }

    #[test]
    fn a_row_of_a_table_by_time_is_shown_none_but_those_of_its_time() {
        let waits = |_| panic!("none is asked after");
        let key = OwnedKey::Id(7);
        let look_up = LookUp::AsOf { tolerance: Some(9) };
        let mut queues = Queues::new(look_up);
        (0..1_000).for_each(|ticket| queues.enter(key.clone(), ticket, Some(1_000), waits));
        queues.enter(key.clone(), 1_000, None, waits);
        for (ticket, time) in [(1_001, 2_009), (1_002, 2_000), (1_003, 2_010), (1_004, 2_005), (1_005, 1_999)]
        {
            queues.enter(key.clone(), ticket, Some(time), waits);
        }
        let take = |queues: &mut Queues, from, to| queues.take(&key, Validity { from, to });
        assert_eq!(take(&mut queues, 1_001, 1_999), []);
        assert_eq!(take(&mut queues, 2_000, INTEGER_NULL), [1_001, 1_002, 1_004]);
        assert_eq!(take(&mut queues, 2_000, INTEGER_NULL), []);
        // One that has been taken may leave for good.
        queues.leave(&key, 1_001, Some(2_009), waits);
        queues.leave(&key, 1_005, Some(1_999), waits);
        assert_eq!(queues.lens(), [1_001]);
        assert_eq!(take(&mut queues, 999, 1_001).len(), 1_000);
        assert_eq!(take(&mut queues, 2_001, INTEGER_NULL), [1_003]);
        assert_eq!(queues.lens(), []);
    }
}
