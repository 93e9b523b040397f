//! What waits, for a later run that goes on where this one was.

use std::time::Instant;

use tradejoin_model::Held;

use crate::holds::{HoldPeak, Holds};
use crate::rows::is_fit;
use crate::waiting::Waiting;

/// Trades that were kept do not fit the run that is to go on with them: a bug, or a
/// checkpoint of another one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("the trades that were kept are not of the tables of this run")]
pub struct HeldError;

impl Holds {
    /// What waits at a moment of the clock, between two batches.
    #[must_use]
    pub fn held(&self, now: Instant) -> Held {
        Held { latest_time: self.time, ..self.waiting.held(now) }
    }

    /// Has the trades wait that were kept, at a moment of the clock, behind so many trades
    /// that were read; to be called before the first batch passes. They are all there, also
    /// if they are more than may wait by now: those leave that are over when the next one
    /// begins to.
    ///
    /// # Errors
    /// If they are not of these tables.
    pub fn go_on_from(&mut self, held: Held, trades_read: u64, now: Instant) -> Result<(), HeldError> {
        let Held { chunks, trades, latest_time, .. } = held;
        let tables = u64::MAX.checked_shr(u64::BITS.saturating_sub(self.tables.len() as u32)).unwrap_or(0);
        if !chunks.iter().all(|rows| is_fit(rows, self.tables.len(), &self.types))
            || trades.iter().any(|trade| trade.waits_for & !tables != 0)
        {
            return Err(HeldError);
        }
        self.waiting = Waiting::of_held(chunks);
        for trade in &trades {
            let since = now.checked_sub(trade.waited).unwrap_or(now);
            let ticket = self.waiting.enter_held(trade, since).ok_or(HeldError)?;
            self.note(ticket);
        }
        self.waiting.drop_empty();
        (self.time, self.trades_read) = (latest_time, trades_read);
        self.peak = HoldPeak { rows: self.waiting.len(), bytes: self.waiting.bytes() };
        Ok(())
    }
}
