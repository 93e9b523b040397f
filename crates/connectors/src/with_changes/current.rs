//! The block of trades that is being handed on, with the changes among them.

use std::collections::BTreeMap;
use std::sync::Arc;

use arrow_array::Array as _;
use tradejoin_model::Messages;

use crate::flaw::Place;

/// Trades and records of the blocks behind a position that were handed on before it was kept.
const TRADES: &str = "trades handed on";
const REJECTED: &str = "refused records handed on";

/// What of the trades behind a position has been handed on: whoever reads them again, in whatever
/// blocks, passes it over.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct HandedOn {
    /// Trades, and the records that were refused up to behind the last of them; `None` if none
    /// of either.
    trades: Option<usize>,
    /// Refused records that were counted: all of a block are with its first trades.
    rejected: u64,
}

impl HandedOn {
    /// Takes down what it is.
    pub(super) fn tell(self, state: &mut BTreeMap<String, i64>) {
        // Of one block.
        state.extend(self.trades.map(|trades| (TRADES.to_owned(), trades as i64)));
        state.extend((self.rejected > 0).then(|| (REJECTED.to_owned(), self.rejected as i64)));
    }

    /// What was taken down.
    pub(super) fn told(state: &BTreeMap<String, i64>) -> Self {
        Self {
            // A number that is none has been changed since: nothing is passed over then.
            trades: state.get(TRADES).and_then(|&trades| usize::try_from(trades).ok()),
            rejected: state.get(REJECTED).map_or(0, |rejected| rejected.unsigned_abs()),
        }
    }
}

/// A block of which some trades may have been handed on.
pub(super) struct Current {
    messages: Messages,
    /// Where the trades stand, if anybody asks.
    pub(super) place: Option<(Arc<str>, Place)>,
    /// The first row that was not handed on.
    pub(super) start: usize,
    /// The first row of which it is not known whether it may be.
    pub(super) row: usize,
    /// Whether anything of it was handed on, if only what stands before its first row.
    has_begun: bool,
    /// Refused records of it that were counted.
    rejected: u64,
}

impl Current {
    /// A block that was read, of which what `again` has is passed over.
    pub(super) fn new(messages: Messages, place: Option<(Arc<str>, Place)>, again: &mut HandedOn) -> Self {
        let mut current = Self { messages, place, start: 0, row: 0, has_begun: false, rejected: 0 };
        if let Some(trades) = again.trades {
            let rows = current.len();
            // Behind its last row more may follow that was handed on: before the next one.
            again.trades = trades.checked_sub(rows);
            (current.start, current.row) = (trades.min(rows), trades.min(rows));
            current.hand_on_refused();
        }
        current.rejected = again.rejected.min(current.messages.rejected);
        current.messages.rejected -= current.rejected;
        again.rejected -= current.rejected;
        current
    }

    pub(super) fn len(&self) -> usize {
        self.messages.trades.num_rows()
    }

    /// The time of a trade, if it has one.
    pub(super) fn time(&self, row: usize) -> Option<i64> {
        self.messages.time(row)
    }

    /// The latest time from a row on.
    pub(super) fn latest_from(&self, row: usize) -> i64 {
        self.messages.latest(row..self.len())
    }

    /// The first row at or behind the current one whose time is at or after `time`.
    pub(super) fn first_at(&self, time: i64) -> Option<usize> {
        let times = self.messages.times.as_ref()?;
        let values = times.values();
        if times.null_count() == 0 {
            return values[self.row..].iter().position(|&of_row| of_row >= time).map(|at| self.row + at);
        }
        (self.row..values.len()).find(|&row| times.is_valid(row) && values[row] >= time)
    }

    /// The rows to before `end`, which are handed on.
    pub(super) fn hand_on(&mut self, end: usize) -> Messages {
        let rejected = std::mem::take(&mut self.messages.rejected);
        let messages = if (self.start, end) == (0, self.len()) {
            self.messages.clone()
        } else {
            self.messages.slice(self.start, end - self.start)
        };
        self.start = end;
        self.rejected += rejected;
        self.hand_on_refused();
        Messages { rejected, ..messages }
    }

    /// Records that were refused go with the trade that they followed.
    fn hand_on_refused(&mut self) {
        let end = self.start;
        self.messages.refused.retain(|refused| refused.at_row as usize > end);
        self.has_begun = true;
    }

    /// What was handed on of this block, and of those before it that are read again.
    pub(super) fn handed_on(&self, again: HandedOn) -> HandedOn {
        HandedOn {
            trades: self.has_begun.then(|| self.start + again.trades.unwrap_or(0)),
            rejected: self.rejected + again.rejected,
        }
    }
}
