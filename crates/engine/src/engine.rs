//! A run from its settings to its report.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;

use tradejoin_flow::{
    BoxError, Encode as _, End, Keep, NothingPrepared, Prepared, Revise, Sink, Source, SourcePosition,
    TableSource,
};
use tradejoin_merger::Passage;
use tradejoin_model::{Ledger, Revised, StoredTable};

use crate::clock::Clock;
use crate::config::{EngineConfig, Stop};
use crate::drive::{Driver, KeptBy};
use crate::error::{EngineError, Stage, panicked};
use crate::kept::{Keeper, Keeping};
use crate::load::{Feed, Generations, add_loaded};
use crate::pulse::Pulse;
use crate::report::{Monitor, Publisher, Report, RunClock, shard_report};
use crate::run::{Ended, Ends, Run};
use crate::updates::Updates;

/// A join, ready to run.
#[derive(Clone, Debug)]
pub struct Engine {
    config: EngineConfig,
    stop: Stop,
    clock: Clock,
    monitor: Monitor,
    updates: Updates,
    pulse: Pulse,
}

impl Engine {
    /// Of so many numbers one says that a run in steps which is to stop takes too long.
    pub const DRAIN_PICKS: usize = 64;

    /// An engine with these settings.
    #[must_use]
    pub fn new(config: EngineConfig) -> Self {
        let monitor = Monitor::new(config.tables.len());
        let pulse = Pulse::new(config.shards.as_usize());
        let (stop, clock, updates) = (Stop::default(), Clock::default(), Updates::default());
        Self { config, stop, clock, monitor, updates, pulse }
    }

    /// The same engine, ended early by a request that others know already.
    #[must_use]
    pub fn stopped_by(self, stop: Stop) -> Self {
        Self { stop, ..self }
    }

    /// The same engine, whose runs go by that clock. One that is [simulated](Clock::simulated) is for
    /// [`Engine::run_in_steps`]: sources that wait on threads go by the system's.
    #[must_use]
    pub fn timed_by(self, clock: Clock) -> Self {
        Self { clock, ..self }
    }

    /// The request that ends a run of this engine early.
    #[must_use]
    pub fn stop(&self) -> Stop {
        self.stop.clone()
    }

    /// Where the progress of a run of this engine can be seen.
    #[must_use]
    pub fn monitor(&self) -> Monitor {
        self.monitor.clone()
    }

