//! What stands around the sink and what keeps a run, to fail there, and to do wrong what a
//! canary does.

use std::mem;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use tradejoin_checkpoint::Keeper;
use tradejoin_flow::{
    BoxError, Cut, Encode, End, Keep, OutputPosition, Prepared, Revise, Sink, SourcePosition,
};
use tradejoin_model::{ChangeLane, Enriched, Ledger, Revised};

use crate::canaries::Canary;
use crate::hooks::Hooks;

/// Around a sink.
pub(crate) struct Around<S: Sink> {
    pub(crate) sink: S,
    pub(crate) hooks: Hooks,
    pub(crate) canary: Option<Canary>,
    held_back: Option<S::Piece>,
    before: Arc<Mutex<Option<Vec<OutputPosition>>>>,
}

pub(crate) struct AroundEncoder<E> {
    encoder: E,
    hooks: Hooks,
}

struct AroundPrepared {
    prepared: Box<dyn Prepared>,
    hooks: Hooks,
    canary: Option<Canary>,
    /// What the cut before told, if that is told again.
    before: Option<Arc<Mutex<Option<Vec<OutputPosition>>>>>,
}

impl<S: Sink> Around<S> {
    pub(crate) fn new(sink: S, hooks: Hooks, canary: Option<Canary>) -> Self {
        Self { sink, hooks, canary, held_back: None, before: Arc::default() }
    }
}

impl<E: Encode> Encode for AroundEncoder<E> {
    type Piece = E::Piece;

    fn encode(&mut self, enriched: &Enriched, piece: &mut E::Piece) -> Result<(), BoxError> {
        self.hooks.pass("encode")?;
        self.encoder.encode(enriched, piece)
    }
}

impl<S: Sink> Sink for Around<S> {
    type Piece = S::Piece;
    type Encoder = AroundEncoder<S::Encoder>;

    fn encoder(&self) -> Self::Encoder {
        AroundEncoder { encoder: self.sink.encoder(), hooks: self.hooks.clone() }
    }

    fn write(&mut self, piece: &mut S::Piece) -> Result<(), BoxError> {
        self.hooks.pass("write")?;
        if self.canary == Some(Canary::PieceIsHeldBack) {
            let next = self.held_back.replace(mem::take(piece));
            return next.map_or(Ok(()), |mut piece| self.sink.write(&mut piece));
        }
        self.sink.write(piece)
    }

    fn prepare(&mut self, end: Option<End>) -> Result<Box<dyn Prepared>, BoxError> {
        self.hooks.pass("prepare")?;
        if end.is_some()
            && let Some(mut piece) = self.held_back.take()
        {
            self.sink.write(&mut piece)?;
        }
        let is_before = self.canary == Some(Canary::OutputIsOfTheCutBefore) && end.is_none();
        Ok(Box::new(AroundPrepared {
            prepared: self.sink.prepare(end)?,
            hooks: self.hooks.clone(),
            canary: self.canary,
            before: is_before.then(|| Arc::clone(&self.before)),
        }))
    }
}

impl Prepared for AroundPrepared {
    fn make_durable(&mut self) -> Result<Vec<OutputPosition>, BoxError> {
        self.hooks.pass("make durable")?;
        let now = self.prepared.make_durable()?;
        if self.canary == Some(Canary::OutputIsPublishedBeforeItCounts) {
            self.prepared.publish()?;
        }
        let Some(before) = &self.before else { return Ok(now) };
        let before = before.lock().unwrap_or_else(PoisonError::into_inner).replace(now.clone());
        Ok(before.unwrap_or(now))
    }

    fn publish(&mut self) -> Result<(), BoxError> {
        self.hooks.pass("publish")?;
        match self.canary {
            Some(Canary::OutputIsPublishedBeforeItCounts) => Ok(()),
            _ => self.prepared.publish(),
        }
    }
}

/// Around what keeps a run.
pub(crate) struct Watched {
    pub(crate) keeper: Keeper,
    pub(crate) hooks: Hooks,
    pub(crate) canary: Option<Canary>,
    /// The last checkpoint that was told to be kept.
    pub(crate) kept: Arc<AtomicU64>,
    pub(crate) before: (Option<Ledger>, Option<SourcePosition>),
    pub(crate) late: Option<(usize, ChangeLane)>,
}

impl Watched {
    /// Takes something from a cut.
    fn spoil(&mut self, canary: Canary, cut: &mut Cut) {
        let records = |source: &mut SourcePosition, by: i64| {
            let input = source.inputs.first_mut();
            input.into_iter().for_each(|input| input.records = input.records.saturating_add_signed(by));
        };
        match canary {
            Canary::HeldIsDropped => cut.held.iter_mut().for_each(|held| held.trades.clear()),
            Canary::RecentAreDropped => {
                let written = cut.held.iter_mut().flat_map(|held| &mut held.written);
                written.for_each(|written| written.recent.trades.clear());
            }
            Canary::HeldTradeIsForgotten => {
                let len = |held: &tradejoin_model::Held| held.trades.len().saturating_sub(1);
                cut.held.iter_mut().for_each(|held| held.trades.truncate(len(held)));
            }
            Canary::SourceIsOneFurther => records(&mut cut.source, 1),
            Canary::SourceIsOneBehind => records(&mut cut.source, -1),
            Canary::SourceIsOfTheCutBefore => {
                let before = self.before.1.replace(cut.source.clone());
                cut.source = before.unwrap_or_else(|| cut.source.clone());
            }
            Canary::LedgerIsOfTheCutBefore => {
                let before = self.before.0.replace(cut.ledger.clone());
                cut.ledger = before.unwrap_or_else(|| cut.ledger.clone());
            }
            Canary::TradesAreOneFurther => cut.trades += 1,
            _ => {}
        }
    }
}

impl Keep for Watched {
    fn rows(&mut self, table: usize, lane: &ChangeLane) -> Result<(), BoxError> {
        self.hooks.pass("keep rows")?;
        match self.canary {
            Some(Canary::ChangesAreForgotten) if lane.at_rows.len() == 1 => return Ok(()),
            Some(Canary::ChangesAreBehindTheirCut) => {
                let before = self.late.replace((table, lane.clone()));
                return before.map_or(Ok(()), |(table, lane)| self.keeper.rows(table, &lane));
            }
            _ => {}
        }
        self.keeper.rows(table, lane)
    }

    fn changes(&mut self, _: u64, lanes: &[ChangeLane]) -> Result<(), BoxError> {
        let mut lanes = lanes.iter().enumerate().filter(|(_, lane)| !lane.is_empty());
        lanes.try_for_each(|(table, lane)| self.rows(table, lane))
    }

    fn keep(&mut self, mut cut: Cut) -> Result<u64, BoxError> {
        self.hooks.pass("keep")?;
        if let Some(canary) = self.canary.filter(|_| cut.end != Some(End::Complete)) {
            self.spoil(canary, &mut cut);
        }
        let epoch = self.keeper.epoch();
        let bytes = self.keeper.keep(cut)?;
        self.kept.store(epoch, Ordering::Relaxed);
        Ok(bytes)
    }
}

/// What is written again, with places at which it may fail.
pub(crate) struct Hooked<R>(pub(crate) R, pub(crate) Hooks);

impl<R: Revise> Revise for Hooked<R> {
    fn write(&mut self, revised: Revised) -> Result<(), BoxError> {
        self.1.pass("write again")?;
        self.0.write(revised)
    }

    fn prepare(&mut self, end: Option<End>) -> Result<Box<dyn Prepared>, BoxError> {
        self.1.pass("prepare what is written again")?;
        self.0.prepare(end)
    }
}
