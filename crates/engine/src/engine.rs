//! Starts the threads of a run, and sees to it that all of them end.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::thread::{Builder, Scope, ScopedJoinHandle, panicking, scope};

use tradejoin_flow::{End, Receiver, Sender, Sink, Source, TableSource, link};
use tradejoin_merger::Merger;
use tradejoin_model::{Answer, Ledger, Routed, ShardIndex};

use crate::config::{EngineConfig, Stop};
use crate::error::{EngineError, Stage};
use crate::report::{Monitor, Publisher, Report, RunClock, ShardReport};
use crate::stages::{Answered, Inbox, Ingested, ingest, work, write};

/// A join, ready to run.
#[derive(Clone, Debug)]
pub struct Engine {
    config: EngineConfig,
    stop: Stop,
    monitor: Monitor,
}

/// The threads of a run, and the link that their answers come through.
struct Threads<'scope> {
    ingest: ScopedJoinHandle<'scope, Result<Ingested, EngineError>>,
    workers: Vec<ScopedJoinHandle<'scope, ShardReport>>,
    answers: Receiver<Answered>,
    /// Where answers that are used up go, by shard.
    returns: Vec<Sender<Answer>>,
}

impl Engine {
    /// An engine with these settings.
    #[must_use]
    pub fn new(config: EngineConfig) -> Self {
        Self { config, stop: Stop::default(), monitor: Monitor::default() }
    }

    /// The same engine, ended early by a request that others know already.
    #[must_use]
    pub fn stopped_by(self, stop: Stop) -> Self {
        Self { stop, ..self }
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

    /// The settings.
    #[must_use]
    pub fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// Loads the tables that have a source, one entry for each table; then
    /// joins the trades of `source` and writes them to `sink`. Takes
    /// one thread for reading, one for each shard, and the calling one for
    /// writing.
    ///
    /// # Errors
    /// If a source or the sink fails, a stage panics or the ledger does not add
    /// up. The sink has not been finished then.
    ///
    /// # Panics
    /// If `tables` does not have one entry for each table.
    pub fn run<'env>(
        &self,
        tables: Vec<Option<Box<dyn TableSource + 'env>>>,
        source: impl Source + 'env,
        mut sink: impl Sink,
    ) -> Result<Report, EngineError> {
        assert_eq!(tables.len(), self.config.tables.len(), "one entry for each table");
        let clock = RunClock::start();
        let mut publisher = Publisher::new(self.monitor.clone(), clock);
        let mut merger = Merger::new(&self.config.tables, self.config.order, self.config.unmatched);

        let (written, ingested, shards) = scope(|scope| {
            let Threads { ingest, workers, answers, returns } = self.start(scope, tables, source)?;
            let writing = || write(&mut merger, answers, &returns, &mut sink, &mut publisher, &self.stop);
            let written = catch_unwind(AssertUnwindSafe(writing));
            if !matches!(written, Ok(Ok(()))) {
                // A source that waits for input would not notice otherwise.
                self.stop.request();
            }
            let shards: Vec<_> = workers.into_iter().map(ScopedJoinHandle::join).collect();
            Ok::<_, EngineError>((written, ingest.join(), shards))
        })?;

        // A stage that fails makes its neighbours end early: look at the causes
        // before the consequences.
        let shards = shards.into_iter().zip(self.config.shards.shards());
        let shards: Vec<_> =
            shards.map(|(r, shard)| joined(r, Stage::Worker(shard))).collect::<Result<_, _>>()?;
        joined(written, Stage::Merger)??;
        let ingested = joined(ingested, Stage::Ingest)??;

        let mut ledger = merger.ledger().clone();
        add_loaded(&mut ledger, &ingested);
        ledger.check()?;
        publisher.publish(&ledger);
        let end = if ingested.interrupted { End::Interrupted } else { End::Complete };
        let finished = catch_unwind(AssertUnwindSafe(|| sink.finish(end)));
        joined(finished, Stage::Merger)?.map_err(EngineError::Sink)?;
        Ok(clock.report(ledger, shards, ingested.interrupted))
    }

    fn start<'scope, 'env: 'scope>(
        &'scope self,
        scope: &'scope Scope<'scope, 'env>,
        tables: Vec<Option<Box<dyn TableSource + 'env>>>,
        source: impl Source + 'env,
    ) -> Result<Threads<'scope>, EngineError> {
        let (config, stop) = (&self.config, &self.stop);
        let (answer_sender, answers) = link(config.queue_depth);
        let (outboxes, inboxes) = links::<Arc<Routed>>(config);
        let (returns, spent) = links(config);
        let spawn_worker = |(shard, (inbox, spent)): (ShardIndex, (Inbox, Receiver<Answer>))| {
            let outbox = answer_sender.clone();
            Builder::new()
                .name(format!("shard-{shard}"))
                .spawn_scoped(scope, move || {
                    let _guard = StopOnPanic(stop);
                    work(shard, config, inbox, outbox, spent)
                })
                .map_err(EngineError::Thread)
        };
        let workers = config
            .shards
            .shards()
            .zip(inboxes.into_iter().zip(spent))
            .map(spawn_worker)
            .collect::<Result<_, _>>()?;
        let ingest = Builder::new()
            .name("ingest".to_owned())
            .spawn_scoped(scope, move || ingest(config, tables, source, outboxes, stop))
            .map_err(EngineError::Thread)?;
        Ok(Threads { ingest, workers, answers, returns })
    }
}

/// Asks the run to stop if the thread that holds it panics: a source that waits
/// for input would keep the others waiting, too.
struct StopOnPanic<'a>(&'a Stop);

impl Drop for StopOnPanic<'_> {
    fn drop(&mut self) {
        if panicking() {
            self.0.request();
        }
    }
}

/// A link for each shard.
fn links<T>(config: &EngineConfig) -> (Vec<Sender<T>>, Vec<Receiver<T>>) {
    config.shards.shards().map(|_| link(config.queue_depth)).unzip()
}

/// What a stage came to, or the error that its panic is.
fn joined<T>(result: Result<T, Box<dyn Any + Send>>, stage: Stage) -> Result<T, EngineError> {
    result.map_err(|panic| {
        let text = panic.downcast_ref::<&str>().map(|text| (*text).to_owned());
        let message = text.or_else(|| panic.downcast_ref::<String>().cloned());
        EngineError::Panicked { stage, message: message.unwrap_or_else(|| "no message".to_owned()) }
    })
}

/// Adds what was loaded past the merger.
fn add_loaded(ledger: &mut Ledger, ingested: &Ingested) {
    for (table, loaded) in ledger.tables.iter_mut().zip(&ingested.loaded) {
        table.rows_loaded += loaded.rows;
        table.duplicates += loaded.duplicates;
        table.rejected += loaded.rejected;
    }
}
