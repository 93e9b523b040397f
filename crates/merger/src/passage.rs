//! What batches pass one after the other: those that wait, and those that are written
//! again.

use std::time::Instant;

use arrow_schema::ArrowError;
use tradejoin_model::{Held, Ledger, Revised, TableSpec};

use crate::corrections::{CorrectionConfig, Corrections, RecentPeak, Touched};
use crate::holds::{HeldError, HoldConfig, HoldPeak, Holds};
use crate::merger::Merged;
use crate::passed::Passed;

/// The serial step of a run in which the sequence alone may decide something.
#[derive(Debug)]
pub struct Passage {
    holds: Option<Holds>,
    corrections: Option<Corrections>,
}

impl Passage {
    /// `None` if no trade ever waits and none is written again.
    ///
    /// # Panics
    /// As [`Holds::new`] and [`Corrections::new`].
    #[must_use]
    pub fn new(
        tables: &[TableSpec],
        holds: HoldConfig,
        corrections: Option<CorrectionConfig>,
    ) -> Option<Self> {
        let wait_column = holds.wait_column;
        let holds = Holds::new(tables, holds).map(|held| held.telling(corrections.is_some()));
        let corrections = corrections.map(|config| Corrections::new(tables, wait_column, config));
        (holds.is_some() || corrections.is_some()).then_some(Self { holds, corrections })
    }

    /// Lets the next batch of the sequence pass, at a moment of the clock. Gives the
    /// batch with what goes on and its account, brought up to date, and to `give` what
    /// is written again.
    ///
    /// # Errors
    /// If rows cannot be put together: they are more than Arrow can address; or that
    /// of `give`.
    pub fn pass<E: From<ArrowError>>(
        &mut self,
        mut merged: Merged,
        now: Instant,
        give: impl FnMut(Revised) -> Result<(), E>,
    ) -> Result<(Passed, Ledger), E> {
        let touched = self.corrections.is_some().then(|| Touched::of(&mut merged));
        let (passed, account) = match &mut self.holds {
            Some(holds) => holds.pass(merged, now)?,
            None => (Passed::untouched(merged.enriched), merged.account),
        };
        match touched {
            Some(touched) => self.correct(touched, passed, account, give),
            None => Ok((passed, account)),
        }
    }

    /// Lets a batch by that has rows of tables as they were kept: what waits has met them.
    #[must_use]
    pub fn pass_by(merged: Merged) -> (Passed, Ledger) {
        (Passed::untouched(merged.enriched), merged.account)
    }

    /// What is left when the sequence has ended, as [`Holds::finish`] has it. Gives to `give` what
    /// is written again right behind it: what has changed while it waited.
    ///
    /// # Errors
    /// As [`Passage::pass`].
    pub fn finish<E: From<ArrowError>>(
        &mut self,
        give: impl FnMut(Revised) -> Result<(), E>,
    ) -> Result<Option<(Passed, Ledger)>, E> {
        let left = self.holds.as_mut().map_or(Ok(None), Holds::finish)?;
        let Some((passed, account)) = left else { return Ok(None) };
        let touched = Touched::at_end(passed.enriched());
        self.correct(touched, passed, account, give).map(Some)
    }

    /// Has a batch that goes on be what may be written again.
    fn correct<E: From<ArrowError>>(
        &mut self,
        touched: Touched,
        mut passed: Passed,
        mut account: Ledger,
        give: impl FnMut(Revised) -> Result<(), E>,
    ) -> Result<(Passed, Ledger), E> {
        if let Some(corrections) = &mut self.corrections {
            let told = passed.take_told();
            let arrivals = passed.arrivals(&touched, &told);
            passed = passed.assembled()?;
            account.corrections += corrections.pass(&touched, told, passed.enriched(), &arrivals, give)?;
        }
        Ok((passed, account))
    }

    /// The trades that wait at a moment of the clock, between two batches, and those that may
    /// be written again.
    #[must_use]
    pub fn held(&self, now: Instant) -> Held {
        let held = self.holds.as_ref().map(|holds| holds.held(now)).unwrap_or_default();
        Held { written: self.corrections.as_ref().map(Corrections::kept), ..held }
    }

    /// Has the trades wait that were kept, as [`Holds::go_on_from`] says, and those be
    /// written again that might have been.
    ///
    /// # Errors
    /// If they do not fit.
    pub fn go_on_from(&mut self, mut held: Held, trades_read: u64, now: Instant) -> Result<(), HeldError> {
        match (&mut self.corrections, held.written.take()) {
            (Some(corrections), Some(written)) => corrections.go_on_from(written, trades_read)?,
            (None, None) => {}
            _ => return Err(HeldError),
        }
        match &mut self.holds {
            Some(holds) => holds.go_on_from(held, trades_read, now),
            None if held.trades.is_empty() => Ok(()),
            None => Err(HeldError),
        }
    }

    /// The most that has waited at a time.
    #[must_use]
    pub fn hold_peak(&self) -> HoldPeak {
        self.holds.as_ref().map(Holds::peak).unwrap_or_default()
    }

    /// The most trades that might be written again at a time.
    #[must_use]
    pub fn recent_peak(&self) -> RecentPeak {
        self.corrections.as_ref().map(Corrections::peak).unwrap_or_default()
    }
}
