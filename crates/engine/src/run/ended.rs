//! What a run has come to when its threads have ended.

use tradejoin_flow::{Sink, Source};
use tradejoin_merger::{HoldPeak, MissingKeys, Passage, RecentPeak};
use tradejoin_model::Ledger;
use tradejoin_worker::Worker;

use super::{Output, Run, into_inner};
use crate::budget::Budget;
use crate::error::EngineError;
use crate::load::Feed;
use crate::report::Publisher;

/// What a run has come to when its threads have ended.
pub(crate) struct Ended<K> {
    pub(crate) sink: K,
    pub(crate) ledger: Ledger,
    pub(crate) missing: MissingKeys,
    pub(crate) trades_copied: u64,
    pub(crate) budget: Budget,
    pub(crate) publisher: Publisher,
    pub(crate) workers: Vec<Worker>,
    /// Trades that still wait.
    pub(crate) passage: Option<Passage>,
    pub(crate) hold_peak: HoldPeak,
    pub(crate) recent_peak: RecentPeak,
    pub(crate) interrupted: bool,
    /// Whether something that was read has been dropped.
    pub(crate) is_given_up: bool,
    pub(crate) failure: Option<EngineError>,
}

impl<'a, S: Source, K: Sink> Run<'a, S, K> {
    /// What the run has come to.
    pub(crate) fn end(self) -> (Ended<K>, Feed<'a, S>) {
        let Output { sink, ledger, missing, trades_copied, budget, publisher } = into_inner(self.output);
        let interrupted = into_inner(self.stopping).is_some();
        let workers = self.shards.into_iter().map(|shard| into_inner(shard.into_inner())).collect();
        let board = into_inner(self.board.into_inner());
        // Of batches that were dropped on the way nothing is accounted for: those of
        // their trades that wait must not leave.
        let passage = self.passage.map(|in_order| into_inner(in_order).passage);
        let hold_peak = passage.as_ref().map(Passage::hold_peak).unwrap_or_default();
        let recent_peak = passage.as_ref().map(Passage::recent_peak).unwrap_or_default();
        let is_given_up = board.is_given_up();
        let passage = passage.filter(|_| !is_given_up);
        let failure = board.into_failure();
        let ended = Ended {
            sink,
            ledger,
            missing,
            trades_copied,
            budget,
            publisher,
            workers,
            passage,
            hold_peak,
            recent_peak,
            interrupted,
            is_given_up,
            failure,
        };
        (ended, into_inner(self.feed))
    }
}
