//! When each trade is due, and a source that gives trades when they are.

use std::sync::{Arc, Mutex, PoisonError};
use std::thread::sleep;
use std::time::{Duration, Instant};

use tradejoin_flow::{Block, BoxError, Source};
use tradejoin_model::{BatchIndex, Messages};

use crate::bench::cuts::Cuts;

/// Nanoseconds in a second.
const SECOND: u128 = 1_000_000_000;

/// Trades in even distances from a start on.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Pace {
    pub(crate) start: Instant,
    /// Trades a second, at least 1.
    pub(crate) rate: u64,
}

impl Pace {
    /// How long after the start a trade is due, in nanoseconds.
    pub(crate) fn due_ns(&self, trade: u64) -> u64 {
        (u128::from(trade) * SECOND / u128::from(self.rate)).try_into().unwrap_or(u64::MAX)
    }

    /// How many trades are due so many nanoseconds after the start.
    fn due_by(&self, ns: u64) -> u64 {
        let whole = u128::from(ns) * u128::from(self.rate) / SECOND;
        u64::try_from(whole).unwrap_or(u64::MAX).saturating_add(1)
    }

    /// Nanoseconds from the start to a time; 0 before it.
    pub(crate) fn ns_at(&self, time: Instant) -> u64 {
        u64::try_from(time.saturating_duration_since(self.start).as_nanos()).unwrap_or(u64::MAX)
    }
}

/// The number of the first trade of each batch that was given. Clones are the
/// same list.
#[derive(Clone, Debug, Default)]
pub(crate) struct Firsts(Arc<Mutex<Vec<u64>>>);

impl Firsts {
    fn push(&self, trade: u64) {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).push(trade);
    }

    /// The first trade of a batch; batches have their numbers by when they were
    /// given.
    pub(crate) fn of(&self, batch: BatchIndex) -> Option<u64> {
        let firsts = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        usize::try_from(batch.0).ok().and_then(|batch| firsts.get(batch).copied())
    }

    /// How many batches were given.
    pub(crate) fn len(&self) -> usize {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).len()
    }
}

/// Gives trades as they become due, as a reader of a socket would: a batch leaves
/// when it is full or its oldest trade has waited long enough. If the engine asks
/// late, all that is due by then waits for it.
pub(crate) struct Paced<'a> {
    pub(crate) cuts: Cuts<'a>,
    pub(crate) pace: Pace,
    /// Most trades in a batch, at least 1.
    pub(crate) batch_len: usize,
    /// How long the oldest trade of a batch waits for more.
    pub(crate) linger: Duration,
    /// The trade that comes next.
    pub(crate) next: u64,
    /// What was given.
    pub(crate) firsts: Firsts,
}

impl Paced<'_> {
    fn give(&mut self, messages: Messages) -> Option<Block> {
        self.firsts.push(self.next);
        self.next += messages.trades.num_rows() as u64;
        Some(messages.into())
    }
}

impl Source for Paced<'_> {
    fn next(&mut self) -> Result<Option<Block>, BoxError> {
        if let Some(changes) = self.cuts.changes() {
            return Ok(self.give(changes));
        }
        let most = self.cuts.most().min(self.batch_len) as u64;
        if most == 0 {
            return Ok(None);
        }
        let linger = u64::try_from(self.linger.as_nanos()).unwrap_or(u64::MAX);
        let oldest = self.pace.due_ns(self.next).saturating_add(linger);
        let leaves = oldest.min(self.pace.due_ns(self.next + most - 1));
        wait_until(self.pace.start + Duration::from_nanos(leaves));
        let due = self.pace.due_by(self.pace.ns_at(Instant::now())).saturating_sub(self.next);
        // The oldest is due: it has been waited for.
        let rows = due.clamp(1, most);
        Ok(self.cuts.cut(rows as usize).and_then(|messages| self.give(messages)))
    }
}

/// Sleeps until shortly before a time, then spins: a sleep ends late by as much
/// as the system's timers are coarse, and spinning for long takes a core.
fn wait_until(time: Instant) {
    const SPIN: Duration = Duration::from_micros(100);
    let left = time.saturating_duration_since(Instant::now());
    if left > SPIN {
        sleep(left - SPIN);
    }
    while Instant::now() < time {
        std::hint::spin_loop();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trade_is_due_when_it_is_counted_as_due() {
        for rate in [1, 3, 7, 1_000, 999_983, 1_000_000_000] {
            let pace = Pace { start: Instant::now(), rate };
            assert_eq!((pace.due_ns(0), pace.due_ns(rate)), (0, 1_000_000_000));
            for ns in [0, 1, 999, 333_333_333, 1_000_000_000, 86_400_000_000_000] {
                let due = pace.due_by(ns);
                assert!(pace.due_ns(due - 1) <= ns, "{rate}/s, {ns} ns");
                assert!(pace.due_ns(due) >= ns, "{rate}/s, {ns} ns");
            }
        }
    }
}