    /// What the threads of a run of this engine are at.
    #[must_use]
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Where changes of tables wait that come from beside the source.
    #[must_use]
    pub fn updates(&self) -> Updates {
        self.updates.clone()
    }

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// Loads the tables that have a source, one entry for each table; then
    /// joins the trades of `source` and writes them to `sink`. Takes one thread
    /// for each shard; each of them reads, looks up, encodes and writes as there
    /// is need. What it has chosen where that was left to it, the report says.
    ///
    /// # Errors
    /// If a source or the sink fails, a stage panics or the ledger does not add
    /// up. Nothing has been published then, unless that is what failed.
    ///
    /// # Panics
    /// If `tables` does not have one entry for each table.
    pub fn run<'env>(
        &'env self,
        tables: Vec<Option<Box<dyn TableSource + 'env>>>,
        source: impl Source + 'env,
        sink: impl Sink,
    ) -> Result<Report, EngineError> {
        self.run_correcting(tables, source, sink, &mut Unread)
    }

    /// As [`Engine::run`], and trades that were written and find something else since go
    /// to `revise`, as [`EngineConfig::corrections`] says.
    ///
    /// # Errors
    /// As [`Engine::run`], or if `revise` fails.
    ///
    /// # Panics
    /// As [`Engine::run`]; or if the run corrects and has more than
    /// [`Corrections::TABLES_MAX`](tradejoin_merger::Corrections::TABLES_MAX) tables.
    pub fn run_correcting<'env>(
        &'env self,
        tables: Vec<Option<Box<dyn TableSource + 'env>>>,
        source: impl Source + 'env,
        sink: impl Sink,
        revise: &mut dyn Revise,
    ) -> Result<Report, EngineError> {
        self.run_kept(tables, source, sink, revise, None)
    }

    /// As [`Engine::run_correcting`], and the run is kept, if `keeping` says how, so that a
    /// later one can go on where it was, also with other numbers of workers, batch lengths
    /// and queue depths. Batches are then written in their order, whatever [`Order`](crate::Order) says.
    ///
    /// One that goes on has the tables that were kept as its `tables`, a source that stands
    /// where it did and a sink with what was kept of the output; its ledger, and the numbers
    /// of its trades, go on, too. Its sink is published with the last cut.
    /// Interrupted, it keeps the trades that wait and writes none of them; if it could
    /// not complete what it had read, the cut before stands.
    ///
    /// # Errors
    /// As [`Engine::run_correcting`], or if the run cannot be kept.
    ///
    /// # Panics
    /// As [`Engine::run_correcting`].
    pub fn run_kept<'env>(
        &'env self,
        tables: Vec<Option<Box<dyn TableSource + 'env>>>,
        source: impl Source + 'env,
        sink: impl Sink,
        revise: &mut dyn Revise,
        keeping: Option<Keeping<'_>>,
    ) -> Result<Report, EngineError> {
        self.run_driven(tables, source, sink, revise, keeping, Driver::Threads)
    }

    /// As [`Engine::run_kept`], but on the calling thread alone, for tests whose order of
    /// events is to be theirs, and the same each time: no thread is started, and no
    /// clock decides anything but one that they [put forward](Clock::advance), if holds and
    /// [`KeepEvery`](crate::KeepEvery) do not go by trades.
    ///
    /// The threads that there would be take turns, and so does what keeps: `pick` is given
    /// how many of them can go on, and says which does, by carrying out one task; or keeping
    /// the changes of a batch, or a cut. Once the run is to stop, it is asked before each of
    /// them for one of [`Engine::DRAIN_PICKS`] whether what is under way takes too long: 0
    /// drops it.
    ///
    /// # Errors
    /// As [`Engine::run_kept`]; or if no thread is left to be picked and the run has not
    /// ended, where threads would sleep for ever.
    ///
    /// # Panics
    /// As [`Engine::run_kept`], or if `pick` picks nothing that there is.
    pub fn run_in_steps<'env>(
        &'env self,
        tables: Vec<Option<Box<dyn TableSource + 'env>>>,
        source: impl Source + 'env,
        sink: impl Sink,
        revise: &mut dyn Revise,
        keeping: Option<Keeping<'_>>,
        pick: &mut dyn FnMut(usize) -> usize,
    ) -> Result<Report, EngineError> {
        self.run_driven(tables, source, sink, revise, keeping, Driver::Steps(pick))
    }

    fn run_driven<'env>(
        &'env self,
        tables: Vec<Option<Box<dyn TableSource + 'env>>>,
        source: impl Source + 'env,
        sink: impl Sink,
        revise: &mut dyn Revise,
        keeping: Option<Keeping<'_>>,
        driver: Driver<'_>,
    ) -> Result<Report, EngineError> {
        assert_eq!(tables.len(), self.config.tables.len(), "one entry for each table");
        let (mut kept_by, resume) = match keeping {
            Some(Keeping { keep, every, resume }) => {
                (Some(KeptBy::new(&driver, keep, (every, &self.clock), resume.as_ref())), resume)
            }
            None => (None, None),
        };
        let (keeper, mut keep) = kept_by.as_mut().map(KeptBy::split).unzip();
        let (config, stop) = (&self.config.chosen(&tables), &self.stop);
        let clock = RunClock::start();
        let publisher = Publisher::new(self.monitor.clone(), clock);
        let generations = Generations::new(config.tables.len());
        let updates = &self.updates;
        let feed =
            Feed::new(&config.tables, tables, &generations, stop, (updates, &self.pulse), keeper, source);
        let ends = Ends { sink, revise: &mut *revise, keeper, resume, pulse: &self.pulse };
        let (wakers, driver) = driver.begin(config.shards);
        let run = Run::new(config, (stop, &self.clock), &generations, feed, ends, publisher, wakers)?;
        let cpus = driver.drive(&run, keeper.zip(keep.as_mut().map(|keep| &mut **keep as &mut dyn Keep)))?;

        let (ended, feed) = run.end();
        let Ended { mut sink, mut ledger, mut publisher, failure, interrupted, .. } = ended;
        if let Some(failure) = failure {
            return Err(failure);
        }
        let end = if interrupted { End::Interrupted } else { End::Complete };
        // What waits goes on waiting in the run that goes on.
        let waiting = ended.passage.as_ref().filter(|_| interrupted && keeper.is_some());
        let held = waiting.map(|passage| passage.held(self.clock.now()));
        let (source, loaded) = feed.into_end();
        if let Some(passage) = ended.passage.filter(|_| held.is_none()) {
            let written = catch_unwind(AssertUnwindSafe(|| write_held(passage, &mut sink, revise)));
            ledger.add(&written.map_err(|panic| panicked(panic, Stage::Hold))??);
        }
        let whole = ledger.clone();
        add_loaded(&mut ledger, &loaded);
        publisher.publish(&ledger, ended.trades_copied)?;
        if !interrupted {
            ended.budget.judge(&ledger, &config.tables)?;
        }
        self.pulse.enter_beside(Some(Stage::Write));
        match (keeper, keep) {
            (Some(keeper), Some(keep)) => {
                // What is complete is, wherever the source stands.
                let source = source.or_else(|| (end == End::Complete).then(SourcePosition::default));
                if let Some(source) = source.filter(|_| !ended.is_given_up) {
                    catch_unwind(AssertUnwindSafe(|| {
                        let revised = revise.prepare(Some(end)).map_err(EngineError::Revise)?;
                        let output = sink.prepare(Some(end)).map_err(EngineError::Sink)?;
                        let cut = keeper.cut(
                            source,
                            (&whole, &ended.budget),
                            &loaded,
                            held,
                            Box::new((output, revised)),
                            Some(end),
                        );
                        keeper.keep(keep, cut).map_err(EngineError::Keep)
                    }))
                    .unwrap_or_else(|panic| Err(panicked(panic, Stage::Keep)))?;
                }
            }
            _ => catch_unwind(AssertUnwindSafe(|| {
                let revise = if config.corrections.is_some() { revise } else { &mut Unread };
                complete(&mut sink, revise, end)
            }))
            .unwrap_or_else(|panic| Err(panicked(panic, Stage::Write)))?,
        }
        self.pulse.enter_beside(None);
        let shards = ended.workers.iter().zip(cpus).map(|(worker, cpu)| shard_report(worker, cpu)).collect();
        let distributions = config.tables.iter().map(|table| table.distribution).collect();
        let shared = generations.pin().into_iter();
        let bytes = |generation: Arc<StoredTable>| generation.memory_bytes() as u64;
        let shared_bytes = shared.map(|generation| generation.map_or(0, bytes)).collect();
        let Ended { missing, trades_copied, hold_peak, recent_peak, .. } = ended;
        let report = clock.report(ledger, shards, interrupted);
        let kept = keeper.map(Keeper::report);
        Ok(Report {
            distributions,
            shared_bytes,
            missing,
            trades_copied,
            hold_peak,
            recent_peak,
            kept,
            ..report
        })
    }
}

/// Completes the outputs of a run that is not kept: each gets its name once all are whole, and
/// that of the trades last.
fn complete(sink: &mut impl Sink, revise: &mut dyn Revise, end: End) -> Result<(), EngineError> {
    let mut output = sink.prepare(Some(end)).map_err(EngineError::Sink)?;
    let mut revised = revise.prepare(Some(end)).map_err(EngineError::Revise)?;
    output.make_durable().map_err(EngineError::Sink)?;
    revised.make_durable().map_err(EngineError::Revise)?;
    revised.publish().map_err(EngineError::Revise)?;
    output.publish().map_err(EngineError::Sink)
}

/// Writes the trades that still wait at the end, and gives their account; to `revise` what is
/// written again of them.
fn write_held(
    mut passage: Passage,
    sink: &mut impl Sink,
    revise: &mut dyn Revise,
) -> Result<Ledger, EngineError> {
    let (mut sum, mut encoder, mut piece) = (Ledger::default(), sink.encoder(), Default::default());
    let mut give = |revised| revise.write(revised).map_err(EngineError::Revise);
    while let Some((passed, account)) = passage.finish(&mut give)? {
        let enriched = passed.assemble()?;
        if !enriched.is_empty() {
            encoder.encode(&enriched, &mut piece).map_err(EngineError::Sink)?;
            sink.write(&mut piece).map_err(EngineError::Sink)?;
        }
        sum.add(&account);
    }
    Ok(sum)
}

/// What takes no revisions: none are made where nobody asked for them.
struct Unread;

impl Revise for Unread {
    fn write(&mut self, _: Revised) -> Result<(), BoxError> {
        Ok(())
    }

    fn prepare(&mut self, _: Option<End>) -> Result<Box<dyn Prepared>, BoxError> {
        Ok(Box::new(NothingPrepared))
    }
}
